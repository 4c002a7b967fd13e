"""The real clips of shared/data/videos, good and bad together, through every command from index to report."""

import csv
import json
import shutil

import numpy as np
from command import Vtk

from vtk_cli.catalog import Catalog
from vtk_cli.run_dir import RunDir
from vtk_cli.store.lmdb_store import StoreReader
from vtk_cli.workspace import Workspace

SIGNS = {
    "asking": ("again", "bird", "book", "eat", "help"),
    "answering": ("milk", "no", "please", "thanks", "yes"),
}
ODD = ("bad_", "dali", "decord", "imageio", "mdn", "moviepy", "tcodec")
CLASSES = ("answering", "asking", "people & <animals>", "technical tests")
BROKEN = {
    "bad_dali_lfs_pointer.mp4": "is a git-LFS pointer of a few lines",
    "bad_truncated_50pct.avi": "it ends after 159049 bytes, but its structure goes on to byte 316370 or beyond",
    "bad_truncated_50pct.mp4": "it ends after 431771 bytes, but its structure goes on to byte 851647 or beyond",
    "bad_zero_bytes.mp4": "is empty: 0 bytes",
}
"""What must be found, with its cause."""
SMALL = ["--set", "model.short_side=64", "--set", "model.crop=64", "--set", "model.segments=3"]
STNET = [*SMALL, "--set", "model.depth=18", "--set", "model.frames=3", "--set", "model.test_segments=4"]
TSN = [*SMALL, "--set", "model.trunk=resnet18", "--set", "model.test_segments=3", "--set", "model.test_crops=1"]


def test_from_index_to_report(shared, tmp_path):
    vtk = Vtk(tmp_path / "home")
    videos = shared / "data" / "videos"
    ids = _index(vtk, videos, tmp_path / "clips")
    _check(vtk, ids)
    _extract(vtk, ids)
    run = _train(vtk)
    _test(vtk, run)
    _predict(vtk, videos, tmp_path)
    _report(vtk, run)
    again = vtk("extract", "--short-side", "64", code=3)
    assert "53 clips extracted" not in again.stderr


def test_flow_from_a_list_file_to_a_tested_tsn(shared, tmp_path):
    vtk = Vtk(tmp_path / "home")
    lines = []
    for label, names in enumerate(SIGNS.values()):
        lines += [f"asl_{name}.mkv {label}" for name in names]
    val = lines[::3]
    train = [line for line in lines if line not in val]
    (tmp_path / "train.txt").write_text("\n".join([*train, "bad_zero_bytes.mp4 0"]) + "\n")
    (tmp_path / "val.txt").write_text("\n".join(val) + "\n")
    (tmp_path / "classes.txt").write_text("asking\nanswering\n")
    both = ["--list", f"train={tmp_path / 'train.txt'}", "--list", f"val={tmp_path / 'val.txt'}"]
    vtk("index", "signs", shared / "data" / "videos", *both, "--classes", tmp_path / "classes.txt")
    refused = vtk("train", "tsn", "--init", "none", "--set", "model.modality=flow", *TSN, code=5)
    assert "vtk extract signs --flow tvl1 --short-side 64" in refused.stderr
    vtk("extract", "--no-frames", "--flow", "farneback", "--short-side", "64", code=3)
    with StoreReader(vtk.home / "signs" / "flow-farneback-64") as reader:
        assert len(list(reader.ids())) == 10
        assert list(dict(reader.failures())) == ["bad_zero_bytes"]
        assert reader.num_frames("asl_eat") == 46
    trained = vtk(
        *("train", "tsn", "--init", "none", "--set", "model.modality=flow", *TSN, "--json"),
        *("--set", "train.epochs=1", "--set", "train.batch_size=6", "--set", "train.micro_batch=6"),
    )
    assert json.loads(trained.stdout)["status"] == "finished"
    tested = json.loads(vtk("test", "latest", "--split", "val", "--json").stdout)
    assert (tested["videos"], tested["protocol"]["pictures"]) == (4, "flow-farneback-64")
    said = vtk("predict", "latest", shared / "data" / "videos" / "asl_no.mkv").stdout
    assert "asking" in said
    assert "answering" in said


def _index(vtk, videos, folder):
    """A folder per class of links to the clips; -> file name -> id."""
    of_sign = {f"asl_{name}.mkv": label for label, names in SIGNS.items() for name in names}
    files = sorted(file for file in videos.iterdir() if file.suffix != ".mp3")
    for file in files:
        label = of_sign.get(file.name) or (CLASSES[3] if file.name.startswith(ODD) else CLASSES[2])
        (folder / label).mkdir(parents=True, exist_ok=True)
        (folder / label / file.name).symlink_to(file)
    made = json.loads(vtk("index", "real", folder, "--val-fraction", "0.2", "--test-fraction", "0.2", "--json").stdout)
    assert (made["videos"], made["classes"], sum(made["splits"].values())) == (len(files), 4, len(files))
    dataset = Workspace(vtk.home).dataset()
    with Catalog(dataset.catalog) as catalog:
        assert catalog.classes == CLASSES
        ids = {dataset.video(row.path).name: row.id for row in catalog.rows()}
    assert ids.keys() == {file.name for file in files}
    return ids


def _check(vtk, ids):
    done = vtk("check", "--json", code=3)
    report = json.loads(done.stdout)
    written = json.loads((vtk.home / "real" / "check.json").read_text())
    assert {key: written[key] for key in report} == report
    assert report["statuses"] == {"broken": len(BROKEN), "ready": len(ids) - len(BROKEN)}
    causes = {finding["id"]: finding["cause"] for finding in report["findings"] if finding["kind"] == "broken"}
    assert causes.keys() == {ids[name] for name in BROKEN}
    for name, cause in BROKEN.items():
        assert cause in causes[ids[name]]
    damaged = [finding["id"] for finding in report["findings"] if finding["kind"] == "damaged"]
    assert damaged == [ids["bad_decord_corrupted.mp4"]]


def _extract(vtk, ids):
    done = vtk("extract", "--short-side", "64", code=3)
    assert f"frames-64: {len(ids) - len(BROKEN)} of {len(ids)} clips" in done.stderr
    with (vtk.home / "real" / "extract-failed.tsv").open() as file:
        listed = list(csv.reader(file, delimiter="\t"))
    failed = {ids[name] for name in BROKEN}
    assert {cell for row in listed for cell in row} >= failed
    with StoreReader(vtk.home / "real" / "frames-64") as reader:
        assert set(reader.ids()) == set(ids.values()) - failed
        assert dict(reader.failures()).keys() == failed
        assert reader.num_frames(ids["hmdb51_RATRACE_wave_f_nm_np1_fr_goo_37.avi"]) == 72
        assert reader.num_frames(ids["bad_decord_corrupted.mp4"]) == 49
        for name in reader.ids():
            reader.verify(name)


def _train(vtk):
    done = vtk(
        *("train", "stnet", "--init", "none", *STNET, "--json"),
        *("--set", "train.epochs=1", "--set", "train.batch_size=8", "--set", "train.micro_batch=8"),
    )
    told = json.loads(done.stdout)
    run = RunDir.find(Workspace(vtk.home).runs, "latest")
    assert (told["run"], told["status"]) == (run.name, "finished")
    assert "cannot be used" in done.stderr
    assert len(done.stderr) < 2500, "a warning of many lines hides what matters"
    assert run.info().classes == CLASSES
    assert np.isfinite([entry["loss"] for entry in run.read_log("step")]).all()
    return run


def _test(vtk, run):
    summary = json.loads(vtk("test", "latest", "--json").stdout)
    assert summary == json.loads((run.scores / "test.json").read_text())
    with np.load(run.scores / "test.npz") as scores:
        assert len(scores["ids"]) == summary["videos"] > 4
        assert scores["scores_BK"].shape == (summary["videos"], 4)
        assert np.isfinite(scores["scores_BK"]).all()
    official = json.loads((run.scores / "test.activitynet.json").read_text())
    assert len(official["results"]) == summary["videos"]
    assert 0 <= summary["metrics"]["top1"] <= summary["metrics"]["top5"] == 1


def _predict(vtk, videos, tmp_path):
    one = videos / "ucf101_v_SoccerJuggling_g23_c01.avi"
    said = vtk("predict", "latest", one, "--top", "2").stdout.splitlines()
    assert said[0] == str(one)
    assert len(said) == 3
    folder = tmp_path / "few"
    folder.mkdir()
    for name in ("decord_video_90.mov", "tcodec_h264_10bits.mp4"):
        shutil.copyfile(videos / name, folder / name)
    named = [videos / name for name in ("asl_no.mkv", "bad_zero_bytes.mp4", "ssv2_166766.mp4")]
    named.append(videos / "tcodec_nasa_13013.mp4.audio.mp3")
    done = vtk("predict", "latest", folder, "-", "--json", code=3, stdin="".join(f"{path}\n" for path in named))
    *of_folder, first, empty, third, audio = map(json.loads, done.stdout.splitlines())
    assert [answer["path"] for answer in of_folder] == [str(file) for file in sorted(folder.iterdir())]
    for answer in (*of_folder, first, third):
        assert {found["class"] for found in answer["predictions"]} == set(CLASSES)
    assert [answer["path"] for answer in (first, empty, third, audio)] == [str(path) for path in named]
    assert "is empty: 0 bytes" in empty["error"]
    assert "holds no video stream, only audio" in audio["error"]
    assert "2 of 6 videos could not be read" in done.stderr


def _report(vtk, run):
    path = vtk("report").stdout.strip()
    assert path == str(run.report)
    page = run.report.read_text()
    for name in ("answering", "asking", "people &amp; &lt;animals&gt;", "technical tests"):
        assert name in page
    assert "<animals>" not in page
    (listed,) = json.loads(vtk("runs", "--json").stdout)
    assert (listed["name"], listed["status"], listed["epochs_done"]) == (run.name, "finished", 1)
    shown = json.loads(vtk("runs", "show", "--json").stdout)
    assert shown["metrics"]["test.top1"] == listed["test_top1"]
