"""Low precisions of published networks on images, the own ones or the bundled clip: int8 forms, and their accuracy."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sonjit._util import Float32Array, Image, InputError, data_files
from sonjit.detectors.create import detector_from
from sonjit.detectors.kinds import KINDS, options_for
from sonjit.detectors.pipeline import Detector
from sonjit.engines import Engine, EngineOptions, Precision, load_engine, recorded_inputs
from sonjit.engines.int8 import Int8Accuracy, quantize
from sonjit.engines.precision import MAX_SHIFT_P90, MAX_SHIFT_PX, MIN_AGREEMENT, Landmarks
from sonjit.media import open_source
from sonjit.weights import find_weight

_STEP = 6  # frames of the bundled clip from one image to the next
_MAX_INPUTS = 120  # inputs of a network that set its ranges, and as many on which it is measured


def quantized_networks() -> dict[str, tuple[str, str, Landmarks]]:
    """Return kind and model of the detector that runs each network with an int8 form, and what the network gives."""
    return {name: (entry.name, *form) for entry in KINDS.values() for name, form in entry.int8.items()}


def quantize_networks(
    names: Sequence[str],
    images: Path | None = None,
    *,
    shift_px: float = 0.3,
    progress: Callable[[str], None] = lambda _: None,
) -> Iterator[tuple[str, Int8Accuracy]]:
    """Write int8 versions of weight files, by names from `quantized_networks`, into the cache.

    Every other image of a folder or video only measures; without `images` the bundled clip, which shows hands, is used.
    `shift_px` is the mean shift of the keypoints that is allowed, in pixels of the network's input. `progress` receives
    a line of text per step.
    """
    known = quantized_networks()
    if unknown := [name for name in names if name not in known]:
        raise InputError(f"{unknown[0]!r} cannot be quantized. Choose from {', '.join(known)}.")
    for name in names:
        landmarks, path = known[name][2], find_weight(name)
        samples = record_crops(name, images, progress=progress)
        first, second = (inputs[:: max(1, len(inputs) // _MAX_INPUTS)][:_MAX_INPUTS] for inputs in samples)
        try:
            yield name, quantize(path, landmarks, first, second, shift_px=shift_px, progress=progress)
        except InputError as error:
            if images is None:
                raise InputError(f"{error}; --images FOLDER takes your own in place of the bundled clip") from None
            raise


def record_crops(
    name: str,
    images: Path | None = None,
    *,
    search: Literal["fast", "auto"] = "auto",
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[list[Image], list[Image]]:
    """Return the inputs (1, H, W, 3) of a quantized network in even and odd images, see `quantize_networks`."""
    kind, model, _ = quantized_networks()[name]
    path = find_weight(name)
    samples = tuple[list[Image], list[Image]](([], []))
    options = options_for(kind, model=model, precision="f32", static_image=True, max_instances=4, search=search)
    with ExitStack() as stack:
        detectors: list[Detector[Any]] = []
        for inputs in samples:
            with recorded_inputs(path, inputs):
                detectors.append(stack.enter_context(detector_from(options)))
        for index, rgb in enumerate(_images(images)):
            progress(f"{path.name}: image {index + 1}")
            detectors[index % 2].detect(rgb)
    return samples


def _images(path: Path | None) -> Iterator[Image]:
    """Return the images of a folder, or some frames of the bundled clip."""
    step = _STEP if path is None else 1
    with open_source(path or data_files.ASSETS / "demo.mp4") as source:
        for index, _, rgb in source:
            if index % step == 0:
                yield rgb


@dataclass(frozen=True)
class Agreement:
    """Agreement of a network in a precision with the same network in f32."""

    precision: str  # number format in which the network ran, see `Engine.precision`
    crops: int  # number of crops that show an instance in f32
    shift_px: float  # mean distance of the keypoints, in pixels of a crop of 224
    shift_p90: float  # distance that 90 % of the crops do not exceed, relative to the longer side of the instance
    presence: float  # share of all crops whose presence is on the same side of the threshold
    side: float  # share of the crops with the same handedness; 1 for networks without it

    @property
    def keeps_rule(self) -> bool:
        """Whether `precision="auto"` may run the network like this."""
        is_near = self.shift_px <= MAX_SHIFT_PX and self.shift_p90 <= MAX_SHIFT_P90
        return is_near and min(self.presence, self.side) >= MIN_AGREEMENT


def measure_agreement(name: str, crops: Sequence[Image], precision: Precision = "auto") -> Agreement:
    """Compare a network in a precision with f32, on its input images (1, H, W, 3) of `record_crops`."""
    landmarks, path = quantized_networks()[name][2], find_weight(name)
    exact, low = (load_engine(path, EngineOptions(precision=item, threads=1)) for item in ("f32", precision))
    shifts, shares, presences, sides = list[float](), list[float](), list[bool](), list[bool]()
    for crop in crops:
        (points, scores), (moved, others) = (
            _run(engine, crop, landmarks.size, landmarks.step) for engine in (exact, low)
        )
        is_present = scores[0] > landmarks.least_presence
        presences.append(is_present == (others[0] > landmarks.least_presence))
        if not is_present:
            continue
        shift = float(np.linalg.norm(moved - points, axis=1).mean())
        shifts.append(shift * 224 / crop.shape[2])
        shares.append(shift / float(np.ptp(points, axis=0).max()))
        sides.append(len(scores) == 1 or (scores[1] > 0.5) == (others[1] > 0.5))
    if not shifts:
        raise InputError(f"{name}: the crops show nothing that the network is for")
    return Agreement(
        precision=low.precision,
        crops=len(shifts),
        shift_px=float(np.mean(shifts)),
        shift_p90=float(np.percentile(shares, 90)),
        presence=float(np.mean(presences)),
        side=float(np.mean(sides)),
    )


def _run(engine: Engine, crop: Image, size: int, step: int) -> tuple[Float32Array, list[float]]:
    """Return keypoints (K, 2) in pixels of the crop, and presence, for hands also the side."""
    engine.input[:] = crop
    outputs = engine.run()
    points = next(output for output in outputs if output.size == size)
    return points.reshape(-1, step)[:, :2].copy(), [float(output.ravel()[0]) for output in outputs if output.size == 1]
