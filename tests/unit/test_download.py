import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from host import KINETICS, Fault, Host, clip, clip_id, kinetics, tar
from rars import rar, stand_in

from vtk_cli import download as engine
from vtk_cli.api.datasets import DatasetRecipe, Source, VideoRow
from vtk_cli.catalog import Catalog
from vtk_cli.download import Options, Result, download, plan, recipe_of, roles
from vtk_cli.errors import DataError, FetchError, Interrupted, PluginError, UsageError
from vtk_cli.fetch import getter, room
from vtk_cli.fetch.clips import files_below
from vtk_cli.fetch.http import Fetcher
from vtk_cli.fetch.outcome import explain_missing
from vtk_cli.workspace import Workspace

Get = Callable[..., Result]


@pytest.fixture
def host() -> Iterator[Host]:
    with Host(kinetics()) as running:
        yield running


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.locate(tmp_path / "data")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "Fetcher", partial(Fetcher, backoff_seconds=0.001, retries=2))


@pytest.fixture
def get(host: Host, workspace: Workspace) -> Get:
    def run(**options: object) -> Result:
        return download("kinetics400", workspace, Options(mirror=host.url + KINETICS, **options))

    return run


def tree(folder: Path) -> dict[str, bytes]:
    return {path: (folder / path).read_bytes() for path in files_below(folder)}


def rows_of(workspace: Workspace, name: str = "kinetics400") -> dict[str, tuple[str, str]]:
    with Catalog(workspace.dataset(name).catalog) as catalog:
        return {row.id: (row.status, row.cause) for row in catalog.rows()}


def test_a_whole_dataset(get: Get, workspace: Workspace) -> None:
    result = get()
    assert (result.listed, result.ready, result.missing, result.extra) == (37, 36, 1, 1)
    assert workspace.current() == "kinetics400"
    folder = workspace.dataset()
    found = tree(folder.videos)
    assert found == {f"{clip_id(s, n)}.mp4": clip(clip_id(s, n)) for s in ("train", "val", "test") for n in range(12)}
    statuses = rows_of(workspace)
    assert statuses.pop("nowhere_000001_000011") == ("missing", "in none of the 3 archives")
    assert set(statuses.values()) == {("ready", "")}
    assert result.missing_list is not None
    assert result.missing_list.read_text().splitlines()[1] == (
        "nowhere_000001_000011,nowhere_000001_000011.mp4,train,in none of the 3 archives"
    )
    with Catalog(folder.catalog) as catalog:
        meta = catalog.meta
        assert len(catalog.classes) == 400
    assert (meta["train_split"], meta["val_split"], meta["test_split"]) == ("train", "val", "val")
    assert "This is normal: 8 to 10 thousand" in explain_missing(result, recipe_of("kinetics400"))


def test_the_manifest_says_what_was_fetched(get: Get, workspace: Workspace, host: Host) -> None:
    get()
    manifest = json.loads(workspace.dataset().manifest.read_text())
    assert len(manifest["files"]) == len(host.files)
    for file in manifest["files"]:
        assert file["url"].startswith("https://s3.amazonaws.com/kinetics/400/")
        assert file["bytes"] == len(host.files["/" + file["url"].split("/", 3)[3]])
    assert manifest["clips"] == {"listed": 37, "ready": 36, "missing": 1, "extra": 1}


def test_running_again_asks_nothing_and_changes_nothing(get: Get, workspace: Workspace, host: Host) -> None:
    get()
    folder = workspace.dataset().path
    before = {
        p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file() and p.name != ".lock"
    }
    host.requests.clear()
    assert get().ready == 36
    assert host.requests == []
    after = {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}
    assert after == before


def test_archives_go_unless_they_are_kept(get: Get, workspace: Workspace, host: Host) -> None:
    get(splits=["val"])
    assert files_below(workspace.dataset().raw / "archives") == {}
    get(splits=["test"], keep_archives=True)
    assert set(files_below(workspace.dataset().raw / "archives")) == {"test/part_0.tar.gz", "test/part_1.tar.gz"}
    assert {path for _, path, _ in host.requests if "/train" in path} == set()


def test_more_splits_fetch_only_what_is_new(get: Get, workspace: Workspace, host: Host) -> None:
    get(splits=["val"])
    assert set(rows_of(workspace)) == {clip_id("val", n) for n in range(12)}
    host.requests.clear()
    get(splits=["val", "test"])
    assert not [path for _, path, _ in host.requests if "/val" in path]
    assert len(rows_of(workspace)) == 24


def test_a_clip_that_was_deleted_comes_back(get: Get, workspace: Workspace, host: Host) -> None:
    get()
    videos = workspace.dataset().videos
    before = tree(videos)
    (videos / f"{clip_id('val', 3)}.mp4").unlink()
    (videos / f"{clip_id('train', 1)}.mp4").write_bytes(b"cut")
    host.requests.clear()
    get()
    assert tree(videos) == before
    assert {path for method, path, _ in host.requests if method == "GET"} == {
        f"{KINETICS}400/val/part_0.tar.gz",
        f"{KINETICS}400/replacement_for_corrupted_k400.tgz",
    }


def test_a_clip_known_to_be_broken_stays_so_until_it_is_renewed(get: Get, workspace: Workspace) -> None:
    get()
    folder = workspace.dataset()
    name = clip_id("val", 3)
    with Catalog(folder.catalog) as catalog:
        catalog.set_status([(name, "broken", "no frames")])
        catalog.set_probe([(name, {"frames": 0}), (clip_id("val", 4), {"frames": 9})])
    get()
    assert rows_of(workspace)[name] == ("broken", "no frames")
    get(splits=["val"])  # a catalog of other rows keeps what is known
    assert rows_of(workspace)[name] == ("broken", "no frames")
    (folder.videos / f"{name}.mp4").unlink()
    get(splits=["val"])
    assert rows_of(workspace)[name] == ("ready", "")
    with Catalog(folder.catalog) as catalog:
        probes = {row.id: row.probe for row in catalog.rows()}
    assert probes[name] == {}


def test_an_archive_that_cannot_be_had_is_a_cause(get: Get, workspace: Workspace, host: Host) -> None:
    gone = f"{KINETICS}400/val/part_1.tar.gz"
    content = host.files.pop(gone)
    result = get()
    assert result.ready == 30
    assert list(result.failures) == ["archives/val/part_1.tar.gz"]
    assert "HTTP 404" in result.failures["archives/val/part_1.tar.gz"]
    status, cause = rows_of(workspace)[clip_id("val", 8)]
    assert (status, cause) == ("missing", "its archive could not be had, most likely: archives/val/part_1.tar.gz")
    assert "Run the same command again" in explain_missing(result, recipe_of("kinetics400"))
    host.files[gone] = content
    host.requests.clear()
    assert get().ready == 36
    assert host.gets(gone) == [""]
    assert len([path for method, path, _ in host.requests if method == "GET"]) == 1


def test_a_host_that_has_gone_is_not_asked_for_ever(
    get: Get, host: Host, monkeypatch: pytest.MonkeyPatch, workspace: Workspace
) -> None:
    monkeypatch.setattr(getter, "MOST_FAILURES_IN_A_ROW", 3)
    for path in list(host.files):
        if path.endswith("gz"):
            del host.files[path]
    with pytest.raises(FetchError, match="3 archives in a row"):
        get()
    assert not workspace.dataset("kinetics400").manifest.exists()


def test_nothing_usable_is_an_error(get: Get, host: Host) -> None:
    for path in list(host.files):
        if "/val/part" in path:
            host.files[path] = tar({"other.mp4": b"1"})
    with pytest.raises(FetchError, match="there is not one"):
        get(splits=["val"])


def test_damage_on_the_way_is_fetched_again(get: Get, host: Host) -> None:
    path = f"{KINETICS}400/val/part_0.tar.gz"
    whole = host.files[path]
    damaged = whole[:9000] + bytes([whole[9000] ^ 1]) + whole[9001:]
    host.files[path] = damaged
    original, asked = host.faults, []

    class Mend(dict[str, list[Fault]]):
        def get(self, key: str, default: object = None) -> list[Fault]:  # called once per GET
            if key == path:
                asked.append(key)
                host.files[path] = damaged if len(asked) == 1 else whole
            return original.get(key, [])

    host.faults = Mend()
    assert get(splits=["val"]).ready == 12
    assert len(asked) == 2


def test_damage_at_the_host_costs_one_archive_only(get: Get, host: Host, workspace: Workspace) -> None:
    path = f"{KINETICS}400/val/part_0.tar.gz"
    host.files[path] = host.files[path][:-5000]
    result = get(splits=["val"])
    assert "whole archive" in result.failures["archives/val/part_0.tar.gz"]
    assert 6 <= result.ready < 12
    assert host.gets(path) == ["", ""]
    assert files_below(workspace.dataset().raw / "archives") == {}


def test_an_evil_archive_writes_nothing_outside(get: Get, host: Host, workspace: Workspace, tmp_path: Path) -> None:
    evil = {f"{clip_id('val', 0)}.mp4": b"1", f"../../../{clip_id('val', 1)}.mp4": b"evil"}
    host.files[f"{KINETICS}400/val/part_0.tar.gz"] = tar(evil)
    result = get(splits=["val"])
    assert "leads out" in result.failures["archives/val/part_0.tar.gz"]
    assert result.ready == 6
    assert not [p for p in tmp_path.rglob("*.mp4") if p.parent != workspace.dataset().videos]
    assert not (workspace.dataset().videos / f"{clip_id('val', 0)}.mp4").exists()


def test_a_list_that_is_a_web_page(get: Get, host: Host, workspace: Workspace) -> None:
    host.files[f"{KINETICS}400/val/k400_val_path.txt"] = b"<html>sign in</html>"
    with pytest.raises(FetchError, match="should be the URL of an archive"):
        get(splits=["val"])
    assert workspace.datasets() == []


def test_too_small_a_disk_is_told_before_the_start(get: Get, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "free_bytes", lambda _: 1000)
    with pytest.raises(DataError, match=r"needs about .* kB more .* 1.0 kB are free.*--limit"):
        get()
    assert not [path for method, path, _ in host.requests if method == "GET" and path.endswith("gz")]


def test_stop_keeps_what_has_arrived(
    get: Get, host: Host, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = threading.Event()

    class Stopping(Fetcher):
        def __init__(self, **options: object) -> None:
            super().__init__(**{**options, "stop": stop})

        def _chunks(self, response: object, *, decode: bool) -> Iterator[bytes]:
            for chunk in super()._chunks(response, decode=decode):
                yield chunk
                if host.sent > 60_000:
                    stop.set()

    monkeypatch.setattr(engine, "Fetcher", Stopping)
    with pytest.raises(Interrupted, match="same command"):
        get(jobs=2)
    assert not (workspace.root / "kinetics400" / "manifest.json").exists()
    monkeypatch.setattr(engine, "Fetcher", Fetcher)
    assert get().ready == 36


def test_one_download_at_a_time(get: Get, workspace: Workspace) -> None:
    import fcntl

    folder = workspace.root / "kinetics400" / "raw"
    folder.mkdir(parents=True)
    with (folder / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="Another vtk is downloading"):
            get()


# ------------------------------------------------------------------ trial


def test_a_trial_fetches_little_and_keeps_only_its_rows(get: Get, host: Host, workspace: Workspace) -> None:
    result = get(limit=5)
    assert (result.listed, result.ready, result.missing) == (5, 5, 0)
    assert {split: counts["ready"] for split, counts in result.splits.items()} == {"train": 3, "val": 2}
    asked = {path.removeprefix(f"{KINETICS}400/") for m, path, _ in host.requests if m == "GET" and path.endswith("gz")}
    assert asked == {"train/part_0.tar.gz", "val/part_0.tar.gz"}
    assert len(tree(workspace.dataset().videos)) == 5
    host.requests.clear()
    assert get(limit=5).ready == 5
    assert host.requests == []


def test_a_trial_reads_the_beginning_of_an_archive_only(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getter, "BEGINNING_BYTES", 100_000)
    with Host(kinetics(per_archive=40, archives=1, clip_bytes=40_000)) as host:
        options = Options(mirror=host.url + KINETICS, limit=5)
        assert download("kinetics400", workspace, options).ready == 5
        parts = workspace.dataset().raw / "archives"
        sizes = files_below(parts)
        assert {name: size < 400_000 for name, size in sizes.items() if name.endswith(".part")} == {
            "train/part_0.tar.gz.part": True,
            "val/part_0.tar.gz.part": True,
        }
        host.requests.clear()
        assert download("kinetics400", workspace, Options(mirror=host.url + KINETICS)).ready == 120
        assert host.gets(f"{KINETICS}400/val/part_0.tar.gz") == [f"bytes={sizes['val/part_0.tar.gz.part']}-"]


def test_a_whole_download_after_a_trial_is_whole(get: Get, workspace: Workspace, host: Host) -> None:
    get(limit=5)
    host.requests.clear()
    assert get().ready == 36
    assert host.gets(f"{KINETICS}400/val/part_0.tar.gz") == []  # kept by the trial, and unpacked again
    assert len(tree(workspace.dataset().videos)) == 36


# ------------------------------------------------------------------ files fetched by hand


def by_hand(folder: Path, files: dict[str, bytes], depth: int = 2) -> None:
    for path, content in files.items():
        target = folder.joinpath(*path.split("/")[-depth:])
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def test_files_fetched_by_hand_need_no_network(tmp_path: Path, workspace: Workspace) -> None:
    by_hand(tmp_path / "mine", kinetics())
    before = tree(tmp_path / "mine")
    result = download("kinetics400", workspace, Options(local=tmp_path / "mine"))
    assert (result.ready, result.missing, result.bytes_fetched) == (36, 1, 0)
    assert tree(tmp_path / "mine") == before
    assert set(files_below(workspace.dataset().raw / "archives")) == set()


def test_without_lists_the_archives_that_are_there_count(tmp_path: Path, workspace: Workspace) -> None:
    files = {path: content for path, content in kinetics().items() if not path.endswith("path.txt") and "/val" in path}
    files["/a/annotations/val.csv"] = kinetics()[f"{KINETICS}400/annotations/val.csv"]
    by_hand(tmp_path / "mine", files)
    assert download("kinetics400", workspace, Options(local=tmp_path / "mine", splits=["val"])).ready == 12


def test_clips_that_are_unpacked_already(tmp_path: Path, workspace: Workspace, host: Host) -> None:
    mine = tmp_path / "mine"
    by_hand(mine, {path: content for path, content in kinetics().items() if path.endswith("val.csv")})
    for number in range(12):
        by_hand(mine, {f"val/using segway/{clip_id('val', number)}.mp4": clip(clip_id("val", number))}, depth=3)
    result = download("kinetics400", workspace, Options(local=mine, splits=["val"]))
    assert (result.ready, result.missing) == (12, 0)
    with Catalog(workspace.dataset().catalog) as catalog:
        catalog.set_status([(clip_id("val", 3), "broken", "no frames")])
    lines = (workspace.dataset().raw / "journal.jsonl").read_text()
    download("kinetics400", workspace, Options(local=mine, splits=["val"]))
    assert (workspace.dataset().raw / "journal.jsonl").read_text() == lines
    assert rows_of(workspace)[clip_id("val", 3)] == ("broken", "no frames")
    again = download("kinetics400", workspace, Options(splits=["val"], mirror=host.url + KINETICS))
    assert again.ready == 12
    assert not [path for _, path, _ in host.requests if path.endswith("gz")]  # everything is there


def test_an_annotation_that_is_not_in_the_folder(tmp_path: Path, workspace: Workspace) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(FetchError, match=r"should hold train.csv, found none. Fetch it from https://s3"):
        download("kinetics400", workspace, Options(local=tmp_path / "mine"))
    assert workspace.datasets() == []


# ------------------------------------------------------------------ dry run


def test_a_dry_run_says_everything_and_writes_nothing(host: Host, workspace: Workspace) -> None:
    options = Options(mirror=host.url + KINETICS)
    found = plan("kinetics400", workspace, options)
    assert not workspace.root.exists()
    assert len(found.files) == len(host.files)
    assert found.bytes == sum(len(content) for content in host.files.values())
    assert found.disk_bytes > found.bytes
    assert found.free_bytes > 0
    assert not [path for method, path, _ in host.requests if method == "GET" and path.endswith("gz")]
    download("kinetics400", workspace, options)
    done = plan("kinetics400", workspace, options)
    assert done.bytes == 0
    assert all(file["done"] for file in done.files)


def test_a_dry_run_of_a_trial_names_the_first_archives(host: Host, workspace: Workspace) -> None:
    found = plan("kinetics400", workspace, Options(mirror=host.url + KINETICS, limit=4))
    archives = [file["url"].rpartition("400/")[2] for file in found.files if file["url"].endswith("gz")]
    assert archives == ["train/part_0.tar.gz", "val/part_0.tar.gz"]


def test_lengths_that_nobody_says(host: Host, workspace: Workspace) -> None:
    del host.files[f"{KINETICS}400/val/part_0.tar.gz"]
    found = plan("kinetics400", workspace, Options(mirror=host.url + KINETICS, splits=["val"]))
    sizes = {file["url"].rpartition("/")[2]: file["bytes"] for file in found.files}
    assert sizes["part_0.tar.gz"] is None
    assert sizes["part_1.tar.gz"] > 0
    assert room.free_bytes(Path("/nowhere/at/all")) > 0


# ------------------------------------------------------------------ other recipes


def offer(monkeypatch: pytest.MonkeyPatch, recipe: DatasetRecipe) -> None:
    monkeypatch.setattr(engine, "recipe_of", lambda _: recipe)


def without_hashes(recipe: DatasetRecipe) -> DatasetRecipe:
    def sources(splits: Sequence[str]) -> list[Source]:
        return [replace(source, bytes=None, sha256=None, md5=None) for source in recipe.sources(splits)]

    return replace(recipe, sources=sources)


def make_zip(files: dict[str, bytes]) -> bytes:
    import io
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_ucf101_and_its_second_division(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["v_ApplyEyeMakeup_g01_c01", "v_HandstandPushups_g02_c01"]
    text = {"trainlist01": f"HandstandPushups/{names[1].replace('stand', 'Stand')}.avi 37\r\n"}
    text["testlist01"] = text["trainlist03"] = f"ApplyEyeMakeup/{names[0]}.avi\n"
    text["trainlist02"], text["testlist02"] = f"ApplyEyeMakeup/{names[0]}.avi 1\n", text["trainlist01"][:-5] + "\n"
    text["testlist03"] = text["testlist02"]
    lists = {f"ucfTrainTestlist/{name}.txt": content.encode() for name, content in text.items()}
    files = {
        "/wp-content/uploads/2019/03/UCF101TrainTestSplits-RecognitionTask.zip": make_zip(lists),
        "/thumos14_files/UCF101_videos.zip": make_zip({f"UCF101/{name}.avi": clip(name) for name in names}),
    }
    offer(monkeypatch, without_hashes(recipe_of("ucf101")))
    with Host(files) as host:
        first = download("ucf101", workspace, Options(mirror=host.url))
        assert (first.ready, first.missing) == (2, 0)
        host.requests.clear()
        with Catalog(workspace.dataset().catalog) as catalog:
            assert catalog.meta["train_split"] == "train1"
            assert catalog.rows("train1")[0].path == "HandstandPushups/v_HandstandPushups_g02_c01.avi"
        download("ucf101", workspace, Options(mirror=host.url, splits=["train2", "test2"]))
        assert host.requests == []
    with Catalog(workspace.dataset().catalog) as catalog:
        assert {k: catalog.meta[k] for k in ("train_split", "val_split", "test_split")} == {
            "train_split": "train2",
            "val_split": "test2",
            "test_split": "test2",
        }


def test_hmdb51_with_rars_inside_a_rar(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(stand_in(tmp_path / "bin")) + os.pathsep + os.defpath)
    monkeypatch.setattr("vtk_cli.fetch.rar._ENVIRONMENT", {"PATH": os.environ["PATH"]})
    recipe = without_hashes(recipe_of("hmdb51"))
    odd = "April #1 [x] (y)&+;~@!_wave.avi"
    lists = {
        f"testTrainMulti_7030_splits/{name}_test_split{n}.txt": f"{odd} {n if n < 3 else 0} \n".encode()
        if name == "wave"
        else b""
        for name in recipe.classes()
        for n in (1, 2, 3)
    }
    files = {
        "/wp-content/uploads/2013/10/test_train_splits.rar": rar(lists),
        "/wp-content/uploads/2013/10/hmdb51_org.rar": rar({"wave.rar": rar({f"wave/{odd}": b"clip"})}),
    }
    offer(monkeypatch, recipe)
    with Host(files) as host:
        result = download("hmdb51", workspace, Options(mirror=host.url))
        assert (result.ready, result.missing) == (1, 0)
        assert tree(workspace.dataset().videos) == {f"wave/{odd}": b"clip"}
        host.requests.clear()
        download("hmdb51", workspace, Options(mirror=host.url))
        assert host.requests == []


def test_a_rar_program_is_missed_before_anything_is_fetched(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with Host({}) as host, pytest.raises(PluginError, match="apt install"):
        download("hmdb51", workspace, Options(mirror=host.url))
    assert host.requests == []


def made(folder: Path, seed: int, calls: list[int]) -> None:
    calls.append(seed)
    for name in ("a", "b"):
        path = folder / "videos" / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name}{seed}")
    (folder / "raw" / "list").write_text("x")


def test_a_synthetic_set_is_made_once_per_seed(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    rows = [VideoRow(id=n, path=f"{n}.mp4", labels=(0,), splits=("train",)) for n in ("a", "b")]
    recipe = replace(
        recipe_of("kinetics400"),
        splits=("train",),
        rows=lambda raw, splits: rows if (raw / "list").exists() else [],
        generate=lambda folder, seed: made(folder, seed, calls),
    )
    offer(monkeypatch, recipe)
    assert download("toy", workspace).ready == 2
    assert download("toy", workspace).ready == 2
    assert calls == [0]
    (workspace.dataset("toy").videos / "a.mp4").unlink()
    assert download("toy", workspace).ready == 2
    assert calls == [0, 0]
    (workspace.dataset("toy").raw / "list").unlink()
    assert download("toy", workspace).ready == 2
    download("toy", workspace, Options(seed=7))
    assert (workspace.dataset("toy").videos / "b.mp4").read_text() == "b7"
    assert download("toy", workspace, Options(seed=7, limit=1)).listed == 1
    assert plan("toy", workspace).files == []


def test_a_gated_set_says_what_to_fetch(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, replace(recipe_of("kinetics400"), gate="accept the licence at https://owner."))
    with pytest.raises(DataError, match=r"accept the licence .*--from DIR"):
        download("kinetics400", workspace)
    assert not list(workspace.root.rglob("*.json"))


# ------------------------------------------------------------------ wrong input


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("kinetics40", Options(), 'Did you mean "kinetics400"'),
        ("kinetics400", Options(splits=["vall"]), 'Did you mean "val"'),
        ("kinetics400", Options(limit=0), "at least 1"),
        ("kinetics400", Options(mirror="/data"), "--from"),
        ("kinetics400", Options(local=Path("/nowhere")), "--from should name a folder"),
    ],
)
def test_wrong_options(workspace: Workspace, name: str, options: Options, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        download(name, workspace, options)
    assert not workspace.root.exists()


def test_a_plugin_that_is_no_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vtk_cli.registry.load", lambda *_: object())
    with pytest.raises(PluginError, match="should be a DatasetRecipe, found object"):
        recipe_of("odd")


def test_a_workspace_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises((DataError, UsageError), match="should be a folder"):
        download("kinetics400", Workspace(tmp_path / "data"))


def test_a_row_that_leads_out(get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    row = VideoRow(id="x", path="../x.mp4", labels=(0,), splits=("val",))
    offer(monkeypatch, replace(recipe_of("kinetics400"), rows=lambda *_: [row]))
    with pytest.raises(FetchError, match="leads out"):
        get()


def test_roles_follow_the_chosen_splits() -> None:
    kinetics400, ucf101 = recipe_of("kinetics400"), recipe_of("ucf101")
    assert list(roles(kinetics400, ["train", "val", "test"]).values()) == ["train", "val", "val"]
    assert list(roles(kinetics400, ["train"]).values()) == ["train", None, None]
    assert list(roles(ucf101, ucf101.splits).values()) == ["train1", "test1", "test1"]
    assert list(roles(ucf101, ["train3", "test3"]).values()) == ["train3", "test3", "test3"]
