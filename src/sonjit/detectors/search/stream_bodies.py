"""Define how bodies are found in the windows of a stream, and how they are verified."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sonjit.detectors.kinds.body import Bodies, BodyObservation
from sonjit.detectors.search.agenda import Candidate
from sonjit.detectors.search.bodies import (
    PLACEMENTS,
    body_features,
    body_oks,
    box_below,
    box_of_person,
    has_hips_of,
    without_other_heads,
)
from sonjit.detectors.search.faces import detected_heads
from sonjit.detectors.search.geometry import HEAD, Head, Proposal, Window, head_of_body, is_head_of, is_same_torso
from sonjit.detectors.search.score import LIMITS, Score, logit
from sonjit.detectors.search.stream_finders import Finder, Record, Source, face_score
from sonjit.geometry.boxes import size_of

if TYPE_CHECKING:
    from sonjit.detectors.search.geometry import Image
    from sonjit.detectors.ssd import SingleShotDetector
    from sonjit.detectors.tracking import Track
    from sonjit.geometry.boxes import RotatedBox

_HEAD_SCORE = 0.5
"""Minimum score of a face that proposes a body."""
_HEAD_FRAMES = 40
"""Number of frames for which a detected head counts."""
_PEOPLE_PARTS = (1, 2)
"""Numbers of windows along the longer side of an image in which people are detected."""
_FACE_COST = 0.25
"""Time in which faces are detected in a window, in inferences of the landmark network of bodies."""
_MIN_HEAD_PX = 8.0
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
_ON_BODY = 0.4, (0.75, 2.3), 0.45  # the head of a body spans eyes, ears and mouth
"""Fit of a face to a head: maximum distance of the centres and range of the width, in head sizes; minimum score."""


class BodyFinder(Finder[BodyObservation]):
    """Propose people, and bodies below faces. These are observed with all other heads covered, as in stills.

    Both networks of bodies can mistake a hand for a body. The face detector must therefore detect a face at the head. A
    body without a face requires a high score as in stills.
    """

    verifies = True
    refresh_frames = 30
    min_presence = 0.02

    def __init__(self, faces: SingleShotDetector, bodies: Bodies) -> None:
        assert bodies.people is not None
        super().__init__(bodies, bodies.box_after)
        self._faces, self._people = faces, bodies.people.detector
        self.reset()

    @property
    def sources(self) -> tuple[Source, ...]:
        """The face detector and the person detector."""
        below_faces = Source(self._bodies_below_faces, cost=_FACE_COST)
        return below_faces, Source(self._people_in, _PEOPLE_PARTS, fewer=True)

    def reset(self) -> None:
        """Forget the previous stream."""
        self._frame = 0
        self._heads: list[tuple[Head, Window, int]] = []  # with the window and the frame in which it was detected

    def begin_frame(self, tracked: Sequence[BodyObservation]) -> None:
        """Forget the heads of tracked bodies, and old ones."""
        self._frame += 1
        self._heads = [
            (head, window, frame)
            for head, window, frame in self._heads
            if self._frame - frame < _HEAD_FRAMES and not any(is_head_of(body, head) for body in tracked)
        ]

    def _people_in(self, rgb: Image, window: Window) -> list[Proposal]:
        """Return the boxes of the people in a window."""
        return window.proposals(self._people.find(window.cut(rgb), LIMITS["person"]), box_of_person, window)

    def _bodies_below_faces(self, rgb: Image, window: Window) -> list[Proposal]:
        """Return the boxes of bodies below the faces of a window."""
        heads = detected_heads(self._faces, rgb, window, _HEAD_SCORE)
        self._heads = [item for item in self._heads if item[1] != window]
        self._heads += [(head, window, self._frame) for head in heads]
        return [_proposal_below(head) for head in heads]

    def _without_other_heads(self, rgb: Image, box: RotatedBox, own: Head, people: Iterable[BodyObservation]) -> Image:
        """Return an image with the heads in a box covered, except one."""
        heads = (*(head for head, *_ in self._heads), *map(head_of_body, people))
        return without_other_heads(rgb, box, heads, own)

    def observe(
        self, rgb: Image, box: RotatedBox, proposal: Proposal, tracked: Sequence[BodyObservation]
    ) -> BodyObservation:
        """Run the landmark network with all heads covered except that of the proposal."""
        if proposal.head is not None:
            rgb = self._without_other_heads(rgb, proposal.box, proposal.head, tracked)
        return self._kind.observe(rgb, box)

    def score(self, rgb: Image, proposal: Proposal, first: BodyObservation, second: BodyObservation) -> float:
        """Score a detected person as in stills, and a body below a face if the face is its own."""
        agreement = body_oks(first, second, rgb, moved=True)
        if proposal.head is None:
            return _score_as_still(rgb, [first, second], proposal.score, proposal.votes, agreement)
        if not is_head_of(second, proposal.head):
            return 0.0
        return Score.named("stream_body")({"score": logit(max(first.score, second.score) * agreement)})

    def is_tracked(self, proposal: Proposal, tracked: BodyObservation) -> bool:
        """Check whether a proposal has the head or, without one, the hips of a tracked body."""
        return has_hips_of(proposal, tracked) if proposal.head is None else is_head_of(tracked, proposal.head)

    def is_same(self, observation: BodyObservation, tracked: BodyObservation) -> bool:
        """Check whether two bodies share one torso."""
        return is_same_torso(observation, tracked)

    def accepts_new(
        self, rgb: Image, observation: BodyObservation, detections: int = 1, proposal: Proposal | None = None
    ) -> bool:
        """Check whether a new detection in an image (H, W, 3) is a body. A doubtful one must be detected again."""
        known = max((head.score for head, *_ in self._heads if is_head_of(observation, head)), default=0.0)
        if known > _CERTAIN_FACE and (proposal is None or detections >= _FACE_DETECTIONS):
            return True
        face = self._face_score(rgb, observation)
        if face > 0:
            return face > _CERTAIN_FACE or detections >= _FACE_DETECTIONS
        if detections < _FACELESS_DETECTIONS:
            return False
        if proposal is not None and proposal.head is not None:
            return False
        score = self._faceless_score(rgb, observation) if proposal is None else observation.score
        return score > LIMITS["faceless"]

    def image_for_track(
        self, rgb: Image, track: Track[BodyObservation], tracked: Sequence[Track[BodyObservation]]
    ) -> Image:
        """Return the image with the heads of all other people covered."""
        others = (other.observation for other in _visible_others(track, tracked))
        return self._without_other_heads(rgb, track.box, head_of_body(track.observation), others)

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
        record = self._records.setdefault(track, Record(confidence=before.score))
        is_another = self._is_another_person(track, observation, tracked)
        agreement = 0.0 if is_another else body_oks(before, observation, rgb)
        record.confidence += _MEMORY * (observation.score * agreement - record.confidence)
        if is_another or observation.score < _FAINT_PRESENCE:
            score = Score.named("stream_body")({"score": logit(record.confidence)})
            bodies = (before,) if is_another else (observation, before)
            faced = next((body for body in bodies if self._face_score(rgb, body) > 0), None)
            if faced is None:
                return None if is_another else observation
            observation, sure = replace(faced, score=score), True
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
        others = (head_of_body(other.observation) for other in _visible_others(track, tracked))
        return any(is_head_of(observation, head) for head in others)

    def _face_score(self, rgb: Image, observation: BodyObservation) -> float:
        head = observation.keypoints[HEAD, :2]
        centre = head.mean(axis=0).tolist()
        return face_score(self._faces, rgb, centre, max(size_of(head), _MIN_HEAD_PX), _ON_BODY)

    def _faceless_score(self, rgb: Image, observation: BodyObservation) -> float:
        """Return the score of a body without a face, as in stills, from two inferences; 0 with the head outside."""
        x, y = observation.keypoints[HEAD, :2].mean(axis=0).tolist()
        if not (0 < x < rgb.shape[1] and 0 < y < rgb.shape[0]):
            return 0.0
        again = self._kind.observe(rgb, self.box_after(observation))
        agreement = body_oks(observation, again, rgb)
        return _score_as_still(rgb, [again, observation], _FACELESS_DETECTION, {None}, agreement)


def _score_as_still(
    rgb: Image, views: list[BodyObservation], detection: float, votes: set[object], agreement: float
) -> float:
    """Return the score of a body without a face in the search of stills; see `Candidate`."""
    return Score.named("body")(body_features(Candidate(views, detection, votes, agreement=agreement), rgb, ()))


def _proposal_below(head: Head, placement: int = 0) -> Proposal:
    """Return the proposal of a body below a head, whose alternatives are the further placements."""
    otherwise = _proposal_below(head, placement + 1) if placement + 1 < len(PLACEMENTS) else None
    return Proposal(box_below(head, placement), head.score / (1 + placement), set(), head, otherwise)


def _visible_others(
    track: Track[BodyObservation], tracked: Sequence[Track[BodyObservation]]
) -> list[Track[BodyObservation]]:
    return [other for other in tracked if other is not track and other.occluded_s is None]
