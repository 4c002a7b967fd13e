"""Sample clips: which ones are worth looking at, and how they are shown."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from vtk_cli.report.markup import Html, join, tag
from vtk_cli.report.parts import bar, missing, percent, section
from vtk_cli.report.pictures import ClipPictures, Strip, colour_wheel
from vtk_cli.report.scores import TestScores
from vtk_cli.workspace import DatasetDir

RIGHT, WRONG = 4, 8
"""Clips shown of each kind."""
GUESSES = 3


@dataclass(frozen=True, slots=True)
class Sample:
    """One clip to show."""

    number: int
    """Row of the scores."""
    id: str
    right: bool


def choose(test: TestScores, prefer: Callable[[str], bool] = lambda _id: False) -> list[Sample]:
    """The surest wrong clips first, then right ones of different classes, each of middling confidence in its class.

    Of the right ones, those whose id is preferred are chosen from where a class has any.
    """
    right_B = test.predicted_B == test.labels
    confidence_B = test.confidence_B
    wrong = sorted(np.flatnonzero(~right_B).tolist(), key=lambda b: (-confidence_B[b], test.ids[b]))[:WRONG]
    classes = [k for k in np.unique(test.labels) if np.any(right_B & (test.labels == k))]
    spread = [classes[i * len(classes) // RIGHT] for i in range(RIGHT)] if len(classes) > RIGHT else classes
    typical: list[int] = []
    for k in spread:
        every = np.flatnonzero(right_B & (test.labels == k)).tolist()
        preferred = [b for b in every if prefer(test.ids[b])]
        clips = sorted(preferred or every, key=lambda b: (confidence_B[b], test.ids[b]))
        typical.append(clips[len(clips) // 2])
    return [Sample(b, test.ids[b], right=b in typical) for b in [*typical, *wrong]]


@dataclass(frozen=True, slots=True)
class _Shown:
    """A sample with its pictures; `flow` is None where the dataset has no flow store."""

    sample: Sample
    frames: Strip
    flow: Strip | None


def clips_section(
    test: TestScores, classes: Sequence[str], dataset: DatasetDir | None, preferred: Sequence[str]
) -> Html:
    """Strips of sample clips with what was predicted; in words what could not be shown."""
    if dataset is None:
        absent = Strip([], "the dataset is not in this workspace")
        shown = [_Shown(sample, absent, None) for sample in choose(test)]
    else:
        with ClipPictures(dataset, preferred) as pictures:
            samples = choose(test, prefer=pictures.has_flow)
            shown = [_Shown(sample, pictures.frames(sample.id), pictures.flow(sample.id)) for sample in samples]
    right = [_card(one, test, classes) for one in shown if one.sample.right]
    wrong = [_card(one, test, classes) for one in shown if not one.sample.right]
    total, num_right = len(test.ids), int(np.sum(test.predicted_B == test.labels))
    return section(
        "clips",
        "Sample clips",
        *_remarks(shown),
        *_group(f"Wrong, the surest first ({_of(len(wrong), total - num_right)})", wrong, "No clip was wrong."),
        *_group(f"Right ({_of(len(right), num_right)})", right, "No clip was right."),
    )


def _remarks(shown: Sequence[_Shown]) -> Iterable[Html]:
    """What is not shown and why, once for all clips; and the key to the colours of flow."""
    without = [one.frames.reason for one in shown if not one.frames.images]
    if without:
        yield missing(f"There are no pictures of {len(without)} of these {len(shown)} clips: {without[0]}")
    if any(one.flow and one.flow.images for one in shown):
        wheel = tag("img", src=colour_wheel(), alt="Colours of directions", class_="wheel")
        text = "Second strip: optical flow. Colour is the direction of motion as on the wheel, strength its speed."
        yield tag("p", wheel, text, class_="note")
    else:
        yield tag("p", "There is no stored flow of these clips, so none is shown.", class_="note")


def _of(shown: int, total: int) -> str:
    return f"{shown} of {total}" if shown < total else f"all {total}" if total else "none"


def _group(title: str, cards: Sequence[Html], empty: str) -> Iterable[Html]:
    yield tag("h3", title)
    yield tag("div", *cards, class_="clips") if cards else tag("p", empty, class_="note")


def _card(shown: _Shown, test: TestScores, classes: Sequence[str]) -> Html:
    sample = shown.sample
    truth = int(test.labels[sample.number])
    return tag(
        "article",
        tag("header", tag("span", "is ", tag("b", classes[truth])), tag("span", sample.id, class_="note mono")),
        _strip(shown.frames, f"frames of {sample.id}"),
        _strip(shown.flow, f"flow of {sample.id}") if shown.flow else None,
        _guesses(test, sample.number, truth, classes),
        class_="clip" if sample.right else "clip bad",
    )


def _strip(strip: Strip, alt: str) -> Html | None:
    if not strip.images:
        return None
    images = [tag("img", src=uri, alt=f"{alt}, {i + 1} of {len(strip.images)}") for i, uri in enumerate(strip.images)]
    return tag("div", *images, class_="strip")


def _guesses(test: TestScores, number: int, truth: int, classes: Sequence[str]) -> Html:
    probability_K = test.probability_BK[number]
    best = [int(k) for k in np.argsort(-probability_K, kind="stable")[:GUESSES]]
    rows = best if truth in best else [*best, truth]
    lines = [
        join(
            tag("dt", classes[k], class_="truth" if k == truth else None),
            tag("dd", bar(float(probability_K[k]), bad=k != truth)),
            tag("dd", percent(float(probability_K[k]))),
        )
        for k in rows
    ]
    return tag("dl", *lines, class_="guesses")
