"""Ids for videos that nobody named: unique, safe as file names on every system, and the same whenever made again."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from hashlib import sha256

MAX_BYTES = 200
"""An id names files and folders (255 bytes at most on common file systems) and records of stores (510)."""

_UNSAFE = re.compile(r"[^\w.+=@-]")
_HASH = 10


def make_id(path: str, part: str = "") -> str:
    """The id of a clip by its path below the dataset's folder; `part` tells clips of one file apart.

    The path without suffix, in NFC, "/" as "__". Whatever a file system or a shell could stumble over becomes "_", and
    then a hash of the path keeps two such names apart.

    >>> make_id("abseiling/0wR5jVB-WPk_000417_000427.mp4")
    'abseiling__0wR5jVB-WPk_000417_000427'
    >>> make_id("-dash.mp4")
    '_-dash-d44b862a44'
    """
    text = unicodedata.normalize("NFC", path)
    stem = re.sub(r"\.[A-Za-z0-9]{1,5}$", "", text)
    wanted = stem.replace("/", "__") + part
    safe = _UNSAFE.sub("_", wanted)
    if safe[:1] in ("-", ".", ""):
        safe = f"_{safe}"
    if safe == wanted and len(safe.encode()) <= MAX_BYTES:
        return safe
    return _shortened(safe, MAX_BYTES - _HASH - 1) + "-" + _digest(text + part)


def unique_ids(paths: Sequence[str], parts: Sequence[str]) -> list[str]:
    """Ids for paths that differ. Those whose ids would agree, also without regard to case, all get a hash.

    So an id does not depend on the order of the list.
    """
    ids = [make_id(path, part) for path, part in zip(paths, parts, strict=True)]
    groups: dict[str, list[int]] = defaultdict(list)
    for place, name in enumerate(ids):
        groups[name.casefold()].append(place)
    for places in groups.values():
        if len(places) > 1:
            for place in places:
                whole = unicodedata.normalize("NFC", paths[place]) + parts[place]
                ids[place] = f"{_shortened(ids[place], MAX_BYTES - _HASH - 1)}-{_digest(whole)}"
    return ids


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:_HASH]


def _shortened(text: str, most_bytes: int) -> str:
    return text.encode()[:most_bytes].decode(errors="ignore")
