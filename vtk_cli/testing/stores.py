"""The contract of a store's reader, as a test class. Subclass it, fill a store, inherit the tests.

class TestMine(StoreTests):
    def open(self, folder, videos, failures):
        ...
        return MyReader(folder)
"""

import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from vtk_cli.api.stores import FrameReader, StoreMeta
from vtk_cli.errors import StoreError

VIDEOS: Mapping[str, Sequence[bytes]] = {
    "one": [b"frame"],
    "Größe-1": [b"a" * 5000, b"", b"c" * 70_000],
    **{f"v_{number:03d}": [bytes([number]) * (number + 1)] * (number % 4 + 1) for number in range(40)},
}
"""What `open` is asked to store: ids with other letters, one frame, empty and large frames."""
FAILURES: Mapping[str, str] = {"bad": "it is cut off", "worse": "it has no frames"}


class StoreTests:
    """What every reader of encoded frames holds to."""

    def open(self, folder: Path, videos: Mapping[str, Sequence[bytes]], failures: Mapping[str, str]) -> FrameReader:
        """A reader of a new store in `folder` that holds these videos and failures."""
        raise NotImplementedError

    @contextmanager
    def reader(self, folder: Path) -> Iterator[FrameReader]:
        """The store that the tests read."""
        with closing(self.open(folder, VIDEOS, FAILURES)) as reader:
            yield reader

    def test_every_video_is_listed_once(self, tmp_path: Path) -> None:
        with self.reader(tmp_path) as reader:
            assert sorted(reader.ids()) == sorted(VIDEOS)

    def test_failures_are_listed_with_their_cause(self, tmp_path: Path) -> None:
        with self.reader(tmp_path) as reader:
            assert dict(reader.failures()) == FAILURES

    def test_only_whole_videos_are_in_it(self, tmp_path: Path) -> None:
        with self.reader(tmp_path) as reader:
            assert all(name in reader for name in VIDEOS)
            assert not any(name in reader for name in (*FAILURES, "other"))

    def test_frames_come_back_as_they_went_in(self, tmp_path: Path) -> None:
        with self.reader(tmp_path) as reader:
            for name, frames in VIDEOS.items():
                assert reader.num_frames(name) == len(frames)
                assert [bytes(data) for data in reader.read(name, range(len(frames)))] == list(frames)

    def test_frames_come_in_the_order_asked_for(self, tmp_path: Path) -> None:
        with self.reader(tmp_path) as reader:
            frames = VIDEOS["Größe-1"]
            assert [bytes(data) for data in reader.read("Größe-1", [2, 0, 2])] == [frames[2], frames[0], frames[2]]
            assert reader.read("one", []) == []

    def test_frames_are_views(self, tmp_path: Path) -> None:
        with self.reader(tmp_path) as reader:
            assert all(isinstance(data, memoryview) for data in reader.read("one", [0]))

    def test_what_is_not_there_is_a_store_error(self, tmp_path: Path) -> None:
        with self.reader(tmp_path) as reader:
            for name, indices in (("other", [0]), ("bad", [0]), ("one", [1]), ("one", [-1])):
                with pytest.raises(StoreError):
                    reader.read(name, indices)
            with pytest.raises(StoreError):
                reader.num_frames("other")

    def test_it_says_what_it_holds(self, tmp_path: Path) -> None:
        with self.reader(tmp_path) as reader:
            assert isinstance(reader.meta, StoreMeta)

    def test_a_pickled_reader_reads(self, tmp_path: Path) -> None:
        with self.reader(tmp_path) as reader:
            reader.read("one", [0])
            with closing(pickle.loads(pickle.dumps(reader))) as copy:  # noqa: S301  made one line above
                assert bytes(copy.read("one", [0])[0]) == b"frame"
                assert copy.meta == reader.meta
