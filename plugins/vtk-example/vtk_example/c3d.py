"""A compact C3D: 3x3x3 convolutions throughout, with batch norm, four stages deep.

    B videos  T segments  N frames per segment  C channels  H W pixels  K classes

Tran et al., "Learning Spatiotemporal Features with 3D Convolutional Networks", ICCV 2015: section 3.3 for the order of
layers and the pooling, which leaves time whole in the first stage. Narrower than the paper's, without its two fully
connected layers of 4096, and with batch norm, so that it learns from scratch on a small set.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from vtk_cli.api.inputs import IMAGENET, Augment, InputSpec, View
from vtk_cli.api.models import ModelSpec
from vtk_cli.api.recipes import TrainRecipe
from vtk_cli.api.sampling import dense


@dataclass(frozen=True, slots=True, kw_only=True)
class C3DConfig:
    """Its fields are what `--set model.<field>=` changes."""

    width: int = 24
    """Channels of the first stage; the paper has 64."""
    frames: int = 16
    """Of one window; the paper's is 16."""
    stride: int = 1
    """Frames from one sample of the window to the next."""
    short_side: int = 128
    crop: int = 112
    clips: int = 10
    """Windows of a video that tests average over; the paper takes 10 (section 4)."""
    dropout: float = 0.2


def inputs(config: C3DConfig) -> InputSpec:
    """One dense window per clip."""

    def view(clips: int) -> View:
        return View(
            segments=1,
            frames=config.frames,
            stride=config.stride,
            short_side=config.short_side,
            crop=config.crop,
            clips=clips,
            sampler=dense,
        )

    return InputSpec(
        modality="rgb", train=view(1), test=view(config.clips), norm=IMAGENET, augment=Augment(crop="random")
    )


class C3D(nn.Module):
    """Four stages, each ending in max-pooling; then the mean over time and space, and one linear layer."""

    def __init__(self, config: C3DConfig, num_classes: int) -> None:
        super().__init__()
        width = config.width
        self.stages = nn.Sequential(
            _stage(3, width, convolutions=1, pool=(1, 2, 2)),
            _stage(width, 2 * width, convolutions=1, pool=(2, 2, 2)),
            _stage(2 * width, 4 * width, convolutions=2, pool=(2, 2, 2)),
            _stage(4 * width, 8 * width, convolutions=2, pool=(2, 2, 2)),
        )
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(8 * width, num_classes)

    def forward(self, clip_BTNCHW: Tensor) -> Tensor:
        """logits_BK; several segments follow one another in time."""
        clip_BCNHW = clip_BTNCHW.flatten(1, 2).transpose(1, 2)
        feature_BD = self.stages(clip_BCNHW).mean((2, 3, 4))
        logits_BK: Tensor = self.classifier(self.dropout(feature_BD))
        return logits_BK


def _stage(in_channels: int, out_channels: int, *, convolutions: int, pool: tuple[int, int, int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for number in range(convolutions):
        layers += [
            nn.Conv3d(in_channels if number == 0 else out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm3d(out_channels),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers, nn.MaxPool3d(pool, ceil_mode=True))


MODEL = ModelSpec(
    config=C3DConfig,
    inputs=inputs,
    build=C3D,
    classifier="classifier",
    recipe=TrainRecipe(
        epochs=30, batch_size=32, lr=0.02, weight_decay=5e-4, schedule="cosine", warmup_epochs=1, clip_norm=20.0
    ),
    tiny=C3DConfig(width=4, frames=8, short_side=36, crop=32, clips=2),
    summary="a compact C3D: 3D convolutions of 3x3x3 with batch norm",
    paper="https://arxiv.org/abs/1412.0767",
)
