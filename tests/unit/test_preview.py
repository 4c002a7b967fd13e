"""Films of what stores hold: what is in them, which clips they are of, and that they are whole or not there."""

import random
import signal
import subprocess
import sys
import time
from fractions import Fraction

import av
import numpy as np
import pytest
import scripted

from vtk_cli.api.stores import StoreMeta
from vtk_cli.catalog import Catalog
from vtk_cli.errors import DataError, Interrupted, StoreError, UsageError
from vtk_cli.extract import preview
from vtk_cli.extract.lettering import text_mask
from vtk_cli.extract.panels import DARK, LIGHT, Panel, draw
from vtk_cli.extract.pictures import encode_picture
from vtk_cli.extract.preview import write_previews
from vtk_cli.flow.colour import to_rgb
from vtk_cli.flow.quantize import BOUND, dequantize, encode_flow, quantize
from vtk_cli.store.lmdb_store import ShardWriter
from vtk_cli.store.meta import create_store

HEIGHT, WIDTH = 200, 240
ALL = {"frames": "frames-200", "flow": "flow-dis-200", "warped": "warped-dis-200"}
BOTH = {kind: ALL[kind] for kind in ("frames", "flow")}


class Rgb:
    """A decoded picture without planes."""

    def __init__(self, picture_HW3):
        self.picture_HW3 = picture_HW3

    def rgb(self):
        return self.picture_HW3

    def planes(self):
        return None


def frame(shade, size=(HEIGHT, WIDTH)):
    return encode_picture(Rgb(np.full((*size, 3), shade, np.uint8)), 95)


def pair(x, y, size=(HEIGHT, WIDTH)):
    flow_2HW = np.empty((2, *size), np.float32)
    flow_2HW[0], flow_2HW[1] = x, y
    return encode_flow(quantize(flow_2HW), 95, "jpeg")


def colour(x, y, most):
    """Of motion as a store gives it back."""
    flow_2HW = dequantize(quantize(np.array([x, y], np.float32).reshape(2, 1, 1)))
    return to_rgb(flow_2HW, most)[0, 0].astype(int)


def put(dataset, name, records, **meta):
    folder = dataset.store(name)
    kind, side = name.split("-")[0], int(name.split("-")[-1])
    modality = {"frames": "rgb"}.get(kind, kind)
    more = {} if kind == "frames" else {"method": "dis", "bound": BOUND}
    values = {"modality": modality, "short_side": side, "quality": 95, "shards": 1, "decoder": "scripted", **more}
    create_store(folder, StoreMeta(**{**values, **meta}))
    with ShardWriter(folder, 0) as writer:
        for video_id, data in records.items():
            writer.put(video_id, data)
        writer.commit()


@pytest.fixture
def make(tmp_path):
    """A dataset of clips of `frames` frames each, with flow to the right and warped flow upwards."""

    def made(ids=("a",), *, frames=4, splits=("train",)):
        dataset = scripted.make_dataset(tmp_path / "root", {name: {} for name in ids}, splits=splits)
        shades = [40 + 30 * number for number in range(frames)]
        put(dataset, "frames-200", {name: [frame(shade) for shade in shades] for name in ids})
        put(dataset, "flow-dis-200", {name: [pair(8, 0)] * (frames - 1) for name in ids})
        put(dataset, "warped-dis-200", {name: [pair(0, -3)] * (frames - 1) for name in ids})
        return dataset

    return made


def watched(path):
    """Stream facts and pictures of a film."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        pictures = [picture.to_ndarray(format="rgb24") for picture in container.decode(stream)]
        assert container.duration is not None
        assert len(container.streams) == 1
        return (context.name, context.pix_fmt, stream.average_rate, stream.frames), np.stack(pictures).astype(int)


def named(paths):
    return [path.name for path in paths]


def test_a_film_shows_frame_and_flow_side_by_side(make, tmp_path):
    paths = write_previews(make(), BOTH, tmp_path / "films", split=None, count=1)
    assert paths == [tmp_path / "films" / "a.mp4"]
    facts, pictures = watched(paths[0])
    assert facts == ("h264", "yuv420p", 25, 3)
    height, width = pictures.shape[1:3]
    assert height % 2 == width % 2 == 0
    assert (height, width) == (2 * 24 + HEIGHT + 4, 3 * 4 + 2 * WIDTH)
    for number, picture in enumerate(pictures):
        left, right = picture[60:140, 20 : WIDTH - 20], picture[60:140, WIDTH + 30 : -20]
        assert np.abs(left - (40 + 30 * number)).max() <= 4
        assert np.abs(right - colour(8, 0, 8.1)).max() <= 12  # colours at half resolution, H.264


def test_warped_flow_is_the_third_panel_at_the_same_scale(make, tmp_path):
    (path,) = write_previews(make(), ALL, tmp_path, split=None, count=1)
    pictures = watched(path)[1]
    assert pictures.shape[2] == 4 * 4 + 3 * WIDTH
    third = pictures[0, 60:140, 2 * WIDTH + 40 : -20]
    assert np.abs(third - colour(0, -3, 8.1)).max() <= 12


@pytest.mark.parametrize(
    ("stores", "count", "panels"), [({"flow": "flow-dis-200"}, 3, 1), ({"frames": "frames-200"}, 4, 1)]
)
def test_one_store_alone_is_enough(make, tmp_path, stores, count, panels):
    (path,) = write_previews(make(), stores, tmp_path, split=None, count=1)
    assert watched(path)[0][3] == count
    assert watched(path)[1].shape[2] == panels * WIDTH + (panels + 1) * 4


def test_clips_are_spread_evenly_over_those_that_are_in_all_stores(make, tmp_path):
    dataset = make([f"clip{number}" for number in range(6)], frames=2, splits=("train", "val"))
    put(dataset, "flow-tvl1-200", {f"clip{number}": [pair(1, 1)] for number in (1, 2, 4, 5)}, method="tvl1")
    stores = {"frames": "frames-200", "flow": "flow-tvl1-200"}
    assert named(write_previews(dataset, stores, tmp_path / "two", split=None, count=2)) == ["clip1.mp4", "clip4.mp4"]
    assert named(write_previews(dataset, stores, tmp_path / "val", split="val", count=9)) == ["clip1.mp4", "clip5.mp4"]
    assert sorted(path.name for path in (tmp_path / "val").iterdir()) == ["clip1.mp4", "clip5.mp4"]


def test_the_rate_is_the_clips(make, tmp_path, monkeypatch):
    dataset = make(["probed", "slow", "asked"], frames=2)
    with Catalog(dataset.catalog) as catalog:
        catalog.set_probe([("probed", {"fps": 29.97002997}), ("slow", {"fps": 0.01})])
    asked = []

    class Decoder:
        def build(self):
            return self

        def probe(self, path):
            asked.append(path.name)
            return type("Info", (), {"fps": 12.5})

    monkeypatch.setattr(preview.registry, "load", lambda group, name: Decoder())
    paths = write_previews(dataset, BOTH, tmp_path, split=None, count=3)
    assert [watched(path)[0][2] for path in paths] == [Fraction(30000, 1001), 25, Fraction(25, 2)]
    assert asked == ["asked.json"]


def test_small_pictures_are_magnified_and_odd_sides_made_even(tmp_path):
    dataset = scripted.make_dataset(tmp_path / "root", {"a": {}})
    put(dataset, "frames-67", {"a": [frame(200, (67, 89))] * 2})
    put(dataset, "flow-dis-67", {"a": [pair(0, 5, (67, 89))]})
    (path,) = write_previews(dataset, {"frames": "frames-67", "flow": "flow-dis-67"}, tmp_path, split=None, count=1)
    _, pictures = watched(path)
    assert pictures.shape[1:3] == (254, 546)  # 2 lines of 24 + 3 x 67 + 4, 3 gaps of 4 + 2 x 267, rounded up
    assert np.abs(pictures[0, 60:200, 20:250] - 200).max() <= 4


def test_stores_of_other_sizes_are_brought_to_the_first(make, tmp_path):
    dataset = make()
    put(dataset, "flow-dis-100", {"a": [pair(8, 0, (100, 120))] * 3})
    (path,) = write_previews(dataset, {"frames": "frames-200", "flow": "flow-dis-100"}, tmp_path, split=None, count=1)
    _, pictures = watched(path)
    assert pictures.shape[2] == 3 * 4 + 2 * WIDTH
    assert np.abs(pictures[0, 60:140, WIDTH + 30 : -20] - colour(8, 0, 8.1)).max() <= 12


def test_long_clips_are_shown_at_their_beginning(make, tmp_path, monkeypatch):
    monkeypatch.setattr(preview, "MOST_PICTURES", 2)
    (path,) = write_previews(make(), BOTH, tmp_path, split=None, count=1)
    assert watched(path)[0][3] == 2


def test_the_scale_ends_with_nearly_the_longest_motion():
    rng = np.random.default_rng(0)
    flows = [rng.uniform(-1, 1, (2, 50, 60)).astype(np.float32) * 6 for _ in range(3)]
    data = [encode_flow(quantize(flow_2HW), 100, "jpeg") for flow_2HW in flows]

    class Reader:
        meta = StoreMeta(modality="flow", method="dis", short_side=50, quality=95, shards=1, bound=BOUND)

        def num_frames(self, video_id):
            return 3

        def read(self, video_id, indices):
            return [data[index] for index in indices]

    expected = np.percentile([np.hypot(*flow_2HW) for flow_2HW in flows], 99)
    found = preview._longest(Reader(), "a")
    assert found == pytest.approx(expected, abs=0.2)
    assert f"{found:.1f}" == str(found), "what the film says is the scale itself"


def test_still_clips_are_shown_as_white(make, tmp_path):
    dataset = make()
    put(dataset, "flow-still-200", {"a": [pair(0, 0)] * 3})
    (path,) = write_previews(dataset, {"flow": "flow-still-200"}, tmp_path, split=None, count=1)
    assert (watched(path)[1][0, 60:140, 20:-20] > 225).all()


def panel(label="flow-dis-256", scale=None, shade=90, size=(256, 340)):
    return Panel(label=label, count=3, read=lambda number: np.full((*size, 3), shade, np.uint8), scale=scale)


def lit(place):
    return (place == LIGHT).all(axis=-1)


def test_captions_are_written():
    (first, *_) = [picture.copy() for picture in draw("a clip", [panel("frames-256"), panel()])]
    title, number = text_mask("a clip", 2), text_mask("1 of 3", 2)
    assert (lit(first[4:20, 4 : 4 + title.shape[1]]) == title).all()
    assert (lit(first[4:20, -4 - number.shape[1] : -4]) == number).all()
    for left, label in ((4, "frames-256"), (348, "flow-dis-256")):
        mask = text_mask(label, 2)
        assert (lit(first[28:44, left : left + mask.shape[1]]) == mask).all()


def test_a_long_title_leaves_room_for_the_number():
    first = next(draw("x" * 100, [panel()]))
    number = text_mask("1 of 3", 2)
    assert (lit(first[4:20, -4 - number.shape[1] : -4]) == number).all()
    assert not lit(first[:24, -4 - number.shape[1] - 12 : -4 - number.shape[1]]).any()


def test_the_legend_is_in_the_corner_of_flow_alone():
    first = next(draw("", [panel("frames-256"), panel(scale=7.31)]))
    frames, flow = first[48:304, 4:344].astype(int), first[48:304, 348:688].astype(int)
    assert (frames == 90).all()
    assert (flow[:190] == 90).all()
    size = 256 // 5
    wheel = flow[-2 - size : -2, -2 - size : -2]
    assert (wheel[size // 2, size // 2] > 240).all()
    assert wheel[size // 2, -1].tolist() == pytest.approx([255, 0, 0], abs=15)  # to the right: red
    mask = text_mask(" 7.3 px", 2)
    assert (lit(flow[-20:-4, -4 - size - mask.shape[1] : -4 - size]) == mask).all()
    assert flow[-1, -60].tolist() == [DARK] * 3


def test_letters_are_legible():
    expected = [
        "..#..",
        ".##..",
        "..#..",
        "..#..",
        "..#..",
        "..#..",
        ".###.",
        ".....",
    ]
    drawn = ["".join(".#"[int(on)] for on in row[:5]) for row in text_mask("1")]
    assert drawn == expected
    shapes = {text_mask(chr(code)).tobytes() for code in range(32, 127)}
    assert len(shapes) == 95
    assert (text_mask("é") == text_mask("中")).all()
    assert (text_mask("é", 3) == np.kron(text_mask("é"), np.ones((3, 3), bool))).all()


def test_names_that_are_no_file_names_stay_in_the_folder(tmp_path):
    dataset = scripted.make_dataset(tmp_path / "root", {"a": {}})
    with Catalog(dataset.catalog) as catalog:
        catalog._db.execute("UPDATE videos SET id = '../../../a b'")
    put(dataset, "frames-200", {"../../../a b": [frame(99)]})
    (path,) = write_previews(dataset, {"frames": "frames-200"}, tmp_path / "films", split=None, count=1)
    assert path.parent == tmp_path / "films"
    assert path.is_file()


def test_a_film_takes_the_place_of_an_older_one(make, tmp_path):
    dataset = make()
    (tmp_path / "a.mp4").write_bytes(b"older")
    write_previews(dataset, BOTH, tmp_path, split=None, count=1)
    assert watched(tmp_path / "a.mp4")[0][3] == 3


def test_what_cannot_be_done_is_told(make, tmp_path):
    dataset = make()
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="--preview takes a folder, found a file at"):
        write_previews(dataset, BOTH, tmp_path / "file", split=None, count=1)
    with pytest.raises(DataError, match="file/films"):
        write_previews(dataset, BOTH, tmp_path / "file" / "films", split=None, count=1)
    with pytest.raises(UsageError, match='has no split "tran"'):
        write_previews(dataset, BOTH, tmp_path, split="tran", count=1)
    with pytest.raises(StoreError, match="There is no store at"):
        write_previews(dataset, {"flow": "flow-none-200"}, tmp_path, split=None, count=1)
    put(dataset, "flow-empty-200", {})
    with pytest.raises(DataError, match="No video of the selection is in frames-200 and flow-empty-200"):
        write_previews(dataset, {**BOTH, "flow": "flow-empty-200"}, tmp_path, split=None, count=1)
    put(dataset, "frames-100", {"a": [b"no picture"]})
    with pytest.raises(StoreError, match="Frame 0 of a should be a JPEG"):
        write_previews(dataset, {"frames": "frames-100"}, tmp_path, split=None, count=1)
    assert not list(tmp_path.glob("*.mp4"))


def test_an_interrupt_is_told(make, tmp_path, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(preview, "_film", stopped)
    with pytest.raises(Interrupted, match="The stores are done; run the same command again"):
        write_previews(make(), BOTH, tmp_path, split=None, count=1)


KILLED = """
import sys
from pathlib import Path
from vtk_cli.extract.preview import write_previews
from vtk_cli.workspace import DatasetDir

stores = {"frames": "frames-200", "flow": "flow-dis-200"}
while True:
    write_previews(DatasetDir(Path(sys.argv[1])), stores, Path(sys.argv[2]), split=None, count=8)
    print("round", flush=True)
"""


def test_killed_at_any_time_films_are_whole_or_absent(make, tmp_path):
    dataset = make([f"clip{number}" for number in range(4)])
    for seed in range(3):
        command = [sys.executable, "-c", KILLED, str(dataset.path), str(tmp_path / "films")]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout.readline() == "round\n"
        time.sleep(random.Random(seed).uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        films = sorted((tmp_path / "films").glob("*.mp4"))
        assert named(films) == [f"clip{number}.mp4" for number in range(4)]
        for film in films:
            assert watched(film)[0][3] == 3
