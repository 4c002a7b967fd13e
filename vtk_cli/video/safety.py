"""Which files are opened as video, and how FFmpeg is told to open nothing else.

Videos come from strangers. A playlist (HLS, DASH, ffconcat) that is named clip.mp4 makes FFmpeg read other files or the
network and show them as its pictures, so three walls stand in the way: only the container formats listed here are
probed, only the `file` protocol exists, and a movie cannot refer to data outside of itself. What the first bytes say is
looked at beforehand, only to give a better message.
"""

import stat
from pathlib import Path

from vtk_cli.errors import VideoError
from vtk_cli.video.geometry import MAX_PIXELS

FORMATS = (
    "asf", "avi", "flv", "gif", "ivf", "matroska", "mov", "mp4", "mpeg", "mpegts", "mpegvideo", "ogg", "webm",
    # Sound only, so that the message can say so.
    "aac", "flac", "mp3", "wav",
)  # fmt: skip
"""FFmpeg demuxers that read one file and nothing else."""

OPEN_OPTIONS = {
    "format_whitelist": ",".join(FORMATS),
    "protocol_whitelist": "file",
    "enable_drefs": "0",
    "use_absolute_path": "0",
    "max_pixels": str(MAX_PIXELS),
}
"""Options for avformat_open_input (libavformat/options_table.h, mov.c) and for the decoders that probe its streams."""

_PLAYLISTS = (b"#extm3u", b"ffconcat", b"<mpd", b"<smil", b"<asx", b"[playlist]", b"[reference]")
_PAGES = (b"<!doctype html", b"<html", b"<?xml", b"<error", b"{")
_GIT_LFS = b"version https://git-lfs"
_HEAD_BYTES = 1024


def check_file(path: Path) -> None:
    """See that there is a file whose first bytes may be a video.

    Raises:
        VideoError: it is missing, unreadable, empty, no regular file, a playlist, a web page or a git-LFS pointer.
    """
    head = _read_head(path)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not head:
        raise VideoError(f"{path} is empty: 0 bytes where a video was expected. Fetch it again or remove it.")
    if text.startswith(_PLAYLISTS) or (text.startswith(b"<?xml") and b"<mpd" in text):
        raise VideoError(
            f"{path} is a playlist, not a video. Playlists are refused because they read other files or the network; "
            "give the video files themselves."
        )
    if text.startswith(_GIT_LFS):
        raise VideoError(
            f"{path} is a git-LFS pointer of a few lines, not the video itself. Run `git lfs pull` where it comes from."
        )
    if text.startswith(_PAGES):
        raise VideoError(
            f"{path} is a text page (perhaps a server's error message), not a video. Fetch it again from its source."
        )


def file_url(path: Path) -> str:
    """The name for FFmpeg: with its protocol, so that no part of a file's name is taken for one (`concat:a|b`, `-`)."""
    return f"file:{path.absolute()}"


def _read_head(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise VideoError(f"{path} is a folder where a video file was expected. Name the files in it.")
        if not stat.S_ISREG(mode):
            raise VideoError(
                f"{path} is a device, pipe or socket where a video file was expected. Name a regular file."
            )
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except FileNotFoundError as error:
        raise VideoError(f"There is no video at {path}. Check the path, or download the dataset again.") from error
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte in it
        reason = getattr(error, "strerror", None) or error
        raise VideoError(f"{path} cannot be read: {reason}. Check its name and permissions.") from error
