"""Verify the faces and bodies of a stream. A hand can look like a face or a body to their networks."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic
from weakref import WeakKeyDictionary

from sonjit.detectors.kinds.body import BodyObservation, box_from_alignment
from sonjit.detectors.kinds.face import FaceObservation
from sonjit.detectors.search.agenda import Candidate, O
from sonjit.detectors.search.bodies import (
    BODY_TOLERANCE,
    body_features,
    heads_in,
    visibility_inside,
    without_other_heads,
)
from sonjit.detectors.search.geometry import Head, Proposal, corners, head_of_body, is_head_of, oks, window_around
from sonjit.detectors.search.score import LIMITS, Score, logit
from sonjit.geometry.boxes import size_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sonjit.detectors.kinds.body import Bodies
    from sonjit.detectors.search.geometry import Image
    from sonjit.detectors.ssd import SingleShotDetector
    from sonjit.detectors.tracking import Track

_HEAD = slice(0, 11)
_MIN_HEAD_PX = 8.0
_WINDOW = 3.0
"""Side of the window in which a face is searched, in widths of the head."""
_FACELESS_DETECTION = 0.75
"""Detection score that is assumed for a body without a face."""
_CERTAIN_FACE = 0.75
"""Minimum score of a face that verifies a new body in the first frame."""
_FACE_DETECTIONS, _FACELESS_DETECTIONS = 2, 3
"""Number of detections of a new body with a face of lower score, and of one without a face."""
_FAINT_PRESENCE = 0.5
"""Presence below which a tracked body stays only if its face is detected."""
_MEMORY = 0.15
"""Weight of a new frame in the confidence of a body. The presence of a mostly occluded body varies between frames."""
_CHECK_INTERVAL, _PASSED_CHECK_INTERVAL = 3, 30
"""Number of frames between checks of a tracked instance, after a failure and after a success."""
_MIN_FAILURES, _FAILURES_PER_SUCCESS, _MAX_FAILURES = 2, 4, 18
"""Number of failures in a row that end a track: without a success, more for each success, and the maximum."""
_ON_BODY = 0.4, (0.75, 2.3), 0.45  # the head of a body spans eyes, ears and mouth
_ON_MESH = 0.25, (0.65, 1.4), 0.4
"""Fit of a face to a head: maximum distance of the centres and range of the width, in head sizes; minimum score."""


@dataclass
class _Record:
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


class Check(ABC, Generic[O]):
    """Verifier of a stream that also decides on new detections; see `sonjit.detectors.interfaces.Verifier`."""

    def __init__(self) -> None:
        self._records: WeakKeyDictionary[Track[O], _Record] = WeakKeyDictionary()

    def reset(self) -> None:
        """Forget the previous stream."""
        self._records.clear()

    def masked_image(self, rgb: Image, track: Track[O], tracked: Sequence[Track[O]]) -> Image:
        """Return the image for one track, without what the network could mistake for its instance."""
        return rgb

    @abstractmethod
    def accepts_new(self, rgb: Image, observation: O, detections: int = 1, proposal: Proposal | None = None) -> bool:
        """Check whether a new detection may start a track.

        Args:
            rgb: Image (H, W, 3).
            observation: New detection.
            detections: Number of frames in a row in which it was detected.
            proposal: Proposal that led to it in a search of windows; None for the search of the image.
        """

    @abstractmethod
    def verify(self, rgb: Image, track: Track[O], observation: O, tracked: Sequence[Track[O]]) -> O | None:
        """Return the verified observation of a track, or None if the track ends."""


class FaceCheck(Check[FaceObservation]):
    """Verify faces: the full-range detector must detect them at the same position.

    The mesh network can mistake a hand for a face.

    Args:
        faces: Full-range face detector.
    """

    def __init__(self, faces: SingleShotDetector) -> None:
        super().__init__()
        self._faces = faces

    def accepts_new(
        self, rgb: Image, observation: FaceObservation, detections: int = 1, proposal: Proposal | None = None
    ) -> bool:
        """Check whether a new detection in an image (H, W, 3) is a face."""
        x_min, y_min, x_max, y_max = corners(observation.keypoints)
        size, centre = max(x_max - x_min, y_max - y_min), ((x_min + x_max) / 2, (y_min + y_max) / 2)
        return face_score(self._faces, rgb, centre, size, _ON_MESH) > 0

    def verify(
        self,
        rgb: Image,
        track: Track[FaceObservation],
        observation: FaceObservation,
        tracked: Sequence[Track[FaceObservation]],
    ) -> FaceObservation | None:
        """Return a tracked face, or None if it is no longer one. Tracked faces are re-verified periodically."""
        record = self._records.setdefault(track, _Record())
        if not record.is_due():
            return observation
        passed = self.accepts_new(rgb, observation)
        return observation if record.is_kept(sure=passed, passed=passed) else None


class BodyCheck(Check[BodyObservation]):
    """Verify bodies: another network must detect a face at the head.

    Both networks of bodies can mistake a hand for a body. A body without a face requires a high score as in stills.

    Args:
        faces: Full-range face detector.
        bodies: Networks of bodies, to observe a body again.
        heads: Heads detected in the stream.
    """

    def __init__(self, faces: SingleShotDetector, bodies: Bodies, heads: Iterable[Head] = ()) -> None:
        super().__init__()
        self._faces, self._bodies, self._heads = faces, bodies, heads

    def accepts_new(
        self, rgb: Image, observation: BodyObservation, detections: int = 1, proposal: Proposal | None = None
    ) -> bool:
        """Check whether a new detection in an image (H, W, 3) is a body. A doubtful one must be detected again."""
        known = max((head.score for head in self._heads if is_head_of(observation, head)), default=0.0)
        face = known if known > _CERTAIN_FACE else self._face_score(rgb, observation)
        if face > 0:
            return face > _CERTAIN_FACE or detections >= _FACE_DETECTIONS
        if detections < _FACELESS_DETECTIONS:
            return False
        if proposal is not None and proposal.head is not None:
            return False
        score = self._faceless_score(rgb, observation) if proposal is None else observation.score
        return score > LIMITS["faceless"]

    def masked_image(
        self, rgb: Image, track: Track[BodyObservation], tracked: Sequence[Track[BodyObservation]]
    ) -> Image:
        """Return the image with the heads of all other people covered."""
        others = (
            head_of_body(other.observation) for other in tracked if other is not track and other.occluded_s is None
        )
        heads = heads_in(track.box, (*self._heads, *others))
        return without_other_heads(rgb, heads, head_of_body(track.observation))

    def verify(
        self,
        rgb: Image,
        track: Track[BodyObservation],
        observation: BodyObservation,
        tracked: Sequence[Track[BodyObservation]],
    ) -> BodyObservation | None:
        """Return a tracked body, or None if it is no longer one. Tracked bodies are re-verified periodically.

        A body of low presence, or whose box now shows another tracked person, stays while its face is detected. Its
        score is then that of the search over its last frames.
        """
        before, sure = track.observation, False
        record = self._records.setdefault(track, _Record(confidence=before.score))
        is_another = self._is_another_person(track, observation, tracked)
        agreement = (
            0.0
            if is_another
            else oks(before.keypoints, observation.keypoints, BODY_TOLERANCE, visibility_inside(observation, rgb))
        )
        record.confidence += _MEMORY * (observation.score * agreement - record.confidence)
        if is_another or observation.score < _FAINT_PRESENCE:
            score = Score.named("stream_body")({"score": logit(record.confidence)})
            with_face = [
                body for body in ((before,) if is_another else (observation, before)) if self._face_score(rgb, body) > 0
            ]
            if not with_face:
                return None if is_another else observation
            observation, sure = replace(with_face[0], score=score), True
        if not record.is_due():
            return observation
        has_face = sure or self._face_score(rgb, observation) > 0
        evidence = 1.0 if has_face else self._faceless_score(rgb, observation)
        kept = record.is_kept(sure=evidence > LIMITS["faceless"], passed=evidence > LIMITS["faceless_kept"])
        return observation if kept else None

    def _is_another_person(
        self, track: Track[BodyObservation], observation: BodyObservation, tracked: Sequence[Track[BodyObservation]]
    ) -> bool:
        """Check whether the head of a body moved to another person's head."""
        if is_head_of(observation, head_of_body(track.observation)):
            return False
        return any(
            other is not track and other.occluded_s is None and is_head_of(observation, head_of_body(other.observation))
            for other in tracked
        )

    def _face_score(self, rgb: Image, observation: BodyObservation) -> float:
        head = observation.keypoints[_HEAD, :2]
        centre = head.mean(axis=0).tolist()
        return face_score(self._faces, rgb, centre, max(size_of(head), _MIN_HEAD_PX), _ON_BODY)

    def _faceless_score(self, rgb: Image, observation: BodyObservation) -> float:
        """Return the score of a body without a face, as in stills, from two inferences; 0 with the head outside."""
        x, y = observation.keypoints[_HEAD, :2].mean(axis=0).tolist()
        if not (0 < x < rgb.shape[1] and 0 < y < rgb.shape[0]):
            return 0.0
        again = self._bodies.observe(rgb, box_from_alignment(observation.alignment))
        agreement = oks(observation.keypoints, again.keypoints, BODY_TOLERANCE, visibility_inside(again, rgb))
        candidate = Candidate([again, observation], _FACELESS_DETECTION, {None}, agreement=agreement)
        return Score.named("body")(body_features(candidate, rgb, ()))


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
