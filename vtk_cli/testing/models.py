"""What every model must do, as a test class. A plugin's author subclasses it and inherits its tests.

    from vtk_cli.testing.models import ModelTests
    from my_plugin import MODEL

    class TestMyModel(ModelTests):
        spec = MODEL

They use no fixtures, so without pytest `for name in TestMyModel.names(): getattr(TestMyModel(), name)()` runs them.
"""

import dataclasses
import json
import os
import subprocess
import sys
from random import Random
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn import functional

from vtk_cli.api.inputs import FeatureSpec, InputSpec, View
from vtk_cli.api.models import ModelSpec
from vtk_cli.api.recipes import TrainRecipe
from vtk_cli.memory_format import to_channels_last
from vtk_cli.testing.contract import Contract, refusal
from vtk_cli.testing.made_inputs import Inputs, first_alone, made_inputs, others_changed, sampled, views_of

NUM_CLASSES = 5

VIDEO_LENGTHS = (1, 2, 7, 50, 301)
"""Frames of the videos that samplers are tried on."""

IMPORT_SECONDS = 1.0
"""Of processor time that importing a plugin may take, torch not counted."""

OVERFIT_STEPS = 300
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)

_IMPORT = """
import json, socket, sys, time, torch, vtk_cli.api.models
sys.path, module = json.loads(sys.argv[1]), sys.argv[2]
def refuse(*_args, **_kwargs):
    raise OSError("a plugin is imported without network")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
begin = time.process_time()
__import__(module)
print(time.process_time() - begin)
"""


class ModelTests(Contract):
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

    def test_import_is_quick_and_needs_no_network(self) -> None:
        """Imported in a fresh process whose sockets refuse; processor time, so a busy machine does not matter."""
        name = self.spec.config.__module__
        command = [sys.executable, "-c", _IMPORT, json.dumps([os.getcwd(), *sys.path]), name]  # noqa: PTH109  a text
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  our own interpreter
        assert done.returncode == 0, f"importing {name} fails: {done.stderr.strip().splitlines()[-1:]}"
        seconds = float(done.stdout.split()[-1])
        assert seconds < IMPORT_SECONDS, f"importing {name} takes {seconds:.1f} s; import heavy modules where used"

    def test_default_configuration_is_complete(self) -> None:
        """`vtk train NAME` works without a setting."""
        assert isinstance(self.spec.inputs(self.spec.config()), InputSpec | FeatureSpec)

    def test_inputs_are_consistent(self) -> None:
        spec = self._inputs()
        assert isinstance(spec, FeatureSpec) or len(spec.norm.mean) == spec.channels
        for view in views_of(spec):
            for length in VIDEO_LENGTHS:
                self._check_sampler(spec, view, length)

    def test_test_views_do_not_depend_on_chance(self) -> None:
        spec = self._inputs()
        view = views_of(spec)[-1]
        assert sampled(spec, view, 100, None) == sampled(spec, view, 100, None)

    def test_builds_without_memory(self) -> None:
        """On the meta device, as weight import, `vtk models show` and dry runs build it; shapes come out right."""
        spec = self._inputs()
        for view in views_of(spec):
            with torch.device("meta"):
                model = self.spec.build(self._config(), NUM_CLASSES).eval()
                given = tuple(tensor.to("meta") for tensor in made_inputs(spec, view, 2))
                assert model(*given).shape == (2, NUM_CLASSES), "the same shapes as on a processor"

    def test_classifier_is_named(self) -> None:
        """Its input are the features of a clip; its output has one number per class."""
        outputs: list[Tensor] = []
        model = self._model().eval()
        layer = model.get_submodule(self.spec.classifier)
        layer.register_forward_hook(lambda _layer, _given, found: outputs.append(found))
        with torch.no_grad():
            model(*self._given(videos=2))
        assert outputs, f"the layer {self.spec.classifier} takes part in the forward pass"
        assert NUM_CLASSES in outputs[-1].shape, f"the layer {self.spec.classifier} gives one number per class"

    def test_forward_gives_logits_for_both_views(self) -> None:
        model = self._model().eval()
        spec = self._inputs()
        for view in views_of(spec):
            with torch.no_grad():
                logits_BK = model(*made_inputs(spec, view, 2))
            assert logits_BK.shape == (2, NUM_CLASSES), f"expected logits_BK of (2, {NUM_CLASSES})"
            assert logits_BK.dtype == torch.float32
            assert logits_BK.isfinite().all()

    def test_number_of_classes_and_of_videos_may_be_one(self) -> None:
        for num_classes in (1, 2):
            model = self._model(num_classes).eval()
            with torch.no_grad():
                assert model(*self._given(videos=1)).shape == (1, num_classes)

    def test_evaluation_repeats_to_the_bit(self) -> None:
        model = self._model().eval()
        given = self._given(videos=2)
        with torch.no_grad():
            assert torch.equal(model(*given), model(*given)), "evaluation draws nothing and keeps nothing"

    def test_videos_of_a_batch_do_not_see_each_other(self) -> None:
        model = self._model().eval()
        given = self._given(videos=3)
        with torch.no_grad():
            together, changed, alone = model(*given), model(*others_changed(given)), model(*first_alone(given))
        # Kernels may sum in another order in a batch of another size, hence no bit equality.
        torch.testing.assert_close(changed[0], together[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(alone[0], together[0], rtol=1e-4, atol=1e-5)

    def test_padding_does_not_matter(self) -> None:
        """Features: neither what stands in the padding nor how much there is of it."""
        spec = self._inputs()
        if not isinstance(spec, FeatureSpec):
            return  # clips have no padding
        model = self._model().eval()
        feature_BFD, mask_BF = made_inputs(spec, None, 3)
        junk_BFD = torch.where(mask_BF[..., None], feature_BFD, 7.0)
        longer = functional.pad(feature_BFD, (0, 0, 0, 3)), functional.pad(mask_BF, (0, 3))
        with torch.no_grad():
            plain, junk, padded = model(feature_BFD, mask_BF), model(junk_BFD, mask_BF), model(*longer)
        torch.testing.assert_close(junk, plain, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(padded, plain, rtol=1e-4, atol=1e-5)

    def test_channels_last_gives_the_same_logits(self) -> None:
        spec = self._inputs()
        if isinstance(spec, FeatureSpec):
            return  # vectors have one memory format
        model = self._model().eval()
        given = self._given(videos=2)
        with torch.no_grad():
            plain = model(*given)
            other = to_channels_last(model)(*given)
        torch.testing.assert_close(other, plain, rtol=1e-4, atol=1e-5)

    def test_export_gives_the_same_logits(self) -> None:
        """torch.export traces it whole: nothing in forward depends on the values."""
        model = self._model().eval()
        given = self._given(videos=2)
        exported = torch.export.export(model, given)
        with torch.no_grad():
            torch.testing.assert_close(exported.module()(*given), model(*given), rtol=1e-5, atol=1e-6)

    def test_every_trainable_parameter_gets_a_finite_gradient(self) -> None:
        model = self._model().train()
        self._backward(model)
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, f"no gradient reaches {name}"
                assert parameter.grad.isfinite().all(), f"the gradient of {name} is not finite"

    def test_overfits_eight_clips(self) -> None:
        """Without dropout, Adam brings the loss of eight random clips below 0.1."""
        model = self._model().train()
        for layer in model.modules():
            if isinstance(layer, DROPOUTS):
                layer.p = 0.0
        given = made_inputs(self._inputs(), views_of(self._inputs())[0], 8)
        label_B = torch.arange(8) % NUM_CLASSES
        optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-3)
        for _ in range(OVERFIT_STEPS):
            loss = functional.cross_entropy(model(*given), label_B)
            if loss < 0.1:
                return
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
        raise AssertionError(f"after {OVERFIT_STEPS} steps on eight clips the loss should be below 0.1, found {loss}")

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
        given = made_inputs(self._inputs(), views_of(self._inputs())[0], 1)
        with torch.no_grad():
            assert torch.equal(model(*given), fresh(*given))

    def test_parameter_groups_cover_every_trainable_parameter_once(self) -> None:
        model = self._model().train()
        groups = self.spec.recipe.param_groups(model)
        grouped = sorted(name for group in groups for name in group.params)
        assert grouped == sorted(name for name, p in model.named_parameters() if p.requires_grad)
        assert len({group.name for group in groups}) == len(groups), "groups have names of their own"

    def test_layouts_refuse_what_is_not_theirs(self) -> None:
        for name, layout in self.spec.layouts.items():
            for garbage in ({}, {"no.such.tensor": torch.zeros(1)}):
                message = refusal(layout, garbage)
                assert message, f'the layout "{name}" takes {garbage} without a CheckpointError'
                assert all(key in message for key in garbage), f"the message names no unexpected tensor: {message}"
                assert "missing" in message, f"the message does not say what is missing: {message}"

    def test_pretrained_weights_can_be_read(self) -> None:
        pretrained = self.spec.pretrained(self._config())
        if pretrained is not None:
            assert pretrained.weights.layout in pretrained.layouts, f"no layout reads {pretrained.weights.url}"

    def test_weights_can_be_read(self) -> None:
        fields = {field.name for field in dataclasses.fields(self.spec.config)}
        for name, weights in self.spec.weights.items():
            assert weights.layout in self.spec.layouts, f"no layout reads the weights {name}"
            assert len(weights.sha256) not in range(1, 8), f"the digest of {name} has fewer than 8 hex digits"
            assert set(weights.config) <= fields, f"the weights {name} name settings that the model does not have"

    def _config(self) -> Any:
        config = self.spec.tiny if self.config is None else self.config
        assert config is not None, "a spec without `tiny` needs a `config` to be tested with"
        return config

    def _inputs(self) -> Inputs:
        return self.spec.inputs(self._config())

    def _model(self, num_classes: int = NUM_CLASSES, seed: int = 0) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.spec.build(self._config(), num_classes)

    def _given(self, videos: int) -> tuple[Tensor, ...]:
        """Of the test view."""
        return made_inputs(self._inputs(), views_of(self._inputs())[-1], videos)

    def _backward(self, model: nn.Module, dtype: torch.dtype | None = None) -> Tensor:
        given, label_B = made_inputs(self._inputs(), views_of(self._inputs())[0], 2), torch.tensor([0, 1])
        with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
            logits_BK = model(*given)
        loss = functional.cross_entropy(logits_BK.float(), label_B)
        torch.autograd.backward(loss)
        return loss.detach()

    def _check_sampler(self, spec: Inputs, view: View | None, length: int) -> None:
        for rng in (None, Random(0)):
            clips = sampled(spec, view, length, rng)
            assert all(0 <= number < length for clip in clips for number in clip), f"past the {length} frames: {clips}"
            lengths = {len(clip) for clip in clips}
            if isinstance(spec, FeatureSpec):
                assert len(clips) == 1, f"one sequence per video, found {len(clips)}"
                assert min(lengths) >= 1, "a sequence has a vector"
                assert max(lengths) <= spec.frames, f"at most {spec.frames} vectors, found {lengths}"
            elif view is not None:
                assert lengths == {view.segments * spec.loaded_frames(view)}, f"frames per clip: {lengths}"
                assert clips if view.clips == 0 else len(clips) == view.clips, f"{len(clips)} clips"
