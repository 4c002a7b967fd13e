"""`vtk demo`: every step of the main job on a small synthetic dataset, each as the command that a user would type."""

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vtk_cli import registry
from vtk_cli.commands._options import Json, Root, complete_model
from vtk_cli.errors import Interrupted, VtkError

if TYPE_CHECKING:
    from vtk_cli.run_dir import RunDir

app = typer.Typer()

SHORT_SIDE = 48
FLOW_CLIPS = 6
"""OpenCV's TV-L1 takes a second or two for each of these small clips, so the demo computes it for a few."""

SMALL = [
    f"model.short_side={SHORT_SIDE}",
    "model.crop=40",
    "train.epochs=4",
    "train.batch_size=16",
    "train.optimizer=adamw",
    "train.nesterov=false",
    "train.lr=0.001",
    "train.weight_decay=0.05",
    "train.schedule=cosine",
    "train.warmup_epochs=0.5",
]
SETTINGS = {
    "stnet": ["model.depth=18", "model.segments=3", "model.frames=5", "model.test_segments=3", *SMALL],
    "tsm": ["model.trunk=resnet18", "model.segments=8", *SMALL],
    "tsn": ["model.trunk=resnet18", "model.dropout=0.5", "model.test_segments=7", "model.test_crops=1", *SMALL],
}
"""Small networks, trained from random numbers in a minute or two; --set changes these, and is all for other models."""


@app.command()
def demo(
    root: Root = None,
    model: Annotated[
        str, typer.Option(help="Model to train.", autocompletion=complete_model, show_default=True)
    ] = "stnet",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change a training setting; repeatable."),
    ] = None,
    json_output: Json = False,
) -> None:
    """Run every step, down to the report, on a small synthetic dataset.

    The clips are real H.264 files whose classes need temporal order: the camera pans left, right, up or down.
    """
    from vtk_cli.run_dir import all_runs
    from vtk_cli.workspace import Workspace

    registry.find("vtk.models", model)
    workspace = Workspace.locate(root)
    started = time.monotonic()
    before = {run.name for run in all_runs(workspace.runs)}
    step = _Steps(root)
    step("download", "demo")
    step("extract", "demo", "--short-side", str(SHORT_SIDE))
    flow = _extract_flow(step)
    chosen = [f"--set={text}" for text in [*SETTINGS.get(model, SMALL), *(settings or [])]]
    step("train", model, "demo", "--init", "none", *chosen)
    run = next(run for run in reversed(all_runs(workspace.runs)) if run.name not in before)
    step("test", run.name)
    clips = sorted((workspace.dataset("demo").videos / "test").glob("*.mp4"))[:4]
    step("predict", run.name, *(_shown(clip) for clip in clips))
    step("report", run.name)
    _finish(run, time.monotonic() - started, flow, json_output)


def _shown(path: Path) -> str:
    """A path as a user would type it: relative where it lies below the working folder."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


class _Steps:
    """Runs vtk commands one after another, each shown as the user would type it."""

    def __init__(self, root: Path | None) -> None:
        self._root = [] if root is None else ["--root", str(root)]

    def __call__(self, *words: str) -> None:
        """Run `vtk WORDS`; its messages go to stderr, so that stdout keeps the demo's own result.

        Raises:
            VtkError: it failed, with its exit code.
        """
        words = (*words, *self._root)
        sys.stderr.write(f"\n$ vtk {shlex.join(words)}\n")
        sys.stderr.flush()
        code = _run([sys.executable, "-m", "vtk_cli", *words])
        if code == Interrupted.exit_code:
            raise Interrupted("The demo was interrupted. Run it again; what is done is kept.")
        if code:
            failed = VtkError(f"The step `vtk {words[0]}` failed with exit code {code}; its message is above.")
            failed.exit_code = code
            raise failed


def _run(command: list[str]) -> int:
    """Run a command and return its exit code; on Ctrl-C it is waited for, since the terminal tells it too."""
    # Two busy cores would spend more time waiting for each other than computing on pictures this small.
    threads = str(max(1, (os.cpu_count() or 1) // 2))
    env = {"OMP_NUM_THREADS": threads, **os.environ}
    with subprocess.Popen(command, stdout=sys.stderr, env=env) as child:  # noqa: S603  our own program
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:
                continue


def _extract_flow(step: _Steps) -> str:
    step(
        *("extract", "demo", "--flow", "tvl1", "--no-frames", "--short-side", str(SHORT_SIDE)),
        *("--split", "test", "--limit", str(FLOW_CLIPS)),
    )
    return f"Flow was computed for {FLOW_CLIPS} test clips; without --split and --limit the command does all."


def _finish(run: "RunDir", seconds: float, flow: str, json_output: bool) -> None:
    import json

    from vtk_cli import console

    scores = json.loads((run.scores / "test.json").read_text(encoding="utf-8"))
    if json_output:
        console.emit({"run": str(run.path), "report": str(run.report), "seconds": seconds, **scores})
        return
    console.say(f"\n{flow}")
    print(f"The demo took {console.duration(seconds)}; test top-1 is {scores['metrics']['top1']:.1%}, chance is 25 %.")
    print(f"Report: {run.report}")
