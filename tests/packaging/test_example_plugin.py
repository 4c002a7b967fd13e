"""A third party's plugin from its wheel, beside vtk's wheel, in a fresh environment.

Everything is installed from the package index into an empty environment, torch included (about a minute); nothing of
the environment that runs the tests is visible there.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from made_plugins import write_distribution

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLE = REPOSITORY / "plugins" / "vtk-example"
SMALL = ["model.frames=8", "model.stride=2", "model.width=12", "model.clips=1"]


@dataclass(frozen=True)
class Environment:
    """A virtual environment and a workspace for its vtk."""

    folder: Path
    workspace: Path

    @property
    def site(self) -> Path:
        return next(self.folder.glob("lib/python*/site-packages"))

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        clean = {
            key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
        }
        return subprocess.run(
            [str(self.folder / "bin" / command[0]), *command[1:]],
            cwd=self.folder, env={**clean, "VTK_HOME": str(self.workspace)}, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def vtk(self, *arguments: str, code: int = 0) -> str:
        done = self.run("vtk", *arguments)
        assert done.returncode == code, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    base = tmp_path_factory.mktemp("packaging")
    wheels = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--wheel-dir",
        str(base),
        str(REPOSITORY),
        str(EXAMPLE),
    ]
    subprocess.run(wheels, check=True, capture_output=True)
    built = sorted(base.glob("*.whl"))
    assert [wheel.name.split("-")[0] for wheel in built] == ["vtk_cli", "vtk_example"]
    subprocess.run([sys.executable, "-m", "venv", str(base / "env")], check=True)
    made = Environment(base / "env", base / "workspace")
    done = made.run("python", "-m", "pip", "install", "-q", "-c", str(REPOSITORY / "constraints.txt"), *map(str, built))
    assert done.returncode == 0, done.stderr
    return made


def test_is_listed_and_in_order(environment):
    assert "example-c3d" in environment.vtk("models")
    found = {plugin["name"]: plugin for plugin in json.loads(environment.vtk("plugins", "--json"))}
    assert found["example-c3d"]["distribution"] == "vtk-example"
    assert found["example-c3d"]["ok"]
    assert "ok" in environment.vtk("plugins", "check", "vtk-example:example-c3d")


def test_nothing_comes_from_outside_the_environment(environment):
    paths = environment.run("python", "-c", "import vtk_cli, vtk_models, vtk_example, torch; "
                            "print(vtk_cli.__file__, vtk_models.__file__, vtk_example.__file__, torch.__file__)")  # fmt: skip
    assert all(path.startswith(str(environment.folder)) for path in paths.stdout.split())
    assert len(paths.stdout.split()) == 4


def test_learns_the_demo_by_its_name(environment):
    settings = [word for setting in SMALL for word in ("--set", setting)]
    result = json.loads(environment.vtk("demo", "--json", "--model", "example-c3d", *settings))
    assert result["metrics"]["top1"] >= 0.9  # chance is 0.25
    assert "example-c3d" in Path(result["report"]).read_text()
    run = json.loads(environment.vtk("runs", "--json"))[0]
    assert (run["model"], run["status"], run["epochs_done"]) == ("example-c3d", "finished", 4)


def test_a_new_project_is_complete(environment, tmp_path):
    environment.vtk("plugins", "new", "my-net", "--dir", str(tmp_path))
    done = environment.run("pip", "install", "-q", "--no-deps", "-e", str(tmp_path / "my-net"))
    assert done.returncode == 0, done.stderr
    assert environment.vtk("plugins", "check", "my-net").rstrip().endswith("ok")


def test_bad_plugins_are_a_line_each_and_disturb_nothing(environment):
    before = environment.vtk("models")
    site = environment.site
    write_distribution(
        site, "bad-import", {"vtk.models": {"broken": "bad_import:MODEL"}}, bad_import="import not_there"
    )
    write_distribution(site, "bad-clash", {"vtk.models": {"stnet": "vtk_example.c3d:MODEL"}})
    write_distribution(site, "bad-api", {"vtk.models": {"future": "bad_api:MODEL"}}, bad_api=FUTURE)
    lines = bad_lines(environment)
    assert "No module named 'not_there'" in lines["bad-import"]
    assert "type bad-clash:stnet" in lines["bad-clash"]
    assert "plugin API 2" in lines["bad-api"]
    assert len(lines) == 3
    listed = environment.vtk("models")
    assert all(line.split()[0] in listed for line in before.splitlines())
    said = environment.run("vtk", "train", "stnet").stderr
    assert "bad-clash:stnet or vtk-cli:stnet" in said
    assert "Traceback" not in said
    assert environment.run("vtk", "train", "broken").returncode == 4


def test_a_plugin_that_ends_the_process_is_a_line_and_disturbs_nothing(environment):
    points = {"vtk.models": {"crash": "bad_crash:MODEL"}}
    write_distribution(environment.site, "bad-crash", points, bad_crash="import os; os.abort()")
    assert "SIGABRT" in bad_lines(environment)["bad-crash"]
    assert "example-c3d" in environment.vtk("models")


def bad_lines(environment):
    """Lines of `vtk plugins` by distribution, of those that begin with bad."""
    found = [(line.split()[2], line) for line in environment.vtk("plugins").splitlines()]
    bad = [(owner, line) for owner, line in found if owner.startswith("bad-")]
    assert len(bad) == len(dict(bad))
    return dict(bad)


FUTURE = """
import dataclasses
from vtk_example.c3d import MODEL as C3D
MODEL = dataclasses.replace(C3D, api=2)
"""
