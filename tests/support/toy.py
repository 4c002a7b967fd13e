"""A toy training run: a tiny model with dropout and batch norm on clips that are made up; also a script.

python toy.py RUN_FOLDER [key=value ...]     trains, or resumes where RUN_FOLDER has a checkpoint
"""

import random
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import simplejpeg
import torch
from torch import nn
from torch.nn import functional

from vtk_cli.api.datasets import VideoRow
from vtk_cli.api.inputs import Augment, InputSpec, Norm, View
from vtk_cli.api.loaders import Batch
from vtk_cli.api.recipes import TrainRecipe
from vtk_cli.api.sampling import segments
from vtk_cli.api.stores import StoreMeta
from vtk_cli.catalog import Catalog
from vtk_cli.errors import VtkError
from vtk_cli.run_dir import RunDir, RunInfo
from vtk_cli.store.lmdb_store import ShardWriter
from vtk_cli.store.meta import create_store, store_name
from vtk_cli.train.optim import Plan, micro_batch_of
from vtk_cli.train.options import RunOptions
from vtk_cli.train.record import Record
from vtk_cli.train.trainer import Task, Trainer
from vtk_cli.workspace import Workspace

VIEW = View(segments=2, frames=1, short_side=8, crop=8, sampler=segments)
INPUTS = InputSpec(
    modality="rgb",
    train=VIEW,
    test=VIEW,
    norm=Norm(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
    augment=Augment(crop="centre"),
)
RECIPE = TrainRecipe(epochs=3, batch_size=8, micro_batch=4, lr=0.05, weight_decay=1e-4, milestones=(2,))


class ToyModel(nn.Module):
    """clip_BTNCHW -> logits_BK."""

    def __init__(self, classes: int = 3, dropout: float = 0.2, norm: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.bn = nn.BatchNorm2d(4) if norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(4, classes)

    def forward(self, clip_BTNCHW: torch.Tensor) -> torch.Tensor:
        b, t = clip_BTNCHW.shape[:2]
        x = functional.relu(self.bn(self.conv(clip_BTNCHW.flatten(0, 2))))
        return self.fc(self.dropout(x.mean((2, 3)).view(b, t, -1).mean(1)))


@dataclass
class ToyLoader:
    """Clips whose class is their brightest channel; every draw derives from (epoch, clip)."""

    clips: int = 20
    size: int = 4
    classes: int = 3
    multi_label: bool = False
    delay: float = 0.0
    asked: list[tuple[int, int]] = field(default_factory=list)

    def __len__(self) -> int:
        return (self.clips + self.size - 1) // self.size

    def epoch(self, number: int, *, skip: int = 0):
        self.asked.append((number, skip))
        order = list(range(self.clips))
        random.Random(number).shuffle(order)
        for start in range(skip * self.size, self.clips, self.size):
            time.sleep(self.delay)
            yield self.batch(number, order[start : start + self.size])

    def batch(self, epoch: int, numbers: list[int]) -> Batch:
        clips = []
        for number in numbers:
            generator = torch.Generator().manual_seed(1000 * epoch + number)
            clip = torch.randint(0, 128, (1, 2, 1, 3, 8, 8), generator=generator, dtype=torch.uint8)
            clip[:, :, :, number % self.classes] += 100
            clips.append(clip)
        label = torch.tensor([number % self.classes for number in numbers])
        if self.multi_label:
            label = functional.one_hot(label, self.classes).float()
        return Batch(torch.stack(clips), label, tuple(f"clip{number}" for number in numbers), 0.001)

    def close(self) -> None:
        pass


def validate(model, batches) -> dict[str, float]:
    loss = hits = count = 0.0
    with torch.no_grad():
        for batch in batches:
            logits = model((batch.clip_BVTNCHW[:, 0].float() / 255 - 0.5) / 0.25)
            loss += float(functional.cross_entropy(logits, batch.label_B, reduction="sum"))
            hits += int((logits.argmax(1) == batch.label_B).sum())
            count += len(batch.ids)
    return {"loss": loss / count, "top1": hits / count}


def make_task(recipe: TrainRecipe = RECIPE, **changes) -> Task:
    model = changes.pop("model", None)
    torch.manual_seed(0)
    loader = changes.pop("train", None) or ToyLoader(size=min(recipe.micro_batch, recipe.batch_size))
    values = {
        "model": model or ToyModel(),
        "inputs": INPUTS,
        "recipe": recipe,
        "options": RunOptions(log_every=1, checkpoint_every="0"),
        "device": torch.device("cpu"),
        "train": loader,
        "plan": Plan(loader.clips, len(loader), recipe.batch_size // micro_batch_of(recipe)),
        "validation": ToyLoader(clips=9),
        "validate": validate,
        "better": "top1",
        "fingerprint": "toy",
        **changes,
    }
    return Task(**values)


def make_run(folder: Path) -> RunDir:
    run = RunDir(folder)
    if not (folder / "run.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        names = {"train": "train", "val": "val", "test": "test"}
        run.write_info(
            RunInfo(model="toy", dataset="toy", classes=("a", "b", "c"), label_order="", splits=names, stores={})
        )
    return run


def make_trainer(folder: Path, task: Task | None = None, *, resume: bool = False) -> Trainer:
    task = task or make_task()
    record = Record(
        make_run(folder), metadata={"model": "toy"}, epochs=task.recipe.epochs, log_every=task.options.log_every
    )
    trainer = Trainer(task, record, resume_with=f"vtk train --resume {folder.name}")
    if resume:
        trainer.restore(*record.checkpoints.load())
    return trainer


def trace(folder: Path) -> list[tuple]:
    """What the log says of steps and epochs, without times."""
    timed = {"time", "seconds", "clips_per_second", "wait_share"}
    return [
        tuple((k, v) for k, v in entry.items() if k not in timed)
        for entry in RunDir(folder).read_log()
        if entry["kind"] != "event"
    ]


def make_dataset(root: Path, name: str = "toyset", *, clips: int = 20, val: int = 6, side: int = 32, **meta) -> None:
    """A dataset with a store of JPEG frames: class 0 is red, 1 green, 2 blue; it becomes the current one."""
    workspace = Workspace(root)
    folder = workspace.new_dataset(name)
    splits = [("train", number) for number in range(clips)] + [("val", number) for number in range(val)]
    rows = [
        VideoRow(id=f"{split}{number}", path=f"{split}{number}.mp4", labels=(number % 3,), splits=(split,))
        for split, number in splits
    ]
    values = {"dataset": name, "label_order": "toy", "flip": False, **meta}
    Catalog.create(folder.catalog, ("red", "green", "blue"), rows, values).close()
    meta_ = StoreMeta(modality="rgb", short_side=side, quality=90, shards=1)
    store = folder.store(store_name(meta_))
    create_store(store, meta_)
    with ShardWriter(store, 0) as writer:
        for row in rows:
            rng = np.random.default_rng(list(row.id.encode()))
            pictures = rng.integers(0, 120, (6, side, side + 8, 3), dtype=np.uint8)
            pictures[..., row.labels[0]] += 120
            writer.put(row.id, [simplejpeg.encode_jpeg(picture, quality=90) for picture in pictures])
        writer.commit()
    workspace.set_current(name)


def main(folder: Path, settings: dict[str, str]) -> None:
    recipe = replace(RECIPE, epochs=int(settings.get("epochs", "3")))
    every = settings.get("every", "0")
    task = make_task(
        recipe,
        train=ToyLoader(delay=float(settings.get("delay", "0"))),
        options=RunOptions(log_every=1, checkpoint_every=every),
    )
    resume = (folder / "checkpoints" / "last.state").exists()
    make_trainer(folder, task, resume=resume).run()


if __name__ == "__main__":
    torch.set_num_threads(1)
    try:
        arguments = globals().get("ARGUMENTS", sys.argv[1:])
        main(Path(arguments[0]), dict(item.split("=") for item in arguments[1:]))
    except VtkError as error:
        sys.stderr.write(f"vtk: {error}\n")
        sys.exit(error.exit_code)
