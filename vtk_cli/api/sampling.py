"""Which frames of a video make a clip.

A sampler is a plain function. It gets the number of frames of a video and returns, for each of `clips` temporal views,
the T x N frame numbers (from 0, segment by segment) that make it. With `rng` it draws a training clip; without, it
returns the test clips, which never depend on chance. Every number returned lies in [0, length).

    length 12, segments 3, frames 2, test:     . f f . . f f . . f f .
"""

from random import Random
from typing import Protocol

from vtk_cli.errors import UsageError


class Sampler(Protocol):
    """The signature of every sampler; `functools.partial` is welcome."""

    def __call__(
        self, length: int, *, segments: int, frames: int, stride: int, clips: int, rng: Random | None
    ) -> list[list[int]]:
        """Return `clips` lists of `segments * frames` frame numbers."""


def segments(
    length: int, *, segments: int, frames: int = 1, stride: int = 1, clips: int = 1, rng: Random | None = None
) -> list[list[int]]:
    """TSN's sampling: the video is cut into equal segments and a short run of frames is taken from each.

    Training draws a run's start uniformly from its segment; testing takes the segment's middle. Past the end the last
    frame repeats. Source: tsn-pytorch dataset.py `_sample_indices` and `_get_test_indices`, which TSM shares; frame
    numbers there begin at 1, here at 0. With several clips, clip c starts (1/2 + c/clips) mod 1 of a segment in: for
    two clips TSM's `--twice_sample`.

    >>> segments(12, segments=3, frames=2)
    [[1, 2, 5, 6, 9, 10]]
    >>> segments(12, segments=3, clips=2)
    [[2, 6, 10], [0, 4, 8]]
    >>> segments(2, segments=3, frames=2)
    [[0, 1, 0, 1, 0, 1]]
    >>> segments(100, segments=3, rng=Random(0))
    [[24, 59, 68]]
    """
    _check(length, segments, frames, stride, clips)
    usable = length - (frames - 1) * stride
    if rng is not None:
        return [_run(_drawn_starts(length, usable, segments, rng), frames, stride, length) for _ in range(clips)]
    # The originals compute in floating point, where (tick / 2 + tick * k) can land just below the whole number that
    # exact arithmetic gives (length 6, segments 7). Published numbers come from these indices, so this does the same.
    tick = usable / float(segments)
    grids = []
    for clip in range(clips):
        shift = tick / 2.0 if clip == 0 else tick * ((0.5 + clip / clips) % 1.0)
        starts = [max(0, int(shift + tick * k)) for k in range(segments)]
        grids.append(_run(starts, frames, stride, length))
    return grids


def segments_paddle(
    length: int, *, segments: int, frames: int = 1, stride: int = 1, clips: int = 1, rng: Random | None = None
) -> list[list[int]]:
    """The sampling of Paddle's TSN, TSM and StNet: like `segments`, but whole runs stay inside whole segments.

    A segment is length // segments frames long; what is left at the end is never read. Frame numbers wrap round.
    Source: PaddlePaddle/models release/1.8 PaddleCV/video/reader/kinetics_reader.py, `video_loader` of pickled frames
    (its mp4 branch starts the test run at (average - 1) // 2 instead of (average - frames) // 2).

    >>> segments_paddle(12, segments=3, frames=2)
    [[1, 2, 5, 6, 9, 10]]
    >>> segments_paddle(13, segments=3, frames=5)
    [[0, 1, 2, 3, 4, 4, 5, 6, 7, 8, 8, 9, 10, 11, 12]]
    >>> segments_paddle(2, segments=3, frames=2)
    [[0, 1, 1, 0, 0, 1]]
    """
    _check(length, segments, frames, stride, clips)
    average = length // segments
    room = average - ((frames - 1) * stride + 1)
    grids = []
    for clip in range(clips):
        if average == 0:
            starts = list(range(segments))
        elif room < 0:
            starts = [k * average for k in range(segments)]
        elif rng is not None:
            starts = [k * average + rng.randint(0, room) for k in range(segments)]
        else:
            starts = [k * average + room * (2 * clip + 1) // (2 * clips) for k in range(segments)]
        grids.append([(start + i * stride) % length for start in starts for i in range(frames)])
    return grids


def dense(
    length: int, *, segments: int = 1, frames: int, stride: int = 1, clips: int = 1, rng: Random | None = None
) -> list[list[int]]:
    """The sampling of 3D networks: one window of frames, `stride` apart, at a random place; tests spread windows.

    Test windows are spread evenly so that the first touches the start of the video and the last its end; a single one
    sits in the middle. A video shorter than the window is looped. With several segments each is a window of its own,
    and they follow one another. Source: MMAction2 transforms/loading.py `SampleFrames`.

        length 9, frames 4, stride 2, clips 2:   f.f.f.f..
                                                 ..f.f.f.f

    >>> dense(9, frames=4, stride=2, clips=2)
    [[0, 2, 4, 6], [2, 4, 6, 8]]
    >>> dense(9, frames=4, stride=2)
    [[1, 3, 5, 7]]
    >>> dense(3, frames=5)
    [[0, 1, 2, 0, 1]]
    """
    _check(length, segments, frames, stride, clips)
    count = segments * frames
    room = max(0, length - ((count - 1) * stride + 1))
    if rng is not None:
        starts = [rng.randint(0, room) for _ in range(clips)]
    elif clips == 1:
        starts = [room // 2]
    else:
        starts = [(2 * k * room + clips - 1) // (2 * (clips - 1)) for k in range(clips)]
    return [[(start + i * stride) % length for i in range(count)] for start in starts]


def _drawn_starts(length: int, usable: int, segments: int, rng: Random) -> list[int]:
    average = usable // segments
    if average > 0:
        return [k * average + rng.randrange(average) for k in range(segments)]
    if length > segments and usable > 0:
        return sorted(rng.randrange(usable) for _ in range(segments))
    return [0] * segments


def _run(starts: list[int], frames: int, stride: int, length: int) -> list[int]:
    return [min(start + i * stride, length - 1) for start in starts for i in range(frames)]


def _check(length: int, segments: int, frames: int, stride: int, clips: int) -> None:
    if min(length, segments, frames, stride, clips) < 1:
        raise UsageError(
            "A sampler needs length, segments, frames, stride and clips of at least 1, found "
            f"length={length}, segments={segments}, frames={frames}, stride={stride}, clips={clips}."
        )
