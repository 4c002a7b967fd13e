import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import tiny

from vtk_cli.catalog import Catalog
from vtk_cli.errors import DataError, UsageError
from vtk_cli.evaluate.classifier import load
from vtk_cli.evaluate.protocol import check_stores, run_test
from vtk_cli.loader.options import DataOptions
from vtk_cli.report.scores import read_scores

OPTIONS = DataOptions(workers=0)


@pytest.fixture
def world(tmp_path):
    world = tiny.make(tmp_path)
    tiny.extract(world)
    return world


def measure(world, run, *, split=None, options=OPTIONS, **views):
    return run_test(run, load(run.path, **views), world.dataset, split, options)


def test_a_test_leaves_scores_numbers_and_the_activitynet_result(world):
    run = tiny.make_run(world)
    result = measure(world, run)
    assert result.path == run.scores / "val.npz"
    with np.load(result.path) as arrays:
        assert arrays["ids"].tolist() == ["clip-3", "clip-4", "clip-5"]
        assert arrays["labels"].tolist() == [0, 1, 2]
        assert arrays["scores_BK"].shape == (3, 3)
        top1 = float((arrays["scores_BK"].argmax(1) == arrays["labels"]).mean())
    summary = json.loads((run.scores / "val.json").read_text())
    assert summary["metrics"]["top1"] == top1
    assert summary["protocol"]["segments"] == 3
    assert summary["protocol"]["pictures"] == "frames-32"
    assert len(summary["weights"]["sha256"]) == 64
    assert (summary["videos"], summary["left_out"]) == (3, 0)
    anet = json.loads((run.scores / "val.activitynet.json").read_text())
    assert set(anet) == {"version", "results", "external_data"}
    assert anet["results"]["clip-3"][0]["label"] in tiny.CLASSES
    assert sum(entry["score"] for entry in anet["results"]["clip-3"]) == pytest.approx(1, abs=1e-5)


def test_the_report_reads_what_a_test_wrote(world):
    run = tiny.make_run(world)
    result = measure(world, run)
    found = read_scores(run, run.info())
    assert [scores.split for scores in found] == ["val"]
    assert found[0].metrics == result.summary["metrics"]


def test_predicting_a_file_agrees_with_testing_it(world):
    run = tiny.make_run(world)
    result = measure(world, run, options=replace(OPTIONS, store="videos"))
    predicted = dict(load(run.path).predict(world.video(3)))
    scores = result.scores.scores_BK[0]
    expected = np.exp(scores) / np.exp(scores).sum()
    assert [predicted[name] for name in tiny.CLASSES] == pytest.approx(expected.tolist(), abs=1e-5)


@pytest.mark.parametrize("workers", [0, 2])
def test_numbers_do_not_depend_on_workers_or_portions(world, workers):
    run = tiny.make_run(world)
    reference = measure(world, run, clips=2, crops=3)
    found = measure(world, run, clips=2, crops=3, options=replace(OPTIONS, workers=workers, view_batch=2))
    assert found.scores.ids == reference.scores.ids
    assert np.allclose(found.scores.scores_BK, reference.scores.scores_BK, atol=1e-5)


def test_the_same_classes_in_another_order_are_mapped_by_name(world):
    run = tiny.make_run(world, classes=("dive", "bend", "climb"))
    result = measure(world, run)
    assert result.scores.labels.tolist() == [1, 2, 0]


def test_other_classes_are_named(world):
    run = tiny.make_run(world, classes=("dive", "bend", "swim"))
    with pytest.raises(UsageError, match="swim missing, climb unknown to the run"):
        measure(world, run)
    assert not run.scores.exists()


def test_another_dataset_gets_its_own_file(tmp_path, world):
    run = tiny.make_run(world)
    other = world.workspace.new_dataset("other")
    with Catalog(world.dataset.catalog) as catalog:
        rows, meta = catalog.rows(), catalog.meta
    rows = [replace(row, path=str(world.dataset.video(row.path))) for row in rows]
    Catalog.create(other.catalog, tiny.CLASSES, rows, {**meta, "dataset": "other"}, status="ready").close()
    result = run_test(run, load(run.path), other, None, OPTIONS)
    assert result.path.name == "other-val.npz"
    assert result.summary["protocol"]["pictures"] == "videos"


FLOW = asdict(tiny.FLOW)


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({"method": "dis"}, True),
        ({"bound": 15.0}, True),
        ({"parameters": {"levels": 3}}, True),
        ({"quality": 80}, False),
        ({"square_pixels": False}, False),
        ({"shards": 7}, None),
    ],
)
def test_stores_unlike_the_trained_one(change, refused, capsys):
    trained, found = {"flow-a": FLOW}, {"flow-b": {**FLOW, **change}}
    if refused:
        with pytest.raises(DataError, match=rf"trained on flow-a; flow-b differs: {next(iter(change))}"):
            check_stores(trained, found)
        return
    check_stores(trained, found)
    assert ("differs" in capsys.readouterr().err) == (refused is not None)


def test_testing_from_files_after_training_on_a_store_is_fine(capsys):
    check_stores({"frames-32": asdict(tiny.FRAMES)}, {})
    check_stores({}, {"frames-32": asdict(tiny.FRAMES)})
    assert capsys.readouterr().err == ""


def test_a_dataset_without_a_test_split_wants_one_named(world):
    run = tiny.make_run(world)
    with Catalog(world.dataset.catalog) as catalog:
        catalog.set_meta({"test_split": ""})
    with pytest.raises(UsageError, match="Name one with --split: train, val"):
        measure(world, run)
    assert measure(world, run, split="train").path.name == "train.npz"


def test_several_labels_get_average_precision(world):
    with Catalog(world.dataset.catalog) as catalog:
        rows, meta = catalog.rows(), catalog.meta
    rows = [replace(row, labels=(0, 2) if number % 2 else (1,)) for number, row in enumerate(rows)]
    Catalog.create(world.dataset.catalog, tiny.CLASSES, rows, {**meta, "multi_label": True}, status="ready").close()
    run = tiny.make_run(world)
    result = measure(world, run)
    assert result.scores.labels.tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    assert "map" in result.summary["metrics"]
    assert "top1" not in result.summary["metrics"]
