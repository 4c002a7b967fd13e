"""meta.json of a store: what its records are. A store never mixes two of these."""

import dataclasses
import json
import os
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from vtk_cli.api.stores import StoreMeta
from vtk_cli.errors import StoreError

VERSION = 1
META = "meta.json"
SHARDS = 64
"""Shards of a new store. A shard has one writer, so this is how many processes can extract at once (`--shard i/n` over
the machines of a cluster included); each costs a file of at least 12 KiB and a few ms. Fixed when the store is made."""

PAIRS = frozenset({"flow", "warped"})
"""Modalities with a frame per pair of neighbouring pictures: one less than the video has."""
_FREE = frozenset({"version", "shards"})
"""Fields in which a store may differ from what is asked for."""
PLACES = frozenset({"run", "file"})
"""Where features come from, which may move; the digest of the weights says whether they are the same."""
_OF_FEATURES = frozenset({"streams", "dtype", "origin"})
_OF_BOTH = frozenset({"version", "modality", "codec", "shards"})
_CODECS = {"features": ("raw",), **dict.fromkeys(PAIRS, ("jpeg", "png"))}
"""What frames of a modality may be; of those that are not named here, JPEG."""
_ADVICE = "Ask for the same settings, or move the folder away and extract anew"


def store_name(meta: StoreMeta) -> str:
    """The name in the dataset of a store of pictures: frames-256, flow-tvl1-256, warped-tvl1-256.

    >>> store_name(StoreMeta(modality="flow", method="tvl1", short_side=256, quality=95, shards=64))
    'flow-tvl1-256'
    """
    if meta.modality in PAIRS:
        return f"{meta.modality}-{meta.method}-{meta.short_side}"
    return f"frames-{meta.short_side}"


def shard_of(video_id: str, shards: int) -> int:
    """The shard in which a video lives; the same on every machine and in every run.

    >>> shard_of("v_Rowing_g16_c03", 64)
    62
    """
    return int.from_bytes(blake2b(video_id.encode(), digest_size=8).digest(), "little") % shards


def shard_path(folder: Path, shard: int) -> Path:
    """The file of a shard; it is there once something was written to it."""
    return folder / f"{shard:03d}.lmdb"


def create_store(folder: Path, meta: StoreMeta) -> StoreMeta:
    """Make a store, or open the one that is there if it holds the same; returns what its meta.json says.

    Safe against other processes that do the same at the same time: the first one's file stays.

    Raises:
        StoreError: the store there has other settings or a damaged meta.json, or the folder cannot be written.
    """
    path = folder / META
    if not path.exists():
        temporary = folder.parent / f".{folder.name}.{META}.{os.getpid()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write_durably(temporary, json.dumps(meta_values(meta), indent=2) + "\n")
            os.link(temporary, path)
        except FileExistsError:
            pass
        except OSError as error:
            reason = error.strerror or error
            raise StoreError(
                f"The store {folder} cannot be made: {reason}. Free space or choose another --root."
            ) from error
        finally:
            temporary.unlink(missing_ok=True)
    found = read_meta(folder)
    check_same(folder, found, meta)
    return found


def meta_values(meta: StoreMeta) -> dict[str, Any]:
    """What meta.json says, and runs keep of it: the fields that stores of this modality have, as JSON has them.

    >>> sorted(meta_values(StoreMeta(modality="features", codec="raw", dtype="uint8", streams=(("rgb", 2),), shards=1)))
    ['codec', 'dtype', 'modality', 'origin', 'shards', 'streams', 'version']
    """
    features = meta.modality == "features"
    values = dataclasses.asdict(meta)
    kept = {name: value for name, value in values.items() if name in _OF_BOTH or (name in _OF_FEATURES) == features}
    plain: dict[str, Any] = json.loads(json.dumps(kept))
    return plain


def meta_of(values: Mapping[str, Any]) -> StoreMeta:
    """What `meta_values` was made of: a run's record of the store that it was trained on.

    Raises:
        StoreError: it is damaged.
    """
    return _checked(Path("run.json"), dict(values))


def read_meta(folder: Path) -> StoreMeta:
    """What a store says of itself.

    Raises:
        StoreError: there is no store, or its meta.json is damaged or of another version.
    """
    path = folder / META
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StoreError(f"There is no store at {folder}: it has no {META}. Make it with `vtk extract`.") from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise StoreError(f"{path} is damaged: it should be JSON, found: {error}. {_ADVICE}.") from error
    if isinstance(values, dict) and values.get("version") not in (None, VERSION):
        raise StoreError(
            f"{path} should have version {VERSION}, found {values['version']!r}. Read it with the vtk that wrote it."
        )
    return _checked(path, values)


def _checked(path: Path, values: Any) -> StoreMeta:
    try:
        meta = TypeAdapter(StoreMeta).validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "all of it"
        raise StoreError(f"{path} is damaged: {where}: {first['msg']}. {_ADVICE}.") from error
    unknown = sorted(set(values) - {field.name for field in dataclasses.fields(StoreMeta)})
    found = f"the unknown key {unknown[0]!r}" if unknown else _impossible(meta)
    if found:
        raise StoreError(f"{path} is damaged: it holds {found}. {_ADVICE}.")
    return meta


def _impossible(meta: StoreMeta) -> str:
    """A value that no store has; empty where there is none."""
    sizes = ["shards"] if meta.modality == "features" else ["short_side", "shards"]
    if meta.codec == "jpeg":
        sizes.append("quality")
    wrong = [f"{name} = {getattr(meta, name)}" for name in sizes if getattr(meta, name) < 1]
    if meta.codec not in _CODECS.get(meta.modality, ("jpeg",)):
        wrong.append(f"codec = {meta.codec}")
    if meta.modality == "features":
        names = [name for name, _ in meta.streams]
        if not names or len(set(names)) < len(names) or any(size < 1 for _, size in meta.streams):
            wrong.append(f"streams = {meta.streams}")
        if not meta.dtype:
            wrong.append("no dtype")
    return wrong[0] if wrong else ""


def check_same(folder: Path, found: StoreMeta, wanted: StoreMeta) -> None:
    """Raises StoreError, naming each difference, where a store is not what is asked for."""
    have, want = _flat(found), _flat(wanted)
    if have["codec"] != want["codec"]:  # each has settings that the other lacks
        have, want = (
            {name: values[name] for name in values if name in have and name in want} for values in (have, want)
        )
    differing = [name for name in {**have, **want} if have.get(name) != want.get(name)]
    if differing:
        parts = ", ".join(f"{name} {have.get(name)!r} where {want.get(name)!r} is asked for" for name in differing)
        advice = f"{_ADVICE}{', or name another store with --as' if found.modality == 'features' else ''}"
        raise StoreError(f"The store {folder} holds other data: {parts}. {advice}.")


def _flat(meta: StoreMeta) -> dict[str, Any]:
    """The settings that make a store, a flow method's parameters and the origin of features one by one."""
    free = _FREE if meta.codec == "jpeg" else _FREE | {"quality"}
    values = {name: value for name, value in meta_values(meta).items() if name not in free}
    origin = {key: value for key, value in values.pop("origin", {}).items() if key not in PLACES}
    parameters = values.pop("parameters", {})
    named = {key if key.startswith("warp.") else f"flow.{key}": value for key, value in parameters.items()}
    return {**values, **named, **origin}


def _write_durably(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
