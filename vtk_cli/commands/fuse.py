"""`vtk fuse A B --weights 1,1.5`: the weighted mean of the scores of several runs or scores files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vtk_cli.commands import _options
from vtk_cli.errors import UsageError

if TYPE_CHECKING:
    from vtk_cli.evaluate.scores_file import Kind

app = typer.Typer()

CURVE_ROWS = 25
"""Rows shown of a weight search of more than two streams."""


def _complete_kind(incomplete: str) -> list[str]:
    return [name for name in ("logits", "probabilities") if name.startswith(incomplete)]


@app.command()
def main(
    streams: Annotated[
        list[str],
        typer.Argument(
            metavar="STREAM",
            help="Two or more: runs that were tested, or scores files (scores/SPLIT.npz).",
            autocompletion=_options.complete_run,
        ),
    ],
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="W,W...",
            help="One weight per stream, such as 1,1.5; only their ratio matters.",
            show_default="equal",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Split whose scores are fused.", show_default="the one that tests"),
    ] = None,
    of: Annotated[
        str | None,
        typer.Option(
            help="What is averaged: logits, as TSN does, or probabilities.",
            show_default="logits where all streams have them",
            autocompletion=_complete_kind,
        ),
    ] = None,
    search: Annotated[
        str | None,
        typer.Option(metavar="SPLIT", help="Search the weights on this split's scores instead.", show_default=False),
    ] = None,
    optimistic: Annotated[
        bool, typer.Option("--optimistic", help="Let --search use videos that are reported; labels the result.")
    ] = False,
    common: Annotated[
        bool, typer.Option("--common", help="Where streams lack videos, fuse those that all have.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npz", help="Write this file and no run.", show_default="runs/fused-DATASET-ID/scores"
        ),
    ] = None,
    root: _options.Root = None,
    as_json: _options.Json = False,
) -> None:
    """Fuse scores: the weighted mean of what several runs say of the same videos.

    The result is a scores file, which can be fused again, in a run of its own that `vtk report` and `vtk runs` show.
    The same command gives the same run. Different classes or videos are refused; another order of them is not.
    """
    from vtk_cli.console import emit, say, table
    from vtk_cli.evaluate.fuse_run import FusionRequest, run_fusion
    from vtk_cli.workspace import Workspace

    request = FusionRequest(
        streams=tuple(streams),
        weights=None if weights is None else _weights(weights),
        split=split,
        kind=_kind(of),
        search=search,
        optimistic=optimistic,
        common=common,
        out=out,
    )
    done = run_fusion(Workspace.locate(root), request)
    if as_json:
        emit({"path": done.path, **done.summary})
        return
    found = done.summary["fusion"]
    if "search" in found:
        _show_search(found["search"])
    columns = ["stream", "reads", "weight", *done.summary["metrics"]]
    rows = [{"stream": one["name"], **one, **one["metrics"]} for one in found["streams"]]
    table([*rows, {"stream": "fused", **done.summary["metrics"]}], columns)
    say(f"{done.summary['videos']} videos, {done.summary['scores']} averaged; scores in {done.path}")
    if done.run is not None:
        say(f"Next: vtk report {done.run.name}{f' --root {root}' if root else ''}")


def _weights(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError as error:
        raise UsageError(
            f'--weights takes numbers with commas between, such as 1,1.5; found "{text}". Write it so.'
        ) from error


def _kind(of: str | None) -> "Kind | None":
    kinds: dict[str | None, Kind | None] = {None: None, "logits": "logits", "probabilities": "probabilities"}
    if of not in kinds:
        raise UsageError(f'--of takes logits or probabilities, found "{of}". Name one of them.')
    return kinds[of]


def _show_search(found: dict[str, Any]) -> None:
    from vtk_cli.console import say, table, warn

    metric = found["metric"]
    rows = [
        {"weights": _ratio(point["weights"]), f"{found['split']} {metric}": point[metric]} for point in found["curve"]
    ]
    if len(found["weights"]) > 2:
        rows = sorted(rows, key=lambda row: -row[f"{found['split']} {metric}"])[:CURVE_ROWS]
    table(rows, list(rows[0]))
    print()
    say(
        f"Best of {len(found['curve'])} weights on {found['videos']} videos of {found['split']}: "
        f"{_ratio(found['weights'])} with {metric} {found['value']:.4g}."
    )
    if found["optimistic"]:
        warn("optimistic: the weights were searched on videos that are reported, so the fused numbers flatter.")


def _ratio(weights: list[float]) -> str:
    return ":".join(f"{weight:g}" for weight in weights)
