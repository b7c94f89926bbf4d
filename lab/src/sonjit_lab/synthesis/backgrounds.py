"""Backgrounds, and effects of a camera on an image: optics, exposure, sensor and codec, in that order.

Backgrounds are procedural, or cut from the images of a folder. Effects do not change labels: a moving hand is labelled
at the middle of the exposure, and a blur spreads evenly to all sides.
"""

from dataclasses import astuple, dataclass
from functools import lru_cache
from pathlib import Path
from statistics import NormalDist
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from sonjit._util import Float32Array, FloatArray, Image, InputError, JobError
from sonjit.media import IMAGE_ENDINGS, natural_key
from sonjit.media.sources.images import load_image
from sonjit_lab.synthesis import look_up, renderer

BackgroundKind = Literal["plain", "blobs", "texture", "room", "clutter"]
_SKINS: Final = np.array([[236, 200, 178], [214, 164, 134], [176, 122, 90], [122, 80, 58], [74, 48, 38]], np.float64)
_FINE: Final = 4  # fraction bits of cv2's coordinates
Float = np.float32


def draw_background(kind: BackgroundKind, size: tuple[int, int], rng: np.random.Generator) -> Image:
    """Draw a procedural background (H, W, 3), uint8 RGB, of `size`, a width and height in pixels.

    `kind`: `plain` is a wall in uneven light, `blobs` out-of-focus shapes, `texture` cloth, stone or stripes, `room`
    walls, floor and furniture, `clutter` sharp shapes of all colours, also those of skin.
    """
    draw = {"plain": _plain, "blobs": _blobs, "texture": _texture, "room": _room, "clutter": _clutter}
    return np.ascontiguousarray(look_up("background", draw, kind)(size, rng))


class BackgroundFolder:
    """Crops of a folder's images, subfolders included."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise InputError(f"{folder} is not a folder of background images")
        paths = [path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_ENDINGS and path.is_file()]
        if not paths:
            raise InputError(f"{folder} contains no image ({', '.join(IMAGE_ENDINGS)})")
        self.files = sorted(paths, key=lambda path: natural_key(str(path)))
        self._last: tuple[Path, NDArray[np.uint8]] | None = None

    def draw(self, size: tuple[int, int], rng: np.random.Generator) -> Image:
        """Return a crop of one image, as (H, W, 3) uint8 RGB of the given `size`, possibly mirrored."""
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


@dataclass(frozen=True)
class Effects:
    """Strengths by name; 0 switches an effect off."""

    motion_px: float = 0.0  # motion of the hands and their objects while the shutter is open, pixels, 0 to 40
    motion_deg: float = 0.0  # direction of the motion in degrees, clockwise from the image's right
    backdrop_px: float = 0.0  # radius of the background's blur, pixels, 0 to 20
    defocus_px: float = 0.0  # radius of the image's blur, pixels, 0 to 8
    vignette: float = 0.0  # darkening of the corners, 0 to 1
    exposure: float = 0.0  # exposure in stops, -3 to 3
    warmth: float = 0.0  # error of the white balance, -1 (blue) to 1 (orange)
    low_light: float = 0.0  # lack of light, 0 to 1: darker, flatter, noisier
    noise: float = 0.0  # shot noise and read noise of the sensor, 0 to 1
    infrared: float = 0.0  # grey image of an infra-red camera with its own lamp, 0 or 1
    compression: float = 0.0  # strength of JPEG compression, 0 to 1

    def __post_init__(self) -> None:
        if not np.isfinite(astuple(self)).all():
            raise InputError(f"effects must be numbers: {self}")


def apply_effects(rgb: Image, buffers: renderer.Buffers, effects: Effects, rng: np.random.Generator) -> Image:
    """Return the image (H, W, 3) as a camera would record it."""
    if effects.backdrop_px > 0:
        rgb = _blur_backdrop(rgb, buffers.cover, effects.backdrop_px)
    if effects.motion_px > 1:
        rgb = _motion_blurred(rgb, buffers.cover, effects.motion_px, effects.motion_deg)
    if effects.defocus_px > 0.3:
        disc = _disc(effects.defocus_px)
        rgb = np.asarray(cv2.filter2D(rgb, -1, disc, borderType=cv2.BORDER_REFLECT), np.uint8)
    if effects.infrared > 0:
        rgb = _to_infrared(rgb, buffers)
    if effects.exposure or effects.warmth or effects.low_light > 0:
        rgb = np.asarray(cv2.LUT(rgb, _curves(effects)), np.uint8)
    if effects.vignette > 0:
        darkening = Float(0.6 * min(effects.vignette, 1.0)) * _falloff(rgb.shape[1], rgb.shape[0])
        rgb = np.asarray(rgb * (1 - darkening), np.uint8)
    strength = effects.noise + 0.8 * max(effects.low_light, 0)
    if strength > 0:
        rgb = _noisy(rgb, strength, grey=effects.infrared > 0, rng=rng)
    if effects.compression > 0:
        rgb = _compress_jpeg(rgb, effects.compression)
    return rgb


def _fill_backdrop(rgb: Image, cover: Float32Array) -> Image:
    """Return the image without its foreground: colours flow in from around, coarser ones farther."""
    clear = (cover == 0).astype(np.uint8)
    quarter = (max(rgb.shape[1] // 4, 1), max(rgb.shape[0] // 4, 1))
    visible = cv2.merge([rgb * clear[..., None], clear * np.uint8(255)])
    levels = [cv2.resize(visible, quarter, interpolation=cv2.INTER_AREA).astype(Float)]
    while min(levels[-1].shape[:2]) > 1:
        half = (max(levels[-1].shape[1] // 2, 1), max(levels[-1].shape[0] // 2, 1))
        levels.append(np.asarray(cv2.resize(levels[-1], half, interpolation=cv2.INTER_AREA), Float))
    filled = levels.pop()
    for level in reversed(levels):
        coarse = cv2.resize(filled, level.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        filled = level + (1 - level[..., 3:] / 255) * coarse
    colours = filled[..., :3] * (255 / np.maximum(filled[..., 3:], 1))
    fill = cv2.resize(np.clip(colours, 0, 255).astype(np.uint8), rgb.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.where(clear[..., None] > 0, rgb, fill)


def _blur_backdrop(rgb: Image, cover: Float32Array, radius: float) -> Image:
    """Return the background, blurred without the colours of the foreground."""
    width = 2 * round(0.75 * radius) + 1
    behind = cv2.blur(cv2.blur(_fill_backdrop(rgb, cover), (width, width)), (width, width))
    share = cover[..., None]
    return np.asarray(behind * (1 - share) + rgb * share + Float(0.5), np.uint8)


def _motion_blurred(rgb: Image, cover: Float32Array, length: float, degrees: float) -> Image:
    """Return the foreground, smeared along a line around its position."""
    before = np.dstack([rgb, np.full_like(rgb[..., :1], 255)]) * cover[..., None]
    steps = int(np.ceil(length)) | 1
    direction = np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
    smeared = np.zeros_like(before)
    for part in (np.arange(steps) - steps // 2) * (length / steps):
        shift = np.hstack([np.eye(2), part * direction[:, None]])
        moved = cv2.warpAffine(before, shift, rgb.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
        cv2.accumulate(moved, smeared)
    smeared /= steps
    composite = smeared[..., :3] + (1 - smeared[..., 3:] / 255) * _fill_backdrop(rgb, cover)
    return np.asarray(np.minimum(composite + Float(0.5), 255), np.uint8)


def _disc(radius: float) -> Float32Array:
    """Return the kernel of an even disc, smooth at its rim."""
    half = int(np.ceil(radius))
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    kernel = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1).astype(Float)
    return np.asarray(kernel / kernel.sum(), Float)


def _to_infrared(rgb: Image, buffers: renderer.Buffers) -> Image:
    """Return a grey image: skin of every tone is bright, and the camera's lamp lights near surfaces more."""
    grey = rgb @ np.array([0.5, 0.35, 0.15], Float)
    skin = (buffers.instances > 0) & (buffers.instances < 100)
    if skin.any():
        mean = float(grey[skin].mean())
        depths = buffers.depth[buffers.depth > 0]
        nearness = np.clip((np.median(depths) / np.maximum(buffers.depth, 0.05)) ** 2, 0.2, 2.0)
        bright = np.where(skin, 150 * (grey / max(mean, 1.0)) ** 0.6, grey) * nearness
    else:
        bright = grey
    lit = bright * buffers.cover + 0.35 * grey * (1 - buffers.cover)
    return np.repeat(np.clip(lit, 0, 255).astype(np.uint8)[..., None], 3, axis=-1)


def _curves(effects: Effects) -> Image:
    """Return the new value (1, 256, 3) of each value, computed in linear light."""
    linear = (np.arange(256) / 255) ** 2.2
    dark = max(effects.low_light, 0.0)
    warm = np.array([1 + 0.25 * effects.warmth, 1.0, 1 - 0.3 * effects.warmth])
    gain = 2.0**effects.exposure * (1 - 0.82 * dark)
    value = linear[:, None] * gain * warm + 0.006 * dark  # (256, 3); stray light lifts the blacks
    return np.clip(np.minimum(value, 1) ** (1 / 2.2) * 255 + 0.5, 0, 255).astype(np.uint8)[None]


@lru_cache(maxsize=16)
def _falloff(width: int, height: int) -> Float32Array:
    """Return the squared distance (H, W, 1) from the middle, 1 in the corners."""
    x, y = np.linspace(-1, 1, width, dtype=Float), np.linspace(-1, 1, height, dtype=Float)
    return np.asarray(((x * x)[None] + (y * y)[:, None])[..., None] / 2, Float)


def _noisy(rgb: Image, strength: float, *, grey: bool, rng: np.random.Generator) -> Image:
    """Add shot noise, which grows with the root of the light, and read noise; the same in all channels of grey."""
    height, width = rgb.shape[:2]
    spread = np.sqrt(9 + 1.1 * np.arange(256)).astype(Float) * Float(strength)
    dice = np.frombuffer(rng.bytes(height * width * (1 if grey else 3)), np.uint8).reshape(height, width, -1)
    drawn = cv2.LUT(np.repeat(dice, 3, -1) if grey else dice, _normal_values())
    return np.asarray(cv2.add(rgb, cv2.multiply(cv2.LUT(rgb, spread), drawn), dtype=cv2.CV_8U), np.uint8)


@lru_cache(maxsize=1)
def _normal_values() -> Float32Array:
    """Return values (256,) of a normal distribution by random byte, which is far faster than drawing normal numbers."""
    values = np.array([NormalDist().inv_cdf((number + 0.5) / 256) for number in range(256)], Float)
    return np.asarray(values / values.std(), Float)


def _compress_jpeg(rgb: Image, strength: float) -> Image:
    quality = round(95 - 85 * min(strength, 1.0))
    _, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if decoded is None:
        raise JobError(f"OpenCV cannot read the JPEG image of quality {quality} that it wrote; reinstall it")
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)
