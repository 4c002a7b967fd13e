"""`vtk test RUN`: score a split, write the scores, print the metrics."""

from typing import Annotated

import typer

from vtk_cli.commands import _options

app = typer.Typer()


@app.command()
def main(
    run: Annotated[
        str,
        typer.Argument(
            help="Run: its folder, its name or how that begins, or `latest`.", autocompletion=_options.complete_run
        ),
    ],
    dataset: Annotated[
        str | None,
        typer.Argument(
            help="Dataset; the run's own if not named.", show_default=False, autocompletion=_options.complete_dataset
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Split; the dataset's test split if not named.", show_default=False)
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
    weights: Annotated[str, typer.Option(help="Checkpoint: best, last or a file.")] = "best",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="data.KEY=VALUE",
            help="Change how clips are loaded, such as data.workers=0; repeatable.",
            show_default=False,
        ),
    ] = None,
    root: _options.Root = None,
    as_json: _options.Json = False,
) -> None:
    """Test a trained model by its paper's protocol, or with other views.

    Writes scores/SPLIT.npz, .json and .activitynet.json in the run's folder.
    """
    from vtk_cli.commands._running import data_options, spatial_views
    from vtk_cli.console import emit, say, table
    from vtk_cli.evaluate.classifier import load
    from vtk_cli.evaluate.protocol import run_test
    from vtk_cli.run_dir import RunDir
    from vtk_cli.workspace import Workspace

    workspace = Workspace.locate(root)
    found = RunDir.find(workspace.runs, run)
    options = data_options(assignments)
    classifier = load(
        found.path,
        root=root,
        weights=weights,
        device=device,
        clips=clips,
        crops=spatial_views(crops),
        segments=segments,
        view_batch=options.view_batch,
    )
    result = run_test(found, classifier, workspace.dataset(dataset or found.info().dataset), split, options)
    if as_json:
        emit(result.summary)
        return
    table([{"metric": name, "value": value} for name, value in result.summary["metrics"].items()], ["metric", "value"])
    say(f"{result.summary['videos']} videos; scores in {result.path}")
