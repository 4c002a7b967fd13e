"""`vtk check`: look for damaged, missing and duplicate clips and damaged stores."""

import os
from typing import TYPE_CHECKING, Annotated

import typer

from vtk_cli.commands._options import DatasetName, Json, Root, complete_decoder
from vtk_cli.errors import ItemsFailed

if TYPE_CHECKING:
    from vtk_cli.check.run import CheckReport

app = typer.Typer()
_SHOWN = 20


@app.command()
def check(
    name: DatasetName = None,
    *,
    split: Annotated[str | None, typer.Option(help="Only this split.", show_default="all")] = None,
    decode: Annotated[bool, typer.Option(help="Decode every picture; else headers only.")] = True,
    workers: Annotated[
        int | None, typer.Option(help="Processes that open clips.", min=1, show_default="one per core")
    ] = None,
    time_limit: Annotated[float, typer.Option(help="Seconds for one clip.", min=1)] = 300,
    decoder: Annotated[
        str, typer.Option(help="Decoder plugin; `vtk plugins` lists them.", autocompletion=complete_decoder)
    ] = "pyav",
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Look for damaged, short, missing and duplicate clips, leaks between splits, and damaged stores.

    Clips are opened in processes of their own. What is found is kept in the catalog, so that a check can be stopped and
    run again, and unchanged files are not looked at twice. The report is check.json in the dataset's folder; exit code
    3 says that it holds problems. With --split, duplicates in other splits are not seen.
    """
    from vtk_cli import console
    from vtk_cli.check.run import check as run_check
    from vtk_cli.workspace import Workspace

    report = run_check(
        Workspace.locate(root).dataset(name),
        split=split,
        decode=decode,
        workers=workers or os.cpu_count() or 1,
        limit_seconds=time_limit,
        decoder=decoder,
    )
    if as_json:
        console.emit(report.as_json())
    else:
        _print(report)
    if report.findings:
        raise ItemsFailed(f"{len(report.findings)} problems were found; all of them are in {report.path}.")


def _print(report: "CheckReport") -> None:
    from vtk_cli import console
    from vtk_cli.check.findings import KINDS

    statuses = ", ".join(f"{count} {status}" for status, count in report.statuses.items())
    print(f"{report.dataset}: {report.videos} videos ({statuses}), {report.looked_at} looked at.")
    balance = report.balance
    if balance["labelled"]:
        fewest, most = balance["fewest"], balance["most"]
        empty = f"; without clips: {', '.join(balance['empty'][:10])}" if balance["empty"] else ""
        print(
            f"{balance['classes']} classes of {fewest['clips']} ({fewest['class']}) to {most['clips']} "
            f"({most['class']}) clips{empty}."
        )
    for store in report.stores:
        left = f", {store.not_extracted} not extracted yet" if store.not_extracted else ""
        print(f"{store.name}: {store.videos} videos{left}.")
    if report.findings:
        print()
        console.table(
            [{"problem": kind, "count": count, "meaning": KINDS[kind]} for kind, count in report.counts().items()],
            ["problem", "count", "meaning"],
        )
        print()
        console.table(
            [{"problem": f.kind, "id": f.id, "cause": f.cause} for f in report.findings[:_SHOWN]],
            ["problem", "id", "cause"],
        )
        if len(report.findings) > _SHOWN:
            print(f"... and {len(report.findings) - _SHOWN} more")
