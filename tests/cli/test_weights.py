"""`vtk weights` as it is typed."""

import json

import pytest
import tiny
import torch

from vtk_cli.evaluate.weights import load_weights
from vtk_models.trunks.resnet import RESNET18
from vtk_models.tsn import MODEL


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A trunk as torchvision saves it, a model as tsn-pytorch does."""
    folder = tmp_path_factory.mktemp("files")
    torch.save(RESNET18.build(3).state_dict(), folder / "resnet18-f37072fd.pth")
    own = MODEL.build(tiny.CONFIG, 2).state_dict()
    names = {name: name.replace("trunk.", "base_model.").replace("fc.", "new_fc.") for name in own}
    torch.save({"state_dict": {names[name]: tensor for name, tensor in own.items()}}, folder / "tsn.pth")
    (folder / "names.txt").write_text("walk\nrun\n")
    return folder


def test_a_trunk_is_imported_listed_and_shown(vtk, files, tmp_path):
    file = files / "resnet18-f37072fd.pth"
    code, out, err = vtk(
        "weights", "import", file, "--layout", "torchvision", "--trunk", "resnet18", "--name", "resnet18-imagenet",
        "--root", tmp_path,
    )  # fmt: skip
    assert code == 0, err
    assert out.strip() == str(tmp_path / "weights/resnet18-imagenet.safetensors")
    code, out, _ = vtk("weights", "list", "--root", tmp_path)
    assert code == 0
    rows = {line.split()[0]: line.split()[1] for line in out.splitlines()[1:]}
    assert rows["resnet18-imagenet"] == "yes"
    assert rows["resnet50-imagenet"] == "no"
    code, out, _ = vtk("weights", "show", "resnet18-imagenet", "--json", "--root", tmp_path)
    assert json.loads(out)["provenance"]["file"] == file.name


def test_a_model_is_imported_with_its_settings_and_class_names(vtk, files, tmp_path):
    code, out, err = vtk(
        "weights", "import", files / "tsn.pth", "--layout", "tsn-pytorch", "--model", "tsn", "--set",
        "model.trunk=resnet18", "--classes", files / "names.txt", "--json", "--root", tmp_path,
    )  # fmt: skip
    assert code == 0, err
    _, info = load_weights(tmp_path / "weights/tsn.safetensors")
    assert json.loads(out)["name"] == "tsn"
    assert info.classes == ("walk", "run")
    assert info.config["trunk"] == "resnet18"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--model", "tsn"), 5, "does not fit the model tsn"),
        (
            ("--model", "tsn", "--set", "model.trunk=resnet18", "--classes", "kinetics400"),
            2,
            "has 2 classes, found 400",
        ),
        (("--model", "tsn", "--trunk", "resnet18"), 2, "takes --model NAME for a whole model or --trunk"),
        ((), 2, "takes --model NAME for a whole model or --trunk"),
        (("--model", "tsnn"), 2, 'Did you mean "tsn"'),
        (("--model", "tsn", "--set", "model.trnk=resnet18"), 2, 'Did you mean "trunk"'),
        (("--model", "tsn", "--name", "../escaped"), 2, "letters, digits"),
    ],
)
def test_wrong_imports_are_one_sentence_and_leave_nothing(vtk, files, tmp_path, arguments, code, said):
    found, out, err = vtk(
        "weights", "import", files / "tsn.pth", "--layout", "tsn-pytorch", *arguments, "--root", tmp_path
    )
    assert (found, out) == (code, "")
    assert said in err
    assert "Traceback" not in err
    assert not list(tmp_path.rglob("*.safetensors"))


def test_missing_files_and_names(vtk, tmp_path):
    code, _, err = vtk(
        "weights", "import", tmp_path / "gone.pth", "--layout", "torchvision", "--trunk", "resnet18", "--root", tmp_path
    )
    assert code == 5
    assert "There is no file" in err
    for command in ("show", "fetch"):
        code, _, err = vtk("weights", command, "resnet18-imagnet", "--root", tmp_path)
        assert code == 2
        assert 'Did you mean "resnet18-imagenet"' in err


def test_a_fetch_that_cannot_be_says_so(vtk, tmp_path):
    code, _, err = vtk("weights", "fetch", "resnet18-imagenet", "--mirror", "ftp://nowhere", "--root", tmp_path)
    assert code == 5
    assert "http" in err
