"""Interfaces of the pipeline: a kind of instance, its searches, and the verifier of a stream."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType
from typing import ClassVar, Generic, Protocol, TypeAlias, TypeVar

import numpy as np

from sonjit._util import Float32Array, Image, InputError
from sonjit.detectors.observations import Observation
from sonjit.detectors.tracking import Track
from sonjit.geometry.boxes import RotatedBox, iou
from sonjit.results import Result

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
    keypoint_count: int | None = None  # of each result; None if all results of its type have the same number
    networks: Mapping[str, str] = MappingProxyType({})  # names of its files that are not in the catalogue, by role

    @cached_property
    def at_close(self) -> ExitStack:
        """Calls that end the threads of this kind and of its search, when its detector is closed."""
        return ExitStack()

    @abstractmethod
    def find(self, rgb: Image, min_score: float) -> list[RotatedBox]:
        """Return boxes for the landmark network from a search of an image (H, W, 3), best first."""

    @abstractmethod
    def observe(self, rgb: Image, box: RotatedBox) -> O:
        """Run the landmark network on one box of an image (H, W, 3), in pixels."""

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


class StreamSearch(Protocol[C]):
    """Search a stream, with the work spread over its frames, and verify new detections."""

    @property
    def check(self) -> "Verifier[C]":
        """Verifier of new detections and tracked instances."""
        ...

    def step(
        self, rgb: Image, tracked: Sequence[C], new: Sequence[C], lost: Sequence[RotatedBox], *, spent: int, room: int
    ) -> list[C]:
        """Verify new detections in an image (H, W, 3), do its share of the search, and return the new instances.

        `tracked` are the observations of this frame, and `new` those of a search of the image. The surroundings of
        `lost` boxes are searched in every other frame. `spent` counts the inferences of this frame, apart from those of
        the tracked instances. `room` is the maximum number of new instances. With 0, only the internal state advances.
        """
        ...

    @property
    def is_verifying(self) -> bool:
        """Check whether an instance was detected that must be detected again."""
        ...

    @property
    def is_first_pass(self) -> bool:
        """Check whether some parts of the image were not searched yet."""
        ...

    def is_changed(self, rgb: Image) -> bool:
        """Check whether an image (H, W, 3) differs from the last one for which this method returned true."""
        ...

    def reset(self) -> None:
        """Forget the previous stream."""
        ...


class Verifier(Generic[C]):
    """Verify new detections and tracked instances of a stream. By default all pass."""

    verifies: ClassVar[bool] = False

    def accepts_new(self, rgb: Image, observation: C) -> bool:
        """Check whether a detection in an image (H, W, 3) may start a track."""
        return True

    def image_for_track(self, rgb: Image, track: Track[C], tracked: Sequence[Track[C]]) -> Image:
        """Return the image (H, W, 3) for one track, without what the network could mistake for its instance."""
        return rgb

    def verify(self, rgb: Image, track: Track[C], observation: C, tracked: Sequence[Track[C]]) -> C | None:
        """Return the verified observation of a track in an image (H, W, 3), or None if the track ends."""
        return observation
