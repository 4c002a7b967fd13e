"""Published weights of 3D ResNets."""

from typing import Any

from vtk_cli.api.models import Weights

_DRIVE = "https://drive.google.com/open?id=1xbYbZ7rpyjftI_KCk6YuL-XrfQDz7Yd4"

_DATASETS = {
    "K": "kinetics700",
    "KM": "kinetics700+moments",
    "KMS": "kinetics700+moments+stair",
    "KS": "kinetics700+stair",
    "M": "moments",
    "MS": "moments+stair",
    "S": "stair",
}
"""Letters in the files' names (700, 1039, 1139, 800, 339, 439 and 100 classes)."""

_TRAINED = [(depth, letters) for depth in (18, 34, 101, 152, 200) for letters in ("K", "KM")]
_TRAINED += [(50, letters) for letters in _DATASETS]


def _kenshohara(depth: int, letters: str) -> Weights:
    return Weights(
        url=_DRIVE,
        by_hand=True,
        config={"depth": depth},
        layout="3d-resnets",
        licence="MIT",
        classes=_DATASETS[letters],
        source=f"3D-ResNets-PyTorch README.md, Pre-trained models: r3d{depth}_{letters}_200ep.pth in the folder",
    )


def _torchvision(file: str, top1: float, top5: float, source: str, **config: Any) -> Weights:
    return Weights(
        url=f"https://download.pytorch.org/models/{file}.pth",
        sha256=file.rpartition("-")[2],
        config={"style": "torchvision", "depth": 18, **config},
        layout="torchvision",
        licence="BSD-3-Clause",
        classes="kinetics400",
        accuracy={"top1": top1, "top5": top5},
        protocol="5 clips of 16 frames at 15 frames a second, centre crop of 112 from 128 x 171, per video",
        source=f"torchvision.models.video.{source}_Weights.KINETICS400_V1",
    )


WEIGHTS = {
    "r3d_18": _torchvision("r3d_18-b3b3357e", 63.200, 83.479, "R3D_18"),
    "mc3_18": _torchvision("mc3_18-a90a0ba3", 63.960, 84.130, "MC3_18", temporal_stages=1),
    **{f"r3d{depth}_{letters}_200ep": _kenshohara(depth, letters) for depth, letters in sorted(_TRAINED)},
}
