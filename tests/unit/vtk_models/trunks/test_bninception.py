import pytest
import torch
from torch.nn import functional

from vtk_cli.errors import CheckpointError
from vtk_models.trunks.bninception import BNINCEPTION, BNInception


@pytest.fixture(scope="module")
def trunk():
    torch.manual_seed(0)
    return BNInception().eval()


def test_every_convolution_has_a_bias_and_a_batch_norm(trunk):
    convs = {name: m for name, m in trunk.named_modules() if isinstance(m, torch.nn.Conv2d)}
    assert len(convs) == 69
    for name, conv in convs.items():
        assert conv.bias is not None
        assert trunk.get_submodule(f"{name}_bn").num_features == conv.out_channels


@pytest.mark.parametrize("size", [(32, 32), (50, 75), (64, 64), (113, 223), (230, 224)])
def test_any_size_of_picture(trunk, size):
    with torch.no_grad():
        assert trunk(torch.randn(1, 3, *size)).shape == (1, 1024)


def test_pools_average_with_the_padding_and_take_the_maximum_in_5b(trunk):
    x = torch.rand(1, 1056, 7, 7)
    projections = {}
    hooks = [
        trunk.get_submodule(f"inception_{block}_pool_proj").register_forward_pre_hook(
            lambda module, args, block=block: projections.update({block: args[0]})
        )
        for block in ("5a", "5b")
    ]
    with torch.no_grad():
        y = trunk.run_block("5a", x)
        trunk.run_block("5b", y)
    for hook in hooks:
        hook.remove()
    corner = x[0, 0, :2, :2].sum() / 9  # four pixels and five zeros of padding
    assert projections["5a"][0, 0, 0, 0].item() == pytest.approx(corner.item(), rel=1e-6)
    assert torch.equal(projections["5b"], functional.max_pool2d(y, 3, 1, 1))


def test_reducing_blocks_carry_their_input_through_the_pool(trunk):
    x = torch.rand(1, 320, 28, 28)
    with torch.no_grad():
        out = trunk.run_block("3c", x)
    assert out.shape == (1, 160 + 96 + 320, 14, 14)
    assert torch.equal(out[:, 256:], functional.max_pool2d(x, 3, 2, ceil_mode=True))


def test_pictures_are_read_as_caffe_reads_them():
    """(x / 255 - mean) / std gives x - (104, 117, 128) on BGR bytes."""
    norm = BNINCEPTION.norm
    assert norm.order == "bgr"
    byte = 200
    read = [(byte / 255 - mean) / std for mean, std in zip(norm.mean, norm.std, strict=True)]
    assert read == pytest.approx([200 - 104, 200 - 117, 200 - 128], abs=1e-9)


def test_published_files_keep_batch_norms_as_rows(trunk):
    state = trunk.state_dict()
    file = {name: t.unsqueeze(0) if t.dim() == 1 and "_bn." in name else t for name, t in state.items()}
    file["last_linear.weight"], file["fc_action.bias"] = torch.zeros(1000, 1024), torch.zeros(1000)
    read = BNINCEPTION.layouts["caffe"](file)
    assert read.keys() == state.keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in state.items())


def test_another_networks_file_is_refused():
    with pytest.raises(CheckpointError, match=r"layer1\.0"):
        BNINCEPTION.layouts["caffe"]({"layer1.0.conv1.weight": torch.zeros(1)})
