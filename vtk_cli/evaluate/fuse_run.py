"""`vtk fuse`: from the runs and files that a user names to the scores of their weighted mean, and a run they lie in."""

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from vtk_cli.api.metrics import MetricSpec
from vtk_cli.console import say, warn
from vtk_cli.errors import UsageError
from vtk_cli.evaluate.foreign import sha256_of
from vtk_cli.evaluate.fuse import Aligned, align, search, shares, some
from vtk_cli.evaluate.fuse_inputs import beside, find_scores
from vtk_cli.evaluate.predict import installed_metrics, metrics
from vtk_cli.evaluate.scores_file import Kind, ScoresFile, read_scores_file, write_scores
from vtk_cli.run_dir import RunDir, RunInfo
from vtk_cli.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class FusionRequest:
    """What a user asked for."""

    streams: tuple[str, ...]
    """Runs, or scores files."""
    weights: tuple[float, ...] | None = None
    """None is equal weights, or those that are searched."""
    split: str | None = None
    """None is the split that each run was tested on."""
    kind: Kind | None = None
    """What is averaged; None is logits where every stream has them."""
    search: str | None = None
    """Split on which weights are searched."""
    optimistic: bool = False
    """Search also on videos that are reported."""
    common: bool = False
    """Fuse the videos that every stream has."""
    out: Path | None = None
    """The file to write; None is one of a run of the workspace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fusion:
    """A finished fusion."""

    path: Path
    """The .npz file."""
    summary: dict[str, Any]
    """What the .json file says."""
    run: RunDir | None


def run_fusion(workspace: Workspace, request: FusionRequest) -> Fusion:
    """Fuse, write the scores file, and say what was mapped or left out.

    Raises:
        UsageError: streams, weights or options do not go together.
        DataError: a scores file is absent or damaged, or a file cannot be written.
    """
    _check(request)
    files = [read_scores_file(find_scores(given, workspace, request.split)) for given in request.streams]
    _check_files(files, request.out)
    names = _names(files)
    aligned = align(files, names, kind=request.kind, common=request.common)
    _tell(aligned)
    searched = _searched(files, names, aligned, request)
    weights = request.weights or (searched and tuple(searched["weights"])) or (1.0,) * len(files)
    fused = aligned.fused(weights)
    specs = installed_metrics(several_labels=fused.labels.ndim == 2)
    run = None if request.out else RunDir(workspace.runs / _run_name(files, aligned, weights))
    summary = {
        **({"run": run.name} if run else {}),
        "dataset": files[0].dataset,
        "split": files[0].split,
        "videos": len(fused.ids),
        "left_out": files[0].left_out + aligned.left_out[0],
        "metrics": metrics(fused, specs),
        "protocol": {"fusion": _words(aligned, weights, searched)},
        "scores": aligned.kind,
        "fusion": {
            "streams": _streams(files, aligned, weights, workspace, specs),
            **({"search": searched} if searched else {}),
            "command": _command(files, names, aligned, weights, request),
        },
        "created": _now(),
    }
    if run:
        run.write_info(_info(files, aligned))
    path = run.scores / f"{files[0].split}.npz" if run else cast("Path", request.out)
    write_scores(path, aligned.classes, fused, summary)
    return Fusion(path=path, summary=summary, run=run)


def _check(request: FusionRequest) -> None:
    if len(request.streams) < 2:
        raise UsageError(f"Fusion takes two streams or more, found {len(request.streams)}. Name another run or file.")
    if request.weights is not None:
        shares(request.weights, len(request.streams))
        if request.search:
            raise UsageError("Weights are given or searched, found --weights and --search. Leave one out.")
    if request.optimistic and not request.search:
        raise UsageError("--optimistic is of a weight search, found no --search. Leave it out.")
    if request.out is not None and request.out.suffix != ".npz":
        raise UsageError(f"--out takes the name of a .npz file, found {request.out}. Give it that ending.")


def _check_files(files: Sequence[ScoresFile], out: Path | None) -> None:
    places = [file.path.resolve() for file in files]
    if len(set(places)) < len(places):
        twice = next(file.path for file, place in zip(files, places, strict=True) if places.count(place) > 1)
        raise UsageError(f"Each stream is named once, found {twice} twice. Give it a larger weight instead.")
    if out is not None and out.resolve() in places:
        raise UsageError(f"--out names a new file, found {out}, which is one of the streams. Choose another name.")


def _names(files: Sequence[ScoresFile]) -> list[str]:
    """What streams are called: their runs' names, else their paths."""
    names = [file.run.name if file.run else str(file.path) for file in files]
    return names if len(set(names)) == len(names) else [str(file.path) for file in files]


def _tell(aligned: Aligned) -> None:
    for name in aligned.reordered:
        say(f"{name}: its classes stand in another order than those of {aligned.names[0]} and were mapped by name.")
    if any(aligned.left_out):
        counts = ", ".join(f"{count} of {name}" for name, count in zip(aligned.names, aligned.left_out, strict=True))
        warn(f"{len(aligned.ids)} videos are common to all streams; left out: {counts}.")


def _searched(
    files: Sequence[ScoresFile], names: Sequence[str], aligned: Aligned, request: FusionRequest
) -> dict[str, Any] | None:
    """The weights found on the scores of another split of the same runs, with the curve; None where none is asked for.

    Raises:
        UsageError: that split has videos that are reported, and this was not asked for.
        DataError: a stream has no scores of that split.
    """
    if request.search is None:
        return None
    others = [read_scores_file(beside(file, request.search)) for file in files]
    tried = align(others, names, kind=aligned.kind, common=request.common)
    reported = set(aligned.ids)
    both = [id_ for id_ in tried.ids if id_ in reported]
    if both and not request.optimistic:
        raise UsageError(
            f"Weights should be searched on other videos than those that are reported, found {some(both)} of "
            f"{len(aligned.ids)} in both. Search on another split, or say --optimistic; the result is labelled so."
        )
    found = search(tried)
    return {
        "split": request.search,
        "videos": len(tried.ids),
        "metric": found.metric,
        "weights": list(found.best),
        "value": found.best_value,
        "optimistic": bool(both),
        "files": [{"file": str(other.path), "sha256": sha256_of(other.path)} for other in others],
        "curve": [{"weights": list(weights), found.metric: value} for weights, value in found.curve],
    }


def _run_name(files: Sequence[ScoresFile], aligned: Aligned, weights: Sequence[float]) -> str:
    """fused-<dataset>-<id>: the same for the same streams, weights and kind, whatever the split."""
    share_S = shares(weights, len(files)).round(9).tolist()
    streams = [file.run.name if file.run else str(file.path.absolute().parent) for file in files]
    key = json.dumps([aligned.kind, share_S, streams])
    return f"fused-{files[0].dataset}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def _info(files: Sequence[ScoresFile], aligned: Aligned) -> RunInfo:
    """The run of a fusion: what its streams' runs have in common, and the stores that any of them read."""
    infos = [file.run.info() for file in files if file.run]
    test = infos[0].splits.get("test") if infos else None
    return RunInfo(
        model="+".join(file.run.info().model if file.run else file.path.stem for file in files),
        dataset=files[0].dataset,
        classes=aligned.classes,
        label_order=infos[0].label_order if infos else "",
        flip=all(info.flip for info in infos),
        multi_label=aligned.labels.ndim == 2,
        splits={"test": test or files[0].split},
        stores={name: meta for info in infos for name, meta in info.stores.items()},
        status="finished",
        created=_now(),
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _words(aligned: Aligned, weights: Sequence[float], searched: dict[str, Any] | None) -> str:
    """The fusion in a sentence, for the report."""
    parts = ", ".join(f"{name} x {weight:g}" for name, weight in zip(aligned.names, weights, strict=True))
    said = f"weighted mean of {aligned.kind}: {parts}"
    if searched and searched["optimistic"]:
        return f"{said}; optimistic: the weights were searched on videos that are reported"
    return f"{said}; weights searched on {searched['split']}" if searched else said


def _streams(
    files: Sequence[ScoresFile],
    aligned: Aligned,
    weights: Sequence[float],
    workspace: Workspace,
    specs: Mapping[str, MetricSpec],
) -> list[dict[str, Any]]:
    """Where each stream is from, its weight, and what it is worth alone on the videos that are fused."""
    return [
        {
            "name": name,
            "reads": _reads(file),
            "file": _place(file.path, workspace),
            "sha256": sha256_of(file.path),
            "weight": weight,
            "scores": file.kind,
            "metrics": metrics(aligned.stream(number), specs),
        }
        for number, (file, name, weight) in enumerate(zip(files, aligned.names, weights, strict=True))
    ]


def _reads(file: ScoresFile) -> str:
    """The store that a stream's model looked at, which tells RGB from flow; empty of a stream that was fused itself."""
    protocol = file.summary.get("protocol")
    stated = protocol if isinstance(protocol, dict) else {}
    return str(stated.get("pictures") or stated.get("features") or "")


def _place(path: Path, workspace: Workspace) -> str:
    """Below the workspace as it lies there, so that the workspace can be moved; else absolute."""
    absolute = path.absolute()
    return str(absolute.relative_to(workspace.root) if absolute.is_relative_to(workspace.root) else absolute)


def _command(
    files: Sequence[ScoresFile],
    names: Sequence[str],
    aligned: Aligned,
    weights: Sequence[float],
    request: FusionRequest,
) -> str:
    """What makes the same numbers again from the same scores."""
    words = ["vtk", "fuse", *names, "--weights", ",".join(f"{weight:.12g}" for weight in weights)]
    words += ["--of", aligned.kind]
    if all(file.run for file in files):
        words += ["--split", files[0].path.stem]
    words += ["--common"] if request.common else []
    words += ["--out", str(request.out)] if request.out else []
    return shlex.join(words)
