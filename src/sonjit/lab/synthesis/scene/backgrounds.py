"""Backgrounds: procedural, or cut from the images of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from sonjit._util.arrays import FloatArray, Image
from sonjit._util.errors import InputError
from sonjit.lab.synthesis import look_up
from sonjit.media import IMAGE_ENDINGS, natural_key
from sonjit.media.sources.decode import load_image

BackgroundKind = Literal["plain", "blobs", "texture", "room", "clutter"]
BACKGROUND_KINDS: Final[tuple[BackgroundKind, ...]] = get_args(BackgroundKind)
_SKINS: Final = np.array([[236, 200, 178], [214, 164, 134], [176, 122, 90], [122, 80, 58], [74, 48, 38]], np.float64)
_FINE: Final = 4  # fraction bits of cv2's coordinates


def draw_background(kind: BackgroundKind, size: tuple[int, int], rng: np.random.Generator) -> Image:
    """Draw a procedural background.

    Args:
        kind: `plain` is a wall in uneven light, `blobs` out-of-focus shapes, `texture` cloth, stone or stripes, `room`
            walls, floor and furniture, `clutter` sharp shapes of all colours, also those of skin.
        size: Width and height in pixels.
        rng: Generator of all random choices.

    Returns:
        Image (H, W, 3), uint8 RGB.
    """
    draw = {"plain": _plain, "blobs": _blobs, "texture": _texture, "room": _room, "clutter": _clutter}
    return np.ascontiguousarray(look_up("background", draw, kind)(size, rng))


class BackgroundFolder:
    """Crops of a folder's images, subfolders included.

    Args:
        folder: Folder of images that Sonjit reads.

    Raises:
        InputError: The folder is missing or has no images.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise InputError(f"{folder} is not a folder of background images")
        found = [path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_ENDINGS and path.is_file()]
        if not found:
            raise InputError(f"{folder} contains no image ({', '.join(IMAGE_ENDINGS)})")
        self.files = sorted(found, key=lambda path: natural_key(str(path)))
        self._last: tuple[Path, NDArray[np.uint8]] | None = None

    def draw(self, size: tuple[int, int], rng: np.random.Generator) -> Image:
        """Return a crop of one image, as (H, W, 3) uint8 RGB of the given `size`, possibly mirrored.

        Raises:
            InputError: The chosen image cannot be read.
        """
        path = self.files[int(rng.integers(len(self.files)))]
        if self._last is None or self._last[0] != path:
            self._last = path, load_image(path)
        return _piece(self._last[1], size, rng)


def _piece(rgb: Image, size: tuple[int, int], rng: np.random.Generator) -> Image:
    height, width = rgb.shape[:2]
    share = min(width / size[0], height / size[1]) * rng.uniform(0.5, 1)
    across, down = max(round(size[0] * share), 1), max(round(size[1] * share), 1)
    left, top = int(rng.integers(width - across + 1)), int(rng.integers(height - down + 1))
    part = rgb[top : top + down, left : left + across]
    if rng.random() < 0.5:
        part = part[:, ::-1]
    how = cv2.INTER_AREA if share > 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(part), size, interpolation=how), np.uint8)


def _colour(rng: np.random.Generator, low: float = 20, high: float = 235) -> FloatArray:
    """Return a random colour: seldom saturated, one in eight like skin."""
    if rng.random() < 0.125:
        return np.clip(_SKINS[rng.integers(len(_SKINS))] * rng.uniform(0.75, 1.1), 0, 255)
    grey = rng.uniform(low, high)
    return np.clip(grey + rng.normal(0, 1, 3) * rng.choice([6, 18, 45]), 0, 255)


def _plain(size: tuple[int, int], rng: np.random.Generator) -> Image:
    corners = _colour(rng) * rng.uniform(0.65, 1.15, (3, 3, 1)) + rng.normal(0, 5, (3, 3, 3))
    return np.clip(cv2.resize(corners, size, interpolation=cv2.INTER_LINEAR), 0, 255).astype(np.uint8)


def _blobs(size: tuple[int, int], rng: np.random.Generator) -> Image:
    small = (max(size[0] // 4, 8), max(size[1] // 4, 8))
    canvas = _plain(small, rng)
    _scatter(canvas, rng, int(rng.integers(15, 45)), smooth=False)
    blurred = cv2.GaussianBlur(canvas, (0, 0), max(small) * rng.uniform(0.012, 0.06))
    return np.asarray(cv2.resize(blurred, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def _texture(size: tuple[int, int], rng: np.random.Generator) -> Image:
    height = np.zeros((size[1], size[0]), np.float32)
    stretch = rng.choice([1.0, 1.0, 6.0])  # wood and cloth run one way
    for octave in range(5):
        cells = int(4 * 2**octave)
        part = rng.standard_normal((cells, max(round(cells / stretch), 2)), np.float32)
        height += cv2.resize(part, size, interpolation=cv2.INTER_LINEAR) * np.float32(0.65**octave)
    if rng.random() < 0.4:
        y, x = np.ogrid[: size[1], : size[0]]
        angle, period = rng.uniform(0, np.pi), rng.uniform(6, 60)
        wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * (2 * np.pi / period)).astype(np.float32)
        height += np.sign(wave) if rng.random() < 0.5 else wave
    levels = cv2.normalize(height, height, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    stops = np.array([_colour(rng), _colour(rng), _colour(rng)])
    table = np.stack([np.interp(np.arange(256), [0, 128, 255], stops[:, channel]) for channel in range(3)], -1)
    return table.astype(np.uint8)[levels]


def _room(size: tuple[int, int], rng: np.random.Generator) -> Image:
    width, height = size
    canvas = _plain(size, rng)
    floor = int(height * rng.uniform(0.45, 0.9))
    tilt = int(height * rng.normal(0, 0.06))
    corner = int(width * rng.uniform(-0.2, 1.2))
    ground = [[0, floor + tilt], [corner, floor - abs(tilt)], [width, floor - tilt], [width, height], [0, height]]
    _polygon(canvas, np.array(ground), _colour(rng))
    if rng.random() < 0.6:  # a window, a screen or an image on the wall
        left, top = rng.uniform(-0.1, 0.8) * width, rng.uniform(-0.1, 0.4) * height
        far = np.array([left + rng.uniform(0.1, 0.5) * width, top + rng.uniform(0.1, 0.45) * height])
        frame = np.array([[left, top], [far[0], top], far, [left, far[1]]])
        _polygon(canvas, frame, _colour(rng))
        _polygon(canvas, frame + (frame.mean(0) - frame) * 0.12, _colour(rng, 120, 255))
    for _ in range(int(rng.integers(2, 7))):  # furniture: boxes with a light and a dark side
        x, y = rng.uniform(-0.1, 1.0) * width, floor + rng.uniform(-0.05, 0.3) * height
        wide, tall, deep = rng.uniform(0.05, 0.35, 3) * [width, height, width * 0.4]
        colour = _colour(rng)
        front = np.array([[x, y - tall], [x + wide, y - tall], [x + wide, y], [x, y]])
        _polygon(canvas, front, colour)
        side = np.array([[x, y - tall], [x - deep, y - tall * 0.9], [x - deep, y - deep * 0.3], [x, y]])
        _polygon(canvas, side, colour * 0.65)
    return np.asarray(cv2.GaussianBlur(canvas, (0, 0), rng.uniform(0.4, 0.012 * max(size) + 0.6)), np.uint8)


def _clutter(size: tuple[int, int], rng: np.random.Generator) -> Image:
    canvas = _texture(size, rng) if rng.random() < 0.4 else _plain(size, rng)
    _scatter(canvas, rng, int(rng.integers(20, 70)), smooth=True)
    return canvas


def _scatter(canvas: Image, rng: np.random.Generator, count: int, *, smooth: bool) -> None:
    """Draw discs, polygons and strokes, some as long and round as fingers."""
    scale = np.array(canvas.shape[1::-1])
    for _ in range(count):
        middle, reach = rng.uniform(-0.05, 1.05, 2) * scale, rng.uniform(0.02, 0.18) * scale.max()
        colour, shape = _colour(rng), rng.random()
        if shape < 0.35:
            angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 7))))
            _polygon(canvas, middle + reach * np.stack([np.cos(angles), np.sin(angles)], -1), colour)
        elif shape < 0.65:
            axes = np.maximum(reach * rng.uniform(0.3, 1, 2), 1)
            place, half = np.round(middle * 2**_FINE).astype(int), np.round(axes * 2**_FINE).astype(int)
            line = cv2.LINE_AA if smooth else cv2.LINE_8
            turn = rng.uniform(0, 180)
            cv2.ellipse(canvas, place.tolist(), half.tolist(), turn, 0, 360, colour.tolist(), -1, line, _FINE)
        else:
            turn, thick = rng.uniform(0, 2 * np.pi), max(round(reach * rng.uniform(0.05, 0.5)), 1)
            ends = [middle, middle + 2 * reach * np.array([np.cos(turn), np.sin(turn)])]
            start, end = np.round(np.array(ends)).astype(int).tolist()
            cv2.line(canvas, start, end, colour.tolist(), thick, cv2.LINE_AA if smooth else cv2.LINE_8)


def _polygon(canvas: Image, corners: NDArray[np.floating | np.integer], colour: FloatArray) -> None:
    points = np.round(corners * 2**_FINE).astype(np.int32)
    cv2.fillPoly(canvas, [points], np.clip(colour, 0, 255).tolist(), cv2.LINE_AA, _FINE)
