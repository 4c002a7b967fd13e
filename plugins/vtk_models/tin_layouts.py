"""Checkpoints of TIN's three dialects, which hold the same tensors under other names, and where they are published.

ours                         TIN, X-Temporal: base_model.           MMAction2: backbone.
trunk.layer1.0.conv1         layer1.0.conv1.net2                    layer1.0.conv1.conv.net2
interlace.0.0.offset.conv    ...  .conv1.net1.biasnet.net.conv      ...  .conv1.conv.net1.offset_net.conv
interlace.0.0.offset.fc1     ...  .net1.biasnet.net.fc              ...  .net1.offset_net.fc1
interlace.0.0.offset.fc2     ...  .net1.biasnet.net.lastlayer       ...  .net1.offset_net.fc2
interlace.0.0.weight.conv    ...  .net1.weightnet.net.lastlayer     ...  .net1.weight_net.conv
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from vtk_cli.api.models import Layout, StateDict, Weights
from vtk_models.segment_layouts import Found, dialect, infer_trunk, mmaction2_trunk_name

TIN_PARTS = {
    "offset.conv": "biasnet.net.conv",
    "offset.fc1": "biasnet.net.fc",
    "offset.fc2": "biasnet.net.lastlayer",
    "weight.conv": "weightnet.net.lastlayer",
}

MMACTION2_PARTS = {
    "offset.conv": "offset_net.conv",
    "offset.fc1": "offset_net.fc1",
    "offset.fc2": "offset_net.fc2",
    "weight.conv": "weight_net.conv",
}

_INTERLACE = re.compile(r"interlace\.(\d)\.(\d+)\.(.+)\.(weight|bias)")


def layouts(build: Callable[[Mapping[str, Any]], nn.Module]) -> dict[str, Layout]:
    """By name; `build` makes a model from fields of its configuration.

    X-Temporal's files are TIN's, but it averages logits over test views.
    """
    return {
        "tin": dialect("tin", build=build, infer=infer_tin, foreign_name=tin_name),
        "x-temporal": dialect("x-temporal", build=build, infer=infer_x_temporal, foreign_name=tin_name),
        "mmaction2": dialect("mmaction2", build=build, infer=infer_mmaction2, foreign_name=mmaction2_name),
    }


def infer_tin(tensors: StateDict) -> Found:
    """A file without `new_fc` was trained without dropout: its classifier is the trunk's own."""
    found = _infer(tensors, "base_model.", "base_model.layer1.0.conv1", TIN_PARTS)
    return {**found, "dropout": 0.0} if "base_model.fc.weight" in tensors else found


def infer_x_temporal(tensors: StateDict) -> Found:
    return {**infer_tin(tensors), "average": "logits"}


def infer_mmaction2(tensors: StateDict) -> Found:
    return _infer(tensors, "backbone.", "backbone.layer1.0.conv1.conv", MMACTION2_PARTS)


def _infer(tensors: StateDict, prefix: str, conv1: str, parts: Mapping[str, str]) -> Found:
    """Trunk, segments and shift_div, as far as the first block's shapes tell."""
    trunk = infer_trunk(tensors, prefix).get("trunk", "")
    found: Found = {"trunk": trunk} if trunk.startswith("resnet") else {}
    fc1_TT = tensors.get(f"{conv1}.net1.{parts['offset.fc1']}.weight")
    conv_1F3 = tensors.get(f"{conv1}.net1.{parts['offset.conv']}.weight")
    kernel_KCHW = tensors.get(f"{conv1}.net2.weight")
    if fc1_TT is not None:
        found["segments"] = fc1_TT.shape[0]
    if conv_1F3 is not None and kernel_KCHW is not None:
        found["shift_div"] = kernel_KCHW.shape[1] // conv_1F3.shape[1]
    return found


def tin_name(name: str, found: Found) -> str:
    """What the authors and X-Temporal call one of our tensors.

    >>> tin_name("interlace.2.10.offset.fc2.bias", {})
    'base_model.layer3.10.conv1.net1.biasnet.net.lastlayer.bias'
    >>> tin_name("fc.bias", {"dropout": 0.0})
    'base_model.fc.bias'
    """
    if name.startswith("fc."):
        return f"base_model.{name}" if found.get("dropout") == 0 else f"new_{name}"
    return f"base_model.{_interlaced(name, 'conv1', TIN_PARTS) or _wrapped(name.removeprefix('trunk.'), 'conv1')}"


def mmaction2_name(name: str, found: Found) -> str:
    """What MMAction2 calls one of our tensors.

    >>> mmaction2_name("trunk.layer1.0.conv1.weight", {}), mmaction2_name("trunk.conv1.weight", {})
    ('backbone.layer1.0.conv1.conv.net2.weight', 'backbone.conv1.conv.weight')
    """
    if name.startswith("fc."):
        return f"cls_head.fc_cls.{name.removeprefix('fc.')}"
    if interlaced := _interlaced(name, "conv1.conv", MMACTION2_PARTS):
        return f"backbone.{interlaced}"
    theirs = mmaction2_trunk_name(name.removeprefix("trunk."), found.get("trunk", "resnet50"))
    return f"backbone.{_wrapped(theirs, 'conv1.conv')}"


def _interlaced(name: str, conv1: str, parts: Mapping[str, str]) -> str:
    """The name inside a block's first convolution; empty where the tensor does not move channels."""
    if not (found := _INTERLACE.fullmatch(name)):
        return ""
    stage, block, part, kind = found.groups()
    return f"layer{int(stage) + 1}.{block}.{conv1}.net1.{parts[part]}.{kind}"


def _wrapped(name: str, conv1: str) -> str:
    """The first convolution of a block is `net2` of a pair; the stem's is not."""
    return re.sub(rf"^(layer\d\.\d+\.{re.escape(conv1)})\.weight$", r"\1.net2.weight", name)


MMACTION2_ADDRESS = "https://download.openmmlab.com/mmaction/v1.0/recognition/tin"


def _mmaction2(run: str, file: str, classes: str, top1: float, top5: float) -> Weights:
    return Weights(
        url=f"{MMACTION2_ADDRESS}/{run}/{run}_{file}.pth",
        sha256=file.partition("-")[2],
        config={"test_crops": 1},
        layout="mmaction2",
        licence="Apache-2.0",
        classes=classes,
        accuracy={"top1": top1, "top5": top5},
        protocol="8 frames, 1 clip x 1 crop",
        source="github.com/open-mmlab/mmaction2, configs/recognition/tin/README.md",
    )


def _x_temporal(number: str, classes: str, metric: str, plain: float, many: float, **config: Any) -> Weights:
    return Weights(
        url=f"https://drive.google.com/open?id={number}",
        by_hand=True,
        config={"average": "logits", "test_crops": 1, **config},
        layout="x-temporal",
        licence="MIT",
        classes=classes,
        accuracy={metric: plain},
        protocol=f"{config.get('segments', 8)} frames of 224, 1 clip x 1 crop; {many} with 10 clips x 3 crops",
        source="github.com/Sense-X/X-Temporal, ModelZoo.md; map there is the mean over videos",
    )


WEIGHTS = {
    "tin-r50-8-something-v1-mmaction2": _mmaction2(
        "tin_imagenet-pretrained-r50_8xb6-1x1x8-40e_sthv1-rgb", "20220913-9b7804d6", "something-v1", 39.68, 68.55
    ),
    "tin-r50-8-something-v2-mmaction2": _mmaction2(
        "tin_imagenet-pretrained-r50_8xb6-1x1x8-40e_sthv2-rgb", "20220913-84f9b4b0", "something-v2", 54.78, 82.18
    ),
    "tin-r50-8-kinetics400-mmaction2": _mmaction2(
        "tin_kinetics400-pretrained-tsm-r50_1x1x8-50e_kinetics400-rgb",
        "20220913-7f10d0c0",
        "kinetics400",
        71.86,
        90.44,
    ),
    "tin-r50-8-something-v1-x-temporal": _x_temporal(
        "1xibYXjyvOsteoJNmSylXD9E7MKfIQYJQ", "something-v1", "top1", 46.0, 47.1
    ),
    "tin-r50-8-mmit-x-temporal": _x_temporal(
        "1f1kXH0cv7rJyc590ksasQ4GCVD9B-Jx8", "multi-moments-v1", "map_samples", 62.2, 62.8
    ),
    "tin-r50-16-mmit-x-temporal": _x_temporal(
        "1Tqsfqqol5udoVX0KhnexGZzzGZs0G9MZ", "multi-moments-v1", "map_samples", 62.5, 62.9, segments=16
    ),
    "tin-r101-8-mmit-x-temporal": _x_temporal(
        "140dJeXaUVvqnLyI8h4wEYxxgLpXRBScF", "multi-moments-v1", "map_samples", 62.2, 63.0, trunk="resnet101"
    ),
    "tin-r101-8-kinetics700-x-temporal": _x_temporal(
        "11HhSJSkrU6_NMyvm2gvAFSM0vy_yr-eg", "kinetics700", "top1", 61.9, 64.3, trunk="resnet101"
    ),
}
"""Published weights. The "Something" of X-Temporal's table is taken for version 1, whose numbers they match."""
