"""What five other projects call the tensors of SlowFast and SlowOnly: functions from our names to theirs."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from vtk_models.trunks.resnet import BLOCKS

DEEPEST = BLOCKS[152]

WEIGHT, DENSE = ("weight",), ("weight", "bias")
NORM = (*DENSE, "running_mean", "running_var", "num_batches_tracked")

STEM = {"conv1": WEIGHT, "bn1": NORM}
BLOCK = {
    **{f"conv{n}": WEIGHT for n in (1, 2, 3)},
    **{f"bn{n}": NORM for n in (1, 2, 3)},
    "downsample.0": WEIGHT,
    "downsample.1": NORM,
}
"""Modules of a stem and of a block, with their tensors."""

NON_LOCAL = {**{f"non_local.{conv}": DENSE for conv in ("theta", "phi", "g", "out")}, "non_local.bn": NORM}
"""What blocks of the slow pathway may have in addition."""

PYSLOWFAST_BLOCK = {
    **{f"conv{n}": f"branch2.{letter}" for n, letter in enumerate("abc", 1)},
    **{f"bn{n}": f"branch2.{letter}_bn" for n, letter in enumerate("abc", 1)},
    "downsample.0": "branch1",
    "downsample.1": "branch1_bn",
}

PYTORCHVIDEO_BLOCK = {
    **{f"conv{n}": f"branch2.conv_{letter}" for n, letter in enumerate("abc", 1)},
    **{f"bn{n}": f"branch2.norm_{letter}" for n, letter in enumerate("abc", 1)},
    "downsample.0": "branch1_conv",
    "downsample.1": "branch1_norm",
}

MMACTION2_BLOCK = {
    **{f"conv{n}": f"conv{n}.conv" for n in (1, 2, 3)},
    **{f"bn{n}": f"conv{n}.bn" for n in (1, 2, 3)},
    "downsample.0": "downsample.conv",
    "downsample.1": "downsample.bn",
    "non_local.theta": "non_local_block.theta.conv",
    "non_local.phi": "non_local_block.phi.0.conv",
    "non_local.g": "non_local_block.g.0.conv",
    "non_local.out": "non_local_block.conv_out.conv",
    "non_local.bn": "non_local_block.conv_out.bn",
}

CAFFE2_PART = {"running_mean": "rm", "running_var": "riv"}

_OURS = re.compile(
    r"(?P<pathway>slow|fast)\.(?:layer(?P<layer>\d)\.(?P<block>\d+)\.)?(?P<module>.+)\.(?P<part>\w+)"
    r"|laterals\.(?P<lateral>\d)\.(?P<kind>conv|bn)\.(?P<lateral_part>\w+)"
    r"|head\.fc\.(?P<fc_part>\w+)"
)


def every_name(pathways: Sequence[str]) -> Iterator[str]:
    """Our name of every tensor that a network of the family may have, of the depth 152 or less."""
    for pathway in pathways:
        yield from (f"{pathway}.{module}.{part}" for module, parts in STEM.items() for part in parts)
        modules = BLOCK | NON_LOCAL if pathway == "slow" else BLOCK
        for layer, blocks in enumerate(DEEPEST, 1):
            for block, (module, parts) in product(range(blocks), modules.items()):
                yield from (f"{pathway}.layer{layer}.{block}.{module}.{part}" for part in parts)
    if "fast" in pathways:
        for stage, (module, parts) in product(range(4), (("conv", WEIGHT), ("bn", NORM))):
            yield from (f"laterals.{stage}.{module}.{part}" for part in parts)
    yield from (f"head.fc.{part}" for part in DENSE)


def pyslowfast_name(name: str) -> str:
    """PySlowFast's name for a tensor of ours.

    >>> pyslowfast_name("fast.conv1.weight"), pyslowfast_name("slow.layer2.1.non_local.theta.bias")
    ('s1.pathway1_stem.conv.weight', 's3.pathway0_nonlocal1.conv_theta.bias')
    >>> pyslowfast_name("slow.layer1.0.bn3.weight"), pyslowfast_name("laterals.0.conv.weight")
    ('s2.pathway0_res0.branch2.c_bn.weight', 's1_fuse.conv_f2s.weight')
    """
    ours = _parse(name)
    if ours["fc_part"]:
        return f"head.projection.{ours['fc_part']}"
    if ours["lateral"]:
        kind = "conv_f2s" if ours["kind"] == "conv" else "bn"
        return f"s{int(ours['lateral']) + 1}_fuse.{kind}.{ours['lateral_part']}"
    pathway, module, part = f"pathway{_number(ours)}", ours["module"], ours["part"]
    if not ours["layer"]:
        return f"s1.{pathway}_stem.{module.removesuffix('1')}.{part}"
    stage = f"s{int(ours['layer']) + 1}.{pathway}"
    if module.startswith("non_local."):
        inner = module.removeprefix("non_local.")
        return f"{stage}_nonlocal{ours['block']}.{inner if inner == 'bn' else f'conv_{inner}'}.{part}"
    return f"{stage}_res{ours['block']}.{PYSLOWFAST_BLOCK[module]}.{part}"


def caffe2_name(name: str) -> str:
    """The blob of PySlowFast's older files, which Caffe2 wrote; lateral ones without the number of the last block.

    Source: SlowFast slowfast/utils/c2_model_loading.py.

    >>> caffe2_name("fast.bn1.running_var"), caffe2_name("slow.layer1.0.downsample.1.weight")
    ('t_res_conv1_bn_riv', 'res2_0_branch1_bn_s')
    >>> caffe2_name("laterals.1.bn.bias"), caffe2_name("slow.layer2.1.non_local.g.weight")
    ('t_res2_branch2c_bn_subsample_bn_b', 'nonlocal_conv3_1_g_w')
    """
    ours = _parse(name)
    is_norm = "bn" in name or "downsample.1" in name
    part = name.rpartition(".")[2]
    suffix = ("bn_" if is_norm else "") + CAFFE2_PART.get(part, {"weight": "s" if is_norm else "w"}.get(part, part[:1]))
    if ours["fc_part"]:
        return f"pred_{suffix}"
    if ours["lateral"]:
        stage = int(ours["lateral"]) + 1
        return f"t_{'pool1' if stage == 1 else f'res{stage}_branch2c_bn'}_subsample_{suffix}"
    prefix, module = "t_" if ours["pathway"] == "fast" else "", ours["module"]
    if not ours["layer"]:
        return f"{prefix}{'res_' if is_norm else ''}conv1_{suffix}"
    place = f"{int(ours['layer']) + 1}_{ours['block']}"
    if module.startswith("non_local."):
        inner = module.removeprefix("non_local.")
        return f"nonlocal_conv{place}_{suffix if inner == 'bn' else f'{inner}_{suffix}'}"
    branch = "branch1" if module.startswith("downsample") else f"branch2{'abc'[int(module[-1]) - 1]}"
    return f"{prefix}res{place}_{branch}_{suffix}"


def mmaction2_name(name: str, *, pathways: bool) -> str:
    """MMAction2's name for a tensor of ours: of ResNet3dSlowFast with `pathways`, else of ResNet3dSlowOnly.

    >>> mmaction2_name("fast.layer1.0.bn1.bias", pathways=True)
    'backbone.fast_path.layer1.0.conv1.bn.bias'
    >>> mmaction2_name("laterals.0.conv.weight", pathways=True), mmaction2_name("slow.bn1.weight", pathways=False)
    ('backbone.slow_path.conv1_lateral.conv.weight', 'backbone.conv1.bn.weight')
    """
    ours = _parse(name)
    if ours["fc_part"]:
        return f"cls_head.fc_cls.{ours['fc_part']}"
    if ours["lateral"]:
        stage = "conv1" if ours["lateral"] == "0" else f"layer{ours['lateral']}"
        return f"backbone.slow_path.{stage}_lateral.{ours['kind']}.{ours['lateral_part']}"
    backbone = f"backbone.{ours['pathway']}_path" if pathways else "backbone"
    layer = f"layer{ours['layer']}.{ours['block']}." if ours["layer"] else ""
    return f"{backbone}.{layer}{MMACTION2_BLOCK[ours['module']]}.{ours['part']}"


def xtemporal_name(name: str) -> str:
    """X-Temporal's name for a tensor of ours; it has neither norms on its laterals nor non-local blocks.

    >>> xtemporal_name("slow.layer1.0.downsample.0.weight"), xtemporal_name("laterals.1.conv.weight")
    ('slow_res2.0.downsample.0.weight', 'lateral_res2.weight')
    """
    ours = _parse(name)
    if ours["fc_part"]:
        return f"fc.{ours['fc_part']}"
    if ours["lateral"]:
        stage = "p1" if ours["lateral"] == "0" else f"res{int(ours['lateral']) + 1}"
        kind = "" if ours["kind"] == "conv" else "bn."
        return f"lateral_{stage}.{kind}{ours['lateral_part']}"
    layer = f"res{int(ours['layer']) + 1}.{ours['block']}." if ours["layer"] else ""
    return f"{ours['pathway']}_{layer}{ours['module']}.{ours['part']}"


def pytorchvideo_name(name: str, *, pathways: bool) -> str:
    """PyTorchVideo's name for a tensor of ours: of create_slowfast with `pathways`, else of create_resnet.

    >>> pytorchvideo_name("fast.layer1.0.bn1.bias", pathways=True)
    'blocks.1.multipathway_blocks.1.res_blocks.0.branch2.norm_a.bias'
    >>> pytorchvideo_name("slow.conv1.weight", pathways=False)
    'blocks.0.conv.weight'
    """
    ours = _parse(name)
    if ours["fc_part"]:
        return f"blocks.{6 if pathways else 5}.proj.{ours['fc_part']}"
    if ours["lateral"]:
        kind = "conv_fast_to_slow" if ours["kind"] == "conv" else "norm"
        return f"blocks.{ours['lateral']}.multipathway_fusion.{kind}.{ours['lateral_part']}"
    stage = f"blocks.{ours['layer'] or 0}" + (f".multipathway_blocks.{_number(ours)}" if pathways else "")
    if not ours["layer"]:
        return f"{stage}.{'conv' if ours['module'] == 'conv1' else 'norm'}.{ours['part']}"
    module = PYTORCHVIDEO_BLOCK.get(ours["module"], ours["module"])
    return f"{stage}.res_blocks.{ours['block']}.{module}.{ours['part']}"


def _parse(name: str) -> Mapping[str, Any]:
    found = _OURS.fullmatch(name)
    if found is None:
        raise ValueError(name)
    return found.groupdict()


def _number(ours: Mapping[str, Any]) -> int:
    return 0 if ours["pathway"] == "slow" else 1
