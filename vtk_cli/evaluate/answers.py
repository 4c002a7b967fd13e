"""What `vtk predict` says of each file or window."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtk_cli.console import warn
from vtk_cli.errors import DataError
from vtk_cli.evaluate.classifier import Classifier, Prediction
from vtk_cli.evaluate.files import Windows, clips_of
from vtk_cli.loader.source import load_decoder


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The classes of one file or window, or why there are none."""

    path: Path
    start_seconds: float | None = None
    end_seconds: float | None = None
    prediction: Prediction
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        times = {"start_seconds": self.start_seconds, "end_seconds": self.end_seconds}
        found = {"path": str(self.path)} | {key: round(t, 3) for key, t in times.items() if t is not None}
        if self.error:
            return {**found, "error": self.error}
        return {**found, "predictions": [{"class": name, "probability": p} for name, p in self.prediction]}


def answers(
    classifier: Classifier, videos: Iterable[Path], windows: Windows | None, *, top: int, decoder: str = "pyav"
) -> Iterator[Answer]:
    """One answer per file or window; a file that cannot be read gives one with its error, and the rest goes on."""
    reader = load_decoder(decoder)
    for path in videos:
        try:
            for clip in clips_of(path, windows, reader):
                prediction = classifier.predict_clip(clip, top=top)
                yield Answer(
                    path=path, start_seconds=clip.start_seconds, end_seconds=clip.end_seconds, prediction=prediction
                )
        except DataError as error:
            yield Answer(path=path, prediction=[], error=str(error))


def show(answer: Answer, *, as_json: bool) -> None:
    """Print an answer at once: a line of JSON, or a few of text."""
    if as_json:
        print(json.dumps(answer.to_json(), ensure_ascii=False), flush=True)
    if answer.error:
        warn(answer.error if str(answer.path) in answer.error else f"{answer.path}: {answer.error}")
        return
    if not as_json:
        when = "" if answer.start_seconds is None else f"  {answer.start_seconds:.1f} s to {answer.end_seconds:.1f} s"
        print(f"{answer.path}{when}")
        for name, probability in answer.prediction:
            print(f"  {probability:7.2%}  {name}", flush=True)
