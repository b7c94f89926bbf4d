"""`SelfieSegmentation`: the mask of the people in front of a camera, under MediaPipe's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sonjit.arrays import Float32Array, Image
from sonjit.compat.mediapipe.solution import Solution, choice
from sonjit.engines import Precision

if TYPE_CHECKING:
    from sonjit.detectors.selfie import SelfieModel

__all__ = ["SelfieSegmentation", "SolutionOutputs"]

_MODELS: dict[int, SelfieModel] = {0: "general", 1: "landscape"}


class SolutionOutputs(NamedTuple):
    """What `SelfieSegmentation.process` found.

    Attributes:
        segmentation_mask: (H, W) float32 probability of a person per pixel.
    """

    segmentation_mask: Float32Array


class SelfieSegmentation(Solution[SolutionOutputs]):
    """Separates people from what is behind them; a context manager.

    Args:
        model_selection: 0 for the general network, 1 for the landscape one, which is faster.
        precision: Sonjit's own: what the network computes in; `"auto"` is f32, as in MediaPipe.

    Raises:
        InputError: a value out of range, or missing weights; it is a ValueError.
    """

    def __init__(self, model_selection: int = 0, *, precision: Precision = "auto") -> None:
        from sonjit.detectors.selfie import load_selfie_segmenter  # brings in the engine and OpenCV

        model = choice("model_selection", model_selection, _MODELS)
        self._network = self._segmenter = load_selfie_segmenter(model, precision=precision)

    def _outputs(self, image: Image) -> SolutionOutputs:
        return SolutionOutputs(self._segmenter.mask(image))
