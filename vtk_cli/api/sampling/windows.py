"""Windows: `frames` frames, `stride` apart, at one place of the video."""

import math
import struct
from random import Random

from vtk_cli.api.sampling.common import check, loop, run

TSM_RANGE = 64
"""Frames over which TSM's dense sampling spreads its segments."""


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
    check(length, segments, frames, stride, clips)
    count = segments * frames
    room = max(0, length - ((count - 1) * stride + 1))
    if rng is not None:
        starts = [rng.randint(0, room) for _ in range(clips)]
    elif clips == 1:
        starts = [room // 2]
    else:
        starts = [(2 * k * room + clips - 1) // (2 * (clips - 1)) for k in range(clips)]
    return [[(start + i * stride) % length for i in range(count)] for start in starts]


def dense_tsm(
    length: int, *, segments: int, frames: int = 1, stride: int = 1, clips: int = 10, rng: Random | None = None
) -> list[list[int]]:
    """TSM's dense sampling: `segments` frames spread over 64, at a random place; tests spread ten such clips.

    The stride is 64 // segments (`stride` is that of the frames within a run). The last start is never drawn, as in
    the original, which draws for validation too. Past the end the video begins again. Source: temporal-shift-module
    ops/dataset.py with `dense_sample`.

    >>> dense_tsm(100, segments=8, clips=2)
    [[0, 8, 16, 24, 32, 40, 48, 56], [36, 44, 52, 60, 68, 76, 84, 92]]
    """
    check(length, segments, frames, stride, clips)
    places = max(1, 1 + length - TSM_RANGE)
    starts = _dense_starts(places, clips, rng)
    return [_spread(start, segments, TSM_RANGE // segments, frames, stride, length) for start in starts]


def dense_tin(
    length: int, *, segments: int, frames: int = 1, stride: int = 2, clips: int = 1, rng: Random | None = None
) -> list[list[int]]:
    """TIN's and X-Temporal's dense sampling: segments `stride` apart; one test clip sits in the middle.

    `stride` is their dense_sample_rate; the frames of a run follow each other directly. Several test clips are spread
    from the first place to the last, and the last start is never drawn. Source: X-Temporal core/dataset.py with
    `dense_sample`.

    >>> dense_tin(20, segments=4, stride=2), dense_tin(20, segments=4, stride=2, clips=3)[2]
    ([[6, 8, 10, 12]], [12, 14, 16, 18])
    """
    check(length, segments, frames, stride, clips)
    places = max(1, 1 + length - segments * stride)
    starts = [places // 2] if rng is None and clips == 1 else _dense_starts(places, clips, rng)
    return [_spread(start, segments, stride, frames, 1, length) for start in starts]


def pyslowfast(
    length: int, *, segments: int = 1, frames: int, stride: int = 1, clips: int = 1, rng: Random | None = None
) -> list[list[int]]:
    """PySlowFast's sampling: a window of frames * stride frames, its ends included, cut at `frames` equal distances.

    So 8 frames of stride 8 lie 9 apart: 0 9 18 ... 63. Test window c of C starts at c/C of the room, so the last one
    ends before the video does; a video shorter than a window repeats its last frame. Frame rates are not looked at:
    the original scales the window by fps / 30. Source: SlowFast datasets/decoder.py, `get_start_end_idx` and
    `temporal_sampling`; positions are single-precision numbers, cut off, as torch.linspace gives them.

    >>> pyslowfast(100, frames=8, stride=8, clips=2)
    [[0, 9, 18, 27, 36, 45, 54, 63], [18, 27, 36, 45, 54, 63, 72, 81]]
    """
    check(length, segments, frames, stride, clips)
    size = segments * frames * stride
    room = max(length - size, 0)
    starts = [rng.uniform(0, room) if rng is not None else room * clip / clips for clip in range(clips)]
    return [_linspace(start, start + size - 1, segments * frames, length) for start in starts]


def pyslowfast_offset(
    length: int, *, segments: int = 1, frames: int, stride: int = 1, clips: int = 1, rng: Random | None = None
) -> list[list[int]]:
    """`pyslowfast` with USE_OFFSET_SAMPLING: windows at whole steps of room // (clips - 1); one sits in the middle.

    >>> pyslowfast_offset(100, frames=8, stride=8)
    [[18, 27, 36, 45, 54, 63, 72, 81]]
    """
    check(length, segments, frames, stride, clips)
    if rng is not None:
        return pyslowfast(length, segments=segments, frames=frames, stride=stride, clips=clips, rng=rng)
    size = segments * frames * stride
    room = max(length - size, 0)
    starts = [room // 2] if clips == 1 else [clip * (room // (clips - 1)) for clip in range(clips)]
    return [_linspace(start, start + size - 1, segments * frames, length) for start in starts]


def nonlocal_starts(
    length: int, *, segments: int = 1, frames: int, stride: int = 1, clips: int = 1, rng: Random | None = None
) -> list[list[int]]:
    """The sampling of the Non-local networks: test window c of C starts at c/C of the video and runs over its end.

    Training draws the start, both ends included, so that the window and one stride after it fit. Frame numbers wrap
    round. Source: PaddlePaddle/models release/1.8 PaddleCV/video/reader/nonlocal_reader.py, `video_fast_get_frame`.

    >>> nonlocal_starts(20, frames=4, stride=2, clips=2)
    [[0, 2, 4, 6], [10, 12, 14, 16]]
    """
    check(length, segments, frames, stride, clips)
    count = segments * frames
    if rng is not None:
        starts = [rng.randint(0, max(0, length - count * stride)) for _ in range(clips)]
    else:
        starts = [int(float(length) / clips * clip) % length for clip in range(clips)]
    return [loop(start, count, stride, length) for start in starts]


def even_windows(
    length: int, *, segments: int = 1, frames: int, stride: int = 1, clips: int = 3, rng: Random | None = None
) -> list[list[int]]:
    """3D-ResNets' sampling: training draws a window (never the last place), validation spreads `clips` of them.

    Windows begin every ceil((length - 1 - frames) / (clips - 1)) frames; a window that reaches past the end loops over
    its own frames and is the last, so a short video gives fewer, and these are repeated in turn. A short video loops in
    training. `stride` is its sample_t_stride, taken first. Source: 3D-ResNets-PyTorch temporal_transforms.py,
    `TemporalRandomCrop`, `TemporalEvenCrop`, `TemporalSubsampling`.

    >>> even_windows(20, frames=4, clips=3)
    [[0, 1, 2, 3], [8, 9, 10, 11], [16, 17, 18, 19]]
    """
    check(length, segments, frames, stride, clips)
    size, usable = segments * frames, -(-length // stride)
    if rng is not None:
        starts = [rng.randint(0, max(0, usable - size - 1)) for _ in range(clips)]
    else:
        step = max(1, math.ceil((usable - 1 - size) / (clips - 1))) if clips > 1 else usable
        found = _begins(usable, size, step)[:clips]
        starts = [found[clip % len(found)] for clip in range(clips)]
    return [[i * stride for i in _looped(start, size, usable)] for start in starts]


def sliding_windows(
    length: int, *, segments: int = 1, frames: int, stride: int = 1, clips: int = 0, rng: Random | None = None
) -> list[list[int]]:
    """3D-ResNets' test: windows one after another over the whole video, as many as it has (`View.clips` is 0).

    The last window loops over its own frames where it reaches past the end. Training is `even_windows`'s. Source:
    3D-ResNets-PyTorch temporal_transforms.py, `SlidingWindow` with stride = size.

    >>> sliding_windows(10, frames=4)
    [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 8, 9]]
    """
    check(length, segments, frames, stride, clips, fewest_clips=0)
    if rng is not None:
        return even_windows(length, segments=segments, frames=frames, stride=stride, clips=max(1, clips), rng=rng)
    size, usable = segments * frames, -(-length // stride)
    starts = _begins(usable, size, size)
    starts = starts[:clips] + starts[-1:] * (clips - len(starts)) if clips else starts
    return [[i * stride for i in _looped(start, size, usable)] for start in starts]


def _dense_starts(places: int, clips: int, rng: Random | None) -> list[int]:
    if rng is not None:
        return [rng.randrange(places - 1) if places > 1 else 0 for _ in range(clips)]
    # numpy.linspace(0, places - 1, clips, dtype=int): multiples of one step, cut off.
    step = (places - 1) / max(1, clips - 1)
    return [places - 1 if clip == clips - 1 and clips > 1 else int(clip * step) for clip in range(clips)]


def _spread(start: int, segments: int, apart: int, frames: int, stride: int, length: int) -> list[int]:
    return run([(start + k * apart) % length for k in range(segments)], frames, stride, length)


def _begins(length: int, size: int, step: int) -> list[int]:
    """0, step, 2 step ... up to and with the first window that reaches past the end."""
    starts = list(range(0, length, step))
    whole = sum(start + size <= length for start in starts)
    return starts[: whole + 1]


def _looped(start: int, size: int, length: int) -> list[int]:
    count = min(size, length - start)
    return [start + i % count for i in range(size)]


def _linspace(start: float, end: float, count: int, length: int) -> list[int]:
    """torch.linspace(start, end, count) in single precision, clamped to [0, length - 1] and cut off.

    torch counts the first half from the start and the second from the end.
    """
    first, last = _single(start), _single(end)
    step = _single(_single(last - first) / (count - 1)) if count > 1 else 0.0
    values = [first + step * i if i < count // 2 else last - step * (count - i - 1) for i in range(count)]
    if count == 1:
        values = [first]
    return [int(min(max(_single(value), 0.0), length - 1)) for value in values]


def _single(value: float) -> float:
    """The nearest single-precision number."""
    return float(struct.unpack("f", struct.pack("f", value))[0])
