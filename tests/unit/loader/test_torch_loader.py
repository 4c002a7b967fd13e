"""What the contract (tests/contract/test_loaders.py) does not ask: processes that die, signals, bounds."""

import multiprocessing
import os
import pickle
import signal
import time
from pathlib import Path

import pytest

from vtk_cli.errors import DataError, StoreError
from vtk_cli.loader.options import DataOptions
from vtk_cli.loader.source import VideoSource
from vtk_cli.loader.torch_loader import TorchLoader
from vtk_cli.testing.loaders import LoaderTests, Options, PatternSource, clips


class Deadly(PatternSource):
    """Ends the process that reads the video `die`."""

    def read(self, clip, indices):
        if clip.id.startswith("die"):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(clip, indices)


class Counting(PatternSource):
    """Leaves a file for each video that is read."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def read(self, clip, indices):
        (self.folder / clip.id).touch()
        return super().read(clip, indices)


class Slow(PatternSource):
    def read(self, clip, indices):
        time.sleep(0.05)
        return super().read(clip, indices)


class Buggy(PatternSource):
    def read(self, clip, indices):
        raise ZeroDivisionError("a bug")


def build(**changes):
    return TorchLoader(LoaderTests().task(**changes))


def test_a_worker_that_dies_is_an_error_and_no_hang():
    loader = build(clips=clips("video-0", "die-1"), source=Deadly(), options=Options(workers=1))
    with pytest.raises(DataError, match=r"loader process ended by itself.*data\.workers=0"):
        list(loader.epoch(0))
    loader.close()


def test_workers_answer_no_signal_of_the_terminal():
    loader = build(videos=40, options=Options(workers=1))
    batches = loader.epoch(0)
    found = [next(batches)]
    for worker in workers_of_this_process():
        os.kill(worker, signal.SIGINT)
        os.kill(worker, signal.SIGTERM)
    found += list(batches)
    assert len(found) == 13
    loader.close()


def test_closing_ends_the_workers():
    loader = build(options=Options(workers=2))
    next(iter(loader.epoch(0)))
    workers = workers_of_this_process()
    assert len(workers) == 2
    loader.close()
    deadline = time.monotonic() + 10
    while any(alive(pid) for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not workers_of_this_process()


def workers_of_this_process():
    return [child.pid for child in multiprocessing.active_children()]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_no_more_is_read_ahead_than_asked_for(tmp_path):
    loader = build(videos=60, batch_size=1, source=Counting(tmp_path), options=Options(workers=1, prefetch=2))
    batches = loader.epoch(0)
    for _ in range(3):
        next(batches)
    time.sleep(1)
    assert len(list(tmp_path.iterdir())) <= 3 + 2
    loader.close()


def test_what_is_skipped_on_resuming_is_not_read(tmp_path):
    loader = build(source=Counting(tmp_path), training=False, batch_size=1)
    assert [batch.ids for batch in loader.epoch(0, skip=5)] == [("video-5",), ("video-6",)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["video-5", "video-6"]


def test_waiting_is_measured():
    waits = [batch.wait_seconds for batch in build(source=Slow()).epoch(0)]
    assert all(0.1 < wait < 5 for wait in waits)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bug_keeps_its_type(workers):
    loader = build(source=Buggy(), options=Options(workers=workers, on_error="skip"))
    with pytest.raises(ZeroDivisionError, match="a bug"):
        list(loader.epoch(0))
    loader.close()


def test_damaged_data_throughout_stop_even_a_lenient_run():
    loader = build(clips=clips("bad-0", "bad-1"), options=Options(on_error="skip"))
    with pytest.raises(DataError, match=r"10 clips in a row cannot be read.*vtk check"):
        list(loader.epoch(0))


def test_an_error_that_does_not_name_its_clip_gets_the_name():
    class Silent(PatternSource):
        def read(self, clip, indices):
            raise StoreError("its record is damaged")

    with pytest.raises(StoreError, match=r"The clip video-\d cannot be read: its record is damaged"):
        list(build(source=Silent()).epoch(0))


def test_no_videos_are_refused():
    with pytest.raises(DataError, match="at least one video"):
        build(videos=0)


def test_what_travels_to_workers_takes_no_open_decoder_along():
    source = VideoSource("pyav", 32, exact=True)
    assert source.decoder is source.decoder
    assert pickle.loads(pickle.dumps(source))._decoder is None


def test_automatic_workers_leave_processors_for_training():
    assert DataOptions().num_workers() == min(8, len(os.sched_getaffinity(0)) // 2)
    assert DataOptions(workers=3).num_workers() == 3
