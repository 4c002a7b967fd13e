"""A host of Kinetics-400 with a handful of real clips in the official layout: csv, path lists, tar.gz."""

from collections.abc import Collection
from pathlib import Path
from zlib import crc32

from host import KINETICS, tar
from tiny import write_video

CLIPS = {
    "train": {
        "-q0Xy3ab_cd_000000_000010": "abseiling",
        "AbCdEfGhIjK_000012_000022": "using segway",
        "zZ9_yX8wV7u_000100_000110": "air drumming",
    },
    "val": {"val1val1va1_000003_000013": "using segway", "-al2val2va2_000004_000014": "air drumming"},
    "test": {"tst1tst1ts1_000005_000015": "abseiling"},
}
"""split -> clip id -> class; ids can begin with a dash."""
REPLACED = "AbCdEfGhIjK_000012_000022"
"""The official archive has a damaged copy of it and an archive of its own a whole one."""


def mirror_files(folder: Path, *, frames: int, absent: Collection[str] = ()) -> dict[str, bytes]:
    """Path -> content of the host; the clips are made in `folder`, those of `absent` are in no archive."""
    files: dict[str, bytes] = {}
    for split, clips in CLIPS.items():
        lines = ["label,youtube_id,time_start,time_end,split,is_cc"]
        members = {}
        for name, label in clips.items():
            path, seed = folder / split / f"{name}.mp4", crc32(name.encode())
            video = write_video(path, seed=seed, frames=frames, size=(64, 48)).read_bytes()
            quoted = f'"{label}"' if " " in label else label
            lines.append(f"{quoted},{name[:-14]},{int(name[-13:-7])},{int(name[-6:])},{split},0")
            if name not in absent:
                members[f"./{name}.mp4"] = video[: len(video) // 2] if name == REPLACED else video
            if name == REPLACED:
                mended = tar({f"replacement_for_corrupted_k400/{name}.mp4": video})
                files[f"{KINETICS}400/replacement_for_corrupted_k400.tgz"] = mended
        archive = f"400/{split}/part_0.tar.gz"
        files[KINETICS + archive] = tar(members)
        files[f"{KINETICS}400/{split}/k400_{split}_path.txt"] = (
            f"https://s3.amazonaws.com/kinetics/{archive}\n".encode()
        )
        files[f"{KINETICS}400/annotations/{split}.csv"] = "\n".join(lines).encode() + b"\n"
    return files
