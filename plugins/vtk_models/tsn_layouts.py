"""TSN's dialects: tsn-pytorch (and the TSN files of MIT's TSM), X-Temporal, MMAction2 and Paddle.

ours                             trunk.layer1.0.conv1.weight                       fc.weight
tsn-pytorch, x-temporal          base_model.layer1.0.conv1.weight                  new_fc.weight
  where dropout was 0            base_model.layer1.0.conv1.weight                  base_model.fc.weight
mmaction2                        backbone.layer1.0.conv1.conv.weight               cls_head.fc_cls.weight
paddle                           res2a_branch2a_weights                            fc_0.w_0 [in, out]
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from vtk_cli.api.models import Layout, StateDict
from vtk_models import fluid
from vtk_models.segment_layouts import Found, dialect, infer_trunk, mmaction2_trunk_name, old_batch_norms, paddle_name

MMACTION2_VIEWS = {"sampling": "mmaction2", "average": "probabilities"}
"""How all of its configurations test."""

OLD_CLASSIFIER = {"bninception": "base_model.fc.", "mobilenetv2": "base_model.classifier."}
"""Where dropout was 0 the trunk's own last layer is the classifier; ResNets call it fc as well."""


def layouts(build: Callable[[Mapping[str, Any]], nn.Module]) -> dict[str, Layout]:
    """By name; `build` makes a TSN of fields of its configuration."""
    tsn_pytorch = {
        name: dialect(name, build=build, infer=infer_tsn_pytorch, foreign_name=tsn_pytorch_name, finish=old_batch_norms)
        for name in ("tsn-pytorch", "x-temporal")
    }
    mmaction2 = dialect("mmaction2", build=build, infer=infer_mmaction2, foreign_name=mmaction2_name)
    paddle = dialect(
        "paddle",
        build=build,
        infer=infer_paddle,
        foreign_name=paddle_name,
        is_unused=fluid.is_leftover,
        finish=fluid.transpose_classifier,
    )
    return {**tsn_pytorch, "mmaction2": mmaction2, "paddle": paddle}


def infer_tsn_pytorch(tensors: StateDict) -> Found:
    """Trunk, modality, and whether dropout was 0."""
    found = infer_trunk(tensors, "base_model.")
    if old_classifier(found) + "weight" in tensors:
        found["dropout"] = 0.0
    return found


def infer_mmaction2(tensors: StateDict) -> Found:
    return {**infer_trunk(tensors, "backbone."), **MMACTION2_VIEWS}


def infer_paddle(tensors: StateDict) -> Found:
    """Paddle's TSN averages features and classifies once, which a linear classifier cannot tell from ours."""
    return {**infer_trunk(tensors, ""), "dropout": 0.0, "sampling": "paddle", "policy": "paddle"}


def tsn_pytorch_name(name: str, found: Found) -> str:
    if name.startswith("fc."):
        return (old_classifier(found) if found.get("dropout") == 0 else "new_fc.") + name.removeprefix("fc.")
    return name.replace("trunk.", "base_model.", 1)


def mmaction2_name(name: str, found: Found) -> str:
    if name.startswith("fc."):
        return f"cls_head.fc_cls.{name.removeprefix('fc.')}"
    return "backbone." + mmaction2_trunk_name(name.removeprefix("trunk."), found.get("trunk", ""))


def old_classifier(found: Found) -> str:
    return OLD_CLASSIFIER.get(found.get("trunk", ""), "base_model.fc.")
