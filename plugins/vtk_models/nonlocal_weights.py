"""Published weights of C2D and I3D, with and without non-local blocks; accuracies are those their publishers state."""

from collections.abc import Mapping
from typing import Any

from vtk_cli.api.models import Weights

CAFFE2 = "https://dl.fbaipublicfiles.com/video-nonlocal"
PYSLOWFAST = "https://dl.fbaipublicfiles.com/pyslowfast/model_zoo/kinetics400"

VIEWS = "10 clips x 3 crops of 256, mean of the probabilities"

PLAIN: dict[str, Any] = {"kind": "none"}
I3D: dict[str, Any] = {"backbone": "i3d"}
PLAIN_I3D = {**I3D, **PLAIN}

F32X2: dict[str, Any] = {"frames": 32, "stride": 2, "temporal_stride": 8}
F32X4: dict[str, Any] = {"frames": 32, "stride": 4}
F128X1: dict[str, Any] = {"frames": 128, "stride": 1, "temporal_stride": 8}

FROZEN: dict[str, Any] = {"block_norm": False, "group": 4}
"""Networks for long clips, trained with frozen batch norms and none in the non-local blocks."""


def _weights(url: str, layout: str, config: Mapping[str, Any], source: str, **stated: Any) -> Weights:
    frames, stride = config.get("frames", 8), config.get("stride", 8)
    return Weights(
        url=url,
        layout=layout,
        classes="kinetics400",
        config=config,
        protocol=f"{frames} frames, {stride} apart, {VIEWS}",
        source=source,
        **stated,
    )


def _caffe2(file: str, config: Mapping[str, Any], top1: float, top5: float) -> Weights:
    return _weights(
        f"{CAFFE2}/{file}.pkl",
        "caffe2-nonlocal",
        config,
        "facebookresearch/video-nonlocal-net README.md, Main Results",
        licence="CC-BY-NC-4.0",
        accuracy={"top1": top1, "top5": top5},
    )


def _pyslowfast(file: str, config: Mapping[str, Any], top1: float, top5: float) -> Weights:
    return _weights(
        f"{PYSLOWFAST}/{file}.pkl",
        "pyslowfast-caffe2",
        {"style": "pyslowfast", **config},
        "facebookresearch/SlowFast MODEL_ZOO.md",
        licence="Apache-2.0",
        accuracy={"top1": top1, "top5": top5},
    )


PADDLE = _weights(
    "https://paddlemodels.bj.bcebos.com/video_classification/NONLOCAL.pdparams",
    "paddle",
    {},
    "PaddlePaddle/models release/1.8 PaddleCV/video/models/nonlocal_model/README.md",
    licence="Apache-2.0",
    accuracy={"top1": 73.9},
)

WEIGHTS: dict[str, Weights] = {
    "paddle-c2d-nl-8x8": PADDLE,
    "caffe2-c2d-8x8": _caffe2("c2d_baseline_8x8_IN_pretrain_400k", PLAIN, 71.9, 90.0),
    "caffe2-c2d-nl-8x8": _caffe2("c2d_nonlocal_8x8_IN_pretrain_400k", {}, 74.4, 91.4),
    "caffe2-i3d-8x8": _caffe2("i3d_baseline_8x8_IN_pretrain_400k", PLAIN_I3D, 73.4, 90.9),
    "caffe2-i3d-nl-8x8": _caffe2("i3d_nonlocal_8x8_IN_pretrain_400k", I3D, 74.7, 91.6),
    "caffe2-i3d-8x8-300k": _caffe2("i3d_baseline_8x8_IN_pretrain_300k", PLAIN_I3D, 73.2, 90.8),
    "caffe2-i3d-8x8-600k-4gpu": _caffe2("i3d_baseline_8x8_IN_pretrain_600k_4gpu", PLAIN_I3D, 73.0, 90.4),
    "caffe2-i3d-8x8-300k-4gpu": _caffe2("i3d_baseline_8x8_IN_pretrain_300k_4gpu", PLAIN_I3D, 72.0, 90.1),
    "caffe2-c2d-32x2": _caffe2("c2d_baseline_32x2_IN_pretrain_400k", {**PLAIN, **F32X2}, 72.0, 90.0),
    "caffe2-c2d-nl-32x2": _caffe2("c2d_nonlocal_32x2_IN_pretrain_400k", F32X2, 73.9, 91.0),
    "caffe2-i3d-32x2": _caffe2("i3d_baseline_32x2_IN_pretrain_400k", {**PLAIN_I3D, **F32X2}, 73.6, 90.8),
    "caffe2-i3d-nl-32x2": _caffe2("i3d_nonlocal_32x2_IN_pretrain_400k", {**I3D, **F32X2}, 74.9, 91.6),
    "caffe2-i3d-32x4": _caffe2("i3d_baseline_32x4_I3D_pretrain_400k", {**PLAIN_I3D, **F32X4}, 75.5, 92.0),
    "caffe2-i3d-nl-32x4": _caffe2("i3d_nonlocal_32x4_I3D_pretrain_400k", {**I3D, **F32X4, **FROZEN}, 76.5, 92.6),
    "caffe2-i3d-128x1": _caffe2("i3d_baseline_128x1_I3D_pretrain_400k", {**PLAIN_I3D, **F128X1}, 75.2, 92.0),
    "caffe2-i3d-nl-128x1": _caffe2("i3d_nonlocal_128x1_I3D_pretrain_400k", {**I3D, **F128X1, **FROZEN}, 76.5, 92.7),
    "pyslowfast-c2d-8x8": _pyslowfast("C2D_NOPOOL_8x8_R50", {**PLAIN, "temporal_stride": 1}, 67.2, 87.8),
    "pyslowfast-i3d-8x8": _pyslowfast("I3D_8x8_R50", PLAIN_I3D, 73.5, 90.8),
    "pyslowfast-i3d-nl-8x8": _pyslowfast("I3D_NLN_8x8_R50", I3D, 74.0, 91.1),
}
