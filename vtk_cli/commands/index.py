"""`vtk index`: a dataset of the user's own videos."""

from pathlib import Path
from typing import Annotated

import typer

from vtk_cli.commands._options import Json, Root
from vtk_cli.errors import ItemsFailed, UsageError

app = typer.Typer()


def _complete_format(incomplete: str) -> list[str]:
    from vtk_cli.formats.known import NAMES

    return [name for name in NAMES if name.startswith(incomplete)]


@app.command()
def index(
    name: Annotated[str, typer.Argument(help="Name of the dataset to make.", show_default=False)],
    path: Annotated[
        Path, typer.Argument(help="Folder of class folders, list file, or folder of lists.", show_default=False)
    ],
    *,
    format_name: Annotated[
        str, typer.Option("--format", help="How the list is written.", autocompletion=_complete_format)
    ] = "auto",
    lists: Annotated[
        list[str] | None,
        typer.Option("--list", metavar="SPLIT=FILE", help="List of one split; repeatable. PATH is the videos' folder."),
    ] = None,
    videos: Annotated[
        Path | None, typer.Option(help="Folder that the list's paths start from.", show_default="the list's")
    ] = None,
    classes: Annotated[Path | None, typer.Option(help="Class names in label order, one per line.")] = None,
    split: Annotated[str, typer.Option(help="Split of clips whose source names none.", show_default=False)] = "",
    val_fraction: Annotated[float, typer.Option(help="Of each class for val, where no split is named.")] = 0.1,
    test_fraction: Annotated[float, typer.Option(help="Of each class for test, where no split is named.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Another seed draws another division.")] = 0,
    separator: Annotated[str, typer.Option(help="Between the fields of SlowFast's csv.", show_default="blank")] = "",
    flow_method: Annotated[str, typer.Option(help="Frame folders: what computed their flow.")] = "tvl1",
    bound: Annotated[
        float | None, typer.Option(help="Frame folders: pixels to which flow was clipped.", show_default="20")
    ] = None,
    workers: Annotated[int, typer.Option(help="Frame folders: processes that fill the stores.", min=1)] = 1,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave wrong rows out; exit 3 and a list.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Put this in place of the dataset of that name.")] = False,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Make a dataset of your own videos, which stay where they are.

    PATH holds a folder per class (also below train, val and test), or lists in a format of MMAction2, TSN, SlowFast,
    Kinetics, kenshohara, UCF101, HMDB51, Something-Something, Jester or Moments in Time. Every row is checked before
    anything is written. Without splits in the source each class is divided by a hash of the ids; clips cut from one
    recording may then be in several splits, so give lists where that matters.

    With --format tsn-frames, denseflow-frames or mmaction2-rawframes PATH holds frame folders: pictures are copied into
    a store unchanged, flow is encoded once more.
    """
    from vtk_cli import console
    from vtk_cli.formats.known import FRAMES
    from vtk_cli.index.request import IndexRequest
    from vtk_cli.index.run import make_dataset
    from vtk_cli.workspace import Workspace

    request = IndexRequest(
        path=path,
        format=format_name,
        lists=tuple(_list_option(text) for text in lists or ()),
        videos=videos,
        classes=classes,
        split=split,
        val_fraction=val_fraction,
        test_fraction=test_fraction,
        seed=seed,
        separator=separator,
        flow_method=flow_method,
        bound=bound,
        skip_bad=skip_bad,
    )
    if format_name not in FRAMES and (bound is not None or flow_method != "tvl1" or workers != 1):
        raise UsageError(
            "--bound, --flow-method and --workers go with frame folders, found them with "
            f"--format {format_name}. Leave them out, or name the layout: {', '.join(FRAMES)}."
        )
    result = make_dataset(Workspace.locate(root), name, request, replace=replace, workers=workers)
    for note in result.notes:
        console.say(note)
    if as_json:
        console.emit(result.as_json())
    else:
        done = "made" if result.changed else "is there already, unchanged"
        splits = ", ".join(f"{count} {split}" for split, count in result.splits.items())
        print(f"Dataset {name} {done}: {result.videos} videos ({splits}) of {result.classes} classes.")
        print(f"Label order: {result.label_order}.")
    if result.failed:
        raise ItemsFailed(
            f"{result.failed} items were left out; the list is in {result.failed_list}. Mend them and run this again."
        )


def _list_option(text: str) -> tuple[str, Path]:
    split, equals, file = text.partition("=")
    if not equals or not split or not file:
        raise UsageError(f'--list takes SPLIT=FILE, such as train=train.txt; found "{text}".')
    return split, Path(file)
