"""What a model eats: the one statement from which sampling, decoding, augmentation and test views are derived.

    B videos  V test views  T segments  N frames per segment  C channels  H W pixels  K classes

A clip is `clip_BTNCHW` everywhere. TSN: T=3, N=1. StNet: T=7, N=5 (a super-image is one segment). Flow: C=2, N=5.
RGB difference: the loader gives N+1 frames and the model subtracts. Models reshape, loaders never do.
"""

from dataclasses import dataclass
from typing import Literal

from vtk_cli.api.sampling import Sampler
from vtk_cli.errors import UsageError

Modality = Literal["rgb", "rgbdiff", "flow", "warped"]

CHANNELS: dict[str, int] = {"rgb": 3, "rgbdiff": 3, "flow": 2, "warped": 2}
"""Channels of one stored frame of each modality; flow is (x, y)."""

FLIP_NEGATES_X = frozenset({"flow", "warped"})
"""Modalities whose x component changes sign when the picture is mirrored."""


MOST = 10_000
"""Of every number of a `View`; far above any protocol, so that a slip of the finger cannot fill the memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Norm:
    """`(x / 255 - mean) / std` per channel, applied once, on the training device.

    A network that wants 0..255 with a mean of 104 states mean=104/255 and std=1/255.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    order: Literal["rgb", "bgr"] = "rgb"
    """Channel order the network was trained with; `mean` and `std` are given in this order."""

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std):
            raise UsageError(f"A Norm needs one mean and one std per channel, found {self.mean} and {self.std}.")
        if any(value <= 0 for value in self.std):
            raise UsageError(f"A Norm needs every std above 0, found {self.std}.")


IMAGENET = Norm(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""torchvision's and TSN's numbers for ResNets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How clips are cut from a video, in time and in space; a model states one for training and one for testing."""

    segments: int
    frames: int
    """Consecutive samples per segment (N), `stride` frames apart."""
    stride: int = 1
    short_side: int
    """The picture is brought to this short side before the crop; also the size of the store that is read."""
    aspect: Literal["keep", "4:3"] = "keep"
    """`4:3` squeezes every picture to short_side x 4/3 short_side, as Paddle's group_scale and TSN's 340x256 do."""
    crop: int
    """Side of the square that the network sees."""
    clips: int = 1
    """Temporal views of one video (test only)."""
    crops: Literal[1, 3, 5, 10] = 1
    """Spatial views of one clip (test only): centre; left, right, centre; corners and centre; those and mirrored."""
    average: Literal["logits", "probabilities"] = "logits"
    """What is averaged over the views of one video."""
    sampler: Sampler

    def __post_init__(self) -> None:
        for field in ("segments", "frames", "stride", "short_side", "crop", "clips"):
            if getattr(self, field) < 1:
                raise UsageError(f"A View needs {field} >= 1, found {getattr(self, field)}.")
            if getattr(self, field) > MOST:
                raise UsageError(f"A View takes {field} up to {MOST}, found {getattr(self, field)}. Lower it.")
        if self.crops not in (1, 3, 5, 10):
            raise UsageError(f"A View knows 1, 3, 5 or 10 crops, found {self.crops}.")
        if self.crop > self.short_side:
            raise UsageError(
                f"A View crops at most its short side, found crop={self.crop} and short_side={self.short_side}. "
                "Lower the crop or raise the short side."
            )

    @property
    def views(self) -> int:
        """V: clips x crops."""
        return self.clips * self.crops


@dataclass(frozen=True, slots=True, kw_only=True)
class Augment:
    """What training does to a clip; drawn once per video, so that all its frames agree."""

    crop: Literal["random", "multiscale", "centre"]
    """`random`: any place of the picture at `short_side`; `multiscale`: TSN's corner crops with scale jitter."""
    scales: tuple[float, ...] = (1.0, 0.875, 0.75, 0.66)
    """multiscale: crop sides as parts of the picture's short side (tsn-pytorch transforms.py, GroupMultiScaleCrop)."""
    max_distort: int = 1
    """multiscale: width and height take scales at most this many places apart."""
    flip: float = 0.5
    """Probability of mirroring; datasets whose labels change under mirroring switch it off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """Everything a loader needs to know about a model."""

    modality: Modality
    train: View
    test: View
    norm: Norm
    augment: Augment

    def __post_init__(self) -> None:
        if len(self.norm.mean) != self.channels:
            raise UsageError(
                f"The modality {self.modality} has {self.channels} channels, found a Norm of {len(self.norm.mean)}."
            )

    @property
    def channels(self) -> int:
        """C of the clip that the loader hands over."""
        return CHANNELS[self.modality]

    def loaded_frames(self, view: View) -> int:
        """N of the clip that the loader hands over: one more than the view's for RGB difference."""
        return view.frames + 1 if self.modality == "rgbdiff" else view.frames
