"""Non-local checkpoints of Paddle's library, of Caffe2's video-nonlocal-net and of PySlowFast, complete or refused.

Each dialect is one function from our names to its own; what a file must hold follows from the network that its tensors
say it was saved from.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from vtk_cli.api.models import Layout, StateDict
from vtk_cli.errors import CheckpointError
from vtk_models import fluid, slowfast_names
from vtk_models.layouts import convert, unwrap
from vtk_models.nonlocal_net import Nonlocal, NonlocalConfig, Style
from vtk_models.slowfast_layouts import INSTANTIATIONS

DROPOUT = 0.5
"""Paddle's. Its networks multiply what reaches the classifier by 1 - DROPOUT when they test, ours do not."""

EPSILON = 1e-5
"""Of every batch norm."""

FROZEN_GROUP = 4
"""Frames that res3's non-local blocks relate in Caffe2's networks with frozen batch norms (resnet_video.py)."""

PADDLE_NORM = {"s": "scale", "b": "offset", "rm": "mean", "riv": "variance"}
"""Caffe2's suffixes of a batch norm, and Paddle's. `riv` holds the variance, whatever it is short for."""

_BLOCK = re.compile(r"res(?P<stage>\d)_(?P<block>\d+)_(?P<branch>branch\w+?)_(?P<norm>bn_)?(?P<part>[a-z]+)")

Name = Callable[[str], str]


def pyslowfast_name(ours: str) -> str:
    """What PySlowFast calls a tensor of ours.

    >>> pyslowfast_name("trunk.layer2.1.non_local.theta.bias"), pyslowfast_name("trunk.layer1.0.bn3.weight")
    ('s3.pathway0_nonlocal1.conv_theta.bias', 's2.pathway0_res0.branch2.c_bn.weight')
    """
    return slowfast_names.pyslowfast_name(_as_slowonly(ours))


def caffe2_name(ours: str) -> str:
    """What Caffe2 calls a tensor of ours.

    >>> caffe2_name("trunk.layer2.1.non_local.theta.bias"), caffe2_name("trunk.layer1.0.bn3.running_var")
    ('nonlocal_conv3_1_theta_b', 'res2_0_branch2c_bn_riv')
    """
    return slowfast_names.caffe2_name(_as_slowonly(ours))


def paddle_name(depth: int, ours: str) -> str:
    """What Paddle calls a tensor of ours: blocks have letters, but the many of res4 in depth 101 numbers.

    >>> paddle_name(50, "trunk.layer3.5.bn2.running_var"), paddle_name(101, "trunk.layer3.5.conv2.weight")
    ('bn4f_branch2b_variance', 'res4b5_branch2b_weights')
    >>> paddle_name(50, "trunk.bn1.weight"), paddle_name(50, "trunk.layer3.1.non_local.bn.bias")
    ('bn_conv1_scale', 'nonlocal_conv4_1_bn_offset')
    """
    blob = caffe2_name(ours)
    stem, _, part = blob.rpartition("_")
    if blob == "conv1_w":
        return "conv1_weights"
    if stem == "res_conv1_bn":
        return f"bn_conv1_{PADDLE_NORM[part]}"
    if found := _BLOCK.fullmatch(blob):
        numbered = depth == 101 and found["stage"] == "4" and found["block"] != "0"
        letters = f"b{found['block']}" if numbered else chr(ord("a") + int(found["block"]))
        kind, part = ("bn", PADDLE_NORM[part]) if found["norm"] else ("res", "weights")
        return f"{kind}{found['stage']}{letters}_{found['branch']}_{part}"
    return f"{stem}_{PADDLE_NORM[part]}" if stem.endswith("_bn") else blob


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One way to write a network down."""

    layout: str
    style: Style
    read: Callable[[Mapping[str, Any]], StateDict]
    """Unwraps a checkpoint and brings its tensors, still under their own names, to our shapes."""
    name: Callable[[StateDict], Name]
    """Chooses the function from our names to the file's."""
    counters: bool = False
    """Whether its batch norms may count their batches."""

    def infer(self, checkpoint: Mapping[str, Any]) -> dict[str, Any]:
        """What tensors tell, and PySlowFast's configuration beside them.

        Embedded Gaussian and dot product have the same tensors.
        """
        return {**_stated(checkpoint), **self._fields(self.read(checkpoint))}

    def convert(self, checkpoint: Mapping[str, Any]) -> StateDict:
        """The state dict of the network that `infer` describes.

        Raises:
            CheckpointError: it holds other tensors, lacks some, or one has a shape of another network; all are named.
        """
        tensors = self.read(checkpoint)
        name, config = self.name(tensors), NonlocalConfig(**self._fields(tensors))
        bias = tensors.get(name("fc.bias"), torch.empty(1))
        with torch.device("meta"):
            state = Nonlocal(config, len(bias)).state_dict()
        counted = {key for key in state if key.endswith("num_batches_tracked")}
        ours = {name(key): key for key in state if self.counters or key not in counted}
        converted = convert(
            _thawed(tensors) if _was_frozen(tensors) else tensors,
            layout=self.layout,
            rename=lambda foreign: "" if fluid.is_leftover(foreign) else ours.get(foreign),
            required={key: foreign for foreign, key in ours.items() if key not in counted},
        )
        self._check_shapes(converted, state, name)
        return converted

    def _fields(self, tensors: StateDict) -> dict[str, Any]:
        name = self.name(tensors)
        stem = tensors.get(name("trunk.conv1.weight"))
        if stem is None or stem.dim() != 5:
            return {"style": self.style}
        fields: dict[str, Any] = {
            "style": self.style,
            "backbone": "i3d" if stem.shape[2] > 1 else "c2d",
            "depth": 101 if name("trunk.layer3.22.conv1.weight") in tensors else 50,
            "width": stem.shape[0],
        }
        block = "trunk.layer2.1.non_local."
        if name(f"{block}g.weight") not in tensors:
            return {**fields, "kind": "none"}
        if name(f"{block}theta.weight") not in tensors:
            fields["kind"] = "gaussian"
        if _was_frozen(tensors):
            fields["group"] = FROZEN_GROUP
        return {**fields, "block_norm": name(f"{block}bn.weight") in tensors}

    def _check_shapes(self, converted: StateDict, expected: StateDict, name: Name) -> None:
        for key, tensor in converted.items():
            if tensor.shape != expected[key].shape:
                raise CheckpointError(
                    f'A checkpoint of the layout "{self.layout}" has {name(key)} in the shape '
                    f"{tuple(expected[key].shape)}, found {tuple(tensor.shape)}. "
                    "Import a C2D or I3D, or name the model that the file was written for."
                )


def _as_slowonly(ours: str) -> str:
    """The same tensor's name in SlowOnly, which has the same trunk."""
    return f"slow.{ours.removeprefix('trunk.')}" if ours.startswith("trunk.") else f"head.{ours}"


def _stated(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The kind of non-local block that the configuration says, which PySlowFast keeps beside the tensors, as text."""
    found = re.search(r"^\s*INSTANTIATION: (\w+)$", str(checkpoint.get("cfg")), re.MULTILINE)
    return {"kind": INSTANTIATIONS[found[1]]} if found and found[1] in INSTANTIATIONS else {}


def _read_caffe2(checkpoint: Mapping[str, Any]) -> StateDict:
    """Without what belongs to the optimiser; the classifier may be a 1x1x1 convolution."""
    blobs = checkpoint.get("blobs", checkpoint)
    kept = {key: value for key, value in blobs.items() if key not in ("lr", "model_iter")}
    tensors = unwrap(
        {key: value for key, value in kept.items() if not key.endswith("_momentum")}, layout="caffe2-nonlocal"
    )
    if "pred_w" in tensors:
        tensors["pred_w"] = tensors["pred_w"].flatten(1)
    return tensors


def _read_paddle(checkpoint: Mapping[str, Any]) -> StateDict:
    """The classifier is a matrix [in, out] in training and a 1x1x1 convolution in testing; see `DROPOUT`."""
    tensors = unwrap(checkpoint, layout="paddle")
    if "pred_w" in tensors:
        weight = tensors["pred_w"]
        tensors["pred_w"] = (weight.t() if weight.dim() == 2 else weight.flatten(1)) * (1 - DROPOUT)
    return tensors


def _was_frozen(tensors: StateDict) -> bool:
    """Whether Caffe2's batch norms were turned into scale and bias (MODEL.USE_AFFINE)."""
    return "res_conv1_bn_s" in tensors and "res_conv1_bn_rm" not in tensors


def _thawed(tensors: StateDict) -> StateDict:
    """Frozen batch norms as batch norms of mean 0 and variance 1 - epsilon, which is 1 under the root."""
    scales = {key: tensor for key, tensor in tensors.items() if key.endswith("_bn_s")}
    means = {f"{key[:-1]}rm": torch.zeros_like(scale) for key, scale in scales.items()}
    variances = {f"{key[:-1]}riv": torch.full_like(scale, 1 - EPSILON) for key, scale in scales.items()}
    return {**tensors, **means, **variances}


def _paddle_names(tensors: StateDict) -> Name:
    return partial(paddle_name, 101 if "res4b1_branch2a_weights" in tensors else 50)


DIALECTS = (
    Dialect(layout="paddle", style="caffe2", read=_read_paddle, name=_paddle_names),
    Dialect(layout="caffe2-nonlocal", style="caffe2", read=_read_caffe2, name=lambda _tensors: caffe2_name),
    Dialect(
        layout="pyslowfast",
        style="pyslowfast",
        read=partial(unwrap, layout="pyslowfast"),
        name=lambda _tensors: pyslowfast_name,
        counters=True,
    ),
    Dialect(layout="pyslowfast-caffe2", style="pyslowfast", read=_read_caffe2, name=lambda _tensors: caffe2_name),
)

LAYOUTS = {dialect.layout: Layout(convert=dialect.convert, infer=dialect.infer) for dialect in DIALECTS}
