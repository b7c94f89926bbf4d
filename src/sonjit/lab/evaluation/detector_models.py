"""Evaluate Sonjit's detectors by tracking, and by searching every image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sonjit.detectors import create_detector
from sonjit.lab.evaluation.predictions import Model, Prediction
from sonjit.results import Body, Person

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sonjit.detectors import Detector
    from sonjit.lab.datasets import Sample
    from sonjit.lab.evaluation.predictions import Mode
    from sonjit.results import Instance

TRACKING_PASSES = 5
"""Number of passes over an image without predecessor, so that tracking takes its crop from the previous pass."""
_DEFAULTS: dict[str, Any] = {"search": "fast", "smoothing": "published", "max_instances": 4}
"""Search and smoothing of the cards, with more instances than an image labels, because sets label only some of them."""
_MIN_VISIBILITY = 0.5
"""Minimum visibility of a keypoint that a model predicts as visible."""


class DetectorModel(Model):
    """Detector in the two modes of the model cards.

    Tracking processes the images of a recording in order, each crop from the previous result; an image without
    predecessor is processed several times, as in the cards. Reacquisition searches every image.

    Args:
        kind: Kind, see `create_detector`.
        model: Model, see `create_detector`.
        **options: Options of `create_detector`; by default `search="fast"`, as in the cards, and 4 instances.
    """

    modes = ("tracking", "reacquisition")

    def __init__(self, kind: str, model: str, **options: Any) -> None:  # noqa: ANN401  # the detector's own
        self._kind, self._model, self._options = kind, model, options
        self._detectors: dict[Mode, Detector[Any]] = {}
        self._before: tuple[str, str | None, str | None] | None = None
        self._frame = -1

    def find(self, sample: Sample, rgb: NDArray[np.uint8], mode: Mode) -> list[Prediction]:
        """Return the predictions for an image (H, W, 3)."""
        detector = self._detector(mode)
        if mode == "reacquisition":
            return predictions_from_results(detector.detect(rgb))
        found = detector.detect(rgb) if self._follows(sample) else self._detect_repeatedly(detector, rgb)
        return predictions_from_results(found)

    def begin(self, mode: Mode) -> None:
        """Load the networks. The next image has no predecessor."""
        self._detector(mode)
        self._before = None

    def close(self) -> None:
        """Free the networks."""
        for detector in self._detectors.values():
            detector.close()
        self._detectors.clear()

    def _detector(self, mode: Mode) -> Detector[Any]:
        if mode not in self._detectors:
            self._detectors[mode] = create_detector(
                self._kind,
                model=self._model,
                static_image=mode == "reacquisition",
                **_DEFAULTS | self._options,
            )
        return self._detectors[mode]

    def _follows(self, sample: Sample) -> bool:
        """Return whether an image comes after the previous one in the same recording."""
        now = (sample.dataset, sample.sequence, sample.view)
        known = sample.sequence is not None and sample.frame is not None
        follows = known and now == self._before and (sample.frame or 0) > self._frame
        self._before, self._frame = (now if known else None), (sample.frame or 0)
        return follows

    def _detect_repeatedly(self, detector: Detector[Any], rgb: NDArray[np.uint8]) -> Sequence[Any]:
        detector.reset()
        for _ in range(TRACKING_PASSES - 1):
            detector.detect(rgb)
        return detector.detect(rgb)


def prediction_from_result(instance: Instance, person: int | None = None) -> Prediction:
    """Return a hand, face or body of Sonjit as a prediction; `person` is the index of its person in the image."""
    points = np.asarray(instance.keypoints, np.float64)
    return Prediction(
        skeleton=instance.skeleton.name,
        side=instance.handedness,
        side_score=1.0 if (sure := getattr(instance, "handedness_score", None)) is None else float(sure),
        score=float(instance.score),
        keypoints_px=points[:, :2],
        visible=np.asarray(instance.visibility > _MIN_VISIBILITY, np.bool_) if isinstance(instance, Body) else None,
        keypoints_m=None if instance.keypoints_3d is None else np.asarray(instance.keypoints_3d, np.float64),
        box=instance.box,
        person=person,
    )


def predictions_from_results(found: Sequence[Any]) -> list[Prediction]:
    """Return hands, faces and bodies as predictions, and people as their parts."""
    return [
        prediction_from_result(part, number if isinstance(item, Body | Person) else None)
        for number, item in enumerate(found)
        for part in (item.parts if isinstance(item, Person) else (item,))
    ]
