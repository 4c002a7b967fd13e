from dataclasses import replace

import pytest
import tiny
import torch

from vtk_cli.catalog import Catalog
from vtk_cli.errors import DataError, StoreError, UsageError
from vtk_cli.loader.options import DataOptions
from vtk_cli.loader.source import StoreSource, VideoSource
from vtk_cli.loader.split import make_loader, open_source, open_split
from vtk_cli.store.lmdb_store import ShardWriter
from vtk_cli.store.meta import shard_of
from vtk_models.tsn import MODEL

RGB = MODEL.inputs(tiny.CONFIG)
FLOW = MODEL.inputs(replace(tiny.CONFIG, modality="flow"))
OPTIONS = DataOptions(workers=0)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Without stores; tests that make some copy it."""
    return tiny.make(tmp_path_factory.mktemp("world"))


@pytest.fixture
def own(tmp_path):
    return tiny.make(tmp_path / "own")


def test_colour_models_read_the_files_where_no_frames_were_extracted(world):
    split = open_split(world.dataset, "train", RGB, OPTIONS, training=True)
    assert isinstance(split.source, VideoSource)
    assert [clip.id for clip in split.clips] == ["clip-0", "clip-1", "clip-2"]
    assert (split.stores, split.left_out, split.classes) == ({}, {}, tiny.CLASSES)


def test_a_fitting_store_is_taken_and_told(own):
    name = tiny.extract(own)
    split = open_split(own.dataset, "val", RGB, OPTIONS, training=False)
    assert isinstance(split.source, StoreSource)
    assert split.stores[name]["short_side"] == tiny.SIDE
    split.source.close()


def test_the_files_can_be_asked_for_although_a_store_fits(own):
    tiny.extract(own)
    source = open_source(own.dataset, RGB, replace(OPTIONS, store="videos"), training=True)
    assert isinstance(source, VideoSource)


def test_a_store_and_the_files_show_the_same(own):
    tiny.extract(own)
    stored, decoded = (
        next(
            iter(
                make_loader(
                    open_split(own.dataset, "val", RGB, options, training=False),
                    RGB,
                    options,
                    training=False,
                    batch_size=3,
                    seed=0,
                ).epoch(0)
            )
        )
        for options in (OPTIONS, replace(OPTIONS, store="videos"))
    )
    assert stored.ids == decoded.ids
    difference = (stored.clip_BVTNCHW.int() - decoded.clip_BVTNCHW.int()).abs()
    assert difference.float().mean() < 4  # JPEG at quality 95, colours at half resolution


def test_warped_flow_without_a_store_names_the_command(world):
    warped = MODEL.inputs(replace(tiny.CONFIG, modality="warped"))
    with pytest.raises(StoreError, match=r"vtk extract tiny --flow tvl1 --warped --short-side 32"):
        open_source(world.dataset, warped, OPTIONS, training=True)


def test_flow_without_a_store_names_the_command(world):
    with pytest.raises(StoreError, match=r"tiny has no store.*vtk extract tiny --flow tvl1 --short-side 32"):
        open_split(world.dataset, "train", FLOW, OPTIONS, training=True)


def test_a_store_of_another_size_is_named(own):
    tiny.extract(own, replace(tiny.FLOW, short_side=48))
    with pytest.raises(StoreError, match=r"flow-farneback-48 \(flow, short side 48\).*--short-side 32"):
        open_source(own.dataset, FLOW, OPTIONS, training=True)
    with pytest.raises(StoreError, match=r"reads flow at short side 32.*holds flow at short side 48"):
        open_source(own.dataset, FLOW, replace(OPTIONS, store="flow-farneback-48"), training=True)


def test_larger_frames_are_read_where_there_are_none_of_the_size(own):
    """The smallest of those that are large enough; a store of the size itself comes first."""
    small = tiny.extract(own, replace(tiny.FRAMES, short_side=16))
    larger = tiny.extract(own, replace(tiny.FRAMES, short_side=48))
    tiny.extract(own, replace(tiny.FRAMES, short_side=64))
    source = open_source(own.dataset, RGB, OPTIONS, training=True)
    assert source.name == larger
    named = open_split(own.dataset, "val", RGB, replace(OPTIONS, store=larger), training=False)
    clip = next(iter(make_loader(named, RGB, OPTIONS, training=False, batch_size=1, seed=0).epoch(0))).clip_BVTNCHW
    assert clip.shape[-2:] == (tiny.SIDE, tiny.SIDE)
    exact = tiny.extract(own)
    assert open_source(own.dataset, RGB, OPTIONS, training=True).name == exact
    with pytest.raises(StoreError, match="holds rgb at short side 16"):
        open_source(own.dataset, RGB, replace(OPTIONS, store=small), training=True)


def test_several_fitting_stores_want_a_name_unless_the_run_knows(own):
    names = [tiny.extract(own, replace(tiny.FLOW, method=method), ids=[]) for method in ("farneback", "dis")]
    with pytest.raises(UsageError, match=r"2 stores of tiny fit.*--set data\.store="):
        open_source(own.dataset, FLOW, OPTIONS, training=True)
    assert open_source(own.dataset, FLOW, OPTIONS, training=True, prefer=[names[1]]).name == names[1]
    assert open_source(own.dataset, FLOW, replace(OPTIONS, store=names[0]), training=True).name == names[0]


@pytest.mark.parametrize(("store", "said"), [("frames-23", "Did you mean"), ("videos", "only a store has")])
def test_a_store_that_cannot_be_is_refused(own, store, said):
    tiny.extract(own)
    inputs = FLOW if store == "videos" else RGB
    with pytest.raises(UsageError, match=said):
        open_source(own.dataset, inputs, replace(OPTIONS, store=store), training=True)


def test_an_unknown_split_is_suggested(world):
    with pytest.raises(UsageError, match='Did you mean "train"'):
        open_split(world.dataset, "trein", RGB, OPTIONS, training=True)


def test_what_is_not_extracted_is_left_out_with_one_warning(own, capsys):
    name = tiny.extract(own, ids=["clip-0", "clip-1"])
    with ShardWriter(own.dataset.store(name), shard_of("clip-2", 2)) as writer:
        writer.fail("clip-2", "it is cut off")
        writer.commit()
    split = open_split(own.dataset, "train", RGB, OPTIONS, training=True)
    assert [clip.id for clip in split.clips] == ["clip-0", "clip-1"]
    assert split.left_out == {"clip-2": "it is cut off"}
    said = capsys.readouterr().err
    assert said.count("warning") == 1
    assert "1 of 3 videos of tiny's split train" in said
    assert "it is cut off" in said


def test_causes_of_single_videos_do_not_fill_the_screen(own, capsys):
    with Catalog(own.dataset.catalog) as catalog:
        ids = [row.id for row in catalog.rows("train")]
        catalog.set_status([(id_, "broken", f"/a/long/path/{id_}.mp4 is empty.") for id_ in ids[:2]])
    open_split(own.dataset, "train", RGB, replace(OPTIONS, max_missing=0.9), training=True)
    said = capsys.readouterr().err
    assert "2 for other causes, such as clip-0: /a/long/path/clip-0.mp4 is empty)" in said
    assert "clip-1" not in said


def test_more_missing_than_allowed_is_an_error(own):
    tiny.extract(own, ids=["clip-0"])
    with pytest.raises(DataError, match=r"2 of 3 videos.*2 not extracted.*at most 50%.*vtk extract"):
        open_split(own.dataset, "train", RGB, OPTIONS, training=True)
    split = open_split(own.dataset, "train", RGB, replace(OPTIONS, max_missing=0.9), training=True)
    assert len(split.clips) == 1
    with pytest.raises(DataError, match="3 of 3 videos"):
        open_split(own.dataset, "val", RGB, replace(OPTIONS, max_missing=0.99), training=False)


def test_missing_and_broken_clips_are_left_out_of_what_is_decoded(own, capsys):
    with Catalog(own.dataset.catalog) as catalog:
        catalog.set_status([("clip-1", "missing", "removed by its owner")])
    split = open_split(own.dataset, "train", RGB, OPTIONS, training=True)
    assert [clip.id for clip in split.clips] == ["clip-0", "clip-2"]
    assert "removed by its owner" in capsys.readouterr().err


def test_a_header_that_claims_too_much_is_counted_out(world):
    """What HMDB51's headers do: one frame more than there is; the last segment's run reaches past the end."""
    split = open_split(world.dataset, "val", RGB, OPTIONS, training=False)
    wrong = replace(split, clips=tuple(replace(clip, frames=40) for clip in split.clips))
    found, right = (
        next(iter(make_loader(s, RGB, OPTIONS, training=False, batch_size=3, seed=0).epoch(0))) for s in (wrong, split)
    )
    assert torch.equal(found.clip_BVTNCHW, right.clip_BVTNCHW)


def test_mirrored_test_crops_are_refused_where_labels_forbid_mirroring(world):
    split = replace(open_split(world.dataset, "val", RGB, OPTIONS, training=False), flip=False)
    inputs = replace(RGB, test=replace(RGB.test, crops=10))
    with pytest.raises(UsageError, match="mirroring"):
        make_loader(split, inputs, OPTIONS, training=False, batch_size=1, seed=0)


@pytest.mark.parametrize(
    "wrong", [{"workers": -1}, {"prefetch": 0}, {"view_batch": 0}, {"max_missing": 1.0}, {"max_missing": -0.1}]
)
def test_options_are_checked(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        DataOptions(**wrong)
