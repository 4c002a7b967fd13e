import itertools
import os
import pickle
import resource
import signal
import subprocess
import sys
import textwrap
import threading

import lmdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vtk_cli.api.stores import StoreMeta
from vtk_cli.errors import StoreError
from vtk_cli.store import environments
from vtk_cli.store.lmdb_store import ShardWriter, StoreReader
from vtk_cli.store.meta import create_store, shard_of, shard_path

META = StoreMeta(modality="rgb", short_side=64, quality=95, shards=2)
FRAMES = [b"first", b"second" * 1000, b"third"]
RECORD_NUMBERS = itertools.count()


@pytest.fixture
def folder(tmp_path):
    create_store(tmp_path / "frames-64", META)
    return tmp_path / "frames-64"


def write(folder, videos, failures=None):
    """Every video into its shard."""
    shards = {shard_of(name, META.shards) for name in [*videos, *(failures or {})]}
    for shard in shards:
        with ShardWriter(folder, shard) as writer:
            for name, frames in videos.items():
                if shard_of(name, META.shards) == shard:
                    writer.put(name, frames)
            for name, cause in (failures or {}).items():
                if shard_of(name, META.shards) == shard:
                    writer.fail(name, cause)
            writer.commit()


def read_all(folder):
    with StoreReader(folder) as reader:
        return {name: [bytes(f) for f in reader.read(name, range(reader.num_frames(name)))] for name in reader.ids()}


def test_videos_come_back(folder):
    videos = {f"v{i}": [b"%d-%d" % (i, j) for j in range(i + 1)] for i in range(20)}
    write(folder, videos)
    assert read_all(folder) == videos
    assert {path.suffix for path in folder.iterdir()} == {".lmdb", ".json"}


def test_any_order_and_repeats(folder):
    write(folder, {"a": FRAMES})
    with StoreReader(folder) as reader:
        assert [bytes(f) for f in reader.read("a", [2, 0, 2])] == [b"third", b"first", b"third"]
        assert reader.num_frames("a") == 3
        assert "a" in reader
        assert "b" not in reader


def test_what_is_not_there(folder):
    write(folder, {"a": FRAMES}, {"b": "it is empty"})
    with StoreReader(folder) as reader:
        with pytest.raises(StoreError, match="it failed: it is empty"):
            reader.read("b", [0])
        with pytest.raises(StoreError, match=r"it was not extracted.*vtk extract"):
            reader.num_frames("c")
        with pytest.raises(StoreError, match="frames 0 to 2, found 3"):
            reader.read("a", [0, 3])
        with pytest.raises(StoreError, match="found -1"):
            reader.read("a", [-1])


def test_failures_lie_beside_the_data_until_the_video_is_there(folder):
    write(folder, {"a": FRAMES}, {"b": "cut off", "c": "naïve \ud800 cause"})
    with StoreReader(folder) as reader:
        assert dict(reader.failures()) == {"b": "cut off", "c": "naïve \\ud800 cause"}
        assert list(reader.ids()) == ["a"]
    write(folder, {"b": FRAMES})
    with StoreReader(folder) as reader:
        assert dict(reader.failures()) == {"c": "naïve \\ud800 cause"}
        assert sorted(reader.ids()) == ["a", "b"]


def test_records_are_never_changed(folder):
    write(folder, {"a": FRAMES})
    with ShardWriter(folder, shard_of("a", 2)) as writer, pytest.raises(StoreError, match="never changed"):
        writer.put("a", [b"other"])
    assert read_all(folder) == {"a": FRAMES}


def test_what_is_not_committed_is_not_there(folder):
    with ShardWriter(folder, 0) as writer:
        writer.put("a", FRAMES)
        assert "a" in writer
        assert writer.pending_bytes > 6000
    with ShardWriter(folder, 0) as writer:
        assert "a" not in writer
        assert writer.failure("a") is None


def test_a_shard_has_one_writer(folder):
    with ShardWriter(folder, 0), pytest.raises(StoreError, match=r"being written by another process.*--shard"):
        ShardWriter(folder, 0, patience_seconds=0)
    with ShardWriter(folder, 0) as writer:
        assert "a" not in writer


def test_a_full_map_grows_and_loses_nothing(folder, monkeypatch):
    monkeypatch.setattr(environments, "FIRST_MAP_BYTES", 1 << 14)
    videos = {f"v{i}": [os.urandom(3000) for _ in range(4)] for i in range(40)}
    write(folder, videos)
    write(folder, {"big": [bytes(1_000_000)]})
    assert read_all(folder) == {**videos, "big": [bytes(1_000_000)]}


class _FullDisk:
    """An environment whose transactions fail as on a full disk."""

    def __init__(self, env):
        self._env = env

    def begin(self, **options):
        if options.get("write"):
            raise lmdb.DiskError("mdb_txn_commit: No space left on device")
        return self._env.begin(**options)

    def close(self):
        self._env.close()


def test_a_full_disk_keeps_what_was_committed(folder):
    write(folder, {"a": FRAMES})
    with ShardWriter(folder, shard_of("a", 2)) as writer:
        env, writer._env = writer._env, _FullDisk(writer._env)
        writer.put("b", FRAMES)
        with pytest.raises(StoreError, match=r"No space left.*What was committed is safe. Free space"):
            writer.commit()
        assert writer.pending_bytes > 0
        writer._env = env
    assert read_all(folder) == {"a": FRAMES}


def test_a_file_size_limit_keeps_what_was_committed(folder):
    """The kernel really refuses to write: RLIMIT_FSIZE stands for a full disk."""
    script = f"""
        import resource
        from pathlib import Path
        from vtk_cli.errors import StoreError
        from vtk_cli.store.lmdb_store import ShardWriter
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
        with ShardWriter(Path({str(folder)!r}), 0) as writer:
            for number in range(100):
                writer.put(str(number), [bytes([number]) * 50_000])
                try:
                    writer.commit()
                except StoreError as error:
                    print(number, error)
                    break
    """
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    stopped, message = ran.stdout.split(" ", 1)
    assert int(stopped) > 1
    assert "What was committed is safe" in message, ran.stdout
    with ShardWriter(folder, 0) as writer:
        assert [n for n in range(int(stopped) + 2) if str(n) in writer] == list(range(int(stopped)))
        writer.put("more", [bytes(50_000)])
        writer.commit()
        assert "more" in writer
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


@pytest.mark.parametrize("keep", [0.9, 0.5, 0.02])
def test_a_cut_file_is_refused_by_readers_and_writers(folder, keep):
    write(folder, {"a": [bytes(100_000)], "b": [bytes(100_000)], "c": [bytes(100_000)]})
    path = shard_path(folder, shard_of("a", 2))
    os.truncate(path, int(path.stat().st_size * keep))
    with StoreReader(folder) as reader, pytest.raises(StoreError, match=r"lmdb.*Remove this file"):
        reader.read("a", [0])
    with pytest.raises(StoreError, match=r"lmdb.*Remove this file"):
        ShardWriter(folder, shard_of("a", 2))


def test_a_file_that_is_no_shard(folder):
    shard_path(folder, shard_of("a", 2)).write_bytes(b"<html>" * 5000)
    with StoreReader(folder) as reader, pytest.raises(StoreError, match="cannot be opened"):
        reader.read("a", [0])


def test_an_empty_file_is_a_shard_that_was_never_written(folder):
    shard_path(folder, shard_of("a", 2)).touch()
    with StoreReader(folder) as reader:
        assert "a" not in reader
    write(folder, {"a": FRAMES})
    assert read_all(folder) == {"a": FRAMES}


def test_a_damaged_record_names_video_and_file(folder):
    write(folder, {"a": [b"x" * 20_000, b"y" * 20_000]})
    path = shard_path(folder, shard_of("a", 2))
    content = path.read_bytes().replace(b"yyyy", b"yyzy", 1)
    path.write_bytes(content)
    with StoreReader(folder) as reader:
        assert bytes(reader.read("a", [0])[0]) == b"x" * 20_000
        with pytest.raises(StoreError, match=r"record of a in .*lmdb is damaged: its frame 1 .*vtk extract"):
            reader.read("a", [1])
        with pytest.raises(StoreError, match="frame 1"):
            reader.verify("a")


def test_two_readers_share_a_process_and_a_writer_follows(folder):
    write(folder, {"a": FRAMES})
    with StoreReader(folder) as one:
        with StoreReader(folder) as two:
            assert one.num_frames("a") == two.num_frames("a") == 3
        assert one.num_frames("a") == 3
        with pytest.raises(StoreError, match="Close the reader"):
            ShardWriter(folder, shard_of("a", 2))
    with ShardWriter(folder, shard_of("a", 2)) as writer:
        assert "a" in writer


def test_a_pickled_reader_opens_its_own_files(folder):
    write(folder, {"a": FRAMES})
    with StoreReader(folder) as reader:
        assert reader.num_frames("a") == 3
        with pickle.loads(pickle.dumps(reader)) as copy:
            assert bytes(copy.read("a", [0])[0]) == b"first"
            assert copy.meta == META


def test_a_forked_child_reads_with_an_inherited_reader(folder):
    write(folder, {"a": FRAMES})
    script = f"""
        import os
        from pathlib import Path
        from vtk_cli.store.lmdb_store import StoreReader
        reader = StoreReader(Path({str(folder)!r}))
        assert bytes(reader.read("a", [0])[0]) == b"first"
        children = []
        for _ in range(3):
            child = os.fork()
            if child == 0:
                ok = bytes(reader.read("a", [2])[0]) == b"third" and list(reader.ids()) == ["a"]
                reader.close()
                os._exit(0 if ok else 1)
            children.append(child)
        assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
        assert bytes(reader.read("a", [2])[0]) == b"third"
        reader.close()
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)


def test_threads_share_a_reader(folder):
    videos = {f"v{i}": [b"%d" % i] * 3 for i in range(50)}
    write(folder, videos)
    wrong = []
    with StoreReader(folder) as reader:

        def work():
            for name, frames in videos.items():
                if [bytes(f) for f in reader.read(name, [0, 1, 2])] != frames:
                    wrong.append(name)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


WRITE_FOR_EVER = """
    import sys
    from pathlib import Path
    from vtk_cli.store.lmdb_store import ShardWriter
    with ShardWriter(Path(sys.argv[1]), 0) as writer:
        for number in range(100_000):
            writer.put(f"n{number}", [b"%d" % number, bytes(number % 7000)])
            writer.commit()
            print(number, flush=True)
"""


def test_reading_while_another_process_writes_and_is_killed(folder):
    with StoreReader(folder) as reader:
        command = [sys.executable, "-c", textwrap.dedent(WRITE_FOR_EVER), str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            views = {}
            for _ in range(300):
                number = int(process.stdout.readline())
                views[number] = reader._get(f"n{number}", b"v") if shard_of(f"n{number}", 2) == 0 else None
            process.send_signal(signal.SIGKILL)
        seen = [number for number, view in views.items() if view is not None]
        assert len(seen) > 100
        for number in seen:
            assert bytes(reader.read(f"n{number}", [0])[0]) == b"%d" % number
    with ShardWriter(folder, 0) as writer:
        assert all(f"n{number}" in writer for number in views)
        writer.put("after", FRAMES)
        writer.commit()


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.one_of(st.none(), st.integers(1, 30_000)), st.booleans()),
        min_size=1,
        max_size=40,
    )
)
def test_a_file_is_never_shorter_than_its_header_says(tmp_path_factory, steps):
    """What lets a cut file be told from a whole one, whatever was put and failed in whatever order."""
    folder = tmp_path_factory.mktemp("store") / str(next(RECORD_NUMBERS))
    create_store(folder, META)
    present, failed = {}, set()
    for number, size, reopen in steps:
        with ShardWriter(folder, 0) as writer:
            if size is None:
                writer.fail(f"v{number}", "cause" * number)
                failed.add(number)
            elif f"v{number}" not in present:
                present[f"v{number}"] = [bytes(size)]
                writer.put(f"v{number}", present[f"v{number}"])
            writer.commit()
        if reopen:
            path = shard_path(folder, 0)
            if path.stat().st_size:
                environments.open_reading(path).close()
    with ShardWriter(folder, 0) as writer:
        assert all(name in writer for name in present)
        assert all(writer.failure(f"v{number}") == "cause" * number for number in failed)


def test_ids_that_lmdb_cannot_hold(folder):
    with ShardWriter(folder, 0) as writer, pytest.raises(StoreError, match="1 to 510 bytes"):
        writer.put("é" * 300, FRAMES)


def test_reading_under_an_address_space_limit(folder):
    write(folder, {"a": FRAMES})
    script = f"""
        import resource
        from pathlib import Path
        from vtk_cli.store.lmdb_store import StoreReader
        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, resource.RLIM_INFINITY))
        with StoreReader(Path({str(folder)!r})) as reader:
            print(bytes(reader.read("a", [2])[0]).decode())
    """
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False)
    assert ran.stdout == "third\n", ran.stderr
