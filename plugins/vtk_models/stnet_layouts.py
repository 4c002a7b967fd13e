"""Checkpoints of StNet as Baidu's library writes them, and where they are published.

Named layers keep their names; of those that the framework names itself, conv3d_K and batch_norm_K, the first two are
the temporal blocks', whatever K they have: the framework counts all batch norms of a network, named ones included.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from vtk_cli.api.models import Layout, StateDict, Weights
from vtk_models import fluid
from vtk_models.layouts import convert, unwrap
from vtk_models.segment_layouts import Found, infer_trunk, paddle_name

XCEPTION = {
    "bn_in": "xception_bn",
    "depthwise1": "xception_att_conv",
    "pointwise1": "xception_att_2",
    "bn": "xception_bndw",
    "depthwise2": "xception_att1",
    "pointwise2": "xception_att1_2",
    "shortcut": "xception_dw",
    "bn_out": "xception_bn2",
}
"""Layers of the temporal Xception block: our names and the original's."""

_NORM = {ours: theirs for theirs, ours in fluid.NUMBERED_BATCH_NORM.items()}
_DENSE = {ours: theirs for theirs, ours in fluid.DENSE.items()}


def paddle(build: Callable[[Mapping[str, Any]], nn.Module]) -> Layout:
    """The layout of the released weights; `build` makes a model from fields of its configuration."""

    def read(checkpoint: StateDict) -> StateDict:
        tensors = unwrap(checkpoint, layout="paddle")
        found = infer(tensors)
        layers = _layers(list(tensors))
        with torch.device("meta"):
            ours = build(found).state_dict()
        required = {
            name: _foreign_name(name, layers, found) for name in ours if not name.endswith("num_batches_tracked")
        }
        table = {theirs: name for name, theirs in required.items()}

        def rename(name: str) -> str | None:
            return "" if fluid.is_leftover(name) else table.get(name)

        converted = convert(tensors, layout="paddle", rename=rename, required=required)
        # Its temporal convolutions are 3D on [B, C, T, H, W] and 2D on [B, D, T, 1], one dimension more than ours.
        flat = {
            name: tensor.squeeze(-1) if name.startswith(("temporal", "xception")) and tensor.dim() >= 4 else tensor
            for name, tensor in converted.items()
        }
        return fluid.transpose_classifier(flat)

    return Layout(convert=read, infer=lambda checkpoint: infer(unwrap(checkpoint, layout="paddle")))


def infer(tensors: StateDict) -> Found:
    """Depth, from the blocks, and frames per super-image, from the channels of conv1, as far as they can be told."""
    found: Found = {}
    trunk = infer_trunk(tensors, "").get("trunk", "")
    if trunk.startswith("resnet"):
        found["depth"] = int(trunk.removeprefix("resnet"))
    stem = tensors.get("conv1_weights")
    if stem is not None and stem.dim() == 4 and stem.shape[1] % 3 == 0:
        found["frames"] = stem.shape[1] // 3
    return found


def _layers(names: list[str]) -> dict[str, str]:
    """Our layers by the file's names: `conv3d_*` where it has none that could be meant."""
    layers = {f"xception.{ours}": theirs for ours, theirs in XCEPTION.items()}
    for kind, ours in (("conv3d", "conv"), ("batch_norm", "bn")):
        places = {place: layer for layer, place in fluid.number_in_order(names, kind).items()}
        layers.update({f"temporal{place + 1}.{ours}": places.get(place, f"{kind}_*") for place in (0, 1)})
    return layers


def _foreign_name(name: str, layers: Mapping[str, str], found: Found) -> str:
    """The variable of one of our tensors.

    >>> _foreign_name("temporal1.bn.running_var", {"temporal1.bn": "batch_norm_24"}, {})
    'batch_norm_24.w_2'
    """
    owner, _, part = name.rpartition(".")
    if owner not in layers:
        return paddle_name(name, {"trunk": f"resnet{found.get('depth', 50)}"})
    is_norm = owner.rpartition(".")[2].startswith("bn")
    return f"{layers[owner]}.{(_NORM if is_norm else _DENSE)[part]}"


_ADDRESS = "https://paddlemodels.bj.bcebos.com/video_classification"


def _published(file: str, versions: str) -> Weights:
    return Weights(
        url=f"{_ADDRESS}/{file}",
        layout="paddle",
        licence="Apache-2.0",
        classes="kinetics400",
        accuracy={"top1": 69.0},
        protocol="25 super-images of 5 frames, centre crop of 256",
        source=f"github.com/PaddlePaddle/models, PaddleCV/video, {versions}",
    )


WEIGHTS = {
    "stnet-r50-kinetics400": _published("STNET.pdparams", "release 1.7 and 1.8"),
    "stnet-r50-kinetics400-1.6": _published("STNET_final.pdparams", "release 1.6"),
    "stnet-r50-kinetics400-1.3": _published("stnet_kinetics.tar.gz", "releases 1.3 to 1.5; one file per variable"),
}
