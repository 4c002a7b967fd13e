import gzip
import hashlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
import requests
from host import Fault, Host
from hypothesis import given
from hypothesis import strategies as st

from vtk_cli.errors import FetchError, Interrupted
from vtk_cli.fetch import http
from vtk_cli.fetch.http import Fetcher, encode_url
from vtk_cli.fetch.part import Expected, Part

BODY = bytes(range(256)) * 1000
PATH = "/set/part_0.tar.gz"


@pytest.fixture
def host() -> Iterator[Host]:
    with Host({PATH: BODY}) as running:
        yield running


def fetcher(**changes: object) -> Fetcher:
    return Fetcher(**{"backoff_seconds": 0.001, "connect_seconds": 5, "read_seconds": 5, "retries": 3, **changes})


def test_a_file_arrives_whole_with_its_hash(host: Host, tmp_path: Path) -> None:
    counted = []
    found = fetcher(on_bytes=counted.append).fetch(host.url + PATH, tmp_path / "raw" / "a.tar.gz")
    assert found.path.read_bytes() == BODY
    assert (found.bytes, found.sha256) == (len(BODY), hashlib.sha256(BODY).hexdigest())
    assert sum(counted) == len(BODY)
    assert [p.name for p in found.path.parent.iterdir()] == ["a.tar.gz"]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_connection_that_breaks_off_goes_on(host: Host, tmp_path: Path, ranges: bool) -> None:
    host.ranges = ranges
    host.etags[PATH] = '"v1"'
    host.faults[PATH] = [Fault(cut_after=30_000), Fault(cut_after=40_000)]
    found = fetcher().fetch(host.url + PATH, tmp_path / "a")
    assert found.path.read_bytes() == BODY
    assert host.gets(PATH) == (["", "bytes=30000-", "bytes=70000-"] if ranges else ["", "bytes=30000-", "bytes=40000-"])


def test_a_stopped_transfer_goes_on_in_a_new_process(host: Host, tmp_path: Path) -> None:
    stop = threading.Event()
    with pytest.raises(Interrupted, match="same command"):
        fetcher(stop=stop, on_bytes=lambda _: stop.set()).fetch(host.url + PATH, tmp_path / "a")
    arrived = (tmp_path / "a.part").stat().st_size
    assert 0 < arrived < len(BODY)
    assert not (tmp_path / "a").exists()
    host.requests.clear()
    assert fetcher().fetch(host.url + PATH, tmp_path / "a").sha256 == hashlib.sha256(BODY).hexdigest()
    assert host.gets(PATH) == [f"bytes={arrived}-"]


@pytest.mark.parametrize("validator", ["etag", "weak etag", "date", "length"])
def test_a_file_that_changed_meanwhile_starts_over(host: Host, tmp_path: Path, validator: str) -> None:
    def publish(version: int, body: bytes) -> None:
        host.files[PATH] = body
        quote = {"etag": f'"v{version}"', "weak etag": f'W/"v{version}"'}.get(validator)
        if quote:
            host.etags[PATH] = quote
        if validator == "date":
            host.headers[PATH] = {"Last-Modified": f"Sat, 0{version} Nov 2025 10:00:00 GMT"}

    publish(1, BODY)
    host.faults[PATH] = [Fault(cut_after=30_000), Fault(status=500)]
    with pytest.raises(FetchError):
        fetcher(retries=0).fetch(host.url + PATH, tmp_path / "a")
    assert (tmp_path / "a.part").stat().st_size == 30_000
    changed = BODY[::-1] + b"longer"
    publish(2, changed)
    assert fetcher().fetch(host.url + PATH, tmp_path / "a").path.read_bytes() == changed


def test_a_part_longer_than_the_file_now_is_starts_over(host: Host, tmp_path: Path) -> None:
    host.etags[PATH] = '"v1"'
    host.faults[PATH] = [Fault(cut_after=30_000), Fault(status=500)]
    with pytest.raises(FetchError):
        fetcher(retries=0).fetch(host.url + PATH, tmp_path / "a")
    host.files[PATH] = b"short"  # same ETag: a host that does not tell; the range is answered with 416
    assert fetcher().fetch(host.url + PATH, tmp_path / "a").path.read_bytes() == b"short"
    assert host.gets(PATH)[-2:] == ["bytes=30000-", ""]


def test_damage_that_only_the_hash_shows_is_fetched_once_more(host: Host, tmp_path: Path) -> None:
    wanted = Expected(sha256=hashlib.sha256(BODY).hexdigest(), md5=hashlib.md5(BODY).hexdigest(), bytes=len(BODY))
    host.faults[PATH] = [Fault(cut_after=30_000), Fault(status=500)]
    host.files[PATH] = b"\0" * len(BODY)
    with pytest.raises(FetchError):
        fetcher(retries=0).fetch(host.url + PATH, tmp_path / "a", wanted)
    host.files[PATH] = BODY  # same length, no ETag: the part looks as if it could be resumed
    assert fetcher().fetch(host.url + PATH, tmp_path / "a", wanted).path.read_bytes() == BODY
    assert host.gets(PATH)[-2:] == ["bytes=30000-", ""]


@pytest.mark.parametrize("wanted", [Expected(sha256="0" * 64), Expected(md5="0" * 32)])
def test_a_wrong_hash_leaves_nothing(host: Host, tmp_path: Path, wanted: Expected) -> None:
    with pytest.raises(FetchError, match="should have"):
        fetcher().fetch(host.url + PATH, tmp_path / "a", wanted)
    assert not list(tmp_path.iterdir())
    assert len(host.gets(PATH)) == 2


def test_a_wrong_length_is_refused_before_it_is_fetched(host: Host, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="should have 7 bytes"):
        fetcher().fetch(host.url + PATH, tmp_path / "a", Expected(bytes=7))
    assert not list(tmp_path.iterdir())


def test_a_host_that_promises_more_than_it_sends_never_gives_a_file(host: Host, tmp_path: Path) -> None:
    host.ranges = False
    host.faults[PATH] = [Fault(claim=len(BODY) + 10, cut_after=len(BODY)) for _ in range(9)]
    with pytest.raises(FetchError, match="failures in a row"):
        fetcher().fetch(host.url + PATH, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_without_a_length_the_end_of_the_stream_counts(host: Host, tmp_path: Path) -> None:
    host.lengths = False
    assert fetcher().fetch(host.url + PATH, tmp_path / "a").path.read_bytes() == BODY
    assert fetcher().size(host.url + PATH) is None


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_passing_failures_are_tried_again(host: Host, tmp_path: Path, status: int) -> None:
    host.faults[PATH] = [Fault(status=status), Fault(status=status)]
    assert fetcher().fetch(host.url + PATH, tmp_path / "a").bytes == len(BODY)
    assert len(host.gets(PATH)) == 3


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_lasting_failures_are_not_tried_again(host: Host, tmp_path: Path, status: int) -> None:
    host.faults[PATH] = [Fault(status=status)]
    with pytest.raises(FetchError, match=rf"HTTP {status}.*--mirror.*--from"):
        fetcher().fetch(host.url + PATH, tmp_path / "a")
    assert len(host.gets(PATH)) == 1


def test_tries_without_progress_end(host: Host, tmp_path: Path) -> None:
    host.faults[PATH] = [Fault(status=503)] * 9
    with pytest.raises(FetchError, match="4 failures in a row"):
        fetcher(retries=3).fetch(host.url + PATH, tmp_path / "a")
    assert len(host.gets(PATH)) == 4


def test_progress_renews_the_tries(host: Host, tmp_path: Path) -> None:
    host.faults[PATH] = [Fault(cut_after=10_000)] * 9
    assert fetcher(retries=1).fetch(host.url + PATH, tmp_path / "a").bytes == len(BODY)
    assert len(host.gets(PATH)) == 10


def test_retry_after_is_honoured(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    loader = fetcher()
    monkeypatch.setattr(loader._stop, "wait", waits.append)
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    host.faults[PATH] = [
        Fault(status=429, headers={"Retry-After": "7"}),
        Fault(status=503, headers={"Retry-After": later}),
        Fault(status=503, headers={"Retry-After": "a while"}),
    ]
    assert loader.fetch(host.url + PATH, tmp_path / "a").bytes == len(BODY)
    assert waits[0] == 7
    assert 80 < waits[1] <= 90
    assert waits[2] < 1


def test_a_host_that_never_answered_is_given_up_sooner(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="4 failures in a row, the last one: Failed to establish a new connection"):
        fetcher(retries=8).fetch("http://127.0.0.1:9/a", tmp_path / "a")


def test_a_server_nobody_runs(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="2 failures in a row"):
        fetcher(retries=1).fetch("http://127.0.0.1:9/a", tmp_path / "a")


def test_a_silent_server_times_out_and_is_asked_again(host: Host, tmp_path: Path) -> None:
    host.seconds_per_chunk = 0.4
    host.chunk = len(BODY) // 2
    assert fetcher(read_seconds=0.2).fetch(host.url + PATH, tmp_path / "a").path.read_bytes() == BODY
    assert len(host.gets(PATH)) > 1


def test_the_beginning_is_continued_later(host: Host, tmp_path: Path) -> None:
    part = fetcher().fetch_beginning(host.url + PATH, tmp_path / "a", 20_000)
    assert part is not None
    arrived = part.stat().st_size
    assert 20_000 <= arrived < len(BODY)
    assert part.read_bytes() == BODY[:arrived]
    assert fetcher().fetch(host.url + PATH, tmp_path / "a").path.read_bytes() == BODY
    assert host.gets(PATH) == ["", f"bytes={arrived}-"]


def test_the_beginning_of_a_short_file_is_all_of_it(host: Host, tmp_path: Path) -> None:
    assert fetcher().fetch_beginning(host.url + PATH, tmp_path / "a", 1 << 30) is None
    fetcher().fetch(host.url + PATH, tmp_path / "a")
    assert len(host.gets(PATH)) == 1


PACKED = gzip.compress(b"label,id\n", mtime=0)


@pytest.mark.parametrize(("name", "content"), [("a.csv", b"label,id\n"), ("a.tar.gz", PACKED)])
def test_an_answer_packed_unasked(host: Host, tmp_path: Path, name: str, content: bytes) -> None:
    host.files["/a"] = PACKED
    host.headers["/a"] = {"Content-Encoding": "gzip"}
    found = fetcher().fetch(host.url + "/a", tmp_path / name)
    assert found.path.read_bytes() == content


def test_nothing_packed_is_asked_for(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = []
    original = requests.Session.send
    monkeypatch.setattr(requests.Session, "send", lambda s, r, **k: sent.append(r) or original(s, r, **k))
    fetcher().read(host.url + PATH)
    assert sent[0].headers["Accept-Encoding"] == "identity"


def test_a_redirect_is_followed(host: Host, tmp_path: Path) -> None:
    host.faults["/old"] = [Fault(status=302, headers={"Location": PATH})]
    assert fetcher().fetch(host.url + "/old", tmp_path / "a").bytes == len(BODY)


def test_redirects_without_end(host: Host, tmp_path: Path) -> None:
    host.faults["/old"] = [Fault(status=302, headers={"Location": "/old"})] * 40
    with pytest.raises(FetchError, match="redirects without end"):
        fetcher().fetch(host.url + "/old", tmp_path / "a")


@pytest.mark.parametrize(("location", "allowed"), [("http://b/c", False), ("https://b/c", True), ("/c", True)])
def test_https_never_leads_to_http(location: str, allowed: bool) -> None:
    answer = requests.Response()
    answer.status_code, answer.url, answer.headers["Location"] = 302, "https://a/b", location
    if allowed:
        assert http._Session().get_redirect_target(answer) == location
    else:
        with pytest.raises(FetchError, match="anyone could forge"):
            http._Session().get_redirect_target(answer)


def test_a_certificate_that_does_not_hold_is_final(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def refuse(*_: object, **options: object) -> None:
        calls.append(options)
        raise requests.exceptions.SSLError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate")

    monkeypatch.setattr(requests.Session, "request", refuse)
    with pytest.raises(FetchError, match="never skips this check"):
        fetcher().fetch("https://host/a", tmp_path / "a")
    assert len(calls) == 1
    assert calls[0].get("verify", True) is True


def test_the_proxy_of_the_environment_is_used(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", host.url)
    monkeypatch.setenv("no_proxy", "")
    assert fetcher().fetch(f"http://nowhere.invalid{PATH}", tmp_path / "a").bytes == len(BODY)


def test_size_by_head_and_where_head_is_refused(host: Host) -> None:
    assert fetcher().size(host.url + PATH) == len(BODY)
    host.heads = False
    assert fetcher().size(host.url + PATH) == len(BODY)
    with pytest.raises(FetchError, match="HTTP 404"):
        Fetcher(retries=0).size(host.url + "/absent")


def test_read_into_memory(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.faults[PATH] = [Fault(cut_after=500)]
    assert fetcher().read(host.url + PATH) == BODY
    monkeypatch.setattr(http, "_MOST_TEXT_BYTES", 1000)
    with pytest.raises(FetchError, match="small file"):
        fetcher().read(host.url + PATH)


def test_a_full_disk_keeps_what_fitted(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Part, "reset", lambda self: None)  # would take the device that is always full away
    (tmp_path / "full.part").symlink_to("/dev/full")
    with pytest.raises(FetchError, match=r"no space left.*are free.*same command again goes on"):
        fetcher().fetch(host.url + PATH, tmp_path / "full")


def test_blanks_and_brackets_are_encoded_on_the_way(host: Host, tmp_path: Path) -> None:
    name = "/600/val/mountain climber (exercise) [a+b] 100%.tar.gz"
    host.files[name] = b"x"
    assert fetcher().fetch(host.url + name, tmp_path / "a").bytes == 1


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="?#"), max_size=30))
def test_encoding_is_idempotent_and_plain(path: str) -> None:
    once = encode_url(f"https://host/{path}")
    assert encode_url(once) == once
    assert once.isascii()
    assert not set(once) & set(' ()[]+<>"')


@pytest.mark.parametrize("url", ["", "ftp://host/a", "file:///etc/passwd", "host/a", "https:///a"])
def test_only_http_urls(url: str) -> None:
    with pytest.raises(FetchError, match="should begin with http"):
        encode_url(url)
