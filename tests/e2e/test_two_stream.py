"""Two-stream TSN as a user runs it: TV-L1 flow, a network of pictures, one of flow, their scores fused at 1 to 1.5."""

import json
import shutil

import numpy as np
import pytest
from command import Vtk

from vtk_cli.evaluate.scores_file import read_scores_file
from vtk_cli.run_dir import RunDir
from vtk_cli.workspace import Workspace

SMALL = (
    *("--init", "none", "--set", "model.trunk=resnet18", "--set", "model.test_segments=5"),
    *("--set", "model.test_crops=1", "--set", "train.optimizer=adamw", "--set", "train.nesterov=false"),
    *("--set", "train.lr=0.001", "--set", "train.weight_decay=0.05", "--set", "train.schedule=cosine"),
    *("--set", "train.warmup_epochs=0.5"),
)
DEMO = (
    *("--set", "model.short_side=32", "--set", "model.crop=32", "--set", "model.dropout=0.5"),
    *("--set", "train.batch_size=16", "--set", "train.epochs=3", "--set", "data.max_missing=0.9"),
)
FEW = (
    *("--set", "model.short_side=48", "--set", "model.crop=40", "--set", "model.dropout=0"),
    *("--set", "train.batch_size=4", "--set", "train.epochs=20"),
)
DEMO_CLIPS = {"train": 96, "val": 24, "test": 60}
REAL_CLIPS = {
    "camera moves": (*("davis_paragliding.mp4", "internvid_example1.mp4", "mmaction2_part_0.mp4", "ssv2_166766.mp4"),),
    "signing": ("asl_again.mkv", "asl_bird.mkv", "asl_book.mkv", "asl_help.mkv"),
}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_set_whose_classes_only_motion_tells_apart(tmp_path):
    """RGB cannot know more than chance, 25 %; flow can know everything."""
    vtk = Vtk(tmp_path / "home")
    vtk("download", "demo")
    for split, clips in DEMO_CLIPS.items():
        vtk("extract", "demo", "--flow", "tvl1", "--short-side", "32", "--split", split, "--limit", str(clips))
    rgb, flow = (_train(vtk, modality, *DEMO) for modality in ("rgb", "flow"))
    for run in (rgb, flow):
        for split in ("val", "test"):
            vtk("test", run.name, "--split", split, "--set", "data.max_missing=0.9")
    told = json.loads(vtk("fuse", rgb.name, flow.name, "--weights", "1,1.5", "--json").stdout)
    alone = [stream["metrics"]["top1"] for stream in told["fusion"]["streams"]]
    assert alone[0] < 0.5
    assert alone[1] > 0.9
    assert told["metrics"]["top1"] > 0.9
    _check_by_hand(rgb, flow, told, split="test")
    assert told["videos"] == DEMO_CLIPS["test"]
    searched = json.loads(vtk("fuse", rgb.name, flow.name, "--search", "val", "--json").stdout)["fusion"]["search"]
    assert len(searched["curve"]) == 21
    assert searched["value"] == max(point["top1"] for point in searched["curve"]) > 0.9
    assert not searched["optimistic"]
    _check_report(vtk, told)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_few_real_clips_are_learnt_by_heart(shared, tmp_path):
    vtk = Vtk(tmp_path / "home")
    for label, names in REAL_CLIPS.items():
        (tmp_path / "clips" / label).mkdir(parents=True)
        for name in names:
            shutil.copy(shared / "data" / "videos" / name, tmp_path / "clips" / label)
    vtk("index", "few", tmp_path / "clips", "--val-fraction", "0", "--test-fraction", "0")
    vtk("extract", "few", "--flow", "tvl1", "--short-side", "48")
    rgb, flow = (_train(vtk, modality, *FEW) for modality in ("rgb", "flow"))
    for run in (rgb, flow):
        tested = json.loads(vtk("test", run.name, "--split", "train", "--json").stdout)
        assert (tested["videos"], tested["metrics"]["top1"]) == (8, 1.0)
    told = json.loads(vtk("fuse", rgb.name, flow.name, "--weights", "1,1.5", "--json").stdout)
    assert told["metrics"]["top1"] == 1.0
    _check_by_hand(rgb, flow, told, split="train")
    _check_report(vtk, told)


def _train(vtk, modality, *settings):
    """A TSN of this modality; its run."""
    done = vtk("train", "tsn", *SMALL, *settings, "--set", f"model.modality={modality}", "--json", seconds=600)
    run = RunDir(Workspace(vtk.home).runs / json.loads(done.stdout)["run"])
    (store,) = run.info().stores.values()
    assert store["modality"] == modality
    assert (store["method"] == "tvl1") == (modality == "flow")
    return run


def _check_by_hand(rgb, flow, told, *, split):
    """The fused scores are 0.4 of one and 0.6 of the other, and the file says so."""
    one, other = (read_scores_file(run.scores / f"{split}.npz") for run in (rgb, flow))
    fused = read_scores_file(Workspace(rgb.path.parents[1]).runs / told["run"] / "scores" / f"{split}.npz")
    assert one.kind == other.kind == fused.kind == "logits"
    assert fused.scores.ids == one.scores.ids
    order = [other.scores.ids.index(id_) for id_ in one.scores.ids]
    by_hand = 0.4 * one.scores.scores_BK + 0.6 * other.scores.scores_BK[order]
    np.testing.assert_allclose(fused.scores.scores_BK, by_hand, rtol=1e-6, atol=1e-6)
    assert told["metrics"]["top1"] == float((by_hand.argmax(1) == one.scores.labels).mean())
    streams = told["fusion"]["streams"]
    assert [stream["weight"] for stream in streams] == [1, 1.5]
    assert [stream["name"] for stream in streams] == [rgb.name, flow.name]
    assert [stream["reads"].split("-")[0] for stream in streams] == ["frames", "flow"]


def _check_report(vtk, told):
    vtk("report", told["run"])
    page = (Workspace(vtk.home).runs / told["run"] / "report.html").read_text()
    assert "Fusion report" in page
    assert all(stream["name"] in page for stream in told["fusion"]["streams"])
    assert told["run"] in {one["name"] for one in json.loads(vtk("runs", "--json").stdout)}
