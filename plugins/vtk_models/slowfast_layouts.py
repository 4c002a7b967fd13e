"""Reading other projects' SlowFast and SlowOnly checkpoints, complete or refused.

The configuration is read off the tensors; the network of that configuration says which tensors are ours, and a function
of `slowfast_names` what the file has to call them.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache, partial
from typing import Any

import torch
from torch import nn

from vtk_cli.api.models import Layout, StateDict
from vtk_models import layouts, slowfast_names
from vtk_models.slowfast_names import DEEPEST, every_name
from vtk_models.slowfast_parts import PathwayConfig
from vtk_models.trunks.resnet import BLOCKS

Build = Callable[[Any, int], nn.Module]
ConfigType = type[PathwayConfig]

DEPTHS = {blocks[2]: depth for depth, blocks in BLOCKS.items() if depth >= 50}
"""By the number of blocks in res4."""

INSTANTIATIONS = {"softmax": "embedded_gaussian", "dot_product": "dot_product"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How one project writes these networks down."""

    layout: str
    name: Callable[[str], str]
    """From a name of ours to theirs."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the configuration that the project decides."""
    read: Callable[[Mapping[str, Any]], StateDict]
    """The tensors by their names."""
    has: Callable[[str], bool] = lambda _name: True
    """Whether it has our tensor of that name at all."""
    finish: Callable[[StateDict], StateDict] = lambda state: state
    """What is left to do under our names."""


def reader(dialect: Dialect, build: Build, config_type: ConfigType) -> Layout:
    """The layout that brings a dialect's files to the network that `build` makes of a `config_type`."""
    known = {setting.name for setting in fields(config_type)}
    pathways = ("slow", "fast") if "alpha" in known else ("slow",)

    @cache
    def ours_by_theirs(config: Any) -> dict[str, str]:
        with torch.device("meta"):
            names = build(config, 1).state_dict()
        return {dialect.name(name): name for name in names if dialect.has(name)}

    def infer(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
        ours = {dialect.name(name): name for name in every_name(pathways)}
        shapes = {ours[name]: tensor.shape for name, tensor in dialect.read(checkpoint).items() if name in ours}
        found = {**_pathways(shapes), **dialect.settings, **_stated(checkpoint)}
        if "alpha" not in dialect.settings and "alpha" not in found:
            found["alpha"] = _usual_alpha(found, dialect.layout)
        return {setting: value for setting, value in found.items() if setting in known}

    def convert(checkpoint: Mapping[str, Any]) -> StateDict:
        table = ours_by_theirs(config_type(**infer(checkpoint)))
        converted = layouts.convert(
            dialect.read(checkpoint),
            layout=dialect.layout,
            rename=table.get,
            required={ours: theirs for theirs, ours in table.items() if not ours.endswith("num_batches_tracked")},
        )
        return dialect.finish(converted)

    return Layout(convert=convert, infer=infer)


def _pathways(shapes: Mapping[str, torch.Size]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pathway, prefix in (("slow", ""), ("fast", "fast_")):
        names = (f"{pathway}.layer3.{block}.conv1.weight" for block in range(DEEPEST[2]))
        spans = [shapes[name][2] for name in names if name in shapes]
        found[f"{prefix}depth"] = DEPTHS.get(len(spans), 50)
        spanning = sum(span > 1 for span in spans)
        found[f"{prefix}res4_temporal"] = spanning if spanning < len(spans) else None
    if found["fast_depth"] == found["depth"]:
        found["fast_depth"] = None
    places = [re.fullmatch(r"slow\.layer(\d)\.(\d+)\.non_local\.theta\.weight", name) for name in shapes]
    found["non_local"] = tuple(
        tuple(sorted(int(place[2]) for place in places if place and int(place[1]) == layer)) for layer in (1, 2, 3, 4)
    )
    if width := shapes.get("slow.conv1.weight"):
        found["width"] = width[0]
        if fast := shapes.get("fast.conv1.weight"):
            found["beta"] = width[0] // fast[0]
    if lateral := shapes.get("laterals.0.conv.weight"):
        found["fusion_ratio"], found["fusion_kernel"] = lateral[0] // lateral[1], lateral[2]
    found["lateral_norm"] = "laterals.0.bn.weight" in shapes
    found["fc_bias"] = "head.fc.bias" in shapes
    return found


def _stated(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """What the configuration says that PySlowFast keeps beside the tensors, as text."""
    text = checkpoint.get("cfg")
    if not isinstance(text, str):
        return {}
    numbers = {"alpha": "ALPHA", "frames": "NUM_FRAMES", "stride": "SAMPLING_RATE"}
    found: dict[str, Any] = {
        ours: int(stated[1])
        for ours, key in numbers.items()
        if (stated := re.search(rf"^\s*{key}: (\d+)$", text, re.MULTILINE))
    }
    if (stated := re.search(r"^\s*INSTANTIATION: (\w+)$", text, re.MULTILINE)) and stated[1] in INSTANTIATIONS:
        found["non_local_kind"] = INSTANTIATIONS[stated[1]]
    return found


def _usual_alpha(found: Mapping[str, Any], layout: str) -> int:
    """No tensor depends on alpha; 8x8 and 16x8 have 4, 4x16 has 8.

    MMAction2's networks of alpha 4 have lateral kernels of 7, as PySlowFast's of depth 50; PySlowFast's of depth 101
    and those with non-local blocks have 4 and kernels of 5. (PySlowFast's SLOWFAST_NLN_4x16_R50, of which no weights
    are published, has alpha 8 all the same; its own files say so.)
    """
    if found.get("fusion_kernel") == 7:
        return 4
    if layout == "mmaction2":
        return 8
    return 4 if found["depth"] > 50 or any(found["non_local"]) else 8


def _plain(checkpoint: Mapping[str, Any], *, layout: str) -> StateDict:
    return layouts.unwrap(checkpoint, layout=layout)


def _without_prefix(checkpoint: Mapping[str, Any]) -> StateDict:
    """PySlowFast's wrapper for PyTorchVideo's networks puts `model.` before their names."""
    return {name.removeprefix("model."): tensor for name, tensor in _plain(checkpoint, layout="pytorchvideo").items()}


def _blobs(checkpoint: Mapping[str, Any]) -> StateDict:
    """Caffe2's blobs but the solver's; a lateral one is named after the last block before it, whose number goes."""
    held = {name: blob for name, blob in checkpoint.get("blobs", checkpoint).items() if not _is_training_state(name)}
    tensors = _plain(held, layout="pyslowfast-caffe2")
    return {re.sub(r"^(t_res\d)_\d+(_branch2c_bn_subsample_)", r"\1\2", name): t for name, t in tensors.items()}


def _is_training_state(name: str) -> bool:
    return name.endswith("_momentum") or name in ("lr", "model_iter")


def _is_no_counter(name: str) -> bool:
    return not name.endswith("num_batches_tracked")


def _slow_first(state: StateDict) -> StateDict:
    """MMAction2's classifier reads the fast pathway's features first, ours the slow one's."""
    slow = state["slow.layer4.0.conv3.weight"].shape[0]
    weight_KD = state["head.fc.weight"]
    fast = weight_KD.shape[1] - slow
    return {**state, "head.fc.weight": torch.cat((weight_KD[:, fast:], weight_KD[:, :fast]), 1)}


def _with_biases(state: StateDict) -> StateDict:
    """MMAction2's non-local blocks end in a convolution without bias; ours has one, here 0."""
    weights = [name for name in state if name.endswith("non_local.out.weight")]
    return state | {f"{name.removesuffix('weight')}bias": state[name].new_zeros(len(state[name])) for name in weights}


def _has_out_bias(name: str) -> bool:
    return not name.endswith("non_local.out.bias")


MMACTION2 = {
    "head": "features",
    "protocol": "mmaction2",
    "slow_frames": "every",
    "non_local_kind": "embedded_gaussian",
    "non_local_pool": "after",
}

FACEBOOK = {"head": "probabilities", "slow_frames": "linspace", "non_local_pool": "before"}

PYSLOWFAST = Dialect(
    layout="pyslowfast",
    name=slowfast_names.pyslowfast_name,
    settings=FACEBOOK,
    read=partial(_plain, layout="pyslowfast"),
)
CAFFE2 = Dialect(
    layout="pyslowfast-caffe2",
    name=slowfast_names.caffe2_name,
    settings=FACEBOOK,
    read=_blobs,
    has=_is_no_counter,
)


def _mmaction2(*, pathways: bool) -> Dialect:
    return Dialect(
        layout="mmaction2",
        name=partial(slowfast_names.mmaction2_name, pathways=pathways),
        settings=MMACTION2,
        read=partial(_plain, layout="mmaction2"),
        has=_has_out_bias,
        finish=(lambda state: _slow_first(_with_biases(state))) if pathways else _with_biases,
    )


def _pytorchvideo(*, pathways: bool) -> Dialect:
    return Dialect(
        layout="pytorchvideo",
        name=partial(slowfast_names.pytorchvideo_name, pathways=pathways),
        settings={**FACEBOOK, "head": "logits"},
        read=_without_prefix,
    )


X_TEMPORAL = Dialect(
    layout="x-temporal",
    name=slowfast_names.xtemporal_name,
    settings={
        "alpha": 4,
        "slow_frames": "every",
        "head": "features",
        "protocol": "x-temporal",
        "jitter": (128, 160),
        "crop": 112,
        "test_crop": 112,
        "short_side": 128,
    },
    read=partial(_plain, layout="x-temporal"),
)


def slowonly_layouts(build: Build, config_type: ConfigType) -> dict[str, Layout]:
    dialects = (PYSLOWFAST, CAFFE2, _mmaction2(pathways=False), _pytorchvideo(pathways=False))
    return {dialect.layout: reader(dialect, build, config_type) for dialect in dialects}


def slowfast_layouts(build: Build, config_type: ConfigType) -> dict[str, Layout]:
    dialects = (PYSLOWFAST, CAFFE2, _mmaction2(pathways=True), _pytorchvideo(pathways=True), X_TEMPORAL)
    return {dialect.layout: reader(dialect, build, config_type) for dialect in dialects}
