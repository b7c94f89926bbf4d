"""The rule for low precisions: which networks `precision="auto"` runs in bf16 or int8.

A network may run in a low precision by default only if its keypoints move by at most 0.3 px of a crop of 224 on average
and by 0.15 % of the instance at the 90th percentile, and if presence and side agree with f32 in 99.9 % of the crops.
`detectors.quantization` measures a network. The table shows crops of photographs that were not used for any fit, on an
Intel Xeon with amx_bf16 and avx512_fp16: processor time on one thread, mean shift in px, and 90th percentile in % of
the instance. bf16 has the last layers in f32, see `graph_edits`. In mixed precision, only dense convolutions after a
share of the layers run in bf16.

| network    | crops | f32 ms | bf16 ms, shift   | mixed ms, shift        | f16 ms, shift   | `auto` |
|------------|-------|--------|------------------|------------------------|-----------------|--------|
| hand full  | 163   | 4.9    | 2.9, 0.56, 0.56  | 30 %: 3.1, 0.10, 0.13  | 8.1, 0.04, 0.05 | mixed  |
| hand lite  | 167   | 2.5    | 1.6, 0.47, 0.65  | 40 %: 2.1, 0.09, 0.13  | 3.8, 0.05, 0.04 | mixed  |
| body full  | 235   | 10.1   | 6.9, 1.12, 1.60  | 40 %: 10.1, 0.29, 0.40 |                 | f32    |
| body lite  | 235   | 6.9    | 5.7, 2.30, 3.23  | 40 %: 6.9, 0.59, 0.77  |                 | f32    |

The errors of the first layers, of sums and of depthwise convolutions pass through all others. f16 is slow without
instructions for its matrices. Detectors stay in f32, because the search and the tracks depend on their boxes.
"""

from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Final

from sonjit._util import InputError, data_files, files
from sonjit.engines import Precision
from sonjit.engines.devices import processor_flags, processor_name

MAX_SHIFT_PX: Final = 0.3
"""Maximum mean shift of keypoints, in pixels of a crop of 224, at which `precision="auto"` uses a low precision."""
MAX_SHIFT_P90: Final = 0.0015  # maximum shift at the 90th percentile, relative to the size of the instance
MIN_AGREEMENT: Final = 0.999  # minimum share of the crops in which presence and side agree with f32
_F32_SHARE: Final = {("hand_landmark_full.tflite", 5_478_917): 0.3, ("hand_landmark_lite.tflite", 2_071_597): 0.4}
"""Share of the layers, from the first on, that stay in f32 for a network that keeps the rule then, by name and size."""
_DOT_PRODUCTS: Final = {"avx_vnni", "avx512_vnni", "asimddp"}
"""Names in Linux of the instruction sets that multiply and sum int8 without saturation."""


@dataclass(frozen=True)
class Landmarks:
    """Layout of a network's keypoints and presence."""

    size: int  # number of values per candidate in the output with the keypoints
    step: int = 3  # number of values per keypoint; the first two are x and y in pixels of the input
    least_presence: float = 0.5  # minimum presence, in the first output with one value per candidate
    candidates: int = 1  # number of candidates: 1 for a landmark network, the anchors for a single-shot detector


@dataclass(frozen=True)
class Int8Accuracy:
    """Accuracy of an int8 network, measured on images that were not used for calibration."""

    source: str  # hash sha256 of the original network
    processor: str  # processor on which the network was quantized and measured
    images: int
    layers: int
    f32: int  # number of these layers that stay in f32
    shift_px: float  # mean distance of the keypoints to those in f32, in pixels of the network's input
    shift_p95_px: float  # distance that 95 % of the images do not exceed
    presence: float  # maximum change of the presence
    # Processor time of one image on one thread
    f32_ms: float
    int8_ms: float
    bytes: int


def f32_share(path: Path) -> float | None:
    """Return the share of the first layers that stay in f32 if `auto` runs a network in bf16; None for all of them."""
    return _F32_SHARE.get((path.name, path.stat().st_size))


def int8_path(path: Path) -> Path:
    """Return the path of the int8 form of a network."""
    return path.with_name(f"{path.stem}.int8.xml")


def accuracy_path(path: Path) -> Path:
    """Return the path of the accuracy of the int8 form, without which the form is not used."""
    return int8_path(path).with_suffix(".json")


def save_accuracy(path: Path, accuracy: Int8Accuracy) -> None:
    """Write the accuracy of the int8 form of a network."""
    data_files.write_json(accuracy_path(path), asdict(accuracy), indent=2)


def find_int8(path: Path) -> Path:
    """Return the path of the int8 form of a network that was made from this file."""
    if path.name.endswith(".int8.xml"):
        return path
    accuracy, quantized_path = _load_accuracy(path), int8_path(path)
    if accuracy is None:
        remedy = "Run: sonjit models quantize with its name, or use precision='auto'"
        raise InputError(f"{quantized_path}: {path.name} has no int8 form. {remedy}")
    if accuracy.source != source_hash(path):
        raise InputError(f"{quantized_path} belongs to another {path.name}. Run: sonjit models quantize with its name")
    return quantized_path


def available_precision(precision: Precision, path: Path) -> Precision:
    """Return the precision of a network, with f32 in place of an int8 form that does not exist or has no accuracy."""
    return "f32" if precision == "int8" and _load_accuracy(path) is None else precision


def is_accurate_enough(path: Path) -> bool:
    """Check whether a network has an int8 form that `precision="auto"` may use on this machine.

    It must belong to this file and a processor like this one, and move keypoints by at most `MAX_SHIFT_PX` on average.
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
    return files.sha256_of_file(path)


def _load_accuracy(path: Path) -> Int8Accuracy | None:
    """Read the accuracy of a network's int8 form; None if there is no readable form."""
    form = int8_path(path)
    try:
        accuracy = Int8Accuracy(**data_files.read_json(accuracy_path(path)))
    except (InputError, TypeError):
        return None
    return accuracy if form.is_file() else None
