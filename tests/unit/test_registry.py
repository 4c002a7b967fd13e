"""Entry points of installed distributions, made on the fly as dist-info folders."""

import sys

import pytest
from made_plugins import write_distribution

from vtk_cli import registry
from vtk_cli.errors import PluginError, UsageError


@pytest.fixture
def install(tmp_path, monkeypatch):
    """install(distribution, {group: {name: value}}, version, modules) puts a distribution on the path."""

    def make(distribution, groups, version="1.0", **modules):
        site = write_distribution(tmp_path / distribution, distribution, groups, version, **modules)
        for name in modules:
            monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.syspath_prepend(site)
        return site

    return make


def test_listing_imports_nothing(install):
    install("acme", {"vtk.flow": {"zoom": "acme_loud:FLOW"}}, acme_loud="raise SystemExit(9)")
    plugin = registry.find("vtk.flow", "zoom")
    assert (plugin.distribution, plugin.version, plugin.value) == ("acme", "1.0", "acme_loud:FLOW")
    assert "zoom" in registry.names("vtk.flow")
    assert "acme_loud" not in sys.modules


def test_load_gives_the_object(install):
    install("acme", {"vtk.flow": {"zoom": "acme_flow:FLOW"}}, acme_flow="FLOW = 'the object'")
    assert registry.load("vtk.flow", "zoom") == "the object"


def test_first_party_plugins_use_the_same_door():
    assert registry.find("vtk.models", "stnet").distribution == "vtk-cli"
    assert registry.find("vtk.models", "vtk-cli:stnet").name == "stnet"


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(UsageError, match=r'There is no model "stnt"\. Did you mean "stnet"\?'):
        registry.find("vtk.models", "stnt")


def test_unknown_name_lists_the_few_there_are(install):
    install("acme", {"vtk.loggers": {"paper": "acme_x:X"}})
    with pytest.raises(UsageError, match=r'There is no logger "wandb"\. There are: paper\.'):
        registry.find("vtk.loggers", "wandb")
    with pytest.raises(UsageError, match="There are none"):
        registry.find("vtk.commands", "zzz")


def test_a_clash_names_both_and_the_qualified_name_is_never_ambiguous(install):
    install("acme", {"vtk.models": {"stnet": "acme_a:MODEL"}}, acme_a="MODEL = 'of acme'")
    with pytest.raises(UsageError) as caught:
        registry.load("vtk.models", "stnet")
    assert "2 installed distributions" in str(caught.value)
    assert "acme:stnet or vtk-cli:stnet" in str(caught.value)
    assert registry.load("vtk.models", "acme:stnet") == "of acme"
    names = registry.names("vtk.models")
    assert {"acme:stnet", "vtk-cli:stnet", "tsn"} <= set(names)
    assert "stnet" not in names


def test_a_clash_leaves_other_names_alone(install):
    install("acme", {"vtk.models": {"stnet": "acme_a:MODEL"}}, acme_a="MODEL = 1")
    assert registry.find("vtk.models", "tsn").distribution == "vtk-cli"


def test_an_entry_point_that_is_seen_twice_is_no_clash(install, monkeypatch):
    site = install("acme", {"vtk.flow": {"zoom": "acme_flow:FLOW"}}, acme_flow="FLOW = 1")
    other = site.with_name("again")
    (other / "acme-1.0.dist-info").mkdir(parents=True)
    for file in (site / "acme-1.0.dist-info").iterdir():
        (other / "acme-1.0.dist-info" / file.name).write_text(file.read_text())
    monkeypatch.syspath_prepend(other)
    assert registry.names("vtk.flow").count("zoom") == 1
    assert registry.load("vtk.flow", "zoom") == 1


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_module_here", "ModuleNotFoundError: No module named 'no_such_module_here'"),
        ("FLOW = 1 / 0", "ZeroDivisionError: division by zero"),
        ("def (", "SyntaxError"),
        ("OTHER = 1", "has no attribute 'FLOW'"),
    ],
)
def test_a_broken_plugin_is_one_error_with_its_reason(install, source, reason):
    install("acme", {"vtk.flow": {"zoom": "acme_bad:FLOW"}}, version="2.3", acme_bad=source)
    with pytest.raises(PluginError) as caught:
        registry.load("vtk.flow", "zoom")
    message = str(caught.value)
    assert message.startswith("The flow method acme:zoom (version 2.3) does not load: ")
    assert reason in message
    assert "pip uninstall acme" in message
    assert caught.value.exit_code == 4


def test_another_plugin_api_is_refused(install):
    source = "class FLOW:\n    api = 99\n"
    install("acme", {"vtk.flow": {"zoom": "acme_new:FLOW"}}, acme_new=source)
    with pytest.raises(PluginError, match="written for plugin API 99; this vtk has plugin API 1"):
        registry.load("vtk.flow", "zoom")


def test_a_qualified_name_of_a_distribution_without_it_is_unknown():
    with pytest.raises(UsageError, match='There is no model "acme:stnet"'):
        registry.find("vtk.models", "acme:stnet")
