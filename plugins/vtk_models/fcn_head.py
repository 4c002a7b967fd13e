"""What clip networks do at the end when they test on larger crops than they trained on: classify every position.

    x_BCTHW -> average over time and every window that the training crop fills -> feature_BPC -> logits_BPK -> logits_BK

With crops of 224 the last map is 7x7 and there is one position (P); with crops of 256 it is 8x8, four windows.
"""

import math

from torch import Tensor
from torch.nn import functional


def window_side(crop: int) -> int:
    """Side of the last map of a network that divides the training crop by 32."""
    return math.ceil(crop / 32)


def window_averages(x_BCTHW: Tensor, side: int) -> Tensor:
    """feature_BPC, the average over all of time and over each window of side x side; smaller maps are one window."""
    time, height, width = x_BCTHW.shape[2:]
    window = (time, min(side, height), min(side, width))
    feature_BPC: Tensor = functional.avg_pool3d(x_BCTHW, window, stride=1).flatten(2).transpose(1, 2)
    return feature_BPC


def mean_over_positions(logits_BPK: Tensor) -> Tensor:
    """logits_BK whose softmax is the mean of the positions' probabilities; a single position's stay as they are.

    Mean probabilities are what Caffe2's and Paddle's Non-local and PySlowFast's networks return at test time.
    """
    positions = logits_BPK.shape[1]
    if positions == 1:
        return logits_BPK[:, 0]
    return functional.log_softmax(logits_BPK, 2).logsumexp(1) - math.log(positions)
