"""These tests need torchvision and timm: `nox -s zoo`. Elsewhere they are skipped, in that session they are not."""

import importlib
import os

import pytest


def _import(name):
    if os.environ.get("VTK_ZOO"):
        return importlib.import_module(name)
    return pytest.importorskip(name, reason=f"{name} is not installed; `nox -s zoo` runs this", exc_type=Exception)


@pytest.fixture(scope="session")
def torchvision_models():
    """torchvision.models, with .video in it."""
    return _import("torchvision.models")


@pytest.fixture(scope="session")
def timm():
    return _import("timm")
