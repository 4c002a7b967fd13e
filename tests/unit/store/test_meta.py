import dataclasses
import json
import multiprocessing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtk_cli.api.stores import StoreMeta
from vtk_cli.errors import StoreError
from vtk_cli.store import meta as module
from vtk_cli.store.meta import create_store, read_meta, shard_of, store_name

FLOW = StoreMeta(
    modality="flow",
    short_side=64,
    quality=95,
    shards=4,
    method="tvl1",
    parameters={"tau": 0.25, "warps": 5},
    bound=20.0,
)


def test_a_store_is_its_meta_and_nothing_else(tmp_path):
    assert create_store(tmp_path / "a" / "flow-tvl1-64", FLOW) == FLOW
    assert read_meta(tmp_path / "a" / "flow-tvl1-64") == FLOW
    assert [path.name for path in (tmp_path / "a").rglob("*")] == ["flow-tvl1-64", "meta.json"]


def test_a_lossless_store_has_no_quality(tmp_path):
    png = dataclasses.replace(FLOW, codec="png", quality=0)
    assert create_store(tmp_path / "s", png) == png
    assert create_store(tmp_path / "s", dataclasses.replace(png, quality=80)) == png


def test_the_shards_of_a_store_stay_as_made(tmp_path):
    create_store(tmp_path / "s", FLOW)
    assert create_store(tmp_path / "s", dataclasses.replace(FLOW, shards=9)).shards == 4


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"quality": 90}, "quality 95 where 90 is asked for"),
        ({"square_pixels": False}, "square_pixels True where False"),
        ({"decoder": "ffmpeg"}, "decoder 'pyav' where 'ffmpeg'"),
        ({"short_side": 128}, "short_side 64 where 128"),
        ({"parameters": {"tau": 0.1, "warps": 5}}, "flow.tau 0.25 where 0.1"),
        ({"parameters": {"tau": 0.25}}, "flow.warps 5 where None"),
        ({"parameters": {**FLOW.parameters, "warp.cell": 8}}, "warp.cell None where 8"),
        ({"codec": "png", "quality": 0}, "codec 'jpeg' where 'png' is asked for. Ask"),
        ({"bound": 32.0}, "bound 20.0 where 32.0"),
    ],
)
def test_other_settings_are_refused_by_name(tmp_path, change, named):
    create_store(tmp_path / "s", FLOW)
    before = (tmp_path / "s" / "meta.json").read_bytes()
    with pytest.raises(StoreError, match=named) as caught:
        create_store(tmp_path / "s", dataclasses.replace(FLOW, **change))
    assert "move the folder away" in str(caught.value)
    assert (tmp_path / "s" / "meta.json").read_bytes() == before


def test_no_store(tmp_path):
    with pytest.raises(StoreError, match=r"There is no store at .*vtk extract"):
        read_meta(tmp_path / "none")


GOOD = dataclasses.asdict(FLOW)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "\x00" * 300,
        json.dumps({**GOOD, "short_side": "64"}),
        json.dumps({**GOOD, "shards": 0}),
        json.dumps({**GOOD, "modality": "sound"}),
        json.dumps({**GOOD, "colour": 1}),
        json.dumps({key: value for key, value in GOOD.items() if key != "quality"}),
        json.dumps({**GOOD, "codec": "gif"}),
        json.dumps({**GOOD, "codec": "raw"}),
        json.dumps({**GOOD, "modality": "rgb", "codec": "png"}),
    ],
)
def test_damage(tmp_path, text):
    (tmp_path / "meta.json").write_text(text)
    with pytest.raises(StoreError, match=r"is damaged: .*extract anew"):
        read_meta(tmp_path)


def test_a_later_version_is_not_called_damage(tmp_path):
    (tmp_path / "meta.json").write_text(json.dumps({"version": 2, "colours": 3}))
    with pytest.raises(StoreError, match="version 1, found 2"):
        read_meta(tmp_path)


def test_a_full_disk_makes_no_store(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_write_durably", full)
    with pytest.raises(StoreError, match="No space left"):
        create_store(tmp_path / "s", FLOW)
    assert not (tmp_path / "s" / "meta.json").exists()


def test_processes_that_make_it_at_once_agree(tmp_path):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        metas = [dataclasses.replace(FLOW, shards=n) for n in (2, 3, 4, 5)]
        found = pool.starmap(create_store, [(tmp_path / "s", meta) for meta in metas])
    assert len({meta.shards for meta in found}) == 1
    assert [path.name for path in tmp_path.rglob("*")] == ["s", "meta.json"]


def test_names():
    frames = StoreMeta(modality="rgb", short_side=256, quality=95, shards=4)
    assert store_name(frames) == "frames-256"
    assert store_name(FLOW) == "flow-tvl1-64"
    assert store_name(dataclasses.replace(FLOW, modality="warped")) == "warped-tvl1-64"


@given(st.text(min_size=1), st.integers(1, 300))
def test_every_video_has_a_shard(video_id, shards):
    assert 0 <= shard_of(video_id, shards) < shards


def test_videos_spread_evenly():
    counts = [0] * 16
    for number in range(8000):
        counts[shard_of(f"video_{number}", 16)] += 1
    assert min(counts) > 400
    assert max(counts) < 600
