"""TSM's dialects: MIT's own and X-Temporal's, MIT's online demo, MMAction2 and Paddle.

    ours                             mit-tsm, x-temporal: base_model.      mmaction2: backbone.
    trunk.layer1.0.conv1.weight      layer1.0.conv1.net.weight             layer1.0.conv1.conv.net.weight
      place="block"                  layer1.0.net.conv1.weight             layer1.0.net.conv1.conv.weight
      temporal_pool                  layer2.net.0.conv1.net.weight         layer2.net.0.conv1.conv.net.weight
      non_local                      layer2.0.block.conv1.net.weight       layer2.0.block.conv1.conv.net.weight
    nonlocals.layer2_0.g.weight      layer2.0.nl.g.0.weight                layer2.0.non_local_block.g.0.conv.weight
    trunk.features.3.conv.0.weight   features.3.conv.0.net.weight          layer2.1.conv.0.net.conv.weight
    fc.weight                        new_fc.weight (dropout 0: as TSN's)   cls_head.fc_cls.weight

Non-local blocks wrap shifted blocks, and temporal pooling a whole stage. Paddle's names are those of its TSN. Its
dropout scales at evaluation instead of training, by 1/2, which goes into the classifier's weight.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

from torch import nn

from vtk_cli.api.models import Layout, StateDict
from vtk_models import fluid, tsn_layouts
from vtk_models.segment_layouts import Found, dialect, infer_trunk, mmaction2_trunk_name, old_batch_norms, paddle_name

Place = Literal["blockres", "block"]
PLACES: tuple[Place, ...] = get_args(Place)

NONLOCAL_BLOCKS = {2: (0, 2), 3: (0, 2, 4)}
"""Stage of ResNet-50 -> the blocks that a non-local block follows (MIT's ops/non_local.py, MMAction2's configs)."""

MIT_NONLOCAL = {"g": "g.0", "phi": "phi.0", "theta": "theta", "out": "W.0", "bn": "W.1"}

MMACTION2_NONLOCAL = {
    "g": "g.0.conv",
    "phi": "phi.0.conv",
    "theta": "theta.conv",
    "out": "conv_out.conv",
    "bn": "conv_out.bn",
}

PADDLE_DROPOUT = 0.5

MOBILENETV2_SHIFTED = frozenset({3, 5, 6, 8, 9, 10, 12, 13, 15, 16})
"""Blocks of MobileNetV2 that expand and have a shortcut, by their place in `features`."""


def shift_every(trunk: str) -> int:
    """MIT's: 2 in the ResNets whose third stage has 23 blocks or more, 1 in all others."""
    return 2 if trunk in {"resnet101", "resnet152"} else 1


def layouts(build: Callable[[Mapping[str, Any]], nn.Module]) -> dict[str, Layout]:
    """By name; `build` makes a TSM of fields of its configuration."""
    mit = {
        name: dialect(name, build=build, infer=infer_mit, foreign_name=mit_name, finish=old_batch_norms)
        for name in ("mit-tsm", "x-temporal")
    }
    mmaction2 = dialect("mmaction2", build=build, infer=infer_mmaction2, foreign_name=mmaction2_name)
    paddle = dialect(
        "paddle",
        build=build,
        infer=infer_paddle,
        foreign_name=paddle_name,
        is_unused=fluid.is_leftover,
        finish=_finish_paddle,
    )
    return {**mit, "mmaction2": mmaction2, "paddle": paddle}


def infer_mit(tensors: StateDict) -> Found:
    """What `infer_trunk` tells, and where the shifts are; the online demo's MobileNetV2 has no prefix."""
    if "classifier.weight" in tensors:
        return {**infer_trunk(tensors, ""), "shift": "online"}
    found = {**tsn_layouts.infer_tsn_pytorch(tensors), **_infer_structure(tensors, "base_model.", r"conv1\.net\.")}
    if "base_model.layer2.0.nl.theta.weight" in tensors:
        found["non_local"] = "embedded_gaussian"
    return found


def infer_mmaction2(tensors: StateDict) -> Found:
    """As MIT's. A block of the dot product has the tensors of an embedded Gaussian one, and is taken for that."""
    found = {**tsn_layouts.infer_mmaction2(tensors), **_infer_structure(tensors, "backbone.", r"conv1\.conv\.net\.")}
    block = "backbone.layer2.0.non_local_block."
    if block + "g.0.conv.weight" in tensors:
        found["non_local"] = "embedded_gaussian" if block + "theta.conv.weight" in tensors else "gaussian"
        found["non_local_bias"] = block + "conv_out.conv.bias" in tensors
    return found


def infer_paddle(tensors: StateDict) -> Found:
    views = {"sampling": "paddle", "policy": "paddle"}
    return {**infer_trunk(tensors, ""), "shift": "prev_first", "shift_every": 1, **views}


def _infer_structure(names: StateDict, prefix: str, shifted: str) -> Found:
    found: Found = {}
    if any(re.match(rf"{prefix}layer1\.\d+\.net\.", name) for name in names):
        found["place"] = "block"
    elif any(re.match(rf"{prefix}layer1\.0\.{shifted}", name) for name in names):
        found["shift_every"] = 1 if any(re.match(rf"{prefix}layer1\.1\.{shifted}", name) for name in names) else 2
    if any(name.startswith(f"{prefix}layer2.net.") for name in names):
        found["temporal_pool"] = True
    return found


def mit_name(name: str, found: Found) -> str:
    if found.get("shift") == "online":
        return name.replace("fc.", "classifier.", 1) if name.startswith("fc.") else name.removeprefix("trunk.")
    if name.startswith("fc."):
        return (tsn_layouts.old_classifier(found) if found.get("dropout") == 0 else "new_fc.") + name.removeprefix(
            "fc."
        )
    if name.startswith("nonlocals."):
        block, layer, part = _nonlocal_parts(name)
        return f"base_model.{_in_pool(block, found)}.nl.{MIT_NONLOCAL[layer]}.{part}"
    ours = name.removeprefix("trunk.")
    if found.get("trunk") == "mobilenetv2":
        return "base_model." + re.sub(rf"^(features\.({_MOBILENETV2})\.conv\.0)\.", r"\1.net.", ours)
    return f"base_model.{_wrapped(ours, found, 'conv1.weight', 'conv1.net.weight')}"


def mmaction2_name(name: str, found: Found) -> str:
    if name.startswith("fc."):
        return f"cls_head.fc_cls.{name.removeprefix('fc.')}"
    if name.startswith("nonlocals."):
        block, layer, part = _nonlocal_parts(name)
        return f"backbone.{_in_pool(block, found)}.non_local_block.{MMACTION2_NONLOCAL[layer]}.{part}"
    ours = name.removeprefix("trunk.")
    theirs = mmaction2_trunk_name(ours, found.get("trunk", ""))
    if found.get("trunk") == "mobilenetv2":
        # The shift wraps the first ConvModule, the convolution and its batch norm.
        is_shifted = re.match(rf"features\.({_MOBILENETV2})\.conv\.[01]\.", ours)
        return "backbone." + (theirs.replace(".conv.0.", ".conv.0.net.", 1) if is_shifted else theirs)
    return f"backbone.{_wrapped(theirs, found, 'conv1.conv.weight', 'conv1.conv.net.weight')}"


_MOBILENETV2 = "|".join(map(str, sorted(MOBILENETV2_SHIFTED)))


def _wrapped(name: str, found: Found, first: str, shifted: str) -> str:
    """A name inside a ResNet or BN-Inception with what shifts, non-local blocks and pooling put around it."""
    parts = re.fullmatch(r"(layer(\d)\.(\d+))\.(.*)", name)
    if not parts:
        return name
    block, stage, place, rest = parts[1], int(parts[2]), int(parts[3]), parts[4]
    if found.get("place") == "block":
        rest = f"net.{rest}"
    elif rest == first and place % found.get("shift_every", 1) == 0:
        rest = shifted
    if found.get("non_local") and place in NONLOCAL_BLOCKS.get(stage, ()):
        rest = f"block.{rest}"
    return f"{_in_pool(block, found)}.{rest}"


def _in_pool(block: str, found: Found) -> str:
    return block.replace("layer2.", "layer2.net.", 1) if found.get("temporal_pool") else block


def _nonlocal_parts(name: str) -> tuple[str, str, str]:
    """`nonlocals.layer2_0.g.weight` -> layer2.0, g, weight."""
    _, block, layer, part = name.split(".")
    return block.replace("_", "."), layer, part


def _finish_paddle(state: StateDict) -> StateDict:
    state = fluid.transpose_classifier(state)
    return {**state, "fc.weight": state["fc.weight"] * (1 - PADDLE_DROPOUT)}
