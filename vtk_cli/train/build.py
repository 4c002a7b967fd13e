"""From a model's spec, a run's settings and opened splits to everything that the trainer needs."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch

from vtk_cli.api.inputs import FeatureSpec, InputSpec
from vtk_cli.api.loaders import Batch
from vtk_cli.api.models import ModelSpec
from vtk_cli.api.recipes import TrainRecipe
from vtk_cli.catalog import Catalog
from vtk_cli.config import RunConfig
from vtk_cli.console import warn
from vtk_cli.errors import DataError, UsageError
from vtk_cli.evaluate.predict import metrics, score
from vtk_cli.evaluate.views import Scorer, default_device
from vtk_cli.loader.split import Split, make_loader
from vtk_cli.memory_format import to_channels_last
from vtk_cli.train.optim import Plan, micro_batch_of
from vtk_cli.train.options import RunOptions
from vtk_cli.train.step import autocast, loss_of, seed_all, seed_for
from vtk_cli.train.trainer import Task

USUAL_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "validation", "valid", "dev"),
    "test": ("test", "testing"),
}
"""What splits are called in datasets that do not say which is which."""


def choose_splits(catalog: Catalog, wanted: Mapping[str, str]) -> dict[str, str]:
    """train, val and test -> the dataset's own split names: those wanted, else what the catalog says, else usual ones.

    val and test are left out where the dataset has none.

    Raises:
        UsageError: a wanted split is not there, or there is none to train on.
    """
    meta, known = catalog.meta, catalog.splits()
    chosen = {}
    for use, usual in USUAL_NAMES.items():
        if use in wanted:
            catalog.check_split(wanted[use])
        names = (wanted.get(use), meta.get(f"{use}_split"), *usual)
        found = next((name for name in names if name in known), None)
        if found is not None:
            chosen[use] = str(found)
    if "train" not in chosen:
        raise UsageError(
            f"The dataset {meta.get('dataset', '')} does not say which split to train on; it has "
            f"{', '.join(known) or 'none'}. Name one with --split."
        )
    return chosen


def check_labels(split: Split) -> None:
    """Every label has to be a class number, and one class alone teaches nothing.

    Raises:
        DataError: a label lies outside the classes, or a video has several in a dataset with one label each.
    """
    classes = len(split.classes)
    for clip in split.clips:
        if not all(0 <= label < classes for label in clip.labels) or (not split.multi_label and len(clip.labels) != 1):
            wanted = "labels" if split.multi_label else "one label"
            raise DataError(
                f"The clip {clip.id} of the split {split.name} should have {wanted} from 0 to {classes - 1}, found "
                f"{list(clip.labels)}. Mend the list and make the dataset anew with `vtk index` or `vtk download`."
            )
    seen = {label for clip in split.clips for label in clip.labels}
    if len(seen) == 1 and not split.multi_label:
        warn(f'All clips of the split {split.name} are of the class "{split.classes[seen.pop()]}".')


def choose_device(options: RunOptions) -> torch.device:
    """Raises UsageError when a GPU is asked for and there is none."""
    if options.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("run.device=cuda needs a GPU that PyTorch can use, found none. Use run.device=auto or cpu.")
    return default_device(options.device)


def build_task(
    spec: ModelSpec[Any],
    config: RunConfig,
    inputs: InputSpec | FeatureSpec,
    train: Split,
    validation: Split | None,
) -> Task:
    """Model (with its own random weights, drawn from the seed), loaders and validation."""
    options, recipe, data = config["run"], config["train"], config["data"]
    device, micro_batch = choose_device(options), micro_batch_of(recipe)
    seed_all(seed_for(options.seed, "initial weights"))
    model = spec.build(config["model"], len(train.classes)).to(device)
    if options.channels_last:
        model = to_channels_last(model)
    seen = validation_inputs(inputs)
    loader = make_loader(train, inputs, data, training=True, batch_size=micro_batch, seed=options.seed)
    scorer = Scorer(
        module=model,
        inputs=seen,
        device=device,
        multi_label=train.multi_label,
        view_batch=data.view_batch,
        autocast=lambda: autocast(device, options),
    )
    return Task(
        model=model,
        inputs=inputs,
        recipe=recipe,
        options=options,
        device=device,
        plan=Plan(
            clips=min(len(loader) * micro_batch, len(train.clips)),
            micro_batches=len(loader),
            accumulate=recipe.batch_size // micro_batch,
        ),
        train=loader,
        validation=None
        if validation is None
        else make_loader(validation, seen, data, training=False, batch_size=data.view_batch, seed=options.seed),
        validate=lambda _model, batches: validate(scorer, batches, recipe),
        better="map" if train.multi_label else "top1",
        fingerprint=fingerprint(train),
        extra_loss=spec.extra_loss,
    )


def validation_inputs(inputs: InputSpec | FeatureSpec) -> InputSpec | FeatureSpec:
    """One view per clip, cut as in training but without chance: the middle of each segment, the centre of the picture.

    So StNet is validated on 7 segments and 224 pixels and tested on 25 and 256 (facts of the original: its VALID mode).
    Features are seen as in testing.
    """
    if isinstance(inputs, FeatureSpec):
        return inputs
    sampler = inputs.validation or inputs.train.sampler
    return replace(inputs, test=replace(inputs.train, clips=1, crops=1, average="logits", sampler=sampler))


def validate(scorer: Scorer, batches: Iterator[Batch], recipe: TrainRecipe) -> dict[str, float]:
    """The loss (without label smoothing) and every metric that goes with the labels."""
    found = score(scorer, batches)
    with torch.inference_mode():
        plain = replace(recipe, label_smoothing=0.0)
        loss = loss_of(torch.from_numpy(found.scores_BK), torch.from_numpy(found.labels), plain)
    return {"loss": float(loss), **metrics(found)}


def fingerprint(split: Split) -> str:
    """Changes when a clip of the split, a label or their order does."""
    listed = json.dumps([[clip.id, list(clip.labels)] for clip in split.clips])
    return hashlib.sha256(listed.encode()).hexdigest()
