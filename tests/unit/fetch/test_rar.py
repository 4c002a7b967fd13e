import os
import threading
from pathlib import Path

import pytest
from rars import LINK, rar, stand_in

from vtk_cli.errors import Interrupted, PluginError
from vtk_cli.fetch.archive import DamagedArchive, Limits, UnsafeArchive
from vtk_cli.fetch.rar import find_tool, rar_members

ODD = "April_09_brush_hair_u_nm_np1_ba_goo_0 !()#[]&+;~@.avi"


@pytest.fixture(autouse=True)
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(stand_in(tmp_path / "bin")) + os.pathsep + os.defpath)
    monkeypatch.setattr("vtk_cli.fetch.rar._ENVIRONMENT", {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"})


def read(path: Path, limits: Limits | None = None, stop: threading.Event | None = None) -> dict[str, bytes]:
    found = rar_members(path, path.parent / "scratch", stop or threading.Event(), limits or Limits())
    return {member.name: b"".join(member.chunks()) for member in found}


def write(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "a.rar"
    path.write_bytes(content)
    return path


def test_a_rar_of_rars(tmp_path: Path) -> None:
    inner = {name: rar({f"{name}/{ODD}": name.encode()}) for name in ("brush_hair", "wave")}
    path = write(tmp_path, rar({**{f"{name}.rar": content for name, content in inner.items()}, "readme.txt": b"hi"}))
    assert read(path) == {f"brush_hair/{ODD}": b"brush_hair", f"wave/{ODD}": b"wave", "readme.txt": b"hi"}
    assert not any((tmp_path / "scratch").iterdir())


def test_rars_deeper_than_one_level_are_plain_files(tmp_path: Path) -> None:
    deep = rar({"deep.rar": rar({"x.avi": b"1"})})
    assert list(read(write(tmp_path, rar({"inner.rar": deep})))) == ["deep.rar"]


def test_damage_is_named(tmp_path: Path) -> None:
    with pytest.raises(DamagedArchive, match=r"bsdtar found: .*damaged"):
        read(write(tmp_path, rar({"x.avi": b"1"}) + b"DAMAGE"))


def test_links_and_names_that_lead_out_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsafeArchive, match="link or device"):
        read(write(tmp_path, rar({"x.avi": b"/etc/passwd"}, mode=LINK)))
    before = sorted(tmp_path.parent.rglob("*"))
    with pytest.raises(UnsafeArchive, match="leads out"):
        read(write(tmp_path, rar({"../../evil.avi": b"1"})))
    assert sorted(tmp_path.parent.rglob("*")) == before


def test_bombs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsafeArchive, match="refused"):
        read(write(tmp_path, rar({"x.avi": b"1" * 5000})), Limits(ratio=0.1, floor_bytes=10))


def test_stop_ends_the_program(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "bsdtar"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    with pytest.raises(Interrupted):
        read(write(tmp_path, rar({"x.avi": b"1"})), stop=stop)


def test_without_a_program_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PluginError, match=r"unrar, bsdtar, unar.*apt install libarchive-tools"):
        find_tool()


@pytest.mark.parametrize("name", ["unrar", "bsdtar", "unar", "7zz", "7z"])
def test_each_program_is_called_without_a_shell_and_with_names_ended(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "only"
    folder.mkdir()
    (folder / name).write_text("#!/bin/sh\n")
    (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    tool = find_tool()
    command = tool.unpack("/data/a;b.rar", "/to")
    assert command[0] == name == tool.program
    assert "/data/a;b.rar" in command
    assert any("/to" in argument for argument in command)
    assert "/data/a;b.rar" in tool.list_names("/data/a;b.rar")
