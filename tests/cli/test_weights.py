"""`vtk weights` as it is typed, and `--weights NAME` of the commands that use a model."""

import io
import json
from dataclasses import replace

import pytest
import tiny
import torch
import toy_models
from host import Host
from safetensors.torch import save_file
from toy_models import TOY

from vtk_cli.api.models import Weights
from vtk_cli.evaluate.weights import load_weights, read_metadata
from vtk_models.trunks.resnet import RESNET18

LABELS = "\n".join(tiny.CLASSES)


@pytest.fixture(autouse=True)
def models(monkeypatch):
    toy_models.install(monkeypatch, toy=TOY)


@pytest.fixture
def file(tmp_path):
    """A toy's checkpoint, and names for its classes."""
    torch.save(toy_models.tensors(), tmp_path / "toy.pth")
    (tmp_path / "names.txt").write_text(LABELS)
    return tmp_path / "toy.pth"


def test_a_trunk_is_imported_listed_and_shown(vtk, tmp_path):
    file = tmp_path / "resnet18-f37072fd.pth"
    torch.save(RESNET18.build(3).state_dict(), file)
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


def test_a_model_is_imported_with_its_settings_and_class_names(vtk, file, tmp_path):
    code, out, err = vtk(
        "weights", "import", file, "--layout", "toy", "--model", "toy", "--set", "model.segments=5", "--classes",
        tmp_path / "names.txt", "--json", "--root", tmp_path,
    )  # fmt: skip
    assert code == 0, err
    _, info = load_weights(tmp_path / "weights/toy.safetensors")
    assert json.loads(out)["name"] == "toy"
    assert (info.classes, info.label_order, info.config["segments"]) == (tiny.CLASSES, "names", 5)


def test_a_file_is_imported_without_its_model_to_a_file_and_verified(vtk, file, tmp_path):
    output = tmp_path / "elsewhere" / "own.safetensors"
    code, out, err = vtk("weights", "import", file, "--layout", "toy", "-o", output, "--root", tmp_path / "root")
    assert (code, out.strip()) == (0, str(output)), err
    assert not (tmp_path / "root").exists()
    assert load_weights(output)[1].model == "toy"
    code, out, err = vtk("weights", "verify", output)
    assert code == 0, err
    assert "the tensors are unchanged; the logits differ by" in out


def test_a_changed_file_is_told(vtk, file, tmp_path):
    vtk("weights", "import", file, "--layout", "toy", "--root", tmp_path)
    path = tmp_path / "weights/toy.safetensors"
    tensors, metadata = load_weights(path)[0], read_metadata(path)
    tensors["fc.bias"].view(torch.int32)[0] ^= 1
    save_file(tensors, path, metadata)
    code, out, err = vtk("weights", "verify", "toy", "--json", "--root", tmp_path)
    assert code == 5
    assert "should hold the tensors that were imported" in err
    assert json.loads(out)["tensors_unchanged"] is False


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--model", "toy", "--set", "model.width=9"), 2, "model.width is set to 9 where"),
        (("--model", "toy", "--classes", "kinetics400"), 2, "has 3 classes, found 400"),
        (("--model", "toy", "--trunk", "resnet18"), 2, "takes --model NAME for a whole model or --trunk"),
        (("--model", "toyy"), 2, 'Did you mean "toy"'),
        (("--model", "tsn"), 2, 'the model tsn knows no layout "toy"'),
        (("--model", "toy", "--set", "model.wdth=9"), 2, 'Did you mean "width"'),
        (("--set", "model.wdth=9"), 5, 'Did you mean "width"'),
        (("--name", "../escaped"), 2, "letters, digits"),
        (("-o", "own.bin"), 2, "ends in .safetensors"),
        (("-o", "own.safetensors", "--name", "own"), 2, "--name for the workspace or --output"),
    ],
)
def test_wrong_imports_are_one_sentence_and_leave_nothing(vtk, file, tmp_path, monkeypatch, arguments, code, said):
    monkeypatch.chdir(tmp_path)
    found, out, err = vtk("weights", "import", file, "--layout", "toy", *arguments, "--root", tmp_path)
    assert (found, out) == (code, "")
    assert said.lower() in err.lower()
    assert "Traceback" not in err
    assert not list(tmp_path.rglob("*.safetensors"))


def test_json_names_every_tensor_that_is_left_over_or_missing(vtk, file, tmp_path):
    content = {**toy_models.tensors(), **{f"extra{number}": torch.zeros(1) for number in range(40)}}
    del content["fc.bias"]
    torch.save(content, file)
    arguments = ("weights", "import", file, "--layout", "toy", "--model", "toy", "--root", tmp_path)
    code, out, _ = vtk(*arguments, "--json")
    assert code == 5
    assert json.loads(out) == {
        "unexpected": [f"extra{number}" for number in range(40)],
        "missing": ["fc.bias"],
        "of another shape": [],
    }
    assert vtk(*arguments)[:2] == (5, "")
    assert not (tmp_path / "weights").exists()


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
    assert "vtk weights import FILE --layout torchvision --trunk resnet18 --name resnet18-imagenet" in err


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = tiny.make(tmp_path_factory.mktemp("world"))
    tiny.extract(world)
    return world


class TestPublished:
    """`--weights NAME` where no run was trained."""

    @pytest.fixture
    def host(self, monkeypatch):
        """A server of toy-own, whose classes are those of the tiny dataset once it is here."""
        buffer = io.BytesIO()
        torch.save(toy_models.tensors(), buffer)
        with Host({"/toy.pth": buffer.getvalue()}) as host:
            weights = Weights(url=f"{host.url}/toy.pth", layout="toy", licence="MIT", classes="tiny")
            page = replace(weights, by_hand=True, url=f"{host.url}/folder")
            toy_models.install(monkeypatch, toy=replace(TOY, weights={"own": weights, "page": page}))
            monkeypatch.setattr("vtk_cli.evaluate.published._classes", lambda _found: tiny.CLASSES)
            yield host

    def test_predict_needs_no_run(self, vtk, host, world, tmp_path):
        arguments = ("predict", "--weights", "toy-own", world.video(0), world.video(1), "--json", "--root", tmp_path)
        for _ in range(2):
            code, out, err = vtk(*arguments)
            assert code == 0, err
            found = [json.loads(line) for line in out.splitlines()]
            assert [entry["path"] for entry in found] == [str(world.video(0)), str(world.video(1))]
            assert sorted(answer["class"] for answer in found[0]["predictions"]) == sorted(tiny.CLASSES)
        assert len(host.gets("/toy.pth")) == 1

    def test_test_needs_no_run_and_keeps_the_scores(self, vtk, host, world):
        options = ("--json", "--root", world.root, "--set", "data.workers=0")
        code, out, err = vtk("test", "--weights", "toy-own", "tiny", *options)
        assert code == 0, err
        found = json.loads(out)
        assert (found["run"], found["dataset"], found["videos"]) == ("toy-own", "tiny", 3)
        folder = world.workspace.runs / "toy-own"
        assert found == json.loads((folder / "scores/val.json").read_text())
        again = json.loads(vtk("test", "toy-own", *options)[1])
        assert again["metrics"] == found["metrics"]
        assert json.loads(vtk("test", "--weights", "toy-own", *options)[1])["metrics"] == found["metrics"]
        code, out, err = vtk("runs", "--json", "--root", world.root)
        assert [run["name"] for run in json.loads(out)] == ["toy-own"], err
        assert vtk("report", "toy-own", "--root", world.root)[0] == 0

    def test_weights_of_a_run_and_a_run_with_other_weights(self, vtk, host, world, tmp_path):
        other = tiny.make(tmp_path / "other", videos=2)
        run = tiny.make_run(other)
        vtk("weights", "fetch", "toy-own", "--root", other.root)
        options = ("--json", "--root", other.root, "--set", "data.workers=0", "--set", "data.store=videos")
        best = run.checkpoints / "best.safetensors"
        for arguments in (("--weights", best), (run.name, "--weights", best), (run.name, "tiny")):
            code, out, err = vtk("test", *arguments, *options)
            assert code == 0, err
            assert json.loads(out)["run"] == run.name
        code, out, err = vtk("test", run.name, "--weights", "toy-own", *options)
        assert json.loads(out)["weights"]["file"] == "toy-own.safetensors", err
        code, out, err = vtk(
            "predict", run.name, other.video(0), "--weights", "toy-own", "--json", "--root", other.root
        )
        assert len(out.splitlines()) == 1, err

    @pytest.mark.parametrize(
        ("arguments", "code", "said"),
        [
            (("test",), 2, "`vtk test` takes a RUN, or --weights FILE or NAME"),
            (("test", "--weights", "toy-owm"), 2, 'there is no "toy-owm". Did you mean "toy-own"'),
            (("test", "--weights", "toy-own", "tinny"), 2, 'Did you mean "tiny"'),
            (("predict", "--weights", "toy-page", "x.mp4"), 5, "on the page"),
            (("predict", "--weights", "toy-page", "x.mp4"), 5, "vtk weights import FILE --layout toy --model toy"),
        ],
    )
    def test_what_cannot_be_is_one_sentence(self, vtk, host, world, arguments, code, said):
        found, out, err = vtk(*arguments, "--root", world.root)
        assert (found, out) == (code, "")
        assert said in err
        assert "Traceback" not in err
