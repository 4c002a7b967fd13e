"""What a run would do, without doing it: `vtk train --dry-run`."""

from typing import Any

import torch

from vtk_cli.api.inputs import FeatureSpec
from vtk_cli.loader.device import blank, model_arguments
from vtk_cli.train.job import Job
from vtk_cli.train.optim import describe_schedule, parameter_groups
from vtk_cli.train.step import autocast


def describe(job: Job) -> dict[str, Any]:
    """Shapes, sizes and schedule; one video of zeros goes through the model."""
    task, recipe, options = job.task, job.task.recipe, job.task.options
    arguments = model_arguments(task.inputs, task.device, *blank(task.inputs))
    with torch.inference_mode(), autocast(task.device, options):
        logits = task.model.eval()(*arguments)
    names = ("feature_BFD", "mask_BF") if isinstance(task.inputs, FeatureSpec) else ("clip_BTNCHW",)
    groups = parameter_groups(task.model.train(), recipe)
    parameters = dict(task.model.named_parameters())
    micro_batch = recipe.batch_size // task.plan.accumulate
    return {
        "model": job.info.model,
        "dataset": job.info.dataset,
        "classes": len(job.info.classes),
        "train_split": job.train.name,
        "train_clips": len(job.train.clips),
        "train_clips_per_epoch": task.plan.clips,
        "val_split": job.validation.name if job.validation else None,
        "val_clips": len(job.validation.clips) if job.validation else 0,
        "reads": ", ".join(job.train.stores) or "video files",
        **{name: [micro_batch, *found.shape[1:]] for name, found in zip(names, arguments, strict=True)},
        "logits_BK": [micro_batch, *logits.shape[1:]],
        "parameters": sum(p.numel() for p in parameters.values()),
        "parameters_trained": sum(parameters[name].numel() for group in groups for name in group.params),
        "groups": [
            {"name": g.name, "tensors": len(g.params), "lr_mult": g.lr_mult, "decay_mult": g.decay_mult} for g in groups
        ],
        "batch_size": recipe.batch_size,
        "micro_batches_per_step": task.plan.accumulate,
        "epochs": recipe.epochs,
        "steps_per_epoch": task.plan.steps,
        "steps": recipe.epochs * task.plan.steps,
        "optimizer": recipe.optimizer,
        "schedule": describe_schedule(recipe),
        "loss": recipe.loss,
        "init": options.init or "none",
        "device": task.device.type,
        "precision": options.precision,
    }
