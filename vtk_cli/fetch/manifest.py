"""What has been fetched and unpacked: a journal while it happens, a manifest when it is finished.

raw/journal.jsonl gets one line per finished step, flushed to the disk before the next step counts on it; a torn last
line (the process was killed) is passed over, so at worst one step is done again. manifest.json is written last.
"""

import json
import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vtk_cli.fetch.part import Fetched, writing
from vtk_cli.files import write_atomic


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """A file that was fetched whole."""

    path: str
    """Relative to raw/."""
    url: str
    bytes: int
    sha256: str
    when: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpackRecord:
    """An archive that was read to its end, or a folder that clips were taken from."""

    path: str
    clips: Mapping[str, int] = field(default_factory=dict)
    """Clip path below videos/ -> bytes."""
    extra: tuple[str, ...] = ()
    """Clips in it that nobody wanted when it was unpacked."""


class Journal:
    """The finished steps of one dataset's download; safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files: dict[str, FileRecord] = {}
        self.unpacked: dict[str, UnpackRecord] = {}
        self._lock = threading.Lock()
        self._torn = False
        if path.is_file():
            self._load(path.read_bytes())

    def _load(self, content: bytes) -> None:
        self._torn = bool(content) and not content.endswith(b"\n")
        for line in content.split(b"\n"):
            try:
                entry = json.loads(line)
                kind, values = entry["kind"], entry["values"]
                self._apply(kind, values)
            except (ValueError, KeyError, TypeError):
                continue

    def _apply(self, kind: str, values: dict[str, Any]) -> None:
        if kind == "file":
            file = FileRecord(**values)
            self.files[file.path] = file
        elif kind == "unpacked":
            unpacked = UnpackRecord(path=values["path"], clips=dict(values["clips"]), extra=tuple(values["extra"]))
            self.unpacked[unpacked.path] = unpacked
        elif kind == "forget":
            self.files.pop(values["path"], None)
            self.unpacked.pop(values["path"], None)

    def add_file(self, path: str, fetched: Fetched) -> None:
        record = FileRecord(
            path=path,
            url=fetched.url,
            bytes=fetched.bytes,
            sha256=fetched.sha256,
            when=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self._append("file", asdict(record))

    def add_unpacked(self, record: UnpackRecord) -> None:
        self._append("unpacked", asdict(record))

    def forget(self, path: str) -> None:
        """The file turned out to be damaged."""
        self._append("forget", {"path": path})

    def _append(self, kind: str, values: dict[str, Any]) -> None:
        line = json.dumps({"kind": kind, "values": values}, ensure_ascii=False).encode("utf-8", "surrogateescape")
        with self._lock:
            torn, self._torn = self._torn, True
            with writing(self.path):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("ab") as file:
                    file.write((b"\n" if torn else b"") + line + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
            self._torn = False
            self._apply(kind, values)


def write_manifest(path: Path, content: Mapping[str, Any], files: Iterable[FileRecord]) -> None:
    """Say that a download is finished; a manifest that says the same already is left as it is."""
    manifest = {"version": 1, **content, "files": [asdict(file) for file in sorted(files, key=lambda file: file.path)]}
    write_changed(path, json.dumps(manifest, indent=2, ensure_ascii=False, sort_keys=True) + "\n")


def write_changed(path: Path, text: str) -> None:
    """Write a file unless it says the same already."""
    if not path.is_file() or path.read_bytes() != text.encode():
        write_atomic(path, text)
