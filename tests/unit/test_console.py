"""What is said on which stream."""

import json
import time

import pytest

from vtk_cli import console


def test_emit_is_one_json_document_on_stdout(capsys, tmp_path):
    console.emit({"path": tmp_path, "name": "caf\u00e9", "n": 1})
    out, err = capsys.readouterr()
    assert json.loads(out) == {"path": str(tmp_path), "name": "caf\u00e9", "n": 1}
    assert "caf\u00e9" in out
    assert err == ""


def test_emit_refuses_nan():
    with pytest.raises(ValueError, match="nan"):
        console.emit({"x": float("nan")})


def test_messages_go_to_stderr(capsys):
    console.say("hello")
    console.warn("careful")
    assert capsys.readouterr() == ("", "hello\nwarning: careful\n")


def test_table_aligns_and_leaves_empty_columns_out(capsys):
    rows = [{"name": "a", "count": 5, "x": None}, {"name": "longer", "count": 12, "x": ""}]
    console.table(rows, ["name", "count", "x"])
    assert capsys.readouterr().out == "name    count\na           5\nlonger     12\n"
    console.table([], ["name"])
    assert capsys.readouterr().out == ""


def test_progress_off_a_terminal_says_a_line_every_few_seconds(capsys, monkeypatch):
    monkeypatch.setattr(console, "PLAIN_SECONDS", 0.0)
    with console.Progress("reading", total=2, unit="clips") as bar:
        bar.advance(note="1 broken")
        bar.advance()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("reading: 1 of 2, ")
    assert lines[0].endswith("left, 1 broken")
    assert lines[1].startswith("reading: 2 of 2")
    assert len(lines) == 2
    assert "clips/s" in lines[0]


def test_progress_is_quiet_in_between(capsys):
    with console.Progress("reading", total=None, unit="bytes") as bar:
        for _ in range(1000):
            bar.advance(1000)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("reading: 1.0 MB, ")


def test_progress_is_cheap():
    begun = time.process_time()
    with console.Progress("reading", total=100_000, unit="clips") as bar:
        for _ in range(100_000):
            bar.advance()
    assert time.process_time() - begun < 2


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (3599.6, "1 h 0 min")])
def test_duration(seconds, text):
    assert console.duration(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1000, "1.0 kB"), (1e15, "1000.0 TB")])
def test_size(count, text):
    assert console.size(count) == text
