"""Every installed model and trunk keeps the contract that plugin authors test theirs with."""

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
import torch
from linear import Config, Linear, LinearOnFeatures, feature_inputs, inputs

from vtk_cli import registry
from vtk_cli.api.models import ModelSpec, TrunkSpec
from vtk_cli.api.recipes import ParamGroup, TrainRecipe, one_group
from vtk_cli.testing.models import ModelTests
from vtk_cli.testing.trunks import TrunkTests

MODELS = registry.names("vtk.models")
TRUNKS = registry.names("vtk.trunks")


class TestEveryModel(ModelTests):
    @pytest.fixture(autouse=True, params=MODELS)
    def _named(self, request):
        self.spec = registry.load("vtk.models", request.param)


class TestEveryTrunk(TrunkTests):
    @pytest.fixture(autouse=True, params=TRUNKS)
    def _named(self, request):
        self.spec = registry.load("vtk.trunks", request.param)


def test_the_first_party_is_there():
    assert set(MODELS) >= {
        *("tsn", "tsm", "tin", "stnet", "nonlocal", "slowfast", "slowonly", "resnet3d", "r2plus1d"),
        *("attention_lstm", "attention_cluster", "nextvlad"),
    }
    assert set(TRUNKS) >= {
        *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
        *("bninception", "inception_resnet_v2", "mobilenetv2"),
    }


# The contract itself: each of these models breaks one rule, and the rule's test must notice.


def good_model() -> ModelSpec:
    return ModelSpec(
        config=Config,
        inputs=inputs,
        build=Linear,
        recipe=TrainRecipe(epochs=1, batch_size=1, lr=1.0),
        tiny=Config(),
        summary="a linear layer on all pixels",
    )


class SeesTheBatch(Linear):
    def forward(self, clip_BTNCHW):
        return super().forward(clip_BTNCHW - clip_BTNCHW.mean(0))


class Draws(Linear):
    def forward(self, clip_BTNCHW):
        return super().forward(clip_BTNCHW) + torch.rand(())


class Forgets(Linear):
    def __init__(self, config, num_classes):
        super().__init__(config, num_classes)
        self.unused = torch.nn.Linear(1, 1)


class Explodes(Linear):
    def forward(self, clip_BTNCHW):
        return super().forward(clip_BTNCHW) / 0


class Looks(Linear):
    """Takes a decision by a value, which no trace can follow."""

    def forward(self, clip_BTNCHW):
        return super().forward(clip_BTNCHW) * (2 if clip_BTNCHW.mean() > 0 else 1)


class MemoryBound(Linear):
    """Computes a constant with numpy, which has no meta device."""

    def __init__(self, config, num_classes):
        super().__init__(config, num_classes)
        self.fc.weight.data.copy_(torch.from_numpy(np.asarray(self.fc.weight.detach())))


class Frozen(Linear):
    def forward(self, clip_BTNCHW):
        return super().forward(clip_BTNCHW) * 1e-6


class ReadsPadding(LinearOnFeatures):
    def forward(self, feature_BFD, mask_BF):
        return self.fc(self.hidden(feature_BFD.mean(1)))


RAISED = defaultdict(
    lambda: AssertionError,
    # What torch itself raises says more than an assertion would.
    test_export_gives_the_same_logits=Exception,
    test_builds_without_memory=TypeError,
    test_classifier_is_named=(AssertionError, AttributeError),
)


def broken(spec, test):
    kit = ModelTests()
    kit.spec = spec
    with pytest.raises(RAISED[test]):
        getattr(kit, test)()


@pytest.mark.parametrize("changes", [{}, {"build": LinearOnFeatures, "inputs": feature_inputs}])
def test_a_good_model_passes_the_kit_without_pytest(changes):
    kit = ModelTests()
    kit.spec = replace(good_model(), **changes)
    assert len(kit.names()) >= 20
    for name in kit.names():
        assert getattr(kit, name)() is None


@pytest.mark.parametrize(
    ("changes", "test"),
    [
        ({"build": SeesTheBatch}, "test_videos_of_a_batch_do_not_see_each_other"),
        ({"build": Forgets}, "test_every_trainable_parameter_gets_a_finite_gradient"),
        ({"build": Explodes}, "test_every_trainable_parameter_gets_a_finite_gradient"),
        ({"build": Explodes}, "test_bf16_autocast"),
        ({"build": Draws}, "test_evaluation_repeats_to_the_bit"),
        ({"build": Looks}, "test_export_gives_the_same_logits"),
        ({"build": MemoryBound}, "test_builds_without_memory"),
        ({"build": Frozen}, "test_overfits_eight_clips"),
        ({"classifier": "no_such_layer"}, "test_classifier_is_named"),
        ({"classifier": "flatten"}, "test_classifier_is_named"),
        ({"build": ReadsPadding, "inputs": feature_inputs}, "test_padding_does_not_matter"),
        ({"build": lambda config, classes: Linear(config, 7)}, "test_forward_gives_logits_for_both_views"),
        ({"build": lambda config, classes: Linear(config, 2)}, "test_number_of_classes_and_of_videos_may_be_one"),
        ({"layouts": {"lenient": dict}}, "test_layouts_refuse_what_is_not_theirs"),
        ({"tiny": None}, "test_spec_says_what_it_is"),
        ({"summary": ""}, "test_spec_says_what_it_is"),
    ],
)
def test_the_kit_notices_a_broken_model(changes, test):
    broken(replace(good_model(), **changes), test)


def test_the_kit_notices_weights_that_ignore_the_seed():
    def build(config, num_classes):
        model = Linear(config, num_classes)
        torch.nn.init.zeros_(model.fc.weight)
        torch.nn.init.zeros_(model.fc.bias)
        return model

    broken(replace(good_model(), build=build), "test_seed_decides_the_initial_weights")


def test_the_kit_notices_a_parameter_in_no_group_and_in_two():
    def lacking(module):
        return [ParamGroup(name="fc", params=("fc.weight",))]

    def doubled(module):
        return [*one_group(module), ParamGroup(name="b", params=("fc.weight",))]

    for groups in (lacking, doubled):
        spec = good_model()
        broken(
            replace(spec, recipe=replace(spec.recipe, param_groups=groups)),
            "test_parameter_groups_cover_every_trainable_parameter_once",
        )


def test_the_kit_notices_a_sampler_that_reads_past_the_end():
    def careless_inputs(config):
        def careless(length, *, segments, frames, stride, clips, rng):
            return [list(range(segments * frames))] * clips

        found = inputs(config)
        return replace(found, test=replace(found.test, sampler=careless))

    broken(replace(good_model(), inputs=careless_inputs), "test_inputs_are_consistent")


def test_the_kit_notices_a_trunk_whose_stem_is_another_layer():
    spec = registry.load("vtk.trunks", "resnet18")
    assert isinstance(spec, TrunkSpec)

    def build(in_channels):
        trunk = spec.build(in_channels)
        trunk.stem_conv = "layer1.0.conv1"
        return trunk

    kit = TrunkTests()
    kit.spec = replace(spec, build=build)
    with pytest.raises(AssertionError):
        kit.test_first_convolution_takes_any_number_of_channels()
