"""`vtk extract`: frames, optical flow and features into stores."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vtk_cli.commands._options import DatasetName, Json, Root, complete_decoder, complete_flow, complete_run
from vtk_cli.errors import UsageError

if TYPE_CHECKING:
    from vtk_cli.extract.layouts import Exported
    from vtk_cli.extract.run import Summary
    from vtk_cli.workspace import Workspace

app = typer.Typer()

OF_FEATURES = ("windows", "stride", "as_name", "dtype", "weights", "device")
"""Parameters that only --features has."""
OF_PICTURES = (
    *("flow", "short_side", "quality", "square_pixels", "decoder", "time_limit", "keep_truncated", "export", "layout"),
)
"""Parameters that --features does not have."""
READING = ("data.store", "data.decoder", "data.workers", "data.prefetch", "data.pin", "data.view_batch")
"""What --set changes with --features."""


def _complete_layout(incomplete: str) -> list[str]:
    return [name for name in ("tsn", "denseflow") if name.startswith(incomplete)]


@app.command()
def extract(
    ctx: typer.Context,
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
            help="Change a parameter of the flow method; repeatable. `vtk flows show METHOD` lists them. With "
            "--features data.KEY=VALUE: how clips are read.",
            show_default=False,
        ),
    ] = None,
    features: Annotated[
        str,
        typer.Option(
            metavar="RUN",
            help="Extract features instead: vectors that a trained model of clips makes. A run or a file of weights.",
            autocompletion=complete_run,
        ),
    ] = "",
    windows: Annotated[
        int | None, typer.Option(metavar="N", help="Features: N vectors of each video, evenly spread.")
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(metavar="FRAMES", help="Features: a vector every so many frames.", show_default="16"),
    ] = None,
    as_name: Annotated[
        str,
        typer.Option(
            "--as",
            metavar="NAME",
            help="Features: the store is features-NAME.",
            show_default="the model and its weights' digest",
        ),
    ] = "",
    dtype: Annotated[str, typer.Option(help="Features: type of the stored numbers, float16 or float32.")] = "float16",
    weights: Annotated[str, typer.Option(help="Features: checkpoint of the run: best, last or a file.")] = "best",
    device: Annotated[str, typer.Option(help="Features: auto, cpu, cuda or cuda:N.")] = "auto",
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
    workers: Annotated[
        int | None,
        typer.Option(
            help="Worker processes; of features they read.", show_default="one per core; features: half of it"
        ),
    ] = None,
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
    """Write frames, and with --flow also optical flow, of a dataset's clips into its stores; or features of them.

    Running the same command again finishes what is missing and changes nothing that is there. Clips that cannot be
    decoded are recorded with their cause and do not stop the rest.
    """
    part = _part(shard)
    if features:
        others = ("frames", *OF_PICTURES) if frames else OF_PICTURES
        _refuse(ctx, others, "Features are extracted alone, from the frames or files that the model reads")
        settings = [*(assignments or ()), *([] if workers is None else [f"data.workers={workers}"])]
        selection: dict[str, Any] = {
            "split": split,
            "limit": limit,
            "part": part,
            "shards": shards,
            "retry_failed": retry_failed,
        }
        store: dict[str, Any] = {"count": windows, "stride": stride, "name": as_name, "dtype": dtype}
        summary = _features(name, root, features, weights, device, settings, **store, **selection)
        _tell(summary, None, as_json=as_json)
        return
    _refuse(ctx, OF_FEATURES, "This is of features, which --features RUN extracts")

    from vtk_cli.extract.layouts import check_layout
    from vtk_cli.extract.layouts import export as export_folders
    from vtk_cli.extract.plan import Request, default_workers
    from vtk_cli.extract.run import extract as run
    from vtk_cli.workspace import Workspace

    check_layout(layout)
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
    _tell(summary, exported, as_json=as_json)


def _features(
    dataset: str | None,
    root: Path | None,
    run: str,
    weights: str,
    device: str,
    settings: list[str],
    *,
    count: int | None,
    stride: int | None,
    **request: Any,
) -> "Summary":
    """`settings`: data.KEY=VALUE; `request`: the rest of a `FeatureRequest`."""
    from vtk_cli.commands._running import data_options
    from vtk_cli.evaluate.classifier import load
    from vtk_cli.evaluate.feature_store import FeatureRequest, extract_features
    from vtk_cli.evaluate.feature_windows import STRIDE, FeatureWindows
    from vtk_cli.workspace import Workspace

    for key in (text.partition("=")[0].strip() for text in settings):
        if key.startswith("data.") and key not in READING:
            raise UsageError(f"With --features, --set takes {', '.join(READING)}; found {key}.")
    windows = FeatureWindows(count=count, stride=STRIDE if count is None and stride is None else stride)
    wanted = FeatureRequest(windows=windows, options=data_options(settings), **request)
    workspace = Workspace.locate(root)
    folder = workspace.dataset(dataset)
    network = load(
        _network(run, workspace), root=root, weights=weights, device=device, view_batch=wanted.options.view_batch
    )
    return extract_features(folder, network, wanted)


def _network(given: str, workspace: "Workspace") -> str | Path:
    """A run as it is named; else the file of weights that a name means, which may have to be fetched."""
    from vtk_cli.evaluate.published import find_weights
    from vtk_cli.run_dir import RunDir

    try:
        return RunDir.find(workspace.runs, given).path
    except UsageError:
        return find_weights(given, workspace, "--features takes a run (`vtk runs` lists them),")


def _refuse(ctx: typer.Context, names: tuple[str, ...], why: str) -> None:
    """Raises UsageError when one of these was given."""
    for name in names:
        source = ctx.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = next(parameter.opts[0] for parameter in ctx.command.params if parameter.name == name)
            raise UsageError(f"{why}; found {option} on the command line. Leave it out.")


def _tell(summary: "Summary", exported: "Exported | None", *, as_json: bool) -> None:
    from dataclasses import asdict

    from vtk_cli import console

    if as_json:
        console.emit({**asdict(summary), "export": exported and asdict(exported)})
    else:
        for line in summary.lines():
            console.say(line)
        if exported is not None:
            told = f"{exported.videos} videos in the {exported.layout} layout, {exported.written} new"
            console.say(f"{exported.folder}: {told}.")
    summary.check()


def _part(text: str) -> tuple[int, int]:
    first, slash, second = text.partition("/")
    if not (slash and first.isdecimal() and second.isdecimal()):
        raise UsageError(f'--shard takes I/N with I from 0 to N-1, such as 0/8; found "{text}".')
    return int(first), int(second)
