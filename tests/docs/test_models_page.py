"""The commands of the models page are ones that vtk takes: models, settings with their values, names of weights."""

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest

from vtk_cli import registry
from vtk_cli.config import resolve
from vtk_cli.evaluate.published import published
from vtk_cli.loader.options import DataOptions
from vtk_cli.train.optim import describe_schedule
from vtk_cli.train.options import RunOptions

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "models.md").read_text()
LINES = PAGE.replace("\\\n", " ").splitlines()
COMMANDS = [line.strip() for line in LINES if line.strip().startswith("vtk ")]


def words_of(command):
    return shlex.split(command, comments=True)


def values_of(words, option):
    return [value for name, value in pairwise(words) if name == option]


TRAINED = [command for command in COMMANDS if words_of(command)[1] == "train"]
NAMED = [
    name for command in COMMANDS for option in ("--weights", "--init") for name in values_of(words_of(command), option)
]


def test_the_page_has_commands_for_every_model():
    trained = {words_of(command)[2] for command in TRAINED}
    ours = {plugin.name for plugin in registry.plugins("vtk.models") if plugin.first_party}
    assert trained == ours


@pytest.mark.parametrize("command", TRAINED)
def test_a_training_command_is_taken(command):
    words = words_of(command)
    spec = registry.load("vtk.models", words[2])
    defaults = {"model": spec.config(), "train": spec.recipe, "data": DataOptions(), "run": RunOptions()}
    found = resolve(defaults, assignments=values_of(words, "--set"))
    assert describe_schedule(found["train"])
    assert spec.inputs(found["model"]).summary


@pytest.mark.parametrize("name", sorted({name for name in NAMED if not name.endswith(".safetensors")}))
def test_weights_are_published(name):
    assert name in {item.name for item in published()}


def test_every_model_has_a_section():
    sections = set(re.findall(r"^## (\w+)$", PAGE, re.MULTILINE))
    ours = {plugin.name for plugin in registry.plugins("vtk.models") if plugin.first_party}
    assert ours <= sections
