"""The contracts that plugins keep, as test classes: subclass one, name your plugin, inherit its tests.

from vtk_cli.testing import ModelTests

class TestMine(ModelTests):
    spec = MODEL
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "DatasetTests": "datasets",
    "DecoderTests": "decoders",
    "FeatureLoaderTests": "loaders",
    "FlowTests": "flow",
    "LoaderTests": "loaders",
    "MetricTests": "metrics",
    "ModelTests": "models",
    "StoreTests": "stores",
    "TrunkTests": "trunks",
}


def __getattr__(name: str) -> Any:
    """Import a contract when it is asked for: each needs the heavy modules of its own kind only."""
    if name in _HOMES:
        return getattr(import_module(f"vtk_cli.testing.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
