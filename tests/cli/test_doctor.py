import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from vtk_cli.doctor import check, probes
from vtk_cli.doctor.check import Backend

REQUIRED = {"python", "torch", "av", "lmdb", "simplejpeg"}


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """fake("av", source) puts a module before the real one in the processes of the doctor."""

    def make(name, source):
        (tmp_path / f"{name}.py").write_text(source)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return make


def test_everything_required_works_here(vtk, tmp_path):
    code, out, _ = vtk("doctor", "--json", "--root", tmp_path)
    assert code == 0
    found = {finding["name"]: finding for finding in json.loads(out)}
    assert {name for name, finding in found.items() if finding["required"]} == REQUIRED
    assert all(found[name]["status"] == "ok" for name in REQUIRED)
    assert {"disk", "shared memory", "open files"} <= set(found)
    assert str(tmp_path) in found["disk"]["detail"]
    for finding in found.values():
        assert finding["status"] == "ok" or finding["advice"], finding
    assert list(tmp_path.iterdir()) == []


def test_one_line_each_and_exit_4_if_something_required_is_broken(vtk, fake, monkeypatch, tmp_path):
    fake("lmdb", "raise ImportError('undefined symbol: mdb_env')")
    only = tuple(backend for backend in check.BACKENDS if backend.name in ("lmdb", "python"))
    monkeypatch.setattr(check, "BACKENDS", only)
    code, out, err = vtk("doctor", "--root", tmp_path / "not" / "there")
    assert code == 4
    assert len(out.splitlines()) == 5
    line = next(line for line in out.splitlines() if line.startswith("lmdb"))
    assert "broken" in line
    assert "ImportError: undefined symbol: mdb_env" in line
    assert "pip install --force-reinstall --no-deps lmdb" in line
    assert "vtk needs lmdb" in err


def test_every_backend_has_a_probe():
    assert {backend.name for backend in check.BACKENDS} == set(probes.PROBES)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "SIGILL (built for another processor)"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("import os; os._exit(3)", "code 3"),
        ("import sys; sys.exit('no licence')", "no licence"),
        ("print('hello'); raise RuntimeError('operator does not exist')", "RuntimeError: operator does not exist"),
        ("import a_part_that_is_not_there", "ModuleNotFoundError: No module named 'a_part_that_is_not_there'"),
    ],
)
def test_a_crash_is_a_line(fake, source, words):
    fake("timm", source)
    found = check.probe(Backend("timm", "networks", "timm"))
    assert found.status == "broken"
    assert words in found.detail
    assert "pip install --force-reinstall --no-deps timm" in found.advice


def test_a_backend_that_hangs_is_a_line(fake):
    fake("timm", "import time; time.sleep(60)")
    found = check.probe(Backend("timm", "networks", "timm"), seconds=1.5)
    assert (found.status, found.detail) == ("broken", "does not load within 1.5 s")


def test_what_a_backend_prints_does_not_disturb(fake):
    fake("timm", "print('banner'); __version__ = '9.9'")
    found = check.probe(Backend("timm", "networks", "timm"))
    assert (found.status, found.detail) == ("ok", "9.9 imports")


def test_not_installed_says_what_it_is_for_and_how_to_get_it(fake, monkeypatch):
    found = check.probe(Backend("torchcodec", "another decoder", "torchcodec"))
    if found.status == "ok":
        pytest.skip("torchcodec is installed here")
    assert found.status == "not installed"
    assert found.advice.startswith('For another decoder: pip install torchcodec "torch==')


def test_a_wrong_result_is_broken(fake):
    fake("lmdb", LMDB_THAT_FORGETS)
    found = check.probe(Backend("lmdb", "stores", "lmdb", required=True))
    assert (found.status, found.required) == ("broken", True)
    assert "did not come back" in found.detail


LMDB_THAT_FORGETS = """
class Nothing:
    def __enter__(self): return self
    def __exit__(self, *error): pass
    def begin(self, write=False): return self
    def put(self, key, value): pass
    def get(self, key): return None
__version__ = "0"
def open(*args, **kwargs): return Nothing()
"""


def test_pillow_and_pillow_simd_together_are_named(monkeypatch):
    monkeypatch.setattr(probes, "_version", lambda name: {"pillow": "13.0.0", "pillow-simd": "12.1.1.post0"}[name])
    with pytest.raises(ValueError, match=r"pillow 13\.0\.0 and pillow-simd 12\.1\.1\.post0 are both installed"):
        probes.pil()


def test_pillow_simd_is_recognised_by_its_version(fake, tmp_path):
    (tmp_path / "PIL").mkdir()
    (tmp_path / "PIL" / "__init__.py").write_text("__version__ = '9.5.0.post2'\n")
    image = (
        "class new:\n    size = (32, 24)\n    def __init__(self, *a): pass\n    def resize(self, size): return self\n"
    )
    (tmp_path / "PIL" / "Image.py").write_text(image)
    fake("unused", "")
    assert check.probe(Backend("pil", "pictures", "pillow")).detail.startswith("pillow-simd 9.5.0.post2")


def test_little_space_is_low_and_says_what_to_do(monkeypatch, tmp_path):
    usage = SimpleNamespace(total=64e6, free=3e9)
    monkeypatch.setattr(check.shutil, "disk_usage", lambda path: usage)
    disk, shm = check.disk(tmp_path / "workspace"), check.shared_memory(tmp_path)
    assert (disk.status, shm.status) == ("low", "low")
    assert "--root" in disk.advice
    assert "--shm-size" in shm.advice
    assert check.shared_memory(Path("/no/such/folder")).status == "ok"
    monkeypatch.setattr(check.resource, "getrlimit", lambda kind: (256, 4096))
    files = check.open_files()
    assert (files.status, files.advice) == ("low", "Raise it: ulimit -n 4096.")
