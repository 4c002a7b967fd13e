"""No file but the one named is ever opened, and no other place is asked: each wall is tested with the others away."""

import errno
import os
import socket
import threading
import wave
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtk_cli.api.video import Cut, DecodeReport
from vtk_cli.errors import VideoError
from vtk_cli.testing.decoders import MadeClip, number_shown
from vtk_cli.video import source
from vtk_cli.video.pyav import PyavDecoder
from vtk_cli.video.safety import check_file, file_url

DECODER = PyavDecoder()


def frames(path, cut=None):
    return list(DECODER.frames(path, cut or Cut(), DecodeReport()))


@pytest.fixture
def victim(tmp_path):
    """A good clip that nobody but its owner may see."""
    return MadeClip(name="victim.mp4", codec="libx264", frames=6).write(tmp_path)


@pytest.fixture
def server():
    """A local server that counts who knocks; nothing may."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        knocks = []

        def listen():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                knocks.append(connection.getpeername())
                connection.close()

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", knocks
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def playlists(target):
    return {
        "hls": f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:1.0,\n{target}\n#EXT-X-ENDLIST\n",
        "hls after a blank line": f"\n#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1.0,\n{target}\n#EXT-X-ENDLIST\n",
        "ffconcat": f"ffconcat version 1.0\nfile '{target}'\n",
        "concat": f"file '{target}'\n",
        "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
        f'<Representation id="1" bandwidth="1"><BaseURL>{target}</BaseURL></Representation></AdaptationSet></Period></MPD>',
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    }  # fmt: skip


@pytest.mark.parametrize("look_inside", [True, False], ids=["by its first bytes", "by FFmpeg's walls alone"])
@pytest.mark.parametrize("kind", playlists(""))
@pytest.mark.parametrize("suffix", ["mp4", "m3u8", "mkv"])
def test_playlists_reach_no_file_and_no_network(tmp_path, victim, server, monkeypatch, kind, look_inside, suffix):
    if not look_inside:
        monkeypatch.setattr(source, "check_file", lambda path: None)
    url, knocks = server
    for target in (str(victim), victim.name, f"file:{victim}", f"{url}/clip.mp4"):
        path = tmp_path / f"playlist.{suffix}"
        path.write_text(playlists(target)[kind])
        with pytest.raises(VideoError, match=f"playlist.{suffix}"):
            frames(path)
        with pytest.raises(VideoError):
            DECODER.probe(path)
    assert not knocks


def test_the_walls_are_what_holds(tmp_path, server):
    """Without them FFmpeg does knock: the attack above is a real one."""
    url, knocks = server
    path = tmp_path / "playlist.m3u8"
    path.write_text(playlists(f"{url}/clip.ts")["hls"])
    with pytest.raises(av.FFmpegError):
        av.open(str(path), timeout=5, options={"protocol_whitelist": "file,http,tcp"})
    assert knocks


def test_a_playlist_is_called_a_playlist(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_text(playlists("x.mp4")["hls"])
    with pytest.raises(VideoError, match="is a playlist"):
        frames(path)


def with_data_reference(content, name):
    """The movie of an mp4 whose pictures lie in another file: an `alis` record (QuickTime File Format, dref atom)."""
    path = f"v:{name}".encode()  # volume v
    path += b"\0" * (len(path) % 2)
    alias = bytes(10) + b"\1" + b"v".ljust(27, b"\0") + bytes(12) + bytes([len(name)]) + name.encode().ljust(63, b"\0")
    alias += (
        bytes(16)
        + b"\0\1\0\1"
        + bytes(16)
        + (2).to_bytes(2, "big")
        + len(path).to_bytes(2, "big")
        + path
        + b"\xff\xff\0\0"
    )
    old = b"\0\0\0\x0curl \0\0\0\1"
    new = (12 + len(alias)).to_bytes(4, "big") + b"alis" + bytes(4) + alias
    assert content.count(old) == 1
    grown = len(new) - len(old)
    changed = bytearray(content.replace(old, new))
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        at = changed.index(kind) - 4
        changed[at : at + 4] = (int.from_bytes(changed[at : at + 4], "big") + grown).to_bytes(4, "big")
    start = changed.index(b"mdat") + 4
    end = changed.index(b"moov") - 4
    changed[start:end] = bytes(end - start)  # its own pictures are gone
    return bytes(changed)


def test_a_movie_whose_pictures_lie_in_another_file_does_not_show_them(tmp_path, victim):
    path = tmp_path / "reference.mp4"
    path.write_bytes(with_data_reference(victim.read_bytes(), victim.name))
    with av.open(str(path), options={"enable_drefs": "1"}) as opened:
        stolen = [number_shown(frame.to_ndarray(format="rgb24")) for frame in opened.decode(video=0)]
    assert stolen == list(range(6)), "the attack works where the wall is open"
    with pytest.raises(VideoError, match=path.name):
        frames(path)


@pytest.mark.parametrize(
    "name", ["concat:a.mp4|victim.mp4", "http:clip.mp4", "-", "--help.mp4", "pipe:0", "data:,x", "%d.mp4"]
)
def test_a_name_is_only_a_name(tmp_path, monkeypatch, victim, name):
    (tmp_path / name).write_bytes(victim.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert len(frames(Path(name))) == 6
    assert file_url(Path(name)) == f"file:{tmp_path / name}"


def test_a_name_that_is_no_utf8(tmp_path, victim):
    path = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    path.write_bytes(victim.read_bytes())
    assert len(frames(path)) == 6


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 7\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>quota exceeded</html>", "text page"),
        (b'\xef\xbb\xbf<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>', "text page"),
        (b'{"error": "not found"}', "text page"),
        (bytes(4096), "is not a video"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "is not a video"),
        (b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + b"\0\0\x10\0mdat" + bytes(99), "cut off"),
    ],
)
def test_what_is_no_video_is_told_by_what_it_is(tmp_path, content, found):
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoError, match=found):
        DECODER.probe(path)


def test_missing_and_unreadable(tmp_path, victim):
    (tmp_path / "loop.mp4").symlink_to(tmp_path / "loop.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    for name, found in {
        "missing.mp4": "There is no video",
        "victim.mp4/clip.mp4": "cannot be read: Not a directory",
        "loop.mp4": "cannot be read",
        "pipe.mp4": "device, pipe or socket",
        "": "is a folder",
        "x" * 300: "cannot be read: File name too long",
        "zero\0byte.mp4": "cannot be read",
    }.items():
        with pytest.raises(VideoError, match=found):
            frames(tmp_path / name)


def test_no_permission(victim, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "open", refuse)  # root, who may run the tests, may read everything
    with pytest.raises(VideoError, match="Permission denied"):
        frames(victim)


def test_sound_alone_is_no_video(tmp_path):
    with wave.open(str(tmp_path / "clip.mp4"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(16000))
    with pytest.raises(VideoError, match="no video stream, only audio"):
        DECODER.probe(tmp_path / "clip.mp4")


@given(st.binary(max_size=300))
def test_any_bytes_pass_or_are_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any-bytes.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoError):
        DECODER.probe(path)
    if content.startswith((b"#EXTM3U", b"ffconcat")) or not content:
        with pytest.raises(VideoError):
            check_file(path)
