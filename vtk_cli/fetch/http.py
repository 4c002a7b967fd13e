"""Fetching over HTTP: resumed by Range, retried with back-off, verified; TLS is always checked.

One `Fetcher` serves any number of threads. Its `stop` event ends every transfer at the next chunk; the parts stay.
"""

import random
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

import requests
import urllib3

from vtk_cli.console import duration, say
from vtk_cli.errors import FetchError, Interrupted
from vtk_cli.fetch.part import CHUNK_BYTES, Expected, Fetched, Part

OnBytes = Callable[[int], None]
_TRANSIENT = frozenset({408, 425, 429})
_LONGEST_WAIT_SECONDS = 600.0
_TOLD_SECONDS = 5.0
"""Longer waits are told to the user."""
_TRIES_OF_A_SILENT_HOST = 3
_MOST_TEXT_BYTES = 256 << 20
_SAFE = "/:@!$&'*,;=~-._"
"""Path characters that RFC 3986 leaves as they are; blanks, brackets and "+" (a blank to some servers) are encoded."""


def encode_url(url: str) -> str:
    """A URL as servers want it; one that is encoded already stays as it is.

    >>> encode_url("https://host/600/val/mountain climber (exercise).tar.gz")
    'https://host/600/val/mountain%20climber%20%28exercise%29.tar.gz'
    >>> encode_url("https://host/a%20b.tar.gz")
    'https://host/a%20b.tar.gz'

    Raises:
        FetchError: it is no http or https URL.
    """
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise FetchError(f"A URL should begin with http:// or https://, found {url!r}. Mend the list or the recipe.")
    path = re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", parts.path)
    return urlunsplit((parts.scheme, parts.netloc, quote(path, safe=_SAFE + "%"), parts.query, ""))


class NotThere(FetchError):
    """The host answers, and has no such file (HTTP 404 or 410)."""


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target and urlsplit(resp.url).scheme == "https" and urlsplit(urljoin(resp.url, target)).scheme != "https":
            raise FetchError(
                f"{resp.url} should lead to https, found a redirect to {target}, which anyone could forge. "
                "Fetch the file by hand and hand it over with --from DIR, or name a --mirror."
            )
        return target


class _TransientError(Exception):
    """Worth another try, after `wait` seconds if the server named them."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class Fetcher:
    """Fetches files; any number of threads may share one.

    A transfer is given up after `retries` tries in a row that brought no new byte; sooner where the host has not
    answered at all, which is a missing network or a wrong name rather than a busy server.
    """

    def __init__(
        self,
        *,
        stop: threading.Event | None = None,
        on_bytes: OnBytes | None = None,
        retries: int = 8,
        backoff_seconds: float = 1.0,
        connect_seconds: float = 15.0,
        read_seconds: float = 30.0,
    ) -> None:
        self._stop = stop or threading.Event()
        self._on_bytes: OnBytes = on_bytes or (lambda _count: None)
        self._retries = retries
        self._backoff_seconds = backoff_seconds
        self._timeout = (connect_seconds, read_seconds)
        self._local = threading.local()
        self._answered: set[str] = set()

    def fetch(self, url: str, target: Path, expected: Expected | None = None) -> Fetched:
        """Bring the file at `url` to `target`, which appears only when it is whole and verified.

        Raises:
            FetchError: it cannot be had, is not the expected file, or the disk is full.
            Interrupted: `stop` was set; the part is kept.
        """
        wanted = expected or Expected()
        part = Part(target, encode_url(url), wanted)
        self._bring(part, wanted, None)
        try:
            return part.finish()
        except FetchError:
            # Once more from the first byte: a part resumed across an unannounced change of the file looks like this.
            self._bring(part, wanted, None)
            return part.finish()

    def fetch_beginning(self, url: str, target: Path, most_bytes: int, expected: Expected | None = None) -> Path | None:
        """Bring about `most_bytes` bytes into the file's part, which a later `fetch` goes on with.

        Returns the part; None when it holds the whole file, so that `fetch` has only to verify it. Raises as `fetch`.
        """
        wanted = expected or Expected()
        part = Part(target, encode_url(url), wanted)
        self._bring(part, wanted, most_bytes)
        return None if part.whole else part.path

    def size(self, url: str) -> int | None:
        """Length in bytes, by HEAD; None when the server does not say.

        Raises:
            FetchError: there is no such file, or no answer.
        """
        found: list[int | None] = []
        encoded = encode_url(url)

        def ask() -> None:
            with self._request("HEAD", encoded, {}) as response:
                if response.status_code in (403, 405, 501):  # some hosts answer GET only
                    found.append(self._size_by_range(encoded))
                    return
                _check_status(response, encoded)
                found.append(_length(response.headers))

        self._until_done(encoded, ask, lambda: 0)
        return found[-1]

    def read(self, url: str) -> bytes:
        """A small file, into memory.

        Raises:
            FetchError: it cannot be had, or is larger than 256 MiB.
        """
        content = bytearray()
        encoded = encode_url(url)

        def ask() -> None:
            content.clear()
            with self._request("GET", encoded, {}) as response:
                _check_status(response, encoded)
                for chunk in self._chunks(response, decode=True):
                    content.extend(chunk)
                    if len(content) > _MOST_TEXT_BYTES:
                        raise FetchError(
                            f"{encoded} should be a small file, found more than 256 MiB. Tell vtk's authors."
                        )

        self._until_done(encoded, ask, lambda: 0)
        return bytes(content)

    def _bring(self, part: Part, expected: Expected, most_bytes: int | None) -> None:
        self._until_done(part.url, lambda: self._transfer(part, expected, most_bytes), lambda: part.size)

    def _until_done(self, url: str, attempt: Callable[[], None], arrived: Callable[[], int]) -> None:
        failures, most = 0, arrived()
        host = urlsplit(url).netloc
        while True:
            self._check_stop()
            try:
                attempt()
                return
            except _TransientError as error:
                failures = failures + 1 if arrived() <= most else 0
                most = max(most, arrived())
                patience = self._retries if host in self._answered else min(self._retries, _TRIES_OF_A_SILENT_HOST)
                if failures > patience:
                    raise FetchError(
                        f"{url} should answer, found {failures} failures in a row, the last one: {error}. Try again "
                        "later (what has arrived is kept), name a --mirror, or fetch it by hand and use --from DIR."
                    ) from error
                self._pause(url, error, failures)

    def _pause(self, url: str, error: _TransientError, failures: int) -> None:
        # Jitter: clients that failed together should not come back together.
        backoff = self._backoff_seconds * min(2.0**failures, 60.0) * random.uniform(0.5, 1.0)
        wait = backoff if error.wait is None else error.wait
        if wait > _TOLD_SECONDS:
            say(f"{url}: {error}; trying again in {duration(wait)}")
        self._stop.wait(wait)

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise Interrupted("The download was stopped. What has arrived is kept; run the same command to go on.")

    def _transfer(self, part: Part, expected: Expected, most_bytes: int | None) -> None:
        if part.whole or (most_bytes is not None and part.size >= most_bytes):
            return
        headers = {}
        if part.size:
            headers["Range"] = f"bytes={part.size}-"
            if part.validator:
                headers["If-Range"] = part.validator
        with self._request("GET", part.url, headers) as response:
            if response.status_code == 416 and part.size:
                part.reset()
                raise _TransientError("the server has no bytes after those that are here (HTTP 416)")
            _check_status(response, part.url)
            total = _accept(response, part)
            if total is not None and expected.bytes is not None and total != expected.bytes:
                part.reset()
                raise FetchError(
                    f"{part.url} should have {expected.bytes} bytes, the server offers {total}. The file was changed; "
                    "get it from another place and hand it over with --from DIR."
                )
            # A server that packs the answer although asked not to: an archive's own gzip is kept, a text is unpacked.
            packed = response.headers.get("Content-Encoding", "identity").lower() != "identity"
            decode = packed and not part.target.name.endswith((".gz", ".tgz"))
            part.begin(None if decode else total, {} if decode else response.headers)
            missing = None if most_bytes is None else most_bytes - part.size
            part.append(_first(self._chunks(response, decode=decode), missing), self._on_bytes)
        enough = most_bytes is not None and part.size >= most_bytes
        if not decode and not enough and total is not None and part.size < total:
            raise _TransientError(f"the connection broke off at {part.size} of {total} bytes")

    def _request(self, method: str, url: str, headers: Mapping[str, str]) -> requests.Response:
        try:
            response = self._session().request(
                method, url, headers=dict(headers), stream=True, timeout=self._timeout, allow_redirects=True
            )
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
            raise FetchError(f"{url} should be a URL that can be fetched, found: {error}. Check --mirror.") from error
        except requests.exceptions.TooManyRedirects as error:
            raise FetchError(f"{url} should lead to a file, found redirects without end. Use --from DIR.") from error
        except requests.exceptions.SSLError as error:
            if "CERTIFICATE_VERIFY_FAILED" not in str(error):
                raise _TransientError(str(error)) from error
            raise FetchError(
                f"{url} should have a valid TLS certificate, found: {error}. vtk never skips this check: name a "
                "--mirror, or fetch the file by hand and hand it over with --from DIR."
            ) from error
        except requests.exceptions.RequestException as error:
            raise _TransientError(_reason(error)) from error
        self._answered.add(urlsplit(url).netloc)
        return response

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = _Session()
            session.headers["Accept-Encoding"] = "identity"
            session.headers["User-Agent"] = "vtk-cli"
        return session

    def _size_by_range(self, url: str) -> int | None:
        with self._request("GET", url, {"Range": "bytes=0-0"}) as response:
            _check_status(response, url)
            return _total(response)

    def _chunks(self, response: requests.Response, *, decode: bool) -> Iterator[bytes]:
        try:
            for chunk in response.raw.stream(CHUNK_BYTES, decode_content=decode):
                yield chunk
                self._check_stop()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _TransientError(f"the connection broke off: {error}") from error


def _reason(error: requests.exceptions.RequestException) -> str:
    """What went wrong with a connection, without the layers of libraries that passed it on."""
    inner = error.args[0] if error.args else error
    cause = getattr(inner, "reason", None) or inner
    return str(cause).rpartition("): ")[2] or type(error).__name__


def _first(chunks: Iterator[bytes], count: int | None) -> Iterator[bytes]:
    """As many chunks as hold the first `count` bytes; all where it is None."""
    found = 0
    for chunk in chunks:
        yield chunk
        found += len(chunk)
        if count is not None and found >= count:
            return


def _accept(response: requests.Response, part: Part) -> int | None:
    """Make the part ready for this answer; the length of the whole remote file, if the server says it."""
    total = _total(response)
    if response.status_code == 206:
        start = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
        if not start or int(start[1]) != part.size or not part.same_version(total, response.headers):
            part.reset()
            raise _TransientError("the server's part does not belong to what is here")
    elif part.size:
        part.reset()  # 200 to a Range request: the file was changed, or this server cannot resume
    return total


def _total(response: requests.Response) -> int | None:
    if response.status_code == 206:
        found = re.search(r"/(\d+)$", response.headers.get("Content-Range", ""))
        return int(found[1]) if found else None
    return _length(response.headers)


def _length(headers: Mapping[str, str]) -> int | None:
    text = headers.get("Content-Length", "")
    return int(text) if text.isdigit() else None


def _check_status(response: requests.Response, url: str) -> None:
    status = response.status_code
    if status in (200, 206):
        return
    reason = f"HTTP {status} {response.reason or ''}".strip()
    if status in _TRANSIENT or status >= 500:
        raise _TransientError(reason, _retry_after(response.headers.get("Retry-After", "")))
    kind = NotThere if status in (404, 410) else FetchError
    raise kind(
        f"{url} should be a file, found {reason}. The host may have moved it: name a --mirror, or fetch it by hand "
        "and hand it over with --from DIR."
    )


def _retry_after(text: str) -> float | None:
    """Seconds to wait, from a number or a date (RFC 9110, section 10.2.3)."""
    if text.strip().isdigit():
        return min(float(text), _LONGEST_WAIT_SECONDS)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    aware = date if date.tzinfo else date.replace(tzinfo=UTC)
    return min(max((aware - datetime.now(UTC)).total_seconds(), 0.0), _LONGEST_WAIT_SECONDS)
