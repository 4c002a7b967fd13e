"""What all samplers share."""

from random import Random
from typing import Protocol

from vtk_cli.errors import UsageError


class Sampler(Protocol):
    """The signature of every sampler; `functools.partial` is welcome."""

    def __call__(
        self, length: int, *, segments: int, frames: int, stride: int, clips: int, rng: Random | None
    ) -> list[list[int]]:
        """Return `clips` lists of `segments * frames` frame numbers."""


def check(length: int, segments: int, frames: int, stride: int, clips: int, *, fewest_clips: int = 1) -> None:
    """Raises UsageError for numbers that make no clip."""
    if min(length, segments, frames, stride) < 1 or clips < fewest_clips:
        raise UsageError(
            "A sampler needs length, segments, frames, stride and clips of at least 1, found "
            f"length={length}, segments={segments}, frames={frames}, stride={stride}, clips={clips}."
        )


def run(starts: list[int], frames: int, stride: int, length: int) -> list[int]:
    """`frames` numbers from each start on; past the end the last frame repeats."""
    return [min(start + i * stride, length - 1) for start in starts for i in range(frames)]


def loop(start: int, count: int, stride: int, length: int) -> list[int]:
    """`count` numbers from `start` on; past the end the video begins again."""
    return [(start + i * stride) % length for i in range(count)]
