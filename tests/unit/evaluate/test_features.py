"""Vectors of windows: which windows, what the network is asked for, and the store that comes of it."""

import doctest
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vtk_cli.api.inputs import FeatureSpec, Stream
from vtk_cli.api.sampling import dense, first, sliding_windows
from vtk_cli.catalog import Catalog
from vtk_cli.check.stores import check_store
from vtk_cli.errors import CheckpointError, DataError, PluginError, StoreError, UsageError
from vtk_cli.evaluate import feature_windows
from vtk_cli.evaluate.classifier import load
from vtk_cli.evaluate.feature_store import FeatureRequest, extract_features
from vtk_cli.evaluate.feature_windows import MOST_PICTURES, ClipPlan, FeatureWindows
from vtk_cli.evaluate.features import ComputedFeatures, Extractor, find_origin
from vtk_cli.evaluate.views import Scorer
from vtk_cli.loader.device import model_arguments
from vtk_cli.loader.options import DataOptions
from vtk_cli.loader.source import own_file
from vtk_cli.loader.split import clip_of
from vtk_cli.store.lmdb_store import ShardWriter, StoreReader
from vtk_cli.store.meta import meta_values, shard_of
from vtk_cli.store.vectors import unpack_vectors
from vtk_models.tsn import MODEL

CPU = torch.device("cpu")
INPUTS = MODEL.inputs(tiny.CONFIG)
HERE = DataOptions(workers=0)
EVERY3 = FeatureWindows(stride=3)


def test_the_examples_are_true():
    assert doctest.testmod(feature_windows).failed == 0


@given(st.integers(1, 400), st.integers(1, 60), st.integers(1, 90))
def test_windows_every_few_frames_cover_the_video(length, stride, span):
    windows = FeatureWindows(stride=stride).cut(length, span)
    assert_covers(windows, length)
    starts = [start for start, _ in windows]
    assert all(after - before == stride for before, after in pairwise(starts[:-1]))
    assert {frames for _, frames in windows} == {min(length, max(stride, span))}


@given(st.integers(1, 400), st.integers(1, 60), st.integers(1, 90))
def test_so_many_windows_cover_the_video(length, count, span):
    windows = FeatureWindows(count=count).cut(length, span)
    assert_covers(windows, length)
    assert len(windows) <= count
    assert len(windows) == count or length < 2 * count + span
    gaps = {after - before for (before, _), (after, _) in pairwise(windows)}
    assert not gaps or max(gaps) - min(gaps) <= 1


def assert_covers(windows, length):
    assert windows[0][0] == 0
    assert sum(windows[-1]) == length
    assert windows == sorted(set(windows))
    assert all(start + frames >= after for (start, frames), (after, _) in pairwise(windows))


def test_a_clip_of_ten_seconds_gives_ten_to_twenty_vectors():
    for fps in (24, 25, 30):
        assert 10 <= len(FeatureWindows(stride=16).cut(10 * fps, 64)) <= 20


def test_windows_are_of_one_kind():
    for wrong in ({}, {"count": 3, "stride": 4}, {"count": 0}, {"stride": 0}):
        with pytest.raises(UsageError, match=r"--windows|--stride"):
            FeatureWindows(**wrong)
    assert FeatureWindows.of({"windows": None, "stride": 4}) == FeatureWindows(stride=4)


@pytest.mark.parametrize("sampler", [INPUTS.test.sampler, dense, sliding_windows])
def test_each_windows_clip_lies_in_it(sampler):
    view = replace(INPUTS.test, segments=1, frames=4, stride=2, sampler=sampler)
    plan = ClipPlan(replace(INPUTS, test=view), FeatureWindows(stride=8), 16)
    assert plan.span == 8
    grids = plan.grids(30)
    assert [len(grid) for grid in grids] == [4, 4, 4, 4]
    windows = plan.windows.cut(30, 8)
    for (start, frames), grid in zip(windows, grids, strict=True):
        assert all(start <= number < start + frames for number in grid)
    assert all(0 <= number < 3 for grid in plan.grids(3) for number in grid)


@pytest.mark.parametrize(("segments", "at_once"), [(1, 16), (25, 16), (64, 8), (1000, 1)])
def test_a_forward_pass_is_bounded(segments, at_once):
    plan = ClipPlan(replace(INPUTS, test=replace(INPUTS.test, segments=segments)), EVERY3, 16)
    assert plan.windows_at_once == at_once
    assert at_once * segments <= max(MOST_PICTURES, segments)


class Head(nn.Module):
    """A classifier that is a convolution, on features with positions: as 3D networks end."""

    def __init__(self, layer):
        super().__init__()
        self.fc = layer

    def forward(self, clip_BTNCHW):
        x = clip_BTNCHW.flatten(1, 2).transpose(1, 2)  # B C TN H W
        if isinstance(self.fc, nn.Linear):
            x = x.permute(0, 2, 3, 4, 1)
        return self.fc(x).flatten(1)


def extractor(layer, name="fc", inputs=INPUTS):
    return Extractor(Scorer(module=Head(layer).eval(), inputs=inputs, device=CPU), name, EVERY3)


@pytest.mark.parametrize("layer", [nn.Linear(3, 2), nn.Conv3d(3, 2, 1)])
def test_positions_and_segments_are_averaged(layer):
    clip_WTNCHW = torch.randint(0, 256, (4, 3, 1, 3, 8, 8), dtype=torch.uint8)
    found = extractor(layer).vectors(clip_WTNCHW)
    (seen,) = model_arguments(INPUTS, CPU, clip_WTNCHW)
    torch.testing.assert_close(found, seen.mean((1, 2, 4, 5)))
    assert not found.requires_grad


def test_a_layer_that_is_no_classifier_is_refused():
    with pytest.raises(PluginError, match='its layer "head", which it does not have'):
        extractor(nn.Linear(3, 2), "head")
    with pytest.raises(PluginError, match="should be a linear layer or a convolution, found ReLU"):
        extractor(nn.ReLU())

    class Unused(Head):
        def forward(self, clip_BTNCHW):
            return clip_BTNCHW.mean((1, 2, 4, 5))

    unused = Extractor(Scorer(module=Unused(nn.Linear(3, 2)), inputs=INPUTS, device=CPU), "fc", EVERY3)
    with pytest.raises(PluginError, match="found that it is not called"):
        unused.vectors(torch.zeros(2, 3, 1, 3, 8, 8, dtype=torch.uint8))
    spec = FeatureSpec(streams=(Stream(name="rgb", size=3),), sampler=first)
    with pytest.raises(UsageError, match="one that reads features"):
        extractor(nn.Linear(3, 2), inputs=spec)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A dataset with a store of frames, one clip of it broken, and a run of an untrained TSN."""
    world = tiny.make(tmp_path_factory.mktemp("made"), videos=5)
    tiny.extract(world)
    return world, tiny.make_run(world)


@pytest.fixture(scope="module")
def network(made):
    return load(made[1].path)


def vectors(world, name):
    with StoreReader(world.dataset.store(name)) as reader:
        return {
            id_: unpack_vectors(reader.read(id_, range(reader.num_frames(id_))), reader.meta) for id_ in reader.ids()
        }


def request(name, **changes):
    return FeatureRequest(**{"windows": EVERY3, "name": name, "shards": 3, "options": HERE, **changes})


@pytest.fixture(scope="module")
def reference(made, network):
    extract_features(made[0].dataset, network, request("reference"))
    return vectors(made[0], "features-reference")


def test_a_vector_is_what_the_classifier_is_given(made, network, reference):
    """Averaged over the segments of a window's clip, of its centre crop."""
    world, _ = made
    seen = []
    network.module.fc.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    assert {len(found) for found in reference.values()} == {4}  # 12 frames, one every 3
    with StoreReader(world.dataset.store("features-reference")) as reader:
        meta = reader.meta
    assert meta.streams == (("rgb", 512),)
    assert meta.origin["view"]["segments"] == 3
    inputs = replace(network.inputs, test=replace(network.inputs.test, clips=1, crops=1))
    plan = ClipPlan(inputs, EVERY3, 16)
    clip = own_file(world.video(0))
    (clip_WTNCHW,) = plan.clips(network.source, clip, plan.grids(12))
    with torch.inference_mode():
        network.module(*model_arguments(inputs, CPU, clip_WTNCHW))
    expected = seen[0].reshape(4, -1, 512).mean(1).numpy()
    difference = np.abs(expected - reference["clip-0"].astype(np.float32)).mean()
    assert difference < 0.05 * np.abs(expected).mean()  # JPEG in the store, float16


@pytest.mark.parametrize("changes", [{"options": DataOptions(workers=2)}, {"part": (0, 2)}, {"limit": 2}])
def test_a_videos_vectors_depend_on_nothing_else(made, network, reference, changes):
    name = "-".join(changes)
    summary = extract_features(made[0].dataset, network, request(name, **changes))
    found = vectors(made[0], f"features-{name}")
    assert summary.present == {"features": len(found)}
    if "part" in changes:
        assert all(shard_of(id_, 3) % 2 == 0 for id_ in found)
        rest = extract_features(made[0].dataset, network, request(name, part=(1, 2)))
        assert (summary.extracted + rest.extracted, rest.failed) == (5, [])
        found = vectors(made[0], f"features-{name}")
    assert len(found) == (2 if "limit" in changes else 5)
    assert all(np.array_equal(found[id_], reference[id_]) for id_ in found)


def test_portions_of_any_size_give_nearly_the_same(made, reference):
    small = load(made[1].path, view_batch=1)
    extract_features(made[0].dataset, small, request("small", dtype="float32"))
    found = vectors(made[0], "features-small")
    assert found["clip-0"].dtype == np.float32
    assert np.allclose(found["clip-0"], reference["clip-0"], rtol=2e-3, atol=1e-4)


def test_running_again_changes_nothing(made, network, reference):
    summary = extract_features(made[0].dataset, network, request("reference"))
    assert (summary.extracted, summary.present, summary.selected) == (0, {"features": 5}, 5)
    with pytest.raises(StoreError, match=r"stride 3 where 4 is asked for.*--as"):
        extract_features(made[0].dataset, network, request("reference", windows=FeatureWindows(stride=4)))
    with pytest.raises(UsageError, match="found 3, and --shards 4"):
        extract_features(made[0].dataset, network, request("reference", shards=4))


def test_a_clip_that_cannot_be_read_is_a_failure_with_its_cause_and_can_be_tried_again(tmp_path):
    world = tiny.make(tmp_path, videos=3)
    network = load(tiny.make_run(world).path)
    whole = world.video(1).read_bytes()
    world.video(1).write_bytes(whole[:200])
    for _ in range(2):  # what failed is not tried again unless asked for
        summary = extract_features(world.dataset, network, request("mine"))
        assert summary.present == {"features": 2}
        (failure,) = summary.failed
        assert (failure.id, failure.store) == ("clip-1", "features-mine")
        assert "clip-1" in failure.cause
    assert "clip-1" in (world.dataset.path / "extract-failed.tsv").read_text()
    world.video(1).write_bytes(whole)
    again = extract_features(world.dataset, network, request("mine", retry_failed=True))
    assert (again.extracted, again.failed) == (1, [])
    assert not (world.dataset.path / "extract-failed.tsv").exists()


def test_numbers_too_large_for_their_type_are_a_failure(tmp_path):
    world = tiny.make(tmp_path, videos=1)
    network = load(tiny.make_run(world).path)
    with torch.no_grad():
        for parameter in network.module.trunk.layer4[-1].bn2.parameters():
            parameter.fill_(1e6)
    summary = extract_features(world.dataset, network, request("huge"))
    assert "more than float16 holds. Store them as float32" in summary.failed[0].cause
    assert extract_features(world.dataset, network, request("wide", dtype="float32")).failed == []


def test_a_dataset_of_which_nothing_can_be_read_is_refused(tmp_path):
    world = tiny.make(tmp_path, videos=2)
    network = load(tiny.make_run(world).path)
    tiny.extract(world, ids=[])
    with pytest.raises(DataError, match=r"Of 1 videos of the split val in the dataset tiny none can be read"):
        extract_features(world.dataset, network, request("mine", split="val"))
    assert not world.dataset.store("features-mine").exists()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": "A b"}, "--as names a store"),
        ({"limit": 0}, "--limit should be above 0"),
        ({"shards": 9000}, "--shards should be above 0 and at most 8192"),
        ({"part": (2, 2)}, "--shard I/N"),
        ({"dtype": "float64"}, "--dtype takes float16 or float32"),
    ],
)
def test_wrong_requests_are_explained(wrong, said):
    with pytest.raises(UsageError, match=said):
        FeatureRequest(**wrong)


def test_a_store_is_checked(made, network, reference):
    world, _ = made
    folder = world.dataset.store("features-damaged")
    extract_features(world.dataset, network, request("damaged", limit=3, shards=1))
    with ShardWriter(folder, 0) as writer:
        writer.put("clip-4", [b"too short"])
        writer.commit()
    with Catalog(world.dataset.catalog) as catalog:
        rows = {row.id: row for row in catalog.rows()}
    probes = {id_: {"frames": 99, "decoder": "pyav"} for id_ in rows}
    report = check_store(folder, rows, probes, set(rows), workers=1)
    assert [(finding.kind, finding.id) for finding in report.findings] == [("store", "clip-4")]
    assert "a vector should have 1024 bytes, found 9" in report.findings[0].cause
    assert (report.videos, report.not_extracted) == (4, 1)


def test_files_give_what_a_store_made_of_them_holds(tmp_path, network):
    world = tiny.make(tmp_path, videos=2)
    extract_features(world.dataset, network, request("files"))
    with StoreReader(world.dataset.store("features-files")) as reader:
        values = meta_values(reader.meta)
    assert values["origin"]["reads"] == "videos"
    spec = FeatureSpec(streams=(Stream(name="rgb", size=512),), sampler=first)
    computed = ComputedFeatures(Extractor(network.scorer, "fc", EVERY3), network.source, values, spec)
    with Catalog(world.dataset.catalog) as catalog:
        clip = clip_of(world.dataset, catalog.rows()[1])
    stored = vectors(world, "features-files")["clip-1"]
    assert computed.num_frames(clip) == len(stored)
    assert np.array_equal(computed.read(clip, range(len(stored))).numpy(), stored)
    with pytest.raises(CheckpointError, match="reads rgb:9, and the network that should make them gives rgb:512"):
        ComputedFeatures(
            Extractor(network.scorer, "fc", EVERY3), network.source, {**values, "streams": [["rgb", 9]]}, spec
        )


def test_the_network_is_found_by_its_digest(made, network, reference, tmp_path):
    world, run = made
    with StoreReader(world.dataset.store("features-reference")) as reader:
        meta = meta_values(reader.meta)
    assert find_origin(meta, ()) == run.checkpoints / "best.safetensors"
    moved = {**meta, "origin": {**meta["origin"], "file": "/nowhere/best.safetensors"}}
    assert find_origin(moved, (world.workspace,)).samefile(run.checkpoints / "best.safetensors")
    with pytest.raises(CheckpointError, match=r"no more at /nowhere/best\.safetensors"):
        find_origin(moved, ())
    changed = {**meta, "origin": {**meta["origin"], "sha256": "0" * 64}}
    with pytest.raises(CheckpointError, match=r"sha256 00000000\.\.\.;.*has changed since"):
        find_origin(changed, (world.workspace,))
    with pytest.raises(UsageError, match="do not say which network makes them"):
        find_origin({}, (world.workspace,))
