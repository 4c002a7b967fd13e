import pytest

from vtk_cli import registry
from vtk_cli.testing.metrics import MetricTests


@pytest.fixture(params=registry.names("vtk.metrics"), autouse=True)
def metric(request):
    return registry.load("vtk.metrics", request.param)


class TestInstalledMetrics(MetricTests):
    @pytest.fixture(autouse=True)
    def _spec(self, metric):
        type(self).spec = metric
