"""`vtk predict`: name the actions in files, folders, a list from stdin, windows of long videos."""

from pathlib import Path
from typing import Annotated

import typer

from vtk_cli.commands import _options

app = typer.Typer()


@app.command()
def predict(
    run: Annotated[
        str,
        typer.Argument(
            help="Run (folder, name, how that begins, `latest`) or file of weights. Left out with --weights FILE or "
            "NAME.",
            autocompletion=_options.complete_run,
        ),
    ],
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH", help="Video files, folders of them, or - for a list on stdin.", show_default=False
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Classes to show.")] = 5,
    window: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Slide a window over long videos.", show_default=False)
    ] = None,
    step: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", help="From the start of one window to the next; else half a window.", show_default=False
        ),
    ] = None,
    clips: Annotated[
        int | None, typer.Option(help="Clips of each video (views in time) instead of the model's.", show_default=False)
    ] = None,
    crops: Annotated[
        int | None, typer.Option(help="Crops of each clip (1, 3, 5 or 10) instead of the model's.", show_default=False)
    ] = None,
    segments: Annotated[
        int | None, typer.Option(help="Segments of each clip instead of the model's.", show_default=False)
    ] = None,
    weights: _options.Weights = "best",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    root: _options.Root = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line on stdout.")] = False,
) -> None:
    """Name the actions in videos.

    A file that cannot be read is named with the reason and the rest goes on; then the exit code is 3.
    """
    import sys

    from vtk_cli.commands._running import names_run, other_weights, spatial_views
    from vtk_cli.errors import ItemsFailed, UsageError
    from vtk_cli.evaluate.answers import answers, show
    from vtk_cli.evaluate.classifier import load
    from vtk_cli.evaluate.files import Windows, find_videos
    from vtk_cli.workspace import Workspace

    if step is not None and window is None:
        raise UsageError("--step goes with --window SECONDS; name both, or neither.")
    windows = None if window is None else Windows(seconds=window, step_seconds=window / 2 if step is None else step)
    workspace = Workspace.locate(root)
    file = other_weights(weights, workspace)
    words = paths or []
    if file is not None and not names_run(run, workspace):
        words = [run, *words]
    named = [line.rstrip("\n") for path in words for line in (sys.stdin if path == "-" else [path])]
    classifier = load(
        file or run,
        root=root,
        weights=weights,
        device=device,
        clips=clips,
        crops=spatial_views(crops),
        segments=segments,
    )
    videos = list(find_videos(Path(name) for name in named if name.strip()))
    if not videos:
        raise UsageError("`vtk predict` needs a video, found none in what was named. Name files or folders of them.")
    failed = 0
    for answer in answers(classifier, videos, windows, top=top):
        show(answer, as_json=as_json)
        failed += answer.error != ""
    if failed:
        raise ItemsFailed(f"{failed} of {len(videos)} videos could not be read; see above for the reasons.")
