"""The options of `vtk extract`, in the order in which --help lists them."""

from pathlib import Path
from typing import Annotated

import typer

from vtk_cli.commands._options import complete_decoder, complete_flow, complete_run


def _complete_layout(incomplete: str) -> list[str]:
    return [name for name in ("tsn", "denseflow") if name.startswith(incomplete)]


def _complete_codec(incomplete: str) -> list[str]:
    return [name for name in ("jpeg", "png") if name.startswith(incomplete)]


def _complete_engine(incomplete: str) -> list[str]:
    return [name for name in ("local", "ray") if name.startswith(incomplete)]


# What is extracted
Frames = Annotated[bool, typer.Option(help="Extract frames.")]
Flow = Annotated[
    str, typer.Option(metavar="METHOD", help="Extract flow too; see `vtk flows`.", autocompletion=complete_flow)
]
Warped = Annotated[
    bool, typer.Option("--warped", help="Extract flow without the camera's motion too, into a store of its own.")
]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="flow.KEY=VALUE",
        help="Change a parameter of the flow method; repeatable. `vtk flows show METHOD` lists them. With --warped "
        "also warp.KEY=VALUE; with --features data.KEY=VALUE: how clips are read.",
        show_default=False,
    ),
]
Features = Annotated[
    str,
    typer.Option(
        metavar="RUN",
        help="Extract features instead: vectors that a trained model of clips makes. A run or a file of weights.",
        autocompletion=complete_run,
    ),
]
Windows = Annotated[int | None, typer.Option(metavar="N", help="Features: N vectors of each video, evenly spread.")]
Stride = Annotated[
    int | None, typer.Option(metavar="FRAMES", help="Features: a vector every so many frames.", show_default="16")
]
AsName = Annotated[
    str,
    typer.Option(
        "--as",
        metavar="NAME",
        help="Features: the store is features-NAME.",
        show_default="the model and its weights' digest",
    ),
]
Dtype = Annotated[str, typer.Option(help="Features: type of the stored numbers, float16 or float32.")]
FeatureWeights = Annotated[str, typer.Option(help="Features: checkpoint of the run: best, last or a file.")]
Device = Annotated[str, typer.Option(help="Features: auto, cpu, cuda or cuda:N.")]

# How pictures are stored
ShortSide = Annotated[int, typer.Option(help="Pixels of the shorter side of a stored picture.")]
Quality = Annotated[int, typer.Option(help="JPEG quality, 1 to 100.")]
FlowCodec = Annotated[
    str,
    typer.Option(help="How flow is stored: jpeg, or png, which loses nothing more.", autocompletion=_complete_codec),
]
SquarePixels = Annotated[bool, typer.Option(help="Apply the clips' sample aspect ratio; other tools ignore it.")]
DecoderName = Annotated[
    str, typer.Option(help="Decoder plugin; `vtk plugins` lists them.", autocompletion=complete_decoder)
]

# Which clips, and who works
Split = Annotated[str | None, typer.Option(help="Only clips of this split.", show_default=False)]
Limit = Annotated[int | None, typer.Option(help="Only the first N clips.", show_default=False)]
Workers = Annotated[
    int | None,
    typer.Option(
        help="Worker processes; with --engine ray tasks in work; of features they read.",
        show_default="one per core; features: half of it",
    ),
]
EngineName = Annotated[
    str,
    typer.Option(
        help="Who runs the workers: local, or ray: the Ray cluster that RAY_ADDRESS names, else one that is started "
        "here. Every machine needs vtk and the same paths.",
        autocompletion=_complete_engine,
    ),
]
Shard = Annotated[
    str, typer.Option(metavar="I/N", help="Only shards I, I+N, I+2N ...; I counts from 0. For job arrays.")
]
Shards = Annotated[int | None, typer.Option(help="Shards of a store that is made now.", show_default="64")]
TimeLimit = Annotated[float, typer.Option(help="Seconds without a new picture after which a clip counts as failed.")]
KeepTruncated = Annotated[bool, typer.Option("--keep-truncated", help="Keep the frames of clips that are cut off.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Try again what failed before.")]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Say what it will take, time and disk, from some clips that are computed; write nothing."
    ),
]

# What is made of it then
Export = Annotated[Path | None, typer.Option(metavar="DIR", help="Then write folders of pictures.", show_default=False)]
LayoutName = Annotated[
    str, typer.Option(help="Numbering of --export: tsn or denseflow.", autocompletion=_complete_layout)
]
Preview = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Then write mp4 films to look at, frame beside flow.", show_default=False),
]
PreviewClips = Annotated[int, typer.Option(min=1, help="Clips of --preview, evenly spread.")]
