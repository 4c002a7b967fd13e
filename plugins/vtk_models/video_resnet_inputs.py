"""How the code bases of 3D ResNets and R(2+1)D cut clips, and the recipe; published numbers go with them."""

from dataclasses import dataclass
from typing import Literal

from vtk_cli.api.inputs import IMAGENET, Augment, InputSpec, Norm, View
from vtk_cli.api.recipes import TrainRecipe
from vtk_cli.api.sampling import Sampler, dense, dense_tin, even_windows, sliding_windows
from vtk_cli.errors import UsageError
from vtk_models.video_resnet import Crop, VideoResNetConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """What a style decides where the configuration says None."""

    norm: Norm
    sampler: Sampler
    test_clips: int
    average: Literal["logits", "probabilities"]
    stride: int = 1
    short_side: int = 128
    test_short_side: int | None = 128
    """None is the crop."""
    aspect: Literal["keep", "4:3", "4:3-rounded"] = "keep"
    train_crop: Crop
    runs: bool = True
    """Whether the sampler counts a clip's pictures as frames of one segment, or as segments of one frame."""


KENSHOHARA = Protocol(
    # mean.py (Kinetics), opts.py and main.py: pictures of height 240, crops of relative size, tested at 112.
    norm=Norm(mean=(0.4345, 0.4051, 0.3775), std=(0.2768, 0.2713, 0.2737)),
    sampler=sliding_windows,
    test_clips=0,
    average="probabilities",
    short_side=256,
    test_short_side=None,
    train_crop="resized",
)
_TORCHVISION_NORM = Norm(mean=(0.43216, 0.394666, 0.37645), std=(0.22803, 0.22145, 0.216989))
TORCHVISION = Protocol(
    # transforms/_presets.py `VideoClassification` and references/video_classification: 15 frames a second, 5 clips.
    norm=_TORCHVISION_NORM,
    sampler=dense,
    test_clips=5,
    average="probabilities",
    stride=2,
    aspect="4:3-rounded",
    train_crop="random",
)
VMZ = Protocol(
    # pt/vmz/func/test.py averages what fc gives; c2/tutorials/test.md: 10 clips.
    norm=_TORCHVISION_NORM,
    sampler=dense,
    test_clips=10,
    average="logits",
    stride=2,
    aspect="4:3-rounded",
    train_crop="random",
)
X_TEMPORAL = Protocol(
    # experiments/r3d and experiments/r2plus1d.
    norm=IMAGENET,
    sampler=dense_tin,
    test_clips=1,
    average="logits",
    train_crop="multiscale",
    runs=False,
)

RECIPE = TrainRecipe(
    # 3D-ResNets-PyTorch opts.py: from scratch, decay on every parameter.
    epochs=200,
    batch_size=128,
    lr=0.1,
    weight_decay=1e-3,
    milestones=(50, 100, 150),
)

QUARTER_OCTAVES = tuple(2 ** (-place / 4) for place in range(5))
"""Scales of 3D-ResNets' corner crops (main.py, `get_train_utils`)."""


def clip_inputs(config: VideoResNetConfig, protocol: Protocol) -> InputSpec:
    """Views of a configuration. Flow takes the first two numbers of the RGB norm, as 3D-ResNets' main.py does."""
    channels = config.in_channels
    norm = Norm(mean=protocol.norm.mean[:channels], std=protocol.norm.std[:channels])
    return InputSpec(
        modality=config.modality,
        train=_view(config, protocol, training=True),
        test=_view(config, protocol, training=False),
        norm=norm,
        augment=_augment(protocol.train_crop if config.train_crop is None else config.train_crop),
    )


def _view(config: VideoResNetConfig, protocol: Protocol, *, training: bool) -> View:
    if training:
        short_side = _first(config.short_side, protocol.short_side)
    else:
        short_side = _first(config.test_short_side, protocol.test_short_side, config.crop)
    clips = 1 if training else _first(config.test_clips, protocol.test_clips)
    segments, frames = (1, config.frames) if protocol.runs else (config.frames, 1)
    return View(
        segments=segments,
        frames=frames,
        stride=_first(config.stride, protocol.stride),
        short_side=short_side,
        aspect=protocol.aspect,
        crop=config.crop,
        clips=clips,
        average=protocol.average,
        sampler=_sampler(protocol, clips, training=training),
    )


def _sampler(protocol: Protocol, clips: int, *, training: bool) -> Sampler:
    """3D-ResNets has windows over the whole video for testing, or so many spread evenly as in its validation."""
    if protocol.sampler is not sliding_windows:
        if clips == 0:
            raise UsageError("Only the style 3d-resnets tests on all windows, found test_clips=0. Take 1 or more.")
        return protocol.sampler
    return even_windows if training or clips else sliding_windows


def _augment(crop: Crop) -> Augment:
    return Augment(crop=crop, scales=QUARTER_OCTAVES) if crop == "corners" else Augment(crop=crop)


def _first(*values: int | None) -> int:
    return next(value for value in values if value is not None)
