"""Feature stores as models see them: which is chosen, what is read, what is refused."""

import doctest
from dataclasses import replace
from functools import partial
from random import Random

import pytest
import tiny
import torch
import toy_sequence

from vtk_cli.api.inputs import FeatureSpec, Stream
from vtk_cli.api.loaders import LoaderSpec
from vtk_cli.api.sampling import first, stratified
from vtk_cli.errors import DataError, PluginError, StoreError, UsageError
from vtk_cli.loader import feature_source
from vtk_cli.loader.feature_loader import video_features
from vtk_cli.loader.options import DataOptions
from vtk_cli.loader.split import make_loader, open_split
from vtk_cli.loader.torch_loader import TorchLoader
from vtk_cli.store.lmdb_store import ShardWriter
from vtk_cli.store.meta import shard_of
from vtk_cli.testing.loaders import PatternFeatures, clips

OPTIONS = DataOptions(workers=0)
IDS = [f"clip-{number}" for number in range(6)]
TWO = (("audio", 2), ("rgb", 6), ("pose", 1))
RGB = toy_sequence.inputs(toy_sequence.ToyConfig())


def test_the_examples_are_true():
    assert doctest.testmod(feature_source).failed == 0


@pytest.fixture
def world(tmp_path):
    return tiny.make(tmp_path / "root", frames=2)


def opened(world, spec=RGB, options=OPTIONS, split="train", training=True, **more):
    return open_split(world.dataset, split, spec, options, training=training, **more)


def batches(split, spec=RGB, options=OPTIONS, training=True, epoch=0):
    loader = make_loader(split, spec, options, training=training, batch_size=2, seed=3)
    found = list(loader.epoch(epoch))
    loader.close()
    return found


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
def test_a_fitting_store_is_taken_and_read_as_stored(world, dtype):
    meta = toy_sequence.meta(dtype)
    name = toy_sequence.fill(world.dataset, IDS, meta)
    split = opened(world, split="val", training=False)
    assert split.stores[name]["streams"] == [["rgb", 6]]
    for batch in batches(split, training=False):
        feature_BFD, mask_BF = batch.inputs
        assert feature_BFD.dtype == getattr(torch, dtype)
        for row, id_ in enumerate(batch.ids):
            stored = torch.from_numpy(toy_sequence.vectors(id_, meta))[:5]
            assert mask_BF[row].sum() == len(stored)
            assert torch.equal(feature_BFD[row][mask_BF[row]], stored)
            assert not feature_BFD[row][~mask_BF[row]].any()


def test_streams_are_found_by_name_and_given_in_the_models_order(world):
    meta = toy_sequence.meta(streams=TWO)
    toy_sequence.fill(world.dataset, IDS, meta)
    spec = toy_sequence.inputs(toy_sequence.ToyConfig(streams=("pose:1", "audio:2"), frames=9))
    split = opened(world, spec)
    clip = split.clips[0]
    stored = torch.from_numpy(toy_sequence.vectors(clip.id, meta))
    assert split.source.num_frames(clip) == len(stored)
    assert torch.equal(split.source.read(clip, [0]), stored[:1, [8, 0, 1]])
    assert batches(split, spec)[0].inputs[0].shape == (2, 9, 3)


def test_without_a_store_the_command_that_makes_one_is_named(world):
    with pytest.raises(StoreError, match=r"streams rgb:6 from one store; tiny has no features\..*--features RUN"):
        opened(world)


def test_the_streams_of_a_store_that_does_not_fit_are_suggested(world):
    toy_sequence.fill(world.dataset, IDS, toy_sequence.meta(streams=(("rgb", 7),)))
    with pytest.raises(StoreError, match=r"tiny has features-made \(rgb:7\)") as caught:
        opened(world)
    assert toy_sequence.streams_in(str(caught.value)) == 'model.streams=["rgb:7"]'


def test_a_store_can_be_named_and_has_to_fit(world):
    toy_sequence.fill(world.dataset, IDS, toy_sequence.meta(), "features-one")
    toy_sequence.fill(world.dataset, IDS, toy_sequence.meta(), "features-two")
    toy_sequence.fill(world.dataset, IDS, toy_sequence.meta(streams=(("rgb", 5),)), "features-five")
    tiny.extract(world)
    with pytest.raises(UsageError, match="2 stores of tiny fit: features-one, features-two"):
        opened(world)
    assert list(opened(world, prefer=["features-two"]).stores) == ["features-two"]
    assert list(opened(world, options=replace(OPTIONS, store="features-one")).stores) == ["features-one"]
    for store, error, said in (
        ("features-five", StoreError, "the store features-five holds rgb:5"),
        ("frames-32", StoreError, "the store frames-32 holds no features"),
        ("features-on", UsageError, 'Did you mean "features-one"'),
        ("videos", UsageError, r"only a store has, found data\.store=videos"),
    ):
        with pytest.raises(error, match=said):
            opened(world, options=replace(OPTIONS, store=store))


def test_what_is_absent_is_left_out_with_its_cause_up_to_the_limit(world, capsys):
    name = toy_sequence.fill(world.dataset, IDS[:2], toy_sequence.meta())
    with ShardWriter(world.dataset.store(name), shard_of("clip-2", 2)) as writer:
        writer.fail("clip-2", "it is too dark")
        writer.commit()
    split = opened(world)
    assert [clip.id for clip in split.clips] == ["clip-0", "clip-1"]
    assert split.left_out == {"clip-2": "it is too dark"}
    assert "too dark" in capsys.readouterr().err
    with pytest.raises(DataError, match="at most 10% may be absent"):
        opened(world, options=replace(OPTIONS, max_missing=0.1))


def test_a_vector_of_another_length_is_named_and_can_be_skipped(world, capsys):
    name = toy_sequence.fill(world.dataset, IDS[:2], toy_sequence.meta())
    with ShardWriter(world.dataset.store(name), shard_of("clip-2", 2)) as writer:
        writer.put("clip-2", [b"12345"])
        writer.commit()
    split = opened(world)
    with pytest.raises(StoreError, match=r"clip-2 in the store features-made: a vector should have 6 bytes, found 5"):
        batches(split)
    lenient = replace(OPTIONS, on_error="skip")
    assert {id_ for batch in batches(split, options=lenient) for id_ in batch.ids} <= {"clip-0", "clip-1"}
    assert "clip-2" in capsys.readouterr().err


def test_a_loader_that_serves_clips_only_is_refused(world, monkeypatch):
    toy_sequence.fill(world.dataset, IDS, toy_sequence.meta())
    clips_only = LoaderSpec(build=TorchLoader)
    monkeypatch.setattr("vtk_cli.loader.split.registry.load", lambda *_: clips_only)
    with pytest.raises(UsageError, match="reads features, which the loader"):
        batches(opened(world))


def test_training_draws_from_seed_epoch_and_id():
    spec = FeatureSpec(
        streams=(Stream(name="video", size=1), Stream(name="place", size=1)), frames=2, sampler=stratified
    )
    clip = clips("video-4")[0]
    draw = partial(video_features, PatternFeatures(), clip, spec)
    seen = {tuple(draw(Random(f"5/{epoch}/video-4"))[0][:, 1].tolist()) for epoch in range(20)}
    assert len(seen) > 2
    assert torch.equal(draw(Random("5/0/video-4"))[0], draw(Random("5/0/video-4"))[0])
    assert torch.equal(draw(None)[0], draw(None)[0])


@pytest.mark.parametrize("grids", [[], [[]], [[0, 1, 2, 0, 1]], [[3]], [[-1]], [[0], [0]]])
def test_a_sampler_that_gives_what_cannot_be_is_the_authors_fault(grids):
    spec = FeatureSpec(streams=(Stream(name="a", size=2),), frames=4, sampler=lambda length, **_: grids)
    with pytest.raises(PluginError, match="one list of 1 to 4 numbers below 3"):
        video_features(PatternFeatures(), clips("video-2")[0], spec, None)


def test_the_first_vectors_of_a_long_video_are_taken():
    spec = FeatureSpec(streams=(Stream(name="a", size=2),), frames=3, sampler=first)
    feature_FD, mask_F = video_features(PatternFeatures(), clips("video-4")[0], spec, None)
    assert feature_FD.tolist() == [[5, 1], [5, 2], [5, 3]]
    assert mask_F.all()
