"""Warped flow through every command: extract, train, test, predict, export; stored without loss."""

import json

import numpy as np
import pytest
import tiny
from command import Vtk

from vtk_cli.flow.quantize import decode_flow, dequantize
from vtk_cli.store.lmdb_store import StoreReader

TSN = ("model.modality=warped", "model.short_side=64", "model.crop=64", "model.segments=2", "model.trunk=resnet18")
QUICK = ("model.test_segments=2", "model.test_crops=1", "train.epochs=1", "train.batch_size=4", "train.micro_batch=4")


def mean_length(store):
    """Pixels per pair, of the whole store."""
    with StoreReader(store) as reader:
        assert len(list(reader.ids())) == 6
        flows = [dequantize(decode_flow(data)) for name in reader.ids() for data in reader.read(name, range(7))]
    return float(np.hypot(*np.moveaxis(np.stack(flows), 1, 0)).mean())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_from_extraction_to_a_tested_tsn(tmp_path):
    vtk = Vtk(tmp_path / "home")
    for number in range(6):  # all of it slides to the right by a pixel per frame: nothing but a pan
        label = "ab"[number % 2]
        tiny.write_video(tmp_path / "clips" / label / f"clip{number}.mp4", seed=number, frames=8, size=(96, 64))
    vtk("index", "pans", tmp_path / "clips", "--val-fraction", "0.3", "--test-fraction", "0.3")
    warped = ["--no-frames", "--flow", "farneback", "--warped", "--flow-codec", "png", "--short-side", "64"]
    done = vtk("extract", *warped, "--set", "warp.cell=6", "--export", tmp_path / "out", "--json")
    summary = json.loads(done.stdout)
    assert summary["present"] == {"flow": 6, "warped": 6}
    stores = vtk.home / "pans"
    assert mean_length(stores / "flow-farneback-64") > 0.7
    assert mean_length(stores / "warped-farneback-64") < 0.25  # quantisation alone costs 0.11
    folder = next(path for path in (tmp_path / "out").rglob("*") if path.name.startswith("warped_x")).parent
    assert len(list(folder.glob("warped_y_*.png"))) == len(list(folder.glob("flow_x_*.png"))) == 7
    settings = [word for key in (*TSN, *QUICK) for word in ("--set", key)]
    assert json.loads(vtk("train", "tsn", "--init", "none", *settings, "--json").stdout)["status"] == "finished"
    tested = json.loads(vtk("test", "latest", "--split", "val", "--json").stdout)
    assert tested["protocol"]["pictures"] == "warped-farneback-64"
    assert "clip0.mp4" in vtk("predict", "latest", tmp_path / "clips" / "a" / "clip0.mp4").stdout
