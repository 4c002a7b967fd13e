import json
import os
import signal
import subprocess
import sys
import time

import pytest
import scripted

from vtk_cli.catalog import Catalog
from vtk_cli.cli import main
from vtk_cli.store.lmdb_store import StoreReader

SMALL = ["--decoder", "scripted", "--short-side", "32", "--shards", "2", "--workers", "1"]


@pytest.fixture(autouse=True)
def _plugin(tmp_path, monkeypatch):
    scripted.install_decoder(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")


@pytest.fixture
def vtk(tmp_path, monkeypatch, capsys):
    """Run vtk in this process: exit code, stdout, stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["vtk", *map(str, arguments)])
        monkeypatch.setenv("VTK_HOME", str(tmp_path / "root"))
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return run


@pytest.fixture
def make(tmp_path):
    return lambda clips, **options: scripted.make_dataset(tmp_path / "root", clips, **options)


def test_the_current_dataset_is_extracted_and_told_of(vtk, make):
    make({"a": {}, "b": {}})
    code, out, err = vtk("extract", *SMALL)
    assert (code, out) == (0, "")
    assert "frames-32: 2 of 2 clips" in err
    assert "clips/s" in err
    assert "frames/s" in err
    assert "stored." in err


def test_json_and_exit_code_3_when_some_fail(vtk, make):
    dataset = make({"a": {}, "b": {"do": "refuse"}})
    code, out, err = vtk("extract", "mine", *SMALL, "--json")
    found = json.loads(out)
    assert code == 3
    assert found["present"] == {"frames": 1}
    assert found["failed"] == [{"id": "b", "store": "frames-32", "cause": "it is no video"}]
    assert found["failed_list"] == str(dataset.path / "extract-failed.tsv")
    assert "1 of 2 clips failed" in err
    assert "--retry-failed" in err


def test_exit_code_5_when_nothing_was_extracted(vtk, make):
    make({"a": {"do": "refuse"}})
    code, _, err = vtk("extract", *SMALL)
    assert code == 5
    assert "Nothing was extracted" in err


def test_flow_with_parameters_and_an_export(vtk, make, tmp_path):
    make({"a": {"frames": 3}})
    flow = ["--flow", "dis", "--set", "flow.preset=fast", "--export", tmp_path / "out", "--layout", "denseflow"]
    code, out, _ = vtk("extract", *SMALL, *flow, "--json")
    assert code == 0
    assert json.loads(out)["export"]["written"] == 1
    assert (tmp_path / "out" / "a" / "flow_y_00001.jpg").exists()
    with StoreReader(tmp_path / "root" / "mine" / "flow-dis-32") as reader:
        assert reader.meta.parameters == {"preset": "fast"}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["extract", "other"], 2, 'no dataset "other"'),
        (["extract", "--no-frames"], 2, "--flow"),
        (["extract", "--flow", "tvl"], 2, 'Did you mean "tvl1"'),
        (["extract", "--flow", "tvl1", "--set", "flow.warp=2"], 2, 'Did you mean "warps"'),
        (["extract", "--set", "flow.warps=2"], 2, "--flow"),
        (["extract", "--flow", "tvl1", "--set", "train.lr=1"], 2, 'no section "train"'),
        (["extract", "--shard", "8"], 2, "I/N"),
        (["extract", "--shard", "8/8"], 2, "from 0 to N-1"),
        (["extract", "--layout", "tns"], 2, 'Did you mean "tsn"'),
        (["extract", "--layout", "tsn"], 2, "--export DIR; found --layout"),
        (["extract", "--preview-clips", "2"], 2, "--preview DIR; found --preview-clips"),
        (["extract", "--dry-run", "--export", "x"], 2, "--dry-run writes nothing; found --export"),
        (["extract", "--dry-run", "--preview", "x"], 2, "--dry-run writes nothing; found --preview"),
        (["extract", "--features", "r", "--engine", "ray"], 2, "Features are extracted alone"),
        (["extract", "--features", "r", "--dry-run"], 2, "found --dry-run"),
        (["extract", "--features", "r", "--warped"], 2, "found --warped"),
        (["extract", "--windows", "3"], 2, "This is of features"),
        (["extract", "--engine", "rai"], 2, 'Did you mean "ray"'),
        (["extract", "--warped"], 2, "--flow"),
        (["extract", "--flow-codec", "png"], 2, "--flow"),
        (["extract", "--flow", "dis", "--flow-codec", "gif"], 2, '"gif"'),
        (["extract", "--shard", "0/2", "--export", "x"], 2, "all parts"),
        (["extract", "--split", "tarin"], 2, 'Did you mean "train"'),
        (["extract", "--decoder", "scriptd"], 2, 'Did you mean "scripted"'),
        (["extract", "--short-side", "0"], 2, "--short-side"),
        (["extract", "--limit", "x"], 2, "limit"),
    ],
)
def test_bad_input_is_one_sentence_and_changes_nothing(vtk, make, arguments, code, message):
    dataset = make({"a": {}})
    found, out, err = vtk(*arguments)
    assert (found, out) == (code, "")
    assert message in err
    assert "Traceback" not in err
    assert sorted(path.name for path in dataset.path.iterdir()) == ["catalog.sqlite", "videos"]


def test_a_dry_run_tells_what_it_will_take_and_writes_nothing(vtk, make):
    dataset = make({f"clip{i}": {"frames": 5, "seed": i} for i in range(5)})
    code, out, err = vtk("extract", *SMALL, "--flow", "dis", "--set", "flow.preset=fast", "--dry-run")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["store", "there", "to", "add", "a", "clip"]
    assert [line.split()[0] for line in lines[1:3]] == ["frames-32", "flow-dis-32"]
    assert lines[3].startswith("mine: 5 of 5 clips to do, about 25 frames, 20 pairs: about ")
    assert lines[3].endswith(" with 1 worker, judged by 5 clips.")
    assert " needed, " in lines[4]
    assert sorted(path.name for path in dataset.path.iterdir()) == ["catalog.sqlite", "videos"]
    code, out, _ = vtk("extract", *SMALL, "--dry-run", "--json", "--shard", "0/2")
    found = json.loads(out)
    assert code == 0
    assert 0 < found["clips"] < 5
    assert found["store_bytes"].keys() == {"frames"}
    assert found["all_parts_bytes"] > found["store_bytes"]["frames"] > 0


def test_a_dry_run_says_when_the_disk_does_not_suffice(vtk, make, monkeypatch):
    make({"a": {}})
    monkeypatch.setattr("vtk_cli.extract.estimate.free_bytes", lambda _: 1)
    code, out, err = vtk("extract", *SMALL, "--dry-run", "--json")
    assert (code, json.loads(out)["enough"]) == (0, False)
    assert err.startswith("warning: about ")
    assert "The disk does not suffice" in err


@pytest.mark.parametrize("damage", ["meta.json", "catalog"])
def test_damage_is_told_with_exit_code_5(vtk, make, damage):
    dataset = make({"a": {}})
    vtk("extract", *SMALL)
    path = dataset.store("frames-32") / "meta.json" if damage == "meta.json" else dataset.catalog
    path.write_bytes(b"\x00" * 100)
    code, _, err = vtk("extract", *SMALL)
    assert code == 5
    assert "is damaged" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_stop_and_the_same_command_goes_on(vtk, make, tmp_path, number):
    """The whole group gets the signal, as from Ctrl-C or a batch system."""
    clips = {f"clip{i:02d}": {"frames": 4, "seconds": 0.05, "seed": i} for i in range(30)}
    make({**clips, "hangs": {"frames": 2000, "seconds": 0.05}})
    command = [sys.executable, "-m", "vtk_cli", "extract", *SMALL, "--workers", "2"]
    environment = {**os.environ, "VTK_HOME": str(tmp_path / "root"), "PYTHONPATH": str(tmp_path / "site")}
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        log = tmp_path / "root" / "mine" / "videos" / "decoded.log"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and (not log.exists() or len(log.read_text().splitlines()) < 12):
            time.sleep(0.05)
        os.killpg(process.pid, number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 75
    assert err.splitlines()[-1].startswith(f"vtk: Extraction was stopped by {number.name}")
    assert "Traceback" not in err
    with StoreReader(tmp_path / "root" / "mine" / "frames-32") as reader:
        first = set(reader.ids())
    assert 5 <= len(first) < 31
    (tmp_path / "root" / "mine" / "videos" / "hangs.json").write_text('{"frames": 2}')
    code, out, _ = vtk("extract", *SMALL, "--json")
    assert code == 0
    assert json.loads(out)["extracted"] == 31 - len(first)


def test_flows_lists_and_shows(vtk):
    code, out, _ = vtk("flows", "--json")
    listed = {line["name"]: line for line in json.loads(out)}
    assert code == 0
    assert listed.keys() >= {"tvl1", "farneback", "dis", "raises"}
    assert "TV-L1" in listed["tvl1"]["summary"]
    code, out, _ = vtk("flows", "show", "tvl1")
    assert code == 0
    assert "flow.outer_iterations" in out
    assert "Zach" in out
    code, out, _ = vtk("flows", "show", "tvl1", "--json")
    parameters = {line["parameter"]: line["default"] for line in json.loads(out)["parameters"]}
    assert parameters["flow.lambda_"] == 0.15
    assert vtk("flows")[1].startswith("name")
    assert vtk("flows", "show", "tlv1")[0] == 2


def test_a_third_partys_method_is_named_without_importing_it(vtk, tmp_path):
    (tmp_path / "site" / "scripted_flow.py").write_text("import no_such_module_anywhere")
    sys.modules.pop("scripted_flow", None)
    code, out, _ = vtk("flows", "list", "--json")
    listed = {line["name"]: line for line in json.loads(out)}
    assert code == 0
    assert listed["raises"]["summary"] == "`vtk flows show raises`"
    assert vtk("flows", "show", "raises")[0] == 4


def test_statuses_reach_the_catalog(vtk, make):
    dataset = make({"a": {}, "b": {"do": "crash"}})
    assert vtk("extract", *SMALL)[0] == 3
    with Catalog(dataset.catalog) as catalog:
        assert catalog.counts() == {"listed": 0, "ready": 1, "missing": 0, "broken": 1}
