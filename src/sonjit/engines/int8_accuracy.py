"""Accuracy and speed of int8 networks, stored in `NAME.int8.json`, and whether to use such a network."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sonjit._util.data_files import read_json, write_json
from sonjit._util.errors import InputError
from sonjit.engines.processor import processor_flags, processor_name

if TYPE_CHECKING:
    from sonjit.engines import Precision

MAX_SHIFT_PX: Final = 0.3
"""Maximum mean shift of keypoints at which `precision="auto"` uses an int8 network."""

_DOT_PRODUCTS: Final = {"avx_vnni", "avx512_vnni", "asimddp"}
"""Names in Linux of the instruction sets that multiply and sum int8 without saturation."""


@dataclass(frozen=True)
class Int8Accuracy:
    """Accuracy of an int8 network, measured on images that were not used for calibration.

    Attributes:
        source: Hash sha256 of the original network.
        processor: Processor on which the network was quantized and measured.
        images: Number of images of the measurement.
        layers: Number of convolutions and matrix products.
        f32: Number of these layers that stay in f32.
        shift_px: Mean distance of the keypoints to those in f32, in pixels of the network's input.
        shift_p95_px: Distance that 95 % of the images do not exceed.
        presence: Maximum change of the presence.
        f32_ms, int8_ms: Processor time of one image on one thread.
        bytes: Size of the weight file.
    """

    source: str
    processor: str
    images: int
    layers: int
    f32: int
    shift_px: float
    shift_p95_px: float
    presence: float
    f32_ms: float
    int8_ms: float
    bytes: int


def int8_path(path: Path) -> Path:
    """Return the path of the int8 form of a network."""
    return path.with_name(f"{path.stem}.int8.xml")


def save_accuracy(path: Path, accuracy: Int8Accuracy) -> None:
    """Write the accuracy of the int8 form of a network."""
    write_json(int8_path(path).with_suffix(".json"), asdict(accuracy), indent=2)


def find_int8(path: Path) -> Path:
    """Return the path of the int8 form of a network.

    Raises:
        InputError: The form is missing or belongs to another file.
    """
    if path.name.endswith(".int8.xml"):
        return path
    accuracy, found = _load_accuracy(path), int8_path(path)
    if accuracy is None:
        remedy = "Run: sonjit models quantize with its name, or use precision='auto'"
        raise InputError(f"{found}: {path.name} has no int8 form. {remedy}")
    if accuracy.source != source_hash(path):
        raise InputError(f"{found} belongs to another {path.name}. Run: sonjit models quantize with its name")
    return found


def available_precision(precision: Precision, path: Path) -> Precision:
    """Return the precision of a network, with f32 in place of an int8 form that does not exist."""
    return "f32" if precision == "int8" and not int8_path(path).exists() else precision


def is_accurate_enough(path: Path) -> bool:
    """Check whether a network has an int8 form that `precision="auto"` may use on this machine.

    The form must belong to this file and to a processor like this one with int8 dot products, and move keypoints by at
    most `MAX_SHIFT_PX` on average.
    """
    accuracy = _load_accuracy(path) if _DOT_PRODUCTS & processor_flags() else None
    return (
        accuracy is not None
        and accuracy.processor == processor_name()
        and accuracy.shift_px <= MAX_SHIFT_PX
        and accuracy.source == source_hash(path)
    )


def source_hash(path: Path) -> str:
    """Return the sha256 of a network."""
    stat = path.stat()
    return _hash(path, stat.st_size, stat.st_mtime_ns)


@cache
def _hash(path: Path, size: int, changed_ns: int) -> str:
    del size, changed_ns  # part of the cache key: a changed file is read again
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _load_accuracy(path: Path) -> Int8Accuracy | None:
    """Read the accuracy of a network's int8 form; None if there is no readable form."""
    form = int8_path(path)
    try:
        accuracy = Int8Accuracy(**read_json(form.with_suffix(".json")))
    except (InputError, TypeError):
        return None
    return accuracy if form.is_file() else None
