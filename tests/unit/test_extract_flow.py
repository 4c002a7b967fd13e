"""Flow in batches, warped flow and the codecs of flow, through whole extractions."""

import dataclasses
import json

import av
import numpy as np
import pytest
import scripted
import simplejpeg

from vtk_cli.catalog import Catalog
from vtk_cli.check.run import check
from vtk_cli.errors import StoreError, UsageError
from vtk_cli.extract.layouts import export
from vtk_cli.extract.plan import Request
from vtk_cli.extract.run import extract
from vtk_cli.flow.quantize import codec_of, decode_flow
from vtk_cli.index.request import IndexRequest
from vtk_cli.index.run import make_dataset
from vtk_cli.store.lmdb_store import StoreReader
from vtk_cli.store.meta import read_meta
from vtk_cli.workspace import Workspace

TOY = Request(decoder="scripted", short_side=64, workers=1, shards=4, flow="toy")
WARPED = dataclasses.replace(TOY, warped=True)
CLIPS = {"a": {"frames": 10}, "b": {"frames": 2}, "c": {"frames": 5, "seed": 7}}


@pytest.fixture(autouse=True)
def _plugin(tmp_path, monkeypatch):
    scripted.install_decoder(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "toy.log"))


@pytest.fixture
def make(tmp_path):
    return lambda clips=CLIPS, name="mine": scripted.make_dataset(tmp_path / "root", clips, name=name)


@pytest.fixture
def batches(tmp_path):
    """Sizes of the batches that the toy got since the last question."""

    def take():
        log = tmp_path / "toy.log"
        sizes = [int(word) for word in log.read_text().split()] if log.exists() else []
        log.unlink(missing_ok=True)
        return sizes

    return take


def records(dataset, store):
    with StoreReader(dataset.store(store)) as reader:
        return {
            name: [bytes(data) for data in reader.read(name, range(reader.num_frames(name)))] for name in reader.ids()
        }


@pytest.mark.parametrize("warped", [False, True])
def test_records_do_not_depend_on_the_size_of_batches(make, batches, warped):
    found = []
    for batch, sizes in ((1, [1] * 14), (4, [4, 4, 1, 1, 4]), (64, [9, 1, 4])):
        dataset = make(name=f"batch{batch}")
        request = dataclasses.replace(TOY, warped=warped, flow_settings=(f"flow.batch={batch}",))
        assert extract(dataset, request).failed == []
        found.append({store: records(dataset, store) for store in dataset.stores()})
        taken = batches()
        if not warped:
            assert sorted(taken) == sorted(sizes)
        assert max(taken) <= batch
    assert found[0] == found[1] == found[2]
    assert [len(found[0]["flow-toy-64"][name]) for name in "abc"] == [9, 1, 4]


def test_a_batch_that_fails_leaves_the_frames(make):
    dataset = make()
    request = dataclasses.replace(WARPED, flow_settings=("flow.batch=4", "flow.fails_at=1"))
    summary = extract(dataset, request)
    assert summary.present["frames"] == 3
    failed = {(failure.id, failure.store) for failure in summary.failed}
    assert failed == {(clip, f"{kind}-toy-64") for clip in summary_failures(summary) for kind in ("flow", "warped")}
    assert {failure.cause for failure in summary.failed} == {"RuntimeError: the toy broke"}


def summary_failures(summary):
    """Which clip is the second to be computed depends on the shards."""
    clips = {failure.id for failure in summary.failed}
    assert len(clips) == 1
    return clips


def test_frames_flow_and_warped_flow_come_from_one_pass(make):
    dataset = make()
    summary = extract(dataset, WARPED)
    assert summary.stores == {"frames": "frames-64", "flow": "flow-toy-64", "warped": "warped-toy-64"}
    assert (summary.present, summary.failed) == ({"frames": 3, "flow": 3, "warped": 3}, [])
    assert len((dataset.videos / "decoded.log").read_text().splitlines()) == 3
    meta = read_meta(dataset.store("warped-toy-64"))
    assert (meta.modality, meta.method, meta.bound) == ("warped", "toy", 20)
    assert meta.parameters["gain"] == 1
    assert meta.parameters["warp.ransac_threshold"] == 0.5
    assert records(dataset, "warped-toy-64").keys() == {"a", "b", "c"}


def test_what_was_not_compensated_is_noted(make):
    """Random squares have nothing to match."""
    dataset = make()
    extract(dataset, dataclasses.replace(WARPED, flow_settings=("warp.min_inliers=100000",)))
    with Catalog(dataset.catalog) as catalog:
        causes = {row.id: (row.status, row.cause) for row in catalog.rows()}
    assert causes["a"] == ("ready", "camera motion not compensated in 9 of 9 pairs (9 too few matches)")
    assert records(dataset, "flow-toy-64") == records(dataset, "warped-toy-64")


def test_only_what_is_lacking_is_written(make, batches):
    dataset, whole = make(), make(name="whole")
    extract(dataset, TOY)
    before = {store: records(dataset, store) for store in dataset.stores()}
    summary = extract(dataset, dataclasses.replace(WARPED, shards=None))
    assert summary.extracted == 3
    extract(whole, WARPED)
    assert {store: records(dataset, store) for store in before} == before
    assert records(dataset, "warped-toy-64") == records(whole, "warped-toy-64")
    batches()
    assert extract(dataset, dataclasses.replace(WARPED, shards=None)).extracted == 0
    assert batches() == []


def test_warped_flow_without_frames(make):
    dataset = make()
    summary = extract(dataset, dataclasses.replace(WARPED, frames=False))
    assert sorted(summary.stores) == ["flow", "warped"]
    assert dataset.stores() == ["flow-toy-64", "warped-toy-64"]


def test_a_clip_of_one_frame_has_no_flow_of_any_kind(make):
    summary = extract(make({"one": {"frames": 1}, "two": {"frames": 2}}), WARPED)
    assert summary.present == {"frames": 2, "flow": 1, "warped": 1}
    assert {failure.cause for failure in summary.failed} == {"it has one frame; flow needs two"}
    assert {failure.store for failure in summary.failed} == {"flow-toy-64", "warped-toy-64"}


def test_another_compensation_is_another_store(make):
    dataset = make()
    extract(dataset, WARPED)
    with pytest.raises(StoreError, match=r"warped-toy-64 holds other data: warp.cell 8 where 16 is asked for"):
        extract(dataset, dataclasses.replace(WARPED, flow_settings=("warp.cell=16",)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flow": "", "warped": True}, "--warped needs a flow method"),
        ({"flow": "", "flow_codec": "png"}, "--flow-codec png is how flow is stored"),
        ({"flow_codec": "gif"}, 'should be jpeg or png, found "gif"'),
    ],
)
def test_wrong_requests(change, message):
    with pytest.raises(UsageError, match=message):
        dataclasses.replace(TOY, **change)


def test_settings_of_the_compensation_need_it(make):
    with pytest.raises(UsageError, match=r"warp.cell=4 changes how the camera's motion is undone.*--warped"):
        extract(make(), dataclasses.replace(TOY, flow_settings=("warp.cell=4",)))


def test_a_lossless_store(make):
    """The same flow as with JPEG, but for what JPEG makes of it."""
    jpeg, png = make(name="jpeg"), make(name="png")
    extract(jpeg, dataclasses.replace(WARPED, quality=20))
    extract(png, dataclasses.replace(WARPED, quality=20, flow_codec="png"))
    meta = read_meta(png.store("flow-toy-64"))
    assert (meta.codec, meta.quality) == ("png", 0)
    assert read_meta(png.store("frames-64")).codec == "jpeg"
    assert records(png, "frames-64") == records(jpeg, "frames-64")
    lossy, exact = records(jpeg, "flow-toy-64")["a"][3], records(png, "flow-toy-64")["a"][3]
    assert (codec_of(lossy), codec_of(exact)) == ("jpeg", "png")
    assert 0 < np.abs(decode_flow(lossy).astype(int) - decode_flow(exact)).mean() < 3


def test_a_store_keeps_its_codec(make):
    dataset = make()
    extract(dataset, TOY)
    with pytest.raises(StoreError, match=r"holds other data: codec 'jpeg' where 'png' is asked for\. Ask"):
        extract(dataset, dataclasses.replace(TOY, flow_codec="png"))
    extract(dataset, dataclasses.replace(TOY, short_side=32, flow_codec="png", shards=None))
    with pytest.raises(StoreError, match=r"codec 'png' where 'jpeg' is asked for\. Ask"):
        extract(dataset, dataclasses.replace(TOY, short_side=32, shards=None))


def test_check_counts_pairs_of_warped_stores(make):
    dataset = make()
    extract(dataset, dataclasses.replace(WARPED, flow_codec="png"))
    report = check(dataset, split=None, decode=False, workers=1, limit_seconds=60, decoder="pyav")
    stores = {store.name: (store.videos, store.findings) for store in report.stores}
    assert stores == dict.fromkeys(("flow-toy-64", "frames-64", "warped-toy-64"), (3, ()))


@pytest.mark.parametrize("layout", ["tsn", "denseflow"])
def test_warped_flow_is_exported_beside_flow(make, tmp_path, layout):
    dataset = make()
    summary = extract(dataset, WARPED)
    export(dataset, list(summary.stores.values()), tmp_path / "out", layout)
    names = sorted(path.name for path in (tmp_path / "out" / "c").iterdir())
    first, frames = {"tsn": (1, 4), "denseflow": (0, 5)}[layout]
    pairs = [f"{kind}_{p}_{n:05d}.jpg" for kind in ("flow", "warped") for p in "xy" for n in range(first, first + 4)]
    assert names == sorted([*pairs, *(f"img_{n:05d}.jpg" for n in range(first, first + frames))])
    assert (tmp_path / "out" / "train.txt").read_text().splitlines()[2].split()[:2] == ["c", str(frames)]
    only = export(dataset, ["warped-toy-64"], tmp_path / "warped", layout)
    assert only.written == 3
    assert (tmp_path / "warped" / "train.txt").read_text() == (tmp_path / "out" / "train.txt").read_text()
    x = simplejpeg.decode_jpeg((tmp_path / "out" / "c" / f"warped_x_{first:05d}.jpg").read_bytes(), colorspace="GRAY")
    assert np.abs(x[..., 0].astype(int) - decode_flow(records(dataset, "warped-toy-64")["c"][0])[0]).max() <= 4


@pytest.mark.parametrize(("layout", "known"), [("tsn", "tsn-frames"), ("denseflow", "denseflow-frames")])
def test_lossless_flow_goes_out_and_comes_in_unchanged(make, tmp_path, layout, known):
    dataset = make()
    summary = extract(dataset, dataclasses.replace(TOY, flow_codec="png"))
    export(dataset, list(summary.stores.values()), tmp_path / "out" / "walk", layout)
    exported = tmp_path / "out" / "walk" / "a" / "flow_x_00001.png"
    with av.open(str(exported)) as file:  # other tools read it
        picture = next(file.decode(video=0)).to_ndarray(format="gray")
    offset = {"tsn": 0, "denseflow": 1}[layout]
    assert (picture == decode_flow(records(dataset, "flow-toy-64")["a"][offset])[0]).all()
    workspace = Workspace(tmp_path / "again")
    make_dataset(workspace, "again", IndexRequest(path=tmp_path / "out", format=known, bound=20, flow_method="toy"))
    taken = workspace.dataset("again")
    assert read_meta(taken.store("flow-toy-64")).codec == "png"
    found = {
        name.rpartition("/")[2].rpartition("__")[2]: pairs for name, pairs in records(taken, "flow-toy-64").items()
    }
    assert found == records(dataset, "flow-toy-64")


def test_a_damaged_png_among_folders_is_named(make, tmp_path):
    dataset = make({"a": {"frames": 4}, "b": {"frames": 3}})
    summary = extract(dataset, dataclasses.replace(TOY, flow_codec="png"))
    export(dataset, list(summary.stores.values()), tmp_path / "out" / "walk", "tsn")
    broken = tmp_path / "out" / "walk" / "b" / "flow_y_00002.png"
    broken.write_bytes(broken.read_bytes()[:-30])
    workspace = Workspace(tmp_path / "again")
    make_dataset(workspace, "again", IndexRequest(path=tmp_path / "out", format="tsn-frames", flow_method="toy"))
    with StoreReader(workspace.dataset("again").store("flow-toy-64")) as reader:
        causes = dict(reader.failures())
    assert len(causes) == 1
    assert "flow_y_00002.png should be a grey PNG, found: it is cut off" in json.dumps(list(causes.values()))
