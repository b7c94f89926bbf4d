"""MediaPipe Selfie Segmentation: the mask of the people in front of a camera.

Source: MediaPipe Selfie Segmentation, model card of 2021; the constants are those of mediapipe 0.10.21's CPU graph.
"""

from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import numpy as np

from sonjit._util import Float32Array, Image, InputError, SonjitError, files, unknown_name
from sonjit.detectors.kinds.body import sigmoid
from sonjit.engines import Engine, EngineOptions, Precision, load_engine, tflite
from sonjit.geometry.boxes import RotatedBox, crop_on_grid
from sonjit.weights import bundles, cache_folder, find_weight

SelfieModel = Literal["general", "landscape"]

SELFIE_WEIGHTS: dict[SelfieModel, str] = {"general": "selfie", "landscape": "selfie-landscape"}
"""Names of the published files."""
_LAST = "Convolution2DTransposeBias"
_STEP = 2  # of that operator: each pixel of its input becomes 2 x 2 of its output, and no two overlap


class SelfieSegmenter:
    """Segment people by a network that gives the three inputs of its last operator: map, kernel and bias."""

    def __init__(self, engine: Engine) -> None:
        self._engine: Engine | None = engine

    def mask(self, rgb: Image) -> Float32Array:
        """Return the probability (H, W) float32 of a person at each pixel of an image (H, W, 3)."""
        return resized_mask(self.network_mask(rgb), rgb)

    def network_mask(self, rgb: Image) -> Float32Array:
        """Return the mask (h, w), 0..1, of an image (H, W, 3) in the network's own size."""
        if self._engine is None:
            raise InputError("this segmenter is closed; make a new one")
        height, width = rgb.shape[:2]
        full_image = RotatedBox(width / 2, height / 2, width, height)
        crop_on_grid(rgb, full_image, self._engine.input[0])  # stretched to the network's shape
        features, kernel, bias = self._engine.run()
        return sigmoid(_upsampled(features[0], kernel[0], bias))

    def close(self) -> None:
        """Free the network."""
        self._engine = None


def resized_mask(mask: Float32Array, rgb: Image) -> Float32Array:
    """Resize a mask to the size of an image (H, W, 3)."""
    import cv2

    height, width = rgb.shape[:2]
    return cv2.resize(mask, (width, height))  # pyright: ignore


def load_selfie_segmenter(model: SelfieModel | Path, *, precision: Precision = "auto") -> SelfieSegmenter:
    """Load one of the two networks, or the file of such a network. `auto` is f32, because the networks are small.

    `general` takes 256 x 256 pixels, `landscape` 144 x 256, in half the time.
    """
    if isinstance(model, Path):
        path, help_text = model, "only networks of MediaPipe's Selfie Segmentation are covered"
    elif model in SELFIE_WEIGHTS:
        path = find_weight(SELFIE_WEIGHTS[model])
        help_text = f"type: sonjit models pull {SELFIE_WEIGHTS[model]}"
    else:
        raise InputError(unknown_name("selfie model", model, SELFIE_WEIGHTS))
    try:
        part = _without_last(tflite.TfliteFile(path.read_bytes()))
    except ValueError as error:
        raise InputError(f"{path}: {error}; {help_text}") from None
    # One thread: of a network of a millisecond, several wait for each other longer than they save.
    f32_precision: Precision = "f32" if precision == "auto" else precision
    options = EngineOptions(precision=f32_precision, threads=1, cache=cache_folder() / "compiled")
    with ExitStack() as stack:  # OpenVINO reads TFLite from files only
        try:
            file = bundles.kept_file(path.name, part)
        except SonjitError:  # a cache that cannot be written
            file = Path(stack.enter_context(files.WorkFolder())) / path.name
            file.write_bytes(part)
        return SelfieSegmenter(load_engine(file, options))


def _without_last(file: tflite.TfliteFile) -> bytes:
    """Return the network up to its transposed convolution, an operator that OpenVINO does not support."""
    for operator in file.operators:
        if operator.custom == _LAST:
            features, kernel, bias = operator.inputs
            return file.part(file.inputs, (features, kernel, bias))
    raise ValueError(f"no operator {_LAST} in it")


def _upsampled(features: Float32Array, kernel: Float32Array, bias: Float32Array) -> Float32Array:
    """Convolve a map (h, w, C), transposed, with a kernel (2, 2, C) and a bias (1,), in steps of 2: (2 h, 2 w)."""
    import cv2

    height, width, channels = features.shape
    matrix = np.empty((_STEP * _STEP, channels + 1), np.float32)
    matrix[:, :-1], matrix[:, -1] = kernel.reshape(-1, channels), bias
    # Not NumPy's product: its threads and the engine's wait for each other, for four times the network's own time.
    tiles: Float32Array = cv2.transform(features, matrix)  # pyright: ignore
    tiles = tiles.reshape(height, width, _STEP, _STEP)
    return tiles.transpose(0, 2, 1, 3).reshape(_STEP * height, _STEP * width)
