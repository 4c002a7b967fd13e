"""One session per promise. `nox` runs all that CI runs; `nox -s NAME` runs one; `nox -l` lists them."""

import json
import os
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["lint", "types", "layers", "tests", "docs", "wheel", "demo", "minimums", "zoo"]
nox.options.stop_on_first_error = False

ROOT = Path(__file__).parent
DEMO_MINUTES = 4
DEMO_TOP1 = 0.9


def install(session: nox.Session, *what: str) -> None:
    session.install("-c", "constraints.txt", *what)


@nox.session
def lint(session: nox.Session) -> None:
    """Every ruff rule that pyproject.toml does not give a reason against, and one formatting."""
    install(session, "ruff")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict."""
    install(session, "-e", ".[lint,test]")
    session.run("mypy")


@nox.session
def layers(session: nox.Session) -> None:
    """Imports form one line."""
    install(session, "import-linter")
    session.run("lint-imports", env={"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins")])})


@nox.session
def tests(session: nox.Session) -> None:
    """Everything that is fast; real clips and reference outputs lie in ../shared."""
    install(session, "-e", ".[opencv,test]")
    session.run("pytest", "-m", "not slow", "-n", "2", "--ignore=tests/docs", "--ignore=tests/zoo", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Every command of the tutorial runs, every generated page is up to date, every link leads somewhere."""
    install(session, "-e", ".[opencv,test]")
    session.run("pytest", "tests/docs", *session.posargs)


@nox.session
def wheel(session: nox.Session) -> None:
    """The slow tests: wheels into fresh environments, a third party's plugin, long runs."""
    install(session, "-e", ".[opencv,ray,test]", "build")
    session.run("pytest", "-m", "slow", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """The README's main job in a fresh environment: in time, and with StNet far above chance."""
    install(session, ".")
    root = session.create_tmp()
    out = session.run("vtk", "demo", "--json", "--root", f"{root}/data", silent=True, stderr=None)
    result = json.loads(str(out))
    minutes = result["seconds"] / 60
    session.log(f"top-1 {result['metrics']['top1']:.3f} in {minutes:.1f} minutes")
    if minutes > DEMO_MINUTES:
        session.warn(f"the demo should take at most {DEMO_MINUTES} minutes on two idle cores")
    if result["metrics"]["top1"] < DEMO_TOP1 or minutes > 2 * DEMO_MINUTES:  # the machine may be shared
        session.error(f"the demo should reach top-1 {DEMO_TOP1} within {DEMO_MINUTES} minutes")


@nox.session
def minimums(session: nox.Session) -> None:
    """The oldest versions that pyproject.toml admits."""
    session.install("-c", "minimums.txt", "-e", ".[opencv,test]")
    session.run("pytest", "tests/unit", "tests/contract", "-m", "not slow", "-n", "2", *session.posargs)


@nox.session
def zoo(session: nox.Session) -> None:
    """Our models against torchvision's and timm's, which need a build of torch of their own."""
    session.install("-c", "zoo.txt", "torch", "torchvision", "timm")
    session.install("-c", "zoo.txt", "-e", ".[test]")
    session.run("pytest", "tests/zoo", *session.posargs, env={"VTK_ZOO": "1"})


@nox.session
def bench(session: nox.Session) -> None:
    """Speed beside peers; on an idle machine. `nox -s bench -- tests/bench/shift.py --repeats 5` runs one script."""
    install(session, "-e", ".[opencv,test]", "imageio-ffmpeg")
    scripts = session.posargs or sorted(str(path) for path in Path("tests/bench").glob("*.py"))
    for words in [scripts] if session.posargs else [[script] for script in scripts]:
        session.run("python", *words)
