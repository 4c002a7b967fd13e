"""`vtk extract`: frames and optical flow into stores."""

from pathlib import Path
from typing import Annotated

import typer

from vtk_cli.commands._options import DatasetName, Json, Root, complete_decoder, complete_flow
from vtk_cli.errors import UsageError

app = typer.Typer()


def _complete_layout(incomplete: str) -> list[str]:
    return [name for name in ("tsn", "denseflow") if name.startswith(incomplete)]


@app.command()
def extract(
    name: DatasetName = None,
    *,
    frames: Annotated[bool, typer.Option(help="Extract frames.")] = True,
    flow: Annotated[
        str, typer.Option(metavar="METHOD", help="Extract flow too; see `vtk flows`.", autocompletion=complete_flow)
    ] = "",
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="flow.KEY=VALUE",
            help="Change a parameter of the flow method; repeatable. `vtk flows show METHOD` lists them.",
            show_default=False,
        ),
    ] = None,
    short_side: Annotated[int, typer.Option(help="Pixels of the shorter side of a stored picture.")] = 256,
    quality: Annotated[int, typer.Option(help="JPEG quality, 1 to 100.")] = 95,
    square_pixels: Annotated[
        bool, typer.Option(help="Apply the clips' sample aspect ratio; other tools ignore it.")
    ] = True,
    decoder: Annotated[
        str, typer.Option(help="Decoder plugin; `vtk plugins` lists them.", autocompletion=complete_decoder)
    ] = "pyav",
    split: Annotated[str | None, typer.Option(help="Only clips of this split.", show_default=False)] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first N clips.", show_default=False)] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes.", show_default="one per core")] = None,
    shard: Annotated[
        str, typer.Option(metavar="I/N", help="Only shards I, I+N, I+2N ...; I counts from 0. For job arrays.")
    ] = "0/1",
    shards: Annotated[int | None, typer.Option(help="Shards of a store that is made now.", show_default="64")] = None,
    time_limit: Annotated[
        float, typer.Option(help="Seconds without a new picture after which a clip counts as failed.")
    ] = 120,
    keep_truncated: Annotated[
        bool, typer.Option("--keep-truncated", help="Keep the frames of clips that are cut off.")
    ] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try again what failed before.")] = False,
    export: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Then write folders of pictures.", show_default=False)
    ] = None,
    layout: Annotated[
        str, typer.Option(help="Numbering of --export: tsn or denseflow.", autocompletion=_complete_layout)
    ] = "tsn",
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Write frames, and with --flow also optical flow, of a dataset's clips into its stores.

    Running the same command again finishes what is missing and changes nothing that is there. Clips that cannot be
    decoded are recorded with their cause and do not stop the rest.
    """
    from dataclasses import asdict

    from vtk_cli import console
    from vtk_cli.extract.layouts import check_layout
    from vtk_cli.extract.layouts import export as export_folders
    from vtk_cli.extract.plan import Request, default_workers
    from vtk_cli.extract.run import extract as run
    from vtk_cli.workspace import Workspace

    check_layout(layout)
    part = _part(shard)
    if export is not None and part != (0, 1):
        raise UsageError(
            "--export writes the whole selection, --shard extracts a part. Export when all parts are done."
        )
    request = Request(
        frames=frames,
        flow=flow,
        flow_settings=tuple(assignments or ()),
        short_side=short_side,
        quality=quality,
        square_pixels=square_pixels,
        decoder=decoder,
        shards=shards,
        split=split,
        limit=limit,
        part=part,
        workers=default_workers() if workers is None else workers,
        time_limit=time_limit,
        keep_truncated=keep_truncated,
        retry_failed=retry_failed,
    )
    dataset = Workspace.locate(root).dataset(name)
    summary = run(dataset, request)
    exported = None
    if export is not None and any(summary.present.values()):
        exported = export_folders(
            dataset, list(summary.stores.values()), export, layout, split=split, limit=limit, workers=request.workers
        )
    if as_json:
        console.emit({**asdict(summary), "export": exported and asdict(exported)})
    else:
        for line in summary.lines():
            console.say(line)
        if exported is not None:
            console.say(f"{exported.folder}: {exported.videos} videos in the {layout} layout, {exported.written} new.")
    summary.check()


def _part(text: str) -> tuple[int, int]:
    first, slash, second = text.partition("/")
    if not (slash and first.isdecimal() and second.isdecimal()):
        raise UsageError(f'--shard takes I/N with I from 0 to N-1, such as 0/8; found "{text}".')
    return int(first), int(second)
