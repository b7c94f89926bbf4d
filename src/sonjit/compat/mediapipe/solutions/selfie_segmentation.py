"""`SelfieSegmentation`: the mask of the people in front of a camera, under MediaPipe's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from sonjit.compat.mediapipe.solution import check_rgb, choice
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

    segmentation_mask: NDArray[np.float32]


class SelfieSegmentation:
    """Separates people from what is behind them; a context manager.

    Args:
        model_selection: 0 for the general network, 1 for the landscape one, which is faster.
        precision: Sonjit's own: what the network computes in; `"auto"` is f32, as in MediaPipe.

    Raises:
        InputError: a value out of range, or missing weights; it is a ValueError.
    """

    def __init__(self, model_selection: int = 0, *, precision: Precision = "auto") -> None:
        from sonjit.detectors.selfie import load_selfie_segmenter  # brings in the engine and OpenCV

        self._segmenter = load_selfie_segmenter(
            choice("model_selection", model_selection, _MODELS), precision=precision
        )

    def process(self, image: NDArray[np.uint8]) -> SolutionOutputs:
        """The mask of one image.

        Args:
            image: (H, W, 3) uint8 RGB; it is only read.

        Raises:
            InputError: anything else, or a closed object; it is a ValueError.
        """
        check_rgb(image)
        return SolutionOutputs(self._segmenter.mask(image))

    def reset(self) -> None:
        """Nothing to forget: every image stands alone."""

    def close(self) -> None:
        """Free the network."""
        self._segmenter.close()

    def __enter__(self) -> Self:
        """The object itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()
