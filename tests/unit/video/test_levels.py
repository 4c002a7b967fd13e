"""Limited range to full range: exact at every level, compiled or not, for any size and any memory."""

import importlib.util
import subprocess
import sys
import types
from fractions import Fraction
from math import floor
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vtk_cli.video import levels
from vtk_cli.video.levels import stretched

REPOSITORY = Path(__file__).parents[3]

needs_compiled = pytest.mark.skipif(not levels.sources(), reason="installed without a compiler")


@pytest.fixture(params=["compiled", "numpy"])
def way(request, monkeypatch):
    """Each test that takes it runs with the library and without."""
    if request.param == "numpy":
        monkeypatch.setattr(levels, "load", lambda: None)
    elif not levels.sources():
        pytest.skip("installed without a compiler")
    return request.param


def frame_of(luma_HW, blue_HW, red_HW):
    """A yuv420p frame with noise beside its planes."""
    height, width = luma_HW.shape
    frame = av.VideoFrame(width, height, "yuv420p")
    for plane, wanted in zip(frame.planes, (luma_HW, blue_HW, red_HW), strict=True):
        memory = np.random.default_rng(0).integers(0, 256, (plane.height, plane.line_size), dtype=np.uint8)
        memory[:, : plane.width] = wanted
        plane.update(memory.tobytes())
    return frame


def drawn(height, width, seed=0):
    draw = np.random.default_rng(seed)
    half = (height + 1) // 2, (width + 1) // 2
    return [draw.integers(0, 256, size, dtype=np.uint8) for size in ((height, width), half, half)]


def exact(level, lowest, highest, fixed, at):
    """In whole numbers and fractions, halves up."""
    return min(255, max(0, floor(Fraction((level - fixed) * 255, highest - lowest) + at + Fraction(1, 2))))


EXACT = [
    np.array([exact(level, *limits) for level in range(256)]) for limits in ((16, 235, 16, 0), (16, 240, 128, 128))
]


@pytest.mark.parametrize("width", [1, 2, 15, 16, 17, 31, 340])
def test_all_levels_are_exact(way, width):
    """At every place of a row, as the last ones of a row go another way."""
    steps = np.arange(256, dtype=np.uint8)
    luma_HW = np.repeat(steps[:, None], width, axis=1)
    half_HW = np.repeat(steps[:, None], (width + 1) // 2, axis=1)
    luma_HW = np.concatenate([luma_HW, luma_HW])
    luma, blue, red = stretched(frame_of(luma_HW, half_HW, half_HW[::-1]))
    assert (luma[:, :width] == EXACT[0][luma_HW]).all()
    assert (blue == EXACT[1][half_HW]).all()
    assert (red == EXACT[1][half_HW[::-1]]).all()


def test_ends_and_middle(way):
    assert [EXACT[0][level] for level in (0, 16, 235, 255)] == [0, 0, 255, 255]
    assert [EXACT[1][level] for level in (15, 16, 128, 240, 255)] == [0, 1, 128, 255, 255]
    assert [levels.LUMA[level] for level in range(256)] == list(EXACT[0])
    assert [levels.COLOUR[level] for level in range(256)] == list(EXACT[1])


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 33), (33, 2), (49, 65), (48, 65), (49, 64), (48, 64)])
def test_odd_sides_have_the_last_column_and_row_twice(way, height, width):
    planes = drawn(height, width)
    luma, blue, red = stretched(frame_of(*planes))
    padded = np.pad(EXACT[0][planes[0]], ((0, height % 2), (0, width % 2)), mode="edge")
    assert np.array_equal(luma, padded)
    assert np.array_equal(blue, EXACT[1][planes[1]])
    assert np.array_equal(red, EXACT[1][planes[2]])


@needs_compiled
@settings(deadline=None, max_examples=60)
@given(st.integers(1, 70), st.integers(1, 150), st.integers(0, 2**32 - 1))
def test_compiled_and_numpy_give_the_same_bytes(height, width, seed):
    frame = frame_of(*drawn(height, width, seed))
    before = [bytes(plane) for plane in frame.planes]
    compiled = stretched(frame)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(levels, "load", lambda: None)
        without = stretched(frame)
    for one, other in zip(compiled, without, strict=True):
        assert one.shape == other.shape
        assert np.array_equal(one, other)
    assert [bytes(plane) for plane in frame.planes] == before


@needs_compiled
def test_any_strides_are_read_and_nothing_but_the_picture_is_written():
    height, width, beyond = 5, 19, 77
    luma_HW, blue_HW, red_HW = (np.ascontiguousarray(plane[::-1]) for plane in drawn(height, width))
    to = np.full(6 * 3 * 10 + beyond, 99, np.uint8)
    last_rows = [plane.ctypes.data + (len(plane) - 1) * plane.shape[1] for plane in (luma_HW, blue_HW, red_HW)]
    levels.load().vtk_levels_stretch(*last_rows, -19, -10, -10, width, height, to.ctypes.data)  # bottom up
    expected = stretched(frame_of(luma_HW[::-1], blue_HW[::-1], red_HW[::-1]))
    assert np.array_equal(to[:-beyond], np.concatenate([plane.ravel() for plane in expected]))
    assert (to[-beyond:] == 99).all()


@pytest.mark.parametrize("content", [None, b"\x7fELF but not really"])
def test_without_a_library_of_this_system_numpy_does_it(monkeypatch, tmp_path, content):
    planes = drawn(6, 7)
    if content:
        (tmp_path / "library.so").write_bytes(content)
    monkeypatch.setattr(levels, "LIBRARY", tmp_path / "library.so")
    levels.load.cache_clear()
    try:
        assert levels.sources() == ""
        assert np.array_equal(stretched(frame_of(*planes))[1], EXACT[1][planes[1]])
    finally:
        levels.load.cache_clear()


@pytest.fixture
def hatch_build(monkeypatch):
    """The build script; the build tool is not among what the tests install."""

    class BuildHookInterface:
        def __class_getitem__(cls, item):
            return cls

    fake = types.SimpleNamespace(BuildHookInterface=BuildHookInterface)
    monkeypatch.setitem(sys.modules, "hatchling.builders.hooks.plugin.interface", fake)
    spec = importlib.util.spec_from_file_location("hatch_build", REPOSITORY / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_is_built_from_the_sources_that_are_there(hatch_build):
    """Fails where there was no compiler, so that the skips above are noticed."""
    assert levels.sources() == hatch_build.digest(REPOSITORY, hatch_build.LIBRARIES["levels"])


class Installation:
    """What hatchling gives its hook, and what the hook says."""

    def __init__(self, hatch_build, root):
        self.hook = object.__new__(hatch_build.KernelBuildHook)
        self.hook.root, self.warnings = str(root), []
        self.hook.app = types.SimpleNamespace(display_warning=self.warnings.append)
        self.data = {}
        for library in hatch_build.LIBRARIES.values():
            (root / library.path).parent.mkdir(parents=True)
            (root / library.path).write_bytes(b"of an earlier build")

    def run(self):
        self.hook.initialize("standard", self.data)


@pytest.fixture
def installation(hatch_build, tmp_path):
    return Installation(hatch_build, tmp_path)


def test_switched_off_nothing_is_compiled_and_nothing_stale_stays(hatch_build, installation, monkeypatch, tmp_path):
    monkeypatch.setenv("VTK_KERNEL", "off")
    installation.run()
    assert not list(tmp_path.rglob("*.so"))
    assert (installation.data, installation.warnings) == ({}, [])


def test_a_library_that_does_not_compile_leaves_the_other(hatch_build, installation, monkeypatch, tmp_path):
    def compiled(root, library):
        if library is hatch_build.LIBRARIES["tvl1"]:
            raise subprocess.CalledProcessError(1, "cc", stderr="no such vector unit")
        (root / library.path).write_bytes(b"library")

    monkeypatch.delenv("VTK_KERNEL", raising=False)
    monkeypatch.setattr(hatch_build, "compile_library", compiled)
    installation.run()
    assert [path.name for path in tmp_path.rglob("*.so")] == ["_levels.so"]
    assert installation.data["pure_python"] is False
    assert len(installation.warnings) == 1
    assert "TV-L1 will run in torch, slower. no such vector unit" in installation.warnings[0]
