from dataclasses import replace

import pytest
import torch
import toy

from vtk_cli.config import resolve, to_toml
from vtk_cli.errors import UsageError
from vtk_cli.loader.options import DataOptions
from vtk_cli.train.options import RunOptions
from vtk_cli.train.settings import resumed_settings


@pytest.fixture
def defaults():
    return {"train": toy.RECIPE, "data": DataOptions(), "run": RunOptions()}


def written(path, defaults, *assignments):
    path.write_text(to_toml(resolve(defaults, assignments=assignments)))
    return path


def test_settings_come_back_with_their_origins(tmp_path, defaults):
    file = written(tmp_path / "config.toml", defaults, "train.lr=0.5", 'run.init="a  # b"', "data.workers=3")
    config, changed = resumed_settings(defaults, file, [])
    assert changed == []
    assert config["train"].lr == 0.5
    assert config["run"].init == "a  # b"
    assert config.origins["train.lr"] == "--set"
    assert config.origins["train.momentum"] == "default"
    assert to_toml(config).replace("[2.0]", "[2]") == file.read_text().replace("[2.0]", "[2]")


def test_what_may_change_changes_and_says_where_from(tmp_path, defaults):
    file = written(tmp_path / "config.toml", defaults, "train.lr=0.5")
    config, changed = resumed_settings(defaults, file, ["data.workers=0", "train.epochs=9", "run.device=cpu"])
    assert sorted(changed) == ["data.workers", "run.device", "train.epochs"]
    assert (config["data"].workers, config["train"].epochs) == (0, 9)
    text = to_toml(config)
    assert "workers = 0  # --resume --set" in text
    assert "lr = 0.5  # --set" in text
    file.write_text(text)
    assert resumed_settings(defaults, file, [])[0]["train"].epochs == 9


def test_the_same_value_is_no_change(tmp_path, defaults):
    file = written(tmp_path / "config.toml", defaults)
    assert resumed_settings(defaults, file, ["train.lr=0.05"])[1] == []


@pytest.mark.parametrize("assignment", ["train.batch_size=16", "run.seed=1", "run.precision=bf16", "data.store=videos"])
def test_what_the_steps_depend_on_stays(tmp_path, defaults, assignment):
    file = written(tmp_path / "config.toml", defaults)
    with pytest.raises(UsageError, match=r"keeps its settings.*train\.epochs"):
        resumed_settings(defaults, file, [assignment])


def test_a_cosine_keeps_its_length(tmp_path, defaults):
    defaults["train"] = replace(defaults["train"], schedule="cosine")
    file = written(tmp_path / "config.toml", defaults)
    with pytest.raises(UsageError, match="cosine schedule depends on the number of epochs"):
        resumed_settings(defaults, file, ["train.epochs=9"])


def test_compile_is_what_the_steps_run_through(tmp_path, monkeypatch):
    compiled = []

    def fake(model):
        return lambda clip: (compiled.append(len(clip)), model(clip))[1]

    monkeypatch.setattr(torch, "compile", fake)
    task = toy.make_task(replace(toy.RECIPE, epochs=1), options=RunOptions(compile=True))
    toy.make_trainer(tmp_path / "run", task).run()
    assert compiled == [4] * 5


@pytest.mark.parametrize("deterministic", [False, True])
def test_deterministic_holds_while_training_only(tmp_path, deterministic, monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    seen = []

    def validate(model, batches):
        seen.append((torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark))
        return {"top1": 0.5}

    options = RunOptions(deterministic=deterministic)
    toy.make_trainer(tmp_path / "run", toy.make_task(options=options, validate=validate)).run()
    assert set(seen) == {(deterministic, not deterministic)}
    assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.benchmark
