"""`ImageSegmenter` with the selfie network: the mask of the people in front of a camera, under MediaPipe's names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sonjit._util.arrays import Float32Array
from sonjit._util.errors import InputError
from sonjit.compat.mediapipe._images import Image, ImageFormat
from sonjit.compat.mediapipe._options import BaseOptions, ImageProcessingOptions, VisionTaskRunningMode
from sonjit.compat.mediapipe._solution import free_loaded, load_ahead
from sonjit.compat.mediapipe.tasks.python.vision._task import BaseVisionTaskApi, Frame
from sonjit.detectors.selfie import SELFIE_WEIGHTS, SelfieModel, load_selfie_segmenter, resized_mask
from sonjit.weights import find_weight

__all__ = ["ImageSegmenter", "ImageSegmenterOptions", "ImageSegmenterResult"]

NETWORK = "selfie_segmenter.tflite"
_BACKGROUND = 255


@dataclass
class ImageSegmenterResult:
    """The masks of one image.

    Attributes:
        confidence_masks: One (H, W) float32 probability of a person per pixel, or None without the option.
        category_mask: (H, W) uint8, 0 for people and 255 for the background, or None without the option.
    """

    confidence_masks: list[Image] | None = None
    category_mask: Image | None = None


@dataclass
class ImageSegmenterOptions:
    """Options of `ImageSegmenter`. `TaskOptions` describes the modes.

    Attributes:
        base_options: Network, `selfie_segmenter.tflite` or the faster `selfie_segmenter_landscape.tflite`. Without such
            a file, the published network runs.
        output_confidence_masks: Return probabilities.
        output_category_mask: Return categories.
    """

    base_options: BaseOptions
    running_mode: VisionTaskRunningMode = VisionTaskRunningMode.IMAGE
    output_confidence_masks: bool = True
    output_category_mask: bool = False
    result_callback: Callable[[ImageSegmenterResult, Image, int], None] | None = None


class ImageSegmenter(BaseVisionTaskApi[ImageSegmenterResult]):
    """Segment people in images, videos and live streams. Use as a context manager."""

    options_type = ImageSegmenterOptions

    def _open(self, options: ImageSegmenterOptions) -> None:
        if not options.output_confidence_masks and not options.output_category_mask:
            raise InputError("output_confidence_masks and output_category_mask are both False: ask for one of them")
        path = options.base_options.file(NETWORK)
        self._options = options
        if path.is_file():
            self._loading = load_ahead(lambda: load_selfie_segmenter(path))
            self._loading.result()  # report an invalid file here and not at the first image
            return
        if not path.stem.startswith("selfie_segment"):
            raise InputError(f"{path.name}: only the published selfie networks are covered, such as {NETWORK}")
        model: SelfieModel = "landscape" if "landscape" in path.stem else "general"
        find_weight(SELFIE_WEIGHTS[model])  # as is one that is missing
        self._loading = load_ahead(lambda: load_selfie_segmenter(model))

    @property
    def labels(self) -> list[str]:
        """Names of the categories: none, as in the published networks."""
        return []

    def segment(
        self, image: Image, image_processing_options: ImageProcessingOptions | None = None
    ) -> ImageSegmenterResult:
        """Segment one image. Raise the same errors as `HandLandmarker.detect`."""
        return self._process_image(image, image_processing_options)

    def segment_for_video(
        self, image: Image, timestamp_ms: int, image_processing_options: ImageProcessingOptions | None = None
    ) -> ImageSegmenterResult:
        """Segment the next frame of a video. Raise the same errors as `HandLandmarker.detect_for_video`."""
        return self._process_video(image, timestamp_ms, image_processing_options)

    def segment_async(
        self, image: Image, timestamp_ms: int, image_processing_options: ImageProcessingOptions | None = None
    ) -> None:
        """Pass the next frame of a live stream. Raise the same errors as `HandLandmarker.detect_async`."""
        self._send(image, timestamp_ms, image_processing_options)

    def _run(self, frame: Frame) -> ImageSegmenterResult:
        mask = self._loading.result().network_mask(frame.rgb)
        result = ImageSegmenterResult()
        if self._options.output_confidence_masks:
            result.confidence_masks = [Image(ImageFormat.VEC32F1, frame.mask(resized_mask(mask, frame.rgb)))]
        if self._options.output_category_mask:
            people = _stretched(mask, *frame.rgb.shape[:2]) > 0.5
            categories = np.where(people, np.uint8(0), np.uint8(_BACKGROUND))
            result.category_mask = Image(ImageFormat.GRAY8, np.ascontiguousarray(np.rot90(categories, frame.turns)))
        return result

    def _free(self) -> None:
        free_loaded(self._loading)


def _stretched(mask: Float32Array, height: int, width: int) -> Float32Array:
    """Resize a mask by interpolating between pixel centres, as MediaPipe does for category masks."""
    for axis, size in enumerate((height, width)):
        at = np.linspace(0, mask.shape[axis] - 1, size)
        low = at.astype(np.intp)
        part = np.expand_dims(at - low, 1 - axis).astype(np.float32)
        high = np.minimum(low + 1, mask.shape[axis] - 1)
        first, second = mask.take(low, axis), mask.take(high, axis)
        mask = first + (second - first) * part
    return mask
