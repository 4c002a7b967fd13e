"""Speaking to the person at the terminal: stdout carries results, stderr messages and progress."""

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

PLAIN_SECONDS = 5.0
"""Where stderr is no terminal, a line of progress at most this often."""


def say(message: str) -> None:
    """A message on stderr."""
    print(message, file=sys.stderr, flush=True)


def warn(message: str) -> None:
    say(f"warning: {message}")


def emit(result: Any) -> None:
    """A result as JSON on stdout, one document; `--json` of every command ends here."""
    plain = "utf" not in (sys.stdout.encoding or "").lower()  # then \u escapes, which every encoding holds
    json.dump(result, sys.stdout, indent=2, ensure_ascii=plain, allow_nan=False, default=str)
    sys.stdout.write("\n")
    sys.stdout.flush()


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Rows as aligned text on stdout; numbers to the right.

    A column without any value is left out.
    """
    shown = [column for column in columns if any(row.get(column) not in (None, "") for row in rows)]
    cells = [[_cell(row.get(column)) for column in shown] for row in rows]
    widths = [max(len(text) for text in column) for column in zip(shown, *cells, strict=True)] if cells else []
    if not cells:
        return
    numeric = [all(isinstance(row.get(c), int | float | None) for row in rows) for c in shown]
    for line in [shown, *cells]:
        padded = [t.rjust(w) if n else t.ljust(w) for t, w, n in zip(line, widths, numeric, strict=True)]
        print("  ".join(padded).rstrip())


def duration(seconds: float) -> str:
    """Seconds as a person says them.

    >>> duration(4.2), duration(75), duration(7300), duration(1e6)
    ('4 s', '1 min 15 s', '2 h 1 min', '11 days 13 h')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} days {whole % 86400 // 3600} h"


def size(count: float) -> str:
    """Bytes as a person says them.

    >>> size(999), size(1500), size(456e9)
    ('999 B', '1.5 kB', '456.0 GB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


class Progress:
    """How far a long job is: a bar on a terminal, a plain line every few seconds elsewhere.

    with Progress("extracting", total=500, unit="clips") as bar:
        bar.advance(note="3 failed")
    """

    def __init__(self, task: str, *, total: float | None, unit: str) -> None:
        self._task, self._total, self._unit = task, total, unit
        self._done = 0.0
        self._share: float | None = None
        self._told = -1.0
        self._note = ""
        self._bar: Any = None

    def __enter__(self) -> Self:
        self._start = self._last = time.monotonic()
        if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            self._bar = _terminal_bar()
            self._bar.start()
            self._id = self._bar.add_task(self._task, total=self._total, rate="", left="", note="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif self._told != self._done:
            self._line()

    def advance(self, amount: float = 1, *, note: str | None = None, share: float | None = None) -> None:
        """`amount` more is done; `note` replaces what stands at the end of the line.

        `share`: how much of the work is done now, 0 to 1, where units differ so much that counting them tells the
        remaining time badly.
        """
        self._done += amount
        self._share = self._share if share is None else share
        self._note = self._note if note is None else note
        now = time.monotonic()
        if self._bar is not None:
            shown = {"rate": self._rate(now), "left": self._left(now), "note": self._note}
            self._bar.update(self._id, advance=amount, **shown)
        elif now - self._last >= PLAIN_SECONDS:
            self._last = now
            self._line()

    def _rate(self, now: float) -> str:
        per_second = self._done / max(now - self._start, 1e-9)
        return f"{size(per_second)}/s" if self._unit == "bytes" else f"{per_second:.3g} {self._unit}/s"

    def _left(self, now: float) -> str:
        """Remaining time, from the average since the beginning; empty where nothing tells it."""
        share = self._done / self._total if self._total and self._share is None else self._share
        if not share or share >= 1:
            return ""
        return f"{duration((now - self._start) * (1 - share) / share)} left"

    def _line(self) -> None:
        now = time.monotonic()
        self._told = self._done
        amount = size if self._unit == "bytes" else "{:g}".format
        parts = [f"{self._task}: {amount(self._done)}"]
        if self._total:
            parts[0] += f" of {amount(self._total)}"
        parts += [self._rate(now), self._left(now), self._note]
        say(", ".join(part for part in parts if part))


def _terminal_bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[left]}"),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
    )


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
