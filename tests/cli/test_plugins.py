import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from made_plugins import write_distribution

from vtk_cli import registry
from vtk_cli.plugin_kit import inspect as kit
from vtk_cli.plugin_kit import trial

METRIC = """
from vtk_cli.api.metrics import MetricSpec
METRIC = MetricSpec(compute=lambda scores, labels: 0.0, summary="nothing")
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a distribution on the path of this process and of those that it starts."""

    def make(distribution, groups, version="1.0", **modules):
        site = write_distribution(tmp_path / "site" / distribution, distribution, groups, version, **modules)
        monkeypatch.syspath_prepend(site)
        before = os.environ.get("PYTHONPATH")
        monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{before}" if before else str(site))

    return make


@pytest.fixture
def few(monkeypatch):
    """Leaves the first-party models, trunks and flow methods out, which take seconds to import."""
    monkeypatch.setattr(registry, "GROUPS", {"vtk.metrics": "metric", "vtk.commands": "command"})


def lines(out):
    return {line.split()[1]: line for line in out.splitlines()[1:]}


def test_every_first_party_plugin_is_in_order(vtk):
    code, out, _ = vtk("plugins", "--json")
    found = json.loads(out)
    assert code == 0
    assert {"stnet", "tsn"} <= {plugin["name"] for plugin in found if plugin["group"] == "vtk.models"}
    wrong = [plugin for plugin in found if plugin["distribution"] == "vtk-cli" and not plugin["ok"]]
    assert wrong == []


def test_a_broken_plugin_is_one_line_with_its_reason(vtk, install, few):
    install("bad", {"vtk.metrics": {"worst": "bad_one:X"}}, "2.3", bad_one="raise RuntimeError('two\\nlines')")
    install("old", {"vtk.metrics": {"aged": "old_one:X"}}, old_one="class X:\n    api = 99\n")
    install("odd", {"vtk.metrics": {"strange": "odd_one:X"}}, odd_one="X = 3\n")
    code, out, err = vtk("plugins", "list")
    assert (code, err) == (0, "")
    found = lines(out)
    assert "bad           2.3" in found["worst"]
    assert "RuntimeError: two lines" in found["worst"]
    assert "plugin API 99" in found["aged"]
    assert "should be a MetricSpec, found int" in found["strange"]
    assert found["top1"].endswith("ok")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "signal SIGSEGV"),
        ("raise SystemExit(7)", "SystemExit: 7"),
        ("import os; os._exit(0)", "exit code 0"),
    ],
)
def test_a_plugin_that_ends_the_process_is_one_line_and_its_sisters_are_tried(vtk, install, few, source, words):
    points = {"aaa": "good_one:METRIC", "bbb": "bad_one:X", "ccc": "good_one:METRIC", "ddd": "bad_one:X"}
    install("acme", {"vtk.metrics": points}, bad_one=source, good_one="print('loud')\n" + METRIC)
    code, out, _ = vtk("plugins")
    found = lines(out)
    assert code == 0
    assert "loud" not in out
    assert words in found["bbb"]
    assert words in found["ddd"]
    assert found["aaa"].endswith("ok")
    assert found["ccc"].endswith("ok")
    assert found["top5"].endswith("ok")


def test_a_plugin_that_hangs_is_one_line(vtk, install, few, monkeypatch):
    monkeypatch.setattr(kit, "LOAD_SECONDS", 2.0)
    points = {"aaa": "good_one:METRIC", "bbb": "bad_one:X"}
    install("acme", {"vtk.metrics": points}, bad_one="import time; time.sleep(60)", good_one=METRIC)
    found = {v.name: v for v in kit.examine([p for p in kit.installed() if p.distribution == "acme"], contract=False)}
    assert (found["aaa"].ok, found["bbb"].ok) == (True, False)
    assert found["bbb"].reason == "does not finish within 2 s"


def test_a_clash_is_named_on_both_lines(vtk, install, few):
    install("acme", {"vtk.metrics": {"top1": "good_one:METRIC"}}, good_one=METRIC)
    found = json.loads(vtk("plugins", "--json")[1])
    reasons = {plugin["distribution"]: plugin["reason"] for plugin in found if plugin["name"] == "top1"}
    assert reasons == {
        "acme": "vtk-cli has a metric of this name too: type acme:top1",
        "vtk-cli": "acme has a metric of this name too: type vtk-cli:top1",
    }


def test_check_exits_with_4_and_says_which(vtk, install, few):
    install("bad", {"vtk.metrics": {"worst": "bad_one:X"}}, bad_one="1 / 0")
    code, out, err = vtk("plugins", "check", "worst")
    assert code == 4
    assert "ZeroDivisionError" in out
    assert "1 of 1 plugins are not in order: worst" in err
    assert vtk("plugins", "check", "vtk-cli:top1")[0] == 0


def test_check_of_an_unknown_name(vtk, few):
    code, _, err = vtk("plugins", "check", "top-1")
    assert code == 2
    assert 'Did you mean "top1"?' in err


def test_check_runs_the_contract_on_a_model(vtk, install):
    install("acme", {"vtk.models": {"forgetful": "model_one:MODEL"}}, model_one=FORGETFUL)
    code, out, _ = vtk("plugins", "check", "forgetful")
    assert code == 4
    assert "test_every_trainable_parameter_gets_a_finite_gradient: AssertionError: no gradient reaches unused" in out
    assert "test_forward_gives_logits_for_both_views" not in out


FORGETFUL = """
from dataclasses import dataclass
import torch
from torch import nn
from vtk_cli.api.inputs import IMAGENET, Augment, InputSpec, View
from vtk_cli.api.models import ModelSpec
from vtk_cli.api.recipes import TrainRecipe
from vtk_cli.api.sampling import dense

@dataclass(frozen=True)
class Config:
    crop: int = 8

class Net(nn.Module):
    def __init__(self, config, num_classes):
        super().__init__()
        self.fc = nn.Linear(3, num_classes)
        self.unused = nn.Parameter(torch.randn(1))
    def forward(self, clip):
        return self.fc(clip.mean((1, 2, 4, 5)))

view = View(segments=1, frames=4, short_side=8, crop=8, sampler=dense)
inputs = InputSpec(modality="rgb", train=view, test=view, norm=IMAGENET, augment=Augment(crop="random"))
MODEL = ModelSpec(config=Config, inputs=lambda config: inputs, build=Net, summary="forgets a parameter",
                  recipe=TrainRecipe(epochs=1, batch_size=2, lr=0.1), tiny=Config())
"""


def test_every_group_with_a_contract_or_a_type_is_a_group():
    assert set(trial.CONTRACTS) <= set(trial.EXPECTED) <= set(registry.GROUPS)


def test_new_writes_a_project_whose_tests_pass_and_whose_model_is_found(vtk, tmp_path):
    code, out, err = vtk("plugins", "new", "my-net", "--dir", tmp_path)
    assert code == 0
    written = {os.path.relpath(line, tmp_path) for line in out.splitlines()}
    assert written == {f"my-net/{name}" for name in (
        "pyproject.toml", "README.md", "my_net/__init__.py", "my_net/model.py", "tests/test_model.py",
    )}  # fmt: skip
    assert "vtk plugins check my-net" in err
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "tests"],
        cwd=tmp_path / "my-net", env={**os.environ, "PYTHONPATH": str(tmp_path / "my-net")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert int(done.stdout.split(" passed")[0].split()[-1]) >= 10


def test_a_new_project_is_tidy(vtk, tmp_path):
    vtk("plugins", "new", "my-net", "--dir", tmp_path)
    project = tmp_path / "my-net"
    for command in (["format", "--check"], ["check", "--select", "E,F,I,B,UP,RUF"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--no-cache", "--line-length", "120", str(project)]
        done = subprocess.run(ruff, cwd=project, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["My-Net", "9lives", "a b", "../up", "-x-", "net_"])
def test_new_refuses_what_cannot_be_a_name(vtk, tmp_path, name):
    code, _, err = vtk("plugins", "new", "--dir", tmp_path, "--", name)
    assert code == 2
    assert "lower-case words" in err
    assert list(tmp_path.iterdir()) == []


def test_new_never_writes_into_what_is_there(vtk, tmp_path):
    (tmp_path / "my-net").mkdir()
    code, _, err = vtk("plugins", "new", "my-net", "--dir", tmp_path)
    assert code == 2
    assert "is there already" in err
    assert list((tmp_path / "my-net").iterdir()) == []


def test_new_as_json(vtk, tmp_path):
    found = json.loads(vtk("plugins", "new", "my-net", "--dir", tmp_path, "--json")[1])
    assert found["name"] == "my-net"
    assert all(Path(path).is_file() for path in found["files"])
