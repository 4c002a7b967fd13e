"""Of a run that `vtk fuse` made: what each stream is worth alone, and its weight."""

from collections.abc import Mapping
from typing import Any

from vtk_cli.report.markup import Html, tag
from vtk_cli.report.parts import heading, percent, section, table
from vtk_cli.report.scores import TestScores

STREAM = {"name": str, "reads": str, "file": str, "sha256": str, "weight": (int, float), "metrics": dict}
SEARCH = {"split": str, "videos": int, "weights": list, "curve": list, "optimistic": bool}
"""Key -> what it holds."""


def fusion_of(test: TestScores) -> Mapping[str, Any] | None:
    """What `vtk fuse` wrote of the streams of a split; None of a split that was tested, and of a damaged file."""
    found = test.summary.get("fusion")
    if not isinstance(found, dict) or not _holds(found, {"streams": list, "command": str}):
        return None
    whole = all(_holds(one, STREAM) for one in found["streams"])
    return found if whole and ("search" not in found or _holds(found["search"], SEARCH)) else None


def _holds(found: Any, kinds: Mapping[str, Any]) -> bool:
    return isinstance(found, dict) and all(isinstance(found.get(key), kind) for key, kind in kinds.items())


def fusion_section(test: TestScores, fusion: Mapping[str, Any], titles: Mapping[str, str]) -> Html:
    """The streams of one split and what they come to together; `titles`: metric -> how it is called."""
    names = list(test.metrics)
    headings = [heading("stream"), heading("reads"), heading("weight", numeric=True)]
    headings += [heading(titles.get(name, name), numeric=True) for name in names]
    rows = [_row(one["name"], one["reads"], one["weight"], one["metrics"], names) for one in fusion["streams"]]
    rows.append(_row("fused", "", None, test.metrics, names))
    sources = [tag("p", one["file"], " · sha256 ", one["sha256"][:12], class_="note") for one in fusion["streams"]]
    return section("streams", f"Streams, {test.split}", table(headings, rows), *sources, *_searched(fusion))


def _row(name: str, reads: str, weight: float | None, metrics: Mapping[str, float], shown: list[str]) -> Html:
    numbers = [tag("td", percent(metrics.get(metric)), class_="n") for metric in shown]
    share = tag("td", "" if weight is None else f"{weight:g}", class_="n")
    return tag("tr", tag("td", name), tag("td", reads, class_="mono"), share, *numbers)


def _searched(fusion: Mapping[str, Any]) -> list[Html]:
    found = fusion.get("search")
    if not found:
        return []
    ratio = ":".join(f"{weight:g}" for weight in found["weights"])
    said = f"The weights {ratio} are the best of {len(found['curve'])} on {found['videos']} videos of {found['split']}."
    flattered = " Some of those are reported here, so these numbers are optimistic." if found["optimistic"] else ""
    return [tag("p", said + flattered, class_="note")]
