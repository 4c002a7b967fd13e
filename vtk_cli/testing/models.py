"""What every model and every trunk must do, as test classes. A plugin's author subclasses one and inherits its tests.

    from vtk_cli.testing.models import ModelTests
    from my_plugin import MODEL

    class TestMyModel(ModelTests):
        spec = MODEL

They use no fixtures, so without pytest `for name in TestMyModel.names(): getattr(TestMyModel(), name)()` runs them.
"""

import dataclasses
from random import Random
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn import functional

from vtk_cli.api.inputs import InputSpec, View
from vtk_cli.api.models import ModelSpec, TrunkSpec
from vtk_cli.api.recipes import TrainRecipe
from vtk_cli.errors import CheckpointError

NUM_CLASSES = 5

VIDEO_LENGTHS = (1, 2, 7, 50, 301)
"""Frames of the videos that samplers are tried on."""


class _Contract:
    @classmethod
    def names(cls) -> list[str]:
        """The tests by name, for running them without pytest."""
        return [name for name in dir(cls) if name.startswith("test_")]


class ModelTests(_Contract):
    """The contract of `vtk.models`; runs on the spec's `tiny` configuration unless `config` is given."""

    spec: ModelSpec[Any]
    config: Any = None

    def test_spec_says_what_it_is(self) -> None:
        assert isinstance(self.spec, ModelSpec), f"expected a ModelSpec, found {type(self.spec).__name__}"
        assert dataclasses.is_dataclass(self.spec.config), "config is a dataclass"
        assert self.spec.config.__dataclass_params__.frozen, "config is frozen: it is hashed, compared and shared"  # type: ignore[attr-defined]
        assert isinstance(self._config(), self.spec.config), "tiny is one of the spec's own configurations"
        assert isinstance(self.spec.recipe, TrainRecipe), "recipe is a TrainRecipe"
        assert self.spec.summary, "summary says in a line what the model does"

    def test_default_configuration_is_complete(self) -> None:
        """`vtk train NAME` works without a setting."""
        assert isinstance(self.spec.inputs(self.spec.config()), InputSpec)

    def test_inputs_are_consistent(self) -> None:
        spec = self._inputs()
        assert len(spec.norm.mean) == spec.channels
        assert spec.train.clips == spec.train.crops == 1, "training takes one view of a video"
        for view in (spec.train, spec.test):
            for length in VIDEO_LENGTHS:
                self._check_sampler(spec, view, length)

    def test_test_views_do_not_depend_on_chance(self) -> None:
        view = self._inputs().test
        assert self._sample(view, 100, None) == self._sample(view, 100, None)

    def test_forward_gives_logits_for_both_views(self) -> None:
        model = self._model().eval()
        spec = self._inputs()
        for view in (spec.train, spec.test):
            with torch.no_grad():
                logits_BK = model(self._clip(view, videos=2))
            assert logits_BK.shape == (2, NUM_CLASSES), f"expected logits_BK of (2, {NUM_CLASSES})"
            assert logits_BK.dtype == torch.float32
            assert logits_BK.isfinite().all()

    def test_number_of_classes_and_of_videos_may_be_one(self) -> None:
        for num_classes in (1, 2):
            model = self._model(num_classes).eval()
            with torch.no_grad():
                assert model(self._clip(self._inputs().test, videos=1)).shape == (1, num_classes)

    def test_evaluation_repeats_to_the_bit(self) -> None:
        model = self._model().eval()
        clip = self._clip(self._inputs().test, videos=2)
        with torch.no_grad():
            assert torch.equal(model(clip), model(clip)), "evaluation draws nothing and keeps nothing"

    def test_videos_of_a_batch_do_not_see_each_other(self) -> None:
        model = self._model().eval()
        clip = self._clip(self._inputs().test, videos=3)
        other = torch.cat((clip[:1], clip[1:].flip(0) * 2 + 1))
        with torch.no_grad():
            together, changed, alone = model(clip), model(other), model(clip[:1])
        # Kernels may sum in another order in a batch of another size, hence no bit equality.
        torch.testing.assert_close(changed[0], together[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(alone[0], together[0], rtol=1e-4, atol=1e-5)

    def test_every_trainable_parameter_gets_a_finite_gradient(self) -> None:
        model = self._model().train()
        self._backward(model)
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, f"no gradient reaches {name}"
                assert parameter.grad.isfinite().all(), f"the gradient of {name} is not finite"

    def test_bf16_autocast(self) -> None:
        model = self._model().train()
        loss = self._backward(model, torch.bfloat16)
        assert loss.isfinite()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())

    def test_seed_decides_the_initial_weights(self) -> None:
        first, again, other = (self._model(seed=seed).state_dict() for seed in (1, 1, 2))
        assert all(torch.equal(tensor, again[name]) for name, tensor in first.items()), "one seed, one initialisation"
        assert any(not torch.equal(tensor, other[name]) for name, tensor in first.items()), "the seed has no effect"

    def test_weights_survive_safetensors(self) -> None:
        model = self._model().eval()
        fresh = self._model(seed=2).eval()
        fresh.load_state_dict(load(save({name: t.contiguous() for name, t in model.state_dict().items()})))
        clip = self._clip(self._inputs().train, videos=1)
        with torch.no_grad():
            assert torch.equal(model(clip), fresh(clip))

    def test_parameter_groups_cover_every_trainable_parameter_once(self) -> None:
        model = self._model().train()
        groups = self.spec.recipe.param_groups(model)
        grouped = sorted(name for group in groups for name in group.params)
        assert grouped == sorted(name for name, p in model.named_parameters() if p.requires_grad)
        assert len({group.name for group in groups}) == len(groups), "groups have names of their own"

    def test_layouts_refuse_what_is_not_theirs(self) -> None:
        for name, layout in self.spec.layouts.items():
            for garbage in ({}, {"no.such.tensor": torch.zeros(1)}):
                message = _refusal(layout, garbage)
                assert message, f'the layout "{name}" takes {garbage} without a CheckpointError'
                assert all(key in message for key in garbage), f"the message names no unexpected tensor: {message}"
                assert "missing" in message, f"the message does not say what is missing: {message}"

    def test_pretrained_weights_can_be_read(self) -> None:
        pretrained = self.spec.pretrained(self._config())
        if pretrained is not None:
            assert pretrained.weights.layout in pretrained.layouts, f"no layout reads {pretrained.weights.url}"
            assert len(pretrained.weights.sha256) >= 8, "a digest has at least 8 hex digits"

    def test_weights_can_be_read(self) -> None:
        for name, weights in self.spec.weights.items():
            assert weights.layout in self.spec.layouts, f"no layout reads the weights {name}"
            assert len(weights.sha256) >= 8, f"the digest of {name} has fewer than 8 hex digits"

    def _config(self) -> Any:
        config = self.spec.tiny if self.config is None else self.config
        assert config is not None, "a spec without `tiny` needs a `config` to be tested with"
        return config

    def _inputs(self) -> InputSpec:
        return self.spec.inputs(self._config())

    def _model(self, num_classes: int = NUM_CLASSES, seed: int = 0) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.spec.build(self._config(), num_classes)

    def _clip(self, view: View, videos: int) -> Tensor:
        spec = self._inputs()
        frames = spec.loaded_frames(view)
        generator = torch.Generator().manual_seed(videos)
        return torch.randn(videos, view.segments, frames, spec.channels, view.crop, view.crop, generator=generator)

    def _backward(self, model: nn.Module, dtype: torch.dtype | None = None) -> Tensor:
        clip, label_B = self._clip(self._inputs().train, videos=2), torch.tensor([0, 1])
        with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
            logits_BK = model(clip)
        loss = functional.cross_entropy(logits_BK.float(), label_B)
        torch.autograd.backward(loss)
        return loss.detach()

    def _check_sampler(self, spec: InputSpec, view: View, length: int) -> None:
        frames = spec.loaded_frames(view)
        for rng in (None, Random(0)):
            clips = self._sample(view, length, rng, frames)
            assert [len(clip) for clip in clips] == [view.segments * frames] * view.clips
            assert all(0 <= number < length for clip in clips for number in clip), f"past the {length} frames: {clips}"

    def _sample(self, view: View, length: int, rng: Random | None, frames: int | None = None) -> list[list[int]]:
        return view.sampler(
            length,
            segments=view.segments,
            frames=frames or view.frames,
            stride=view.stride,
            clips=view.clips,
            rng=rng,
        )


class TrunkTests(_Contract):
    """The contract of `vtk.trunks`."""

    spec: TrunkSpec

    def test_spec_says_what_it_is(self) -> None:
        assert isinstance(self.spec, TrunkSpec), f"expected a TrunkSpec, found {type(self.spec).__name__}"
        assert len(self.spec.norm.mean) == 3, "norm is for RGB pictures"
        for name, weights in self.spec.weights.items():
            assert weights.layout in self.spec.layouts, f"no layout reads the weights {name}"
            assert len(weights.sha256) >= 8, f"the digest of {name} has fewer than 8 hex digits"

    def test_forward_gives_features_of_its_width(self) -> None:
        with torch.device("meta"):
            trunk = self.spec.build(3).eval()
            feature_BD = trunk(torch.empty(2, 3, 224, 224))
        assert feature_BD.shape == (2, trunk.num_features), f"expected feature_BD of (2, {trunk.num_features})"

    def test_first_convolution_takes_any_number_of_channels(self) -> None:
        for in_channels in (3, 10):
            with torch.device("meta"):
                trunk = self.spec.build(in_channels)
            stem = trunk.get_submodule(str(trunk.stem_conv))
            assert isinstance(stem, nn.Conv2d), f"stem_conv names a {type(stem).__name__}, not a Conv2d"
            assert stem.in_channels == in_channels
            first = next(module for module in trunk.modules() if isinstance(module, nn.Conv2d))
            assert stem is first, "stem_conv is the first convolution"

    def test_layouts_refuse_what_is_not_theirs(self) -> None:
        for name, layout in self.spec.layouts.items():
            for garbage in ({}, {"no.such.tensor": torch.zeros(1)}):
                message = _refusal(layout, garbage)
                assert message, f'the layout "{name}" takes {garbage} without a CheckpointError'
                assert all(key in message for key in garbage), f"the message names no unexpected tensor: {message}"


def _refusal(layout: Any, checkpoint: dict[str, Tensor]) -> str:
    try:
        layout(checkpoint)
    except CheckpointError as error:
        return str(error)
    return ""
