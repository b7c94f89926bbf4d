"""What an int8 form keeps to, in `NAME.int8.json` beside it, and whether it is to be taken here."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Final

from sonjit.engines.processor import processor_flags, processor_name
from sonjit.errors import InputError
from sonjit.files import write_bytes

MOST_SHIFT_PX: Final = 0.3
"""Up to which `precision="auto"` takes a form."""

_DOT_PRODUCTS: Final = {"avx_vnni", "avx512_vnni", "asimddp"}
"""Instruction sets that multiply and sum int8 without saturation, by Linux's names."""


@dataclass(frozen=True)
class Promise:
    """What an int8 network keeps to, measured on images that set no range of it.

    Attributes:
        source: sha256 of the network that it was made of.
        processor: on which it was made and measured.
        images: how many inputs of the network it was measured on.
        layers: convolutions and matrix products.
        f32: how many of them were left in f32.
        shift_px: mean distance of keypoints to those in f32, in pixels of the network's input.
        shift_p95_px: below which it is on 95 % of the images.
        presence: largest change of the presence, in its own unit.
        f32_ms, int8_ms: processor time of one image on one thread.
        bytes: of the file with the weights.
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
    """Where the int8 form of a network lies."""
    return path.with_name(f"{path.stem}.int8.xml")


def save_promise(path: Path, promise: Promise) -> None:
    """Write what the int8 form of a network keeps to."""
    write_bytes(int8_path(path).with_suffix(".json"), (json.dumps(asdict(promise), indent=2) + "\n").encode())


def find_int8(path: Path) -> Path:
    """The int8 form of a network.

    Raises:
        InputError: it was never made, or of another file.
    """
    if path.name.endswith(".int8.xml"):
        return path
    promise, found = _promise(path), int8_path(path)
    if promise is None:
        raise InputError(f"{found}: no int8 form of {path.name}; make it: sonjit models quantize, or precision='auto'")
    if promise.source != source_hash(path):
        raise InputError(f"{found}: made of another {path.name}; make it again: sonjit models quantize")
    return found


def keeps_promise(path: Path) -> bool:
    """Whether a network has an int8 form that is fast and exact enough here to be taken unasked.

    That is one of this very file, made on a processor like this with int8 dot products, that moves keypoints by at
    most `MOST_SHIFT_PX` in the mean.
    """
    promise = _promise(path) if _DOT_PRODUCTS & processor_flags() else None
    return (
        promise is not None
        and promise.processor == processor_name()
        and promise.shift_px <= MOST_SHIFT_PX
        and promise.source == source_hash(path)
    )


def source_hash(path: Path) -> str:
    """sha256 of a network."""
    stat = path.stat()
    return _hash(path, stat.st_size, stat.st_mtime_ns)


@cache
def _hash(path: Path, size: int, changed_ns: int) -> str:
    del size, changed_ns  # of the key: a file that changed is read again
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _promise(path: Path) -> Promise | None:
    """The promise of a network's int8 form; None where there is none that can be read."""
    form = int8_path(path)
    try:
        promise = Promise(**json.loads(form.with_suffix(".json").read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return promise if form.is_file() else None
