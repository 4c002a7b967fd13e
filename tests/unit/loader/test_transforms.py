from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from PIL import Image

from vtk_cli.api.inputs import IMAGENET, Augment, InputSpec, Norm, View
from vtk_cli.api.loaders import Clip
from vtk_cli.api.sampling import segments
from vtk_cli.loader.geometry import Box, Size, centre
from vtk_cli.loader.transforms import all_views, cut, mirror, normalise, resize, train_clip

CLIP = Clip(id="one", path=Path("one"))


class Pictures:
    """Pictures of a given size, a function of their number, that counts what is read."""

    def __init__(self, size, *, channels=3, frames=20):
        rng = np.random.default_rng(0)
        smooth = rng.integers(0, 256, (frames, channels, size[1] // 8 + 1, size[0] // 8 + 1), dtype=np.uint8)
        large = torch.nn.functional.interpolate(torch.from_numpy(smooth).float(), size=size[::-1], mode="bilinear")
        self.pictures = large.round().to(torch.uint8)
        self.reads = []

    def num_frames(self, clip):
        return len(self.pictures)

    def read(self, clip, indices):
        self.reads.append(list(indices))
        return [self.pictures[index] for index in indices]

    def close(self):
        pass


def spec(*, modality="rgb", crop="centre", aspect="keep", side=24, short_side=32, crops=1, clips=1, flip=0.5, frames=2):
    view = View(segments=2, frames=frames, short_side=short_side, crop=side, aspect=aspect, sampler=segments)
    channels = 2 if modality == "flow" else 3
    return InputSpec(
        modality=modality,
        train=view,
        test=replace(view, crops=crops, clips=clips),
        norm=Norm(mean=(0.5,) * channels, std=(0.2,) * channels),
        augment=Augment(crop=crop, flip=flip),
    )


def photograph(shared):
    with Image.open(shared / "data/flow/mmaction2_imgs/img_00001.jpg") as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def pillow(picture, size):
    image = Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy())
    done = image.resize(size, Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(done)).permute(2, 0, 1)


@pytest.mark.parametrize("size", [(224, 224), (341, 256), (160, 120), (500, 400)])
def test_a_resize_is_within_two_levels_of_pillows(shared, size):
    picture = photograph(shared)
    ours, theirs = resize(picture, Size(*size)).int(), pillow(picture, size).int()
    assert (ours - theirs).abs().max() <= 2
    assert (ours - theirs).abs().float().mean() < 0.1


def test_a_jittered_crop_is_cut_then_resized_as_pillow_does(shared):
    picture = photograph(shared)
    width, height = picture.shape[2], picture.shape[1]
    box = Box(8, 4, width - 40, height - 20)
    ours = cut(picture, box, Size(width, height), 112).int()
    theirs = pillow(picture[:, 4 : height - 16, 8 : width - 32], (112, 112)).int()
    assert (ours - theirs).abs().max() <= 2


def test_a_crop_that_needs_no_resize_is_a_slice():
    picture = Pictures((48, 32)).pictures[0]
    found = cut(picture, Box(5, 3, 24, 24), Size(48, 32), 24)
    assert torch.equal(found, picture[:, 3:27, 5:29])
    assert found.data_ptr() == picture[:, 3:, 5:].data_ptr()


@pytest.mark.parametrize("size", [(57, 32), (42, 60), (57, 60), (32, 57)])
def test_a_crop_of_a_squeezed_picture_is_resizing_all_and_slicing(size):
    """Paddle's group_scale, then its crop; the side that has its size already is only sliced."""
    picture = Pictures(size).pictures[0]
    at = Size(42, 32) if size[0] > size[1] else Size(32, 42)
    box = centre(at, 24)
    whole = torch.nn.functional.interpolate(picture[None], size=at[::-1], mode="bilinear", antialias=True)[0]
    expected = whole[:, box.top : box.top + 24, box.left : box.left + 24]
    assert torch.equal(cut(picture, box, at, 24), expected)


def test_mirroring_flow_negates_x_and_nothing_else():
    flow = torch.tensor([[[0, 128, 255]], [[1, 2, 3]]], dtype=torch.uint8)
    assert mirror(flow, negate_x=True).tolist() == [[[0, 127, 255]], [[3, 2, 1]]]
    assert mirror(flow, negate_x=False).tolist() == [[[255, 128, 0]], [[3, 2, 1]]]
    assert flow.tolist() == [[[0, 128, 255]], [[1, 2, 3]]]


@pytest.mark.parametrize("crop", ["random", "multiscale", "centre"])
@pytest.mark.parametrize("size", [(48, 32), (32, 48), (64, 50)])
@pytest.mark.parametrize("aspect", ["keep", "4:3"])
def test_training_gives_one_clip_of_the_stated_shape(crop, size, aspect):
    found = train_clip(Pictures(size), CLIP, spec(crop=crop, aspect=aspect), Random(0), flip=True)
    assert found.shape == (1, 2, 2, 3, 24, 24)
    assert found.dtype == torch.uint8


def test_all_frames_of_a_clip_share_one_draw():
    source = Pictures((48, 32))
    source.pictures[:] = source.pictures[0].clone()
    for seed in range(20):
        found = train_clip(source, CLIP, spec(crop="multiscale"), Random(seed), flip=True)
        assert (found == found[:, :1, :1]).all()


def test_a_draw_is_a_function_of_its_generator_alone():
    source = Pictures((48, 32))
    one, same, other = (
        train_clip(source, CLIP, spec(crop="multiscale"), Random(seed), flip=True) for seed in ("a", "a", "b")
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_half_of_the_clips_are_mirrored_unless_labels_forbid_it():
    source = Pictures((24, 24), frames=2)
    plain = train_clip(source, CLIP, spec(short_side=24, flip=0), Random(0), flip=True)
    same = [
        torch.equal(train_clip(source, CLIP, spec(short_side=24), Random(seed), flip=True), plain)
        for seed in range(100)
    ]
    assert 35 < sum(same) < 65
    assert all(
        torch.equal(train_clip(source, CLIP, spec(short_side=24), Random(seed), flip=False), plain)
        for seed in range(20)
    )


def test_a_mirrored_flow_clip_is_mirrored_and_negated():
    source = Pictures((24, 24), channels=2, frames=4)
    plain, mirrored = (
        train_clip(source, CLIP, spec(modality="flow", short_side=24, flip=flip), Random(0), flip=True)
        for flip in (0, 1)
    )
    assert torch.equal(mirrored[:, :, :, 0], 255 - plain[:, :, :, 0].flip(-1))
    assert torch.equal(mirrored[:, :, :, 1], plain[:, :, :, 1].flip(-1))


def test_rgb_difference_gets_one_frame_more():
    found = train_clip(Pictures((48, 32)), CLIP, spec(modality="rgbdiff"), Random(0), flip=True)
    assert found.shape == (1, 2, 3, 3, 24, 24)


def test_views_are_the_crops_of_the_first_clip_then_those_of_the_second():
    source = Pictures((48, 32), frames=12)
    inputs = spec(crops=3, clips=2)
    found = all_views(source, CLIP, inputs)
    assert found.shape == (6, 2, 2, 3, 24, 24)
    numbers = segments(12, segments=2, frames=2, clips=2)
    lefts = [0, 24, 12]
    for clip in range(2):
        for crop in range(3):
            expected = source.pictures[numbers[clip]][:, :, 4:28, lefts[crop] : lefts[crop] + 24]
            assert torch.equal(found[3 * clip + crop].flatten(0, 1), expected)


def test_ten_crops_are_plain_then_mirrored():
    found = all_views(Pictures((48, 32)), CLIP, spec(crops=10))
    assert torch.equal(found[1::2], found[::2].flip(-1))


def test_each_picture_is_read_once_whatever_number_of_views_shows_it():
    source = Pictures((48, 32), frames=3)
    all_views(source, CLIP, spec(crops=5, clips=4, frames=5))
    assert source.reads == [[0, 1, 2]]


@pytest.mark.parametrize(
    "norm", [IMAGENET, Norm(mean=(104 / 255, 117 / 255, 128 / 255), std=(1 / 255,) * 3, order="bgr")]
)
def test_normalising_is_the_formula_in_float32(norm):
    clip = torch.randint(0, 256, (2, 2, 3, 5, 6), dtype=torch.uint8)
    ordered = clip.flip(-3) if norm.order == "bgr" else clip
    mean, std = (torch.tensor(values, dtype=torch.float64)[:, None, None] for values in (norm.mean, norm.std))
    expected = (ordered.double() / 255 - mean) / std
    found = normalise(clip, norm)
    assert found.dtype == torch.float32
    assert found.is_contiguous()
    assert ((found - expected).abs() <= 1e-6 * expected.abs().max()).all()


def test_normalising_leaves_the_batch_as_it_was():
    clip = torch.arange(24, dtype=torch.uint8).reshape(1, 1, 1, 3, 2, 4)
    normalise(clip, IMAGENET)
    assert clip.flatten().tolist() == list(range(24))
