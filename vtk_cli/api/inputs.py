"""What a model eats: the one statement from which sampling, decoding, augmentation and test views are derived.

    B videos  V test views  T segments  N frames per segment  C channels  H W pixels  K classes  F feature frames
    D feature size

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
    aspect: Literal["keep", "4:3", "4:3-rounded"] = "keep"
    """`4:3` squeezes every picture to short_side x 4/3 short_side, as Paddle's group_scale and TSN's 340x256 do, the
    long side cut off to a whole number (128 x 170); `4:3-rounded` rounds it (128 x 171, torchvision's)."""
    crop: int
    """Side of the square that the network sees."""
    clips: int = 1
    """Temporal views of one video (test only); 0 is as many as the sampler finds in it (`sliding_windows`)."""
    crops: Literal[1, 3, 5, 10] = 1
    """Spatial views of one clip (test only): centre; left, right, centre; corners and centre; those and mirrored."""
    crop_grid: Literal["quarters", "edges", "steps"] = "quarters"
    """Where several crops lie: on a grid of quarters, up to 3 pixels short of the edge (TSN, TSM); exactly at the edges
    with the middle rounded up (PySlowFast's uniform_crop); at 0, c and 2c, c half the room rounded down (Paddle's and
    Caffe2's Non-local)."""
    average: Literal["logits", "probabilities"] = "logits"
    """What is averaged over the views of one video."""
    sampler: Sampler

    def __post_init__(self) -> None:
        for field in ("segments", "frames", "stride", "short_side", "crop", "clips"):
            least = 0 if field == "clips" else 1
            if getattr(self, field) < least:
                raise UsageError(f"A View needs {field} >= {least}, found {getattr(self, field)}.")
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
        """V: clips x crops; 0 where it depends on the video."""
        return self.clips * self.crops


@dataclass(frozen=True, slots=True, kw_only=True)
class Augment:
    """What training does to a clip; drawn once per video, so that all its frames agree."""

    crop: Literal["random", "multiscale", "centre", "resized", "corners"]
    """`random`: any place of the picture at `short_side`; `multiscale`: TSN's corner crops with scale jitter;
    `resized`: a part of random area and aspect ratio (torchvision's RandomResizedCrop); `corners`: a corner or the
    centre at a random scale (3D-ResNets' MultiScaleCornerCrop)."""
    short_sides: tuple[int, int] | None = None
    """random: the picture is first brought to a short side drawn from this range, both ends included; None is the
    view's own."""
    inverse: bool = False
    """With `short_sides`: draw uniformly from the inverse of the short side (PySlowFast's INV_UNIFORM_SAMPLE)."""
    area: tuple[float, float] = (0.25, 1.0)
    """resized: part of the picture's area."""
    ratio: tuple[float, float] = (0.75, 1 / 0.75)
    """resized: width over height."""
    then_random: int | None = None
    """multiscale: bring the crop to this side first and cut the network's input out of it at a random place (Paddle's
    TSM: 256, then 224)."""
    scales: tuple[float, ...] = (1.0, 0.875, 0.75, 0.66)
    """multiscale: crop sides as parts of the picture's short side (tsn-pytorch transforms.py, GroupMultiScaleCrop)."""
    max_distort: int = 1
    """multiscale: width and height take scales at most this many places apart."""
    flip: float = 0.5
    """Probability of mirroring; datasets whose labels change under mirroring switch it off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One kind of feature: a vector for each frame (or second, or window) of a video."""

    name: str
    """Under which a feature store keeps it, e.g. rgb or audio."""
    size: int
    """D, numbers per vector."""
    scale: float = 4 / 255
    offset: float = 4 / 512 - 2
    """Features stored as uint8 become scale * q + offset on the training device; YouTube-8M's numbers
    (google/youtube-8m utils.py, `Dequantize`). Features stored as floats are taken as they are."""

    def __post_init__(self) -> None:
        if not self.name or self.size < 1:
            raise UsageError(f'A stream of features needs a name and a size above 0, found "{self.name}", {self.size}.')


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSpec:
    """What a sequence model eats: vectors that another network made, one per frame, and a mask of which are real.

    F frames  D the streams' sizes together, in their order. The model is called with feature_BFD (float32) and mask_BF
    (bool, True where a video has a frame; the rest are zeros). A video has at least one frame.
    """

    streams: tuple[Stream, ...]
    frames: int = 300
    """F: no video has more; shorter ones are padded with zeros after they were dequantised."""
    sampler: Sampler
    """Called with segments=frames, frames=1, stride=1, clips=1; may return fewer than `frames` numbers."""

    def __post_init__(self) -> None:
        names = [stream.name for stream in self.streams]
        if not names or len(set(names)) < len(names):
            raise UsageError(f"A FeatureSpec needs streams with names of their own, found {names or 'none'}.")
        if not 1 <= self.frames <= MOST:
            raise UsageError(f"A FeatureSpec takes 1 to {MOST} frames, found {self.frames}.")

    @property
    def size(self) -> int:
        """D, the sizes of all streams together."""
        return sum(stream.size for stream in self.streams)

    @property
    def summary(self) -> str:
        """In a few words."""
        streams = " and ".join(f"{stream.name} {stream.size}" for stream in self.streams)
        return f"features, {self.frames} x {streams}"


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """Everything a loader needs to know about a model."""

    modality: Modality
    train: View
    test: View
    validation: Sampler | None = None
    """Without chance, for validation while training, where it differs from the training view's own."""
    norm: Norm
    augment: Augment

    def __post_init__(self) -> None:
        if len(self.norm.mean) != self.channels:
            raise UsageError(
                f"The modality {self.modality} has {self.channels} channels, found a Norm of {len(self.norm.mean)}."
            )
        if self.train.clips != 1 or self.train.crops != 1:
            raise UsageError(
                f"Training takes one view of a video, found clips={self.train.clips} and crops={self.train.crops}."
            )
        low, high = self.augment.short_sides or (self.train.crop, self.train.crop)
        if not self.train.crop <= low <= high <= MOST or not self.train.crop <= (self.augment.then_random or MOST):
            raise UsageError(
                f"Training cuts {self.train.crop} pixels out of short_sides={self.augment.short_sides}, low before "
                f"high, and out of then_random={self.augment.then_random}; neither can be smaller than the crop."
            )

    @property
    def summary(self) -> str:
        """Training's, in a few words."""
        return f"{self.modality}, {self.train.segments} x {self.train.frames} frames of {self.train.crop}"

    @property
    def channels(self) -> int:
        """C of the clip that the loader hands over."""
        return CHANNELS[self.modality]

    def loaded_frames(self, view: View) -> int:
        """N of the clip that the loader hands over: one more than the view's for RGB difference."""
        return view.frames + 1 if self.modality == "rgbdiff" else view.frames
