"""The scores of a split on disk, which `vtk test` and `vtk fuse` write and `vtk report` and `vtk fuse` read.

    <name>.npz                ids_B, scores_BK (float32), labels (labels_B, or 0/1 labels_BK), classes_K
    <name>.json               metrics, protocol, which split of which dataset, what the scores are, what was left out
    <name>.activitynet.json   the ActivityNet server's result format, the best 20 classes of each video

B videos  K classes
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any, Literal, cast, get_args
from zipfile import BadZipFile
from zlib import error as ZlibError  # noqa: N812  it is a class

import numpy as np
from numpy.typing import NDArray

from vtk_cli.errors import CheckpointError
from vtk_cli.evaluate.predict import Scores
from vtk_cli.files import write_atomic
from vtk_cli.run_dir import RunDir

BEST_CLASSES = 20
"""Of each video in the ActivityNet result; its servers look at fewer."""

Kind = Literal["logits", "probabilities"]

DAMAGED = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, MemoryError, RuntimeError, SyntaxError),
    *(BadZipFile, ZlibError, TokenError),
)
"""What numpy, zipfile and json raise of files that are absent, cut off or none of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoresFile:
    """What a scores file says."""

    path: Path
    """The .npz file."""
    scores: Scores
    classes: tuple[str, ...]
    """In the order of the scores."""
    kind: Kind
    """What the scores are: what was averaged over a video's views, or over fused streams."""
    metrics: Mapping[str, float]
    """Shares in [0, 1] by name."""
    summary: Mapping[str, Any]
    """The .json file, `metrics` among the rest."""

    @property
    def dataset(self) -> str:
        return str(self.summary.get("dataset", ""))

    @property
    def split(self) -> str:
        return str(self.summary.get("split", self.path.stem))

    @property
    def left_out(self) -> int:
        """Videos of the split that could not be scored."""
        return int(self.summary.get("left_out") or 0)

    @property
    def run(self) -> RunDir | None:
        """The run whose scores these are; None for a file that lies elsewhere."""
        run = RunDir(self.path.absolute().parent.parent)
        return run if run.scores == self.path.absolute().parent and (run.path / "run.json").is_file() else None

    @property
    def probability_BK(self) -> NDArray[np.float64]:
        """The scores as probabilities."""
        return probabilities(self.scores.scores_BK, self.kind, multi_label=self.scores.labels.ndim == 2)


def probabilities(scores_BK: NDArray[np.float64], kind: Kind, *, multi_label: bool = False) -> NDArray[np.float64]:
    """Scores as probabilities: logits through a softmax, of several labels per video through a sigmoid.

    >>> probabilities(np.array([[0.0, np.log(3)]]), "logits").round(3).tolist()
    [[0.25, 0.75]]
    >>> probabilities(np.array([[0.0, np.log(3)]]), "logits", multi_label=True).round(3).tolist()
    [[0.5, 0.75]]
    """
    if kind == "probabilities":
        return scores_BK
    if multi_label:
        half: NDArray[np.float64] = 0.5 * (1 + np.tanh(0.5 * scores_BK))  # the sigmoid, which exp would let overflow
        return half
    raised = np.exp(scores_BK - scores_BK.max(axis=1, keepdims=True))
    result: NDArray[np.float64] = raised / raised.sum(axis=1, keepdims=True)
    return result


def write_scores(path: Path, classes: Sequence[str], scores: Scores, summary: Mapping[str, Any]) -> None:
    """The three files; the .json last, so that it speaks of files that are there.

    `summary["scores"]` says what the scores are.

    Raises:
        DataError: a file cannot be written.
    """
    arrays = io.BytesIO()
    np.savez_compressed(
        arrays,
        ids=np.array(scores.ids),
        scores_BK=scores.scores_BK.astype(np.float32),
        labels=scores.labels,
        classes=np.array(classes),
    )
    write_atomic(path, arrays.getvalue())
    result = activitynet(classes, scores, summary["scores"])
    write_atomic(path.with_suffix(".activitynet.json"), json.dumps(result, ensure_ascii=False) + "\n")
    write_atomic(path.with_suffix(".json"), json.dumps(summary, indent=1, ensure_ascii=False) + "\n")


def activitynet(classes: Sequence[str], scores: Scores, kind: Kind) -> dict[str, Any]:
    """ActivityNet's result format; all three of its keys are needed by the official scripts."""
    probability_BK = probabilities(scores.scores_BK, kind, multi_label=scores.labels.ndim == 2)
    best_BK = np.argsort(-probability_BK, axis=1, kind="stable")[:, :BEST_CLASSES]
    results = {
        id_: [{"label": classes[number], "score": round(float(of_K[number]), 6)} for number in best_K]
        for id_, of_K, best_K in zip(scores.ids, probability_BK, best_BK, strict=True)
    }
    return {"version": "VERSION 1.3", "results": results, "external_data": {"used": False, "details": ""}}


def read_scores_file(path: Path) -> ScoresFile:
    """A scores file with the .json beside it; nothing in them is executed.

    Files of before the class names were written into them have those of the run they lie in.

    Raises:
        CheckpointError: one of the two is absent, damaged, or does not fit the other.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            ids, scores_BK, labels = arrays["ids"], arrays["scores_BK"], arrays["labels"]
            stated = arrays["classes"] if "classes" in arrays.files else None
        summary = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        kind = summary.get("scores", "logits")
        metrics = {name: float(value) for name, value in summary["metrics"].items()}
        classes = _classes_of_run(path) if stated is None else _names(stated, "classes")
        scores = Scores(_names(ids, "ids"), _numbers(scores_BK, "f", np.float64), _numbers(labels, "iu", np.int64))
        _check(scores, classes, kind)
    except CheckpointError:
        raise
    except DAMAGED as error:
        raise CheckpointError(
            f"{path} and its .json should hold the scores of a test, found: {error or type(error).__name__}. Run "
            "`vtk test` again."
        ) from error
    return ScoresFile(path=path, scores=scores, classes=classes, kind=kind, metrics=metrics, summary=summary)


def _classes_of_run(path: Path) -> tuple[str, ...]:
    run = RunDir(path.absolute().parent.parent)
    if not (run.path / "run.json").is_file():
        raise ValueError("no class names, and no run.json two folders above that has them")
    return run.info().classes


def _names(found: NDArray[Any], what: str) -> tuple[str, ...]:
    if found.ndim != 1 or found.dtype.kind != "U":
        raise ValueError(f"{what} of shape {found.shape} and type {found.dtype}")
    names = tuple(cast("list[str]", found.tolist()))
    if len(set(names)) < len(names):
        raise ValueError(f"{what} of which some come twice")
    return names


def _numbers(found: NDArray[Any], kinds: str, dtype: type[Any]) -> NDArray[Any]:
    if found.dtype.kind not in kinds:
        raise ValueError(f"numbers of type {found.dtype}")
    return found.astype(dtype)


def _check(scores: Scores, classes: tuple[str, ...], kind: str) -> None:
    num_ids, num_classes, labels = len(scores.ids), len(classes), scores.labels
    if kind not in get_args(Kind):
        raise ValueError(f"scores that are {kind!r}")
    if scores.scores_BK.shape != (num_ids, num_classes):
        raise ValueError(f"scores of shape {scores.scores_BK.shape} for {num_ids} clips and {num_classes} classes")
    if labels.shape not in ((num_ids,), scores.scores_BK.shape):
        raise ValueError(f"labels of shape {labels.shape} for {num_ids} clips")
    most = num_classes if labels.ndim == 1 else 2
    if labels.size and not 0 <= labels.min() <= labels.max() < most:
        raise ValueError(f"labels from {labels.min()} to {labels.max()}, not below {most}")
