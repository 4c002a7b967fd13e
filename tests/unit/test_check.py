"""`vtk check`: what is wrong is named with its cause, what is looked at is kept."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import av
import numpy as np
import pytest
from made_plugins import write_distribution

from vtk_cli.api.datasets import VideoRow
from vtk_cli.api.stores import StoreMeta
from vtk_cli.catalog import Catalog, CatalogRow
from vtk_cli.check.findings import KINDS, balance, shortness, status_of
from vtk_cli.check.run import check
from vtk_cli.check.workers import Lost, Workers
from vtk_cli.errors import CatalogError, PluginError, UsageError
from vtk_cli.store.lmdb_store import ShardWriter
from vtk_cli.store.meta import create_store, shard_of
from vtk_cli.workspace import Workspace

OPTIONS = {"split": None, "decode": True, "workers": 1, "limit_seconds": 60, "decoder": "pyav"}


def make_clip(path, frames=12, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(frames):
            picture = av.VideoFrame.from_ndarray(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="session")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    for number in range(4):
        make_clip(folder / f"c{number}.avi", frames=10 + number, seed=number)
    return folder


def dataset_of(tmp_path, rows, **options):
    dataset = Workspace(tmp_path / "ws").new_dataset("mine")
    Catalog.create(dataset.catalog, ("a", "b", "c"), rows, {"dataset": "mine"}, status="ready", **options).close()
    return dataset


def row(path, split="train", label=0, video_id="", **times):
    return VideoRow(id=video_id or path.stem, path=str(path), labels=(label,), splits=(split,), **times)


def kinds(report):
    return sorted((finding.kind, finding.id) for finding in report.findings)


@pytest.fixture
def mine(tmp_path, clips):
    """Four good clips."""
    folder = tmp_path / "v"
    shutil.copytree(clips, folder)
    rows = [row(folder / f"c{n}.avi", split="val" if n == 3 else "train", label=n % 2) for n in range(4)]
    return dataset_of(tmp_path, rows)


def test_a_clean_dataset(mine):
    report = check(mine, **OPTIONS)
    assert report.findings == ()
    assert (report.videos, report.looked_at, report.statuses) == (4, 4, {"ready": 4})
    assert report.balance == {
        "classes": 3,
        "labelled": True,
        "fewest": {"class": "a", "clips": 2},
        "most": {"class": "a", "clips": 2},
        "empty": ["c"],
    }
    written = json.loads((mine.path / "check.json").read_text())
    assert written["problems"] == {}
    assert written["decoded"] is True
    with Catalog(mine.catalog) as catalog:
        probe = catalog.rows()[1].probe
        assert (probe["frames"], probe["width"], probe["height"], probe["codec"]) == (11, 64, 48, "mpeg4")


def test_unchanged_files_are_not_looked_at_again(mine, tmp_path):
    assert check(mine, **{**OPTIONS, "decode": False}).looked_at == 4
    assert check(mine, **{**OPTIONS, "decode": False}).looked_at == 0
    assert check(mine, **OPTIONS).looked_at == 4
    assert check(mine, **OPTIONS).looked_at == 0
    assert check(mine, **{**OPTIONS, "decode": False}).looked_at == 0
    make_clip(tmp_path / "v/c1.avi", frames=5, seed=9)
    assert check(mine, **OPTIONS).looked_at == 1
    with Catalog(mine.catalog) as catalog:
        assert [r.probe["frames"] for r in catalog.rows()] == [10, 5, 12, 13]


def test_everything_that_can_be_wrong_with_a_clip(tmp_path, clips):
    folder = tmp_path / "v"
    shutil.copytree(clips, folder)
    data = (folder / "c0.avi").read_bytes()
    (folder / "cut.avi").write_bytes(data[: len(data) * 2 // 3])
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "list.mp4").write_text("#EXTM3U\n/etc/passwd\n")
    shutil.copy(folder / "c1.avi", folder / "twin.avi")
    shutil.copy(folder / "c2.avi", folder / "leak.avi")
    shutil.copy(folder / "c3.avi", folder / "abc_000010_000020.avi")
    names = ["c0", "c1", "c2", "cut", "empty", "list", "twin", "leak", "abc_000010_000020"]
    rows = [
        row(folder / f"{n}{'.mp4' if n in ('empty', 'list') else '.avi'}", split="val" if n == "leak" else "train")
        for n in names
    ]
    rows += [row(folder / "gone.avi"), row(folder / "c3.avi", video_id="part", start_seconds=0.5, end_seconds=1.0)]
    rows += [row(folder / "c3.avi", video_id="beyond", start_seconds=60.0, end_seconds=70.0)]
    dataset = dataset_of(tmp_path, rows, probes={"c0": {"listed_frames": 11}, "c1": {"listed_frames": 10}})
    report = check(dataset, **OPTIONS)
    assert kinds(report) == [
        ("broken", "beyond"),
        ("broken", "cut"),
        ("broken", "empty"),
        ("broken", "list"),
        ("duplicate", "twin"),
        ("leak", "leak"),
        ("missing", "gone"),
        ("short", "abc_000010_000020"),
        ("short", "c0"),
    ]
    causes = {finding.id: finding.cause for finding in report.findings}
    assert "10 frames where the list says 11" in causes["c0"]
    assert "1.3 s where the annotation says 10 s" in causes["abc_000010_000020"]
    assert "same bytes as c2 (train, here val)" in causes["leak"]
    assert "playlist" in causes["list"]
    with Catalog(dataset.catalog) as catalog:
        statuses = {r.id: (r.status, bool(r.cause)) for r in catalog.rows()}
        assert catalog.rows()[0].probe["listed_frames"] == 11
        assert {r.id: r.probe.get("frames") for r in catalog.rows()}["part"] == 5
    assert statuses["cut"] == statuses["empty"] == ("broken", True)
    assert statuses["gone"] == ("missing", True)
    assert statuses["c0"] == ("ready", False)
    assert kinds(check(dataset, **OPTIONS)) == kinds(report)
    shutil.copy(clips / "c0.avi", folder / "gone.avi")
    make_clip(folder / "cut.avi", seed=7)
    assert {"gone", "cut", "c0"} & {
        i for kind, i in kinds(check(dataset, **OPTIONS)) if kind in ("missing", "broken")
    } == set()


def test_headers_alone_find_what_is_cut_off(tmp_path, clips):
    data = (clips / "c0.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(data[: len(data) * 2 // 3])
    dataset = dataset_of(tmp_path, [row(tmp_path / "cut.avi"), row(clips / "c1.avi")])
    assert kinds(check(dataset, **{**OPTIONS, "decode": False})) == [("broken", "cut")]


def test_clips_not_fetched_yet_are_missing_and_stay_listed(tmp_path):
    dataset = Workspace(tmp_path / "ws").new_dataset("mine")
    rows = [VideoRow(id="x", path="x.mp4", labels=(0,), splits=("train",))]
    Catalog.create(dataset.catalog, ("a",), rows, {}).close()
    assert kinds(check(dataset, **OPTIONS)) == [("missing", "x")]
    with Catalog(dataset.catalog) as catalog:
        assert catalog.rows()[0].status == "listed"


def test_one_split_only(mine):
    report = check(mine, **{**OPTIONS, "split": "val"})
    assert (report.videos, report.looked_at) == (1, 1)
    with pytest.raises(UsageError, match='Did you mean "val"'):
        check(mine, **{**OPTIONS, "split": "vall"})


def test_wrong_decoder_and_damaged_catalog(mine):
    with pytest.raises(UsageError, match='no decoder "pyavv"'):
        check(mine, **{**OPTIONS, "decoder": "pyavv"})
    mine.catalog.write_bytes(b"x" * 4000)
    with pytest.raises(CatalogError):
        check(mine, **OPTIONS)
    assert not (mine.path / "check.json").exists()


META = StoreMeta(modality="rgb", short_side=48, quality=90, shards=2)


def fill(dataset, meta, name, records, failures=()):
    folder = dataset.store(name)
    create_store(folder, meta)
    for shard in range(meta.shards):
        with ShardWriter(folder, shard) as writer:
            for video_id, frames in records.items():
                if shard_of(video_id, meta.shards) == shard:
                    writer.put(video_id, [bytes([n]) * 500 for n in range(frames)])
            for video_id, cause in failures:
                if shard_of(video_id, meta.shards) == shard:
                    writer.fail(video_id, cause)
            writer.commit()
    return folder


def test_stores(mine):
    frames = fill(mine, META, "frames-48", {"c0": 10, "c1": 9, "other": 3}, [("c3", "it hangs")])
    fill(mine, replace(META, modality="flow", method="tvl1", bound=20.0), "flow-tvl1-48", {"c0": 9, "c1": 11, "c2": 11})
    report = check(mine, **OPTIONS)
    assert sorted((f.kind, f.path, f.id) for f in report.findings) == [
        ("failed", "frames-48", "c3"),
        ("orphan", "frames-48", "other"),
        ("store", "flow-tvl1-48", "c1"),
        ("store", "frames-48", "c1"),
    ]
    assert [(store.name, store.videos, store.not_extracted) for store in report.stores] == [
        ("flow-tvl1-48", 3, 1),
        ("frames-48", 2, 1),
    ]
    shard = frames / f"{shard_of('c0', 2):03d}.lmdb"
    data = bytearray(shard.read_bytes())
    place = data.find(bytes([7]) * 500)
    data[place + 3] ^= 1
    shard.write_bytes(data)
    damaged = [f for f in check(mine, **OPTIONS).findings if f.id == "c0"]
    assert [f.kind for f in damaged] == ["store"]
    assert "frame 7 does not match its checksum" in damaged[0].cause


def test_a_store_that_cannot_be_opened_is_one_finding(mine):
    fill(mine, META, "frames-48", {"c0": 10})
    (mine.store("frames-48") / "meta.json").write_text("{")
    (finding,) = check(mine, **OPTIONS).findings
    assert (finding.kind, finding.path) == ("store", "frames-48")


BAD_DECODER = """
import os, time
from vtk_cli.api.video import DecoderSpec
from vtk_cli.video.pyav import PyavDecoder
class Decoder(PyavDecoder):
    def frames(self, path, cut, report):
        if path.stem == "c0":
            os.kill(os.getpid(), 11)
        if path.stem == "c1":
            time.sleep(600)
        if path.stem == "c2":
            raise ZeroDivisionError("oh")
        return super().frames(path, cut, report)
DECODER = DecoderSpec(build=Decoder)
"""


def test_a_decoder_that_crashes_hangs_or_raises(mine, tmp_path, monkeypatch):
    site = write_distribution(
        tmp_path / "site", "bad-decoder", {"vtk.decoders": {"bad": "bad_decoder:DECODER"}}, bad_decoder=BAD_DECODER
    )
    monkeypatch.syspath_prepend(site)
    monkeypatch.setattr("vtk_cli.check.workers.STARTING_SECONDS", 4)
    check(mine, **{**OPTIONS, "decoder": "bad", "decode": False})
    report = check(mine, **{**OPTIONS, "decoder": "bad", "limit_seconds": 2, "workers": 2})
    causes = {finding.id: finding.cause for finding in report.findings}
    assert "SIGSEGV" in causes["c0"]
    assert "more than 2 s" in causes["c1"]
    assert "ZeroDivisionError: oh" in causes["c2"]
    assert set(causes) == {"c0", "c1", "c2"}
    assert check(mine, **OPTIONS).findings == ()


def shout(job):
    if job == "die":
        os._exit(3)
    return job.upper()


def test_workers_give_every_result_and_leave_no_process():
    pool = Workers(shout, workers=2, limit_seconds=30)
    results = dict(pool.run(["a", "b", "die", "c", "d"]))
    assert results.pop("die") == Lost("the decoder's process ended (exit code 3)")
    assert results == {"a": "A", "b": "B", "c": "C", "d": "D"}
    assert pool._workers == []


def test_workers_that_never_answer_end_the_run(monkeypatch):
    monkeypatch.setattr("vtk_cli.check.workers._MOST_FIRST_DEATHS", 3)
    with pytest.raises(PluginError, match="ended without an answer"):
        list(Workers(shout, workers=1, limit_seconds=30).run(["die"] * 50))


SLOW_DECODER = """
import time
from vtk_cli.api.video import DecoderSpec
from vtk_cli.video.pyav import PyavDecoder
class Decoder(PyavDecoder):
    def frames(self, path, cut, report):
        time.sleep(0.2)
        return super().frames(path, cut, report)
DECODER = DecoderSpec(build=Decoder)
"""
SCRIPT = """
import sys
from pathlib import Path
from vtk_cli.check import run
from vtk_cli.cli import main
run._KEEP_SECONDS = 0.0
if __name__ == "__main__":
    sys.argv = ["vtk", "check", "mine", "--root", sys.argv[1], "--workers", "1", "--decoder", "slow"]
    main()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 75), (signal.SIGKILL, -9)])
def test_a_check_that_is_stopped_goes_on(tmp_path, clips, monkeypatch, number, code):
    site = write_distribution(
        tmp_path / "site", "slow-decoder", {"vtk.decoders": {"slow": "slow_decoder:DECODER"}}, slow_decoder=SLOW_DECODER
    )
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", str(site))
    rows = []
    for n in range(16):  # enough that a busy machine stops it in the middle
        path = tmp_path / f"v/{n}.avi"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes((clips / "c0.avi").read_bytes() + bytes(2 * n))
        rows.append(row(path))
    dataset = dataset_of(tmp_path, rows)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "ws")], stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    done = 0
    while done < 2 and time.monotonic() < deadline and process.poll() is None:
        with Catalog(dataset.catalog) as catalog:
            done = sum("frames" in r.probe for r in catalog.rows())
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert b"Traceback" not in err
    report = check(dataset, **{**OPTIONS, "decoder": "slow"})
    assert report.findings == ()
    assert 0 < report.looked_at < 16


def catalog_row(**changes):
    base = {"id": "x", "path": "x.mp4", "labels": (), "splits": (), "start_seconds": None, "end_seconds": None}
    return CatalogRow(**{**base, "status": "ready", "cause": "", "probe": {}, **changes})


@pytest.mark.parametrize(
    ("probe", "changes", "short"),
    [
        ({"frames": 72, "header_frames": 73}, {}, False),  # packed B-frames of HMDB51
        ({"frames": 25, "header_frames": 30}, {}, False),  # an edit list
        ({"frames": 49, "header_frames": 107}, {}, True),
        ({"frames": 164, "listed_frames": 163}, {}, False),  # TSN counts N-1
        ({"frames": 163, "listed_frames": 164}, {}, True),
        ({"duration_seconds": 4.0}, {"path": "ab/id_000010_000020.mp4"}, True),
        ({"duration_seconds": 6.0}, {"path": "ab/id_000010_000020.mp4"}, False),
        ({"duration_seconds": 100.0, "frames": 25, "fps": 25.0}, {"start_seconds": 5.0, "end_seconds": 15.0}, True),
        ({"duration_seconds": 100.0}, {"start_seconds": 5.0, "end_seconds": 15.0}, False),
        ({}, {}, False),
    ],
)
def test_shortness(probe, changes, short):
    assert bool(shortness(catalog_row(**changes), probe)) is short


def test_status_of():
    assert status_of(catalog_row(), there=False, probe={})[0] == "missing"
    assert status_of(catalog_row(status="missing", cause="private"), there=False, probe={}) == ("missing", "private")
    assert status_of(catalog_row(status="missing"), there=True, probe={}) == ("ready", "")
    assert status_of(catalog_row(status="broken", cause="old"), there=True, probe={"frames": 3}) == ("ready", "")


def test_balance_without_labels():
    assert balance([catalog_row()], ("a",)) == {"classes": 1, "labelled": False}


def test_the_real_clips(shared, tmp_path):
    names = [
        "hmdb51_RATRACE_wave_f_nm_np1_fr_goo_37.avi",
        "bad_truncated_50pct.avi",
        "bad_truncated_50pct.mp4",
        "bad_decord_corrupted.mp4",
        "bad_dali_lfs_pointer.mp4",
        "bad_zero_bytes.mp4",
        "ssv2_166766.mp4",
        "tcodec_discard_first_keyframe.mp4",
        "ucf101_v_ApplyEyeMakeup_g01_c01.avi",
    ]
    rows = [row(shared / "data/videos" / name, video_id=name, label=0) for name in names]
    report = check(dataset_of(tmp_path, rows), **OPTIONS)
    assert kinds(report) == [
        ("broken", "bad_dali_lfs_pointer.mp4"),
        ("broken", "bad_truncated_50pct.avi"),
        ("broken", "bad_truncated_50pct.mp4"),
        ("broken", "bad_zero_bytes.mp4"),
        ("damaged", "bad_decord_corrupted.mp4"),
    ]


def test_every_kind_has_a_meaning():
    assert all(KINDS.values())
