"""Which frames of a video make a clip.

A sampler is a plain function. It gets the number of frames of a video and returns, for each of `clips` temporal views,
the T x N frame numbers (from 0, segment by segment) that make it. With `rng` it draws a training clip; without, it
returns the test clips, which never depend on chance. Every number returned lies in [0, length).

    length 12, segments 3, frames 2, test:     . f f . . f f . . f f .

Published numbers come from the samplers of the code that made them, so each of these has its own function here; a
model's `InputSpec` names the one it was trained with. `docs/models.md` says which.
"""

from vtk_cli.api.sampling.common import Sampler
from vtk_cli.api.sampling.features import first, stratified
from vtk_cli.api.sampling.sparse import (
    segments,
    segments_caffe,
    segments_mmaction2,
    segments_paddle,
    segments_slowfast,
    segments_validation,
)
from vtk_cli.api.sampling.windows import (
    dense,
    dense_tin,
    dense_tsm,
    even_windows,
    nonlocal_starts,
    pyslowfast,
    pyslowfast_offset,
    sliding_windows,
)

__all__ = [
    "Sampler",
    "dense",
    "dense_tin",
    "dense_tsm",
    "even_windows",
    "first",
    "nonlocal_starts",
    "pyslowfast",
    "pyslowfast_offset",
    "segments",
    "segments_caffe",
    "segments_mmaction2",
    "segments_paddle",
    "segments_slowfast",
    "segments_validation",
    "sliding_windows",
    "stratified",
]
