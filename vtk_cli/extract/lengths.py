"""How long clips are, as far as the catalog knows: what remaining time and disk are weighed with."""

from collections.abc import Mapping

from vtk_cli.catalog import CatalogRow

_FPS = 30.0
"""Of files that do not say; only the proportions of clips matter."""


def lengths(rows: Mapping[str, CatalogRow]) -> dict[str, float]:
    """Frames of each clip by id, about; one of unknown length has the mean of the others, or 1 if none is known."""
    known = {video_id: length for video_id, row in rows.items() if (length := _length(row))}
    mean = sum(known.values()) / len(known) if known else 1.0
    return {video_id: known.get(video_id, mean) for video_id in rows}


def _length(row: CatalogRow) -> float | None:
    """Frames that were counted, that a list counts, that the annotation's times or the file's header tell."""
    counted = row.probe.get("frames") or row.probe.get("listed_frames")
    if counted:
        return float(counted)
    fps = row.probe.get("fps") or _FPS
    if row.end_seconds is not None:
        return float((row.end_seconds - (row.start_seconds or 0)) * fps)
    seconds = row.probe.get("duration_seconds")
    return float((seconds - (row.start_seconds or 0)) * fps) if seconds else None
