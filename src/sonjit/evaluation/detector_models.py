"""Sonjit's own detectors under evaluation: tracking, and searching every image anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sonjit.detectors import create_detector
from sonjit.evaluation.predictions import Prediction
from sonjit.results import Body, Person

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from sonjit.datasets import Sample
    from sonjit.detectors import Detector
    from sonjit.evaluation.predictions import Mode
    from sonjit.results import Instance

LOOKS = 5
"""How often tracking runs on an image that follows no other, so that its crop comes from the run before."""
_DEFAULTS: dict[str, Any] = {"search": "fast", "max_instances": 4}
"""As the cards' own search; more instances than one image labels, as sets leave some without labels."""
_VISIBLE = 0.5


class DetectorModel:
    """A detector, asked in both ways of the model cards.

    Tracking takes the images of a recording one after the other, each crop from the result before; an image that
    follows no other is run several times, as in the cards. Reacquisition searches every image anew.

    Args:
        kind: as `create_detector` takes it.
        model: likewise.
        **options: likewise; by default `search="fast"`, as the cards' own, and 4 instances.
    """

    modes: tuple[Mode, ...] = ("tracking", "reacquisition")

    def __init__(self, kind: str, model: str, **options: Any) -> None:  # noqa: ANN401  # the detector's own
        self._kind, self._model, self._options = kind, model, options
        self._detectors: dict[Mode, Detector[Any]] = {}
        self._before: tuple[str, str | None, str | None] | None = None
        self._frame = -1

    def find(self, sample: Sample, rgb: NDArray[np.uint8], mode: Mode) -> list[Prediction]:
        """What it says of an image (H, W, 3)."""
        detector = self._detector(mode)
        if mode == "reacquisition":
            return predictions_from_results(detector.detect(rgb))
        found = detector.detect(rgb) if self._follows(sample) else self._look(detector, rgb)
        return predictions_from_results(found)

    def check(self, samples: Iterable[Sample]) -> None:
        """It takes any image."""

    def begin(self, mode: Mode) -> None:
        """Load the networks; the next image follows no other."""
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
                self._kind,  # pyright: ignore[reportArgumentType]  # it refuses what it does not know
                model=self._model,
                static_image=mode == "reacquisition",
                **_DEFAULTS | self._options,
            )
        return self._detectors[mode]

    def _follows(self, sample: Sample) -> bool:
        """Whether an image is a later one of the recording of the image before."""
        now = (sample.dataset, sample.sequence, sample.view)
        known = sample.sequence is not None and sample.frame is not None
        follows = known and now == self._before and (sample.frame or 0) > self._frame
        self._before, self._frame = (now if known else None), (sample.frame or 0)
        return follows

    def _look(self, detector: Detector[Any], rgb: NDArray[np.uint8]) -> Sequence[Any]:
        detector.reset()
        for _ in range(LOOKS - 1):
            detector.detect(rgb)
        return detector.detect(rgb)


def prediction_from_result(one: Instance, person: int | None = None) -> Prediction:
    """A hand, face or body of Sonjit's as a prediction; `person` is the number of its person in the image."""
    points = np.asarray(one.keypoints, np.float64)
    return Prediction(
        skeleton=one.skeleton.name,
        side=one.handedness,
        side_score=1.0 if (sure := getattr(one, "handedness_score", None)) is None else float(sure),
        score=float(one.score),
        keypoints_px=points[:, :2],
        visible=np.asarray(one.visibility > _VISIBLE, np.bool_) if isinstance(one, Body) else None,
        keypoints_m=None if one.keypoints_3d is None else np.asarray(one.keypoints_3d, np.float64),
        box=one.box,
        person=person,
    )


def predictions_from_results(found: Sequence[Any]) -> list[Prediction]:
    """Hands, faces and bodies as predictions; of people their parts."""
    return [
        prediction_from_result(part, number if isinstance(one, Body | Person) else None)
        for number, one in enumerate(found)
        for part in (one.parts if isinstance(one, Person) else (one,))
    ]
