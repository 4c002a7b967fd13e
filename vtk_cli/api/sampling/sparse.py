"""Segments: the video is cut into equal parts and a short run of frames is taken from each."""

from itertools import pairwise
from random import Random

from vtk_cli.api.sampling.common import check, run


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
    check(length, segments, frames, stride, clips)
    usable = length - (frames - 1) * stride
    if rng is not None:
        return [run(_drawn_starts(length, usable, segments, rng), frames, stride, length) for _ in range(clips)]
    # The originals compute in floating point, where (tick / 2 + tick * k) can land just below the whole number that
    # exact arithmetic gives (length 6, segments 7). Published numbers come from these indices, so this does the same.
    tick = usable / float(segments)
    grids = []
    for clip in range(clips):
        shift = tick / 2.0 if clip == 0 else tick * ((0.5 + clip / clips) % 1.0)
        starts = [max(0, int(shift + tick * k)) for k in range(segments)]
        grids.append(run(starts, frames, stride, length))
    return grids


def segments_validation(
    length: int, *, segments: int, frames: int = 1, stride: int = 1, clips: int = 1, rng: Random | None = None
) -> list[list[int]]:
    """TSN's and TSM's sampling for validation while training: `segments`, but a short video gives frame 0 alone.

    Short is a video of at most segments + frames - 1 frames, so 8 frames in 8 segments give frame 0 eight times where
    the test gives each once. TIN and X-Temporal validate with `segments`. Source: tsn-pytorch dataset.py and
    temporal-shift-module ops/dataset.py, `_get_val_indices`.

    >>> segments_validation(8, segments=8) == [[0] * 8], segments_validation(9, segments=8)
    (True, [[0, 1, 2, 3, 5, 6, 7, 8]])
    """
    check(length, segments, frames, stride, clips)
    if rng is None and length <= segments + (frames - 1) * stride:
        return [run([0] * segments, frames, stride, length) for _ in range(clips)]
    return _segments(length, segments=segments, frames=frames, stride=stride, clips=clips, rng=rng)


def segments_caffe(
    length: int, *, segments: int = 25, frames: int = 1, stride: int = 1, clips: int = 1, rng: Random | None = None
) -> list[list[int]]:
    """The test grid of the Caffe TSN: whole steps from the first frame on; training is `segments`.

    The step is (length - frames) // (segments - 1); where it is 0, frame 0 is taken every time. All clips are the same.
    Source: temporal-segment-networks tools/eval_net.py, with the integer division of Python 2.

    >>> segments_caffe(100, segments=25)[0][:4], segments_caffe(20, segments=25)[0] == [0] * 25
    ([0, 4, 8, 12], True)
    """
    check(length, segments, frames, stride, clips)
    if rng is not None:
        return _segments(length, segments=segments, frames=frames, stride=stride, clips=clips, rng=rng)
    step = max(0, (length - ((frames - 1) * stride + 1)) // max(1, segments - 1))
    return [run([k * step for k in range(segments)], frames, stride, length)] * clips


def segments_mmaction2(
    length: int, *, segments: int, frames: int = 1, stride: int = 1, clips: int = 1, rng: Random | None = None
) -> list[list[int]]:
    """MMAction2's sampling for 2D networks: numbers past the end begin again at the start of the video.

    Testing takes (k + 1/2) * length / segments; training draws from segments of whole frames, from the whole video
    where it is short, and takes a rounded ramp where it has fewer frames than a run and segments need. With several
    clips, clip c starts (1/2 + c / clips) mod 1 of a segment in: two are its `twice_sample`.
    Source: MMAction2 datasets/transforms/loading.py, `SampleFrames` with clip_len=frames, num_clips=segments.

    >>> segments_mmaction2(10, segments=4), segments_mmaction2(3, segments=8)
    ([[1, 3, 6, 8]], [[0, 0, 0, 1, 1, 2, 2, 2]])
    """
    check(length, segments, frames, stride, clips)
    span = frames * stride
    if rng is not None:
        grids = [_drawn_as_mmaction2(length, span, segments, rng) for _ in range(clips)]
    else:
        grids = []
        for clip in range(clips):
            average = length / float(segments)
            shift = average / 2.0 if clip == 0 else average * ((0.5 + clip / clips) % 1.0)
            grids.append([int(k * average + shift) for k in range(segments)])
    return [[(start + i * stride) % length for start in starts for i in range(frames)] for starts in grids]


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
    check(length, segments, frames, stride, clips)
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


def segments_slowfast(
    length: int, *, segments: int, frames: int = 1, stride: int = 1, clips: int = 1, rng: Random | None = None
) -> list[list[int]]:
    """PySlowFast's sampling on Something-Something: one frame of each of `segments * frames` parts with rounded ends.

    Parts are (length - 1) / count long; training draws from a part, both ends included, testing takes its middle. All
    test clips are the same. Source: SlowFast datasets/ssv2.py, `get_seq_frames`.

    >>> segments_slowfast(10, segments=1, frames=4)
    [[1, 3, 5, 8]]
    """
    check(length, segments, frames, stride, clips)
    count = segments * frames
    size = float(length - 1) / count
    ends = [round(size * i) for i in range(count + 1)]
    parts = list(pairwise(ends))
    if rng is None:
        return [[(low + high) // 2 for low, high in parts]] * clips
    return [[rng.randint(low, high) for low, high in parts] for _ in range(clips)]


def _drawn_starts(length: int, usable: int, segments: int, rng: Random) -> list[int]:
    average = usable // segments
    if average > 0:
        return [k * average + rng.randrange(average) for k in range(segments)]
    if length > segments and usable > 0:
        return sorted(rng.randrange(usable) for _ in range(segments))
    return [0] * segments


def _drawn_as_mmaction2(length: int, span: int, segments: int, rng: Random) -> list[int]:
    usable = length - span + 1
    average = usable // segments
    if average > 0:
        return [k * average + rng.randrange(average) for k in range(segments)]
    if length > max(segments, span):
        return sorted(rng.randrange(usable) for _ in range(segments))
    if average == 0:
        return [round(k * (usable / segments)) for k in range(segments)]
    return [0] * segments


_segments = segments
"""The function's parameters are named as the field names things, which hides it inside the others."""
