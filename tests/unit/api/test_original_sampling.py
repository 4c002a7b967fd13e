"""Each original's sampler against its formula, written out anew with numpy and torch, over many lengths."""

import itertools
import math
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vtk_cli.api import sampling
from vtk_cli.errors import UsageError

LENGTHS = [*range(1, 90), 99, 100, 101, 163, 250, 299, 300, 301, 1000]
WINDOWS = [sampling.pyslowfast, sampling.pyslowfast_offset, sampling.nonlocal_starts, sampling.even_windows]
SPARSE = [
    sampling.segments_validation,
    sampling.segments_caffe,
    sampling.segments_mmaction2,
    sampling.segments_slowfast,
    sampling.dense_tsm,
    sampling.dense_tin,
]


class Ends(Random):
    """Draws the largest number it may, or the least."""

    def __init__(self, *, largest):
        super().__init__(0)
        self.largest = largest

    def randint(self, a, b):
        return b if self.largest else a

    def randrange(self, stop):
        return stop - 1 if self.largest else 0

    def uniform(self, a, b):
        return b if self.largest else a


def wrapped(starts, offsets, length):
    return [[(int(start) + offset) % length for offset in offsets] for start in starts]


@pytest.mark.parametrize(("number", "frames"), [(8, 1), (3, 5), (3, 6)])
def test_validation_of_tsn_gives_the_first_frame_where_the_video_is_short(number, frames):
    for n in LENGTHS:
        if n > number + frames - 1:
            expected = sampling.segments(n, segments=number, frames=frames)
        else:
            expected = [[min(i, n - 1) for i in range(frames)] * number]
        assert sampling.segments_validation(n, segments=number, frames=frames) == expected


def test_caffes_grid():
    for n in LENGTHS:
        step = max(0, (n - 5) // 24)
        expected = [min(k * step + i, n - 1) for k in range(25) for i in range(5)]
        assert sampling.segments_caffe(n, segments=25, frames=5) == [expected]


@pytest.mark.parametrize("number", [3, 8, 16])
def test_mmaction2_takes_the_middles_and_loops(number):
    for n in LENGTHS:
        middles = (np.arange(number) * (n / number) + n / number / 2.0).astype(np.int32)
        starts = (np.arange(number) * (n / number)).astype(np.int32)
        assert sampling.segments_mmaction2(n, segments=number, clips=2) == [
            (middles % n).tolist(),
            (starts % n).tolist(),
        ]


def test_mmaction2_draws_a_rounded_ramp_from_a_short_video():
    for n in range(1, 8):
        ramp = np.around(np.arange(8) * (n / 8)).astype(int) % n
        assert sampling.segments_mmaction2(n, segments=8, rng=Random(0)) == [ramp.tolist()]


def test_slowfast_on_something_takes_the_middle_of_parts_with_rounded_ends():
    for n in LENGTHS:
        size = float(n - 1) / 16
        ends = [int(np.round(size * i)) for i in range(17)]
        middles = [(a + b) // 2 for a, b in itertools.pairwise(ends)]
        assert sampling.segments_slowfast(n, segments=16) == [middles]
        assert sampling.segments_slowfast(n, segments=16, rng=Ends(largest=True)) == [ends[1:]]
        assert sampling.segments_slowfast(n, segments=16, rng=Ends(largest=False)) == [ends[:-1]]


@pytest.mark.parametrize("number", [8, 16])
def test_tsms_dense_clips(number):
    offsets = [i * (64 // number) for i in range(number)]
    for n in LENGTHS:
        places = max(1, 1 + n - 64)
        starts = np.linspace(0, places - 1, num=10, dtype=int)
        assert sampling.dense_tsm(n, segments=number) == wrapped(starts, offsets, n)
        last = places - 2 if places > 1 else 0  # the original's randint leaves its upper end out
        drawn = sampling.dense_tsm(n, segments=number, clips=1, rng=Ends(largest=True))
        assert drawn == wrapped([last], offsets, n)


@pytest.mark.parametrize("clips", [1, 2, 3, 10])
def test_tins_dense_clips(clips):
    for n in LENGTHS:
        places = max(1, 1 + n - 8 * 2)
        starts = [places // 2] if clips == 1 else np.linspace(0, places - 1, num=clips, dtype=int)
        expected = wrapped(starts, range(0, 16, 2), n)
        assert sampling.dense_tin(n, segments=8, stride=2, clips=clips) == expected


@pytest.mark.parametrize(("frames", "stride"), [(8, 8), (32, 2), (64, 2), (4, 16)])
def test_pyslowfasts_windows_are_those_of_torch_linspace(frames, stride):
    for n in LENGTHS:
        room = max(n - frames * stride, 0)
        for kind, starts in (
            (sampling.pyslowfast, [room * c / 10 for c in range(10)]),
            (sampling.pyslowfast_offset, [c * math.floor(room / 9) for c in range(10)]),
        ):
            expected = [
                torch.clamp(torch.linspace(s, s + frames * stride - 1, frames), 0, n - 1).long().tolist()
                for s in starts
            ]
            assert kind(n, frames=frames, stride=stride, clips=10) == expected, n


@given(length=st.integers(1, 400), seed=st.integers(0, 1000))
def test_pyslowfast_draws_a_real_start(length, seed):
    start = Random(seed).uniform(0, max(length - 64, 0))
    expected = torch.clamp(torch.linspace(start, start + 63, 32), 0, length - 1).long().tolist()
    assert sampling.pyslowfast(length, frames=32, stride=2, rng=Random(seed)) == [expected]


def test_nonlocal_starts_at_tenths_and_wraps():
    for n in LENGTHS:
        starts = [int(float(n) / float(10) * i) % n for i in range(10)]
        expected = wrapped(starts, range(0, 64, 8), n)
        assert sampling.nonlocal_starts(n, frames=8, stride=8, clips=10) == expected
        last = max(0, n - 64)
        drawn = sampling.nonlocal_starts(n, frames=8, stride=8, rng=Ends(largest=True))
        assert drawn == wrapped([last], range(0, 64, 8), n)


def windows_of(length, size, step, most):
    """3D-ResNets: windows every `step` frames; one that reaches past the end loops over itself and is the last."""
    found = []
    for begin in range(0, length, step):
        if len(found) >= most:
            break
        window = list(range(begin, min(length, begin + size)))
        found.append([window[i % len(window)] for i in range(size)])
        if len(window) < size:
            break
    return found


def test_the_windows_of_3d_resnets():
    for n in LENGTHS:
        every = windows_of(n, 16, 16, n)
        assert sampling.sliding_windows(n, frames=16) == every
        step = max(1, math.ceil((n - 1 - 16) / 2))
        even = windows_of(n, 16, step, 3)
        assert sampling.even_windows(n, frames=16, clips=3) == [even[i % len(even)] for i in range(3)]
        last = max(0, n - 17)
        drawn = sampling.even_windows(n, frames=16, clips=1, rng=Ends(largest=True))
        assert drawn == (windows_of(n, 16, n, 1) if last == 0 else [list(range(last, last + 16))])


def test_stratified_is_paddles_with_the_middle_in_place_of_chance():
    for n in LENGTHS:
        part = float(n) / 100
        expected = [min(n - 1, int((i + 0.5) * part)) for i in range(100)]
        assert sampling.stratified(n, segments=100) == [expected]
        least = [min(n - 1, int(i * part)) for i in range(100)]
        rng = Random(3)
        drawn = sampling.stratified(n, segments=100, rng=rng)[0]
        assert all(low <= found <= low + math.ceil(part) for low, found in zip(least, drawn, strict=True))


@pytest.mark.parametrize("sampler", [*WINDOWS, *SPARSE, sampling.sliding_windows, sampling.stratified])
@given(length=st.integers(1, 500), count=st.integers(1, 20), stride=st.integers(1, 9), clips=st.integers(1, 12))
def test_every_clip_has_its_frames_and_every_frame_is_there(sampler, length, count, stride, clips):
    sparse = sampler in SPARSE
    shape = {"segments": count, "frames": 1} if sparse else {"segments": 1, "frames": count}
    for rng in (None, Random(length)):
        found = sampler(length, **shape, stride=stride, clips=clips, rng=rng)
        assert [len(clip) for clip in found] == [count] * clips
        assert all(0 <= number < length for clip in found for number in clip)


@pytest.mark.parametrize("sampler", [getattr(sampling, name) for name in sampling.__all__ if name != "Sampler"])
def test_numbers_that_make_no_clip_are_refused(sampler):
    with pytest.raises(UsageError, match="at least 1, found length=0"):
        sampler(0, segments=1, frames=1, stride=1, clips=1, rng=None)
