"""Published weights of TSN."""

from collections.abc import Mapping
from typing import Any

from vtk_cli.api.models import Weights
from vtk_models.tsn_layouts import MMACTION2_VIEWS

MMACTION2 = "https://download.openmmlab.com/mmaction/v1.0/recognition"

_PADDLE = "https://paddlemodels.bj.bcebos.com/video_classification"


def mmaction2_weights(
    family: str,
    name: str,
    released: str,
    top1: float,
    top5: float,
    *,
    protocol: str,
    classes: str = "kinetics400",
    config: Mapping[str, Any] | None = None,
) -> Weights:
    """A file of MMAction2 1.x; `released` is its date and the first 8 digits of its sha256."""
    return Weights(
        url=f"{MMACTION2}/{family}/{name}/{name}_{released}.pth",
        sha256=released.rpartition("-")[2],
        config=config or {},
        layout="mmaction2",
        licence="Apache-2.0",
        classes=classes,
        accuracy={"top1": top1, "top5": top5},
        protocol=f"{protocol}, probabilities averaged",
        source=f"github.com/open-mmlab/mmaction2, configs/recognition/{family}/README.md",
    )


def _mmaction2(
    name: str,
    released: str,
    top1: float,
    top5: float,
    *,
    config: Mapping[str, Any],
    classes: str = "kinetics400",
    protocol: str = "25 segments x 10 crops",
) -> Weights:
    return mmaction2_weights(
        "tsn",
        f"tsn_imagenet-pretrained-{name}",
        released,
        top1,
        top5,
        protocol=protocol,
        classes=classes,
        config={**MMACTION2_VIEWS, **config},
    )


def paddle_weights(model: str, top1: float, protocol: str, config: Mapping[str, Any] | None = None) -> Weights:
    """A file of Paddle's video library, release/1.8; it publishes top-1 with two digits."""
    return Weights(
        url=f"{_PADDLE}/{model}.pdparams",
        config={"sampling": "paddle", "policy": "paddle", **(config or {})},
        layout="paddle",
        licence="Apache-2.0",
        classes="kinetics400",
        accuracy={"top1": top1},
        protocol=protocol,
        source=f"github.com/PaddlePaddle/models release/1.8, PaddleCV/video/models/{model.lower()}/README.md",
    )


def _x_temporal(file: str, classes: str, accuracy: dict[str, float], protocol: str, config: dict[str, Any]) -> Weights:
    return Weights(
        url=f"https://drive.google.com/open?id={file}",
        by_hand=True,
        config=config,
        layout="x-temporal",
        licence="MIT",
        classes=classes,
        accuracy=accuracy,
        protocol=protocol,
        source="github.com/Sense-X/X-Temporal, ModelZoo.md",
    )


_R101 = {"trunk": "resnet101"}

WEIGHTS = {
    "mit-kinetics400": Weights(
        url="https://hanlab18.mit.edu/projects/tsm/models/TSM_kinetics_RGB_resnet50_avg_segment5_e50.pth",
        config={"segments": 5, "test_segments": 8, "test_crops": 1, "dropout": 0.5, "policy": "fc_lr5"},
        layout="tsn-pytorch",
        licence="MIT",
        classes="kinetics400",
        accuracy={"top1": 68.8},
        protocol="8 segments, centre crop of 224; 69.9 with 10 crops",
        source="github.com/mit-han-lab/temporal-shift-module, README.md",
    ),
    "mmaction2-kinetics400-1x1x3": _mmaction2(
        "r50_8xb32-1x1x3-100e_kinetics400-rgb", "20220906-cd10898e", 72.83, 90.65, config={}
    ),
    "mmaction2-kinetics400-1x1x5": _mmaction2(
        "r50_8xb32-1x1x5-100e_kinetics400-rgb", "20220906-65d68713", 73.80, 91.21, config={"segments": 5}
    ),
    "mmaction2-kinetics400-1x1x8": _mmaction2(
        "r50_8xb32-1x1x8-100e_kinetics400-rgb", "20220906-2692d16c", 74.12, 91.34, config={"segments": 8}
    ),
    "mmaction2-kinetics400-dense-1x1x5": _mmaction2(
        "r50_8xb32-dense-1x1x5-100e_kinetics400-rgb",
        "20220906-dcbc6e01",
        71.37,
        89.67,
        config={"segments": 5, "sampling": "dense", "test_clips": 10, "test_crops": 1},
        protocol="25 segments x 10 dense clips, centre crop (its README says 10 crops, its test configuration none)",
    ),
    "mmaction2-kinetics400-r101-1x1x8": _mmaction2(
        "r101_8xb32-1x1x8-100e_kinetics400-rgb", "20220906-23cff032", 75.89, 92.07, config={**_R101, "segments": 8}
    ),
    "mmaction2-something-v2-1x1x8": _mmaction2(
        "r50_8xb32-1x1x8-50e_sthv2-rgb",
        "20230313-06ad7d03",
        35.51,
        67.09,
        classes="something-v2",
        config={"segments": 8},
    ),
    "mmaction2-something-v2-1x1x16": _mmaction2(
        "r50_8xb32-1x1x16-50e_sthv2-rgb",
        "20230221-85bcc1c3",
        36.91,
        68.77,
        classes="something-v2",
        config={"segments": 16},
    ),
    "paddle-kinetics400": paddle_weights(
        "TSN",
        67.0,
        "7 segments, centre crop of 224; 66 with 3 segments",
        {"test_segments": 7, "test_crops": 1, "dropout": 0.0},
    ),
    "x-temporal-mmit-r101": _x_temporal(
        "1fM53qYCceZEpdtnc06XmXjyMrb7Is7_a",
        "multi-moments-v1",
        {"map_samples": 58.9},
        "5 segments, centre crop, mAP over videos; 60.7 with 10 clips x 3 crops",
        {**_R101, "segments": 5, "test_segments": 5, "test_crops": 1},
    ),
    "x-temporal-kinetics600": _x_temporal(
        "1PWiCd15_VnBAwh3n-zzqzbGi6xVIhAeN",
        "kinetics600",
        {"top1": 67.5},
        "8 segments, centre crop; 70.0 with 10 clips x 3 crops",
        {"segments": 8, "test_segments": 8, "test_crops": 1},
    ),
}
