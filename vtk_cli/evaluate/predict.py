"""The scores of every video of a split, and the numbers computed from them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vtk_cli import console, registry
from vtk_cli.api.loaders import Batch
from vtk_cli.api.metrics import MetricSpec
from vtk_cli.errors import DataError, PluginError
from vtk_cli.evaluate.views import Scorer


@dataclass(frozen=True, slots=True)
class Scores:
    """What a model says of a split."""

    ids: tuple[str, ...]
    scores_BK: NDArray[np.float64]
    labels: NDArray[np.int64]
    """labels_B; a 0/1 matrix labels_BK for datasets with several labels per video."""


def score(
    scorer: Scorer, batches: Iterable[Batch], *, on_batch: Callable[[int], None] = lambda _videos: None
) -> Scores:
    """Scores of every video that a loader gives; `on_batch` hears how many were done.

    Raises:
        CheckpointError: see `Scorer.scores`.
        DataError: there was no video.
    """
    ids: list[str] = []
    scores, labels = [], []
    for batch in batches:
        found = scorer.scores(*batch.inputs)
        ids.extend(batch.ids)
        scores.append(found.double())
        labels.append(batch.label_B)
        on_batch(len(batch.ids))
    if not ids:
        raise DataError("A test needs at least one video that can be read, found none. Run `vtk check`.")
    return Scores(tuple(ids), torch.cat(scores).numpy(), torch.cat(labels).long().numpy())


def metrics(scores: Scores, specs: Mapping[str, MetricSpec] | None = None) -> dict[str, float]:
    """Every installed metric that goes with the labels, by name; see the metrics for what is raised.

    `specs`: what `installed_metrics` gave, where many scores are measured.
    """
    found = installed_metrics(several_labels=scores.labels.ndim == 2) if specs is None else specs
    return {name: spec.compute(scores.scores_BK, scores.labels) for name, spec in found.items()}


def installed_metrics(*, several_labels: bool) -> dict[str, MetricSpec]:
    """The metrics for one label per video, or for several.

    A metric of a third party that does not load is left out with a warning: it must not cost a test's other numbers.
    """
    kind = "multi" if several_labels else "single"
    found = {}
    for name in registry.names("vtk.metrics"):
        try:
            spec = load_metric(name)
        except PluginError as error:
            if registry.find("vtk.metrics", name).first_party:
                raise
            console.warn(str(error))
            continue
        if spec.labels == kind:
            found[name] = spec
    return found


def load_metric(name: str) -> MetricSpec:
    """An installed metric; raises PluginError when it does not load or is none."""
    spec = registry.load("vtk.metrics", name)
    if not isinstance(spec, MetricSpec):
        raise PluginError(f'The metric "{name}" should be a MetricSpec, found {type(spec).__name__}. Ask its author.')
    return spec
