"""A file host on 127.0.0.1 that misbehaves as it is told, and what the official host of Kinetics-400 looks like."""

import bz2
import gzip
import io
import re
import tarfile
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import unquote, urlsplit


@dataclass
class Fault:
    """What one GET of a file meets."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    """Bytes of the body before the connection ends."""
    claim: int | None = None
    """A wrong Content-Length."""


class Host:
    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        self.files: dict[str, bytes] = dict(files or {})
        self.faults: dict[str, list[Fault]] = {}
        self.etags: dict[str, str] = {}
        self.headers: dict[str, dict[str, str]] = {}
        self.ranges = True
        self.lengths = True
        self.heads = True
        self.seconds_per_chunk = 0.0
        self.chunk = 1 << 14
        self.requests: list[tuple[str, str, str]] = []
        """(method, path, Range header)"""
        self.sent = 0

    def gets(self, path: str) -> list[str]:
        """Range headers of the GETs of this file, in order."""
        return [wanted for method, asked, wanted in self.requests if method == "GET" and asked == path]

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(host: Host) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            if not host.heads:
                self.answer(405, {}, b"")
                return
            self.reply(body=False)

        def do_GET(self) -> None:
            self.reply(body=True)

        def reply(self, *, body: bool) -> None:
            path = unquote(urlsplit(self.path).path)
            wanted = self.headers.get("Range", "")
            host.requests.append((self.command, path, wanted))
            fault = host.faults[path].pop(0) if body and host.faults.get(path) else Fault()
            if fault.status:
                self.answer(fault.status, fault.headers, b"no")
                return
            if path not in host.files:
                self.answer(404, {}, b"<html>not here</html>")
                return
            self.send_file(path, wanted, body=body, fault=fault)

        def send_file(self, path: str, wanted: str, *, body: bool, fault: Fault) -> None:
            content = host.files[path]
            headers = dict(host.headers.get(path, {}))
            etag = host.etags.get(path)
            if etag:
                headers["ETag"] = etag
            start, status = 0, 200
            match = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted)
            unchanged = self.headers.get("If-Range") in (None, etag, headers.get("Last-Modified"))
            if host.ranges and match and unchanged:
                start = int(match[1])
                if start >= len(content):
                    self.answer(416, {"Content-Range": f"bytes */{len(content)}"}, b"")
                    return
                status = 206
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            part = content[start:]
            self.answer(status, headers | fault.headers, part, body=body, fault=fault)

        def answer(
            self, status: int, headers: dict[str, str], content: bytes, *, body: bool = True, fault: Fault | None = None
        ) -> None:
            fault = fault or Fault()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if host.lengths or status >= 400:
                self.send_header("Content-Length", str(len(content) if fault.claim is None else fault.claim))
            else:
                self.send_header("Connection", "close")
                self.close_connection = True
            self.end_headers()
            if not body or self.command == "HEAD":
                return
            if fault.cut_after is not None:
                content = content[: fault.cut_after]
                self.close_connection = True
            try:
                for at in range(0, len(content), host.chunk):
                    self.wfile.write(content[at : at + host.chunk])
                    self.wfile.flush()
                    host.sent += len(content[at : at + host.chunk])
                    time.sleep(host.seconds_per_chunk)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

    return Handler


def tar(members: dict[str, bytes], compress: str = "gz", *, damage: int | None = None) -> bytes:
    """A tar of these files; compress is gz, bz2, xz or empty."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    plain = buffer.getvalue()
    packed = {"": lambda b: b, "gz": lambda b: gzip.compress(b, mtime=0), "bz2": bz2.compress}[compress](plain)
    if damage is not None:
        packed = packed[:damage] + bytes([packed[damage] ^ 0xFF]) + packed[damage + 1 :]
    return packed


def clip(name: str, size: int = 3000) -> bytes:
    """Bytes that stand for a clip, different for each name and not compressible."""
    import random

    return random.Random(name).randbytes(size)


KINETICS = "/kinetics/"
CLASSES = ("abseiling", "using segway", "air drumming", "passing American football (not in game)")


def clip_id(split: str, number: int) -> str:
    """Every third id begins with a dash, as 3 % of the real ones do."""
    return f"{'-' if number % 3 == 0 else ''}{split}{number:03d}_{number:06d}_{number + 10:06d}"


def kinetics(per_archive: int = 6, archives: int = 2, clip_bytes: int = 3000) -> dict[str, bytes]:
    """Path -> content of a host that looks as the official one does, with the oddities that its users met.

    In train: part_0 has AppleDouble files, folders and a clip that is in no annotation; part_1 is a plain tar with
    folders in front although it is called .tar.gz; the replacement archive has a better copy of one clip; the
    annotation names one clip that is nowhere.
    """
    files: dict[str, bytes] = {}
    for split in ("train", "val", "test"):
        lines = ["label,youtube_id,time_start,time_end,split,is_cc"]
        urls = []
        for part in range(archives):
            members: dict[str, bytes] = {}
            for number in range(part * per_archive, (part + 1) * per_archive):
                name = clip_id(split, number)
                label = CLASSES[number % len(CLASSES)]
                label = f'"{label}"' if " " in label else label
                lines.append(f"{label},{name[:-14]},{number},{number + 10},{split},0")
                content = b"broken" if (split, number) == ("train", 1) else clip(name, clip_bytes)
                folder = "home/a/b/c/d/e/f" if (split, part) == ("train", 1) else "."
                members[f"{folder}/{name}.mp4"] = content
                if (split, part) == ("train", 0):
                    members[f"./._{name}.mp4"] = b"AppleDouble"
            if (split, part) == ("train", 0):
                members["./inner/extra_000001_000011.mp4"] = clip("extra")
            path = f"400/{split}/part_{part}.tar.gz"
            files[KINETICS + path] = tar(members, "" if (split, part) == ("train", 1) else "gz")
            urls.append(f"https://s3.amazonaws.com/kinetics/{path}")
        if split == "train":
            lines.append("abseiling,nowhere,1,11,train,0")
        files[f"{KINETICS}400/annotations/{split}.csv"] = "\r\n".join(lines).encode() + b"\r\n"
        files[f"{KINETICS}400/{split}/k400_{split}_path.txt"] = ("\n".join(urls) + "\n").encode()
    better = {f"replacement_for_corrupted_k400/{clip_id('train', 1)}.mp4": clip(clip_id("train", 1), clip_bytes)}
    files[f"{KINETICS}400/replacement_for_corrupted_k400.tgz"] = tar(better)
    return files
