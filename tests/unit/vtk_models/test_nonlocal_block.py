"""The non-local block against equations 2 to 5 of the paper, written out position by position."""

import pytest
import torch
from torch import nn

from vtk_cli.errors import UsageError
from vtk_models.nonlocal_block import KINDS, NonLocalBlock

SHAPES = {1: (2, 6, 10), 2: (2, 6, 4, 6), 3: (2, 6, 3, 4, 4)}


def drawn(*args, **kwargs):
    """A block in float64 whose parameters are all random and whose batch norm has statistics."""
    torch.manual_seed(0)
    block = NonLocalBlock(*args, **kwargs).double().eval()
    for name, tensor in block.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) + 0.5 if name == "bn.running_var" else torch.randn_like(tensor))
    return block


def written_out(block, x):
    """Equations 1 to 6 for the first video of x, one pair (i, j) after the other."""

    def vectors(tensor):
        return tensor[0].flatten(1).t()

    keys = block.subsample(x) if block.pool == "before" else x
    after = block.subsample if block.pool == "after" else nn.Identity()
    gaussian = block.kind == "gaussian"
    theta = vectors(x if gaussian else block.theta(x))
    phi = vectors(after(keys if gaussian else block.phi(keys)))
    g = vectors(after(block.g(keys)))
    root = theta.shape[1] ** 0.5 if block.scale else 1.0
    rows = []
    for theta_i in theta:
        if block.kind == "concatenation":
            pairs = [torch.cat([theta_i, phi_j]) for phi_j in phi]
            f = torch.stack([(block.affinity.weight[0] @ pair).relu() for pair in pairs]) / len(phi)
        elif block.kind == "dot_product":
            f = torch.stack([theta_i @ phi_j for phi_j in phi]) / len(phi)
        else:
            f = torch.stack([torch.exp(theta_i @ phi_j / root) for phi_j in phi])
            f = f / f.sum()
        rows.append(sum(f_j * g_j for f_j, g_j in zip(f, g, strict=True)))
    y = torch.stack(rows).t().unflatten(1, x.shape[2:])[None]
    return x[:1] + block.bn(block.out(y))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dims", "pool"), [(1, "before"), (2, "after"), (3, "before"), (3, "none")])
def test_every_kind_is_its_equation(kind, dims, pool):
    block = drawn(6, dims=dims, kind=kind, pool=pool, scale=dims != 2, norm=dims != 1, bias=pool != "none")
    x = torch.randn(SHAPES[dims], dtype=torch.float64) / 2
    with torch.no_grad():
        torch.testing.assert_close(block(x)[:1], written_out(block, x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_new_block_returns_its_input_and_learns(kind, norm):
    torch.manual_seed(0)
    block = NonLocalBlock(8, kind=kind, norm=norm)
    x = torch.randn(2, 8, 2, 4, 4)
    z = block(x)
    torch.testing.assert_close(z, x, rtol=0, atol=0)
    z.square().sum().backward()
    last = block.bn if norm else block.out
    assert last.weight.grad.abs().max() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_finite_in_bfloat16(kind):
    block = drawn(8, kind=kind).float()
    x = torch.randn(1, 8, 2, 4, 4, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        z = block(x)
    z.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in block.parameters())
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_memory_layout_changes_nothing(kind):
    block = drawn(8, kind=kind)
    x = torch.randn(2, 8, 2, 4, 4, dtype=torch.float64)
    with torch.no_grad():
        last = block(x.to(memory_format=torch.channels_last_3d))
        torch.testing.assert_close(last, block(x), rtol=0, atol=1e-12)
        assert block(x).is_contiguous()
        assert last.is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("kind", KINDS)
def test_compiles_in_one_piece(kind):
    block = drawn(8, kind=kind, group=2)
    x = torch.randn(2, 8, 4, 4, 4, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(block, fullgraph=True, backend="eager")(x), block(x))


def test_initialisation():
    torch.manual_seed(0)
    block = NonLocalBlock(256)
    assert block.theta.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not block.g.bias.any()
    assert not block.bn.weight.any()
    torch.manual_seed(0)
    own = NonLocalBlock(256, std=None)
    assert own.theta.weight.std().item() == pytest.approx((1 / (3 * 256)) ** 0.5, rel=0.02), "uniform in 1/sqrt(256)"
    assert not own.bn.weight.any()


@pytest.mark.parametrize("kind", ["embedded_gaussian", "dot_product"])
def test_long_videos_need_no_matrix_of_pairs(kind):
    """What is kept for the backward pass are maps; a number per pair would be 128 of them."""
    block = NonLocalBlock(8, pool="none", kind=kind)
    x = torch.randn(1, 8, 4, 16, 16, requires_grad=True)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.numel()) or t, lambda t: t):
        block(x)
    assert max(saved) <= x.numel()


@pytest.mark.parametrize(
    ("wrong", "found"), [({"kind": "cosine"}, "cosine"), ({"pool": "mean"}, "mean"), ({"dims": 4}, "4")]
)
def test_what_it_does_not_know_is_refused(wrong, found):
    with pytest.raises(UsageError, match=f"found .?{found}"):
        NonLocalBlock(8, **wrong)
