"""Every installed decoder keeps the contract, first-party ones and plugins alike."""

import pytest

from vtk_cli import registry
from vtk_cli.testing.decoders import DecoderTests


@pytest.fixture(scope="class", params=registry.names("vtk.decoders"))
def _spec(request):
    request.cls.spec = registry.load("vtk.decoders", request.param)


@pytest.mark.usefixtures("_spec")
class TestEveryDecoder(DecoderTests):
    pass


def test_the_default_decoder_is_registered():
    assert "pyav" in registry.names("vtk.decoders")
