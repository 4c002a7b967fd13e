"""The non-local block against MIT's (AlexHex7's) in one to three dimensions and PySlowFast's, with their weights."""

import json
import re

import numpy as np
import pytest
import torch

from vtk_models.nonlocal_block import NonLocalBlock

CASES = [*(("tsm", number) for number in range(5)), *(("sf", number) for number in range(4))]
KIND = {"softmax": "embedded_gaussian", "dot_product": "dot_product"}


@pytest.fixture(scope="module")
def units(shared):
    folder = shared / "parity" / "torch" / "units"
    described = json.loads((folder / "nonlocal.json").read_text())["cases"]
    mit = [case for case in described if case["kind"].startswith("mit")]
    pyslowfast = [case for case in described if case["kind"].startswith("PySlowFast")]
    with np.load(folder / "nonlocal.npz") as stored:
        arrays = {name: torch.from_numpy(stored[name]) for name in stored.files}
    return {"tsm": mit, "sf": pyslowfast}, arrays


@pytest.mark.parametrize(("origin", "number"), CASES)
def test_block_equals_the_originals(units, origin, number):
    cases, arrays = units
    prefix = f"{origin}{number}/"
    case = cases[origin][number]
    block = NonLocalBlock(case["shape"][1], **(_mit(case) if origin == "tsm" else _pyslowfast(case)))
    block.load_state_dict(
        {
            _ours(name.removeprefix(f"{prefix}sd/"), block): tensor
            for name, tensor in arrays.items()
            if name.startswith(f"{prefix}sd/")
        }
    )
    with torch.no_grad():
        single = block.eval()(arrays[f"{prefix}x"])
        double = block.double()(arrays[f"{prefix}x"].double())
    # The references are float32: up to 3e-7 of their largest number lies between them and float64.
    largest = arrays[f"{prefix}y"].abs().max().item()
    torch.testing.assert_close(single, arrays[f"{prefix}y"], rtol=0, atol=1e-6 * largest)
    torch.testing.assert_close(double, arrays[f"{prefix}y"].double(), rtol=0, atol=5e-7 * largest)


def _mit(case):
    return {
        "dims": int(re.search(r"(\d)D", case["cls"])[1]),
        "pool": "after" if case["sub_sample"] else "none",
        "scale": False,
        "norm": case["bn_layer"],
    }


def _pyslowfast(case):
    return {"kind": KIND[case["instantiation"]], "pool": "before" if case["pool"] else "none"}


def _ours(name, block):
    name = name.removeprefix("conv_")
    if name.startswith("W."):
        name = re.sub(r"^W\.1\.", "bn.", re.sub(r"^W\.0\.", "out.", name))
        return name if isinstance(block.bn, torch.nn.modules.batchnorm._BatchNorm) else name.replace("W.", "out.")
    return re.sub(r"^(g|phi)\.0\.", r"\1.", name)
