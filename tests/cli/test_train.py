import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch
import toy
from safetensors import safe_open
from typed import typed

from vtk_cli.catalog import Catalog
from vtk_cli.cli import main
from vtk_cli.run_dir import RunDir
from vtk_cli.store.meta import create_store

TINY = [
    *("--init", "none", "--set", "model.trunk=resnet18", "--set", "model.short_side=32", "--set", "model.crop=32"),
    *("--set", "train.batch_size=8", "--set", "train.micro_batch=4", "--set", "train.epochs=1"),
    *("--set", "data.workers=0"),
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("workspace")
    toy.make_dataset(root)
    return root


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def vtk(monkeypatch, capsys):
    """Run the command line in this process: (exit code, stdout, stderr)."""
    run = typed(monkeypatch, capsys)

    def at(*arguments, root):
        monkeypatch.setenv("VTK_HOME", str(root))
        return run(*arguments)

    return at


@pytest.fixture(scope="module")
def trained(dataset):
    """A finished run of one epoch; tests must not change it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["vtk", "train", "tsn", *TINY, "--root", str(dataset)])
        with pytest.raises(SystemExit) as ended:
            main()
    assert not ended.value.code
    return RunDir.find(dataset / "runs", "latest")


def test_a_run_folder_says_all_about_its_run(trained):
    info = trained.info()
    assert info.status == "finished"
    assert (info.model, info.dataset, info.classes) == ("tsn", "toyset", ("red", "green", "blue"))
    assert (info.label_order, info.flip, info.splits) == ("toy", False, {"train": "train", "val": "val"})
    assert info.stores["frames-32"]["short_side"] == 32
    assert set(info.best) == {"epoch", "loss", "top1", "top5", "mean_class"}
    config = trained.config.read_text()
    assert "epochs = 1  # --set" in config
    assert "lr = 0.02\n" in config
    env = trained.env()
    assert env["torch"] == torch.__version__
    assert env["command"].startswith("vtk train tsn")
    assert env["plugin"]["distribution"] == "vtk-cli"
    assert env["initial_weights"] == "none"
    assert [e["step"] for e in trained.read_log("step")] == [2]
    assert [e["epoch"] for e in trained.read_log("epoch")] == [0]


def test_weights_can_be_used_without_the_run(trained):
    with safe_open(trained.checkpoints / "best.safetensors", framework="pt") as file:
        metadata = file.metadata()
    assert metadata["vtk.model"] == "tsn"
    assert json.loads(metadata["vtk.classes"]) == ["red", "green", "blue"]
    assert json.loads(metadata["vtk.config"])["trunk"] == "resnet18"
    assert json.loads(metadata["vtk.flip"]) is False
    assert json.loads(metadata["vtk.stores"])["frames-32"]["modality"] == "rgb"


def test_dry_run_shows_shapes_and_leaves_nothing(vtk, tmp_path):
    toy.make_dataset(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    code, out, _ = vtk("train", "tsn", *TINY, "--dry-run", "--json", root=tmp_path)
    found = json.loads(out)
    assert code == 0
    assert found["clip_BTNCHW"] == [4, 3, 1, 3, 32, 32]
    assert found["logits_BK"] == [4, 3]
    assert found["parameters"] == found["parameters_trained"] == 11_178_051
    assert (found["steps"], found["steps_per_epoch"], found["micro_batches_per_step"]) == (3, 3, 2)
    assert found["schedule"] == "lr 0.02, times 0.1 after epochs 20, 40"
    assert sum(group["tensors"] for group in found["groups"]) == 62
    code, out, _ = vtk("train", "tsn", *TINY, "--dry-run", root=tmp_path)
    assert code == 0
    assert "steps_per_epoch         3" in out
    assert sorted(tmp_path.rglob("*")) == before


def test_resuming_a_finished_run_with_more_epochs(vtk, tmp_path):
    toy.make_dataset(tmp_path, clips=8, val=3)
    code, out, err = vtk("train", "tsn", *TINY, "--json", root=tmp_path)
    assert code == 0, err
    name = json.loads(out)["run"]
    run = RunDir(tmp_path / "runs" / name)
    run.write_env({**run.env(), "threads": 64, "gpu": "H200"})
    code, out, err = vtk("train", "--resume", name, "--set", "train.epochs=2", "--json", root=tmp_path)
    assert code == 0, err
    assert json.loads(out)["last"]["epoch"] == 1
    assert "epochs = 2  # --resume --set" in run.config.read_text()
    assert "short_side = 32  # --set" in run.config.read_text()
    assert [e["epoch"] for e in run.read_log("epoch")] == [0, 1]
    assert "The machine has changed (threads 1 instead of 64, gpu none instead of H200)" in err
    assert any(e.get("changed") == ["train.epochs"] for e in run.read_log("event"))
    code, _, _ = vtk("train", "--resume", run.path, root=tmp_path / "elsewhere")
    assert code == 0, "a run named by its folder brings its workspace"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--set", "train.lr=0.5"], 2, "keeps its settings"),
        (["--set", "train.ephocs=3"], 2, 'Did you mean "epochs"'),
        (["--set", "run.device=cuda"], 2, "needs a GPU"),
        (["--config", "x.toml"], 2, "found --config beside it"),
        (["--dry-run"], 2, "found --dry-run beside it"),
    ],
)
def test_what_resume_refuses(vtk, trained, dataset, arguments, code, message):
    before = {path: path.read_bytes() for path in trained.path.rglob("*") if path.is_file()}
    found, _, err = vtk("train", "--resume", trained.name, *arguments, root=dataset)
    assert found == code
    assert message in err
    assert {path: path.read_bytes() for path in trained.path.rglob("*") if path.is_file()} == before


def test_a_run_in_training_cannot_be_resumed_too(vtk, trained, dataset):
    with trained.lock():
        code, _, err = vtk("train", "--resume", trained.name, root=dataset)
    assert code == 2
    assert "is being trained by another process" in err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "Name a model"),
        (["tns"], 2, 'Did you mean "tsn"'),
        (["tsn", "toyste"], 2, 'Did you mean "toyset"'),
        (["tsn", "--set", "train.lerning_rate=1"], 2, 'section train has no key "lerning_rate"'),
        (["tsn", "--set", "trian.lr=1"], 2, 'Did you mean "train"'),
        (["tsn", "--set", "train.lr=high"], 2, "train.lr does not take 'high'"),
        (["tsn", "--set", "train.epochs=0"], 2, "needs epochs above 0"),
        (["tsn", "--set", "train.micro_batch=3"], 2, "multiple of train.micro_batch=3"),
        (["tsn", "--set", "train.loss=binary_cross_entropy"], 2, "needs train.loss=cross_entropy"),
        (["tsn", "--set", "run.precision=fp8"], 2, "run.precision does not take 'fp8'"),
        (["tsn", "--set", "run.device=cuda"], 2, "needs a GPU"),
        (["tsn", "--checkpoint-every", "soon"], 2, 'found "soon"'),
        (["tsn", "--config", "absent.toml"], 5, "no configuration file at absent.toml"),
        (["tsn", "--split", "trian"], 2, 'Did you mean "train"'),
        (["tsn", "--val-split", "vla"], 2, 'Did you mean "val"'),
        (["tsn", "--init", "nothing.safetensors"], 2, "nothing.safetensors"),
        (["tsn", "--set", "model.short_side=64", "--set", "data.store=frames-32"], 5, "at short side 64"),
        (["--resume", "yesterday"], 2, 'no run "yesterday"'),
    ],
)
def test_what_train_refuses_leaves_nothing(vtk, trained, dataset, arguments, code, message):
    before = sorted(dataset.rglob("*"))
    settings = [] if arguments[:1] == ["--resume"] else TINY[2:]
    found, out, err = vtk("train", *arguments[:1], *settings, *arguments[1:], root=dataset)
    assert message in err
    assert (found, out) == (code, "")
    assert "Traceback" not in err
    assert sorted(dataset.rglob("*")) == before


def test_no_dataset_at_all(vtk, tmp_path):
    code, _, err = vtk("train", "tsn", root=tmp_path)
    assert code == 5
    assert "vtk download NAME" in err


def test_a_split_that_no_clip_of_is_there(vtk, tmp_path):
    toy.make_dataset(tmp_path)
    with Catalog(tmp_path / "toyset" / "catalog.sqlite") as catalog:
        rows = [row.id for row in catalog.rows("train")]
    for shard in (tmp_path / "toyset" / "frames-32").glob("*.lmdb*"):
        shard.unlink()
    code, _, err = vtk("train", "tsn", *TINY, root=tmp_path)
    assert code == 5
    assert f"{len(rows)} of {len(rows)} videos" in err


def test_without_a_validation_split_it_says_so(vtk, tmp_path):
    toy.make_dataset(tmp_path, clips=5, val=0)
    code, out, err = vtk("train", "tsn", *TINY, "--json", root=tmp_path)
    assert code == 0, err
    assert "no validation split" in err
    assert json.loads(out)["best"] == {}
    run = RunDir(Path(json.loads(out)["path"]))
    assert not (run.checkpoints / "best.safetensors").exists()
    assert [e["step"] for e in run.read_log("step")] == [0], "five clips are one step of one micro-batch"


def test_a_dataset_smaller_than_a_batch_and_of_one_class(vtk, tmp_path):
    toy.make_dataset(tmp_path, clips=1, val=1)
    code, _, err = vtk("train", "tsn", *TINY, root=tmp_path)
    assert code == 0, err
    assert 'All clips of the split train are of the class "red"' in err
    assert "training: 1 of 1" in err


def test_starting_from_the_weights_of_another_run(vtk, trained, tmp_path):
    toy.make_dataset(tmp_path, clips=4, val=0)
    weights = trained.checkpoints / "last.safetensors"
    code, _, err = vtk("train", "tsn", *TINY[2:], "--init", weights, root=tmp_path)
    assert code == 0, err
    assert "initial weights: last.safetensors" in err
    assert RunDir.find(tmp_path / "runs", "latest").env()["initial_weights"] == "last.safetensors"


def test_frames_that_do_not_fit_the_model_are_refused_unless_the_files_are_asked_for(vtk, tmp_path):
    dataset = tiny.make(tmp_path).dataset
    create_store(dataset.store("frames-16"), replace(tiny.FRAMES, short_side=16))
    code, _, err = vtk("train", "tsn", *TINY, root=tmp_path)
    assert code == 5
    assert "reads rgb at short side 32 from a store; tiny has frames-16" in err
    assert "vtk extract tiny --short-side 32" in err
    assert vtk("train", "tsn", *TINY, "--set", "data.store=videos", root=tmp_path)[0] == 0
