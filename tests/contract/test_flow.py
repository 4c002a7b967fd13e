"""Every registered flow method holds to the contract."""

import pytest

from vtk_cli import registry
from vtk_cli.testing.flow import FlowTests

WITH_WEIGHTS = {"raft"}
"""These need a file and a library beside vtk's own; tests/zoo holds them to the contract."""


@pytest.fixture(scope="class", params=[name for name in registry.names("vtk.flow") if name not in WITH_WEIGHTS])
def _spec(request):
    request.cls.spec = registry.load("vtk.flow", request.param)


@pytest.mark.usefixtures("_spec")
class TestEveryMethod(FlowTests):
    pass


def test_the_first_party_methods_are_registered():
    assert {"tvl1", "farneback", "dis"} <= set(registry.names("vtk.flow"))
