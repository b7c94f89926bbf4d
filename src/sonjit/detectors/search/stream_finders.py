"""Define how hands and faces are found in the windows of a stream, and how faces are verified."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple
from weakref import WeakKeyDictionary

from sonjit.detectors.kinds.face import FaceMeshes, FaceObservation, box_around_face
from sonjit.detectors.kinds.hands import HandObservation, Hands, box_from_palm
from sonjit.detectors.search.agenda import O
from sonjit.detectors.search.geometry import Proposal, Window, is_same_instance, oks, window_around
from sonjit.detectors.search.hands import observe_mirrored
from sonjit.detectors.search.score import Score, logit
from sonjit.geometry.boxes import iou

if TYPE_CHECKING:
    from sonjit.detectors.interfaces import Kind
    from sonjit.detectors.search.geometry import Image
    from sonjit.detectors.ssd import SingleShotDetector
    from sonjit.detectors.tracking import Track
    from sonjit.geometry.boxes import RotatedBox

_TRACKED_IOU = 0.3
"""Minimum overlap of a proposal and the box of a tracked instance that it shows."""
_PARTS = (2, 3)
"""Numbers of windows along the longer side of an image."""
_WINDOW = 3.0
"""Side of the window in which a face is searched, in widths of the head."""
_CHECK_INTERVAL, _PASSED_CHECK_INTERVAL = 3, 30
"""Number of frames between checks of a tracked instance, after a failure and after a success."""
_MIN_FAILURES, _FAILURES_PER_SUCCESS, _MAX_FAILURES = 2, 4, 18
"""Number of failures in a row that end a track: without a success, more for each success, and the maximum."""
_ON_MESH = 0.25, (0.65, 1.4), 0.4
"""Fit of a face to a mesh: maximum distance of the centres and range of the width, in head sizes; minimum score."""


class Source(NamedTuple):
    """A detector that proposes instances in the windows of an image.

    Attributes:
        find: Function that returns the proposals in a window of an image (H, W, 3), in pixels of the image.
        parts: Numbers of windows along the longer side of the image.
        cost: Time of a window, in inferences of the landmark network.
        fewer: See `windows`.
    """

    find: Callable[[Image, Window], Sequence[Proposal]]
    parts: Sequence[int] = _PARTS
    cost: float = 1.0
    fewer: bool = False


@dataclass
class Record:
    """History of a tracked instance.

    Attributes:
        confidence: Mean presence of the last frames.
        frames: Number of frames since the last check.
        failures: Number of failed checks in a row.
        successes: Number of passed checks.
    """

    confidence: float = 1.0
    frames: int = 0
    failures: int = 0
    successes: int = 0

    def is_due(self) -> bool:
        """Count a frame and return whether the instance is checked in it."""
        self.frames += 1
        if self.frames < (_PASSED_CHECK_INTERVAL if self.successes and not self.failures else _CHECK_INTERVAL):
            return False
        self.frames = 0
        return True

    def is_kept(self, *, sure: bool, passed: bool) -> bool:
        """Return whether the instance stays after a check.

        Args:
            sure: True if the evidence was strong. The instance is then checked again later.
            passed: True if the check did not fail.
        """
        self.successes += sure
        self.failures = 0 if passed else self.failures + 1
        return self.failures < min(_MIN_FAILURES + _FAILURES_PER_SUCCESS * self.successes, _MAX_FAILURES)


class Finder(ABC, Generic[O]):
    """Base of the finders, one for each kind. A finder that verifies also implements `interfaces.Verifier`.

    Args:
        kind: Kind of the instances, with the landmark network.
        box_after: Function that returns the box around an observed instance, for the next frame.

    Attributes:
        verifies: True if new detections and tracked instances are verified.
        refresh_frames: Number of frames after which an unchanged window is searched again.
        min_presence: Minimum score of an observation that is verified in the next frame.
        inferences: Number of inferences of this verification.
    """

    verifies: ClassVar[bool] = False
    refresh_frames: ClassVar[float] = math.inf
    min_presence: ClassVar[float] = 0.2
    inferences: ClassVar[int] = 1

    def __init__(self, kind: Kind[O, Any], box_after: Callable[[O], RotatedBox]) -> None:
        self._kind, self.box_after = kind, box_after
        self._records: WeakKeyDictionary[Track[O], Record] = WeakKeyDictionary()

    @property
    @abstractmethod
    def sources(self) -> tuple[Source, ...]:
        """Detectors that propose instances. They refer to this finder, so it does not keep them."""

    def reset(self) -> None:
        """Forget the previous stream."""

    def begin_frame(self, tracked: Sequence[O]) -> None:
        """Start a frame with these tracked instances."""

    def observe(self, rgb: Image, box: RotatedBox, proposal: Proposal, tracked: Sequence[O]) -> O:
        """Run the landmark network on a box to verify a proposal, with similar tracked instances covered."""
        return self._kind.observe(rgb, box)

    @abstractmethod
    def score(self, rgb: Image, proposal: Proposal, first: O, second: O) -> float:
        """Return the probability that two observations show an instance.

        Args:
            rgb: Image (H, W, 3) of the second frame.
            proposal: Proposal that led to the first observation.
            first: Observation in the previous frame.
            second: Observation in this frame.
        """

    def is_tracked(self, proposal: Proposal, tracked: O) -> bool:
        """Check whether a proposal shows a tracked instance."""
        return iou(proposal.box, self.box_after(tracked)) > _TRACKED_IOU

    def is_same(self, observation: O, tracked: O) -> bool:
        """Check whether an observation shows a tracked instance."""
        return is_same_instance(observation.keypoints, tracked.keypoints)

    def accepts_new(self, rgb: Image, observation: O, detections: int = 1, proposal: Proposal | None = None) -> bool:
        """Check whether a new detection may start a track.

        Args:
            rgb: Image (H, W, 3).
            observation: New detection.
            detections: Number of frames in a row in which it was detected.
            proposal: Proposal that led to it in a search of windows; None for the search of the image.
        """
        return True

    def image_for_track(self, rgb: Image, track: Track[O], tracked: Sequence[Track[O]]) -> Image:
        """Return the image for one track, without what the network could mistake for its instance."""
        return rgb

    def verify(self, rgb: Image, track: Track[O], observation: O, tracked: Sequence[Track[O]]) -> O | None:
        """Return the verified observation of a track, or None if the track ends."""
        return observation


class HandFinder(Finder[HandObservation]):
    """Propose hands by the palm detector and verify them in the mirrored image, as in the search of stills."""

    inferences = 2

    def __init__(self, palms: SingleShotDetector, hands: Hands, min_detection: float) -> None:
        super().__init__(hands, hands.box_after)
        self._palms, self._hands, self._min_detection = palms, hands, min_detection

    @property
    def sources(self) -> tuple[Source, ...]:
        """The palm detector."""
        return (Source(self._hands_in),)

    def _hands_in(self, rgb: Image, window: Window) -> list[Proposal]:
        return window.proposals(self._palms.find(window.cut(rgb), self._min_detection), box_from_palm)

    def score(self, rgb: Image, proposal: Proposal, first: HandObservation, second: HandObservation) -> float:
        """Return the score from the presence in both frames and in the mirrored image."""
        mirrored = observe_mirrored(self._hands, rgb, self.box_after(second))
        presence = logit(min(first.score, second.score))
        return Score.named("stream_hand")({"presence": presence, "mirrored": logit(mirrored.score)})


class FaceFinder(Finder[FaceObservation]):
    """Propose faces by the full-range detector, which must also detect tracked faces at their position.

    The mesh network can mistake a hand for a face.
    """

    verifies = True

    def __init__(self, detector: SingleShotDetector, meshes: FaceMeshes, min_detection: float) -> None:
        super().__init__(meshes, meshes.box_after)
        self._detector, self._min_detection = detector, min_detection

    @property
    def sources(self) -> tuple[Source, ...]:
        """The face detector."""
        return (Source(self._faces_in),)

    def _faces_in(self, rgb: Image, window: Window) -> list[Proposal]:
        faces = self._detector.find(window.cut(rgb), self._min_detection)
        return window.proposals(faces, lambda f: box_around_face(f.box.tolist(), *f.keypoints[:2].tolist()))

    def score(self, rgb: Image, proposal: Proposal, first: FaceObservation, second: FaceObservation) -> float:
        """Return the score from the detection, the presence in both frames, and the agreement of the two shapes."""
        presence = logit(min(first.score, second.score))
        agreement = logit(oks(first.keypoints, second.keypoints, moved=True))
        return Score.named("stream_face")(
            {"detection": logit(proposal.score), "presence": presence, "agreement": agreement}
        )

    def accepts_new(
        self, rgb: Image, observation: FaceObservation, detections: int = 1, proposal: Proposal | None = None
    ) -> bool:
        """Check whether a face is detected at the position of a mesh."""
        x_min, y_min, x_max, y_max = observation.box
        size, centre = max(x_max - x_min, y_max - y_min), ((x_min + x_max) / 2, (y_min + y_max) / 2)
        return face_score(self._detector, rgb, centre, size, _ON_MESH) > 0

    def verify(
        self,
        rgb: Image,
        track: Track[FaceObservation],
        observation: FaceObservation,
        tracked: Sequence[Track[FaceObservation]],
    ) -> FaceObservation | None:
        """Return a tracked face, or None if it is no longer one. Tracked faces are verified periodically."""
        record = self._records.setdefault(track, Record())
        if not record.is_due():
            return observation
        passed = self.accepts_new(rgb, observation)
        return observation if record.is_kept(sure=passed, passed=passed) else None


def face_score(
    faces: SingleShotDetector,
    rgb: Image,
    centre: tuple[float, float] | list[float],
    size: float,
    fit: tuple[float, tuple[float, float], float],
) -> float:
    """Return the score of the face that a detector finds at a head; 0 if it finds none.

    Args:
        faces: Full-range face detector.
        rgb: Image (H, W, 3).
        centre: Centre of the head (x, y), in pixels.
        size: Width of the head, in pixels.
        fit: Maximum distance and width range of the face, in head sizes, and its minimum score.
    """
    window = window_around(centre[0], centre[1], _WINDOW * size, rgb)
    if window is None:
        return 0.0
    distance, (narrowest, widest), min_score = fit
    for face in faces.find(window.cut(rgb), min_score):
        x_min, y_min, x_max, y_max = face.box.tolist()
        middle = (window.left + (x_min + x_max) / 2, window.top + (y_min + y_max) / 2)
        if math.dist(middle, centre) < distance * size and narrowest < (x_max - x_min) / size < widest:
            return face.score
    return 0.0
