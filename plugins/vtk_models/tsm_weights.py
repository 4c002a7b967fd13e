"""Published weights of TSM."""

from collections.abc import Mapping
from typing import Any

from vtk_cli.api.models import Weights
from vtk_models.tsn_layouts import MMACTION2_VIEWS
from vtk_models.tsn_weights import mmaction2_weights, paddle_weights

_CENTRE = "1 clip, centre crop of 224"

_DENSE = "10 dense clips x 3 crops of 256"
_DENSE_VIEWS = {"sampling": "dense", "test_clips": 10, "test_crops": 3, "test_crop": 256}

_FULL = "2 clips x 3 crops of 256"
_FULL_VIEWS = {"test_clips": 2, "test_crops": 3, "test_crop": 256}


def _mit(
    name: str, classes: str, top1: float, protocol: str, config: Mapping[str, Any] | None = None, **more: float
) -> Weights:
    return Weights(
        url=f"https://hanlab18.mit.edu/projects/tsm/models/{name}.pth",
        config=config or {},
        layout="mit-tsm",
        licence="MIT",
        classes=classes,
        accuracy={"top1": top1, **more},
        protocol=protocol,
        source="github.com/mit-han-lab/temporal-shift-module, README.md",
    )


def _kinetics(name: str, top1: float, protocol: str, config: Mapping[str, Any] | None = None, **more: float) -> Weights:
    return _mit(f"TSM_kinetics_{name}", "kinetics400", top1, protocol, config, **more)


def _something(version: str, name: str, top1: float, protocol: str, config: Mapping[str, Any]) -> Weights:
    file = f"TSM_something{'' if version == 'v1' else 'v2'}_RGB_{name}_e45"
    return _mit(file, f"something-{version}", top1, protocol, config)


_MIT = {
    "mit-kinetics400": _kinetics(
        "RGB_resnet50_shift8_blockres_avg_segment8_e50", 71.2, f"8 frames, {_CENTRE}; 72.8 with 10 crops"
    ),
    "mit-kinetics400-16f": _kinetics(
        "RGB_resnet50_shift8_blockres_avg_segment16_e50",
        72.6,
        f"16 frames, {_CENTRE}; 73.7 with 10 crops",
        {"segments": 16},
    ),
    "mit-kinetics400-dense": _kinetics(
        "RGB_resnet50_shift8_blockres_avg_segment8_e100_dense", 74.1, f"8 frames, {_DENSE}", _DENSE_VIEWS
    ),
    "mit-kinetics400-dense-nonlocal": _kinetics(
        "RGB_resnet50_shift8_blockres_avg_segment8_e100_dense_nl",
        75.6,
        f"8 frames, {_DENSE}",
        {**_DENSE_VIEWS, "non_local": "embedded_gaussian"},
    ),
    "mit-kinetics400-dense-mobilenetv2": _kinetics(
        "RGB_mobilenetv2_shift8_blockres_avg_segment8_e100_dense",
        69.5,
        f"8 frames, {_DENSE}",
        {**_DENSE_VIEWS, "trunk": "mobilenetv2"},
    ),
    "mit-kinetics400-flow": _kinetics(
        "Flow_resnet50_shift8_blockres_avg_segment8_e50",
        55.7,
        f"8 x 5 flow pairs, {_CENTRE}; its training was not tuned",
        {"modality": "flow"},
        top5=79.5,
    ),
    "mit-something-v1": _something(
        "v1", "resnet50_shift8_blockres_avg_segment8", 47.2, f"8 frames, {_FULL}; 45.6 with {_CENTRE}", _FULL_VIEWS
    ),
    "mit-something-v1-16f": _something(
        "v1",
        "resnet50_shift8_blockres_avg_segment16",
        48.4,
        f"16 frames, {_FULL}; 47.2 with {_CENTRE}",
        {**_FULL_VIEWS, "segments": 16},
    ),
    "mit-something-v1-r101": _something(
        "v1",
        "resnet101_shift8_blockres_avg_segment8",
        48.7,
        f"8 frames, {_FULL}; 46.9 with {_CENTRE}",
        {**_FULL_VIEWS, "trunk": "resnet101"},
    ),
    "mit-something-v2": _something(
        "v2", "resnet50_shift8_blockres_avg_segment8", 61.2, f"8 frames, {_FULL}", _FULL_VIEWS
    ),
    "mit-something-v2-16f": _something(
        "v2",
        "resnet50_shift8_blockres_avg_segment16",
        63.1,
        f"16 frames, {_FULL}",
        {**_FULL_VIEWS, "segments": 16},
    ),
    "mit-something-v2-r101": _something(
        "v2",
        "resnet101_shift8_blockres_avg_segment8",
        63.3,
        f"8 frames, {_FULL}",
        {**_FULL_VIEWS, "trunk": "resnet101"},
    ),
    "mit-jester-online": Weights(
        url="https://hanlab18.mit.edu/projects/tsm/models/mobilenetv2_jester_online.pth.tar",
        config={"trunk": "mobilenetv2", "shift": "online"},
        layout="mit-tsm",
        licence="MIT",
        classes="jester",
        source="github.com/mit-han-lab/temporal-shift-module, online_demo/main.py; no accuracy is published",
    ),
}


def _mmaction2(
    name: str,
    released: str,
    top1: float,
    top5: float,
    *,
    clips: int = 1,
    crops: int = 10,
    frames: int = 8,
    classes: str = "kinetics400",
    **changes: Any,
) -> Weights:
    """Ten crops are of 224, three of 256."""
    side = 256 if crops == 3 else 224
    views = {**MMACTION2_VIEWS, "segments": frames, "test_clips": clips, "test_crops": crops, "test_crop": side}
    return mmaction2_weights(
        "tsm",
        f"tsm_imagenet-pretrained-{name}",
        released,
        top1,
        top5,
        protocol=f"{frames} frames, {clips} clip{'s' if clips > 1 else ''} x {crops} crops of {side}",
        classes=classes,
        config={**views, **changes},
    )


_SOMETHING_V2: dict[str, Any] = {"crops": 3, "classes": "something-v2", "clips": 2}

_MMACTION2 = {
    "mmaction2-kinetics400-50e": _mmaction2("r50_8xb16-1x1x8-50e_kinetics400-rgb", "20220831-64d69186", 73.18, 90.56),
    "mmaction2-kinetics400-100e": _mmaction2("r50_8xb16-1x1x8-100e_kinetics400-rgb", "20220831-a6db1e5d", 73.22, 90.22),
    "mmaction2-kinetics400-16f": _mmaction2(
        "r50_8xb16-1x1x16-50e_kinetics400-rgb", "20220831-042b1748", 75.12, 91.55, frames=16
    ),
    "mmaction2-kinetics400-dense": _mmaction2(
        "r50_8xb16-dense-1x1x8-50e_kinetics400-rgb", "20220831-f55d3c2b", 73.38, 90.78, sampling="dense", clips=10
    ),
    "mmaction2-kinetics400-nl-embedded-gaussian": _mmaction2(
        "r50-nl-embedded-gaussian_8xb16-1x1x8-50e_kinetics400-rgb",
        "20220831-35eddb57",
        74.34,
        91.23,
        non_local="embedded_gaussian",
        non_local_bias=False,
    ),
    "mmaction2-kinetics400-nl-dot-product": _mmaction2(
        "r50-nl-dot-product_8xb16-1x1x8-50e_kinetics400-rgb",
        "20220831-108bfde5",
        74.49,
        91.15,
        non_local="dot_product",
        non_local_bias=False,
    ),
    "mmaction2-kinetics400-nl-gaussian": _mmaction2(
        "r50-nl-gaussian_8xb16-1x1x8-50e_kinetics400-rgb",
        "20220831-7e54dacf",
        73.66,
        90.99,
        non_local="gaussian",
        non_local_bias=False,
    ),
    "mmaction2-kinetics400-mobilenetv2": _mmaction2(
        "mobilenetv2_8xb16-1x1x8-100e_kinetics400-rgb",
        "20230414-401127fd",
        68.71,
        88.32,
        crops=3,
        trunk="mobilenetv2",
    ),
    "mmaction2-something-v2": _mmaction2(
        "r50_8xb16-1x1x8-50e_sthv2-rgb", "20230317-be0fc26e", 62.72, 87.70, **_SOMETHING_V2
    ),
    "mmaction2-something-v2-16f": _mmaction2(
        "r50_8xb16-1x1x16-50e_sthv2-rgb", "20230317-ec6696ad", 64.16, 88.61, frames=16, **_SOMETHING_V2
    ),
    "mmaction2-something-v2-r101": _mmaction2(
        "r101_8xb16-1x1x8-50e_sthv2-rgb",
        "20230320-efcc0d1b",
        63.70,
        88.28,
        **_SOMETHING_V2,
        trunk="resnet101",
    ),
}

WEIGHTS = {
    **_MIT,
    **_MMACTION2,
    "paddle-kinetics400": paddle_weights(
        "TSM",
        70.0,
        f"8 frames, {_CENTRE}",
        {"shift": "prev_first", "shift_every": 1},
    ),
}
