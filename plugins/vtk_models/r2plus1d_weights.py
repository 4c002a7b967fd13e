"""Published weights of R(2+1)D."""

from vtk_cli.api.models import Weights

_CONVERTED = "https://github.com/moabitcoin/ig65m-pytorch/releases/download/v1.0.0"
_VMZ = "https://github.com/bjuncek/VMZ/releases/download/test_models"

_SOURCE = "VMZ pt/vmz/models/utils.py (address); c2/tutorials/model_zoo.md (accuracy, of the Caffe2 original)"


def _vmz(
    url: str, depth: int, frames: int, classes: str, top1: float | None = None, top5: float | None = None
) -> Weights:
    return Weights(
        url=url,
        config={"style": "vmz", "depth": depth, "frames": frames},
        layout="vmz",
        licence="Apache-2.0",
        classes=classes,
        accuracy={} if top1 is None or top5 is None else {"top1": top1, "top5": top5},
        protocol="" if top1 is None else f"clips of {frames} frames, 112 pixels, per video",
        source=_SOURCE,
    )


WEIGHTS = {
    "r2plus1d_18": Weights(
        url="https://download.pytorch.org/models/r2plus1d_18-91a641e6.pth",
        sha256="91a641e6",
        config={"style": "torchvision", "depth": 18},
        layout="torchvision",
        licence="BSD-3-Clause",
        classes="kinetics400",
        accuracy={"top1": 67.463, "top5": 86.175},
        protocol="5 clips of 16 frames at 15 frames a second, centre crop of 112 from 128 x 171, per video",
        source="torchvision.models.video.R2Plus1D_18_Weights.KINETICS400_V1",
    ),
    "r2plus1d_34-8-ig65m": _vmz(f"{_CONVERTED}/r2plus1d_34_clip8_ig65m_from_scratch-9bae36ae.pth", 34, 8, "ig65m"),
    "r2plus1d_34-32-ig65m": _vmz(f"{_CONVERTED}/r2plus1d_34_clip32_ig65m_from_scratch-449a7af9.pth", 34, 32, "ig65m"),
    "r2plus1d_34-8-kinetics400": _vmz(
        f"{_CONVERTED}/r2plus1d_34_clip8_ft_kinetics_from_ig65m-0aa0550b.pth", 34, 8, "kinetics400", 74.9, 91.8
    ),
    "r2plus1d_34-32-kinetics400": _vmz(
        f"{_CONVERTED}/r2plus1d_34_clip32_ft_kinetics_from_ig65m-ade133f1.pth", 34, 32, "kinetics400", 80.0, 94.2
    ),
    "r2plus1d_152-32-ig65m": _vmz(f"{_VMZ}/r2plus1d_152_ig65m_from_scratch_f106380637.pth", 152, 32, "ig65m"),
    "r2plus1d_152-32-kinetics400": _vmz(
        f"{_VMZ}/r2plus1d_152_ft_kinetics_from_ig65m_f107107466.pth", 152, 32, "kinetics400", 81.6, 95.3
    ),
    "r2plus1d_152-32-kinetics400-sports1m": _vmz(
        f"{_VMZ}/r2plus1d_152_ft_kinetics_from_sports1m_f128957437.pth", 152, 32, "kinetics400", 79.5, 94.0
    ),
}
