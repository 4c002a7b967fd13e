"""The folder of one training run: what lies in it, how it is found, written and read.

<root>/runs/<date>-<model>-<dataset>-<id>/
    run.json        what the run is: model, dataset, class names, label order, stores, status
    config.toml     resolved configuration with the origin of each value
    env.json        versions, machine, command line
    log.jsonl       one JSON object per line, see `RunDir.log`
    checkpoints/    last.safetensors, best.safetensors (weights) and last.state (all that resuming needs)
    scores/         <split>.npz and <split>.json of `vtk test`
    report.html
"""

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Any, Literal

from vtk_cli.errors import CheckpointError, DataError, UsageError, did_you_mean
from vtk_cli.files import write_atomic

RunStatus = Literal["running", "interrupted", "finished", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """What `run.json` says; it travels with the weights, so that they can be used without the dataset."""

    model: str
    """Name in the group vtk.models, qualified if it has to be."""
    dataset: str
    classes: tuple[str, ...]
    label_order: str
    flip: bool = True
    multi_label: bool = False
    splits: Mapping[str, str]
    """train, val and test -> the dataset's own split names."""
    stores: Mapping[str, Any]
    """Store name -> its meta.json, as it was read in training; empty when trained straight from videos."""
    status: RunStatus = "running"
    created: str = ""
    best: Mapping[str, float] = field(default_factory=dict)
    """Epoch and validation metrics of checkpoints/best.safetensors."""
    version: int = 1


@dataclass(frozen=True, slots=True)
class RunDir:
    path: Path

    @classmethod
    def create(cls, runs: Path, info: RunInfo) -> "RunDir":
        """A new folder with its run.json, named <date>-<model>-<dataset>-<id>."""
        stamp = datetime.now(UTC)
        model = info.model.replace(":", "-")
        run = cls(runs / f"{stamp:%Y%m%d-%H%M}-{model}-{info.dataset}-{secrets.token_hex(2)}")
        try:
            run.path.mkdir(parents=True)  # two runs of one minute that drew the same id must not share a folder
        except FileExistsError:
            return cls.create(runs, info)
        except OSError as error:
            raise DataError(
                f"The run's folder {run.path} cannot be made: {error.strerror}. Choose another workspace with --root."
            ) from error
        run.write_info(RunInfo(**{**_fields(info), "created": stamp.isoformat(timespec="seconds")}))
        return run

    @classmethod
    def find(cls, runs: Path, name: str | Path) -> "RunDir":
        """The run that a user means: a path, a folder name, the only one that begins so, or `latest`.

        Raises:
            UsageError: there is none, or several begin so.
        """
        given = Path(name)
        if str(name) and (given / "run.json").is_file():
            return cls(given)
        known = sorted(info.parent.name for info in runs.glob("*/run.json"))
        if name == "latest" and known:
            return all_runs(runs)[-1]
        begun = [run for run in known if str(name) and run.startswith(str(name))]
        matches = [run for run in begun if run == str(name)] or begun
        if not matches:
            raise UsageError(f'There is no run "{name}" in {runs}. {did_you_mean(str(name), known)}')
        if len(matches) > 1:
            raise UsageError(
                f'{len(matches)} runs begin with "{name}": {", ".join(matches[:6])}. Type more of the name.'
            )
        return cls(runs / matches[0])

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def config(self) -> Path:
        return self.path / "config.toml"

    @property
    def scores(self) -> Path:
        return self.path / "scores"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    def info(self) -> RunInfo:
        """Read run.json.

        Raises:
            CheckpointError: it is absent or damaged.
        """
        path = self.path / "run.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            found["classes"] = tuple(found["classes"])
            return _checked(RunInfo(**found))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise CheckpointError(
                f"{path} should describe a run, found: {error}. Train again or restore the file."
            ) from error

    def write_info(self, info: RunInfo) -> None:
        write_atomic(self.path / "run.json", json.dumps(asdict(info), indent=1, ensure_ascii=False) + "\n")

    def set(self, **changes: Any) -> None:
        """Change fields of run.json."""
        self.write_info(RunInfo(**{**_fields(self.info()), **changes}))

    def write_env(self, env: Mapping[str, Any]) -> None:
        write_atomic(self.path / "env.json", json.dumps(env, indent=1, default=str) + "\n")

    def env(self) -> dict[str, Any]:
        try:
            found: Any = json.loads((self.path / "env.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def log(self, kind: Literal["step", "epoch", "event"], **values: Any) -> None:
        """Append one line to log.jsonl.

        step: epoch and step (both from 0, of the run), loss and top1 (means since the line before), lr,
        clips_per_second, wait_share, seconds. epoch: epoch, step (its last), train_loss, train_top1, val_loss and
        val_<metric> where it was validated, lr, seconds. event: message and what belongs to it.

        Raises:
            DataError: the line cannot be written.
        """
        line = json.dumps({"kind": kind, "time": datetime.now(UTC).isoformat(timespec="seconds"), **values})
        try:
            with (self.path / "log.jsonl").open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise DataError(f"{self.path / 'log.jsonl'} cannot be written: {error.strerror}. Free space.") from error

    def read_log(self, kind: str | None = None) -> Iterator[dict[str, Any]]:
        """The lines of log.jsonl; one that was cut off by a kill, or does not say where it belongs, is left out."""
        path = self.path / "log.jsonl"
        if not path.is_file():
            return
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                if _is_entry(entry) and (kind is None or entry["kind"] == kind):
                    yield entry

    def truncate_log(self, step: int, epoch: int) -> None:
        """Drop what a run that resumes at `step`, with `epoch` as its first open epoch, will write again.

        Steps at or after `step`, epochs at or after `epoch`, and a last line that was cut off. Events stay.
        """
        first = {"step": step, "epoch": epoch}
        kept = [e for e in self.read_log() if e["kind"] not in first or e[e["kind"]] < first[e["kind"]]]
        if (self.path / "log.jsonl").is_file():
            write_atomic(self.path / "log.jsonl", "".join(json.dumps(entry) + "\n" for entry in kept))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for this process alone; a lock ends with its process, however that ends.

        Raises:
            UsageError: another process trains this run.
        """
        with (self.path / ".lock").open("w") as file:
            try:
                flock(file, LOCK_EX | LOCK_NB)
            except BlockingIOError as error:
                raise UsageError(
                    f"The run {self.name} is being trained by another process. Wait for it, or stop it with Ctrl-C."
                ) from error
            yield


def all_runs(runs: Path) -> list[RunDir]:
    """Every run of a workspace, oldest first."""
    found = [RunDir(info.parent) for info in runs.glob("*/run.json")]
    return sorted(found, key=lambda run: (_created(run), run.name))


_PLACED = {"step": ("epoch", "step"), "epoch": ("epoch",), "event": ()}
"""Kind of a log line -> the numbers that say where it belongs."""


def _is_entry(entry: Any) -> bool:
    placed = _PLACED.get(str(entry.get("kind"))) if isinstance(entry, dict) else None
    return placed is not None and all(isinstance(entry.get(name), int) for name in placed)


def _created(run: RunDir) -> str:
    try:
        return run.info().created
    except CheckpointError:
        return ""  # a damaged run is still listed, before the others


_KINDS = {
    **dict.fromkeys(("model", "dataset", "label_order", "status", "created"), str),
    **dict.fromkeys(("flip", "multi_label"), bool),
    **dict.fromkeys(("splits", "stores", "best"), dict),
}
"""Field of run.json -> what it holds."""


def _checked(info: RunInfo) -> RunInfo:
    """Raises TypeError where a field of run.json holds something else than it should."""
    for name, kind in _KINDS.items():
        if not isinstance(getattr(info, name), kind):
            raise TypeError(f"{name} = {getattr(info, name)!r}")
    if not all(isinstance(text, str) for text in (*info.classes, *info.splits.values())):
        raise TypeError("classes or splits that are no text")
    if not all(isinstance(meta, dict) for meta in info.stores.values()):
        raise TypeError(f"stores = {info.stores!r}")
    if not all(isinstance(value, int | float) for value in info.best.values()):
        raise TypeError(f"best = {info.best!r}")
    return info


def _fields(info: RunInfo) -> dict[str, Any]:
    return {name: getattr(info, name) for name in RunInfo.__slots__}
