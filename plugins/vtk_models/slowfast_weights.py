"""Published weights of SlowFast and SlowOnly, with the accuracies that their publishers state."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vtk_cli.api.models import Weights

ZOO = "https://dl.fbaipublicfiles.com/pyslowfast/model_zoo/kinetics400"
PYTORCHVIDEO = "https://dl.fbaipublicfiles.com/pytorchvideo/pysf_model_zoo/kinetics"
OPENMMLAB = "https://download.openmmlab.com/mmaction/v1.0/recognition"

VIEWS = "10 clips x 3 crops of 256, mean of the probabilities"


def _caffe2(file: str, config: Mapping[str, Any], top1: float, top5: float) -> Weights:
    return Weights(
        url=f"{ZOO}/{file}.pkl",
        layout="pyslowfast-caffe2",
        licence="Apache-2.0",
        classes="kinetics400",
        config=config,
        accuracy={"top1": top1, "top5": top5},
        protocol=VIEWS,
        source="facebookresearch/SlowFast MODEL_ZOO.md",
    )


def _pytorchvideo(file: str, config: Mapping[str, Any], top1: float, top5: float) -> Weights:
    return Weights(
        url=f"{PYTORCHVIDEO}/{file}.pyth",
        layout="pytorchvideo",
        licence="Apache-2.0",
        classes="kinetics400",
        config={"head": "logits", **config},
        accuracy={"top1": top1, "top5": top5},
        protocol=VIEWS,
        source="facebookresearch/SlowFast projects/pytorchvideo/README.md",
    )


def _mmaction2(path: str, digest: str, config: Mapping[str, Any], top1: float, top5: float) -> Weights:
    """`path` is family/run, or family/run/file where the file has another name; `digest` is date-first8."""
    family, run, *named = path.split("/")
    return Weights(
        url=f"{OPENMMLAB}/{family}/{run}/{(named or [run])[0]}_{digest}.pth",
        sha256=digest.partition("-")[2],
        layout="mmaction2",
        licence="Apache-2.0",
        classes="kinetics400" if "kinetics400" in run else "",
        config={"head": "features", "protocol": "mmaction2", **config},
        accuracy={"top1": top1, "top5": top5},
        protocol=VIEWS,
        source=f"open-mmlab/mmaction2 configs/recognition/{family}/metafile.yml",
    )


MM_SLOWFAST: dict[str, Any] = {"slow_frames": "every", "lateral_norm": False}
MM_NON_LOCAL: dict[str, Any] = {
    "non_local": ((), (0, 2), (0, 2, 4), ()),
    "non_local_kind": "embedded_gaussian",
    "non_local_pool": "after",
}
EIGHT: dict[str, Any] = {"frames": 8, "stride": 8}
R101: dict[str, Any] = {"depth": 101, "alpha": 4}

SLOWFAST_WEIGHTS: dict[str, Weights] = {
    "kinetics400-4x16-r50": _caffe2("SLOWFAST_4x16_R50", {}, 75.6, 92.0),
    "kinetics400-8x8-r50": _caffe2("SLOWFAST_8x8_R50", {"alpha": 4, "fusion_kernel": 7}, 77.0, 92.6),
    "ssv2-16x8-r50": Weights(
        url="https://dl.fbaipublicfiles.com/pyslowfast/pyslowfast/model_zoo/multigrid/model_zoo/SSv2/SLOWFAST_16x8_R50.pkl",
        layout="pyslowfast-caffe2",
        licence="Apache-2.0",
        classes="",
        config={
            "alpha": 4,
            "fusion_kernel": 7,
            "frames": 64,
            "protocol": "pyslowfast-ssv2",
            "test_clips": 1,
            "test_crops": 1,
        },
        accuracy={"top1": 63.0, "top5": 88.5},
        protocol="1 clip over the whole video, 1 crop of 256 (configs/SSv2/SLOWFAST_16x8_R50.yaml)",
        source="facebookresearch/SlowFast MODEL_ZOO.md",
    ),
    "pytorchvideo-4x16-r50": _pytorchvideo("SLOWFAST_4x16_R50", {}, 75.34, 91.89),
    "pytorchvideo-8x8-r50": _pytorchvideo("SLOWFAST_8x8_R50", {"alpha": 4, "fusion_kernel": 7}, 76.94, 92.69),
    "pytorchvideo-8x8-r101": _pytorchvideo("SLOWFAST_8x8_R101", R101, 77.90, 93.27),
    "pytorchvideo-16x8-r101": _pytorchvideo(
        "SLOWFAST_16x8_R101_50_50",
        {**R101, "frames": 64, "res4_temporal": 6, "fast_res4_temporal": 6},
        78.70,
        93.61,
    ),
    "mmaction2-4x16-r50": _mmaction2(
        "slowfast/slowfast_r50_8xb8-4x16x1-256e_kinetics400-rgb", "20220901-701b0f6f", MM_SLOWFAST, 75.55, 92.35
    ),
    "mmaction2-8x8-r50": _mmaction2(
        "slowfast/slowfast_r50_8xb8-8x8x1-256e_kinetics400-rgb",
        "20220818-1cb6dfc8",
        {**MM_SLOWFAST, "alpha": 4, "fusion_kernel": 7},
        76.80,
        92.99,
    ),
    "mmaction2-8x8-r101": _mmaction2(
        "slowfast/slowfast_r101_8xb8-8x8x1-256e_kinetics400-rgb",
        "20220901-9c0e09bd",
        {**MM_SLOWFAST, **R101, "fusion_kernel": 7},
        78.65,
        93.88,
    ),
    "mmaction2-4x16-r101-r50": _mmaction2(
        "slowfast/slowfast_r101-r50_32xb8-4x16x1-256e_kinetics400-rgb",
        "20220901-a77ac3ee",
        {**MM_SLOWFAST, "depth": 101, "fast_depth": 50},
        77.03,
        92.99,
    ),
}

SLOWONLY_WEIGHTS: dict[str, Weights] = {
    "kinetics400-4x16-r50": _caffe2("SLOWONLY_4x16_R50", {}, 72.7, 90.3),
    "kinetics400-8x8-r50": _caffe2("SLOWONLY_8x8_R50", EIGHT, 74.8, 91.6),
    "pytorchvideo-4x16-r50": _pytorchvideo("SLOW_4x16_R50", {}, 72.40, 90.18),
    "pytorchvideo-8x8-r50": _pytorchvideo("SLOW_8x8_R50", EIGHT, 74.58, 91.63),
    "mmaction2-4x16-r50": _mmaction2(
        "slowonly/slowonly_r50_8xb16-4x16x1-256e_kinetics400-rgb/slowonly_r50_4x16x1_256e_8xb16_kinetics400-rgb",
        "20220901-f6a40d08",
        {},
        72.68,
        90.68,
    ),
    "mmaction2-8x8-r50": _mmaction2(
        "slowonly/slowonly_r50_8xb16-8x8x1-256e_kinetics400-rgb", "20220901-2132fc87", EIGHT, 74.82, 91.80
    ),
    "mmaction2-8x8-r101": _mmaction2(
        "slowonly/slowonly_r101_8xb16-8x8x1-196e_kinetics400-rgb",
        "20220901-e6281431",
        {**EIGHT, "depth": 101},
        76.28,
        92.70,
    ),
    "mmaction2-imagenet-4x16-r50": _mmaction2(
        "slowonly/slowonly_imagenet-pretrained-r50_8xb16-4x16x1-steplr-150e_kinetics400-rgb",
        "20220901-e7b65fad",
        {},
        74.83,
        91.60,
    ),
    "mmaction2-imagenet-8x8-r50": _mmaction2(
        "slowonly/slowonly_imagenet-pretrained-r50_8xb16-8x8x1-steplr-150e_kinetics400-rgb",
        "20220901-df42dc84",
        EIGHT,
        75.96,
        92.40,
    ),
    "mmaction2-imagenet-nl-4x16-r50": _mmaction2(
        "slowonly/slowonly_r50-in1k-pre-nl-embedded-gaussian_8xb16-4x16x1-steplr-150e_kinetics400-rgb",
        "20220901-cf739c75",
        MM_NON_LOCAL,
        74.84,
        91.41,
    ),
    "mmaction2-imagenet-nl-8x8-r50": replace(
        _mmaction2(
            "slowonly/slowonly_r50-in1k-pre-nl-embedded-gaussian_8xb16-8x8x1-steplr-150e_kinetics400-rgb",
            "20220901-df42dc84",
            {**EIGHT, **MM_NON_LOCAL},
            76.35,
            92.18,
        ),
        sha256="",  # its name ends in the digest of the file without non-local blocks
    ),
    "mmaction2-imagenet-k700-4x16-r50": _mmaction2(
        "slowonly/slowonly_imagenet-pretrained-r50_8xb16-4x16x1-steplr-150e_kinetics700-rgb/"
        "slowonly_imagenet-pretrained-r50_16xb16-4x16x1-steplr-150e_kinetics700-rgb",
        "20220901-f73b3e89",
        {},
        65.18,
        86.05,
    ),
    "mmaction2-imagenet-k700-8x8-r50": _mmaction2(
        "slowonly/slowonly_imagenet-pretrained-r50_8xb16-8x8x1-steplr-150e_kinetics700-rgb/"
        "slowonly_imagenet-pretrained-r50_16xb16-8x8x1-steplr-150e_kinetics700-rgb",
        "20220901-4098e1eb",
        EIGHT,
        66.93,
        87.47,
    ),
}
