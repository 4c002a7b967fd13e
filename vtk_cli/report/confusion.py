"""What was taken for what: counts, the pairs most often confused, and a picture that stays legible for 400 classes."""

import base64
import json
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vtk_cli.report.charts import ticks
from vtk_cli.report.markup import Html, join, tag

MOST_DRAWN = 60
"""Up to so many classes every cell is drawn and named; beyond, the matrix is a picture that says what one points at."""
MOST_NUMBERED = 24
"""Up to so many classes the counts stand in the cells."""


@dataclass(frozen=True, slots=True)
class ClassResult:
    """One class in a test."""

    number: int
    count: int
    """Clips of this class."""
    right: int
    confused_with: int | None
    """The class that its wrong clips were most often taken for; None if none was wrong."""
    confused: int
    """How many were taken for it."""

    @property
    def accuracy(self) -> float | None:
        """In [0, 1]; None where the class has no clip."""
        return self.right / self.count if self.count else None


def confusion(labels_B: NDArray[np.int64], predicted_B: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """counts_KK: row = the clip's class, column = the predicted class."""
    flat = np.bincount(labels_B * num_classes + predicted_B, minlength=num_classes**2)
    return flat.reshape(num_classes, num_classes)


def per_class(counts_KK: NDArray[np.int64]) -> list[ClassResult]:
    """One line for each class, in label order."""
    results = []
    for k, row in enumerate(counts_KK):
        wrong = row.copy()
        wrong[k] = 0
        worst = int(wrong.argmax())
        most = int(wrong[worst])
        results.append(ClassResult(k, int(row.sum()), int(row[k]), worst if most else None, most))
    return results


def confused_pairs(counts_KK: NDArray[np.int64], most: int) -> list[tuple[int, int, int]]:
    """(class, taken for, how often), the most frequent first."""
    wrong = counts_KK.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [(int(flat // len(wrong)), int(flat % len(wrong))) for flat in order]
    return [(row, column, int(wrong[row, column])) for row, column in pairs if wrong[row, column]]


def matrix(counts_KK: NDArray[np.int64], classes: tuple[str, ...]) -> Html:
    """The matrix, each row shaded by its share of the class's clips."""
    share_KK = counts_KK / np.maximum(counts_KK.sum(axis=1, keepdims=True), 1)
    if len(classes) <= MOST_DRAWN:
        return _drawn(counts_KK, share_KK, classes)
    return _pictured(counts_KK, share_KK, classes)


def _drawn(counts_KK: NDArray[np.int64], share_KK: NDArray[np.float64], classes: tuple[str, ...]) -> Html:
    num = len(classes)
    numbered = num <= MOST_NUMBERED
    cell = 58 if num <= 6 else 30 if numbered else 16
    font, angle = (13.0, -45) if numbered else (10.5, -90)
    margin = min(200.0, max(len(_short(name)) for name in classes) * font * 0.6 + 14)
    parts: list[Html] = []
    for i, name in enumerate(classes):
        middle = (i + 0.5) * cell + font / 3
        parts.append(_label(name, margin - 6, middle, font, angle=0))
        parts.append(_label(name, margin + middle, num * cell + 8, font, angle=angle))
    for row, column in np.argwhere(counts_KK):
        count, share = int(counts_KK[row, column]), float(share_KK[row, column])
        text = str(count) if numbered else None
        box = _cell(margin + column * cell, row * cell, cell, share, right=row == column, text=text)
        parts.append(tag("g", tag("title", _sentence(classes, row, column, count, share)), box))
    width, height = margin + num * cell + 8, num * cell + margin * (0.72 if numbered else 1.0) + font
    return tag(
        "svg",
        tag("title", "Confusion matrix: rows are the true classes, columns the predicted ones"),
        *parts,
        tag("rect", x=margin, y=0, width=num * cell, height=num * cell, class_="frame"),
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        style=f"max-width:{width:.0f}px",
        role="img",
        class_="matrix",
    )


def _label(name: str, x: float, y: float, font: float, *, angle: int) -> Html:
    turn = f"rotate({angle} {x:.1f} {y:.1f})" if angle else None
    place = {"x": round(x, 1), "y": round(y, 1)}
    size = f"font-size:{font:g}px"
    return tag("text", _short(name), tag("title", name), class_="tick end", style=size, transform=turn, **place)


def _cell(x: float, y: float, side: int, share: float, *, right: bool, text: str | None) -> Html:
    opacity = round(0.08 + 0.92 * share, 3)
    kind = "right" if right else "wrong"
    box = tag("rect", x=x, y=y, width=side, height=side, class_=kind, fill_opacity=opacity)
    if text is None:
        return box
    strong = "count strong" if share > 0.55 else "count"
    return join(box, tag("text", text, x=x + side / 2, y=y + side / 2 + 4, class_=strong))


def _sentence(classes: tuple[str, ...], row: int, column: int, count: int, share: float) -> str:
    taken = "recognised" if row == column else f"taken for {classes[column]}"
    return f"{classes[row]}: {count} ({share:.0%}) {taken}"


def _short(name: str, most: int = 26) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def _pictured(counts_KK: NDArray[np.int64], share_KK: NDArray[np.float64], classes: tuple[str, ...]) -> Html:
    """One pixel per cell, enlarged by the browser; page.js names the cell under the mouse from the sparse counts."""
    num = len(classes)
    sparse = [[int(r), int(c), int(counts_KK[r, c])] for r, c in np.argwhere(counts_KK)]
    picture = "data:image/png;base64," + base64.b64encode(_png(_tinted(share_KK))).decode()
    marks = [k for k in map(int, ticks(0, num, 8)) if k < num]
    rulers = [
        tag("div", *(tag("span", k, style=f"{along}:{(k + 0.5) / num:.2%}") for k in marks), class_=f"ruler {side}")
        for side, along in (("top", "left"), ("left", "top"))
    ]
    image = tag("img", src=picture, alt="Confusion matrix", width=num, height=num)
    data = {"data-classes": json.dumps(classes), "data-counts": json.dumps(sparse, separators=(",", ":"))}
    return join(
        tag("div", *rulers, image, class_="heat", **data),
        tag("p", "Point at the matrix to read a cell. Numbers are class numbers.", class_="note heat-note"),
    )


def _tinted(share_KK: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Blue for right, red for wrong, as transparent as the share is small: fits a light and a dark page."""
    num = len(share_KK)
    rgba = np.empty((num, num, 4), dtype=np.uint8)
    rgba[..., :3] = (214, 69, 65)
    rgba[np.arange(num), np.arange(num), :3] = (47, 111, 222)
    visible = np.where(share_KK > 0, 0.4 + 0.6 * np.sqrt(share_KK), 0)
    rgba[..., 3] = (visible * 255).astype(np.uint8)
    return rgba


def _png(rgba_HW4: NDArray[np.uint8]) -> bytes:
    """The smallest writer that browsers read: one IDAT chunk, no filter (PNG specification, sections 5 and 11)."""
    height, width, _ = rgba_HW4.shape

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + row.tobytes() for row in rgba_HW4)
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
