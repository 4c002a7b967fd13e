import dataclasses
import json
import multiprocessing

import numpy as np
import pytest
import scripted
import simplejpeg

from vtk_cli.catalog import Catalog
from vtk_cli.errors import DataError, ItemsFailed, PluginError, StoreError, UsageError
from vtk_cli.extract.layouts import export
from vtk_cli.extract.plan import Request
from vtk_cli.extract.run import FAILED_LIST, extract
from vtk_cli.flow.quantize import decode_flow
from vtk_cli.store.lmdb_store import ShardWriter, StoreReader
from vtk_cli.store.meta import read_meta, shard_of

FAST = Request(decoder="scripted", short_side=32, workers=1, shards=4)
WITH_FLOW = dataclasses.replace(FAST, flow="dis", flow_settings=("flow.preset=ultrafast",))
MANY = {f"clip{i:02d}": {"frames": 2 + i % 3, "seed": i} for i in range(12)}


@pytest.fixture(autouse=True)
def _plugin(tmp_path, monkeypatch):
    scripted.install_decoder(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")


@pytest.fixture
def make(tmp_path):
    return lambda clips, **options: scripted.make_dataset(tmp_path / "root", clips, **options)


def records(dataset, store="frames-32"):
    with StoreReader(dataset.store(store)) as reader:
        return {name: b"|".join(reader.read(name, range(reader.num_frames(name)))) for name in reader.ids()}


def statuses(dataset):
    with Catalog(dataset.catalog) as catalog:
        return {row.id: (row.status, row.cause) for row in catalog.rows()}


def decoded(dataset):
    """Names of the clips that were decoded, once per time."""
    log = dataset.videos / "decoded.log"
    return [line.split(".json")[0] for line in log.read_text().splitlines()] if log.exists() else []


def test_frames_and_flow_come_from_one_pass(make):
    dataset = make({"a": {"frames": 4}, "b": {"frames": 2}})
    summary = extract(dataset, WITH_FLOW)
    assert summary.stores == {"frames": "frames-32", "flow": "flow-dis-32"}
    assert (summary.extracted, summary.present, summary.failed) == (2, {"frames": 2, "flow": 2}, [])
    assert sorted(decoded(dataset)) == ["a", "b"]
    with StoreReader(dataset.store("frames-32")) as frames, StoreReader(dataset.store("flow-dis-32")) as flow:
        assert [frames.num_frames("a"), flow.num_frames("a")] == [4, 3]
        assert simplejpeg.decode_jpeg_header(frames.read("a", [0])[0])[:3] == (32, 40, "YCbCr")
        assert decode_flow(flow.read("a", [2])[0]).shape == (2, 32, 40)
        assert (flow.meta.method, flow.meta.parameters, flow.meta.bound) == ("dis", {"preset": "ultrafast"}, 20.0)
        assert (frames.meta.modality, frames.meta.quality, frames.meta.decoder) == ("rgb", 95, "scripted")
    assert statuses(dataset) == {"a": ("ready", ""), "b": ("ready", "")}


def test_running_again_does_nothing_and_flow_can_follow(make):
    dataset = make(MANY)
    extract(dataset, FAST)
    before = records(dataset)
    assert extract(dataset, FAST).extracted == 0
    assert len(decoded(dataset)) == len(MANY)
    assert extract(dataset, WITH_FLOW).extracted == len(MANY)
    assert records(dataset) == before
    assert len(decoded(dataset)) == 2 * len(MANY)


def test_records_do_not_depend_on_workers_or_parts(make, tmp_path):
    one = make(MANY)
    extract(one, WITH_FLOW)
    several = scripted.make_dataset(tmp_path / "several", MANY)
    extract(several, dataclasses.replace(WITH_FLOW, workers=3))
    parts = scripted.make_dataset(tmp_path / "parts", MANY)
    for part in range(2):
        summary = extract(parts, dataclasses.replace(WITH_FLOW, part=(part, 2)))
        there = {name for name in MANY if shard_of(name, 4) % 2 <= part}
        assert records(parts).keys() == there
        assert summary.present["frames"] == len(there)
    for store in ("frames-32", "flow-dis-32"):
        assert records(one, store) == records(several, store) == records(parts, store)
        assert len(records(one, store)) == len(MANY)


def test_what_befalls_one_clip_stays_with_it(make):
    bad = {
        "crashes": ("crash", "SIGSEGV"),
        "hangs": ("hang", "no new picture for 1.5 s (--time-limit)"),
        "exits": ("exit", "exit code 7"),
        "is_killed": ("killed", "killed (SIGKILL) twice"),
        "raises": ("raise", "RuntimeError: the plugin stumbles"),
        "is_refused": ("refuse", "it is no video"),
        "is_empty": ("", "it has no frames"),
    }
    clips = {name: {"do": what, "at": 1} for name, (what, _) in bad.items()}
    clips["is_empty"]["frames"] = 0
    dataset = make({**MANY, **clips, "is_killed_once": {"do": "killed once"}})
    summary = extract(dataset, dataclasses.replace(WITH_FLOW, workers=2, time_limit=1.5))
    assert records(dataset).keys() == records(dataset, "flow-dis-32").keys() == {*MANY, "is_killed_once"}
    assert {failure.id for failure in summary.failed} == bad.keys()
    for failure in summary.failed:
        assert bad[failure.id][1] in failure.cause
    for name, (status, cause) in statuses(dataset).items():
        assert status == ("broken" if name in bad else "ready")
        assert (bad[name][1] in cause) if name in bad else not cause
    lines = (dataset.path / FAILED_LIST).read_text().splitlines()
    assert lines[0] == "id\tstore\tcause"
    assert len(lines) == 1 + 2 * len(bad)
    with pytest.raises(ItemsFailed, match=rf"{len(bad)} of {len(MANY) + len(bad) + 1} clips failed; .*{FAILED_LIST}"):
        summary.check()
    for child in multiprocessing.active_children():
        pytest.fail(f"{child} was left behind")


def test_failures_are_tried_again_on_request_only(make):
    dataset = make({"good": {}, "bad": {"do": "refuse"}})
    extract(dataset, FAST)
    (dataset.videos / "bad.json").write_text(json.dumps({"frames": 2}))
    again = extract(dataset, FAST)
    assert (again.extracted, [failure.id for failure in again.failed]) == (0, ["bad"])
    retried = extract(dataset, dataclasses.replace(FAST, retry_failed=True))
    assert (retried.extracted, retried.failed) == (1, [])
    assert statuses(dataset)["bad"] == ("ready", "")
    assert not (dataset.path / FAILED_LIST).exists()
    retried.check()


def test_a_failure_whose_report_was_lost_reaches_the_catalog(make):
    dataset = make({"good": {}, "bad": {}})
    extract(dataset, dataclasses.replace(FAST, limit=1))
    with ShardWriter(dataset.store("frames-32"), shard_of("bad", 4)) as writer:
        writer.fail("bad", "the decoder crashed on it")
        writer.commit()
    assert extract(dataset, FAST).failed[0].cause == "the decoder crashed on it"
    assert statuses(dataset)["bad"] == ("broken", "the decoder crashed on it")


def test_one_frame_has_no_flow_but_is_a_frame(make):
    dataset = make({"a": {"frames": 1}, "b": {"frames": 2}})
    summary = extract(dataset, WITH_FLOW)
    assert records(dataset).keys() == {"a", "b"}
    assert [dataclasses.astuple(failure) for failure in summary.failed] == [
        ("a", "flow-dis-32", "it has one frame; flow needs two")
    ]
    assert statuses(dataset)["a"] == ("ready", "")
    assert summary.extracted == 1


def test_a_flow_method_that_fails_leaves_the_frames(make):
    dataset = make({"a": {"frames": 4}, "b": {"frames": 2}})
    summary = extract(dataset, dataclasses.replace(FAST, flow="raises"))
    assert summary.present == {"frames": 2, "flow": 0}
    assert {failure.cause for failure in summary.failed} == {"ZeroDivisionError: flow stumbles"}
    assert set(statuses(dataset).values()) == {("ready", "")}


def test_cut_off_clips_fail_unless_they_are_to_be_kept(make):
    dataset = make({"a": {"frames": 4, "truncated": "it ends early"}, "b": {"bad_packets": 2}})
    (failure,) = extract(dataset, FAST).failed
    assert failure.cause == "it is cut off (it ends early); --keep-truncated keeps its 4 frames"
    kept = extract(dataset, dataclasses.replace(FAST, keep_truncated=True, retry_failed=True))
    assert kept.failed == []
    assert statuses(dataset)["a"] == ("ready", "cut off (it ends early), 4 frames kept")
    assert statuses(dataset)["b"] == ("ready", "2 damaged packets skipped")


def test_split_and_limit(make):
    dataset = make(MANY, splits=("train", "val", "test"))
    assert extract(dataset, dataclasses.replace(FAST, split="val")).selected == 4
    assert records(dataset).keys() == {"clip01", "clip04", "clip07", "clip10"}
    assert extract(dataset, dataclasses.replace(FAST, split="train", limit=2)).selected == 2
    assert records(dataset).keys() == {"clip00", "clip01", "clip03", "clip04", "clip07", "clip10"}
    with pytest.raises(UsageError, match=r'no split "tset".*Did you mean "test"'):
        extract(dataset, dataclasses.replace(FAST, split="tset"))


def test_clips_that_are_not_here(make):
    with pytest.raises(DataError, match=r"Of 1 videos in the dataset mine none is here.*vtk download mine"):
        extract(make({"a": {}}, status="listed"), FAST)


def test_nothing_at_all_is_an_error_of_its_own(make):
    summary = extract(make({"a": {"do": "refuse"}, "b": {"do": "refuse"}}), FAST)
    with pytest.raises(DataError, match=r"Nothing was extracted: 2 of 2 clips failed.*The first: it is no video"):
        summary.check()


def test_a_store_with_other_settings_is_refused_and_left_alone(make):
    dataset = make({"a": {}})
    extract(dataset, FAST)
    before = sorted((path, path.stat().st_mtime_ns) for path in dataset.path.rglob("*.*") if "catalog" not in path.name)
    for change in ({"quality": 80}, {"square_pixels": False}, {"flow": "dis", "quality": 80}, {"shards": 8}):
        with pytest.raises((StoreError, UsageError), match=r"quality 95 where 80|square_pixels True where|--shards 8"):
            extract(dataset, dataclasses.replace(FAST, **change))
    after = sorted((path, path.stat().st_mtime_ns) for path in dataset.path.rglob("*.*") if "catalog" not in path.name)
    assert after == before
    extract(dataset, dataclasses.replace(FAST, frames=False, flow="dis", quality=80, shards=None))
    with pytest.raises(StoreError, match=r"flow.preset .medium. where 'fast' is asked for"):
        extract(
            dataset,
            dataclasses.replace(FAST, frames=False, flow="dis", quality=80, flow_settings=("flow.preset=fast",)),
        )


def test_a_new_store_takes_the_shards_of_its_neighbour(make):
    dataset = make({"a": {}})
    extract(dataset, FAST)
    extract(dataset, dataclasses.replace(WITH_FLOW, shards=None))
    assert read_meta(dataset.store("flow-dis-32")).shards == 4


def test_stores_with_different_shards_are_extracted_apart(make):
    dataset = make({"a": {}})
    extract(dataset, FAST)
    extract(dataset, dataclasses.replace(WITH_FLOW, frames=False, shards=3))
    with pytest.raises(UsageError, match=r"3 and 4 shards.*--no-frames"):
        extract(dataset, WITH_FLOW)


def test_a_full_disk_stops_with_nothing_committed_lost(make):
    clips = {f"n{i}": {"frames": 30, "seed": i} for i in range(6)}
    dataset = make({**clips, "n3": {"frames": 60, "do": "fill the disk"}})
    request = dataclasses.replace(FAST, shards=1, short_side=64)
    with pytest.raises(StoreError, match=r"Is the disk full\? What was committed is safe. Free space"):
        extract(dataset, dataclasses.replace(request, limit=4))
    before = records(dataset, "frames-64")
    (dataset.videos / "n3.json").write_text(json.dumps({"frames": 60, "seed": 3}))
    assert extract(dataset, request).failed == []
    after = records(dataset, "frames-64")
    assert after.keys() == {*clips, "n3"}
    assert {name: after[name] for name in before} == before


def test_workers_that_cannot_start_stop_the_run(make):
    dataset = make(MANY)
    with pytest.raises(PluginError, match=r"3 in a row ended without beginning a clip: .*exit code 9"):
        extract(dataset, dataclasses.replace(FAST, decoder="dies"))
    assert set(statuses(dataset).values()) == {("ready", "")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": False}, "neither"),
        ({"flow_settings": ("flow.tau=1",)}, "Name the method with --flow"),
        ({"short_side": 0}, "--short-side should be above 0"),
        ({"short_side": 33}, "even"),
        ({"quality": 101}, "1 to 100"),
        ({"workers": 0}, "--workers should be above 0"),
        ({"limit": -1}, "--limit should be above 0"),
        ({"part": (2, 2)}, "from 0 to N-1, found 2/2"),
        ({"time_limit": 0}, "--time-limit"),
    ],
)
def test_wrong_requests(change, message):
    with pytest.raises(UsageError, match=message):
        dataclasses.replace(FAST, **change)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"flow": "tvl2"}, UsageError, 'Did you mean "tvl1"'),
        ({"decoder": "script"}, UsageError, 'Did you mean "scripted"'),
        ({"flow": "dis", "flow_settings": ("flow.preste=fast",)}, UsageError, 'Did you mean "preset"'),
    ],
)
def test_wrong_names_change_nothing(make, change, error, message):
    dataset = make({"a": {}})
    with pytest.raises(error, match=message):
        extract(dataset, dataclasses.replace(FAST, **change))
    assert sorted(path.name for path in dataset.path.iterdir()) == ["catalog.sqlite", "videos"]


def test_tsn_layout(make, tmp_path):
    """N-1 of each, counted from 1, and the first picture is the second frame: their lists say 163 for 164 frames."""
    dataset = make({"a": {"frames": 4}, "b": {"frames": 2}, "one": {"frames": 1}})
    summary = extract(dataset, WITH_FLOW)
    exported = export(dataset, list(summary.stores.values()), tmp_path / "out", "tsn")
    assert (exported.videos, exported.written) == (2, 2)
    names = sorted(path.name for path in (tmp_path / "out" / "a").iterdir())
    assert names == [f"{kind}_{n:05d}.jpg" for kind in ("flow_x", "flow_y", "img") for n in (1, 2, 3)]
    with StoreReader(dataset.store("frames-32")) as frames, StoreReader(dataset.store("flow-dis-32")) as flow:
        assert (tmp_path / "out" / "a" / "img_00001.jpg").read_bytes() == frames.read("a", [1])[0]
        planes = decode_flow(flow.read("a", [0])[0]).astype(int)
    for name, plane in zip(("flow_x_00001.jpg", "flow_y_00001.jpg"), planes, strict=True):
        written = simplejpeg.decode_jpeg((tmp_path / "out" / "a" / name).read_bytes(), colorspace="GRAY")[..., 0]
        assert np.abs(written - plane).max() <= 2
    assert (tmp_path / "out" / "train.txt").read_text() == "a 3 0\nb 1 1\n"


def test_denseflow_layout(make, tmp_path):
    dataset = make({"a": {"frames": 4}, "b": {"frames": 2}}, splits=("train", "val"))
    summary = extract(dataset, WITH_FLOW)
    exported = export(dataset, list(summary.stores.values()), tmp_path / "out", "denseflow")
    names = sorted(path.name for path in (tmp_path / "out" / "a").iterdir())
    assert names == sorted(
        [f"img_{n:05d}.jpg" for n in range(4)] + [f"flow_{p}_{n:05d}.jpg" for p in "xy" for n in range(3)]
    )
    assert sorted(path.name for path in (tmp_path / "out" / ".done").iterdir()) == ["a", "b"]
    assert (tmp_path / "out" / "train.txt").read_text() == "a 4 0\n"
    assert (tmp_path / "out" / "val.txt").read_text() == "b 2 1\n"
    assert sorted(exported.lists) == [str(tmp_path / "out" / f"{name}.txt") for name in ("train", "val")]


def test_an_export_goes_on_where_it_stopped_and_takes_flow_later(make, tmp_path):
    dataset = make({"a": {"frames": 4}, "b": {"frames": 3}})
    extract(dataset, FAST)
    assert export(dataset, ["frames-32"], tmp_path / "out", "tsn").written == 2
    (tmp_path / "out" / "a").rename(tmp_path / "gone")
    (tmp_path / "out" / ".partial" / "a").mkdir(parents=True)
    assert export(dataset, ["frames-32"], tmp_path / "out", "tsn").written == 1
    extract(dataset, dataclasses.replace(WITH_FLOW, frames=False))
    assert export(dataset, ["flow-dis-32"], tmp_path / "out", "tsn").written == 2
    assert export(dataset, ["frames-32", "flow-dis-32"], tmp_path / "out", "tsn").written == 0
    assert len(list((tmp_path / "out" / "a").iterdir())) == 9
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "b", "train.txt"]


def test_an_export_that_cannot_be_written(make, tmp_path):
    dataset = make({"a": {}})
    extract(dataset, FAST)
    (tmp_path / "out").write_text("a file")
    with pytest.raises(DataError, match=r"The export to .*out cannot be written"):
        export(dataset, ["frames-32"], tmp_path / "out", "tsn")
