"""The table of labelled videos of a dataset: one SQLite file, one row per video, a status with its cause for each.

    listed    the annotation names it; the clip is not here (yet)
    ready     the clip is here
    missing   the clip cannot be had; the cause says why
    broken    the clip is here and cannot be decoded whole; the cause says why

SQLite's transactions make every change atomic: a command that is killed leaves the catalog as before or as after.
"""

import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, get_args

from vtk_cli.api.datasets import VideoRow
from vtk_cli.errors import CatalogError, UsageError, did_you_mean

Status = Literal["listed", "ready", "missing", "broken"]
STATUSES: tuple[Status, ...] = get_args(Status)

VERSION = 1

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE classes (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE videos (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    path TEXT NOT NULL,
    start_seconds REAL,
    end_seconds REAL,
    status TEXT NOT NULL DEFAULT 'listed',
    cause TEXT NOT NULL DEFAULT '',
    probe TEXT NOT NULL DEFAULT ''
);
CREATE TABLE splits (video INTEGER NOT NULL REFERENCES videos(number), name TEXT NOT NULL,
    PRIMARY KEY (video, name)) WITHOUT ROWID;
CREATE INDEX splits_by_name ON splits (name, video);
CREATE TABLE labels (video INTEGER NOT NULL REFERENCES videos(number), position INTEGER NOT NULL,
    class INTEGER NOT NULL, PRIMARY KEY (video, position)) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogRow:
    """One video of the catalog."""

    id: str
    path: str
    labels: tuple[int, ...]
    splits: tuple[str, ...]
    start_seconds: float | None
    end_seconds: float | None
    status: Status
    cause: str
    probe: Mapping[str, Any]
    """What was measured of the file (frames, width, height, fps, sha256 ...); empty before it was looked at."""


class Catalog:
    """An open catalog; a context manager."""

    def __init__(self, path: Path) -> None:
        """Open an existing catalog.

        Raises:
            CatalogError: there is none, or the file is damaged or of another version.
        """
        if not path.is_file():
            raise CatalogError(f"There is no catalog at {path}. Make one with `vtk download` or `vtk index`.")
        self.path = path
        try:
            self._db = sqlite3.connect(path, timeout=30, isolation_level=None)
        except sqlite3.Error as error:
            raise CatalogError(f"The catalog {path} cannot be opened ({error}). Check its permissions.") from error
        try:
            found = self.meta.get("version")
        except CatalogError:
            self.close()
            raise
        if found != VERSION:
            self.close()
            raise CatalogError(f"The catalog {path} should have version {VERSION}, found {found}. Make it anew.")

    @classmethod
    def create(
        cls,
        path: Path,
        classes: Sequence[str],
        rows: Iterable[VideoRow],
        meta: Mapping[str, Any],
        *,
        status: Status = "listed",
        probes: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Self:
        """Make a catalog, whole or not at all, in place of one that may be there.

        `meta` keys that later commands read: dataset, label_order, flip, train_split, val_split, test_split,
        multi_label. Every row gets `status`; `probes` are what is known already of some files, by id.

        Raises:
            UsageError: a class name or an id comes twice, or a label lies outside the classes.
            CatalogError: it cannot be written.
        """
        temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.unlink(missing_ok=True)
            with closing(sqlite3.connect(temporary, isolation_level=None)) as db:
                # A file that is thrown away when anything fails needs no journal.
                db.execute("PRAGMA journal_mode = OFF")
                db.executescript(_SCHEMA)
                db.execute("BEGIN")
                _insert_meta(db, {**meta, "version": VERSION})
                _insert_classes(db, classes)
                for number, row in enumerate(rows):
                    _insert_row(db, number, row, len(classes), status=status, probe=(probes or {}).get(row.id))
                db.execute("COMMIT")
            _forget_journal(path)
            temporary.replace(path)
        except (sqlite3.Error, OSError) as error:
            raise CatalogError(f"The catalog {path} cannot be written: {error}. Is the disk full?") from error
        finally:
            with suppress(OSError):
                temporary.unlink()
        return cls(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    @property
    def meta(self) -> dict[str, Any]:
        return {key: self._json(value) for key, value in self._query("SELECT key, value FROM meta")}

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return tuple(name for (name,) in self._query("SELECT name FROM classes ORDER BY number"))

    def splits(self) -> dict[str, int]:
        """Number of videos per split, whatever their status."""
        return dict(self._query("SELECT name, COUNT(*) FROM splits GROUP BY name ORDER BY MIN(video)"))

    def counts(self, split: str | None = None) -> dict[str, int]:
        """Number of videos per status."""
        where, values = _where(split, None)
        found = dict(self._query(f"SELECT status, COUNT(*) FROM videos v {where} GROUP BY status", values))
        return {status: found.get(status, 0) for status in STATUSES}

    def rows(self, split: str | None = None, status: Status | None = None) -> list[CatalogRow]:
        """The videos in the annotation's order.

        Raises:
            UsageError: there is no such split.
        """
        if split is not None:
            self.check_split(split)
        where, values = _where(split, status)
        query = (
            "SELECT v.id, v.path, v.start_seconds, v.end_seconds, v.status, v.cause, v.probe, "
            "(SELECT group_concat(name, char(10)) FROM splits WHERE video = v.number), "
            "(SELECT json_group_array(class) FROM (SELECT class FROM labels WHERE video = v.number ORDER BY position)) "
            f"FROM videos v {where} ORDER BY v.number"
        )
        return [
            CatalogRow(
                id=row[0],
                path=row[1],
                start_seconds=row[2],
                end_seconds=row[3],
                status=row[4],
                cause=row[5],
                probe=self._json(row[6]) if row[6] else {},
                splits=tuple((row[7] or "").split("\n")) if row[7] else (),
                labels=tuple(self._json(row[8])),
            )
            for row in self._query(query, values)
        ]

    def check_split(self, split: str) -> None:
        """Raises UsageError when no video is in this split."""
        known = self.splits()
        if split not in known:
            name = self.meta.get("dataset", self.path.parent.name)
            raise UsageError(f'The dataset {name} has no split "{split}". {did_you_mean(split, known)}')

    def set_status(self, changes: Iterable[tuple[str, Status, str]]) -> None:
        """Set (id, status, cause) of several videos in one transaction."""
        with self._transaction():
            self._db.executemany(
                "UPDATE videos SET status = ?, cause = ? WHERE id = ?", [(s, cause, i) for i, s, cause in changes]
            )

    def set_probe(self, results: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Keep what was measured of several files, in one transaction."""
        with self._transaction():
            self._db.executemany("UPDATE videos SET probe = ? WHERE id = ?", [(json.dumps(p), i) for i, p in results])

    def set_meta(self, values: Mapping[str, Any]) -> None:
        with self._transaction():
            _insert_meta(self._db, values)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except (sqlite3.Error, UnicodeDecodeError) as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise CatalogError(
                f"The catalog {self.path} cannot be changed: {error}. Is the disk full, or another vtk writing?"
            ) from error

    def _query(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        try:
            return self._db.execute(query, values).fetchall()
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the second: damage in SQLite's own messages
            raise self._damaged(error) from error

    def _json(self, text: str | bytes) -> Any:
        try:
            return json.loads(text)
        except (ValueError, TypeError) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> CatalogError:
        return CatalogError(
            f"The catalog {self.path} is damaged ({error}). Move it away and run `vtk download` or `vtk index` again; "
            "videos and stores stay as they are."
        )


def _forget_journal(path: Path) -> None:
    """Bring back what a killed write left half done: its journal must not be played into the catalog that comes."""
    journal = path.with_name(f"{path.name}-journal")
    if not journal.exists():
        return
    try:
        with closing(sqlite3.connect(path, timeout=30)) as db:
            db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        pass  # the old catalog is beyond repair, and is being replaced
    journal.unlink(missing_ok=True)


def _where(split: str | None, status: str | None) -> tuple[str, list[str]]:
    parts = []
    values = []
    if split is not None:
        parts.append("v.number IN (SELECT video FROM splits WHERE name = ?)")
        values.append(split)
    if status is not None:
        parts.append("v.status = ?")
        values.append(status)
    return ("WHERE " + " AND ".join(parts) if parts else ""), values


def _insert_meta(db: sqlite3.Connection, meta: Mapping[str, Any]) -> None:
    db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", [(k, json.dumps(v)) for k, v in meta.items()])


def _insert_classes(db: sqlite3.Connection, classes: Sequence[str]) -> None:
    twice = [name for name, times in Counter(classes).items() if times > 1]
    if twice:
        raise UsageError(f"Class names should differ, found {twice[0]!r} more than once. Rename one.")
    db.executemany("INSERT INTO classes VALUES (?, ?)", list(enumerate(classes)))


def _insert_row(
    db: sqlite3.Connection,
    number: int,
    row: VideoRow,
    num_classes: int,
    *,
    status: Status,
    probe: Mapping[str, Any] | None,
) -> None:
    wrong = [label for label in row.labels if not 0 <= label < num_classes]
    if wrong:
        raise UsageError(
            f"The video {row.id!r} has label {wrong[0]}; there are {num_classes} classes, from 0. Mend the list."
        )
    try:
        db.execute(
            "INSERT INTO videos (number, id, path, start_seconds, end_seconds, status, probe) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (number, row.id, row.path, row.start_seconds, row.end_seconds, status, json.dumps(probe) if probe else ""),
        )
    except sqlite3.IntegrityError as error:
        raise UsageError(f"Video ids should differ, found {row.id!r} more than once. Rename or drop one.") from error
    db.executemany("INSERT INTO splits VALUES (?, ?)", [(number, split) for split in dict.fromkeys(row.splits)])
    db.executemany("INSERT INTO labels VALUES (?, ?, ?)", [(number, p, c) for p, c in enumerate(row.labels)])
