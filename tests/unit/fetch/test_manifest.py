import json
import threading
from pathlib import Path

import pytest

from vtk_cli.errors import FetchError
from vtk_cli.fetch.manifest import Journal, UnpackRecord, write_manifest
from vtk_cli.fetch.part import Fetched


def fetched(name: str) -> Fetched:
    return Fetched(path=Path(name), url=f"https://host/{name}", bytes=3, sha256="ab")


def test_steps_are_read_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "raw" / "journal.jsonl")
    journal.add_file("a.tar", fetched("a.tar"))
    record = UnpackRecord(path="a.tar", clips={"ü [1].mp4": 5}, extra=("x.mp4",))
    journal.add_unpacked(record)
    journal.add_file("b.tar", fetched("b.tar"))
    journal.forget("b.tar")
    again = Journal(tmp_path / "raw" / "journal.jsonl")
    assert again.files == journal.files
    assert set(again.files) == {"a.tar"}
    assert again.unpacked == {"a.tar": record}


def test_a_line_cut_anywhere_loses_that_step_only(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.add_file("a", fetched("a"))
    first = path.stat().st_size
    journal.add_file("b", fetched("b"))
    whole = path.read_bytes()
    for cut in range(first, len(whole), 7):
        path.write_bytes(whole[:cut])
        torn = Journal(path)
        assert set(torn.files) == {"a"}
        torn.add_file("c", fetched("c"))
        assert set(Journal(path).files) == {"a", "c"}


def test_threads_do_not_mix_lines(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    threads = [threading.Thread(target=journal.add_file, args=(f"{n}", fetched(f"{n}"))) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Journal(tmp_path / "journal.jsonl").files) == 20


def test_a_journal_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "raw").write_text("a file where the folder should be")
    with pytest.raises(FetchError, match="cannot be written"):
        Journal(tmp_path / "raw" / "journal.jsonl").add_file("a", fetched("a"))


def test_the_manifest_changes_only_when_its_content_does(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.add_file("b", fetched("b"))
    journal.add_file("a", fetched("a"))
    path = tmp_path / "manifest.json"
    write_manifest(path, {"dataset": "x"}, journal.files.values())
    stamp = path.stat().st_ino
    write_manifest(path, {"dataset": "x"}, journal.files.values())
    assert path.stat().st_ino == stamp
    content = json.loads(path.read_text())
    assert [file["path"] for file in content["files"]] == ["a", "b"]
    assert set(content["files"][0]) == {"path", "url", "bytes", "sha256", "when"}
    write_manifest(path, {"dataset": "y"}, journal.files.values())
    assert json.loads(path.read_text())["dataset"] == "y"
