"""What each backend is tried with. Run as `python -m vtk_cli.doctor.probes NAME`: one JSON object on stdout.

A probe returns what it found in words, raises NotInstalled, or fails in any way at all.
"""

import importlib
import io
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from importlib import metadata
from typing import Any


class NotInstalled(Exception):
    """The backend's module is not there."""


def torch() -> str:
    found: Any = _load("torch")
    square = found.ones(64, 64) @ found.ones(64, 64)
    if float(square[0, 0]) != 64:
        raise ValueError(f"a product of matrices of ones should be 64, found {float(square[0, 0])}")
    count = found.cuda.device_count() if found.cuda.is_available() else 0
    gpus = [found.cuda.get_device_name(number) for number in range(count)]
    where = f"GPU: {', '.join(gpus)}" if gpus else "no GPU, training runs on the CPU"
    return f"{found.__version__}, {found.get_num_threads()} threads, {where}"


def av() -> str:
    found: Any = _load("av")
    import numpy as np

    buffer = io.BytesIO()
    with found.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for shade in range(0, 200, 25):
            picture = np.full((64, 64, 3), shade, np.uint8)
            container.mux(stream.encode(found.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    buffer.seek(0)
    with found.open(buffer) as container:
        frames = sum(1 for _ in container.decode(video=0))
    if frames != 8:
        raise ValueError(f"8 frames were written as H.264, {frames} came back")
    return f"{found.__version__}, wrote and read an H.264 clip"


def lmdb() -> str:
    found: Any = _load("lmdb")
    with tempfile.TemporaryDirectory() as folder, found.open(folder, map_size=1 << 20) as environment:
        with environment.begin(write=True) as transaction:
            transaction.put(b"key", b"value")
        with environment.begin() as transaction:
            if transaction.get(b"key") != b"value":
                raise ValueError("what was written did not come back")
    return f"{found.__version__}, wrote and read a file"


def simplejpeg() -> str:
    found: Any = _load("simplejpeg")
    import numpy as np

    grey = np.full((16, 16, 1), 90, np.uint8)
    back = found.decode_jpeg(found.encode_jpeg(grey, 95, colorspace="GRAY", colorsubsampling="Gray"), colorspace="GRAY")
    if abs(int(back[0, 0, 0]) - 90) > 2:
        raise ValueError(f"a grey picture of 90 came back as {int(back[0, 0, 0])}")
    return f"{_version('simplejpeg')}, wrote and read a JPEG"


def tvl1() -> str:
    import numpy as np

    from vtk_cli.flow.tvl1 import TvL1Config
    from vtk_cli.flow.tvl1_kernel import LIBRARY, KernelTvL1

    if not LIBRARY.is_file():
        raise NotInstalled("no compiled kernel: there was no C compiler when vtk was installed; torch runs instead")
    y, x = np.mgrid[0:64, 0:64]
    before, after = (np.rint(127 + 60 * np.sin((x - shift) / 5) * np.cos(y / 6)).astype(np.uint8) for shift in (0, 1))
    method = KernelTvL1(TvL1Config())
    moved = float(np.median(method(before, after)[0, 8:-8, 8:-8]))
    if abs(moved - 1) > 0.2:
        raise ValueError(f"a picture moved by 1 pixel should have flow 1, found {moved:.2f}")
    return f"compiled kernel, {method.variant}, found the motion of a picture"


def opencv() -> str:
    found: Any = _load("cv2")
    import numpy as np

    still = np.zeros((64, 64), np.uint8)
    flow = found.DISOpticalFlow_create(found.DISOPTICAL_FLOW_PRESET_FAST).calc(still, still, None)
    if flow.shape != (64, 64, 2):
        raise ValueError(f"flow of a 64x64 picture should have shape (64, 64, 2), found {flow.shape}")
    return f"{found.__version__}, DIS runs"


def pil() -> str:
    owners = [name for name in ("pillow", "pillow-simd") if _version(name)]
    if len(owners) > 1:
        versions = " and ".join(f"{name} {_version(name)}" for name in owners)
        raise ValueError(
            f"{versions} are both installed and own the same files, so the last one unpacked won; "
            "pip uninstall -y pillow pillow-simd, then install one of them"
        )
    found: Any = _load("PIL")
    picture: Any = importlib.import_module("PIL.Image").new("RGB", (64, 48), (9, 9, 9)).resize((32, 24))
    kind = "pillow-simd" if ".post" in found.__version__ else "Pillow"
    return f"{kind} {found.__version__}, resized a picture to {picture.size[0]}x{picture.size[1]}"


def ffmpeg() -> str:
    import shutil
    import subprocess

    path = shutil.which("ffmpeg")
    origin = "on the PATH"
    if path is None:
        try:
            path = str(_load("imageio_ffmpeg").get_ffmpeg_exe())
        except NotInstalled:
            raise NotInstalled("no ffmpeg on the PATH and no imageio-ffmpeg") from None
        origin = "of imageio-ffmpeg"
    said = subprocess.run([path, "-version"], capture_output=True, text=True, check=True).stdout  # noqa: S603  fixed words
    return f"{said.split()[2]} {origin}"


def dali() -> str:
    found: Any = _load("nvidia.dali")
    return f"{found.__version__} imports"


def torchvision() -> str:
    return _imports("torchvision")


def timm() -> str:
    return _imports("timm")


def ray() -> str:
    return _imports("ray")


def torchcodec() -> str:
    _load("torchcodec.decoders")
    return f"{_version('torchcodec')} imports"


def python() -> str:
    return f"{platform.python_version()} on {platform.machine()}, {os.cpu_count()} cores, {sys.executable}"


PROBES: dict[str, Callable[[], str]] = {
    probe.__name__: probe
    for probe in (
        python, torch, av, lmdb, simplejpeg, tvl1, opencv, pil, ffmpeg, dali, torchvision, timm, ray, torchcodec,
    )
}  # fmt: skip


def _imports(name: str) -> str:
    return f"{_load(name).__version__} imports"


def _load(name: str) -> Any:
    """Import a module; NotInstalled only when it is itself absent, not when something that it needs is."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise NotInstalled(f"there is no module {name}") from error
        raise


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def main(name: str) -> None:
    """Run one probe and say how it went; what a backend prints itself goes to stderr."""
    answer = os.dup(1)
    os.dup2(2, 1)
    try:
        result = {"status": "ok", "detail": PROBES[name]()}
    except NotInstalled as absent:
        result = {"status": "not installed", "detail": str(absent)}
    except Exception as error:  # noqa: BLE001  a broken backend may raise anything, which is just what is asked for
        result = {"status": "broken", "detail": f"{type(error).__name__}: {error}"}
    os.write(answer, json.dumps(result).encode())


if __name__ == "__main__":
    main(sys.argv[1])
