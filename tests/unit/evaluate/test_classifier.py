from dataclasses import replace

import pytest
import tiny
import torch

import vtk_cli
from vtk_cli.api.inputs import InputSpec
from vtk_cli.errors import CheckpointError, UsageError, VideoError
from vtk_cli.evaluate.weights import WeightsInfo, load_weights, save_weights
from vtk_models.tsn import MODEL


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return tiny.make(tmp_path_factory.mktemp("world"), videos=2)


@pytest.fixture(scope="module")
def run(world):
    return tiny.make_run(world)


def test_three_lines(world, run):
    classifier = vtk_cli.load(run.path)
    found = classifier.predict(world.video(0))
    assert sorted(name for name, _ in found) == sorted(tiny.CLASSES)
    assert sum(probability for _, probability in found) == pytest.approx(1)
    assert [p for _, p in found] == sorted((p for _, p in found), reverse=True)
    assert classifier.classes == tiny.CLASSES
    assert classifier.spec is MODEL
    assert isinstance(classifier.inputs, InputSpec)
    assert not classifier.module.training
    assert classifier.predict(str(world.video(0)), top=1) == found[:1]


def test_the_module_is_the_model(world, run):
    """What predict says is the model's own forward on the same clip."""
    classifier = vtk_cli.load(run.path)
    clip_BTNCHW = torch.zeros(1, 3, 1, 3, 32, 32)
    module = MODEL.build(tiny.CONFIG, 3).eval()
    module.load_state_dict(load_weights(run.checkpoints / "best.safetensors")[0])
    with torch.inference_mode():
        assert torch.equal(classifier.module(clip_BTNCHW), module(clip_BTNCHW))


@pytest.mark.parametrize("how", ["name", "beginning", "latest", "folder", "file"])
def test_runs_and_files_are_found(world, run, how):
    given = {
        "name": run.name,
        "beginning": run.name[:-4],
        "latest": "latest",
        "folder": str(run.path),
        "file": run.checkpoints / "best.safetensors",
    }
    assert vtk_cli.load(given[how], root=world.root).path.samefile(run.checkpoints / "best.safetensors")


def test_best_is_preferred_and_last_can_be_had(world, run):
    assert vtk_cli.load(run.path, weights="last").path.name == "last.safetensors"
    only_last = tiny.make_run(world, best=False)
    assert vtk_cli.load(only_last.path).path.name == "last.safetensors"


def test_a_file_of_weights_is_enough(tmp_path, world, run):
    (tmp_path / "moved.safetensors").write_bytes((run.checkpoints / "best.safetensors").read_bytes())
    moved = vtk_cli.load(tmp_path / "moved.safetensors").predict(world.video(1))
    assert moved == vtk_cli.load(run.path).predict(world.video(1))


def test_weights_of_the_workspace_are_found_by_name(world, run):
    world.workspace.weights.mkdir(exist_ok=True)
    target = world.workspace.weights / "mine.safetensors"
    target.write_bytes((run.checkpoints / "best.safetensors").read_bytes())
    assert vtk_cli.load("mine", root=world.root).path == target


def test_other_views_can_be_asked_for(world, run):
    classifier = vtk_cli.load(run.path, clips=2, crops=3, segments=4)
    assert classifier.inputs.test.views == 6
    assert classifier.predict(world.video(0))[0][0] in tiny.CLASSES


def test_many_views_average_the_same_in_any_portion(world, run):
    from vtk_cli.evaluate.classifier import load

    whole, parts = (load(run.path, clips=2, crops=5, view_batch=size).predict(world.video(0)) for size in (16, 3))
    assert [name for name, _ in whole] == [name for name, _ in parts]
    assert [p for _, p in whole] == pytest.approx([p for _, p in parts], abs=1e-5)


def test_a_flow_model_predicts_from_the_file(tmp_path):
    world = tiny.make(tmp_path, videos=2)
    config = replace(tiny.CONFIG, modality="flow")
    meta = {"method": "farneback", "parameters": {"levels": 2}, "bound": 20.0, "quality": 95}
    run = tiny.make_run(world, config, stores={"flow-farneback-32": meta})
    assert vtk_cli.load(run.path).predict(world.video(0), top=2)[0][1] > 0.3


@pytest.mark.parametrize(
    ("given", "weights", "error", "said"),
    [
        ("nothing", "best", UsageError, 'no run "nothing"'),
        ("latest", "bst", UsageError, "--weights takes best, last or a file"),
    ],
)
def test_wrong_names_are_explained(world, run, given, weights, error, said):
    with pytest.raises(error, match=said):
        vtk_cli.load(given, root=world.root, weights=weights)


def test_a_run_without_a_checkpoint_says_how_to_go_on(tmp_path):
    world = tiny.make(tmp_path, videos=2)
    run = tiny.make_run(world, best=False)
    (run.checkpoints / "last.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"no checkpoint yet.*--resume"):
        vtk_cli.load(run.path)


def test_weights_that_do_not_fit_the_installed_model_are_refused(tmp_path, run):
    tensors, info = load_weights(run.checkpoints / "best.safetensors")
    path = tmp_path / "w.safetensors"
    save_weights(path, {name: tensor for name, tensor in tensors.items() if name != "fc.bias"}, info)
    with pytest.raises(CheckpointError, match=r"missing: fc\.bias"):
        vtk_cli.load(path)
    save_weights(path, tensors, replace(info, model="tsm2"))
    with pytest.raises(UsageError, match='no model "tsm2"'):
        vtk_cli.load(path)
    save_weights(path, tensors, WeightsInfo(kind="trunk", model="resnet18"))
    with pytest.raises(CheckpointError, match="whole model, found the trunk"):
        vtk_cli.load(path)


def test_a_missing_or_broken_video_is_an_error(world, run, tmp_path):
    classifier = vtk_cli.load(run.path)
    with pytest.raises(VideoError, match="no video file"):
        classifier.predict(tmp_path / "gone.mp4")
    (tmp_path / "text.mp4").write_text("#EXTM3U")
    with pytest.raises(VideoError):
        classifier.predict(tmp_path / "text.mp4")
