"""What `vtk train` asks for, put together and checked; only `start` and `resume` change anything on the disk."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

from vtk_cli import registry
from vtk_cli.api.models import ModelSpec
from vtk_cli.catalog import Catalog
from vtk_cli.config import RunConfig, resolve, to_toml
from vtk_cli.console import say, warn
from vtk_cli.errors import DataError
from vtk_cli.evaluate.foreign import load_model_spec
from vtk_cli.evaluate.initial import apply_initial, initial_weights
from vtk_cli.evaluate.weights import info_of, listed
from vtk_cli.files import write_atomic
from vtk_cli.loader.split import Split, open_split
from vtk_cli.run_dir import RunDir, RunInfo
from vtk_cli.train.build import build_task, check_labels, choose_splits
from vtk_cli.train.env import DECISIVE, environment
from vtk_cli.train.options import RunOptions
from vtk_cli.train.record import Record
from vtk_cli.train.settings import default_sections, resumed_settings
from vtk_cli.train.step import check_loss
from vtk_cli.train.trainer import Task, Trainer
from vtk_cli.workspace import DatasetDir, Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run, ready to start."""

    workspace: Workspace
    spec: ModelSpec[Any]
    info: RunInfo
    config: RunConfig
    task: Task
    train: Split
    validation: Split | None

    @classmethod
    def new(
        cls,
        workspace: Workspace,
        *,
        model: str,
        dataset: str | None = None,
        file: Path | None = None,
        assignments: Sequence[str] = (),
        splits: Mapping[str, str] | None = None,
    ) -> Self:
        """A run that nobody has begun.

        `splits`: train and val -> the dataset's own names, where they are not to be the usual ones.

        Raises:
            UsageError: a name, setting or value is wrong.
            DataError: the dataset cannot be trained on.
            PluginError: the model is missing or broken.
        """
        spec = load_model_spec(model)
        folder = workspace.dataset(dataset)
        with Catalog(folder.catalog) as catalog:
            multi_label = bool(catalog.meta.get("multi_label", False))
            chosen = choose_splits(catalog, splits or {})
        config = resolve(default_sections(spec, multi_label=multi_label), file=file, assignments=assignments)
        plugin = registry.find("vtk.models", model)
        name = plugin.name if plugin.name in registry.names("vtk.models") else plugin.qualified
        return cls._assemble(workspace, spec, name, folder, config, chosen)

    @classmethod
    def resumed(cls, workspace: Workspace, run: RunDir, assignments: Sequence[str] = ()) -> tuple[Self, list[str]]:
        """A run that was begun, and the settings that `assignments` changed.

        Raises:
            UsageError: a setting is changed that a resumed run has to keep.
            DataError: the dataset is no longer the one that it was trained on.
        """
        known = run.info()
        spec = load_model_spec(known.model)
        defaults = default_sections(spec, multi_label=known.multi_label)
        config, changed = resumed_settings(defaults, run.config, assignments)
        folder = workspace.dataset(known.dataset)
        job = cls._assemble(workspace, spec, known.model, folder, config, known.splits, prefer=tuple(known.stores))
        if job.info.classes != known.classes or _plain(job.info.stores) != _plain(known.stores):
            raise DataError(
                f"The run {run.name} was trained on other classes or stores of {known.dataset} than it has now. Bring "
                "them back to what run.json says, or train anew."
            )
        return replace(job, info=known), changed

    @classmethod
    def _assemble(
        cls,
        workspace: Workspace,
        spec: ModelSpec[Any],
        model: str,
        dataset: DatasetDir,
        config: RunConfig,
        splits: Mapping[str, str],
        prefer: Sequence[str] = (),
    ) -> Self:
        inputs = spec.inputs(config["model"])
        opened = partial(open_split, dataset, inputs=inputs, options=config["data"], training=True, prefer=prefer)
        train = opened(splits["train"])
        validation = opened(splits["val"]) if "val" in splits else None
        for split in filter(None, (train, validation)):
            check_labels(split)
        check_loss(config["train"], multi_label=train.multi_label)
        info = RunInfo(
            model=model,
            dataset=dataset.name,
            classes=train.classes,
            label_order=train.label_order,
            flip=train.flip,
            multi_label=train.multi_label,
            splits=splits,
            stores=train.stores,
        )
        task = build_task(spec, config, inputs, train, validation)
        return cls(
            workspace=workspace,
            spec=spec,
            info=info,
            config=config,
            task=task,
            train=train,
            validation=validation,
        )

    def start(self) -> RunDir:
        """Load the initial weights, make the run's folder, and train.

        Raises:
            Interrupted: a signal asked for it; the message says how to go on.
            VtkError: whatever ends training early; see `Trainer.run`.
        """
        options: RunOptions = self.config["run"]
        initial = initial_weights(self.spec, self.config["model"], self.workspace, options.init or "none")
        left_out = apply_initial(self.task.model, initial, len(self.info.classes))
        kept = f"; {listed(left_out)} keep their own initialisation, the classes are others" if left_out else ""
        say(f"initial weights: {initial.origin}{kept}")
        if self.validation is None:
            warn("The dataset has no validation split, so there is no best checkpoint, only the last.")
        run = RunDir.create(self.workspace.runs, self.info)
        with run.lock():
            write_atomic(run.config, to_toml(self.config))
            run.write_env({**environment(self.info.model, self.task.device), "initial_weights": initial.origin})
            say(f"run: {run.path}")
            self._trainer(run).run()
        return run

    def resume(self, run: RunDir, changed: Sequence[str]) -> None:
        """Go on where a run's checkpoint stands, with the settings of `changed` written to its config.toml.

        Raises:
            CheckpointError: there is no checkpoint, or it is damaged.
            Interrupted, VtkError: as `start`.
        """
        with run.lock():
            trainer = self._trainer(run)
            trainer.restore(*trainer.record.checkpoints.load())
            if changed:
                write_atomic(run.config, to_toml(self.config))
            env, before = environment(self.info.model, self.task.device), run.env()
            others = [
                f"{key} {env.get(key, 'none')} instead of {before.get(key, 'none')}"
                for key in DECISIVE
                if env.get(key) != before.get(key)
            ]
            if others:
                warn(f"The machine has changed ({', '.join(others)}): numbers may differ in their last digits.")
            run.log("event", message="resumed", command=env["command"], changed=list(changed))
            trainer.run()

    def _trainer(self, run: RunDir) -> Trainer:
        task = self.task
        root = "" if Workspace.locate() == self.workspace else f" --root {self.workspace.root}"
        record = Record(
            run,
            metadata=info_of(self.info, self.config["model"]).to_metadata(),
            epochs=task.recipe.epochs,
            log_every=task.options.log_every,
        )
        return Trainer(task, record, resume_with=f"vtk train --resume {run.name}{root}")


def _plain(stores: Mapping[str, Any]) -> str:
    return json.dumps(stores, sort_keys=True)
