import dataclasses
import subprocess
import sys

import pytest
from flow_pairs import endpoint_error, grey_png, read_flo

from vtk_cli.config import resolve
from vtk_cli.errors import PluginError, UsageError
from vtk_cli.flow import tvl1_kernel
from vtk_cli.flow.tvl1 import FAST, FLOW, FastTvL1Config, TvL1Config, engine_of
from vtk_cli.testing.flow import waves


@pytest.fixture
def _no_kernel(monkeypatch, tmp_path):
    monkeypatch.setattr(tvl1_kernel, "LIBRARY", tmp_path / "none.so")
    tvl1_kernel.load.cache_clear()
    yield
    tvl1_kernel.load.cache_clear()


def test_the_cpu_has_the_kernel_and_a_gpu_torch():
    assert engine_of(TvL1Config()) == "kernel"
    assert engine_of(TvL1Config(device="cuda:1")) == "torch"
    assert engine_of(TvL1Config(engine="torch")) == "torch"
    assert type(FLOW.build(TvL1Config())).__name__ == "KernelTvL1"


def test_without_a_kernel_torch_computes_the_same_flow(request):
    before, after = waves()[:40, :48].copy(), waves(1)[:40, :48].copy()
    expected = FLOW.build(TvL1Config(engine="kernel"))(before, after)
    request.getfixturevalue("_no_kernel")
    assert engine_of(TvL1Config()) == "torch"
    assert endpoint_error(FLOW.build(TvL1Config())(before, after), expected) < 1e-3


@pytest.mark.usefixtures("_no_kernel")
def test_a_kernel_that_is_asked_for_and_absent_is_a_plugin_error():
    with pytest.raises(PluginError, match="no C compiler"):
        FLOW.build(TvL1Config(engine="kernel"))


def test_the_kernel_runs_on_no_gpu():
    with pytest.raises(UsageError, match=r"flow.engine=kernel runs on the CPU, found flow.device=cuda"):
        TvL1Config(engine="kernel", device="cuda")


def test_stores_record_what_flow_is_and_not_how_it_was_computed():
    everywhere = [TvL1Config(), TvL1Config(engine="torch"), TvL1Config(device="cuda:0", batch=8)]
    records = [dict(FLOW.recorded(config)) for config in everywhere]
    assert records[0] == records[1] == records[2]
    fields = {field.name for field in dataclasses.fields(TvL1Config)}
    assert set(records[0]) == fields - {"engine", "device", "batch"}
    assert FLOW.recorded(TvL1Config(epsilon=0.02)) != records[0]


def test_the_fast_preset_takes_settings_too():
    config = resolve({"flow": FAST.config()}, assignments=["flow.warps=2"])["flow"]
    assert config == FastTvL1Config(warps=2)
    assert (config.scales, config.scale_step, config.epsilon) == (3, 0.5, 0.02)


@pytest.mark.parametrize("pair", ["chairs_1", "chairs_3"])
def test_the_fast_preset_is_nearly_as_exact(shared, pair):
    """docs/flow.md: 1.215 and 1.622 px from the truth where the defaults have 1.169 and 1.625."""
    folder = shared / "data" / "flow"
    pictures = [grey_png(folder / f"{pair}_img{n}.png") for n in (0, 1)]
    truth = read_flo(folder / f"{pair}_gt.flo")
    fast, full = (endpoint_error(spec.build(spec.config())(*pictures), truth) for spec in (FAST, FLOW))
    assert fast < 1.05 * full


def test_naming_the_method_loads_neither_numpy_nor_torch():
    code = "import sys, vtk_cli.flow.tvl1; sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'cv2')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
