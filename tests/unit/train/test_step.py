from dataclasses import replace

import pytest
import torch
import toy
import toy_sequence
from torch import nn
from torch.nn import functional

from vtk_cli.api.loaders import Batch
from vtk_cli.api.recipes import TrainRecipe
from vtk_cli.errors import PluginError, UsageError
from vtk_cli.train.options import RunOptions
from vtk_cli.train.step import NotFiniteError, Stepper, check_loss, hits, loss_of, seed_for

CPU = torch.device("cpu")


def stepper(model, recipe, **options):
    return Stepper(model, recipe, RunOptions(**options), device=CPU, inputs=toy.INPUTS)


def parameters(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def plain(**changes):
    torch.manual_seed(3)
    return toy.ToyModel(**{"dropout": 0.0, "norm": False, **changes})


def test_two_steps_equal_a_hand_written_loop_bit_for_bit():
    loader = toy.ToyLoader(size=8)
    batches = list(loader.epoch(0))[:2]
    theirs = plain(norm=True)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    losses = []
    for batch in batches:
        clip = torch.addcmul(torch.tensor(-2.0), batch.clip_BVTNCHW[:, 0].float(), torch.tensor(1 / (255 * 0.25)))
        loss = functional.cross_entropy(theirs(clip), batch.label_B)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    ours = plain(norm=True)
    run = stepper(ours, replace(toy.RECIPE, micro_batch=8))
    results = [run.step([batch], step=i, lr=0.05) for i, batch in enumerate(batches)]
    assert [r.loss for r in results] == losses
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, theirs.state_dict()[name]), name


def test_micro_batches_of_any_size_add_up_to_the_whole_batch():
    whole = toy.ToyLoader().batch(0, list(range(8)))
    parts = [toy.ToyLoader().batch(0, numbers) for numbers in ([0, 1, 2], [3], [4, 5, 6, 7])]
    one, three = plain(), plain()
    a = stepper(one, toy.RECIPE).step([whole], step=0, lr=0.5)
    b = stepper(three, toy.RECIPE).step(parts, step=0, lr=0.5)
    assert a.clips == b.clips == 8
    assert a.correct == b.correct
    assert b.loss == pytest.approx(a.loss, rel=1e-6)
    torch.testing.assert_close(parameters(three), parameters(one), rtol=1e-5, atol=1e-7)


def test_the_smaller_last_step_of_an_epoch_is_a_mean_over_its_own_clips():
    five = toy.ToyLoader().batch(0, list(range(5)))
    one, other = plain(), plain()
    stepper(one, replace(toy.RECIPE, batch_size=5, micro_batch=5)).step([five], step=0, lr=0.5)
    parts = [toy.ToyLoader().batch(0, numbers) for numbers in ([0, 1, 2, 3], [4])]
    stepper(other, replace(toy.RECIPE, batch_size=64, micro_batch=4)).step(parts, step=0, lr=0.5)
    torch.testing.assert_close(parameters(other), parameters(one), rtol=1e-5, atol=1e-7)


def test_dropout_depends_on_seed_and_step_and_not_on_what_ran_before():
    batch = toy.ToyLoader().batch(0, [0, 1, 2, 3])

    def loss(step, seed=0, noise=0):
        model = plain(dropout=0.5)
        run = stepper(model, toy.RECIPE, seed=seed)
        torch.rand(noise)
        return run.step([batch], step=step, lr=0.1).loss

    assert loss(4) == loss(4, noise=17)
    assert loss(4) != loss(5)
    assert loss(4) != loss(4, seed=1)
    assert len({seed_for(*parts) for parts in [(0, 1), (1, 0), (0, 2), (0, 1, 0)]}) == 4


def test_clipping_scales_all_gradients_jointly():
    batch = toy.ToyLoader().batch(0, [0, 1, 2, 3])
    before = parameters(plain())
    free, clipped = plain(), plain()
    recipe = replace(toy.RECIPE, batch_size=4, weight_decay=0)
    stepper(free, recipe).step([batch], step=0, lr=1.0)
    stepper(clipped, replace(recipe, clip_norm=0.01)).step([batch], step=0, lr=1.0)
    move_free, move_clipped = before - parameters(free), before - parameters(clipped)
    assert move_free.norm() > 0.05
    assert move_clipped.norm().item() == pytest.approx(0.01, rel=1e-3)
    assert functional.cosine_similarity(move_free, move_clipped, dim=0).item() == pytest.approx(1, abs=1e-5)


class Broken(nn.Module):
    """Gives NaN for clips whose first pixel is 255."""

    def __init__(self, inner, value):
        super().__init__()
        self.inner, self.value = inner, value

    def forward(self, clip):
        marked = (clip[:, 0, 0, 0, 0, 0] > 1.9)[:, None]
        return torch.where(marked, self.value, self.inner(clip))


def test_a_loss_that_is_not_finite_names_the_clips_and_changes_nothing():
    good, bad = toy.ToyLoader().batch(0, [0, 1]), toy.ToyLoader().batch(0, [2, 3])
    good.clip_BVTNCHW[..., 0, 0] = 0
    bad.clip_BVTNCHW[0, ..., 0, 0] = 255
    model = Broken(plain(norm=True), float("nan"))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    run = stepper(model, toy.RECIPE)
    with pytest.raises(NotFiniteError, match=r"loss of step 7.*nan.*clip2, clip3\.") as error:
        run.step([good, bad], step=7, lr=0.1)
    assert "clip0" not in str(error.value)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert not run.torn
    assert all(p.grad is None for p in model.parameters())
    assert run.step([good], step=7, lr=0.1).clips == 2


def test_a_gradient_that_is_not_finite_is_refused_before_the_step():
    class Root(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.zeros(3))

        def forward(self, clip):
            return self.w.abs().sqrt().expand(len(clip), 3)  # finite at 0, its slope is not

    model = Root()
    with pytest.raises(NotFiniteError, match=r"gradient norm of step 0.*clip0, clip1"):
        stepper(model, toy.RECIPE).step([toy.ToyLoader().batch(0, [0, 1])], step=0, lr=0.1)
    assert torch.equal(model.w.detach(), torch.zeros(3))


def test_only_the_first_clips_are_listed():
    batch = toy.ToyLoader().batch(0, list(range(20)))
    batch.clip_BVTNCHW[..., 0, 0] = 255
    with pytest.raises(NotFiniteError, match="clip15 and 4 more"):
        stepper(Broken(plain(), float("inf")), toy.RECIPE).step([batch], step=0, lr=0.1)


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.03), ("fp16", 0.005)])
def test_half_precision_trains_close_to_full(precision, tolerance):
    batch = toy.ToyLoader().batch(0, list(range(8)))
    full, half = plain(), plain()
    recipe = replace(toy.RECIPE, weight_decay=0)
    a = stepper(full, recipe).step([batch], step=0, lr=0.1)
    run = stepper(half, recipe, precision=precision)
    b = run.step([batch], step=0, lr=0.1)
    assert run.scaler.is_enabled() == (precision == "fp16")
    assert b.loss == pytest.approx(a.loss, rel=tolerance)
    assert b.loss != a.loss
    start = parameters(plain())
    moved, expected = parameters(half) - start, parameters(full) - start
    assert (moved - expected).norm() < 10 * tolerance * expected.norm()
    assert all(p.dtype == torch.float32 for p in half.parameters())


def test_fp16_skips_a_step_that_overflows_and_lowers_the_scale():
    batch = toy.ToyLoader().batch(0, list(range(4)))
    model = plain()
    before = parameters(model)
    run = stepper(model, toy.RECIPE, precision="fp16")
    run.scaler.load_state_dict({**run.scaler.state_dict(), "scale": 2.0**127})
    run.step([batch], step=0, lr=0.1)
    assert torch.equal(parameters(model), before)
    assert run.scaler.get_scale() == 2.0**126


def test_a_model_with_logits_of_another_shape_is_refused():
    class Flat(nn.Linear):
        def forward(self, clip):
            return super().forward(clip.flatten(1)[:, :1]).flatten()

    with pytest.raises(PluginError, match=r"logits_BK with B=2, found the shape \(2,\)"):
        stepper(Flat(1, 1), toy.RECIPE).step([toy.ToyLoader().batch(0, [0, 1])], step=0, lr=0.1)


def test_batch_norm_on_one_value_is_explained():
    class Tiny(nn.Module):
        def __init__(self):
            super().__init__()
            self.bn, self.fc = nn.BatchNorm1d(4), nn.Linear(4, 3)

        def forward(self, clip):
            return self.fc(self.bn(clip.flatten(1)[:, :4]))

    run = stepper(Tiny(), toy.RECIPE)
    with pytest.raises(UsageError, match=r"Raise train\.micro_batch"):
        run.step([toy.ToyLoader().batch(0, [0])], step=0, lr=0.1)


def test_a_loader_that_ends_early_is_refused():
    with pytest.raises(PluginError, match="as many batches as its length says"):
        stepper(plain(), toy.RECIPE).step([], step=0, lr=0.1)


def test_losses_and_hits():
    recipe_logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    single, many = torch.tensor([0, 1]), torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    recipe = TrainRecipe(epochs=1, batch_size=2, lr=0.1)
    smooth = replace(recipe, label_smoothing=0.3)
    logs = recipe_logits.log_softmax(1)
    plain_rows = [-logs[0, 0], -logs[1, 1]]
    assert loss_of(recipe_logits, single, recipe).item() == pytest.approx(float(sum(plain_rows)) / 2)
    expected = [0.7 * row - 0.3 * logs[i].mean() for i, row in enumerate(plain_rows)]
    assert loss_of(recipe_logits, single, smooth).item() == pytest.approx(float(sum(expected)) / 2)
    chances = recipe_logits.sigmoid()
    expected_bce = -(many * chances.log() + (1 - many) * (1 - chances).log()).mean()
    bce = replace(recipe, loss="binary_cross_entropy")
    assert loss_of(recipe_logits, many, bce).item() == pytest.approx(expected_bce.item())
    for reduction, factor in (("sum_classes", 3), ("sum", 3 * 2)):  # three classes, two videos
        found = loss_of(recipe_logits, many, replace(bce, reduction=reduction)).item()
        assert found == pytest.approx(factor * expected_bce.item())
    assert hits(recipe_logits, single).item() == 1
    assert hits(recipe_logits, many).item() == 1


def test_the_loss_must_go_with_the_labels():
    bce = replace(toy.RECIPE, loss="binary_cross_entropy")
    check_loss(toy.RECIPE, multi_label=False)
    check_loss(bce, multi_label=True)
    with pytest.raises(UsageError, match=r"several labels per video needs train\.loss=binary_cross_entropy"):
        check_loss(toy.RECIPE, multi_label=True)
    with pytest.raises(UsageError, match=r"one label per video needs train\.loss=cross_entropy"):
        check_loss(bce, multi_label=False)
    with pytest.raises(UsageError, match="label_smoothing goes with"):
        check_loss(replace(bce, label_smoothing=0.1), multi_label=True)
    with pytest.raises(UsageError, match="reduction goes with"):
        check_loss(replace(toy.RECIPE, reduction="sum"), multi_label=False)


def test_a_wait_is_summed_over_micro_batches():
    batch = toy.ToyLoader().batch(0, [0, 1])
    slow = Batch(batch.clip_BVTNCHW, batch.label_B, batch.ids, 0.25)
    assert stepper(plain(), toy.RECIPE).step([slow, slow], step=0, lr=0.1).wait_seconds == 0.5


def features(videos=6):
    """Quantised vectors of different numbers of frames, and class numbers."""
    generator = torch.Generator().manual_seed(1)
    feature_BFD = torch.randint(0, 256, (videos, 5, 6), dtype=torch.uint8, generator=generator)
    mask_BF = torch.arange(5) < torch.tensor([5, 1, 3, 4, 2, 5])[:videos, None]
    ids = tuple(f"video{number}" for number in range(videos))
    return Batch(None, torch.arange(videos) % 3, ids, feature_BFD=feature_BFD, mask_BF=mask_BF)


def sequence_model():
    torch.manual_seed(3)
    model = toy_sequence.MeanOfFrames(toy_sequence.ToyConfig(), 3)
    model.dropout.p = 0.0
    return model


def test_a_step_on_features_equals_a_hand_written_one():
    batch, spec = features(), toy_sequence.inputs(toy_sequence.ToyConfig())
    theirs = sequence_model()
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9)
    values = batch.feature_BFD.float() * (4 / 255) + (4 / 512 - 2)
    loss = functional.cross_entropy(theirs(values * batch.mask_BF[..., None], batch.mask_BF), batch.label_B)
    loss.backward()
    optimizer.step()
    ours = sequence_model()
    run = Stepper(ours, replace(toy.RECIPE, batch_size=6, weight_decay=0.0), RunOptions(), device=CPU, inputs=spec)
    result = run.step([batch], step=0, lr=0.1)
    assert result.clips == 6
    assert result.loss == pytest.approx(loss.item(), rel=1e-6)
    torch.testing.assert_close(parameters(ours), parameters(theirs), rtol=1e-5, atol=1e-7)


def test_what_a_model_adds_to_its_loss_is_trained_on():
    def pull(module, logits_BK, label):
        assert module is model
        assert (logits_BK.shape, label.shape) == ((6, 3), (6,))
        return 10 * logits_BK.square().mean()

    batch, spec = features(), toy_sequence.inputs(toy_sequence.ToyConfig())
    recipe = replace(toy.RECIPE, batch_size=6, weight_decay=0.0)
    plain_model, model = sequence_model(), sequence_model()
    plain_step = Stepper(plain_model, recipe, RunOptions(), device=CPU, inputs=spec)
    run = Stepper(model, recipe, RunOptions(), device=CPU, inputs=spec, extra_loss=pull)
    without, with_it = (each.step([batch], step=0, lr=0.1).loss for each in (plain_step, run))
    values = batch.feature_BFD.float() * (4 / 255) + (4 / 512 - 2)
    logits_BK = sequence_model()(values * batch.mask_BF[..., None], batch.mask_BF)
    assert with_it - without == pytest.approx(10 * logits_BK.square().mean().item(), rel=1e-4)
    assert not torch.equal(parameters(model), parameters(plain_model))
