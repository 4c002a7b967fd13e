"""Which feature vectors of a video a sequence model sees; one "frame" is one vector."""

from random import Random

from vtk_cli.api.sampling.common import check


def first(
    length: int, *, segments: int, frames: int = 1, stride: int = 1, clips: int = 1, rng: Random | None = None
) -> list[list[int]]:
    """The first `segments` vectors, all of them where there are fewer; training sees the same.

    YouTube-8M's readers cut at 300 seconds.

    >>> first(5, segments=3), first(2, segments=3)
    ([[0, 1, 2]], [[0, 1]])
    """
    check(length, segments, frames, stride, clips)
    del rng  # nothing is drawn
    return [list(range(min(length, segments * frames)))] * clips


def stratified(
    length: int, *, segments: int, frames: int = 1, stride: int = 1, clips: int = 1, rng: Random | None = None
) -> list[list[int]]:
    """One vector of each of `segments` equal parts, at a random place; in its middle without `rng`.

    A short video repeats vectors. Source: PaddlePaddle/models release/1.8 PaddleCV/video/reader/feature_reader.py,
    `generate_random_idx`, which draws in testing too.

    >>> stratified(10, segments=4), stratified(2, segments=4)
    ([[1, 3, 6, 8]], [[0, 0, 1, 1]])
    """
    check(length, segments, frames, stride, clips)
    count = segments * frames
    part = float(length) / count
    return [
        [min(length - 1, int((i + (rng.random() if rng is not None else 0.5)) * part)) for i in range(count)]
        for _ in range(clips)
    ]
