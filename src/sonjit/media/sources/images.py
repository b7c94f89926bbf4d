"""Read and write image files: Pillow decodes them to RGB, and OpenCV encodes them.

The content of a file decides its format, not its name. Decoders fill missing parts of an image with grey or garbage, so
files that are cut or damaged are refused.
"""

import logging
import math
import os
import re
import threading
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib import import_module
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sonjit._util import Image, InputError, JobError, SonjitError, check_memory, optional_import
from sonjit._util.lazy_names import LazyModule
from sonjit.media.sources.geometry import HDR, Geometry, tone_curve
from sonjit.media.sources.headers import (
    SNIFF_BYTES,
    WITH_END,
    image_end,
    image_format,
    is_motion_jpeg,
    is_text,
    pnm_maximum,
)
from sonjit.media.sources.levels import Levels, stretch_note, used_levels
from sonjit.media.sources.remote import File

if TYPE_CHECKING:
    import cv2
    from PIL.Image import Image as Pixels
    from PIL.ImageCms import ImageCmsTransform
    from PIL.ImageFile import ImageFile
else:
    cv2 = LazyModule("cv2")

IMAGE_ENDINGS = (
    *(".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif"),
    *(".jfif", ".jpe", ".mpo", ".jp2", ".pgm", ".ppm"),
)
"""File name endings of images in a folder, in lower case."""
_READERS: Final = {
    "jpeg": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "png": ("PIL.PngImagePlugin", "PngImageFile"),
    "webp": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "bmp": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "tiff": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "gif": ("PIL.GifImagePlugin", "GifImageFile"),
    "avif": ("PIL.AvifImagePlugin", "AvifImageFile"),
    "jpeg2000": ("PIL.Jpeg2KImagePlugin", "Jpeg2KImageFile"),
    "pnm": ("PIL.PpmImagePlugin", "PpmImageFile"),
    "heic": ("pillow_heif", "HeifImageFile"),
}
"""Module and class of Pillow that reads each format. `PIL.Image.open` would try further formats, and limit the size."""
_MAX_PIXELS: Final = 1 << 30
_ORIENTATION: Final = 274  # tag of EXIF and TIFF
_BITS: Final = 258  # tags of TIFF: bits per channel
_COLOURS: Final = 262  # what the values mean; 0: white is 0
_LOWEST, _HIGHEST = 280, 281  # smallest and largest value that the image uses
_IS_SMALLER: Final = 254  # the image is a preview of another one
_FURTHER_IMAGES: Final = 330  # further directories
_TIFF_START: Final = re.compile(rb"II[*+]\0|MM\0[*+]")  # either byte order, TIFF or BigTIFF
_CODES: Final = re.compile(rb"cICP(.)(.)|colrnclx\0(.)\0(.)", re.DOTALL)  # primaries and transfer function
_CODES_BYTES: Final = 1 << 16  # of a file in which these are searched
_WIDE: Final = (9, 11, 12)  # numbers of primaries: BT.2020 and P3
_SRGB: Final = (0.45455, 0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)  # gamma and primaries, as in a PNG
_MORE_IMAGES: Final = "only the first image of the file is read"
_MAX_PROFILES: Final = 8  # number of profiles whose transformation is kept
_STRIP_PIXELS: Final = 1 << 16  # number of pixels that are converted at a time
_MAX_FILES: Final = 16  # number of files of a source by which the range of all is known
_lock = threading.Lock()
_quiet_threads = 0
_level_before = 0
_has_warned = False
_LOG: Final = logging.getLogger("sonjit")
ImageLike: TypeAlias = "NDArray[Any] | str | os.PathLike[str] | bytes | bytearray | memoryview | PilImage"
Size: TypeAlias = tuple[int, int]  # width and height in pixels
_UINT8: Final = np.dtype(np.uint8)
_QUALITY: Final = 95  # JPEG and WebP, 0 to 100


def read_bytes(path: File) -> bytes:
    """Return the content of a file."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder: name one image, or open it with open_source") from None
    except InputError:
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path} cannot be read: {reason}") from None


class _Still(NamedTuple):
    """An image whose header is read."""

    name: str  # for messages
    image: "ImageFile"
    kind: str  # format, by the name of `image_format`


def load_image(
    path: File, *, upright: bool = True, notes: list[str] | None = None, levels: Levels | None = None
) -> Image:
    """Return an image file as (H, W, 3) uint8 RGB, see `decode_image`."""
    return decode_image(read_bytes(path), str(path), upright=upright, notes=notes, levels=levels)


def decode_image(
    data: bytes, name: str, *, upright: bool = True, notes: list[str] | None = None, levels: Levels | None = None
) -> Image:
    """Return an encoded image as (H, W, 3) uint8 RGB in the colours of sRGB, without alpha.

    Values of more than 8 bits are scaled by the range that the file states. If it states none besides 16 bits, `levels`
    are used, or 256 values become one. An image whose values then have fewer than 64 levels is stretched. HEIC images
    are always upright. `notes` receives lines about what was changed or left out. Damaged data are an InputError, and
    HEIC without pillow-heif a MissingExtraError.
    """
    from PIL.Image import fromarray

    with _opened(data, name) as still:
        image, lines, geometry = still.image, list[str](), _geometry(still)
        transfer = _codes(still, data)[1]
        deep = _deep_values(still, data)
        if transfer in HDR:
            values = deep[0] if deep else _rgb_of(image)
            rgb = _tone_mapped(np.repeat(values[..., None], 3, axis=2) if values.ndim == 2 else values, transfer)
            lines.append("HDR image, tone-mapped to standard range")
        else:
            pixels = image
            if deep is not None:
                pixels = fromarray(_in_eight_bits(*deep, levels, lines))
            rgb = _rgb_of(pixels, _to_srgb(_profile(still, data), pixels.mode, lines))
        if notes is not None:
            lines += _not_read(still, data, geometry)
            notes += [f"{name}: {line}" for line in lines]
        if still.kind == "tiff" and (deep is None or deep[0].ndim == 2):  # Pillow has turned it
            return rgb if upright else geometry.inverse().apply(rgb)
        return geometry.apply(rgb) if upright else rgb


def decode_channels(data: bytes, name: str) -> NDArray[Any]:
    """Return an image with its own channels and depth: (H, W), (H, W, 3) RGB or (H, W, 4) RGBA."""
    with _opened(data, name) as still:
        image, deep = still.image, _deep_values(still, data)
        if deep is not None:
            return deep[0]
        if image.mode in ("1", "L"):
            return np.array(image.convert("L"))
        return np.array(image.convert("RGBA" if image.has_transparency_data else "RGB"))


def _deep_of(data: bytes, name: str) -> NDArray[np.uint16] | None:
    """Return the values of an image of which only 16 bits are known, for `used_levels`; None for other images."""
    with _opened(data, name) as still:
        deep = _deep_values(still, data)
        return None if deep is None or deep[1] is not None else deep[0]


def common_levels(files: Sequence[File]) -> Levels | None:
    """Return the levels of all images of a source, from some of them; None if its first image has only 8 bits."""
    first = _deep_file(files[0])
    if first is None:
        return None
    others = (_deep_file(file) for file in files[:: 1 + len(files) // _MAX_FILES])
    return used_levels(values for values in chain([first], others) if values is not None) or Levels()


def _deep_file(file: File) -> NDArray[np.uint16] | None:
    """Return the values of an image file of which only 16 bits are known; None for other files."""
    with suppress(InputError):
        return _deep_of(read_bytes(file), str(file))
    return None


def image_size(file: bytes | BinaryIO) -> Size | None:
    """Return the width and height of an image as stored, from its header only; None if it states none."""
    with suppress(InputError), _opened(file, "the image", math.inf) as still:
        width, height = still.image.size
        is_turned = still.kind == "tiff" and _geometry(still).transposed  # Pillow turns TIFF images
        return (height, width) if is_turned else (width, height)
    return None


def still_geometry(file: bytes | BinaryIO, name: str = "the image") -> Geometry:
    """Return the transformation from the stored to the shown image that the header of a file states."""
    with _opened(file, name) as still:
        return _geometry(still)


@contextmanager
def _opened(file: bytes | BinaryIO, name: str, max_pixels: float = _MAX_PIXELS) -> "Generator[_Still]":
    """Yield an image whose header is read, and its format. Errors of its decoder become an InputError."""
    opened = BytesIO(file) if isinstance(file, bytes) else file
    opened.seek(0)
    kind = _checked_format(opened.read(SNIFF_BYTES), name)
    opened.seek(0)
    module, reader = _READERS[kind]
    with optional_import("HEIC images"):
        open_file = getattr(import_module(module), reader)
    try:
        with _without_warnings():
            image: ImageFile = open_file(opened)
        with image:
            if math.prod(image.size) > max_pixels:
                size = f"{image.width} x {image.height} pixels are more than 2^30"
                raise InputError(f"{name} cannot be decoded: {size}; make it smaller")
            yield _Still(name, image, kind)
    except SonjitError:
        raise
    except MemoryError:
        raise InputError(f"{name} cannot be decoded: out of memory; make it smaller or export it again") from None
    except Exception as error:  # a decoder raises whatever a damaged file causes
        raise InputError(f"{name}: {_problem(opened, kind, str(error))}") from None


def _problem(opened: BinaryIO, kind: str, reason: str) -> str:
    """Return what is wrong with a file for which a decoder gave a reason."""
    opened.seek(0)
    data = opened.read()
    if "trunc" in reason.lower() or (kind in WITH_END and not 0 < image_end(data, kind) <= len(data)):
        return "the image is cut short; copy or export it again"
    if kind == "tiff":
        with quiet_opencv():
            stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if stored is not None and str(stored.dtype) not in ("uint8", "uint16"):  # pyright: ignore[reportUnnecessaryComparison]
            return f"{stored.dtype} image: scale it to 8 or 16 bits yourself, such as 0 to 255"
    reason = f" ({reason.splitlines()[0].strip()})" if reason.strip() else ""
    return f"the {kind} image is damaged, or of a kind that cannot be decoded{reason}: copy or export it again"


def _checked_format(head: bytes, name: str) -> str:
    """Return the format of a file from its first bytes, or raise InputError if it is no image."""
    if not head:
        raise InputError(f"{name} is empty (0 bytes): copy or export it again")
    file_format = image_format(head)
    if re.match(rb"#\?R|P[Ff]\s", head):  # Radiance and PFM
        raise InputError(f"{name}: float32 image: scale it to 8 or 16 bits yourself, such as 0 to 255")
    if file_format is None and is_text(head):
        raise InputError(f"{name} contains text, not an image. Use a JPEG, PNG, WebP, BMP, TIFF or HEIC file")
    if file_format is None:
        from sonjit.media.sources.video import VIDEO_ENDINGS

        is_video = Path(name).suffix.lower() in VIDEO_ENDINGS
        hint = ". sonjit.track and sonjit.open_source read videos" if is_video else ""
        raise InputError(f"{name} is not an image: name a JPEG, PNG, WebP, BMP, TIFF or HEIC file{hint}")
    return file_format


@contextmanager
def _without_warnings() -> Generator[None]:
    """Silence Pillow's warnings about metadata. Only one thread at a time may replace the filters of warnings."""
    with _lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _geometry(still: _Still) -> Geometry:
    """Return the transformation from the stored to the shown image, by EXIF data. Decoders turn HEIC images."""
    from PIL.Image import Exif

    image, orientation = still.image, 1
    if still.kind == "png" and "exif" not in image.info:
        image.load()  # a PNG may state it after the pixels
    with _without_warnings(), suppress(Exception):  # damaged EXIF data state nothing
        exif = image.getexif() if still.kind == "tiff" else Exif()
        if still.kind not in ("tiff", "heic"):
            exif.load(image.info.get("exif", b""))
        orientation = int(exif.get(_ORIENTATION, 1))
    return Geometry.of_orientation(orientation)


def _codes(still: _Still, data: bytes) -> tuple[int, int]:
    """Return the numbers of the primaries and the transfer function (ITU-T H.273) that a file states, or 0."""
    if still.kind == "heic":
        stated = still.image.info.get("nclx_profile") or {}
        return int(stated.get("color_primaries", 0)), int(stated.get("transfer_characteristics", 0))
    if still.kind == "png" or (still.kind == "avif" and not still.image.info.get("icc_profile")):
        codes = {tuple(b"".join(filter(None, match.groups()))) for match in _CODES.finditer(data[:_CODES_BYTES])}
        if len(codes) == 1:  # several are those of an image and of its gain map
            primaries, transfer = codes.pop()
            return primaries, transfer
    return 0, 0


def _deep_values(still: _Still, data: bytes) -> tuple[NDArray[np.uint16], Levels | None] | None:
    """Return the 16-bit values (H, W) or (H, W, 3) of an image and the levels that it states; None for 8 bits."""
    image, kind = still.image, still.kind
    if kind == "pnm" and image.mode == "I":  # scaled to 16 bits
        return np.asarray(image).astype(np.uint16), None if pnm_maximum(data) == 65535 else Levels()
    if image.mode in ("I", "F"):
        dtype = np.asarray(image).dtype
        raise InputError(f"{still.name}: {dtype} image: scale it to 8 or 16 bits yourself, such as 0 to 255")
    stated = _stated_levels(still, data)
    if image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.uint16)
        if kind == "jpeg2000" and stated is not None:
            stated = Levels()  # scaled to 16 bits
        if kind == "tiff" and _tag(still, _COLOURS) == 0:
            values = 65535 - values
            stated = stated and Levels(65535 - stated.white, 65535 - stated.black)
        return values, stated
    if image.mode in ("RGB", "RGBA", "RGBX") and _bits(still, data) > 8:
        image.load()  # refuses a damaged file
        with quiet_opencv():  # Pillow keeps 8 bits of colours
            stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if stored is not None and stored.ndim == 3:  # pyright: ignore[reportUnnecessaryComparison]
            return np.asarray(stored[..., 2::-1], np.uint16), stated
    return None


def _bits(still: _Still, data: bytes) -> int:
    """Return the bits per channel that the header of a PNG, TIFF or JPEG 2000 file states; 8 for other formats."""
    if still.kind == "png":
        return data[24]
    if still.kind == "jpeg2000":
        return 1 + data[data.index(b"\xff\x4f\xff\x51") + 42] % 128
    return _tag(still, _BITS, 8) if still.kind == "tiff" else 8


def _stated_levels(still: _Still, data: bytes) -> Levels | None:
    """Return the levels that a file states: the smallest and largest value of a TIFF, or fewer than 16 bits."""
    high = _tag(still, _HIGHEST, 65535)
    low = _tag(still, _LOWEST, 0) if high < 65535 else 0
    if 0 <= low < high < 65535:
        return Levels(int(low), int(high))
    bits = _bits(still, data)
    return Levels(0, (1 << bits) - 1) if bits < 16 else None


def _tag(still: _Still, tag: int, default: int = -1) -> int:
    """Return the number, or the first one, of a tag of a TIFF file."""
    tags: Any = getattr(still.image, "tag_v2", {})
    value = tags.get(tag, default)
    return int(value[0] if isinstance(value, tuple) else value)


def _in_eight_bits(values: NDArray[np.uint16], stated: Levels | None, levels: Levels | None, lines: list[str]) -> Image:
    """Return 16-bit values as uint8 by the levels that the file states, by those of the source, or by a stretch."""
    if stated is None and levels is None:
        stated = used_levels([values])
        if stated is not None:
            lines.append(stretch_note(stated))
    return (stated or levels or Levels()).eight_bits(values)


def _tone_mapped(image: NDArray[Any], transfer: int) -> Image:
    """Return an HDR image (H, W, 3) of 8 or 16 bits in standard range."""
    curve = tone_curve(transfer)
    return (curve[np.arange(256) * 257] if image.dtype == np.uint8 else curve)[image]


def _profile(still: _Still, data: bytes) -> bytes:
    """Return the colour profile of an image, empty for none."""
    if still.kind == "jpeg2000" and (at := data.find(b"colr\2")) >= 0:  # Pillow does not read it
        return data[at + 7 : at - 4 + int.from_bytes(data[at - 4 : at])]
    return still.image.info.get("icc_profile") or b""


@lru_cache(maxsize=_MAX_PROFILES)
def _transformation(profile: bytes) -> tuple[str, "ImageCmsTransform | None"]:
    """Return the mode of the pixels that a colour profile describes, and its transformation to sRGB if it differs."""
    from PIL import ImageCms
    from PIL.Image import fromarray

    opened, srgb = ImageCms.ImageCmsProfile(BytesIO(profile)), ImageCms.createProfile("sRGB")
    about: Any = opened.profile
    mode = {"GRAY": "L", "CMYK": "CMYK"}.get(about.xcolor_space.strip(), "RGB")
    options = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
    transformation = ImageCms.buildTransform(opened, srgb, mode, "RGB", *options)
    levels = np.arange(0, 256, 17, dtype=np.uint8)
    if mode == "CMYK":
        return mode, transformation
    colours = levels[None] if mode == "L" else np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(64, 64, 3)
    probe = fromarray(colours)
    shown = np.asarray(transformation.apply(probe)).astype(int)
    is_srgb = np.abs(shown - np.asarray(probe.convert("RGB"))).max() <= 1
    return mode, None if is_srgb else transformation


def _to_srgb(profile: bytes, mode: str, lines: list[str]) -> "ImageCmsTransform | None":
    """Return the transformation of the pixels of an image to sRGB; None, and where needed a line, for none."""
    from PIL import ImageCms

    if mode == "LAB":
        return None
    pixel_space = "CMYK" if mode == "CMYK" else "L" if mode in ("1", "L", "LA") else "RGB"
    try:
        described, transformation = _transformation(profile) if profile else (pixel_space, None)
    except (OSError, ValueError, TypeError, ImageCms.PyCMSError):
        lines.append("its colour profile is damaged and is not applied")
        described, transformation = pixel_space, None
    if mode == "CMYK" and (described != pixel_space or transformation is None):
        lines.append("its CMYK colours are converted approximately, without a profile")
    elif described != pixel_space and (described, pixel_space) != ("RGB", "L"):
        names = {"L": "grey"}
        lines.append(f"its colour profile is for {names.get(described, described)} images and is not applied")
    else:
        return transformation
    return None


def _rgb_of(image: "Pixels", to_srgb: "ImageCmsTransform | None" = None) -> Image:
    """Return pixels of any mode of Pillow as RGB (H, W, 3), in strips that remain in the processor's cache."""
    image.load()
    image.info.pop("transparency", None)  # otherwise a warning of Pillow
    rows = max(1, _STRIP_PIXELS // image.width)
    if rows >= image.height:
        return np.array(_strip_of(image, to_srgb))
    rgb = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        rgb[top : top + rows] = _strip_of(strip, to_srgb)
    return rgb


def _strip_of(image: "Pixels", to_srgb: "ImageCmsTransform | None") -> Image:
    if to_srgb is not None:
        image = to_srgb.apply(image if image.mode == to_srgb.input_mode else image.convert(to_srgb.input_mode))
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _not_read(still: _Still, data: bytes, geometry: Geometry) -> Iterator[str]:
    """Yield what a file contains besides the pixels that are read as they are, a line each."""
    kind, info = still.kind, still.image.info
    if _has_more_images(still, data) or still.name.lower().endswith(".mpo"):
        yield _MORE_IMAGES
    primaries, transfer = _codes(still, data)
    if primaries in _WIDE and transfer not in HDR and not info.get("icc_profile"):
        yield "its colour profile is not sRGB and is not applied"
    if kind == "png" and not (primaries or info.get("icc_profile") or "srgb" in info):
        stated = info.get("gamma", _SRGB[0]), *info.get("chromaticity", _SRGB[1:])
        if not np.allclose(stated, _SRGB, rtol=0.05):
            yield "its gamma or primaries are not those of sRGB and are not applied"
    if kind == "avif" and b"clap" in data[:_CODES_BYTES]:
        yield "its crop is not applied"
    xmp = info.get("xmp") or info.get("XML:com.adobe.xmp") or ""
    text = xmp.decode("utf-8", "replace") if isinstance(xmp, bytes) else str(xmp)
    match = re.search(r'tiff:Orientation(?:="|>)([1-8])', text)
    if match and kind not in ("heic", "avif") and Geometry.of_orientation(int(match[1])) != geometry:
        yield "the orientation in its XMP data is not applied, as in browsers"


def _has_more_images(still: _Still, data: bytes) -> bool:
    """Check whether a file has further frames, pages or previews, or whether other images follow in the data."""
    if still.kind == "jpeg":
        return is_motion_jpeg(data)
    if still.kind == "tiff" and (_tag(still, _IS_SMALLER, 0) or _tag(still, _FURTHER_IMAGES, 0)):
        return True
    if still.kind == "tiff" and any(image_size(data[match.start() :]) for match in _TIFF_START.finditer(data, 8)):
        return True  # another file follows, as in a pipe
    end = image_end(data, still.kind)
    if end > 0 and data[end : end + 2] == data[:2]:
        return True
    try:
        return bool(getattr(still.image, "is_animated", False))
    except Exception:  # a further page that is damaged
        return True


@contextmanager
def quiet_opencv() -> Generator[None]:
    """Silence OpenCV's logger inside the block; the last thread to leave restores the caller's level."""
    global _quiet_threads, _level_before
    with _lock:
        if _quiet_threads == 0:
            _level_before = cv2.utils.logging.setLogLevel(0)  # silent
        _quiet_threads += 1
    try:
        yield
    finally:
        with _lock:
            _quiet_threads -= 1
            if _quiet_threads == 0:
                cv2.utils.logging.setLogLevel(_level_before)


class PilImage(Protocol):
    """Describe the part of a PIL image that Sonjit uses."""

    mode: str

    def convert(self, mode: str) -> "PilImage": ...

    def getbands(self) -> tuple[str, ...]: ...


def rgb_from(image: ImageLike) -> Image:
    """Return an image as a C-contiguous (H, W, 3) uint8 RGB array.

    A uint8 RGB array is returned without a copy. Grey becomes three equal channels, an alpha channel is dropped
    (colours keep their stored values), and uint16 is divided by 256. The EXIF orientation is applied to image files and
    encoded bytes, but not to PIL images.

    Args:
        image: Image as a (H, W, 3|4|1) or (H, W) uint8 or uint16 array in RGB order, a path, encoded bytes (JPEG,
            PNG, ...), or a PIL image.

    Raises:
        InputError: The array has another dtype, is empty or has its channels first, or the file is missing, truncated
            or no image.
        MissingExtraError: The image is HEIC, and pillow-heif is not installed.
    """
    if isinstance(image, np.ndarray):
        is_rgb = image.dtype == _UINT8 and image.ndim == 3 and image.shape[2] == 3 and image.size
        return image if is_rgb and image.flags.c_contiguous else _rgb_from_array(image)
    if isinstance(image, (str, os.PathLike)):
        return load_image(Path(image))
    if isinstance(image, (bytes, bytearray, memoryview)):
        return decode_image(bytes(image), f"{len(image)} bytes")
    if hasattr(image, "getbands"):  # a PIL image; Pillow itself is never imported
        is_deep = image.mode == "F" or image.mode.startswith("I")  # convert("RGB") would clip these
        return rgb_from(np.array(image if is_deep else image.convert("RGB")))
    wanted = "give a (H, W, 3) uint8 RGB array, a path, encoded bytes or a PIL image"
    if hasattr(image, "numpy"):  # a tensor of PyTorch or TensorFlow
        wanted = "convert it, such as image.cpu().numpy(), to a (H, W, 3) uint8 RGB array"
    raise InputError(f"a {type(image).__name__} is not an image: {wanted}")


def _rgb_from_array(array: NDArray[Any]) -> Image:
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:
        _warn_of_narrow(array)
        array = (array >> 8).astype(np.uint8)
    elif array.dtype != _UINT8:
        raise InputError(_dtype_problem(array))
    if array.ndim == 2:
        array = array[:, :, None]
    named = f"array of shape {array.shape}"
    if array.ndim != 3:
        advice = "one image has 2 or 3 axes, (H, W) or (H, W, 3); pass the images of a batch one by one"
        raise InputError(f"{named}: {advice}")
    height, width, channels = array.shape
    if array.size == 0:
        raise InputError(f"{named} is empty: an image needs at least one pixel")
    if channels not in (1, 3, 4):
        if height in (1, 3, 4):
            raise InputError(f"{named} looks channels-first: pass image.transpose(1, 2, 0), (H, W, 3)")
        raise InputError(f"{named} has {channels} channels ({width} wide): pass RGB, (H, W, 3)")
    if channels == 1:
        array = np.repeat(array, 3, axis=2)  # (H, W, 3)
    return np.ascontiguousarray(array[:, :, :3])


def _warn_of_narrow(array: NDArray[np.uint16]) -> None:
    """Warn once of a 16-bit array with so narrow a range that its 8 bits have few levels."""
    global _has_warned
    if not _has_warned and (used := used_levels([array])) is not None:
        _has_warned = True
        change = f"np.clip((image.astype(int) - {used.black}) * 255 // {used.white - used.black}, 0, 255)"
        _LOG.warning(
            "a uint16 array with values from %d to %d is divided by 256 and uses few of 256 levels. "
            "Scale all images with the same limits instead: %s.astype('uint8')",
            *used,
            change,
        )


def _dtype_problem(array: NDArray[Any]) -> str:
    if array.dtype.kind == "f":
        note = " with NaN" if np.isnan(array).any() else ""
        return f"{array.dtype} array{note}: scale to uint8 yourself, 0..255"
    if array.dtype.kind == "b":
        return "bool array is a mask, no image: pass uint8 RGB, (H, W, 3), 0..255"
    return f"{array.dtype} array: an image is uint8 (or uint16); convert it with .astype('uint8') if it is 0..255"


def encode_image(image: NDArray[Any], ending: str, options: Sequence[int] | None = None) -> bytes:
    """Return a grey (H, W), RGB or RGBA image as the content of an image file with an ending such as `.png`.

    Images are uint8; PNG and TIFF also accept uint16. `options` are OpenCV's flags and values. By default, JPEG and
    WebP have quality 95. A size that the format cannot store is a JobError.
    """
    quality = {".jpg": cv2.IMWRITE_JPEG_QUALITY, ".jpeg": cv2.IMWRITE_JPEG_QUALITY, ".webp": cv2.IMWRITE_WEBP_QUALITY}
    if options is None:
        options = (quality[ending], _QUALITY) if ending in quality else ()
    order = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    try:
        with quiet_opencv():
            pixels = image if image.ndim == 2 else cv2.cvtColor(image, order[image.shape[2]])
            done, data = cv2.imencode(ending, pixels, options)
    except cv2.error as error:
        check_memory(error)
        raise JobError(f"a {image.shape[1]} x {image.shape[0]} image does not fit {ending}: {error.err}") from None
    if not done:
        raise JobError(f"a {image.shape[1]} x {image.shape[0]} image does not fit {ending}: choose .png")
    return data.tobytes()
