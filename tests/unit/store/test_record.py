import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtk_cli.errors import StoreError
from vtk_cli.store import record
from vtk_cli.store.record import Record, pack

FRAMES = st.lists(st.binary(max_size=300), min_size=1, max_size=30)


@given(FRAMES)
def test_frames_come_back_as_they_went_in(frames):
    value = pack(frames)
    read = Record(memoryview(value))
    assert [bytes(read.frame(i)) for i in range(read.num_frames)] == frames
    assert pack(frames) == value
    assert len(value) >= 4096


@given(FRAMES, st.data())
def test_a_flipped_bit_is_noticed(frames, data):
    value = bytearray(pack(frames))
    used = 16 + sum(8 + len(frame) for frame in frames)
    value[data.draw(st.integers(0, used - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(StoreError):
        _read_all(value)


@given(FRAMES, st.data())
def test_a_cut_record_is_noticed(frames, data):
    value = pack(frames)
    used = 16 + sum(8 + len(frame) for frame in frames)
    with pytest.raises(StoreError):
        _read_all(value[: data.draw(st.integers(0, used - 1))])


def test_frames_are_slices_of_the_record_itself():
    value = bytearray(pack([b"abc", b"defg"]))
    frame = Record(memoryview(value)).frame(1)
    assert frame.obj is value


def test_overhead_is_below_a_thousandth_of_real_frames():
    frames = [bytes(15_000)] * 300
    assert len(pack(frames)) / sum(map(len, frames)) < 1.001


def test_nothing_is_no_record():
    with pytest.raises(StoreError, match="at least one frame"):
        pack([])


def test_more_than_lmdb_takes_is_refused(monkeypatch):
    monkeypatch.setattr(record, "MAX_BYTES", 1000)
    with pytest.raises(StoreError, match="shorter clips"):
        pack([bytes(500), bytes(500)])


def test_a_record_of_a_later_version_says_so():
    value = bytearray(pack([b"abc"]))
    value[4] = 2
    with pytest.raises(StoreError, match="version 1, found 2"):
        Record(memoryview(value))


def _read_all(value):
    read = Record(memoryview(bytes(value)))
    return [read.frame(i) for i in range(read.num_frames)]
