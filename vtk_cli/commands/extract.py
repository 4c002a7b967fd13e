"""`vtk extract`: frames, optical flow and features into stores."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vtk_cli.commands import _extract_options as option
from vtk_cli.commands._options import DatasetName, Json, Root
from vtk_cli.errors import UsageError

if TYPE_CHECKING:
    from vtk_cli.extract.layouts import Exported
    from vtk_cli.extract.plan import Request
    from vtk_cli.extract.run import Summary
    from vtk_cli.workspace import DatasetDir

app = typer.Typer()

OF_FEATURES = ("windows", "stride", "as_name", "dtype", "weights", "device")
"""Parameters that only --features has."""
OF_OUTPUT = ("export", "layout", "preview", "preview_clips")
"""Parameters of what is written after extraction."""
OF_PICTURES = (
    *("flow", "warped", "short_side", "quality", "flow_codec", "square_pixels", "decoder", "engine", "time_limit"),
    *("keep_truncated", "dry_run", *OF_OUTPUT),
)
"""Parameters that --features does not have."""


@app.command()
def extract(
    ctx: typer.Context,
    name: DatasetName = None,
    *,
    frames: option.Frames = True,
    flow: option.Flow = "",
    warped: option.Warped = False,
    assignments: option.Assignments = None,
    features: option.Features = "",
    windows: option.Windows = None,
    stride: option.Stride = None,
    as_name: option.AsName = "",
    dtype: option.Dtype = "float16",
    weights: option.FeatureWeights = "best",
    device: option.Device = "auto",
    short_side: option.ShortSide = 256,
    quality: option.Quality = 95,
    flow_codec: option.FlowCodec = "jpeg",
    square_pixels: option.SquarePixels = True,
    decoder: option.DecoderName = "pyav",
    split: option.Split = None,
    limit: option.Limit = None,
    workers: option.Workers = None,
    engine: option.EngineName = "local",
    shard: option.Shard = "0/1",
    shards: option.Shards = None,
    time_limit: option.TimeLimit = 120,
    keep_truncated: option.KeepTruncated = False,
    retry_failed: option.RetryFailed = False,
    dry_run: option.DryRun = False,
    export: option.Export = None,
    layout: option.LayoutName = "tsn",
    preview: option.Preview = None,
    preview_clips: option.PreviewClips = 4,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Write frames, and with --flow also optical flow, of a dataset's clips into its stores; or features of them.

    Running the same command again finishes what is missing and changes nothing that is there. Clips that cannot be
    decoded are recorded with their cause and do not stop the rest.
    """
    given = {key: value for key, value in locals().items() if key != "ctx"}
    given["part"] = _part(shard)
    _check_together(ctx, given)
    if features:
        _tell(_features(given), as_json=as_json)
        return
    from vtk_cli.workspace import Workspace

    request = _request(given)
    dataset = Workspace.locate(root).dataset(name)
    if dry_run:
        _tell_estimate(dataset, request, as_json=as_json)
        return
    from vtk_cli.extract.run import extract as run

    summary = run(dataset, request)
    _tell(summary, *_outputs(dataset, summary, given), as_json=as_json)


def _check_together(ctx: typer.Context, given: dict[str, Any]) -> None:
    """Raises UsageError where options exclude or need each other."""
    from vtk_cli.extract.layouts import check_layout

    check_layout(given["layout"])
    if given["features"]:
        others = ("frames", *OF_PICTURES) if given["frames"] else OF_PICTURES
        _refuse(ctx, others, "Features are extracted alone, from the frames or files that the model reads")
        return
    _refuse(ctx, OF_FEATURES, "This is of features, which --features RUN extracts")
    if given["dry_run"]:
        _refuse(ctx, OF_OUTPUT, "--dry-run writes nothing")
    if given["export"] is None:
        _refuse(ctx, ("layout",), "The numbering is that of --export DIR")
    elif given["part"] != (0, 1):
        raise UsageError(
            "--export writes the whole selection, --shard extracts a part. Export when all parts are done."
        )
    if given["preview"] is None:
        _refuse(ctx, ("preview_clips",), "Previews are written by --preview DIR")


def _refuse(ctx: typer.Context, names: tuple[str, ...], why: str) -> None:
    """Raises UsageError when one of these was given."""
    for name in names:
        source = ctx.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            word = next(parameter.opts[0] for parameter in ctx.command.params if parameter.name == name)
            raise UsageError(f"{why}; found {word} on the command line. Leave it out.")


def _features(given: dict[str, Any]) -> "Summary":
    from vtk_cli.commands._extract_features import extract_features

    workers = given["workers"]
    settings = [*(given["assignments"] or ()), *([] if workers is None else [f"data.workers={workers}"])]
    return extract_features(
        given["name"],
        given["root"],
        given["features"],
        given["weights"],
        given["device"],
        settings,
        count=given["windows"],
        name=given["as_name"],
        **{key: given[key] for key in ("stride", "dtype", "split", "limit", "part", "shards", "retry_failed")},
    )


def _request(given: dict[str, Any]) -> "Request":
    """What was asked for, checked."""
    from dataclasses import fields

    from vtk_cli.extract.plan import Request

    named = {field.name: given[field.name] for field in fields(Request) if field.name in given}
    return Request(flow_settings=tuple(given["assignments"] or ()), **named)


def _outputs(
    dataset: "DatasetDir", summary: "Summary", given: dict[str, Any]
) -> tuple["Exported | None", list[Path] | None]:
    """Write the folders and the films that were asked for; nothing where the stores have none of the clips."""
    if not any(summary.present.values()):
        return None, None
    exported = films = None
    if given["export"] is not None:
        from vtk_cli.extract.layouts import export
        from vtk_cli.extract.plan import default_workers

        workers = given["workers"] or default_workers()
        selection = {"split": given["split"], "limit": given["limit"], "workers": workers}
        exported = export(dataset, list(summary.stores.values()), given["export"], given["layout"], **selection)
    if given["preview"] is not None:
        from vtk_cli.extract.preview import write_previews

        count = given["preview_clips"]
        films = write_previews(dataset, summary.stores, given["preview"], split=given["split"], count=count)
    return exported, films


def _tell(
    summary: "Summary", exported: "Exported | None" = None, films: list[Path] | None = None, *, as_json: bool
) -> None:
    from dataclasses import asdict

    from vtk_cli import console

    if as_json:
        console.emit({**asdict(summary), "export": exported and asdict(exported), "previews": films})
    else:
        for line in summary.lines():
            console.say(line)
        if exported is not None:
            told = f"{exported.videos} videos in the {exported.layout} layout, {exported.written} new"
            console.say(f"{exported.folder}: {told}.")
        for film in films or ():
            console.say(f"Preview: {film}")
    summary.check()


def _tell_estimate(dataset: "DatasetDir", request: "Request", *, as_json: bool) -> None:
    from dataclasses import asdict

    from vtk_cli import console
    from vtk_cli.extract.estimate import estimate

    found = estimate(dataset, request)
    if as_json:
        console.emit(asdict(found))
    else:
        console.table(found.rows(), ["store", "there", "to add", "a clip"])
        for line in found.lines():
            typer.echo(line)
    if not found.enough:
        console.warn(found.warning())


def _part(text: str) -> tuple[int, int]:
    first, slash, second = text.partition("/")
    if not (slash and first.isdecimal() and second.isdecimal()):
        raise UsageError(f'--shard takes I/N with I from 0 to N-1, such as 0/8; found "{text}".')
    return int(first), int(second)
