"""Reference outputs of the original implementations, rebuilt from the scripts that lie beside them."""

import json
import sys
from dataclasses import dataclass

import numpy as np
import pytest
import torch


@dataclass
class FluidCase:
    weights: dict
    """By the original variables' names, as numpy arrays."""
    image: torch.Tensor
    """[B, T, 3N, H, W], or [B, T, 3, H, W] for TSN."""
    logits: torch.Tensor


@pytest.fixture(scope="session")
def torch_fixture(shared):
    """load(name) of the reference scripts: .published(), .inputs, .logits, .logits64, .tol, .params."""
    return _module(shared / "parity" / "torch", "load_fixture").load


@pytest.fixture(scope="session")
def fluid_case(shared):
    """load(name) -> FluidCase."""
    folder = shared / "parity" / "paddle"
    common = _module(folder, "common")

    def load(name):
        with np.load(folder / f"{name}.npz") as stored:
            meta = json.loads(str(stored["meta"]))
            salt = meta["salt"]
            image = common.gen_input(salt, "image", tuple(stored["in/image_shape"]))
            return FluidCase(
                weights={key: common.gen(salt, key, shape, kind) for key, shape, kind in meta["params"]},
                image=torch.from_numpy(image),
                logits=torch.from_numpy(stored["res/logits"]),
            )

    return load


def _module(folder, name):
    sys.path.insert(0, str(folder))
    try:
        return __import__(name)
    finally:
        sys.path.remove(str(folder))
