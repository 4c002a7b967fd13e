import json

from vtk_cli import registry


def test_every_model_is_listed(vtk):
    code, out, _ = vtk("models")
    assert code == 0
    lines = {line.split()[0]: line for line in out.splitlines()[1:]}
    assert set(lines) == set(registry.names("vtk.models"))
    assert "rgb, 7 x 5 frames of 224" in lines["stnet"]


def test_the_list_as_json(vtk):
    code, out, _ = vtk("models", "list", "--json")
    found = {row["model"]: row for row in json.loads(out)}
    assert code == 0
    assert found["tsn"]["distribution"] == "vtk-cli"
    assert found["tsn"]["input"].startswith("rgb, 3 x 1 frames")


def test_a_third_partys_model_is_named_without_importing_it(vtk, monkeypatch):
    entry = registry.EntryPoint("broken", "no_such_module:MODEL", "vtk.models")
    broken = registry.Plugin(group="vtk.models", name="broken", distribution="x", version="1", entry_point=entry)
    known = registry.plugins
    monkeypatch.setattr(
        registry, "plugins", lambda group: [*known(group), broken] if group == "vtk.models" else known(group)
    )
    code, out, _ = vtk("models", "--json")
    found = {row["model"]: row for row in json.loads(out)}
    assert code == 0
    assert found["broken"]["summary"] == "of x 1: `vtk models show broken`"
    assert found["tsn"]["input"]


def test_a_model_is_shown_with_all_that_can_be_set(vtk):
    code, out, _ = vtk("models", "show", "stnet", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["config"]["depth"] == {"type": "int", "default": 50}
    assert found["inputs"]["train"]["segments"] == 7
    assert found["inputs"]["test"]["segments"] == 25
    assert found["inputs"]["train"]["sampler"] == "segments_paddle"
    assert found["recipe"]["epochs"] == 60
    assert found["schedule"] == "lr 0.01, times 0.1 after epochs 20, 40"
    assert found["starts_from"] == "resnet50-imagenet"


def test_the_same_for_a_person(vtk):
    code, out, _ = vtk("models", "show", "tsn")
    assert code == 0
    for part in ("--set model.KEY=VALUE", "trunk", "resnet50", "--set train.KEY=VALUE", "milestones", "sampler"):
        assert part in out, part


def test_a_wrong_name_is_answered_with_the_nearest(vtk):
    code, out, err = vtk("models", "show", "stent")
    assert (code, out) == (2, "")
    assert 'Did you mean "stnet"' in err
