"""RAFT without torchvision: a small network stands for it. tests/zoo/test_raft.py has the real one."""

import hashlib
import subprocess
import sys
import types

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vtk_cli.api.flow import BatchFlowMethod
from vtk_cli.config import overlay, resolve
from vtk_cli.errors import CheckpointError, MismatchError, PluginError, UsageError, VideoError
from vtk_cli.flow import raft, raft_weights
from vtk_cli.flow.raft import FLOW, LEAST, RaftConfig, padding


class Stub(nn.Module):
    """Flow is what it was given: x the first picture's red, y the second's blue, both times its one weight."""

    def __init__(self, channels):
        super().__init__()
        self.register_buffer("factor", torch.zeros(1))
        self.norm = nn.BatchNorm2d(channels)
        self.threads = 0

    def forward(self, before_N3HW, after_N3HW, num_flow_updates):
        assert before_N3HW.shape == after_N3HW.shape
        assert not self.training
        assert not torch.backends.cudnn.allow_tf32
        self.threads = torch.get_num_threads()
        flow = torch.stack([before_N3HW[:, 0], after_N3HW[:, 2]], 1) * self.factor
        return [flow * (number + 1) for number in range(num_flow_updates)]


@pytest.fixture(autouse=True)
def torchvision(monkeypatch):
    module = types.ModuleType("torchvision.models.optical_flow")
    module.raft_large = lambda weights, progress: Stub(4)
    module.raft_small = lambda weights, progress: Stub(2)
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", types.ModuleType("torchvision.models"))
    monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.fixture(autouse=True)
def hub(tmp_path, monkeypatch):
    """Where torch.hub keeps what it fetched."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def state(channels=4, **changes):
    return {**Stub(channels).state_dict(), "factor": torch.tensor([2.0]), **changes}


@pytest.fixture
def file(tmp_path):
    torch.save(state(), tmp_path / "raft.pth")
    return tmp_path / "raft.pth"


def built(file, **config):
    return FLOW.build(RaftConfig(weights=str(file), device="cpu", **config))


def pictures(height, width, count=1):
    return np.random.default_rng(height).integers(0, 256, (2, count, height, width), dtype=np.uint8)


@given(st.integers(1, 2000), st.integers(1, 2000))
def test_padding_brings_pictures_to_multiples_of_8_and_128(height, width):
    left, right, top, bottom = padding(height, width)
    for size, before, after in ((width, left, right), (height, top, bottom)):
        assert (size + before + after) % 8 == 0
        assert 0 <= after - before <= 1
        assert before + after < 8 or size + before + after == LEAST


def test_padding_is_the_originals():
    """InputPadder in its mode for Sintel: (((n // 8) + 1) * 8 - n) % 8 pixels, the odd one last."""
    for size in range(LEAST, LEAST + 40):
        more = (((size // 8) + 1) * 8 - size) % 8
        assert padding(size, LEAST) == (0, 0, more // 2, more - more // 2)
        assert padding(LEAST, size) == (more // 2, more - more // 2, 0, 0)


@pytest.mark.parametrize(("height", "width"), [(256, 340), (72, 96), (131, 129), (1, 1)])
def test_flow_is_that_of_the_pictures_and_not_of_what_was_added(file, height, width):
    before, after = pictures(height, width)[:, 0]
    flow_2HW = built(file, iterations=3)(before, after)
    expected = 3 * 2 * (np.stack([before, after]).astype(np.float32) / 255 - 0.5) / 0.5
    np.testing.assert_allclose(flow_2HW, expected, atol=1e-5)
    assert flow_2HW.dtype == np.float32
    assert flow_2HW.flags.c_contiguous


def test_many_are_the_single_ones(file):
    method = built(file)
    before, after = pictures(40, 56, count=3)
    assert isinstance(method, BatchFlowMethod)
    single = np.stack([method(*pair) for pair in zip(before, after, strict=True)])
    assert (method.many(before, after) == single).all()


def test_borders_are_repeated_outwards(file, monkeypatch):
    method, seen = built(file), []
    forward = method._network.forward
    monkeypatch.setattr(method._network, "forward", lambda *a, **k: seen.extend(a) or forward(*a, **k))
    before, after = pictures(100, 131)[:, 0]
    method(before, after)
    expected = np.pad(before, ((14, 14), (2, 3)), mode="edge").astype(np.float32) / 127.5 - 1
    assert seen[0].shape == (1, 3, 128, 136)
    for channel in range(3):
        np.testing.assert_allclose(seen[0][0, channel].numpy(), expected, atol=1e-6)


def test_the_processor_takes_one_pair_in_one_thread(file):
    before = torch.get_num_threads()
    method = built(file, batch=9)
    torch.set_num_threads(2)
    try:
        method(*pictures(8, 8)[:, 0])
        assert (method.batch, method._network.threads, torch.get_num_threads()) == (1, 1, 2)
    finally:
        torch.set_num_threads(before)


def test_pictures_that_cannot_be_written_are_taken(file):
    before, after = pictures(8, 8)[:, 0]
    before.flags.writeable = after.flags.writeable = False
    assert built(file)(before, after).shape == (2, 8, 8)


def test_memory_that_is_too_small_is_told_with_what_to_do(file, monkeypatch):
    method = built(file)

    def full(*_, **__):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(method._network, "forward", full)
    with pytest.raises(VideoError, match=r"too small for 1 pairs of 8x8 at once\. Use fewer --workers"):
        method(*pictures(8, 8)[:, 0])


def test_a_store_records_what_the_weights_are_and_not_where_it_ran(file):
    config = RaftConfig(weights=str(file), device="cpu", batch=3, iterations=20)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert FLOW.recorded(config) == {"variant": "large", "weights": f"sha256:{digest}", "iterations": 20}


def test_what_a_store_records_finds_the_weights_again(file, hub):
    """As `vtk predict` builds the method that made a model's flow."""
    recorded = FLOW.recorded(RaftConfig(weights=str(file), iterations=2))
    config = overlay("flow", FLOW.config(), {f"flow.{key}": (value, "run.json") for key, value in recorded.items()})
    with pytest.raises(CheckpointError, match=r"made by raft \(large\) with the weights sha256:.*found no such file"):
        FLOW.build(config)
    (hub / "raft_other.pth").write_bytes(b"another")
    (hub / "raft_my_own.pth").write_bytes(file.read_bytes())
    expected = built(file, iterations=2)(*pictures(30, 30)[:, 0])
    assert (FLOW.build(config)(*pictures(30, 30)[:, 0]) == expected).all()
    assert FLOW.recorded(config) == recorded


@pytest.mark.parametrize("variant", ["large", "small"])
def test_without_a_file_torchvisions_default_is_named(variant, hub):
    config = RaftConfig(variant=variant)
    with pytest.raises(CheckpointError) as caught:
        FLOW.build(config)
    url = raft_weights.PUBLISHED[variant]
    for part in (f"raft ({variant})", f"found none. Fetch {url}", str(hub), "--set flow.weights=FILE"):
        assert part in str(caught.value)


def test_a_file_in_torch_hubs_folder_is_taken_if_it_is_what_its_name_says(hub, monkeypatch, file):
    sign = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    monkeypatch.setitem(raft_weights.PUBLISHED, "large", f"https://example.org/models/raft_large-{sign}.pth")
    (hub / f"raft_large-{sign}.pth").write_bytes(file.read_bytes())
    assert float(FLOW.build(RaftConfig(device="cpu"))._network.factor) == 2
    (hub / f"raft_large-{sign}.pth").write_bytes(file.read_bytes() + b"more")
    with pytest.raises(CheckpointError, match=rf"begins with {sign}, as its name says; found sha256:.*damaged"):
        FLOW.build(RaftConfig(device="cpu"))


def test_safetensors_and_files_without_counters_are_taken(tmp_path):
    tensors = {name: tensor for name, tensor in state().items() if not name.endswith("num_batches_tracked")}
    safetensors.torch.save_file(tensors, tmp_path / "raft.safetensors")
    assert float(built(tmp_path / "raft.safetensors")._network.factor) == 2


def test_incomplete_weights_are_refused_with_what_is_missing(tmp_path):
    tensors = state(extra=torch.zeros(1), factor=torch.zeros(2))
    del tensors["norm.weight"], tensors["norm.running_var"]
    torch.save(tensors, tmp_path / "raft.pth")
    with pytest.raises(MismatchError) as caught:
        built(tmp_path / "raft.pth")
    assert "found 2 missing (norm.weight, norm.running_var), 1 left over (extra), 1 of another shape (factor)" in str(
        caught.value
    )
    assert caught.value.names["missing"] == ["norm.weight", "norm.running_var"]


def test_weights_of_the_other_variant_are_refused(file):
    with pytest.raises(MismatchError, match=r"raft_small, found 4 of another shape .* Look at flow\.variant"):
        built(file, variant="small")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "cannot be read safely"),
        (b"no checkpoint at all", "cannot be read safely"),
        ([torch.zeros(1)], "found list"),
        ({"model": {"factor": torch.zeros(1)}}, "found dict of other things"),
    ],
)
def test_what_is_no_file_of_tensors_is_refused(tmp_path, content, found):
    path = tmp_path / "raft.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(CheckpointError, match=found):
        built(path)


class Runs:
    """Unpickled, it would write a file."""

    def __reduce__(self):
        return (open, ("unpickled", "w"))


def test_pickles_that_run_code_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"factor": Runs()}, tmp_path / "raft.pth")
    with pytest.raises(CheckpointError, match="cannot be read safely: Weights only load failed"):
        built(tmp_path / "raft.pth")
    assert not (tmp_path / "unpickled").exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_truncated_files_are_refused(tmp_path, suffix):
    whole = tmp_path / f"whole{suffix}"
    (torch.save if suffix == ".pth" else safetensors.torch.save_file)(state(), whole)
    content = whole.read_bytes()
    path = tmp_path / f"cut{suffix}"
    for length in range(0, len(content), len(content) // 40):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError):
            built(path)


def test_a_missing_file_and_a_folder_are_told(tmp_path):
    for path in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(CheckpointError, match=r"flow.weights should be a file of .* raft_large, found none at"):
            built(path)


def test_weights_in_the_home_folder_are_found(file, monkeypatch):
    """A shell does not expand the tilde of `--set flow.weights=~/raft.pth`."""
    monkeypatch.setenv("HOME", str(file.parent))
    assert float(built("~/raft.pth")._network.factor) == 2


@pytest.mark.parametrize("error", [ModuleNotFoundError, RuntimeError, AttributeError])
def test_without_torchvision_the_extra_is_named(file, monkeypatch, error):
    """RuntimeError: beside a PyTorch that it was not made for, and AttributeError at the second try."""

    def fails(_name):
        raise error("operator torchvision::nms does not exist")

    monkeypatch.setattr(raft.importlib, "import_module", fails)
    with pytest.raises(PluginError) as caught:
        built(file)
    for part in ("nms does not exist", 'pip install "vtk-cli[zoo]"', torch.__version__):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("flow.variant=medium", "flow.variant does not take 'medium'"),
        ("flow.iterations=0", "flow.iterations of raft should be at least 1, found 0"),
        ("flow.batch=0", "flow.batch of raft should be at least 1"),
        ("flow.weight=x", 'no key "weight". Did you mean "weights"'),
    ],
)
def test_wrong_parameters_are_named(assignment, message):
    with pytest.raises(UsageError) as caught:
        resolve({"flow": RaftConfig()}, assignments=[assignment])
    assert message in str(caught.value)


@pytest.mark.parametrize("device", ["gpu", "cuda:77", "meta:x"])
def test_a_device_that_is_not_there_is_told(file, device):
    with pytest.raises(UsageError, match=f'flow.device takes .* found "{device}"'):
        FLOW.build(RaftConfig(weights=str(file), device=device))


def test_naming_the_method_imports_neither_torch_nor_torchvision():
    code = "import sys, vtk_cli.flow.raft; sys.exit('torch' in sys.modules or 'torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
