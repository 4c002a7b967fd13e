"""Configuration: overlaid once, each value checked, misspellings suggested, written so that it reads back."""

import dataclasses
import tomllib
from collections.abc import Callable
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vtk_cli.config import overlay, parse_assignment, read_file, resolve, settable, to_toml
from vtk_cli.errors import DataError, UsageError, VtkError


@dataclasses.dataclass(frozen=True)
class Train:
    lr: float = 0.1
    epochs: int = 10
    nesterov: bool = False
    optimizer: Literal["sgd", "adamw"] = "sgd"
    milestones: tuple[float, ...] = (5.0, 8.0)
    clip: float | None = None
    name: str = ""
    groups: Callable[[], int] = int


DEFAULTS = {"train": Train(), "other": Train(lr=1.0)}
SECTION = st.builds(
    Train,
    lr=st.floats(allow_nan=False, allow_infinity=False),
    epochs=st.integers(-(10**12), 10**12),
    nesterov=st.booleans(),
    optimizer=st.sampled_from(["sgd", "adamw"]),
    milestones=st.lists(st.floats(-1e9, 1e9), max_size=4).map(tuple),
    clip=st.none() | st.floats(0, 1e3),
    name=st.text(st.characters(blacklist_categories=["Cs"])).filter(lambda text: text != "none"),
)


@given(SECTION)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_reads_back(tmp_path, section):
    config = resolve({"train": section})
    (tmp_path / "c.toml").write_text(to_toml(config), encoding="utf-8")
    again = resolve({"train": Train()}, file=tmp_path / "c.toml")
    assert again["train"] == section
    assert set(again.origins.values()) == {str(tmp_path / "c.toml")}


@given(st.text(), st.text())
def test_any_assignment_gives_a_key_and_value_or_one_error(key, value):
    try:
        found, _ = parse_assignment(f"{key}={value}")
    except VtkError:
        return
    assert "." in found or "." in key


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("train.lr=0.01", 0.01),
        ("train.lr = 1e-3", 1e-3),
        ("train.name=resnet50", "resnet50"),
        ("train.name=a=b", "a=b"),
        ('train.name="0.1"', "0.1"),
        ("train.nesterov=true", True),
        ("train.milestones=[1, 2.5]", (1.0, 2.5)),
        ("train.clip=none", None),
        ("train.clip=40", 40.0),
        ("train.epochs=1_000", 1000),
    ],
)
def test_assignments_of_every_kind(text, value):
    config = resolve(DEFAULTS, assignments=[text])
    field = text.partition("=")[0].strip().partition(".")[2]
    assert getattr(config["train"], field) == value
    assert type(getattr(config["train"], field)) is type(value)
    assert config.origins[f"train.{field}"] == "--set"
    assert config["other"] == DEFAULTS["other"]


@pytest.mark.parametrize("text", ["lr=0.1", "train.lr", "", "=", "train.lr:0.1"])
def test_malformed_assignments(text):
    with pytest.raises(UsageError, match=r"section\.key=value"):
        parse_assignment(text)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("trian.lr=1", 'Did you mean "train"'),
        ("train.epoch=1", 'Did you mean "epochs"'),
        ("train.groups=1", 'no key "groups"'),
        ("train.lr=fast", r"train\.lr does not take 'fast'"),
        ("train.lr=nan", "train.lr"),
        ("train.lr=true", "should be a number"),
        ("train.epochs=1.5", "train.epochs"),
        ("train.epochs=none", "train.epochs"),
        ("train.optimizer=lion", "train.optimizer"),
        ("train.milestones=3", "train.milestones"),
        ("train.lr=[", "train.lr"),
        ("train.lr=1\ntrain.x=2", "train.lr"),
    ],
)
def test_wrong_values_are_named(text, match):
    with pytest.raises(UsageError, match=match):
        resolve(DEFAULTS, assignments=[text])


def test_later_layers_win_and_are_remembered(tmp_path):
    (tmp_path / "c.toml").write_text("[train]\nlr = 0.5\nepochs = 3\n")
    config = resolve(DEFAULTS, file=tmp_path / "c.toml", assignments=["train.lr=0.7", "train.lr=0.8"])
    assert (config["train"].lr, config["train"].epochs, config["train"].name) == (0.8, 3, "")
    assert config.origins["train.lr"] == "--set"
    assert config.origins["train.epochs"] == str(tmp_path / "c.toml")
    assert config.origins["train.name"] == "default"
    assert "lr = 0.8  # --set" in to_toml(config)


@pytest.mark.parametrize(
    ("content", "error"),
    [(b"lr = 1", UsageError), (b"[train", DataError), (b"\xff\xfe", DataError), (b"[train.deep]\nx = 1", UsageError)],
)
def test_wrong_files(tmp_path, content, error):
    (tmp_path / "c.toml").write_bytes(content)
    with pytest.raises(error, match=r"c\.toml"):
        resolve(DEFAULTS, file=tmp_path / "c.toml")


def test_absent_file(tmp_path):
    with pytest.raises(DataError, match="--config"):
        read_file(tmp_path / "absent.toml")
    with pytest.raises(DataError):
        read_file(tmp_path)


def test_functions_are_no_configuration():
    assert "groups" not in settable(Train())
    assert overlay("train", Train(), {"train.lr": (3, "x")}).lr == 3.0
    assert "groups" not in tomllib.loads(to_toml(resolve(DEFAULTS)))["train"]
