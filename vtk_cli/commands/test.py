"""`vtk test RUN` and `vtk test --weights NAME`: score a split, write the scores, print the metrics."""

from typing import Annotated

import typer

from vtk_cli.commands import _options

app = typer.Typer()


@app.command()
def main(
    run: Annotated[
        str | None,
        typer.Argument(
            help="Run: its folder, its name or how that begins, or `latest`. Left out with --weights FILE or NAME.",
            show_default=False,
            autocompletion=_options.complete_run,
        ),
    ] = None,
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
    weights: _options.Weights = "best",
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
    """Test a trained model, or published weights, by its paper's protocol or with other views.

    Writes scores/SPLIT.npz, .json and .activitynet.json in the run's folder; weights without a run get runs/NAME.
    """
    from vtk_cli.commands._running import data_options, names_run, other_weights, spatial_views
    from vtk_cli.console import emit, say, table
    from vtk_cli.errors import UsageError
    from vtk_cli.evaluate.adopt import run_of_weights
    from vtk_cli.evaluate.classifier import load
    from vtk_cli.evaluate.protocol import run_test
    from vtk_cli.run_dir import RunDir
    from vtk_cli.workspace import Workspace

    workspace = Workspace.locate(root)
    options = data_options(assignments)
    file = other_weights(weights, workspace)
    if file is not None and dataset is None and not names_run(run, workspace):
        run, dataset = None, run
    if run is not None:
        found = RunDir.find(workspace.runs, run)
    elif file is not None:
        dataset = workspace.dataset(dataset).name
        found = run_of_weights(file, workspace, dataset)
    else:
        raise UsageError("`vtk test` takes a RUN, or --weights FILE or NAME without one; found neither. Name one.")
    classifier = load(
        file or found.path,
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
