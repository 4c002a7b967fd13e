"""The report of a run: one HTML file that needs nothing but itself."""

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from vtk_cli.console import duration
from vtk_cli.errors import CheckpointError
from vtk_cli.files import write_atomic
from vtk_cli.report import summary
from vtk_cli.report.clips import clips_section
from vtk_cli.report.confusion import MOST_NUMBERED, ClassResult, confused_pairs, confusion, matrix, per_class
from vtk_cli.report.curves import curves_section
from vtk_cli.report.details import configuration_section, environment_section, reproduce_section
from vtk_cli.report.fusion import fusion_of, fusion_section
from vtk_cli.report.markup import Html, join, tag
from vtk_cli.report.parts import bar, heading, missing, percent, section, table
from vtk_cli.report.scores import TestScores, read_scores
from vtk_cli.run_dir import RunDir, RunInfo
from vtk_cli.workspace import DatasetDir, Workspace

PAIRS = 10
"""Most confused pairs listed."""
METRIC_NAMES = {"top1": "top-1", "top5": "top-5", "mean_class": "mean class accuracy", "map": "mean average precision"}


def write_report(run: RunDir, workspace: Workspace) -> int:
    """Write <run>/report.html, whole or not at all; returns its size in bytes.

    Raises:
        CheckpointError: run.json is damaged.
        DataError: the file cannot be written.
    """
    page = render(run, workspace).encode()
    write_atomic(run.report, page)
    return len(page)


def render(run: RunDir, workspace: Workspace) -> str:
    """The whole page."""
    info = run.info()
    try:
        tests, damage = read_scores(run, info), ""
    except CheckpointError as error:
        tests, damage = [], str(error)
    shown = (tests[0].dataset if tests else None) or info.dataset
    dataset = DatasetDir(workspace.root / shown) if shown in workspace.datasets() else None
    fusion = fusion_of(tests[0]) if tests else None
    body = [
        _head(run, info, tests),
        curves_section(run) if fusion is None else fusion_section(tests[0], fusion, METRIC_NAMES),
        *_test_sections(info, tests, damage, dataset),
        *([configuration_section(run), environment_section(run)] if fusion is None else []),
        reproduce_section(run, info, [test.split for test in tests], fusion),
        tag("footer", "Written by vtk report. This file needs no network and no other file."),
    ]
    return _document(f"{info.model} on {info.dataset}", body)


def _document(title: str, body: Sequence[Html]) -> str:
    resources = files("vtk_cli.report")
    style, script = (resources.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    head = join(
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("title", f"{title} · vtk"),
        tag("style", Html(style)),
    )
    page = tag("html", tag("head", head), tag("body", tag("main", *body), tag("script", Html(script))), lang="en")
    return f"<!doctype html>\n{page}\n"


def _head(run: RunDir, info: RunInfo, tests: Sequence[TestScores]) -> Html:
    created = info.created.replace("T", " ").removesuffix("+00:00")
    anchors = {
        "curves": "Training", "confusion": "Confusions", "classes": "Classes", "clips": "Sample clips",
        "configuration": "Configuration", "environment": "Environment", "reproduce": "Make it again",
    }  # fmt: skip
    if tests and fusion_of(tests[0]):
        anchors = {"streams": "Streams"} | {key: anchors[key] for key in ("confusion", "classes", "clips", "reproduce")}
    if not tests:
        anchors = {key: title for key, title in anchors.items() if key not in ("confusion", "classes", "clips")}
    return tag(
        "header",
        tag("p", "Fusion report" if tests and fusion_of(tests[0]) else "Training report", class_="eyebrow"),
        tag("h1", info.model, tag("small", " on "), info.dataset),
        tag(
            "p",
            tag("span", info.status, class_=f"badge {info.status}"),
            " ",
            tag("span", run.name, class_="mono"),
            f" · started {created} UTC" if created else None,
            class_="meta",
        ),
        tag("nav", *(tag("a", title, href=f"#{key}") for key, title in anchors.items())),
        tag("div", *_tiles(run, info, tests), class_="tiles"),
    )


def _tiles(run: RunDir, info: RunInfo, tests: Sequence[TestScores]) -> list[Html]:
    tiles = []
    if tests:
        first = tests[0]
        for name, value in first.metrics.items():
            note = f"{first.split}, {len(first.ids)} clips" if name == "top1" else None
            tiles.append(_tile(METRIC_NAMES.get(name, name), percent(value), note, main=name == "top1"))
    best = summary.best_val_top1(run, info)
    if best is not None:
        epoch = info.best.get("epoch")
        tiles.append(
            _tile("validation top-1", percent(best), f"best, epoch {epoch + 1:.0f}" if epoch is not None else "best")
        )
    tiles.append(_tile("classes", str(len(info.classes)), f"chance {100 / len(info.classes):.3g} %"))
    if tests and fusion_of(tests[0]):
        return tiles
    count = summary.parameters(run)
    tiles.append(_tile("parameters", _millions(count) if count else "?", None if count else "no checkpoint"))
    seconds = summary.trained_seconds(run)
    tiles.append(_tile("training time", duration(seconds) if seconds else "?", _epochs(run)))
    return tiles


def _epochs(run: RunDir) -> str:
    found = summary.summarise(run)
    return f"{found.epochs_done} of {found.epochs} epochs" if found.epochs else f"{found.epochs_done} epochs"


def _millions(count: int) -> str:
    return f"{count / 1e6:.1f}\u00a0M" if count >= 1_000_000 else f"{count / 1e3:.1f}\u00a0k"


def _tile(name: str, value: str, note: str | None, *, main: bool = False) -> Html:
    figure, space, unit = value.rpartition("\u00a0")
    shown = join(figure, tag("small", space + unit)) if space else join(value)
    return tag(
        "div",
        tag("b", shown),
        tag("span", name),
        tag("em", note) if note else None,
        class_="tile main" if main else "tile",
    )


def _test_sections(info: RunInfo, tests: Sequence[TestScores], damage: str, dataset: DatasetDir | None) -> list[Html]:
    if damage:
        return [section("test", "Test", missing(damage))]
    if not tests:
        gives = " adds accuracy, confusions, the table of classes and sample clips to this report."
        return [section("test", "Test", missing("This run has not been tested yet. ", tag("code", "vtk test"), gives))]
    test = tests[0]
    if test.labels.ndim > 1:
        several = "Clips of this dataset have several labels; confusions, classes and clips need one label per clip."
        return [section("test", "Test", _protocol(tests), missing(several))]
    counts_KK = confusion(test.labels, test.predicted_B, len(info.classes))
    return [
        section("test", "Test", _protocol(tests)),
        _confusion_section(counts_KK, info.classes),
        _classes_section(per_class(counts_KK), info.classes),
        clips_section(test, info.classes, dataset, list(info.stores)),
    ]


def _protocol(tests: Sequence[TestScores]) -> Html:
    """Metrics of every tested split with what was averaged."""
    names = list(dict.fromkeys(name for test in tests for name in test.metrics))
    headings = [heading("split"), heading("clips", numeric=True)]
    headings += [heading(METRIC_NAMES.get(name, name), numeric=True) for name in names]
    rows = [
        tag(
            "tr",
            tag("td", test.split),
            tag("td", len(test.ids), class_="n"),
            *(tag("td", percent(test.metrics.get(name)), class_="n") for name in names),
        )
        for test in tests
    ]
    protocols = [tag("p", f"{test.split}: {test.protocol}", class_="note") for test in tests if test.protocol]
    return join(table(headings, rows), *protocols)


def _confusion_section(counts_KK: NDArray[np.int64], classes: tuple[str, ...]) -> Html:
    pairs = [
        tag("tr", tag("td", classes[row]), tag("td", classes[column]), tag("td", count, class_="n"))
        for row, column, count in confused_pairs(counts_KK, PAIRS)
    ]
    headings = [heading("is"), heading("taken for"), heading("clips", numeric=True)]
    listed = table(headings, pairs) if pairs else tag("p", "No clip was taken for another class.", class_="note")
    words = "Rows: what the clip is. Columns: what it was taken for. Shading: share of the row."
    return section(
        "confusion",
        "What is taken for what",
        tag(
            "div",
            tag("div", matrix(counts_KK, classes), tag("p", words, class_="note")),
            tag("div", tag("h3", "Most often confused"), listed, class_="pairs"),
            class_="split" if len(classes) <= MOST_NUMBERED else None,
        ),
    )


def _classes_section(results: Sequence[ClassResult], classes: tuple[str, ...]) -> Html:
    headings = [heading("class", sortable=True), heading("clips", numeric=True, sortable=True)]
    headings += [heading("accuracy", numeric=True, sortable=True), heading("most often taken for", sortable=True)]
    return section(
        "classes", "Class by class", tag("div", table(headings, [_class(r, classes) for r in results]), class_="scroll")
    )


def _class(result: ClassResult, classes: tuple[str, ...]) -> Html:
    accuracy = result.accuracy
    shown = percent(None) if accuracy is None else join(bar(accuracy), tag("span", percent(accuracy), class_="value"))
    taken = "" if result.confused_with is None else f"{classes[result.confused_with]} ({result.confused})"
    return tag(
        "tr",
        tag("td", classes[result.number]),
        tag("td", result.count, class_="n", data_key=result.count),
        tag("td", shown, class_="n", data_key=-1.0 if accuracy is None else accuracy),
        tag("td", taken),
    )
