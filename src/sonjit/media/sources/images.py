"""Read and write image files: decode them to RGB, and encode them.

The content of a file decides its format, not its name. Decoders fill missing parts of an image with grey or garbage, so
damage is detected before anything is decoded.
"""

import os
import re
import struct
import threading
import zlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sonjit._util import Image, InputError, JobError, check_memory, optional_import
from sonjit._util.lazy_names import LazyModule
from sonjit.media.sources import profiles
from sonjit.media.sources.geometry import HDR, Geometry, avif_colours, avif_geometry, tone_curve
from sonjit.media.sources.headers import (
    NEXT,
    PNM_MAXIMUM,
    SNIFF_BYTES,
    chunks,
    image_damage,
    image_end,
    image_format,
    is_motion_jpeg,
    is_text,
    jpeg_channels,
    jpeg_segments,
    png_head,
    scan_start,
    tiff_numbers,
)
from sonjit.media.sources.remote import File

if TYPE_CHECKING:
    import cv2
else:
    cv2 = LazyModule("cv2")

IMAGE_ENDINGS = (
    *(".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif"),
    *(".jfif", ".jpe", ".mpo", ".jp2", ".pgm", ".ppm"),
)
"""File name endings of images in a folder, in lower case."""
_APP1: Final = 0xE1  # marker of EXIF in a JPEG
_ORIENTATION: Final = 274  # EXIF tag
_IS_SMALLER: Final = 254  # tag of TIFF: the image is a preview of another one
_COLOURS: Final = 262  # tag of TIFF: colours such as Lab
_TIFF_CMYK: Final = 5  # value of that tag
_FURTHER_IMAGES: Final = 330  # tag of TIFF: further directories
_EXTRA_CHANNELS: Final = 338  # tag of TIFF: channels such as alpha
_PROFILE: Final = 34675  # tag of TIFF: ICC profile
_SEGMENT_BYTES: Final = 65519 - 36  # of the profile in the first segment of a JPEG, from its signature on
_PROFILE_BYTES: Final = 1 << 16  # of a file or a profile, in which the colours of a profile are stated
_HAS_PROFILE: Final = 32  # flag of WebP
_WIDE: Final = re.compile(rb"(?:cICP[\x09\x0b\x0c]|colrnclx\0[\x09\x0b\x0c]\0)[^\x10\x12]")  # BT.2020 or P3, not HDR
_SRGB: Final = struct.pack(">9I", 45455, 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)  # as in a PNG
_TIFF_START: Final = re.compile(rb"II[*+]\0|MM\0[*+]")  # either byte order, TIFF or BigTIFF
_MORE_IMAGES: Final = "only the first image of the file is read"
_NOT_APPLIED: Final = "its colour profile is not sRGB and is not applied"
_lock = threading.Lock()
_quiet_threads = 0
_level_before = 0
ImageLike: TypeAlias = "NDArray[Any] | str | os.PathLike[str] | bytes | bytearray | memoryview | PilImage"
_UINT8: Final = np.dtype(np.uint8)
_QUALITY: Final = 95  # JPEG and WebP, 0 to 100


def _has_second_tiff(data: bytes) -> bool:
    """Check whether another TIFF file follows in the data, such as of a pipe."""
    for found in _TIFF_START.finditer(data, 8):
        order, is_big = "<" if found[0][:1] == b"I" else ">", b"+" in found[0]
        address, number = ("Q", "Q") if is_big else ("I", "H")
        with suppress(struct.error, OverflowError):
            (start,) = struct.unpack_from(order + address, data, found.start() + (8 if is_big else 4))
            count, first, kind = struct.unpack_from(order + number + "HH", data, found.start() + start)
            if 0 < count < 200 and 254 <= first <= 256 and kind in (3, 4):  # its first tag is the kind or the width
                return True
    return False


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


def load_image(path: File, *, upright: bool = True, notes: list[str] | None = None) -> Image:
    """Return an image file as (H, W, 3) uint8 RGB, see `decode_image`."""
    return decode_image(read_bytes(path), str(path), upright=upright, notes=notes)


def decode_image(data: bytes, name: str, *, upright: bool = True, notes: list[str] | None = None) -> Image:
    """Return an encoded image as (H, W, 3) uint8 RGB; drop alpha, and keep the upper 8 of 16 bits.

    16-bit files whose values need only 10 or 12 bits are scaled by that range. HEIC images are always upright. `notes`
    receives lines about what was changed or left out. Damaged data are an InputError, and HEIC without pillow-heif a
    MissingExtraError.
    """
    found = _checked_format(data, name)
    bits, transfer = _colours(data, found)
    profile = b"" if transfer in HDR else _other_profile(data, found)
    if notes is not None:
        notes += [f"{name}: {line}" for line in _not_read(data, found, name)]
    if notes is not None and transfer in HDR:
        notes.append(f"{name}: HDR image, tone-mapped to standard range")
    if found == "heic":
        return _decode_heic(data, name, transfer, notes)
    shown = still_geometry(data, found) if upright != (found == "tiff") else Geometry()  # OpenCV turns a TIFF image
    if found == "jpeg":  # of other formats, OpenCV exchanges red and blue of AVIF with alpha
        flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        rgb = np.asarray(_decode_opencv(data, name, found, flags), np.uint8)
        return shown.apply(_in_srgb(rgb, profile, name, notes) if profile else rgb)
    # A file may have more than 8 bits per channel.
    is_deep = data[24:25] == b"\x10" if found == "png" else found in ("tiff", "pnm", "jpeg2000", "avif")
    depth = cv2.IMREAD_ANYDEPTH if is_deep else 0
    encoded, order = data, "<" if data[:2] == b"II" else ">"
    if found == "tiff":  # otherwise OpenCV multiplies the colours by a transparency of kind 2
        stated, other = (struct.pack(order + "HHIH", _EXTRA_CHANNELS, 3, 1, kind) for kind in (2, 0))
        encoded = data.replace(stated, other, 1)
    stored = _decode_opencv(encoded, name, found, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION | depth)
    if found == "tiff" and stored.dtype == np.uint16 and tiff_numbers(data, _COLOURS) == [0]:  # white is 0
        stored = 65535 - stored
    if transfer in HDR:
        bgr = tone_mapped(stored, transfer, 16 if found == "png" else bits)  # a PNG uses the upper bits
    else:
        bgr = _in_eight_bits(stored, bits, found, name, notes)
    rgb = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
    rgb = _in_srgb(rgb, profile, name, notes) if profile else rgb
    return (shown.inverse() if found == "tiff" else shown).apply(rgb)


def still_geometry(data: bytes, image_format: str | None) -> Geometry:
    """Return the transformation from the stored to the shown image that a file states: EXIF, `irot`, `imir`, `clap`."""
    if image_format in ("avif", "heic"):
        return avif_geometry(data)
    start = 0 if image_format == "tiff" else len(data)
    if image_format == "jpeg":
        segments = (at + 8 for kind, at in jpeg_segments(data) if kind == _APP1 and data[at + 2 : at + 6] == b"Exif")
        start = next(segments, start)
    elif image_format in ("png", "webp"):
        parts = (at for kind, at, _ in chunks(data, image_format) if kind in (b"eXIf", b"EXIF"))
        start = next(parts, start)
        start += 6 * (data[start : start + 6] == b"Exif\0\0")
    return Geometry.of_orientation(*tiff_numbers(data[start:], _ORIENTATION))


def _colours(data: bytes, image_format: str | None) -> tuple[int, int]:
    """Return the bits per channel that a header states, or 16, and the number of the transfer function, or 0."""
    if image_format in ("avif", "heic"):
        return avif_colours(data)
    if image_format == "jpeg2000" and (at := data.find(b"\xff\x4f\xff\x51")) >= 0:
        return 1 + (data[at + 42 : at + 43] or b"\x0f")[0] % 128, 0
    if image_format == "pnm" and (found := PNM_MAXIMUM.match(data[:4096])):
        return int(found[1]).bit_length(), 0
    if image_format == "png":
        head = png_head(data)
        return (head.get(b"sBIT") or b"\x10")[0], int.from_bytes(head.get(b"cICP", b"")[1:2])
    return 16, 0


def _has_more_images(data: bytes, image_format: str | None) -> bool:
    """Check whether a file has further frames or pages."""
    if image_format == "webp" and data[12:16] == b"VP8X" and data[20] & 2:
        return True
    if image_format in ("avif", "heic"):
        return not {b"avis", b"hevc", b"msf1"}.isdisjoint(data[at : at + 4] for at in range(8, data[3], 4))
    if image_format == "tiff":
        return any(tiff_numbers(data, _IS_SMALLER, _FURTHER_IMAGES, NEXT)) or _has_second_tiff(data)
    if image_format == "jpeg":
        return is_motion_jpeg(data)
    end = image_end(data, image_format)
    return (end > 0 and data[end : end + 2] == data[:2]) or (image_format == "png" and b"acTL" in png_head(data))


def _not_read(data: bytes, image_format: str | None, name: str) -> Iterator[str]:
    """Yield what a file contains besides the pixels that are read as they are, a line each."""
    if _has_more_images(data, image_format) or name.lower().endswith(".mpo"):
        yield _MORE_IMAGES
    parts = png_head(data) if image_format == "png" else {}
    if image_format in ("png", "heic", "avif") and _WIDE.search(data[: 1 << 16]) and not _profile(data, image_format):
        yield _NOT_APPLIED
    if parts and parts.keys().isdisjoint((b"iCCP", b"sRGB", b"cICP")):
        stated = parts.get(b"gAMA", _SRGB[:4]) + parts.get(b"cHRM", _SRGB[4:])
        if len(stated) == len(_SRGB) and not np.allclose(
            *(np.frombuffer(v, ">u4") for v in (stated, _SRGB)), rtol=0.05
        ):
            yield "its gamma or primaries are not those of sRGB and are not applied"
    colours = tiff_numbers(data, _COLOURS)[0] if image_format == "tiff" else 0
    if colours in (8, 9, 10):
        yield "its Lab colours are converted approximately"
    if colours == _TIFF_CMYK or (image_format == "jpeg" and jpeg_channels(data) == 4):
        yield "its CMYK colours are converted approximately, without a profile"
    head = data[: scan_start(data)] if image_format == "jpeg" else data
    found = re.search(rb'tiff:Orientation(?:="|>)([1-8])', head) if image_format not in ("heic", "avif") else None
    if found and Geometry.of_orientation(int(found[1])) != still_geometry(data, image_format):
        yield "the orientation in its XMP data is not applied, as in browsers"


def _profile(data: bytes, image_format: str | None) -> bytes:
    """Return the beginning of the ICC profile of an image, at least its header; empty if it has none."""
    head = b""
    if image_format == "jpeg":
        start = (head := data[: scan_start(data)]).find(b"acsp")
        head = head[: start + _SEGMENT_BYTES] if start >= 0 else b""
    elif image_format == "png":
        packed = png_head(data).get(b"iCCP", b"").partition(b"\0")[2][1:]
        with suppress(zlib.error):
            head = zlib.decompressobj().decompress(packed, _PROFILE_BYTES)
    elif image_format == "tiff":
        (start,) = tiff_numbers(data, _PROFILE)
        head = data[start : start + _PROFILE_BYTES]
    elif image_format == "webp":
        head = data[:_PROFILE_BYTES] if data[12:16] == b"VP8X" and data[20] & _HAS_PROFILE else b""
    elif image_format in ("avif", "heic", "jpeg2000"):
        head = data[:_PROFILE_BYTES]
    start = head.find(b"acsp") - 36
    profile = head[start:] if start >= 0 else b""
    return profile if profile[12:16] in (b"mntr", b"scnr", b"prtr", b"spac") else b""


def _other_profile(data: bytes, image_format: str | None) -> bytes:
    """Return the beginning of a profile other than sRGB's, whose colours have to be converted, or nothing."""
    profile = b"" if image_format == "heic" else _profile(data, image_format)
    is_decoded = profile[16:20] == b"CMYK"  # OpenCV converts these colours, which have a note of their own
    return b"" if is_decoded or profiles.is_srgb(profile) else profile


def _in_srgb(rgb: Image, profile: bytes, name: str, notes: list[str] | None) -> Image:
    """Return an image (H, W, 3) with a profile in the colours of sRGB, or as it is with a note."""
    converted = profiles.in_srgb(rgb, profile)
    if converted is None and notes is not None:
        notes.append(f"{name}: {_NOT_APPLIED}")
    return rgb if converted is None else converted


def tone_mapped(image: NDArray[Any], transfer: int, bits: int) -> Image:
    """Return an HDR image (H, W, 3) of 8 bits, or of some bits in 16, in standard range."""
    if image.dtype == np.uint8:
        bits = 8
    elif not 8 <= bits <= 16:  # a file may state anything
        bits = 16
    curve = tone_curve(transfer)[np.arange(1 << bits) * 65535 // ((1 << bits) - 1)]
    return curve[np.minimum(image, (1 << bits) - 1)]


def _in_eight_bits(
    image: NDArray[Any], stated: int, image_format: str | None, name: str, notes: list[str] | None
) -> Image:
    """Return an image as uint8. The significant bits of 16-bit values are those that the file or their range states."""
    if image.dtype == np.uint8:
        return np.asarray(image, np.uint8)
    if image.dtype != np.uint16:
        raise InputError(f"{name}: {image.dtype} image: scale it to 8 or 16 bits yourself, such as 0 to 255")
    largest = int(image.max())
    bits = next(n for n in (8, 10, 12, 16) if largest < 1 << n) if largest else 16
    is_stated = stated < 16 and largest < 1 << stated  # a PNG may use the upper bits, as its specification demands
    bits = max(8, stated) if is_stated else bits
    if bits < 16 and notes is not None and (image_format == "png" or not is_stated):
        notes.append(f"{name}: 16-bit file with values up to {largest}. They are taken as {bits}-bit values")
    return (image >> (bits - 8)).astype(np.uint8)


def decode_channels(data: bytes, name: str) -> NDArray[Any]:
    """Return an image with its own channels and depth: (H, W), (H, W, 3) RGB or (H, W, 4) RGBA."""
    image = _decode_opencv(data, name, _checked_format(data, name), cv2.IMREAD_UNCHANGED)
    if image.ndim == 2:
        return image
    return cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA if image.shape[2] == 4 else cv2.COLOR_BGR2RGB)


def _checked_format(data: bytes, name: str) -> str | None:
    if not data:
        raise InputError(f"{name} is empty (0 bytes): copy or export it again")
    found = image_format(data[:SNIFF_BYTES])
    if found is None and is_text(data[:SNIFF_BYTES]):
        raise InputError(f"{name} contains text, not an image. Use a JPEG, PNG, WebP, BMP, TIFF or HEIC file")
    if re.match(rb"#\?R|P[Ff]\s", data):  # Radiance and PFM
        raise InputError(f"{name}: float32 image: scale it to 8 or 16 bits yourself, such as 0 to 255")
    if damage := image_damage(data, found):
        raise InputError(f"{name}: {damage}; copy or export it again")
    return found


def _decode_opencv(data: bytes, name: str, image_format: str | None, flags: int) -> NDArray[Any]:
    try:
        with quiet_opencv():
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except (cv2.error, MemoryError) as error:
        reason = getattr(error, "err", "") or "out of memory"
        raise InputError(f"{name} cannot be decoded: {reason}; make it smaller or export it again") from None
    if image is None and image_format == "tiff":  # pyright: ignore[reportUnnecessaryComparison]  # no image
        with quiet_opencv():
            stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if stored is not None and str(stored.dtype) not in ("uint8", "uint16"):  # pyright: ignore[reportUnnecessaryComparison]
            raise InputError(f"{name}: {stored.dtype} image: scale it to 8 or 16 bits yourself, such as 0 to 255")
    if image is None:  # pyright: ignore[reportUnnecessaryComparison]
        if image_format is None:
            raise InputError(f"{name} is not an image: name a JPEG, PNG, WebP, BMP, TIFF or HEIC file")
        problem = "is damaged, or of a kind that cannot be decoded: copy or export it again"
        raise InputError(f"{name}: the {image_format} image {problem}")
    return image


def _decode_heic(data: bytes, name: str, transfer: int, notes: list[str] | None) -> Image:
    with optional_import("HEIC images"):
        import pillow_heif
    try:
        if transfer in HDR:
            deep = np.asarray(pillow_heif.open_heif(BytesIO(data), convert_hdr_to_8bit=False))
            return np.ascontiguousarray(tone_mapped(deep[..., :3], transfer, 16))
        found = pillow_heif.read_heif(BytesIO(data))
        if notes is not None and len(found) > 1:
            notes.append(f"{name}: {_MORE_IMAGES}")
        rgb = np.array(found.to_pillow().convert("RGB"), np.uint8)
        profile = found.info.get("icc_profile")
        if not isinstance(profile, bytes) or b"acsp" not in profile or profiles.is_srgb(profile):
            return rgb
        return _in_srgb(rgb, profile, name, notes)
    except (ValueError, OSError, EOFError, SyntaxError, RuntimeError, MemoryError) as error:
        raise InputError(f"{name} is a damaged HEIC image: {str(error).strip()}; copy or export it again") from None


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
