import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from host import KINETICS, Host, clip_id, kinetics

from vtk_cli.catalog import Catalog
from vtk_cli.cli import main
from vtk_cli.fetch.clips import files_below

Vtk = Callable[..., tuple[int, str, str]]


@pytest.fixture
def host() -> Iterator[Host]:
    with Host(kinetics()) as running:
        yield running


@pytest.fixture
def vtk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], host: Host) -> Vtk:
    """Run vtk in this process: exit code, stdout, stderr."""
    monkeypatch.setenv("VTK_HOME", str(tmp_path / "root"))
    monkeypatch.setenv("VTK_MIRROR", host.url + KINETICS)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["vtk", "download", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def test_a_whole_dataset_with_clips_that_exist_nowhere(vtk: Vtk, tmp_path: Path) -> None:
    code, out, err = vtk("kinetics400")
    assert code == 3
    assert "kinetics400: 36 of 37 clips" in out
    assert "1 clips of the archives are in no annotation" in out
    assert "36 of 37 clips of kinetics400 are here; missing: 1" in err
    assert "missing.csv" in err
    assert "This is normal" in err
    assert (tmp_path / "root" / "current").read_text() == "kinetics400\n"


def test_json_and_commas(vtk: Vtk) -> None:
    code, out, _ = vtk("kinetics400", "--split", "val,test", "--json")
    result = json.loads(out)
    assert code == 0
    assert {split: counts["ready"] for split, counts in result["splits"].items()} == {"val": 12, "test": 12}
    assert result["missing_list"] is None


def test_splits_by_repetition_and_a_limit(vtk: Vtk) -> None:
    code, out, _ = vtk("kinetics400", "--split", "train", "--split", "val", "--limit", 10, "--json")
    assert code == 0
    assert json.loads(out)["ready"] == 10


def test_a_dry_run(vtk: Vtk, tmp_path: Path, host: Host) -> None:
    code, out, _ = vtk("kinetics400", "--dry-run")
    assert code == 0
    assert "13 files" in out
    assert "free at" in out
    assert not (tmp_path / "root").exists()
    code, out, _ = vtk("kinetics400", "--dry-run", "--json")
    assert json.loads(out)["bytes"] == sum(len(content) for content in host.files.values())


def test_files_by_hand(vtk: Vtk, tmp_path: Path, host: Host) -> None:
    for path, content in host.files.items():
        target = tmp_path / "mine" / path.removeprefix(KINETICS)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    code, out, _ = vtk("kinetics400", "--from", tmp_path / "mine", "--keep-archives", "--jobs", 2)
    assert code == 3
    assert "36 of 37 clips" in out
    assert host.requests == []


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["kinetics40"], 2, 'Did you mean "kinetics400"'),
        (["kinetics400", "--split", "trian"], 2, 'Did you mean "train"'),
        (["kinetics400", "--limit", "0"], 2, "--limit"),
        (["kinetics400", "--jobs", "0"], 2, "--jobs"),
        (["kinetics400", "--from", "/nowhere"], 2, "--from should name a folder"),
        (["kinetics400", "--mirror", "/nowhere"], 2, "should begin with http"),
        (["kinetics400", "--mirror", "http://"], 5, "should begin with http"),
        ([], 2, "Missing argument"),
    ],
)
def test_wrong_arguments(vtk: Vtk, arguments: list[str], code: int, message: str) -> None:
    found, _, err = vtk(*arguments)
    assert found == code
    assert message in err
    assert "Traceback" not in err


def test_nothing_usable(vtk: Vtk, host: Host, tmp_path: Path) -> None:
    del host.files[f"{KINETICS}400/annotations/val.csv"]
    code, _, err = vtk("kinetics400", "--split", "val")
    assert code == 5
    assert "HTTP 404" in err
    assert not (tmp_path / "root" / "current").exists()


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from vtk_cli.cli import app\n"
        "for words in (['download', '--help'], ['datasets', '--help'], ['datasets', 'show', '--help']):\n"
        "    try: app(words)\n"
        "    except SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'av', 'requests', 'lmdb', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


# ------------------------------------------------------------------ killed, and run again


def start(root: Path, host: Host) -> subprocess.Popen[str]:
    arguments = ["download", "kinetics400", "--root", str(root), "--mirror", host.url + KINETICS, "--json"]
    return subprocess.Popen(
        [sys.executable, "-m", "vtk_cli", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def outcome(folder: Path) -> dict[str, object]:
    """Everything that a download leaves, but for times and URLs of the day."""
    with Catalog(folder / "catalog.sqlite") as catalog:
        rows = [(row.id, row.path, row.labels, row.splits, row.status, row.cause) for row in catalog.rows()]
    manifest = json.loads((folder / "manifest.json").read_text())
    files = {path: (folder / path).read_bytes() for path in files_below(folder) if path.startswith("videos/")}
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    return {
        "files": files,
        "names": names,
        "rows": rows,
        "missing": (folder / "missing.csv").read_text(),
        "clips": manifest["clips"],
        "fetched": [(file["path"], file["sha256"]) for file in manifest["files"]],
    }


def test_killed_at_any_moment_and_run_again_gives_the_same(tmp_path: Path) -> None:
    with Host(kinetics(clip_bytes=20_000)) as host:
        undisturbed = start(tmp_path / "undisturbed", host)
        began = time.monotonic()
        assert undisturbed.wait(60) == 3
        undisturbed.communicate()
        whole_seconds = time.monotonic() - began
        expected = outcome(tmp_path / "undisturbed" / "kinetics400")
        host.seconds_per_chunk = 0.004
        moments = random.Random(20).sample(range(100), 3)
        for moment in moments:
            root = tmp_path / f"killed-{moment}"
            for share in (moment / 100, (moment * 7 % 100) / 100):
                killed = start(root, host)
                with killed:
                    try:
                        killed.wait(0.5 + share * (whole_seconds + 0.3))
                    except subprocess.TimeoutExpired:
                        killed.send_signal(signal.SIGKILL)
            finished = start(root, host)
            out, err = finished.communicate(timeout=60)
            assert finished.returncode == 3, err
            assert json.loads(out)["ready"] == 36
            assert outcome(root / "kinetics400") == expected


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_resumable(tmp_path: Path, number: signal.Signals) -> None:
    with Host(kinetics(clip_bytes=40_000)) as host:
        host.seconds_per_chunk, host.chunk = 0.05, 4096
        running = start(tmp_path, host)
        deadline = time.monotonic() + 20
        while not any(files_below(tmp_path / "kinetics400" / "raw" / "archives").values()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        running.send_signal(number)
        _, err = running.communicate(timeout=30)
        assert running.returncode == 75
        assert "same command" in err
        assert "Traceback" not in err
        assert list(tmp_path.rglob("*.part"))
        assert not (tmp_path / "kinetics400" / "manifest.json").exists()
        host.seconds_per_chunk = 0
        host.requests.clear()
        again = start(tmp_path, host)
        again.communicate(timeout=60)
        assert again.returncode == 3
        assert any(wanted for _, _, wanted in host.requests)  # a Range: it went on where it was
    with Catalog(tmp_path / "kinetics400" / "catalog.sqlite") as catalog:
        assert catalog.counts()["ready"] == 36
        assert {row.id for row in catalog.rows("val")} == {clip_id("val", n) for n in range(12)}
