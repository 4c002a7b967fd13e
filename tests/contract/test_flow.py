"""Every registered flow method holds to the contract."""

import pytest

from vtk_cli import registry
from vtk_cli.testing.flow import FlowTests


@pytest.fixture(scope="class", params=registry.names("vtk.flow"))
def _spec(request):
    request.cls.spec = registry.load("vtk.flow", request.param)


@pytest.mark.usefixtures("_spec")
class TestEveryMethod(FlowTests):
    pass


def test_the_first_party_methods_are_registered():
    assert {"tvl1", "farneback", "dis"} <= set(registry.names("vtk.flow"))
