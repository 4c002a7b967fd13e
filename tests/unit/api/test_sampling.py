"""The samplers against the originals' formulas, written out anew from the facts, and their common properties."""

from functools import partial
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtk_cli.api.sampling import dense, segments, segments_paddle
from vtk_cli.errors import UsageError

LENGTHS = [*range(1, 80), 99, 100, 101, 163, 250, 299, 300, 301, 1000]
SAMPLERS = [segments, segments_paddle, dense]


def tsn_test_indices(n, num_segments, length):
    """tsn-pytorch dataset.py `_get_test_indices`, numbers from 1."""
    tick = (n - length + 1) / float(num_segments)
    return np.array([int(tick / 2.0 + tick * x) for x in range(num_segments)]) + 1


def stack(starts, n, length):
    """tsn-pytorch dataset.py `get`: the last frame repeats."""
    found = []
    for start in starts:
        p = int(start)
        for _ in range(length):
            found.append(p - 1)
            if p < n:
                p += 1
    return found


@pytest.mark.parametrize(("number", "length"), [(3, 1), (8, 1), (25, 1), (3, 5), (25, 5), (7, 6)])
def test_segments_tests_on_the_frames_of_tsn_pytorch(number, length):
    checked = 0
    for n in LENGTHS:
        starts = tsn_test_indices(n, number, length)
        if (starts < 1).any():
            continue  # the original would ask for frame 0 or below, which is no file; ours stays inside
        assert segments(n, segments=number, frames=length) == [stack(starts, n, length)], n
        checked += 1
    assert checked > 60


@pytest.mark.parametrize("number", [3, 8])
def test_two_clips_are_the_twice_sample_of_tsm(number):
    for n in LENGTHS:
        tick = n / float(number)
        first = [int(tick / 2.0 + tick * x) for x in range(number)]
        second = [int(tick * x) for x in range(number)]
        assert segments(n, segments=number, clips=2) == [first, second]


class Recorder(Random):
    """Gives the largest number it may, or the least, and so shows the ends of what is drawn."""

    def __init__(self, *, largest):
        super().__init__(0)
        self.largest = largest

    def randrange(self, start, stop=None, step=1):
        low, high = (0, start) if stop is None else (start, stop)
        return high - 1 if self.largest else low

    def randint(self, a, b):
        return b if self.largest else a


@pytest.mark.parametrize(("number", "length"), [(3, 1), (7, 1), (3, 5), (8, 5)])
def test_segments_trains_on_starts_between_those_of_tsn_pytorch(number, length):
    for n in LENGTHS:
        average = (n - length + 1) // number
        found = [
            segments(n, segments=number, frames=length, rng=Recorder(largest=largest))[0][::length]
            for largest in (False, True)
        ]
        if average > 0:
            assert found[0] == [k * average for k in range(number)]
            assert found[1] == [k * average + average - 1 for k in range(number)]
        elif n > number and n >= length:
            assert found == [[0] * number, [n - length] * number]
        else:
            assert found == [[0] * number, [0] * number]


def paddle(n, number, length, draw):
    """kinetics_reader.py `video_loader` of pickled frames."""
    average = n // number
    found = []
    for i in range(number):
        idx = 0
        if average >= length:
            idx = draw(average - length)
            idx += i * average
        elif average >= 1:
            idx += i * average
        else:
            idx = i
        found += [jj % n for jj in range(idx, idx + length)]
    return found


@pytest.mark.parametrize(("number", "length"), [(3, 1), (7, 5), (25, 5), (8, 1), (25, 1)])
def test_segments_paddle_is_the_kinetics_reader(number, length):
    for n in LENGTHS:
        tested = segments_paddle(n, segments=number, frames=length)
        assert tested == [paddle(n, number, length, lambda room: room // 2)]
        for largest, draw in ((False, lambda room: 0), (True, lambda room: room)):
            drawn = segments_paddle(n, segments=number, frames=length, rng=Recorder(largest=largest))
            assert drawn == [paddle(n, number, length, draw)]


def mmaction2_test(n, length, stride, clips):
    """loading.py `SampleFrames`, test_mode: offsets spread over the room, round half up as their integers do."""
    span = (length - 1) * stride + 1
    room = max(n - span, 0)
    if clips == 1:
        return [room // 2]
    return [int(np.floor(k * room / (clips - 1) + 0.5)) for k in range(clips)]


@pytest.mark.parametrize(("length", "stride", "clips"), [(32, 2, 1), (32, 2, 10), (8, 8, 10), (16, 1, 3), (4, 16, 2)])
def test_dense_spreads_its_test_windows_over_the_video(length, stride, clips):
    for n in LENGTHS:
        windows = dense(n, frames=length, stride=stride, clips=clips)
        assert [window[0] for window in windows] == [start % n for start in mmaction2_test(n, length, stride, clips)]
        assert all(window == [(window[0] + i * stride) % n for i in range(length)] for window in windows)
        if clips > 1 and n > (length - 1) * stride:
            assert windows[0][0] == 0
            assert windows[-1][-1] == n - 1


shapes = {
    "segments": st.integers(1, 30),
    "frames": st.integers(1, 12),
    "stride": st.integers(1, 8),
    "clips": st.integers(1, 10),
}


@pytest.mark.parametrize("sampler", SAMPLERS)
@given(length=st.integers(1, 2000), seed=st.none() | st.integers(0, 9), **shapes)
def test_every_sampler_gives_as_many_numbers_inside_the_video(sampler, length, seed, segments, frames, stride, clips):
    draw = partial(sampler, length, segments=segments, frames=frames, stride=stride, clips=clips)
    found = draw(rng=None if seed is None else Random(seed))
    assert len(found) == clips
    assert all(len(clip) == segments * frames for clip in found)
    assert all(0 <= number < length for clip in found for number in clip)
    assert found == draw(rng=None if seed is None else Random(seed))


@pytest.mark.parametrize(("sampler", "length"), [(segments, 41), (segments_paddle, 40), (dense, 40)])
def test_training_draws_differ_and_cover_the_video(sampler, length):
    """At lengths that divide; at others the originals leave a few last frames out."""
    rng = Random(1)
    drawn = [sampler(length, segments=4, frames=2, stride=1, clips=1, rng=rng)[0] for _ in range(300)]
    assert {number for clip in drawn for number in clip} == set(range(length))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_run_of_frames_keeps_its_stride(sampler):
    for clip in sampler(400, segments=3, frames=4, stride=5, clips=2, rng=None):
        for run in range(3):
            assert np.diff(clip[4 * run : 4 * run + 4]).tolist() == [5, 5, 5]


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("wrong", ["length", "segments", "frames", "stride", "clips"])
def test_nothing_can_be_sampled_below_one(sampler, wrong):
    values = {"length": 10, "segments": 2, "frames": 1, "stride": 1, "clips": 1, wrong: 0}
    with pytest.raises(UsageError, match=f"{wrong}=0"):
        sampler(values.pop("length"), **values, rng=None)
