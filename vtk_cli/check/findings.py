"""What is wrong with the clips of a dataset, judged from the catalog's rows and what was measured."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from vtk_cli.catalog import CatalogRow, Status
from vtk_cli.formats.kinetics import clip_seconds
from vtk_cli.formats.splitting import share_no_clip

Kind = Literal["missing", "broken", "damaged", "short", "leak", "duplicate", "store", "failed", "orphan"]
KINDS: Mapping[Kind, str] = {
    "missing": "the annotation names it, the clip is not here",
    "broken": "it cannot be decoded, or ends before its structure says",
    "damaged": "parts of it do not decode; the rest is used",
    "short": "fewer pictures than the header or the annotation says",
    "leak": "the same clip is in splits that should share none",
    "duplicate": "the same clip comes twice in a split",
    "store": "a record of a store is damaged or does not fit its clip",
    "failed": "it was not extracted",
    "orphan": "a store holds it, the catalog does not name it",
}
SHORT = 0.5
"""A clip of less than this part of its annotated seconds is short. Kinetics cuts many clips below their ten seconds."""
HEADER = 0.9
"""Less than this part of the header's frames is short; headers are wrong by one or two, and edit lists cut some."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong."""

    kind: Kind
    id: str
    path: str
    cause: str


def status_of(row: CatalogRow, there: bool, probe: Mapping[str, Any]) -> tuple[Status, str]:
    """The status that a clip deserves, with its cause."""
    if not there:
        if row.status in ("listed", "missing"):
            return row.status, row.cause
        return "missing", f"the file {row.path} is gone"
    if probe.get("error"):
        return "broken", str(probe["error"])
    if probe.get("truncated"):
        return "broken", f"the file is cut off: {probe['truncated']}"
    return "ready", ""


def clip_findings(row: CatalogRow, probe: Mapping[str, Any]) -> Iterator[Finding]:
    """What is wrong with one clip, by its (new) status and probe."""

    def finding(kind: Kind, cause: str) -> Finding:
        return Finding(kind=kind, id=row.id, path=row.path, cause=cause)

    if row.status in ("missing", "listed"):
        yield finding("missing", row.cause or "it was not fetched yet; run `vtk download` again")
    elif row.status == "broken":
        yield finding("broken", row.cause)
    else:
        bad, corrupt = probe.get("bad_packets", 0), probe.get("corrupt_frames", 0)
        if bad or corrupt:
            yield finding("damaged", f"{bad} packets without picture, {corrupt} pictures with errors")
        cause = shortness(row, probe)
        if cause:
            yield finding("short", cause)


def shortness(row: CatalogRow, probe: Mapping[str, Any]) -> str:
    """In which way a clip is shorter than it should be; empty if it is not.

    Lists count N or, as TSN's do, N-1 of a clip's N frames: only less than they count is short.
    """
    frames, fps = probe.get("frames"), probe.get("fps")
    listed, header = probe.get("listed_frames"), probe.get("header_frames")
    if frames is not None and listed is not None and frames < listed:
        return f"it has {frames} frames where the list says {listed}"
    cut = row.start_seconds is not None or row.end_seconds is not None
    if frames is not None and header is not None and not cut and frames < HEADER * header - 2:
        return f"{frames} frames decode where the header says {header}"
    seconds = frames / fps if frames and fps else None if cut else probe.get("duration_seconds")
    wanted = annotated_seconds(row)
    if seconds is not None and wanted and seconds < SHORT * wanted:
        return f"it lasts {seconds:.1f} s where the annotation says {wanted:g} s"
    return ""


def annotated_seconds(row: CatalogRow) -> float | None:
    """How long a clip should last: the part that is cut from its file, or what a name as Kinetics' says."""
    if row.end_seconds is not None:
        return row.end_seconds - (row.start_seconds or 0)
    named = clip_seconds(PurePosixPath(row.path).stem)
    return float(named[2] - named[1]) if named else None


def same_content(rows: Sequence[CatalogRow], probes: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    """Clips whose files hold the same bytes (and of which the same part is meant), each against the first of them."""
    groups: dict[tuple[Any, ...], list[CatalogRow]] = defaultdict(list)
    for row in rows:
        digest = probes[row.id].get("sha256")
        if digest:
            groups[digest, row.start_seconds, row.end_seconds].append(row)
    for first, *others in groups.values():
        for other in others:
            leaking = [(a, b) for a in first.splits for b in other.splits if share_no_clip(a, b)]
            kind: Kind = "leak" if leaking else "duplicate"
            where = f" ({leaking[0][0]}, here {leaking[0][1]})" if leaking else ""
            labels = "" if first.labels == other.labels else "; their classes differ"
            cause = f"the same bytes as {first.id}{where}{labels}"
            yield Finding(kind=kind, id=other.id, path=other.path, cause=cause)


def balance(rows: Iterable[CatalogRow], classes: Sequence[str]) -> dict[str, Any]:
    """How many clips the classes have: fewest, most, and those without any."""
    counts = Counter(label for row in rows for label in row.labels)
    if not counts:
        return {"classes": len(classes), "labelled": False}
    numbers = {name: counts[number] for number, name in enumerate(classes)}
    used = {name: count for name, count in numbers.items() if count}
    fewest, most = min(used, key=lambda n: (used[n], n)), min(used, key=lambda n: (-used[n], n))
    return {
        "classes": len(classes),
        "labelled": True,
        "fewest": {"class": fewest, "clips": used[fewest]},
        "most": {"class": most, "clips": used[most]},
        "empty": [name for name, count in numbers.items() if not count],
    }
