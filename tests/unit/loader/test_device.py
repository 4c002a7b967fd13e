import pytest
import tiny
import torch
import toy_sequence

from vtk_cli.api.inputs import FeatureSpec, Stream
from vtk_cli.api.loaders import Batch
from vtk_cli.api.sampling import first
from vtk_cli.errors import PluginError
from vtk_cli.loader.device import blank, dequantise, model_arguments, per_view
from vtk_cli.loader.transforms import normalise
from vtk_models.tsn import MODEL

CLIPS = MODEL.inputs(tiny.CONFIG)
SPEC = FeatureSpec(
    streams=(Stream(name="rgb", size=2), Stream(name="audio", size=1, scale=0.5, offset=-3.0)), frames=3, sampler=first
)


def test_quantised_numbers_become_youtube_8ms_and_padding_is_zero_after_it():
    feature_BFD = torch.tensor([[[0, 255, 8], [128, 1, 0], [9, 9, 9]]], dtype=torch.uint8)
    mask_BF = torch.tensor([[True, True, False]])
    found, mask = model_arguments(SPEC, "cpu", feature_BFD, mask_BF)
    # google/youtube-8m utils.py, Dequantize(q, 2, -2): q * 4/255 + 4/512 - 2
    youtube = [[q * (4 / 255) + 4 / 512 - 2 for q in row] for row in ([0, 255], [128, 1])]
    expected = [[*youtube[0], 8 * 0.5 - 3], [*youtube[1], -3.0], [0, 0, 0]]
    torch.testing.assert_close(found, torch.tensor([expected]))
    assert found[0, 2].tolist() == [0, 0, 0]
    assert mask is mask_BF


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_floats_stay_what_they_are(dtype):
    feature_BFD = torch.tensor([[[0.5, -1, 2], [3, 4, 5], [0, 0, 0]]], dtype=dtype)
    before = feature_BFD.clone()
    found = dequantise(feature_BFD, torch.tensor([[True, False, False]]), SPEC.streams)
    assert found.dtype == torch.float32
    assert found.tolist() == [[[0.5, -1, 2], [0, 0, 0], [0, 0, 0]]]
    assert dtype == torch.float32 or torch.equal(feature_BFD, before)


def test_clips_are_normalised_view_by_view():
    clip_BVTNCHW = torch.randint(0, 256, (2, 3, 2, 1, 3, 4, 4), dtype=torch.uint8)
    (rows,) = per_view(CLIPS, (clip_BVTNCHW,))
    (found,) = model_arguments(CLIPS, "cpu", rows)
    assert torch.equal(found, normalise(clip_BVTNCHW.flatten(0, 1), CLIPS.norm))


def test_a_blank_video_has_the_shapes_that_loaders_give():
    assert [tuple(tensor.shape) for tensor in blank(SPEC)] == [(1, 3, 3), (1, 3)]
    assert blank(SPEC)[1].all()
    assert [tuple(tensor.shape) for tensor in blank(CLIPS)] == [(1, 2, 1, 3, 32, 32)]
    assert [tuple(tensor.shape) for tensor in blank(CLIPS, CLIPS.test)] == [(1, 3, 1, 3, 32, 32)]


def test_a_blank_video_goes_through_a_sequence_model():
    spec = toy_sequence.inputs(toy_sequence.ToyConfig())
    model = toy_sequence.MeanOfFrames(toy_sequence.ToyConfig(), 4)
    assert model(*model_arguments(spec, "cpu", *blank(spec))).shape == (1, 4)


def test_a_batch_is_of_one_kind():
    clip, label = torch.zeros(1, 1, 1, 1, 3, 2, 2, dtype=torch.uint8), torch.zeros(1, dtype=torch.long)
    feature, mask = torch.zeros(1, 2, 3), torch.ones(1, 2, dtype=torch.bool)
    assert Batch(clip, label, ("a",)).inputs == (clip,)
    assert Batch(None, label, ("a",), feature_BFD=feature, mask_BF=mask).inputs == (feature, mask)
    for wrong in (
        {"clip_BVTNCHW": None},
        {"clip_BVTNCHW": clip, "feature_BFD": feature, "mask_BF": mask},
        {"clip_BVTNCHW": None, "feature_BFD": feature},
        {"clip_BVTNCHW": clip, "mask_BF": mask},
    ):
        with pytest.raises(PluginError, match="either clip_BVTNCHW or feature_BFD"):
            Batch(**wrong, label_B=label, ids=("a",))
