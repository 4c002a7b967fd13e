"""`vtk train NAME demo`: every first-party model takes an epoch on the demo set, is tested, and reports."""

import dataclasses
import json

import pytest
from command import Vtk

from vtk_cli import registry
from vtk_cli.api.inputs import FeatureSpec
from vtk_cli.config import settable

FEATURES = {"attention_cluster": {"clusters": (3,)}, "attention_lstm": {}, "nextvlad": {}}
"""The sequence models, and what their tiny configurations need for one stream instead of two."""

MODELS = [plugin.name for plugin in registry.plugins("vtk.models") if plugin.first_party]
CLIPS = [name for name in MODELS if name not in FEATURES]
ONE_EPOCH = ("--init", "none", "--set", "train.epochs=1", "--set", "train.warmup_epochs=0", "--set", "data.workers=0")
BATCH = ("--set", "train.batch_size=8", "--set", "train.micro_batch=8")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def vtk(tmp_path_factory):
    """A workspace with the smallest demo set."""
    vtk = Vtk(tmp_path_factory.mktemp("home"), OMP_NUM_THREADS="1")
    vtk("download", "demo", "--limit", "12")
    return vtk


def assignments(spec):
    """The model's tiny configuration, as a person types it."""
    for field in settable(spec.tiny):
        value = getattr(spec.tiny, field)
        if value != getattr(spec.config(), field):
            yield from ("--set", f"model.{field}={json.dumps(value) if value is not None else 'none'}")


def epoch_of(vtk, name, *more):
    """Train; what the command says of the run."""
    done = vtk("train", name, "demo", *ONE_EPOCH, *BATCH, *more, "--json")
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", CLIPS)
def test_a_model_of_clips_trains_an_epoch_and_is_tested(vtk, name):
    spec = registry.load("vtk.models", name)
    found = epoch_of(vtk, name, *assignments(spec), "--set", "data.store=videos")
    tested = json.loads(vtk("test", found["run"], "--json").stdout)
    assert 0 <= tested["metrics"]["top1"] <= 1
    assert tested["videos"] > 0


def test_the_sequence_models_train_on_features_of_one_of_them(vtk):
    spec = registry.load("vtk.models", "tsn")
    clips = epoch_of(vtk, "tsn", *assignments(spec), "--set", "data.store=videos")
    vtk("extract", "demo", "--features", clips["run"], "--windows", "3", "--set", "data.workers=0")
    for name, changes in FEATURES.items():
        sequence = registry.load("vtk.models", name)
        tiny = dataclasses.replace(sequence.tiny, streams=("rgb:512",), **changes)
        found = epoch_of(vtk, name, *assignments(dataclasses.replace(sequence, tiny=tiny)))
        tested = json.loads(vtk("test", found["run"], "--json").stdout)
        assert 0 <= tested["metrics"]["top1"] <= 1


def test_the_lists_are_the_whole_of_the_first_party():
    """A model of clips that is new is trained above without anybody adding it; a sequence model has to be named."""
    sequences = {
        name
        for name in MODELS
        if isinstance((spec := registry.load("vtk.models", name)).inputs(spec.config()), FeatureSpec)
    }
    assert sequences == set(FEATURES)
