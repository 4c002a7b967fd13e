"""What every metric asks of its input."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtk_cli.errors import DataError


def check(scores_BK: NDArray[np.float64], labels: NDArray[Any], *, multi: bool = False) -> None:
    """Refuse what a number cannot honestly be computed from.

    Raises:
        DataError: no videos, shapes that do not fit, NaN scores, or labels that are no class.
    """
    wanted = scores_BK.shape if multi else scores_BK.shape[:1]
    if scores_BK.ndim != 2 or 0 in scores_BK.shape or labels.shape != wanted:
        raise DataError(
            f"A metric needs scores_BK of at least one video and {'labels_BK' if multi else 'labels_B'}, found shapes "
            f"{scores_BK.shape} and {labels.shape}. Test again."
        )
    wrong = np.flatnonzero(np.isnan(scores_BK).any(axis=1))
    if len(wrong):
        raise DataError(
            f"A metric needs scores that are numbers, found NaN for {len(wrong)} of {len(scores_BK)} videos, the first "
            f"at position {wrong[0]}. The weights are damaged or training diverged: test another checkpoint."
        )
    least, most = int(labels.min()), int(labels.max())
    limit = 1 if multi else scores_BK.shape[1] - 1
    if least < 0 or most > limit:
        raise DataError(f"A metric needs labels from 0 to {limit}, found {least} to {most}. Look at the catalog.")
