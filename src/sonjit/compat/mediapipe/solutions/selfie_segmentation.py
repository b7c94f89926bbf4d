"""`SelfieSegmentation`: the mask of the people in front of a camera, under MediaPipe's names."""

from __future__ import annotations

from typing import NamedTuple

from sonjit._util.arrays import Float32Array, Image
from sonjit.compat.mediapipe._names import add_covered_names
from sonjit.compat.mediapipe._solution import Solution, choice, load_ahead
from sonjit.detectors.selfie import SELFIE_WEIGHTS, SelfieModel, load_selfie_segmenter
from sonjit.engines import EngineOptions, Precision
from sonjit.weights import find_weight

__all__ = ["SelfieSegmentation", "SolutionOutputs"]

_MODELS: dict[int, SelfieModel] = {0: "general", 1: "landscape"}


class SolutionOutputs(NamedTuple):
    """Results of `SelfieSegmentation.process`.

    Attributes:
        segmentation_mask: (H, W) float32 probability of a person per pixel.
    """

    segmentation_mask: Float32Array


class SelfieSegmentation(Solution[SolutionOutputs]):
    """Segment people in images. Use as a context manager.

    Args:
        model_selection: 0 for the general network, 1 for the landscape one, which is faster.
        precision: Number format of the networks; "f32" computes as MediaPipe does.

    Raises:
        InputError: A value is out of range, or weights are missing; it is a ValueError.
    """

    def __init__(self, model_selection: int = 0, *, precision: Precision = "f32") -> None:
        model = choice("model_selection", model_selection, _MODELS)
        find_weight(SELFIE_WEIGHTS[model])  # report a missing file here and not at the first image
        EngineOptions(precision=precision)
        self._loading = load_ahead(lambda: load_selfie_segmenter(model, precision=precision))

    def _outputs(self, image: Image) -> SolutionOutputs:
        return SolutionOutputs(self._loading.result().mask(image))


add_covered_names(globals())
