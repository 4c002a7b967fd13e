"""What every command does with wrong names, values and files: one sentence, its exit code, nothing changed on disk."""

import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import tiny
import torch

from vtk_cli.cli import main
from vtk_cli.run_dir import RunDir
from vtk_cli.workspace import Workspace

SMALL = [
    *("--init", "none", "--set", "model.trunk=resnet18", "--set", "model.segments=2", "--set", "model.short_side=32"),
    *("--set", "model.crop=32", "--set", "model.test_segments=2", "--set", "model.test_crops=1"),
    *("--set", "train.epochs=1", "--set", "train.batch_size=4", "--set", "data.workers=0"),
]
TRAIN = ["train", "tsn", *SMALL]
TEST = ["test", "latest", "--set", "data.workers=0"]
PREDICT = ["predict", "latest"]
EXTRACT = ["extract", "--short-side", "32", "--workers", "1"]
BIG_FILE = 1_000_000
"""Bytes from which the copies of the workspace share a file instead of copying it."""


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A workspace with six clips, their frames, and one trained and tested run."""
    made = tiny.make(tmp_path_factory.mktemp("template") / "ws")
    tiny.extract(made)
    for words in (TRAIN, TEST):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["vtk", *words, "--root", str(made.root)])
            with pytest.raises(SystemExit) as ended:
                main()
        assert not ended.value.code
    return made.root


@dataclass(frozen=True)
class Place:
    """A test's own copy of the workspace; `here` is the folder it lies in."""

    here: Path

    @property
    def root(self) -> Path:
        return self.here / "ws"

    @property
    def dataset(self) -> Path:
        return self.root / "tiny"

    @property
    def shards(self) -> list[Path]:
        return sorted((self.dataset / "frames-32").glob("*.lmdb"))

    @property
    def run(self) -> Path:
        return RunDir.find(Workspace(self.root).runs, "latest").path


@pytest.fixture
def place(template, tmp_path, monkeypatch):
    def copy(source: str, target: str) -> None:
        shared = Path(source).stat().st_size > BIG_FILE
        (os.link if shared else shutil.copy2)(source, target)

    shutil.copytree(template, tmp_path / "ws", copy_function=copy)
    monkeypatch.setenv("VTK_HOME", str(tmp_path / "ws"))
    monkeypatch.chdir(tmp_path)
    return Place(tmp_path)


def snapshot(folder: Path) -> dict[str, tuple[int, int] | None]:
    """Every file's size and time of change; None for folders. Lock files may come, they hold nothing."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_size, path.lstat().st_mtime_ns) if path.is_file() else None
        for path in folder.rglob("*")
        if path.name != ".lock"
    }


def refused(ended: tuple[int, str, str], code: int, says: str) -> None:
    """The command ended with this code and one sentence that holds `says`, and wrote no result."""
    found, out, err = ended
    assert "Traceback" not in err
    assert found == code, err
    sentences = [line for line in err.splitlines() if line.startswith("vtk: ")]
    assert len(sentences) == 1, err
    assert says in err
    assert err.rstrip().endswith((".", "?")), "a sentence that ends"
    assert out == ""


# Damage. Files are replaced, never changed in place: big ones are shared with the template.


def put(path: Path, content: bytes | str) -> None:
    remove(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def folder_instead(path: Path) -> None:
    remove(path)
    path.mkdir()


def halve(path: Path) -> None:
    content = path.read_bytes()
    put(path, content[: len(content) // 2])


def flip(path: Path, start: int, stop: int) -> None:
    content = bytearray(path.read_bytes())
    content[start:stop] = bytes(byte ^ 0xFF for byte in content[start:stop])
    put(path, bytes(content))


def change(path: Path, **values) -> None:
    put(path, json.dumps({**json.loads(path.read_text()), **values}))


def query(place: Place, *statements: str) -> None:
    db = sqlite3.connect(place.dataset / "catalog.sqlite")
    for statement in statements:
        db.execute(statement)
    db.commit()
    db.close()


def each(paths: list[Path], damage: Callable[..., None], *values: object) -> None:
    for path in paths:
        damage(path, *values)


def own_clips(place: Place, name: str = "x.mp4") -> None:
    for label in ("a", "b"):
        (place.here / "own" / label).mkdir(parents=True)
        shutil.copy(place.dataset / "videos/clip-0.mp4", place.here / "own" / label / name)


def cases(*rows: tuple) -> pytest.MarkDecorator:
    """Rows of (words of the command, exit code, part of the sentence[, damage done before])."""
    padded = [row if len(row) == 4 else (*row, None) for row in rows]
    ids = [f"{' '.join(row[0])[:40]}-{number}".replace("/", "_") for number, row in enumerate(padded)]
    return pytest.mark.parametrize(("words", "code", "says", "damage"), padded, ids=ids)


def check(vtk, place, words, code, says, damage) -> None:
    if damage is not None:
        damage(place)
    before = snapshot(place.here)
    refused(vtk(*words), code, says)
    assert snapshot(place.here) == before


@cases(
    (["trian"], 2, 'no command "trian". Did you mean "train"?'),
    (["train", "stnt"], 2, 'Did you mean "stnet"?'),
    (["train", "tsn", "tny"], 2, 'Did you mean "tiny"?'),
    (["train"], 2, "Name a model"),
    (["models", "show", "stnt"], 2, 'Did you mean "stnet"?'),
    (["datasets", "show", "kinetics40"], 2, 'Did you mean "kinetics400"?'),
    (["flows", "show", "tvl"], 2, 'Did you mean "tvl1"?'),
    (["weights", "show", "resnet18-imagnet"], 2, 'Did you mean "resnet18-imagenet"?'),
    (["weights", "fetch", "nope"], 2, "There are: "),
    (["plugins", "check", "stnt"], 2, 'Did you mean "stnet"?'),
    (["plugins", "new", "Bad Name!"], 2, "Bad Name!"),
    (["download", "kinetics"], 2, 'Did you mean "kinetics400"?'),
    (["download", "demo", "--split", "trn"], 2, 'Did you mean "train"?'),
    (["demo", "--model", "stnt"], 2, 'Did you mean "stnet"?'),
    (["extract", "tny"], 2, 'Did you mean "tiny"?'),
    (["extract", "../tiny"], 2, "There is no dataset"),
    (["extract", "日本"], 2, "There is no dataset"),
    (["extract", "a" * 5000], 2, "There is no dataset"),
    ([*EXTRACT, "--flow", "farnebck"], 2, 'Did you mean "farneback"?'),
    ([*EXTRACT, "--decoder", "pyavv"], 2, 'Did you mean "pyav"?'),
    ([*EXTRACT, "--split", "trian"], 2, 'Did you mean "train"?'),
    ([*EXTRACT, "--layout", "tsnn"], 2, 'Did you mean "tsn"?'),
    (["check", "--split", "trian"], 2, 'Did you mean "train"?'),
    (["check", "--decoder", "pyavv"], 2, 'Did you mean "pyav"?'),
    ([*TRAIN, "--split", "trian"], 2, 'Did you mean "train"?'),
    ([*TRAIN, "--val-split", "vall"], 2, 'Did you mean "val"?'),
    (["test", "latest", "tny"], 2, 'Did you mean "tiny"?'),
    ([*TEST, "--split", "vall"], 2, 'Did you mean "val"?'),
    ([*TEST, "--weights", "bst"], 2, "best, last or a file"),
    ([*TEST, "--device", "gpu"], 2, "cuda:N"),
    (["test", "nope"], 2, 'no run "nope"'),
    (["predict", "nope", "x.mp4"], 2, 'no run "nope"'),
    (["report", "nope"], 2, 'no run "nope"'),
    (["report", ""], 2, "no run"),
    (["runs", "show", "nope"], 2, 'no run "nope"'),
    (["runs", "diff", "latest", "nope"], 2, 'no run "nope"'),
    (["train", "--resume", "nope"], 2, 'no run "nope"'),
    (["train", "tsn", "--resume", "latest"], 2, "Leave that out"),
)
def test_wrong_names(vtk, place, words, code, says, damage):
    check(vtk, place, words, code, says, damage)


@cases(
    ([*EXTRACT, "--limit", "0"], 2, "--limit"),
    ([*EXTRACT, "--limit", "-1"], 2, "--limit"),
    ([*EXTRACT, "--shard", "3/2"], 2, "3/2"),
    ([*EXTRACT, "--shard", "0/0"], 2, "0/0"),
    ([*EXTRACT, "--shard", "-1/2"], 2, "-1/2"),
    ([*EXTRACT, "--shard", "x"], 2, "I/N"),
    (["extract", "--workers", "0"], 2, "--workers"),
    ([*EXTRACT, "--shards", "0"], 2, "--shards"),
    (["extract", "--short-side", "0"], 2, "--short-side"),
    ([*EXTRACT, "--quality", "101"], 2, "--quality"),
    ([*EXTRACT, "--time-limit", "-1"], 2, "--time-limit"),
    ([*EXTRACT, "--time-limit", "nan"], 2, "--time-limit"),
    (["extract", "--short-side", "1" + "0" * 10], 2, "at most"),
    (["extract", "--short-side", "24", "--shards", "1" + "0" * 10], 2, "at most"),
    ([*EXTRACT, "--no-frames"], 2, "--flow"),
    ([*EXTRACT, "--flow", "farneback", "--set", "flow.levls=2"], 2, 'Did you mean "levels"?'),
    ([*EXTRACT, "--flow", "farneback", "--set", "flow.levels=x"], 2, "valid integer"),
    ([*TRAIN, "--set", "train.lrr=1"], 2, 'Did you mean "lr"?'),
    ([*TRAIN, "--set", "trian.lr=1"], 2, 'Did you mean "train"?'),
    ([*TRAIN, "--set", "lr=1"], 2, "section.key=value"),
    ([*TRAIN, "--set", "train.lr=fast"], 2, "train.lr"),
    ([*TRAIN, "--set", "train.lr=nan"], 2, "train.lr"),
    ([*TRAIN, "--set", "train.lr=-1"], 2, "lr"),
    ([*TRAIN, "--set", "train.epochs=0"], 2, "epochs"),
    ([*TRAIN, "--set", "train.batch_size=0"], 2, "batch_size"),
    ([*TRAIN, "--set", "data.workers=-1"], 2, "data.workers"),
    ([*TRAIN, "--set", "model.trunk=resnet17"], 2, "resnet"),
    ([*TRAIN, "--set", "model.modality=rbg"], 2, "model.modality"),
    ([*TRAIN, "--set", "model.crop=64"], 2, "crop=64"),
    ([*TRAIN, "--set", "run.device=gpu"], 2, "run.device"),
    ([*TRAIN, "--checkpoint-every", "soon"], 2, "checkpoint"),
    (["train", "--resume", "latest", "--set", "train.lr=3"], 2, "lr"),
    ([*TEST, "--crops", "2"], 2, "1, 3, 5 or 10"),
    ([*TEST, "--clips", "-3"], 2, "clips >= 0, found -3"),
    ([*TEST, "--segments", "0"], 2, "segments >= 1"),
    ([*TEST, "--clips", "1" + "0" * 12], 2, "clips up to"),
    ([*TEST, "--set", "train.lr=1"], 2, 'no section "train"'),
    ([*PREDICT, "ws/tiny/videos", "--window", "0"], 2, "above 0"),
    ([*PREDICT, "ws/tiny/videos", "--window", "nan"], 2, "above 0"),
    ([*PREDICT, "ws/tiny/videos", "--window", "inf"], 2, "above 0"),
    ([*PREDICT, "ws/tiny/videos", "--window", "1", "--step", "-1"], 2, "above 0"),
    ([*PREDICT, "ws/tiny/videos", "--step", "1"], 2, "--window"),
    ([*PREDICT, "-"], 2, "needs a video"),
    (["weights", "import", "w.pth", "--layout", "zzz", "--model", "tsn"], 2, 'no layout "zzz"'),
    (["weights", "import", "w.pth", "--layout", "tsn-pytorch"], 5, "There is no file at w.pth"),
)
def test_wrong_values(vtk, place, words, code, says, damage):
    check(vtk, place, words, code, says, damage)


@cases(
    ([*TRAIN, "--config", "c.toml"], 5, "no configuration file at c.toml"),
    ([*TRAIN, "--config", "ws"], 5, "should be TOML"),
    ([*TRAIN, "--config", "c.toml"], 5, "should be TOML", lambda p: put(p.here / "c.toml", b"\xff[")),
    ([*TRAIN, "--config", "c.toml"], 2, "such as [model]", lambda p: put(p.here / "c.toml", "lr = 1")),
    ([*TRAIN, "--config", "c.toml"], 2, 'Did you mean "lr"?', lambda p: put(p.here / "c.toml", "[train]\nlrr = 1")),
    ([*TRAIN, "--init", "nope"], 2, "--init"),
    ([*TRAIN, "--init", "w.safetensors"], 5, "w.safetensors", lambda p: put(p.here / "w.safetensors", "x")),
    ([*TRAIN, "--root", "f"], 2, "found a file at f", lambda p: put(p.here / "f", "x")),
    (["doctor", "--root", "f"], 2, "found a file at f", lambda p: put(p.here / "f", "x")),
    (["demo", "--root", "f"], 2, "found a file at f", lambda p: put(p.here / "f", "x")),
    (["runs", "--root", "f"], 2, "found a file at f", lambda p: put(p.here / "f", "x")),
    (["index", "mine", "own", "--root", "f/g"], 5, "f/g", lambda p: (own_clips(p), put(p.here / "f", "x"))),
    (["index", "mine", "absent"], 5, "absent"),
    (["index", "mine", "empty"], 5, "no clip to index", lambda p: (p.here / "empty").mkdir()),
    (["index", "mine", "list.txt"], 5, "list.txt", lambda p: put(p.here / "list.txt", b"\xff\x00\xfe" * 99)),
    (["index", "Mine!", "own"], 2, "lower-case", own_clips),
    (["index", "runs", "own"], 2, "none of current, runs, weights", own_clips),
    (["index", "a" * 300, "own"], 2, "lower-case", own_clips),
    (["index", "tiny", "own"], 2, "--replace", own_clips),
    (["index", "mine", "own", "--format", "tns"], 2, "tsn", own_clips),
    (["index", "mine", "own", "--val-fraction", "2"], 2, "fraction", own_clips),
    (["index", "mine", "own", "--val-fraction", "nan"], 2, "fraction", own_clips),
    (["index", "mine", "own", "--classes", "absent"], 5, "absent", own_clips),
    (["index", "mine", "own", "--list", "x"], 2, "SPLIT=FILE", own_clips),
    (["index", "mine", "own", "--list", "train=absent"], 5, "absent", own_clips),
    (["download", "ucf101", "--from", "absent"], 2, "absent"),
    (["download", "ucf101", "--mirror", "nonsense"], 2, "nonsense"),
    (["test", "w.safetensors"], 2, "no run", lambda p: put(p.here / "w.safetensors", "x")),
    (["predict", "w.safetensors", "ws"], 5, "should be a safetensors", lambda p: put(p.here / "w.safetensors", "x")),
    (["runs", "--root", "a" * 5000], 5, "File name too long"),
    (["predict", "a" * 5000, "x.mp4"], 5, "File name too long"),
    ([*PREDICT, "empty"], 2, "needs a video", lambda p: (p.here / "empty").mkdir()),
    (["weights", "show", "w.txt"], 5, "should be a safetensors", lambda p: put(p.here / "w.txt", "x")),
    (["weights", "import", "absent", "--layout", "tsn-pytorch", "--model", "tsn"], 5, "absent"),
    (["weights", "import", "ws", "--layout", "tsn-pytorch", "--model", "tsn"], 5, "ws"),
    (
        ["weights", "import", "w.pth", "--layout", "tsn-pytorch", "--model", "tsn"],
        5,
        "w.pth",
        lambda p: put(p.here / "w.pth", "x"),
    ),
    (["plugins", "new", "my-model"], 2, "my-model", lambda p: put(p.here / "my-model/x", "x")),
    ([*EXTRACT, "--export", "e"], 5, "e", lambda p: put(p.here / "e", "x")),
    ([*EXTRACT, "--quality", "50"], 5, "quality"),
    ([*EXTRACT, "--shards", "5"], 2, "shards"),
)
def test_wrong_files(vtk, place, words, code, says, damage):
    check(vtk, place, words, code, says, damage)


@cases(
    (TEST, 5, "is cut off", lambda p: each(p.shards, halve)),
    (EXTRACT, 5, "is cut off", lambda p: each(p.shards, halve)),
    (TEST, 5, "not extracted", lambda p: each(p.shards, put, b"")),
    (TEST, 5, "not an LMDB file", lambda p: each(p.shards, put, os.urandom(40_000))),
    (EXTRACT, 5, "not an LMDB file", lambda p: each(p.shards, flip, 0, 200)),
    (TEST, 5, "Is a directory", lambda p: each(p.shards, folder_instead)),
    (TEST, 5, "not extracted", lambda p: each(p.shards, remove)),
    (TEST, 5, "meta.json is damaged", lambda p: put(p.dataset / "frames-32/meta.json", b"\xff\xfe{")),
    (EXTRACT, 5, "meta.json is damaged", lambda p: put(p.dataset / "frames-32/meta.json", "[1]")),
    (TRAIN, 5, "meta.json is damaged", lambda p: change(p.dataset / "frames-32/meta.json", shards="x")),
    (TEST, 5, "should have version 1", lambda p: change(p.dataset / "frames-32/meta.json", version=99)),
    (EXTRACT, 5, "frames-32", lambda p: put(p.dataset / "frames-32", "a file")),
)
def test_damaged_stores(vtk, place, words, code, says, damage):
    check(vtk, place, words, code, says, damage)


CATALOG = "tiny/catalog.sqlite"


@cases(
    (TRAIN, 5, "is damaged", lambda p: put(p.root / CATALOG, os.urandom(5000))),
    (TEST, 5, "is damaged", lambda p: put(p.root / CATALOG, b"")),
    (EXTRACT, 5, "is damaged", lambda p: halve(p.root / CATALOG)),
    (["check"], 5, "is damaged", lambda p: flip(p.root / CATALOG, 4000, 9000)),
    (["datasets", "show", "tiny"], 5, "is damaged", lambda p: put(p.root / CATALOG, b"")),
    (TRAIN, 5, "no catalog", lambda p: folder_instead(p.root / CATALOG)),
    (TRAIN, 2, "which split to train on", lambda p: query(p, "DELETE FROM splits", "DELETE FROM videos")),
    (TEST, 2, 'no split "val"', lambda p: query(p, "DELETE FROM splits WHERE name = 'val'")),
    (TRAIN, 5, "3 no label", lambda p: query(p, "DELETE FROM labels")),
    (EXTRACT, 5, "none is here", lambda p: query(p, "UPDATE videos SET status = 'missing'")),
    (TRAIN, 5, "is damaged", lambda p: query(p, "UPDATE meta SET value = '{' WHERE key = 'label_order'")),
    (TRAIN, 2, 'no dataset "nope"', lambda p: put(p.root / "current", "nope")),
    (EXTRACT, 5, "should hold the name of a dataset", lambda p: put(p.root / "current", b"\xff\xfe\x00")),
    (["check"], 5, "should hold the name of a dataset", lambda p: folder_instead(p.root / "current")),
    (TRAIN, 5, "none is current", lambda p: remove(p.root / "current")),
    (EXTRACT, 5, "none is current", lambda p: remove(p.root)),
    (["check"], 5, "none is current", lambda p: remove(p.root)),
    (["test", "latest"], 2, "There are none", lambda p: remove(p.root / "runs")),
    (["report"], 2, "There are none", lambda p: remove(p.root / "runs")),
    (["runs", "show"], 2, "There are none", lambda p: remove(p.root / "runs")),
    ([*PREDICT, "x.mp4"], 2, "There are none", lambda p: put(p.root / "runs", "a file")),
    (TRAIN, 5, "runs", lambda p: put(p.root / "runs", "a file")),
)
def test_damaged_datasets_and_workspaces(vtk, place, words, code, says, damage):
    check(vtk, place, words, code, says, damage)


RESUME = ["train", "--resume", "latest"]


@cases(
    (TEST, 5, "should describe a run", lambda p: put(p.run / "run.json", "{")),
    (["report"], 5, "should describe a run", lambda p: put(p.run / "run.json", b"\xff\xfe")),
    (["runs", "show"], 5, "should describe a run", lambda p: put(p.run / "run.json", "[]")),
    (TEST, 5, "should describe a run", lambda p: change(p.run / "run.json", classes=3)),
    (TEST, 5, "stores = 3", lambda p: change(p.run / "run.json", stores=3)),
    (["report"], 5, "splits = []", lambda p: change(p.run / "run.json", splits=[])),
    (["runs", "show"], 5, "best = 'x'", lambda p: change(p.run / "run.json", best="x")),
    (["runs", "diff", "latest", "latest"], 5, "created = 3", lambda p: change(p.run / "run.json", created=3)),
    (RESUME, 5, "flip = 0", lambda p: change(p.run / "run.json", flip=0)),
    (RESUME, 2, 'no model "nope"', lambda p: change(p.run / "run.json", model="nope")),
    (TEST, 2, 'no dataset "nope"', lambda p: change(p.run / "run.json", dataset="nope")),
    (RESUME, 5, "should be TOML", lambda p: put(p.run / "config.toml", b"\xff[[")),
    (RESUME, 5, "no configuration file", lambda p: remove(p.run / "config.toml")),
    (RESUME, 2, 'no key "foo"', lambda p: put(p.run / "config.toml", "[model]\nfoo = 1\n")),
    (TEST, 5, "should be a safetensors", lambda p: halve(p.run / "checkpoints/best.safetensors")),
    ([*PREDICT, "ws"], 5, "should be a safetensors", lambda p: put(p.run / "checkpoints/best.safetensors", "x")),
    (TEST, 5, "no checkpoint yet", lambda p: remove(p.run / "checkpoints")),
    (RESUME, 5, "no checkpoint to resume from", lambda p: remove(p.run / "checkpoints")),
    (RESUME, 5, "should hold the state of a run", lambda p: halve(p.run / "checkpoints/last.state")),
    (RESUME, 5, "should hold the state of a run", lambda p: put(p.run / "checkpoints/last.state", "hello")),
    (RESUME, 5, "last.safetensors", lambda p: halve(p.run / "checkpoints/last.safetensors")),
    (["report"], 5, "report.html", lambda p: folder_instead(p.run / "report.html")),
)
def test_damaged_runs(vtk, place, words, code, says, damage):
    check(vtk, place, words, code, says, damage)


@pytest.mark.parametrize("words", [["models"], ["flows"], ["datasets"], ["weights"], ["runs"], ["plugins"]], ids=str)
def test_a_bare_noun_lists(vtk, place, words):
    code, bare, _ = vtk(*words, "--json")
    assert code == 0
    code, listed, _ = vtk(*words, "list", "--json")
    assert code == 0
    assert json.loads(bare) == json.loads(listed)
    assert json.loads(bare)


def test_an_option_before_a_subcommand_is_refused_not_ignored(vtk, place):
    code, out, err = vtk("runs", "--root", "elsewhere", "show", "latest")
    assert (code, out) == (2, "")
    assert "show" in err


@pytest.mark.parametrize(
    ("damage", "name"),
    [(lambda p: put(p.root / CATALOG, b""), "tiny"), (lambda p: put(p.root / "current", b"\xff"), "tiny")],
    ids=["catalog", "current"],
)
def test_what_is_damaged_is_one_line_of_the_list(vtk, place, damage, name):
    damage(place)
    code, out, _ = vtk("datasets", "--json")
    assert code == 0
    rows = {row["name"]: row for row in json.loads(out)}
    assert rows[name]["problem"]
    assert "problem" not in rows["ucf101"]


@pytest.mark.parametrize("content", [b"\xff\n{}\n[]\n", b'{"kind": "epoch"}\n'], ids=["garbage", "short"])
def test_a_damaged_log_or_environment_costs_only_itself(vtk, place, content):
    put(place.run / "log.jsonl", content)
    put(place.run / "env.json", "[]")
    put(place.run / "config.toml", b"\xff")
    for words in (["runs"], ["runs", "show"], ["report"]):
        code, _, err = vtk(*words)
        assert (code, err) == (0, "")


@pytest.mark.parametrize(("name", "content"), [("val.npz", "x"), ("val.json", "[]")], ids=str)
def test_damaged_scores_are_said_in_the_report(vtk, place, name, content):
    put(place.run / "scores" / name, content)
    code, out, _ = vtk("report")
    assert code == 0
    assert "should hold the scores of a test" in Path(out.strip()).read_text()


@pytest.mark.parametrize("words", [["train", "tsn", "--epochs", "3"], ["index", "mine"], ["check", "--workers", "x"]])
def test_usage_errors_of_the_parser_are_short(vtk, place, words):
    code, out, err = vtk(*words)
    assert (code, out) == (2, "")
    lines = [line for line in err.splitlines() if line]
    assert lines[-1].startswith("Error: ")
    assert len(lines) == 3
    assert "─" not in err


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_a_video_that_cannot_be_read_does_not_stop_the_rest(vtk, place, as_json):
    put(place.here / "bad.mp4", "no video")
    before = snapshot(place.here)
    code, out, err = vtk(*PREDICT, "bad.mp4", "absent.mp4", "ws/tiny/videos/clip-0.mp4", *["--json"] * as_json)
    assert code == 3
    assert err.splitlines()[-1].startswith("vtk: 2 of 3 videos could not be read")
    assert "Traceback" not in err
    if as_json:
        assert [bool(json.loads(line).get("error")) for line in out.splitlines()] == [True, True, False]
    assert snapshot(place.here) == before


@contextmanager
def full_disk(free: int) -> Iterator[None]:
    """No file can grow beyond `free` bytes: the writes fail as they do on a full disk, with another errno."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@cases(
    (["index", "mine", "own"], 5, "catalog", own_clips),
    (["report"], 5, "report.html"),
    (TEST, 5, "scores"),
    (["plugins", "new", "my-model"], 5, "my-model"),
)
def test_a_full_disk_is_said_and_nothing_half_written_stays(vtk, place, words, code, says, damage):
    if damage is not None:
        damage(place)
    before = snapshot(place.here)
    with full_disk(256):
        found, out, err = vtk(*words)
    assert "Traceback" not in err
    assert (found, out) == (code, "")
    assert says in err
    after = {path: size for path, size in snapshot(place.here).items() if size is not None}
    assert after == {path: size for path, size in before.items() if size is not None}


def test_ctrl_c_is_one_sentence(vtk, place, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(RunDir, "find", interrupted)
    refused(vtk("runs", "show"), 130, "Stopped by Ctrl-C")


def shell(line: str, **env: str) -> subprocess.CompletedProcess[str]:
    line = line.replace("vtk", f"{sys.executable} -m vtk_cli")
    return subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, check=False, env={**os.environ, **env}, timeout=60
    )


def test_a_pipe_whose_reader_is_gone_is_no_error(place):
    done = shell("vtk datasets show kinetics400 | true; echo ${PIPESTATUS[0]}")
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.parametrize("closed", ["<&-", "2>&-", ">&-"])
def test_closed_streams_are_as_empty_ones(place, closed):
    done = shell(f"vtk runs --json {closed}")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_terminal_without_unicode_shows_names_escaped(place):
    ascii_only = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    (place.here / "ünter").symlink_to(place.root)
    done = shell("vtk report 'rün' --root ünter", **ascii_only)
    assert done.returncode == 2
    assert done.stderr.startswith('vtk: There is no run "r')
    listed = shell("vtk runs show --json --root ünter", **ascii_only)
    assert json.loads(listed.stdout)["paths"]["run"].endswith(place.run.name)
