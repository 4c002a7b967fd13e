from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st

from vtk_cli.api.loaders import Clip
from vtk_cli.errors import UsageError, VideoError
from vtk_cli.evaluate.files import FlowSource, Windows, build_flow, clips_of, find_videos, open_files
from vtk_cli.extract.plan import Request
from vtk_cli.extract.run import extract
from vtk_cli.loader.source import StoreSource, load_decoder, own_file
from vtk_cli.store.lmdb_store import StoreReader
from vtk_cli.store.meta import meta_values
from vtk_models.tsn import MODEL

CLIP = Clip(id="one", path=Path("one"))


def test_folders_are_searched_and_named_files_always_tried(tmp_path):
    for name in ("b.mp4", "a.AVI", "inner/c.webm", "notes.txt", "inner/picture.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    named = [tmp_path, tmp_path / "notes.txt", tmp_path / "gone.mp4"]
    found = [str(path.relative_to(tmp_path)) for path in find_videos(named)]
    assert found == ["a.AVI", "b.mp4", "inner/c.webm", "notes.txt", "gone.mp4"]


def cut(seconds, step, duration):
    windows = Windows(seconds=seconds, step_seconds=step).cut(CLIP, duration)
    return [(clip.start_seconds, clip.end_seconds) for clip in windows]


def test_windows_are_those_of_the_drawing():
    assert cut(4, 3, 9) == [(0, 4), (3, 7), (5, 9)]
    assert cut(4, 4, 8) == [(0, 4), (4, 8)]
    assert cut(10, 5, 3) == [(0, 3)]


@given(seconds=st.floats(0.1, 100), step=st.floats(0.1, 100), duration=st.floats(0.1, 1000))
def test_windows_cover_the_video_and_stay_inside(seconds, step, duration):
    found = cut(seconds, step, duration)
    assert found[0][0] == 0
    assert found[-1][1] == pytest.approx(duration)
    for (start, end), (following, _) in pairwise(found):
        assert 0 <= start < end <= duration
        assert following - start <= step + 1e-6


@pytest.mark.parametrize(("seconds", "step"), [(0, 1), (1, 0), (-1, 1)])
def test_windows_last(seconds, step):
    with pytest.raises(UsageError, match="seconds above 0"):
        Windows(seconds=seconds, step_seconds=step)


def test_a_file_is_one_clip_or_its_windows(tmp_path):
    path = tiny.write_video(tmp_path / "a.mp4", frames=24)  # 2 s
    assert clips_of(path, None, load_decoder("pyav")) == [own_file(path)]
    windows = clips_of(path, Windows(seconds=1, step_seconds=0.5), load_decoder("pyav"))
    assert [(clip.start_seconds, clip.end_seconds) for clip in windows] == [(0, 1), (0.5, 1.5), (1, 2)]
    with pytest.raises(VideoError, match="no video file"):
        clips_of(tmp_path / "gone.mp4", None, load_decoder("pyav"))


def test_flow_on_the_fly_is_what_the_store_holds(tmp_path):
    """Same method, parameters, bound and quality: the same bytes that testing would read."""
    world = tiny.make(tmp_path, videos=2)
    stored = StoreSource("flow", StoreReader(world.dataset.store(tiny.extract(world, tiny.FLOW))))
    inputs = MODEL.inputs(replace(tiny.CONFIG, modality="flow"))
    meta = {"method": "farneback", "parameters": {"levels": 2}, "bound": 20.0, "quality": 95, "square_pixels": True}
    computed = open_files(inputs, {"flow-farneback-32": meta})
    assert isinstance(computed, FlowSource)
    clip = replace(own_file(world.video(0)), id="clip-0")
    assert computed.num_frames(clip) == stored.num_frames(clip) == 11
    for ours, theirs in zip(computed.read(clip, [0, 4, 10]), stored.read(clip, [0, 4, 10]), strict=True):
        assert ours.shape == (2, 32, 48)
        assert torch.equal(ours, theirs)
    stored.close()


def test_warped_flow_on_the_fly_is_what_the_store_holds(tmp_path):
    """With the compensation's parameters, and lossless."""
    world = tiny.make(tmp_path, videos=1)
    tiny.write_video(world.video(0), frames=5, size=(160, 128))
    request = Request(
        frames=False,
        flow="farneback",
        warped=True,
        flow_settings=("flow.levels=2", "warp.still=0.01"),
        flow_codec="png",
        short_side=128,
        workers=1,
        shards=1,
    )
    assert extract(world.dataset, request).failed == []
    stored = StoreSource("warped", StoreReader(world.dataset.store("warped-farneback-128")))
    plain = StoreSource("flow", StoreReader(world.dataset.store("flow-farneback-128")))
    inputs = MODEL.inputs(replace(tiny.CONFIG, modality="warped", short_side=128))
    computed = open_files(inputs, {stored.name: meta_values(stored.meta)})
    clip = replace(own_file(world.video(0)), id="clip-0")
    for ours, theirs, uncompensated in zip(
        *(source.read(clip, range(4)) for source in (computed, stored, plain)), strict=True
    ):
        assert torch.equal(ours, theirs)
        assert (ours.float() - 127.5).abs().mean() < (uncompensated.float() - 127.5).abs().mean() - 1


def test_one_picture_has_no_flow(tmp_path):
    meta = {"method": "farneback", "bound": 20.0, "quality": 95}
    source = open_files(MODEL.inputs(replace(tiny.CONFIG, modality="flow")), {"flow": meta})
    with pytest.raises(VideoError, match="one picture"):
        source.num_frames(own_file(tiny.write_video(tmp_path / "one.mp4", frames=1)))


@pytest.mark.parametrize(("modality", "stores"), [("flow", {}), ("warped", {}), ("warped", {"warped-32": {}})])
def test_what_cannot_be_computed_from_a_file_is_said(modality, stores):
    with pytest.raises(UsageError, match=rf"reads {modality}.*vtk index"):
        open_files(MODEL.inputs(replace(tiny.CONFIG, modality=modality)), stores)


def test_unknown_flow_settings_are_refused():
    with pytest.raises(UsageError, match=r'no flow method "farnebak"\. Did you mean "farneback"'):
        build_flow("farnebak", {})
