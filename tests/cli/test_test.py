"""`vtk test` as it is typed."""

import json

import pytest
import tiny

from vtk_cli.catalog import Catalog
from vtk_cli.store.lmdb_store import StoreReader


@pytest.fixture
def world(tmp_path):
    world = tiny.make(tmp_path / "root")
    tiny.extract(world)
    return world


@pytest.fixture
def run(world):
    return tiny.make_run(world)


def test_metrics_are_printed_and_scores_written(vtk, world, run):
    code, out, err = vtk("test", "latest", "--root", world.root, "--set", "data.workers=0")
    assert code == 0, err
    assert [line.split()[0] for line in out.splitlines()] == ["metric", "mean_class", "top1", "top5"]
    assert "3 videos; scores in" in err
    assert (run.scores / "val.npz").is_file()


def test_json_is_what_was_written(vtk, world, run):
    code, out, err = vtk(
        "test", run.name, "tiny", "--split", "train", "--clips", 2, "--crops", 3, "--segments", 2, "--weights", "last",
        "--json", "--root", world.root, "--set", "data.workers=0",
    )  # fmt: skip
    assert code == 0, err
    found = json.loads(out)
    assert found == json.loads((run.scores / "train.json").read_text())
    assert found["split"] == "train"
    assert [found["protocol"][name] for name in ("clips", "crops", "segments")] == [2, 3, 2]
    assert found["weights"]["file"] == "last.safetensors"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nothing",), 2, 'no run "nothing"'),
        (("latest", "tinny"), 2, 'Did you mean "tiny"'),
        (("latest", "--split", "vall"), 2, 'Did you mean "val"'),
        (("latest", "--crops", "4"), 2, "--crops takes 1, 3, 5 or 10, found 4"),
        (("latest", "--clips", "0"), 2, "clips >= 1"),
        (("latest", "--set", "data.worker=1"), 2, 'Did you mean "workers"'),
        (("latest", "--set", "data.workers=many"), 2, "data.workers does not take"),
        (("latest", "--set", "data.store=frames-64"), 2, 'no store "frames-64". Did you mean "frames-32"'),
        (("latest", "--set", "data.loader=troch"), 2, 'Did you mean "torch"'),
        (("latest", "--weights", "gone.safetensors"), 2, "best, last or a file"),
        (("latest", "--device", "abacus"), 2, "--device takes"),
    ],
)
def test_wrong_words_are_one_sentence_and_change_nothing(vtk, world, run, arguments, code, said):
    found, out, err = vtk("test", *arguments, "--root", world.root)
    assert (found, out) == (code, "")
    assert said in err
    assert "Traceback" not in err
    assert not run.scores.exists()


def test_damaged_weights_and_catalogs_end_with_5(vtk, world, run):
    best = run.checkpoints / "best.safetensors"
    content = best.read_bytes()
    best.write_bytes(content[:-7])
    code, _, err = vtk("test", run.name, "--root", world.root)
    assert code == 5
    assert "best.safetensors should be a safetensors file" in err
    best.write_bytes(content)
    world.dataset.catalog.write_bytes(b"no database at all, " * 300)
    code, _, err = vtk("test", run.name, "--root", world.root)
    assert code == 5
    assert "catalog" in err


def test_a_damaged_record_is_named_or_left_out(vtk, world, run):
    """A frame whose bytes changed does not pass its checksum."""
    store = world.dataset.store("frames-32")
    with StoreReader(store) as reader:
        frame = bytes(reader.read("clip-0", [0])[0])
    damaged = bytes([*frame[:200], frame[200] ^ 0xFF, *frame[201:]])
    for shard in store.glob("*.lmdb"):
        shard.write_bytes(shard.read_bytes().replace(frame, damaged))
    arguments = (
        "test",
        run.name,
        "--split",
        "train",
        "--segments",
        12,
        "--root",
        world.root,
        "--set",
        "data.workers=0",
    )
    codes = [vtk(*arguments, "--split", split) for split in ("train", "val")]
    assert 5 in [code for code, _, _ in codes]
    assert any("checksum" in err for _, _, err in codes)
    again = [vtk(*arguments, "--split", split, "--set", "data.on_error=skip", "--json") for split in ("train", "val")]
    assert all(code == 0 for code, _, _ in again), again
    assert sum(json.loads(out)["left_out"] for _, out, _ in again) >= 1
    assert any("left out" in err for _, _, err in again)


def test_missing_videos_are_counted(vtk, world, run):
    with Catalog(world.dataset.catalog) as catalog:
        catalog.set_status([("clip-4", "missing", "private video")])
    options = ("--set", "data.store=videos", "--set", "data.workers=0")
    code, out, err = vtk("test", run.name, "--json", "--root", world.root, *options)
    assert code == 0
    assert json.loads(out)["left_out"] == 1
    assert "private video" in err
