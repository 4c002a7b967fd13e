"""The report of a fusion: its streams, and no traceback from what was damaged."""

import json

import pytest
from made_runs import make_run

from vtk_cli.report.page import render

STREAMS = [
    {"name": "rgb", "reads": "frames-72", "file": "runs/rgb/scores/test.npz", "sha256": "ab" * 32, "weight": 1,
     "metrics": {"top1": 0.25}},
    {"name": "flow", "reads": "flow-tvl1-72", "file": "/elsewhere/test.npz", "sha256": "cd" * 32, "weight": 1.5,
     "metrics": {"top1": 0.75}},
]  # fmt: skip
SEARCH = {"split": "val", "videos": 40, "weights": [0.4, 0.6], "curve": [{}] * 21, "optimistic": False}
WHOLE = {"streams": STREAMS, "command": "vtk fuse rgb flow --weights 1,1.5"}


def page(tmp_path, fusion):
    made = make_run(tmp_path, stores=False)
    path = made.run.scores / "test.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "fusion": fusion}))
    return render(made.run, made.workspace)


def test_streams_weights_and_the_command_are_shown(tmp_path):
    found = page(tmp_path, {**WHOLE, "search": SEARCH})
    for text in ("Fusion report", "flow-tvl1-72", "25.0", "75.0", "/elsewhere/test.npz", "cdcdcdcdcdcd"):
        assert text in found
    assert "The weights 0.4:0.6 are the best of 21 on 40 videos of val." in found
    assert "vtk fuse rgb flow --weights 1,1.5" in found
    assert "vtk test" not in found
    assert "optimistic" not in found


def test_weights_of_a_search_on_what_is_reported_are_called_optimistic(tmp_path):
    assert "these numbers are optimistic" in page(tmp_path, {**WHOLE, "search": {**SEARCH, "optimistic": True}})


@pytest.mark.parametrize(
    "fusion",
    [
        None, [], {}, {"streams": STREAMS}, {**WHOLE, "streams": [1]}, {**WHOLE, "search": []},
        {**WHOLE, "streams": [{**STREAMS[0], "weight": "much"}]},
    ],
)  # fmt: skip
def test_a_damaged_part_of_the_file_costs_only_itself(tmp_path, fusion):
    found = page(tmp_path, fusion)
    assert "Training report" in found
    assert "vtk test" in found
