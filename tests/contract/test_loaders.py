from vtk_cli import registry
from vtk_cli.loader.torch_loader import LOADER
from vtk_cli.testing.loaders import FeatureLoaderTests, LoaderTests


class TestTorchLoader(LoaderTests):
    spec = LOADER


class TestTorchLoaderOnFeatures(FeatureLoaderTests):
    spec = LOADER


def test_every_installed_loader_loads():
    from vtk_cli.api.loaders import LoaderSpec

    names = registry.names("vtk.loaders")
    assert "torch" in names
    assert all(isinstance(registry.load("vtk.loaders", name), LoaderSpec) for name in names)
