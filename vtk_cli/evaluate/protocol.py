"""`vtk test`: a run on a split, by its paper's protocol or other views.

The scores and what they come to go to scores/<split>.npz (of another dataset: scores/<dataset>-<split>.npz) and the
files beside it, see `scores_file`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vtk_cli.api.inputs import FeatureSpec
from vtk_cli.catalog import Catalog
from vtk_cli.console import Progress, warn
from vtk_cli.errors import DataError, UsageError
from vtk_cli.evaluate.classifier import Classifier
from vtk_cli.evaluate.foreign import sha256_of
from vtk_cli.evaluate.predict import Scores, metrics, score
from vtk_cli.evaluate.scores_file import write_scores
from vtk_cli.loader.feature_source import stream_names
from vtk_cli.loader.options import DataOptions
from vtk_cli.loader.split import Split, make_loader, open_split
from vtk_cli.run_dir import RunDir
from vtk_cli.store.meta import PLACES
from vtk_cli.workspace import DatasetDir

SAME = ("modality", "method", "parameters", "bound", "origin")
"""What a store must share with the one that a run was trained on; the rest of its settings only warn."""
MOVABLE = PLACES | {"reads"}
"""What the origin of features may differ in: the weights' digest says whether they are the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """A finished test."""

    scores: Scores
    summary: dict[str, Any]
    """What scores/<split>.json says."""
    path: Path
    """The .npz file."""


def run_test(
    run: RunDir, classifier: Classifier, dataset: DatasetDir, split: str | None, options: DataOptions
) -> TestResult:
    """Score a split and write what came of it.

    Raises:
        UsageError: the dataset has other classes than the run, or no such split.
        DataError: the split or its store cannot be used.
    """
    info = run.info()
    name = split or _test_split(dataset)
    opened = open_split(dataset, name, classifier.inputs, options, training=False, prefer=info.stores)
    try:
        clips = in_order_of(classifier.classes, opened)
        check_stores(info.stores, opened.stores)
        scores = _score(classifier, replace(opened, clips=clips, classes=classifier.classes), options)
    finally:
        opened.source.close()
    path = run.scores / f"{name if dataset.name == info.dataset else f'{dataset.name}-{name}'}.npz"
    summary = _summary(run, classifier, dataset, opened, scores)
    write_scores(path, classifier.classes, scores, summary)
    return TestResult(scores=scores, summary=summary, path=path)


def in_order_of(classes: tuple[str, ...], split: Split) -> Any:
    """The split's clips with their labels in the order of `classes`.

    Raises:
        UsageError: the dataset has other classes; they are named.
    """
    if split.classes == classes:
        return split.clips
    missing = [name for name in classes if name not in split.classes]
    extra = [name for name in split.classes if name not in classes]
    if missing or extra:
        raise UsageError(
            f"The dataset should have the run's {len(classes)} classes, found {len(split.classes)}: "
            f"{_names(missing)} missing, {_names(extra)} unknown to the run. Test on a dataset with the same classes."
        )
    numbers = [classes.index(name) for name in split.classes]
    return tuple(replace(clip, labels=tuple(numbers[label] for label in clip.labels)) for clip in split.clips)


def check_stores(trained: Mapping[str, Any], tested: Mapping[str, Any]) -> None:
    """Refuse flow or features of another kind than a run was trained on; warn of lesser differences.

    Raises:
        DataError: the method, its parameters or the bound differ, or the network that made the features.
    """
    if not trained or not tested:
        return
    (old_name, old), (new_name, new) = next(iter(trained.items())), next(iter(tested.items()))
    old, new = _comparable(old), _comparable(new)
    differing = [key for key in new if key not in ("version", "shards") and old.get(key) != new[key]]
    refused = [key for key in differing if key in SAME]
    said = ", ".join(f"{key} {new[key]!r} instead of {old.get(key)!r}" for key in differing)
    if refused:
        raise DataError(
            f"The run was trained on {old_name}; {new_name} differs: {said}. Extract with the same settings, or name "
            "the right store with --set data.store=NAME."
        )
    if differing:
        warn(f"the run was trained on {old_name}; {new_name} differs: {said}. Numbers can differ a little.")


def _comparable(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The meta of a store without what says only where things lie."""
    values = dict(meta)
    if "origin" in values:
        values["origin"] = {key: value for key, value in values["origin"].items() if key not in MOVABLE}
    return values


def _score(classifier: Classifier, split: Split, options: DataOptions) -> Scores:
    inputs = classifier.inputs
    views = 1 if isinstance(inputs, FeatureSpec) else inputs.test.views
    videos = max(1, options.view_batch // views) if views else 1  # videos of differing numbers of views come alone
    loader = make_loader(split, inputs, options, training=False, batch_size=videos, seed=0)
    try:
        with Progress(f"testing {split.name}", total=len(split.clips), unit="videos") as bar:
            return score(classifier.scorer, loader.epoch(0), on_batch=bar.advance)
    finally:
        loader.close()


def _summary(run: RunDir, classifier: Classifier, dataset: DatasetDir, split: Split, scores: Scores) -> dict[str, Any]:
    return {
        "run": run.name,
        "dataset": dataset.name,
        "split": split.name,
        "videos": len(scores.ids),
        "left_out": len(split.left_out) + len(split.clips) - len(scores.ids),
        "metrics": metrics(scores),
        "protocol": _protocol(classifier, split),
        "scores": classifier.scorer.average,
        "weights": {"file": classifier.path.name, "sha256": sha256_of(classifier.path)},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _protocol(classifier: Classifier, split: Split) -> dict[str, Any]:
    inputs, reads = classifier.inputs, next(iter(split.stores), "videos")
    if isinstance(inputs, FeatureSpec):
        streams = stream_names([(stream.name, stream.size) for stream in inputs.streams])
        return {"vectors": inputs.frames, "streams": streams, "features": reads}
    view = inputs.test
    return {
        "segments": view.segments,
        "frames": view.frames,
        "stride": view.stride,
        "clips": view.clips,
        "crops": view.crops,
        "crop": view.crop,
        "short_side": view.short_side,
        "average": view.average,
        "pictures": reads,
    }


def _test_split(dataset: DatasetDir) -> str:
    with Catalog(dataset.catalog) as catalog:
        split = catalog.meta.get("test_split")
        known = catalog.splits()
    if not split:
        raise UsageError(f"{dataset.name} does not say which split tests. Name one with --split: {_names(known)}.")
    return str(split)


def _names(names: Iterable[str]) -> str:
    found = list(names)
    more = f" and {len(found) - 6} more" if len(found) > 6 else ""
    return ", ".join(found[:6]) + more if found else "none"
