"""A synthetic dataset of real H.264 files whose classes can only be told apart by temporal order.

The camera pans left, right, up or down over a random texture, while a shape before it turns one way or the other, which
means nothing. Texture, colours, shape, its size, place and angle, and both speeds are drawn per clip, so a single frame
tells nothing, and neither does a set of frames without their order: played backwards, a clip of one class is a clip of
another.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from vtk_cli.api.datasets import DatasetRecipe, Source, VideoRow
from vtk_cli.files import write_atomic

CLASSES = ("pan-left", "pan-right", "pan-up", "pan-down")
DIRECTIONS = ((-1, 0), (1, 0), (0, -1), (0, 1))
"""How the camera moves in each class, x to the right and y down."""
SPLITS = {"train": 400, "val": 40, "test": 100}
WIDTH, HEIGHT, FPS = 96, 72, 12
FRAMES = (20, 28)
"""Fewest and most frames of a clip."""
PAN = (1.5, 3.5)
"""Pixels per frame, slowest and fastest."""
DISC = (2.5, 5.5)
"""Radius in pixels of the discs on the ground."""
DISC_AREA = 350
"""One disc for so many pixels."""
SIZE = (10.0, 16.0)
"""Half the length of the shape in pixels."""
TURN = (4.0, 12.0)
"""Degrees per frame, slowest and fastest."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that was drawn for one clip."""

    frames: int
    texture_HWC: Floats
    colour: Floats
    parts: Floats
    """Rectangles (centre x, centre y, half width, half height) in units of the shape's size."""
    size: float
    centre: tuple[float, float]
    first_angle: float
    pan: tuple[float, float]
    """Camera motion in pixels per frame, x to the right and y down."""
    turn: float
    """Radians per frame; positive is clockwise on the screen, where y points down."""


def draw_scene(label: int, rng: np.random.Generator) -> Scene:
    """A scene of class `label`; only the direction of the pan depends on it."""
    frames = int(rng.integers(FRAMES[0], FRAMES[1] + 1))
    speed = float(rng.uniform(*PAN))
    direction = DIRECTIONS[label]
    travel = int(np.ceil(speed * frames)) + 2
    texture = _texture(HEIGHT + travel * abs(direction[1]), WIDTH + travel * abs(direction[0]), rng)
    return Scene(
        frames=frames,
        texture_HWC=texture,
        colour=_contrast(texture.mean(axis=(0, 1)), rng),
        parts=_parts(rng),
        size=float(rng.uniform(*SIZE)),
        centre=(WIDTH / 2 + float(rng.uniform(-24, 24)), HEIGHT / 2 + float(rng.uniform(-14, 14))),
        first_angle=float(rng.uniform(0, 2 * np.pi)),
        pan=(speed * direction[0], speed * direction[1]),
        turn=float(np.radians(rng.uniform(*TURN))) * float(rng.choice((-1, 1))),
    )


def render(scene: Scene) -> Iterator[NDArray[np.uint8]]:
    """The scene's pictures, HWC uint8 RGB."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    for number in range(scene.frames):
        picture = _window(scene, number)
        alpha = _shape(x, y, scene, scene.first_angle + scene.turn * number)[..., None]
        picture = picture * (1 - alpha) + scene.colour * alpha
        yield np.clip(picture * 255 + 0.5, 0, 255).astype(np.uint8)


def generate(folder: Path, seed: int) -> None:
    """Write raw/annotation.csv and one mp4 per clip below videos/; clips that are there already are kept."""
    lines = ["path,label,split"]
    for split, count in SPLITS.items():
        for number in range(count):
            label = number % len(CLASSES)
            path = f"{split}/{split}-{number:04d}.mp4"
            lines.append(f"{path},{CLASSES[label]},{split}")
            target = folder / "videos" / path
            if not target.exists():
                rng = np.random.default_rng([seed, sorted(SPLITS).index(split), number])
                write_atomic(target, encode(draw_scene(label, rng)))
    write_atomic(folder / "raw" / "annotation.csv", "\n".join(lines) + "\n")


def encode(scene: Scene) -> bytes:
    """The scene as an H.264 mp4.

    The quality is high (CRF 12): compressed harder, the border where new background comes in would be sharper than the
    rest, and single frames would betray the direction.
    """
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "12", "preset": "veryfast", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for picture in render(scene):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def _texture(height: int, width: int, rng: np.random.Generator) -> Floats:
    """A dark ground of two colours, strewn with bright discs of many colours, HWC in 0..1."""
    blend = _blobs(height, width, 12, rng)[..., None]
    picture = 0.35 * (_colour(rng) * (1 - blend) + _colour(rng) * blend)
    for _ in range(height * width // DISC_AREA):
        centre_y, centre_x, radius = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(*DISC)
        top, left = max(0, int(centre_y - radius)), max(0, int(centre_x - radius))
        patch = picture[top : int(centre_y + radius) + 2, left : int(centre_x + radius) + 2]
        y, x = np.ogrid[top : top + patch.shape[0], left : left + patch.shape[1]]
        alpha = np.clip(radius - np.hypot(x - centre_x, y - centre_y), 0, 1)[..., None]
        patch[...] = patch * (1 - alpha) + (0.5 + 0.5 * _colour(rng)) * alpha
    texture: Floats = picture.astype(np.float32)
    return texture


def _blobs(height: int, width: int, cell: int, rng: np.random.Generator) -> Floats:
    """Bilinear interpolation between random values `cell` pixels apart, HW in 0..1."""
    grid = rng.uniform(0, 1, (height // cell + 2, width // cell + 2)).astype(np.float32)
    y, x = np.arange(height) / cell, np.arange(width) / cell
    top, left = y.astype(int), x.astype(int)
    down, right = (y - top).astype(np.float32)[:, None], (x - left).astype(np.float32)[None]
    upper = grid[top][:, left] * (1 - right) + grid[top][:, left + 1] * right
    lower = grid[top + 1][:, left] * (1 - right) + grid[top + 1][:, left + 1] * right
    blended: Floats = upper * (1 - down) + lower * down
    return blended


def _colour(rng: np.random.Generator) -> Floats:
    return rng.uniform(0, 1, 3).astype(np.float32)


def _contrast(background: Floats, rng: np.random.Generator) -> Floats:
    """A colour that a person can tell from the background."""
    while True:
        colour = _colour(rng)
        if np.linalg.norm(colour - background) > 0.5:
            return colour


def _parts(rng: np.random.Generator) -> Floats:
    """An L, T, F or bar of random proportions, mirrored or not: it looks different at every angle."""
    thick = rng.uniform(0.16, 0.26)
    stem = (0.0, 0.0, thick, 1.0)
    at = rng.uniform(-0.2, 1 - thick)
    arm = (0.45, at, 0.45, thick)
    shapes = {
        "L": [stem, (0.45, 1 - thick, 0.45, thick)],
        "T": [stem, (0.0, 1 - thick, 0.8, thick)],
        "F": [stem, (0.45, 1 - thick, 0.45, thick), arm],
        "bar": [(0.0, 0.0, thick * 1.4, 1.0)],
    }
    chosen = np.array(shapes[str(rng.choice(sorted(shapes)))], np.float32)
    if rng.random() < 0.5:
        chosen[:, 0] *= -1
    return chosen


def _window(scene: Scene, number: int) -> Floats:
    """What the camera sees of the texture in frame `number`, HWC, between whole pixels by bilinear interpolation."""
    room_y, room_x = scene.texture_HWC.shape[0] - HEIGHT, scene.texture_HWC.shape[1] - WIDTH
    moved = (scene.pan[0] * number, scene.pan[1] * number)
    left = moved[0] + (room_x - 1 if scene.pan[0] < 0 else 0)
    top = moved[1] + (room_y - 1 if scene.pan[1] < 0 else 0)
    column, row = int(left), int(top)
    right, down = np.float32(left - column), np.float32(top - row)
    view = scene.texture_HWC[row : row + HEIGHT + 1, column : column + WIDTH + 1]
    if scene.pan[0]:
        view = view[:, :-1] * (1 - right) + view[:, 1:] * right
    else:
        view = view[:-1] * (1 - down) + view[1:] * down
    return view


def _shape(x: Floats, y: Floats, scene: Scene, angle: float) -> Floats:
    """How much of each pixel the turned shape covers, HW in 0..1, with soft edges one pixel wide."""
    u, v = x - np.float32(scene.centre[0]), y - np.float32(scene.centre[1])
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    across, along = u * cosine + v * sine, v * cosine - u * sine
    covered = np.zeros_like(x)
    for centre_x, centre_y, half_width, half_height in scene.parts * np.float32(scene.size):
        outside = np.maximum(np.abs(across - centre_x) - half_width, np.abs(along - centre_y) - half_height)
        covered = np.maximum(covered, np.clip(0.5 - outside, 0, 1))
    return covered


def _rows(raw: Path, splits: Sequence[str]) -> Iterator[VideoRow]:
    lines = (raw / "annotation.csv").read_text(encoding="utf-8").splitlines()[1:]
    for line in lines:
        path, label, split = line.split(",")
        if split in splits:
            yield VideoRow(id=Path(path).stem, path=path, labels=(CLASSES.index(label),), splits=(split,))


def _no_sources(_splits: Sequence[str]) -> list[Source]:
    return []


def _no_clip(_member: str) -> str | None:
    return None


RECIPE = DatasetRecipe(
    title="vtk's demonstration set",
    classes=lambda: CLASSES,
    label_order="as listed",
    splits=tuple(SPLITS),
    test_split="test",
    sources=_no_sources,
    rows=_rows,
    clip_path=_no_clip,
    generate=generate,
    flip=False,
    licence="CC0-1.0",
    videos=sum(SPLITS.values()),
    size_gb=0.02,
    notes=(
        "Mirroring a clip changes its class, so training does not flip.",
        "Made on this machine, not fetched; the same seed gives the same clips.",
    ),
)
