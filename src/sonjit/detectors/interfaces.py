"""Interfaces of the pipeline: a kind of instance and its searches."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Generic, TypeAlias, TypeVar

import numpy as np

from sonjit._util import Float32Array, Image, InputError
from sonjit.detectors.observations import Observation
from sonjit.detectors.tracking import Track
from sonjit.geometry.boxes import RotatedBox, iou
from sonjit.results import Result

if TYPE_CHECKING:
    from sonjit.detectors.recordings.second_thread import SecondThread

O = TypeVar("O", bound=Observation)  # noqa: E741  # an observation
C = TypeVar("C", bound=Observation)
R = TypeVar("R", bound=Result)

StillSearch: TypeAlias = "Callable[[Image], tuple[list[C], bool]]"
"""Function that searches an image (H, W, 3) thoroughly.

It returns the instances, best first, each with a calibrated probability as its score. The second value is True if all
proposals were processed.
"""


class Kind(ABC, Generic[O, R]):
    """Implement what differs between hands, faces and bodies."""

    # Indices of the keypoints that decide whether two instances overlap, without limbs that reach out to others. None:
    # all keypoints.
    overlap_keypoints: ClassVar[tuple[int, ...] | None] = None
    # Mean presence from which an instance stays tracked although no key frame shows it. Inf: it never does, because the
    # network also gives other things a high presence.
    certain_presence: ClassVar[float] = math.inf
    # Probability in a key frame from which an instance is shown before a second key frame shows it.
    sure_score: ClassVar[float] = 0.8
    keypoint_count: int | None = None  # of each result; None if all results of its type have the same number
    second: "SecondThread[O] | None" = None  # thread that observes instances at the same time
    networks: Mapping[str, str] = MappingProxyType({})  # names of its files that are not in the catalogue, by role

    @cached_property
    def at_close(self) -> ExitStack:
        """Calls that end the threads of this kind and of its search, when its detector is closed."""
        return ExitStack()

    @abstractmethod
    def find(self, rgb: Image, min_score: float) -> list[RotatedBox]:
        """Return boxes for the landmark network from a search of an image (H, W, 3), best first."""

    def find_near(self, rgb: Image, box: RotatedBox) -> list[RotatedBox]:
        """Return boxes, in pixels, of instances around a box of an image (H, W, 3) in which one was lost, best first.

        By default there are none.
        """
        return []

    @abstractmethod
    def observe(self, rgb: Image, box: RotatedBox) -> O:
        """Run the landmark network on one box of an image (H, W, 3), in pixels."""

    def observe_all(self, rgb: Image, boxes: Sequence[RotatedBox]) -> list[O]:
        """Run the landmark network on several boxes of an image (H, W, 3), at once with a second thread."""
        if self.second is None or len(boxes) < 2:
            return [self.observe(rgb, box) for box in boxes]
        return self.second.observe(rgb, boxes)

    def follow(self, track: Track[O]) -> RotatedBox:
        """Return the box of the next frame, by default from the observation without smoothing, which would lag."""
        return self.box_after(track.observation)

    def box_after(self, observation: O) -> RotatedBox:
        """Return the box of the frame after an observation. A kind has this method or `follow`."""
        raise NotImplementedError

    def is_present(self, observation: O, min_score: float) -> bool:
        """Check whether an observation shows an instance."""
        return observation.score > min_score

    def is_same_instance(self, box: RotatedBox, other: RotatedBox) -> bool:
        """Check whether two boxes show the same instance."""
        return iou(box, other) > 0.5

    def propagate(self, observation: O, shift: Float32Array, score: float) -> O:
        """Return the observation of an occluded instance: shifted by (2,) pixels, with another score."""
        keypoints = observation.keypoints + np.append(shift, np.float32(0))
        return replace(observation, keypoints=keypoints, score=score)  # pyright: ignore

    def refine(self, observation: O) -> O:
        """Return the observation with its final keypoints, which results have. Tracking uses the ones before."""
        return observation

    @abstractmethod
    def result(self, rgb: Image, observation: O, track: Track[O] | None) -> R:
        """Return the public result for one instance of an image (H, W, 3). Instances of stills have no track."""


class SearchedKind(Kind[O, R]):
    """Kind whose search gives the observations. Every image is searched and no box is carried over.

    The observations decide the identity. Boxes are refused with the message `refusal`.
    """

    refusal: str

    @abstractmethod
    def search(self, rgb: Image, min_score: float) -> list[O]:
        """Return the observations of an image (H, W, 3), best first and without duplicates."""

    def find(self, rgb: Image, min_score: float) -> list[RotatedBox]:
        """Refuse to return boxes in an image (H, W, 3)."""
        raise InputError(self.refusal)

    def observe(self, rgb: Image, box: RotatedBox) -> O:
        """Refuse a box in pixels of an image (H, W, 3)."""
        raise InputError(self.refusal)

    def is_present(self, observation: O, min_score: float) -> bool:
        """Return true: the search has applied the minimum score."""
        return True
