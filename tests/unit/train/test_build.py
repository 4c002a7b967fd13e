from dataclasses import replace
from pathlib import Path

import pytest
import torch
import toy

from vtk_cli.api.datasets import VideoRow
from vtk_cli.api.loaders import Clip
from vtk_cli.api.sampling import segments_validation
from vtk_cli.catalog import Catalog
from vtk_cli.errors import DataError, UsageError
from vtk_cli.evaluate.views import Scorer
from vtk_cli.loader.split import Split
from vtk_cli.train.build import check_labels, choose_device, choose_splits, fingerprint, validate, validation_inputs
from vtk_cli.train.env import environment, git_commit
from vtk_cli.train.options import RESUMABLE, RunOptions
from vtk_cli.train.settings import default_sections


def catalog(path, splits, **meta):
    rows = [VideoRow(id=f"v{i}", path=f"v{i}.mp4", labels=(0,), splits=(s,)) for i, s in enumerate(splits)]
    return Catalog.create(path / "catalog.sqlite", ("a", "b"), rows, {"dataset": "toy", **meta})


@pytest.mark.parametrize(
    ("splits", "meta", "wanted", "chosen"),
    [
        (["train", "val", "test"], {}, {}, {"train": "train", "val": "val", "test": "test"}),
        (["training", "validation"], {}, {}, {"train": "training", "val": "validation"}),
        (
            ["train1", "test1"],
            {"train_split": "train1", "test_split": "test1"},
            {},
            {"train": "train1", "test": "test1"},
        ),
        (["train1", "test1"], {"train_split": "train1"}, {"val": "test1"}, {"train": "train1", "val": "test1"}),
        (["train", "extra"], {"val_split": None}, {"train": "extra"}, {"train": "extra"}),
        (["train"], {"val_split": "gone"}, {}, {"train": "train"}),
    ],
)
def test_splits_are_those_wanted_else_stated_else_usual(tmp_path, splits, meta, wanted, chosen):
    with catalog(tmp_path, splits, **meta) as found:
        assert choose_splits(found, wanted) == chosen


def test_a_dataset_without_a_training_split_is_refused(tmp_path):
    with catalog(tmp_path, ["a", "b"]) as found:
        with pytest.raises(UsageError, match=r"it has a, b\. Name one with --split"):
            choose_splits(found, {})
        with pytest.raises(UsageError, match='no split "c"'):
            choose_splits(found, {"train": "c"})


def split(labels, *, multi_label=False):
    clips = tuple(Clip(id=f"v{i}", labels=found, path=Path("x")) for i, found in enumerate(labels))
    return Split(
        name="train",
        clips=clips,
        left_out={},
        source=None,
        classes=("a", "b", "c"),
        label_order="",
        flip=True,
        multi_label=multi_label,
    )


def test_labels_are_checked_up_front(capsys):
    check_labels(split([(0,), (2,)]))
    check_labels(split([(0, 2), (1,)], multi_label=True))
    assert capsys.readouterr().err == ""
    for wrong in ([(0,), (3,)], [(-1,)], [(0, 1)]):
        with pytest.raises(DataError, match="should have one label from 0 to 2"):
            check_labels(split(wrong))
    with pytest.raises(DataError, match="v1 of the split train should have labels from 0 to 2"):
        check_labels(split([(0, 1), (0, 3)], multi_label=True))
    check_labels(split([(1,), (1,)]))
    assert 'are of the class "b"' in capsys.readouterr().err


def test_the_fingerprint_sees_clips_labels_and_order():
    different = [[(0,), (1,)], [(1,), (0,)], [(0,)], [(0,), (1,), (1,)]]
    assert len({fingerprint(split(labels)) for labels in different}) == 4
    assert fingerprint(split(different[0])) == fingerprint(split(different[0]))


def test_validation_sees_the_training_view_without_chance_and_once():
    inputs = replace(toy.INPUTS, test=replace(toy.VIEW, segments=25, clips=2, crops=10, average="probabilities"))
    seen = validation_inputs(inputs)
    assert (seen.test.segments, seen.test.views, seen.test.average) == (2, 1, "logits")
    assert seen.train == inputs.train
    assert seen.test.sampler is inputs.train.sampler


def test_validation_takes_the_sampler_that_the_model_names_for_it():
    """TSN's gives frame 0 alone where a video has as many frames as segments."""
    seen = validation_inputs(replace(toy.INPUTS, validation=segments_validation))
    assert seen.test.sampler is segments_validation


def test_validation_gives_the_loss_without_smoothing_and_the_metrics():
    model = toy.ToyModel().eval()
    scorer = Scorer(module=model, inputs=toy.INPUTS, device=torch.device("cpu"))
    loader = toy.ToyLoader(clips=9)
    found = validate(scorer, loader.epoch(0), replace(toy.RECIPE, label_smoothing=0.2))
    expected = toy.validate(model, loader.epoch(0))
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    assert found["top1"] == pytest.approx(expected["top1"])
    assert {"top5", "mean_class"} <= found.keys()


def test_validation_of_several_labels_per_video():
    scorer = Scorer(module=toy.ToyModel().eval(), inputs=toy.INPUTS, device=torch.device("cpu"), multi_label=True)
    recipe = replace(toy.RECIPE, loss="binary_cross_entropy")
    found = validate(scorer, toy.ToyLoader(clips=9, multi_label=True).epoch(0), recipe)
    assert 0.3 < found["loss"] < 1.5
    assert 0 < found["map"] <= 1
    assert "top1" not in found


def test_training_with_several_labels_per_video(tmp_path):
    recipe = replace(toy.RECIPE, loss="binary_cross_entropy", epochs=8, lr=0.5, milestones=())
    task = toy.make_task(recipe, train=toy.ToyLoader(multi_label=True), validation=None)
    toy.make_trainer(tmp_path / "run", task).run()
    epochs = [dict(entry) for entry in toy.trace(tmp_path / "run") if entry[0] == ("kind", "epoch")]
    assert epochs[-1]["train_loss"] < 0.8 * epochs[0]["train_loss"]


def test_the_loss_follows_the_labels():
    from vtk_cli.evaluate.foreign import load_model_spec

    spec = load_model_spec("stnet")
    smooth = replace(spec, recipe=replace(spec.recipe, label_smoothing=0.1))
    assert default_sections(smooth, multi_label=False)["train"].loss == "cross_entropy"
    assert default_sections(smooth, multi_label=False)["train"].label_smoothing == 0.1
    several = default_sections(smooth, multi_label=True)["train"]
    assert (several.loss, several.label_smoothing) == ("binary_cross_entropy", 0.0)


def test_a_gpu_that_is_not_there_is_said(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device(RunOptions()).type == "cpu"
    with pytest.raises(UsageError, match="needs a GPU"):
        choose_device(RunOptions(device="cuda"))


@pytest.mark.parametrize(
    ("every", "steps", "seconds"),
    [
        (500, 500, None),
        ("500", 500, None),
        ("90s", None, 90),
        ("10min", None, 600),
        ("2h", None, 7200),
        (0, None, None),
    ],
)
def test_how_often_a_checkpoint_is_written(every, steps, seconds):
    options = RunOptions(checkpoint_every=every)
    assert (options.checkpoint_steps, options.checkpoint_seconds) == (steps, seconds)


@pytest.mark.parametrize("wrong", [{"checkpoint_every": "1.5h"}, {"log_every": 0}, {"validate_every": 0}, {"seed": -1}])
def test_run_options_check_themselves(wrong):
    with pytest.raises(UsageError, match=f"run.{next(iter(wrong))}"):
        RunOptions(**wrong)


def test_what_may_change_on_resume_exists():
    sections = {"run": RunOptions(), "data": default_sections.__globals__["DataOptions"](), "train": None}
    for key in RESUMABLE - {"train.epochs"}:
        section, _, field = key.partition(".")
        assert hasattr(sections[section], field), key


def test_the_environment_is_plain_values():
    found = environment("tsn", torch.device("cpu"))
    assert found["plugin"]["distribution"] == "vtk-cli"
    assert found["threads"] == torch.get_num_threads()
    assert found["packages"]["numpy"]
    assert "gpu" not in found


def test_the_commit_of_a_folder(tmp_path):
    import subprocess

    assert git_commit(tmp_path / "absent") is None
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "f").write_text("1")
    subprocess.run(["git", "-C", tmp_path, "add", "f"], check=True)
    subprocess.run(["git", "-C", tmp_path, *who, "commit", "-qm", "x"], check=True)
    commit = git_commit(tmp_path)
    assert len(commit) == 40
    (tmp_path / "f").write_text("2")
    assert git_commit(tmp_path) == f"{commit}+"
