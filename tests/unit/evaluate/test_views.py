from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from torch import nn

from vtk_cli.api.loaders import Batch
from vtk_cli.errors import CheckpointError, DataError, UsageError
from vtk_cli.evaluate.predict import Scores, metrics, score
from vtk_cli.evaluate.views import Scorer, change_views
from vtk_cli.loader.transforms import normalise
from vtk_models.tsn import MODEL

INPUTS = MODEL.inputs(tiny.CONFIG)
CPU = torch.device("cpu")


class Mean(nn.Module):
    """logits_BK: K means over parts of the clip; remembers how many clips it saw at once."""

    def __init__(self, classes=3):
        super().__init__()
        self.classes = classes
        self.seen = []

    def forward(self, clip_BTNCHW):
        self.seen.append(len(clip_BTNCHW))
        return clip_BTNCHW.mean((1, 2, 4, 5))[:, : self.classes]


def clips(videos=3, views=5):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (videos, views, 2, 1, 3, 8, 8), dtype=torch.uint8, generator=generator)


def averaging(average):
    return replace(INPUTS, test=replace(INPUTS.test, average=average))


@pytest.mark.parametrize("view_batch", [1, 4, 100])
@pytest.mark.parametrize("average", ["logits", "probabilities"])
@pytest.mark.parametrize("multi_label", [False, True])
def test_views_are_averaged_as_the_spec_says(view_batch, average, multi_label):
    module = Mean().eval()
    scorer = Scorer(
        module=module, inputs=averaging(average), device=CPU, view_batch=view_batch, multi_label=multi_label
    )
    found = scorer.scores(clips())
    squash = torch.sigmoid if multi_label else (lambda x: x.softmax(-1))
    logits = normalise(clips(), INPUTS.norm).mean((2, 3, 5, 6))
    expected = logits.mean(1) if average == "logits" else squash(logits).mean(1)
    assert torch.allclose(found, expected, atol=1e-6)
    assert max(module.seen) <= view_batch
    assert torch.allclose(scorer.probabilities(found), squash(expected) if average == "logits" else expected, atol=1e-6)


def test_no_gradient_is_kept():
    module = nn.Sequential(Mean(), nn.Linear(3, 3)).eval()
    assert not Scorer(module=module, inputs=INPUTS, device=CPU).scores(clips()).requires_grad


def test_other_views_replace_the_papers():
    changed = change_views(INPUTS, clips=4, crops=5, segments=9)
    assert (changed.test.clips, changed.test.crops, changed.test.segments) == (4, 5, 9)
    assert changed.train == INPUTS.train
    assert change_views(INPUTS) == INPUTS
    with pytest.raises(UsageError, match="need clips >= 1"):
        change_views(INPUTS, clips=0)


def batches(views=1):
    for number in range(3):
        yield Batch(clips(2, views), torch.tensor([number % 3, 1]), (f"a{number}", f"b{number}"))


def test_a_split_is_scored_in_its_order():
    done = []
    found = score(Scorer(module=Mean().eval(), inputs=INPUTS, device=CPU), batches(), on_batch=done.append)
    assert found.ids == ("a0", "b0", "a1", "b1", "a2", "b2")
    assert found.labels.tolist() == [0, 1, 1, 1, 2, 1]
    assert found.scores_BK.shape == (6, 3)
    assert found.scores_BK.dtype == np.float64
    assert done == [2, 2, 2]


def test_a_split_without_videos_and_a_model_without_classes_are_errors():
    scorer = Scorer(module=Mean().eval(), inputs=INPUTS, device=CPU)
    with pytest.raises(DataError, match="at least one video"):
        score(scorer, [])


def test_metrics_go_with_the_kind_of_labels():
    scores = np.eye(3)
    single = metrics(Scores(("a", "b", "c"), scores, np.array([0, 1, 0])))
    assert single["top1"] == pytest.approx(2 / 3)
    assert {"top1", "top5", "mean_class"} <= set(single)
    assert "map" not in single
    multi = metrics(Scores(("a", "b", "c"), scores, np.eye(3, dtype=np.int64)))
    assert multi["map"] == 1
    assert "top1" not in multi


def test_a_model_that_gives_no_scores_is_refused():
    class Wrong(nn.Module):
        def forward(self, clip_BTNCHW):
            return clip_BTNCHW.mean((1, 2, 4, 5))[:1]

    scorer = Scorer(module=Wrong().eval(), inputs=INPUTS, device=CPU)
    with pytest.raises(CheckpointError, match="gives logits_BK"):
        score(scorer, batches())
