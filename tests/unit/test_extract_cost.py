"""What extraction costs: lengths of clips, the forecast of a run, the estimate of a dry run."""

import dataclasses
import json
import time

import numpy as np
import pytest
import scripted

from vtk_cli.catalog import Catalog
from vtk_cli.errors import DataError, PluginError, UsageError
from vtk_cli.extract import estimate as estimating
from vtk_cli.extract import forecast as forecasting
from vtk_cli.extract.estimate import estimate
from vtk_cli.extract.forecast import Forecast
from vtk_cli.extract.lengths import lengths
from vtk_cli.extract.plan import Request, make_plan
from vtk_cli.extract.run import extract
from vtk_cli.extract.sample import EVERY, SampledFlow
from vtk_cli.extract.worker import Beat, Outcome
from vtk_cli.store.lmdb_store import StoreReader

FAST = Request(decoder="scripted", short_side=32, workers=2, shards=4)
WITH_FLOW = dataclasses.replace(FAST, flow="dis", flow_settings=("flow.preset=ultrafast",))
CLIPS = {f"clip{i:02d}": {"frames": 20 + 10 * (i % 3), "seed": i} for i in range(24)}
FRAMES = sum(clip["frames"] for clip in CLIPS.values())


@pytest.fixture(autouse=True)
def _plugin(tmp_path, monkeypatch):
    scripted.install_decoder(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")


@pytest.fixture
def make(tmp_path):
    return lambda clips, **options: scripted.make_dataset(tmp_path / "root", clips, **options)


def plan_of(dataset, request, **options):
    with Catalog(dataset.catalog) as catalog:
        return make_plan(dataset, catalog, request, **options)


def count(dataset, frames):
    """Let the catalog know how many frames clips have."""
    with Catalog(dataset.catalog) as catalog:
        catalog.set_probe([(name, {"frames": number}) for name, number in frames.items()])


def test_lengths_come_from_the_best_that_is_known(make):
    dataset = make({name: {} for name in "abcdef"})
    with Catalog(dataset.catalog) as catalog:
        catalog.set_probe(
            [
                ("a", {"frames": 90, "listed_frames": 80, "duration_seconds": 9.0}),
                ("b", {"listed_frames": 50}),
                ("c", {"duration_seconds": 2.0, "fps": 10.0}),
                ("d", {"duration_seconds": 2.0}),
            ]
        )
        rows = {row.id: row for row in catalog.rows()}
    rows["e"] = dataclasses.replace(rows["e"], start_seconds=1.0, end_seconds=2.0, probe={"duration_seconds": 60.0})
    assert lengths(rows) == {"a": 90, "b": 50, "c": 20, "d": 60, "e": 30, "f": 50}
    assert set(lengths({"f": rows["f"]}).values()) == {1.0}


def test_the_longest_shards_come_first(make):
    dataset = make(CLIPS)
    count(dataset, {name: clip["frames"] for name, clip in CLIPS.items()})
    tasks = plan_of(dataset, FAST).tasks
    assert len(tasks) == 4
    found = [sum(CLIPS[clip.id]["frames"] for clip in task.clips) for task in tasks]
    assert found == sorted(found, reverse=True)


def test_a_forecast_weighs_clips_by_length_and_counts_what_other_parts_lack(make):
    dataset = make(CLIPS)
    count(dataset, {name: clip["frames"] for name, clip in CLIPS.items()})
    plan = plan_of(dataset, dataclasses.replace(FAST, part=(0, 2)))
    forecast = Forecast(plan)
    assert (forecast.share, forecast.stores_bytes()) == (0.0, None)
    part = [clip.id for task in plan.tasks for clip in task.clips]
    for name in part[:3]:
        forecast.count(Beat(CLIPS[name]["frames"]))
        forecast.count(Outcome(id=name, stored={"frames": 1000 * CLIPS[name]["frames"]}))
    done = sum(CLIPS[name]["frames"] for name in part[:3])
    assert forecast.share == pytest.approx(done / sum(CLIPS[name]["frames"] for name in part))
    assert forecast.stores_bytes() == pytest.approx(1000 * FRAMES)
    forecast.count(Outcome(id=part[3], cause="it is no video"))
    assert forecast.failed == 1
    assert forecast.stores_bytes() < 1000 * FRAMES
    assert ", 1 failed" in forecast.note()
    assert " frames/s, 0 B of about " in forecast.note()


def test_a_forecast_after_a_resume_begins_with_what_is_there(make):
    dataset = make(CLIPS)
    extract(dataset, dataclasses.replace(FAST, limit=12))
    with StoreReader(dataset.store("frames-32")) as reader:
        there = len(list(reader.ids()))
    used = forecasting.used_bytes([dataset.store("frames-32")])
    forecast = Forecast(plan_of(dataset, FAST))
    assert there == 12
    assert f"{forecasting.size(used)}" in forecast.note()
    left = [clip.id for task in plan_of(dataset, FAST).tasks for clip in task.clips]
    forecast.count(Outcome(id=left[0], stored={"frames": 5000}))
    assert forecast.share == pytest.approx(1 / 12)
    assert forecast.stores_bytes() == pytest.approx(used + 12 * 5000)


def test_a_disk_that_will_not_do_is_warned_of_once(make, monkeypatch, capsys):
    dataset = make(CLIPS)
    monkeypatch.setattr(forecasting, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(forecasting, "free_bytes", lambda _: 20_000)
    forecast = Forecast(plan_of(dataset, FAST))
    for number, name in enumerate(CLIPS):
        forecast.count(Outcome(id=name, stored={"frames": 1000}))
        forecast.note()
        warned = "The disk does not suffice" in capsys.readouterr().err
        assert warned == (number == forecasting._LEAST_CLIPS - 1)
    monkeypatch.setattr(forecasting, "free_bytes", lambda _: 30_000)
    forecast = Forecast(plan_of(dataset, FAST))
    for name in CLIPS:
        forecast.count(Outcome(id=name, stored={"frames": 1000}))
        forecast.note()
    assert "suffice" not in capsys.readouterr().err


def test_an_estimate_is_what_extraction_then_takes_and_writes_nothing(make):
    dataset = make(CLIPS)
    count(dataset, {name: clip["frames"] for name, clip in CLIPS.items()})
    before = sorted(dataset.path.rglob("*"))
    found = estimate(dataset, WITH_FLOW)
    assert sorted(path for path in dataset.path.rglob("*") if path.name != "decoded.log") == before
    assert (found.clips, found.selected, found.present) == (24, 24, {"frames": 0, "flow": 0})
    assert (found.frames, found.pairs, found.workers) == (FRAMES, FRAMES - 24, 2)
    assert (found.sampled, found.sample_failed, found.enough) == (16, [], True)
    taken = extract(dataset, WITH_FLOW).stored_bytes
    for name, bytes_ in found.store_bytes.items():
        assert bytes_ == pytest.approx(taken[name], rel=0.15)
    assert found.all_parts_bytes == sum(found.store_bytes.values())
    again = estimate(dataset, WITH_FLOW)
    assert (again.clips, again.sampled, again.all_parts_bytes, again.seconds) == (0, 0, 0, 0)
    assert "nothing is to be done" in again.lines()[0]


def test_an_estimate_of_a_part_and_of_what_only_one_store_lacks(make):
    dataset = make(CLIPS)
    extract(dataset, FAST)
    parts = [estimate(dataset, dataclasses.replace(WITH_FLOW, part=(number, 2))) for number in range(2)]
    assert sum(part.clips for part in parts) == 24
    for part in parts:
        assert part.store_bytes["frames"] == 0
        assert part.store_bytes["flow"] < part.all_parts_bytes
        assert part.workers == 2


def test_time_is_that_of_the_busiest_worker(make):
    """Four shards: three workers need two rounds of the largest and the next."""
    dataset = make({name: {"frames": 2, "seconds": 0.05} for name in CLIPS})
    plan = plan_of(dataset, FAST, create=False)
    outcomes = [Outcome(id=name, pictures=2, seconds=1.0) for name in list(CLIPS)[:8]]
    costs = estimating._Costs(
        plan, {"frames": set(CLIPS)}, outcomes=[*outcomes[:-1], dataclasses.replace(outcomes[-1], stored={"frames": 9})]
    )
    sizes = [len(task.clips) for task in plan.tasks]
    assert costs.seconds(plan.tasks, 1) == pytest.approx(24)
    assert costs.seconds(plan.tasks, 3) == pytest.approx(max(sizes[0], sizes[2] + sizes[3]))
    assert costs.seconds(plan.tasks, 64) == pytest.approx(sizes[0])


def test_failures_of_the_sample_are_told_and_all_of_them_are_an_error(make):
    dataset = make({"a": {}, "b": {"do": "crash"}, "c": {"do": "refuse"}})
    found = estimate(dataset, FAST)
    assert {failure.id: failure.cause for failure in found.sample_failed} == {
        "b": "the decoder crashed on it (SIGSEGV)",
        "c": "it is no video",
    }
    assert any("2 of these fail; the first, " in line for line in found.lines())
    with Catalog(dataset.catalog) as catalog:
        catalog.set_status([("a", "missing", ""), ("b", "missing", "")])
    with pytest.raises(DataError, match=r"all 1 that were tried fail. The first, c: it is no video"):
        estimate(dataset, FAST)


def test_a_disk_without_room_is_told(make, monkeypatch):
    dataset = make(CLIPS)
    monkeypatch.setattr(estimating, "free_bytes", lambda _: 1000)
    found = estimate(dataset, FAST)
    assert not found.enough
    assert "1.0 kB are free" in found.warning()
    assert not any("free" in line for line in found.lines())


def test_a_sample_of_long_clips_ends_in_time(make, monkeypatch):
    monkeypatch.setattr(estimating, "SAMPLE_SECONDS", 1.0)
    dataset = make({name: {"frames": 12, "seconds": 0.05} for name in CLIPS})
    begun = time.monotonic()
    found = estimate(dataset, FAST)
    assert 1 <= found.sampled < 16
    assert time.monotonic() - begun < 30


class Counted:
    batch = 1

    def __init__(self):
        self.calls = 0

    def many(self, previous_NHW, following_NHW):
        self.calls += 1
        time.sleep(0.001)
        return np.full((len(previous_NHW), 1, 2, 4, 4), self.calls, np.float32)


def test_a_sample_of_flow_computes_few_pairs_and_tells_what_all_would_take():
    method = Counted()
    sampled = SampledFlow(method)
    pair = np.zeros((1, 4, 4), np.uint8)
    results = [sampled.many(pair, pair)[0, 0, 0, 0, 0] for _ in range(2 * EVERY)]
    assert results == [1] * EVERY + [2] * EVERY
    assert method.calls == 2
    assert 0.05 < sampled.take_seconds_left_out() < 2
    assert sampled.take_seconds_left_out() == 0
    assert sampled.many(np.zeros((3, 4, 4), np.uint8), np.zeros((3, 4, 4), np.uint8)).shape[0] == 3
    assert sampled.many(pair, pair).shape[0] == 1
    assert method.calls == 3


def test_an_engine_that_does_not_exist():
    with pytest.raises(UsageError, match=r'no engine "rey".*Did you mean "ray"'):
        dataclasses.replace(FAST, engine="rey")


def test_ray_that_is_not_installed_is_told_before_anything_is_made(make, monkeypatch):
    monkeypatch.setattr("vtk_cli.extract.ray_engine.find_spec", lambda _: None)
    dataset = make({"a": {}})
    for function in (extract, estimate):
        with pytest.raises(PluginError, match=r'pip install "vtk-cli\[ray\]"'):
            function(dataset, dataclasses.replace(FAST, engine="ray"))
    assert not dataset.store("frames-32").exists()


def test_workers_that_will_idle_are_told_of(make, capsys):
    dataset = make(CLIPS)
    extract(dataset, dataclasses.replace(FAST, workers=8))
    err = capsys.readouterr().err
    assert "8 workers were asked for and 4 will work" in err
    assert "--shards 32" in err
    assert json.loads((dataset.store("frames-32") / "meta.json").read_text())["shards"] == 4
