"""Every installed model and trunk keeps the contract that plugin authors test theirs with."""

from dataclasses import dataclass, replace

import pytest
import torch

from vtk_cli import registry
from vtk_cli.api.inputs import IMAGENET, Augment, InputSpec, View
from vtk_cli.api.models import ModelSpec, TrunkSpec
from vtk_cli.api.recipes import ParamGroup, TrainRecipe, one_group
from vtk_cli.api.sampling import segments
from vtk_cli.testing.models import ModelTests, TrunkTests

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
    assert {"stnet", "tsn"} <= set(MODELS)
    assert {"resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "bninception"} <= set(TRUNKS)


# The contract itself: each of these models breaks one rule, and the rule's test must notice.


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    crop: int = 8


class MeanColour(torch.nn.Module):
    def __init__(self, config, num_classes):
        super().__init__()
        self.fc = torch.nn.Linear(3, num_classes)

    def forward(self, clip_BTNCHW):
        return self.fc(clip_BTNCHW.mean((1, 2, 4, 5)))


class SeesTheBatch(MeanColour):
    def forward(self, clip_BTNCHW):
        return super().forward(clip_BTNCHW - clip_BTNCHW.mean(0))


class Draws(MeanColour):
    def forward(self, clip_BTNCHW):
        return super().forward(clip_BTNCHW) + torch.rand(())


class Forgets(MeanColour):
    def __init__(self, config, num_classes):
        super().__init__(config, num_classes)
        self.unused = torch.nn.Linear(1, 1)


class Explodes(MeanColour):
    def forward(self, clip_BTNCHW):
        return super().forward(clip_BTNCHW) / 0


def inputs(config):
    view = View(segments=3, frames=2, short_side=config.crop, crop=config.crop, sampler=segments)
    return InputSpec(modality="rgb", train=view, test=view, norm=IMAGENET, augment=Augment(crop="centre"))


def good_model() -> ModelSpec:
    return ModelSpec(
        config=Config,
        inputs=inputs,
        build=MeanColour,
        recipe=TrainRecipe(epochs=1, batch_size=1, lr=1.0),
        tiny=Config(),
        summary="the mean colour of a clip",
    )


def broken(spec, test):
    kit = ModelTests()
    kit.spec = spec
    with pytest.raises(AssertionError):
        getattr(kit, test)()


def test_a_good_model_passes_the_kit_without_pytest():
    kit = ModelTests()
    kit.spec = good_model()
    assert len(kit.names()) >= 15
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
        ({"build": lambda config, classes: MeanColour(config, 7)}, "test_forward_gives_logits_for_both_views"),
        ({"build": lambda config, classes: MeanColour(config, 2)}, "test_number_of_classes_and_of_videos_may_be_one"),
        ({"layouts": {"lenient": dict}}, "test_layouts_refuse_what_is_not_theirs"),
        ({"tiny": None}, "test_spec_says_what_it_is"),
        ({"summary": ""}, "test_spec_says_what_it_is"),
    ],
)
def test_the_kit_notices_a_broken_model(changes, test):
    broken(replace(good_model(), **changes), test)


def test_the_kit_notices_weights_that_ignore_the_seed():
    def build(config, num_classes):
        model = MeanColour(config, num_classes)
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
