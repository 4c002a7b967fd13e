"""`vtk download`: get a public dataset."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vtk_cli.commands._options import Json, Root, complete_recipe
from vtk_cli.errors import ItemsFailed

if TYPE_CHECKING:
    from vtk_cli.download import Plan
    from vtk_cli.fetch.outcome import Result

app = typer.Typer()


@app.command()
def download(
    name: Annotated[
        str,
        typer.Argument(help="Dataset; `vtk datasets` lists them.", show_default=False, autocompletion=complete_recipe),
    ],
    *,
    splits: Annotated[
        list[str] | None,
        typer.Option(
            "--split", metavar="SPLIT", help="Only these splits; repeatable, or with commas.", show_default=False
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="A small trial of at most this many clips.", show_default=False)
    ] = None,
    local: Annotated[
        Path | None,
        typer.Option("--from", help="Folder of files or clips fetched by hand; no network.", show_default=False),
    ] = None,
    mirror: Annotated[
        str, typer.Option(envvar="VTK_MIRROR", help="URL that stands for the official hosts.", show_default=False)
    ] = "",
    jobs: Annotated[int, typer.Option(min=1, help="Archives in work at the same time.")] = 4,
    keep_archives: Annotated[
        bool, typer.Option("--keep-archives", help="Keep archives after unpacking: twice the disk.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say files, bytes and free disk; change nothing.")] = False,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Get a public dataset: fetch, verify, unpack, and say of every clip whether it is there or why not.

    Running it again does what is missing and nothing else. Exit code 3 means that some clips cannot be had;
    missing.csv in the dataset's folder lists them.
    """
    from vtk_cli import download as engine
    from vtk_cli.console import warn
    from vtk_cli.fetch.outcome import explain_missing
    from vtk_cli.workspace import Workspace

    workspace = Workspace.locate(root)
    chosen = [split for given in splits or [] for split in given.split(",") if split]
    options = engine.Options(
        splits=chosen, limit=limit, local=local, mirror=mirror, jobs=jobs, keep_archives=keep_archives
    )
    if dry_run:
        _show_plan(engine.plan(name, workspace, options), as_json=as_json)
        return
    result = engine.download(name, workspace, options)
    for archive, cause in result.failures.items():
        warn(f"{archive}: {cause}")
    _show_result(result, as_json=as_json)
    if result.missing or result.failures:
        raise ItemsFailed(explain_missing(result, engine.recipe_of(name)))


def _show_plan(plan: "Plan", *, as_json: bool) -> None:
    from dataclasses import asdict

    from vtk_cli.console import emit, size, table

    if as_json:
        emit(asdict(plan))
        return
    rows = [{**file, "done": "yes" if file["done"] else "no"} for file in plan.files]
    table(rows, ["url", "bytes", "done"])
    typer.echo(
        f"{plan.dataset}: {len(plan.files)} files, {size(plan.bytes)} to fetch, at most {size(plan.disk_bytes)} of "
        f"disk needed, {size(plan.free_bytes)} free at {plan.folder}"
    )


def _show_result(result: "Result", *, as_json: bool) -> None:
    from dataclasses import asdict

    from vtk_cli.console import duration, emit, size, table

    if as_json:
        emit(asdict(result))
        return
    table(
        [{"split": split, **counts} for split, counts in result.splits.items()], ["split", "ready", "missing", "broken"]
    )
    extra = f", {result.extra} clips of the archives are in no annotation" if result.extra else ""
    typer.echo(
        f"{result.dataset}: {result.ready} of {result.listed} clips in {result.folder}, {size(result.bytes_fetched)} "
        f"fetched in {duration(result.seconds)}{extra}"
    )
