"""Weights that plugins name: fetched once, verified, and explained where that is not possible."""

import doctest
import hashlib
import io
import shlex
from dataclasses import replace

import pytest
import torch
import toy_models
from host import Host
from toy_models import TOY

from vtk_cli import registry
from vtk_cli.api.models import Weights
from vtk_cli.config import resolve
from vtk_cli.errors import CheckpointError, FetchError, PluginError, UsageError
from vtk_cli.evaluate import published as module
from vtk_cli.evaluate import shelf
from vtk_cli.evaluate.foreign import load_model_spec
from vtk_cli.evaluate.published import fetch_weights, find_weights, import_command, offered, published
from vtk_cli.evaluate.weights import load_weights
from vtk_cli.workspace import Workspace

PATH = "/models/toy-1234.pth"


@pytest.fixture(scope="module")
def content():
    buffer = io.BytesIO()
    torch.save(toy_models.tensors(width=6), buffer)
    return buffer.getvalue()


@pytest.fixture
def host(content):
    with Host({PATH: content}) as host:
        yield host


@pytest.fixture
def offer(monkeypatch):
    """offer(**fields of Weights) -> what is offered under the name toy-own."""

    def install(**changes):
        weights = Weights(**{"url": f"https://official.example{PATH}", "layout": "toy", "licence": "MIT", **changes})
        toy_models.install(monkeypatch, toy=replace(TOY, weights={"own": weights}))
        return offered("toy-own")

    return install


def test_published_weights_are_fetched_once_verified_by_a_prefix(tmp_path, host, offer, content, capsys):
    digest = hashlib.sha256(content).hexdigest()
    found, workspace = offer(sha256=digest[:8], source="a page", protocol="one view"), Workspace(tmp_path)
    path = fetch_weights(found, workspace, mirror=host.url)
    assert fetch_weights(found, workspace, mirror=host.url) == path
    assert len(host.gets(PATH)) == 1
    _, info = load_weights(path)
    assert info.provenance == {
        "file": ".toy-own.pth",
        "sha256": digest,
        "layout": "toy",
        "url": f"https://official.example{PATH}",
        "licence": "MIT",
        "source": "a page",
        "protocol": "one view",
    }
    assert sorted(p.name for p in workspace.weights.iterdir()) == ["toy-own.safetensors"]
    assert "no digest" not in capsys.readouterr().err


def test_a_digest_that_nobody_publishes_is_told_and_recorded(tmp_path, host, offer, content, capsys):
    path = fetch_weights(offer(), Workspace(tmp_path), mirror=host.url)
    digest = hashlib.sha256(content).hexdigest()
    assert load_weights(path)[1].provenance["sha256"] == digest
    assert f"no digest of it is published; the one found, sha256 {digest}, is recorded" in capsys.readouterr().err


def test_another_file_than_the_published_one_is_refused(tmp_path, host, offer):
    with pytest.raises(CheckpointError, match=r"should have sha256 00000000\.\.\., found"):
        fetch_weights(offer(sha256="00000000"), Workspace(tmp_path), mirror=host.url)
    assert list(Workspace(tmp_path).weights.iterdir()) == []


def test_a_mirror_that_lacks_the_file_is_told_and_the_official_address_asked(tmp_path, host, offer, capsys):
    found = offer(url=host.url + PATH)
    fetch_weights(found, Workspace(tmp_path), mirror=f"{host.url}/mirror/")
    assert [path for _, path, _ in host.requests] == [f"/mirror{PATH}", PATH]
    assert f"mirror/ has no {PATH}; fetching it from 127.0.0.1" in capsys.readouterr().err


def test_the_entrys_configuration_is_the_models(tmp_path, host, offer):
    path = fetch_weights(offer(config={"segments": 5}), Workspace(tmp_path), mirror=host.url)
    assert load_weights(path)[1].config == {"width": 6, "segments": 5, "direction": "next"}


def test_an_entry_that_contradicts_the_tensors_is_refused(tmp_path, host, offer):
    with pytest.raises(UsageError, match=r"model\.width is set to 5 where"):
        fetch_weights(offer(config={"width": 5}), Workspace(tmp_path), mirror=host.url)
    assert list(Workspace(tmp_path).weights.iterdir()) == []


def test_an_entry_knows_better_than_the_dialect(tmp_path, host, offer, capsys):
    found = offer(layout="backwards", config={"direction": "next"})
    path = fetch_weights(found, Workspace(tmp_path), mirror=host.url)
    assert load_weights(path)[1].config["direction"] == "next"
    assert "is set to" not in capsys.readouterr().err


def test_class_names_of_a_label_order_without_a_recipe_are_numbers(tmp_path, host, offer):
    path = fetch_weights(offer(classes="nobody's order"), Workspace(tmp_path), mirror=host.url)
    _, info = load_weights(path)
    assert (info.classes, info.label_order) == (("0", "1", "2"), "nobody's order")


def test_without_a_network_the_import_is_explained(tmp_path, host, offer):
    found = offer(classes="kinetics400", config={"segments": 5, "direction": "next"}, url=host.url + "/gone.pth")
    said = (
        rf"toy-own are not in .* cannot be fetched: .*HTTP 404.* get the file from {host.url}/gone.pth and run `vtk weights "
        "import FILE --layout toy --model toy --set model.segments=5 --set model.direction=next --classes kinetics400 "
        "--name toy-own`"
    )
    with pytest.raises(FetchError, match=said):
        fetch_weights(found, Workspace(tmp_path))


def test_weights_behind_a_page_are_fetched_by_hand(tmp_path, host, offer):
    found, workspace = offer(by_hand=True, url=host.url + "/folder"), Workspace(tmp_path)
    said = (
        rf"Get the file on the page {host.url}/folder and run `vtk weights import FILE --layout toy --model toy --name"
    )
    with pytest.raises(FetchError, match=said):
        fetch_weights(found, workspace)
    assert host.requests == []
    rows = {row["name"]: row for row in shelf.rows(workspace)}
    assert rows["toy-own"]["here"] == "by hand"
    assert "on the page" in shelf.describe("toy-own", workspace)["get"]


def test_the_import_that_is_told_does_what_the_fetch_would(tmp_path, host, offer, content):
    found, workspace = offer(config={"segments": 5}), Workspace(tmp_path)
    fetched = fetch_weights(found, workspace, mirror=host.url)
    (tmp_path / "by-hand.pth").write_bytes(content)
    words = shlex.split(import_command(found))
    options = dict(zip(words[4::2], words[5::2], strict=True))
    path = shelf.bring_in(
        workspace, tmp_path / "by-hand.pth", layout=options["--layout"], model=options["--model"], name="other",
        assignments=[options["--set"]],
    )  # fmt: skip
    assert load_weights(path)[1].config == load_weights(fetched)[1].config
    assert load_weights(path)[1].check["digest"] == load_weights(fetched)[1].check["digest"]


def test_weights_are_found_by_file_by_name_and_by_published_name(tmp_path, host, offer, monkeypatch):
    offer()
    monkeypatch.setenv("VTK_MIRROR", host.url)
    workspace = Workspace(tmp_path)
    path = find_weights("toy-own", workspace, "--weights takes")
    assert path == workspace.weights / "toy-own.safetensors"
    assert find_weights(str(path), workspace, "--weights takes") == path
    with pytest.raises(
        UsageError, match=r'--weights takes a file of weights or a name; there is no "toy-ownn". Did you'
    ):
        find_weights("toy-ownn", workspace, "--weights takes")


def test_trunks_name_their_imagenet_weights():
    found = {item.name: item for item in published()}
    assert found["resnet50-imagenet"].destination.kind == "trunk"


def test_a_broken_plugin_does_not_hide_the_others(monkeypatch):
    load = registry.load

    def broken(group, name):
        if name == "resnet18":
            raise PluginError("broken")
        return load(group, name)

    monkeypatch.setattr(registry, "load", broken)
    names = [item.name for item in published()]
    assert "resnet50-imagenet" in names
    assert "resnet18-imagenet" not in names


def test_every_published_entry_has_a_configuration_and_a_command():
    for item in published():
        assert item.weights.layout in item.destination.layouts, item.name
        words = shlex.split(import_command(item))
        assert words[-1] == item.name
        settings = [words[place + 1] for place, word in enumerate(words) if word == "--set"]
        if item.destination.settle is not None:
            config = resolve({"model": load_model_spec(item.destination.plugin).config()}, assignments=settings)[
                "model"
            ]
            settled = item.destination.settle({}, item.name).config
            assert settled == {name: getattr(config, name) for name in settled}, item.name


def test_examples_in_docstrings():
    assert doctest.testmod(module).failed == 0


def test_the_shelf_shows_what_is_here_and_what_can_be_fetched(tmp_path, monkeypatch, content):
    toy_models.install(monkeypatch, toy=TOY)
    workspace = Workspace(tmp_path)
    (tmp_path / "r.pth").write_bytes(content)
    path = shelf.bring_in(workspace, tmp_path / "r.pth", layout="toy", model="toy", name="mine")
    (workspace.weights / "broken.safetensors").write_bytes(b"x")
    rows = {row["name"]: row for row in shelf.rows(workspace)}
    assert rows["mine"]["here"] == "yes"
    assert rows["broken"]["here"] == "damaged"
    assert rows["resnet50-imagenet"]["here"] == "no"
    assert shelf.describe("mine", workspace)["provenance"]["file"] == "r.pth"
    assert shelf.describe(str(path), workspace)["model"] == "toy"
    assert shelf.describe("resnet50-imagenet", workspace)["get"] == "`vtk weights fetch resnet50-imagenet`"
