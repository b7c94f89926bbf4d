"""Define how hands, faces and bodies are found in the windows of a stream, and how they are verified."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias
from weakref import WeakKeyDictionary

from sonjit._util import Image
from sonjit.detectors.kinds.body import Bodies, BodyObservation
from sonjit.detectors.kinds.face import FaceMeshes, FaceObservation, box_around_detection
from sonjit.detectors.kinds.hands import HandObservation, Hands, box_from_palm
from sonjit.detectors.search import bodies, geometry, network, stills
from sonjit.detectors.search.faces import face_features, find_people
from sonjit.detectors.search.score import LIMITS, logit, probability
from sonjit.detectors.search.streams import Finder, Source
from sonjit.detectors.ssd import SingleShotDetector
from sonjit.detectors.tracking import Track
from sonjit.geometry.boxes import RotatedBox, box_around, box_iou, letterbox_box, size_of
from sonjit.geometry.windows import Window, window_around

_WINDOW = 3.0  # side of the window in which a face is searched, in widths of the head
_CHECK_INTERVAL, _PASSED_CHECK_INTERVAL = 3, 30  # frames between checks of a track, after a failure and a success
# Failures in a row that end a track: without a success, more for each success, and the maximum.
_MIN_FAILURES, _FAILURES_PER_SUCCESS, _MAX_FAILURES = 2, 4, 18
# Fit of a face to a mesh, and to the head of a body, which spans eyes, ears and mouth: maximum distance of the centres
# and range of the width, in head sizes; minimum score.
_ON_MESH = 0.25, (0.65, 1.4), 0.4
_ON_BODY = 0.4, (0.75, 2.3), 0.45
_NO_PROPOSAL = geometry.Proposal(RotatedBox(0, 0, 1, 1), 0.5, "track")
_AROUND_CROP = 2.0  # side of the area in which a face is detected again, relative to the crop of its mesh
_TURNED_SCORE = 0.5  # minimum score of a turned face in the crop of its mesh
_HEAD_SCORE = 0.5  # minimum score of a face that proposes a body
_TRACKED_IOU = 0.4  # minimum IoU of the box of a proposed person and that of a tracked body that it shows
_HEAD_FRAMES = 40  # number of frames for which a detected head counts
_PEOPLE_PARTS = (1, 2)  # numbers of windows along the longer side of an image in which people are detected
_FACE_COST, _PEOPLE_COST = 0.25, 3.0  # time of a window with faces and people, in inferences of the landmark network
_MIN_HEAD_PX = 8.0
_CERTAIN_FACE = 0.75  # minimum score of a face that verifies a new body in the first frame
# Detections in windows of a new body with a face of lower score, and of one without a face.
_FACE_DETECTIONS, _FACELESS_DETECTIONS = 2, 3
_MIN_BODY, _SURE_BODY = 0.15, 0.95
"""Score of stills above which a body without a face is a person, and above which it is one despite a hand there."""
_HAND_SCORE, _HAND_IOU = 0.55, 0.12
"""Minimum score of a hand, and minimum IoU of its box and that of a body, for which the body may be the hand."""
_FAINT_PRESENCE = 0.5  # presence below which a tracked body stays only if its face is detected
_MEMORY = 0.15  # weight of a new frame in the confidence of a body: the presence of an occluded body varies


FaceTrack: TypeAlias = Track[FaceObservation]
BodyTrack: TypeAlias = Track[BodyObservation]


@dataclass
class Record:
    """History of a tracked instance."""

    confidence: float = 1.0  # mean presence of the last frames
    frames: int = 0  # since the last check
    failures: int = 0  # failed checks in a row
    successes: int = 0  # passed checks

    def is_due(self) -> bool:
        """Count a frame and return whether the instance is checked in it."""
        self.frames += 1
        if self.frames < (_PASSED_CHECK_INTERVAL if self.successes and not self.failures else _CHECK_INTERVAL):
            return False
        self.frames = 0
        return True

    def is_kept(self, *, sure: bool, passed: bool) -> bool:
        """Return whether the instance stays after a check. A sure one is checked again later."""
        self.successes += sure
        self.failures = 0 if passed else self.failures + 1
        return self.failures < min(_MIN_FAILURES + _FAILURES_PER_SUCCESS * self.successes, _MAX_FAILURES)


class HandFinder(Finder[HandObservation]):
    """Propose hands by the palm detector and verify them in the mirrored image, as in the search of stills."""

    inferences = 2

    def __init__(self, palms: SingleShotDetector, hands: Hands, min_detection: float) -> None:
        super().__init__(hands)
        self._palms = palms
        self._hands = hands
        self._min_detection = min_detection

    @property
    def sources(self) -> tuple[Source, ...]:
        """The palm detector."""
        return (Source(self._hands_in),)

    def _hands_in(self, rgb: Image, window: Window) -> list[geometry.Proposal]:
        return geometry.proposals_in(
            window, self._palms.find(window.cut(rgb), self._min_detection), box_from_palm, "palm"
        )

    def score(self, rgb: Image, proposal: geometry.Proposal, first: HandObservation, second: HandObservation) -> float:
        """Return the score 0 to 1 from the presence in both frames and in the mirrored image (H, W, 3)."""
        mirrored = self._hands.observe_mirrored(rgb, self.box_after(second))
        presence = logit(min(first.score, second.score))
        return probability("stream_hand", {"presence": presence, "mirrored": logit(mirrored.score)})


class FaceFinder(Finder[FaceObservation]):
    """Propose and verify faces by the full-range detector, because the mesh network can mistake a hand for a face."""

    verifies = True

    def __init__(
        self,
        detector: SingleShotDetector,
        meshes: FaceMeshes,
        people: Callable[[], network.PeopleNetwork],
        min_detection: float,
    ) -> None:
        super().__init__(meshes)
        self._records: WeakKeyDictionary[FaceTrack, Record] = WeakKeyDictionary()
        self._detector = detector
        self._meshes = meshes
        self._people = people
        self._min_detection = min_detection

    @property
    def sources(self) -> tuple[Source, ...]:
        """The face detector in the upright and in the upside-down image."""
        upright, turned = self._faces_in, self._upside_down_faces_in
        return Source(upright, (1,)), Source(turned, (1,)), Source(upright), Source(turned, (2,))

    def _faces_in(self, rgb: Image, window: Window) -> list[geometry.Proposal]:
        image = window.cut(rgb)
        found = self._detector.find(image, self._min_detection)
        turned = (self._meshes.turned_upright(self._detector, image, face) for face in found)
        return geometry.proposals_in(window, turned, box_around_detection, "face")

    def _upside_down_faces_in(self, rgb: Image, window: Window) -> list[geometry.Proposal]:
        image = window.cut(rgb)
        area = letterbox_box(image.shape[1], image.shape[0], 1, 1)._replace(rotation=math.pi)
        found = self._detector.find_in(image, area, self._min_detection)
        return geometry.proposals_in(window, found, box_around_detection, "face")

    def score(self, rgb: Image, proposal: geometry.Proposal, first: FaceObservation, second: FaceObservation) -> float:
        """Return the score 0 to 1 of a face in an image (H, W, 3), as in stills if it is not detected again.

        The network for people runs only if it decides.
        """
        agreement = geometry.oks(first.keypoints, second.keypoints, moved=True)
        candidate = stills.Candidate([first, second], proposal, agreement)
        features = face_features(candidate, ())
        score = probability("stream_face", features)
        if score > geometry.PRESENT and self._is_detected(rgb, second):
            return score
        least, most = (probability("face", {**features, "person": seen}) for seen in (features["person"], logit(1.0)))
        if least > geometry.PRESENT or most < geometry.PRESENT:
            return least
        return probability("face", face_features(candidate, find_people(rgb, self._people())))

    def accepts_new(
        self, rgb: Image, observation: FaceObservation, detections: int = 1, proposal: geometry.Proposal | None = None
    ) -> bool:
        """Check whether a mesh in an image (H, W, 3) is a face: from a window, detected, or scored as in stills."""
        return proposal is not None or self._is_detected(rgb, observation) or self._is_scored(rgb, observation)

    def _is_detected(self, rgb: Image, observation: FaceObservation) -> bool:
        """Check whether a face is detected at the position of a mesh in an image (H, W, 3), upright or in its crop."""
        x_min, y_min, x_max, y_max = observation.box
        size, centre = max(x_max - x_min, y_max - y_min), ((x_min + x_max) / 2, (y_min + y_max) / 2)
        box = self.box_after(observation)
        is_turned = abs(box.rotation) > math.pi / 4 and bool(self._detector.find_in(rgb, box, _TURNED_SCORE))
        return is_turned or face_score(self._detector, rgb, centre, size, _ON_MESH) > 0

    def _is_scored(self, rgb: Image, observation: FaceObservation) -> bool:
        """Check whether a mesh of an image (H, W, 3) is a face as in stills, detected again in the turned image."""
        box = self.box_after(observation)
        side = _AROUND_CROP * box.width
        found = self._detector.find_in(rgb, box._replace(width=side, height=side), self._min_detection)
        if not found:
            return False
        proposal = geometry.Proposal(box, found[0].score, "track")
        return self.score(rgb, proposal, observation, self._meshes.observe(rgb, box)) > geometry.PRESENT

    def verify(
        self, rgb: Image, track: FaceTrack, observation: FaceObservation, tracked: Sequence[FaceTrack]
    ) -> FaceObservation | None:
        """Return a tracked face of an image (H, W, 3), or None if it is no longer one. It is verified periodically."""
        record = self._records.setdefault(track, Record())
        if not record.is_due():
            return observation
        passed = self.accepts_new(rgb, observation)
        return observation if record.is_kept(sure=passed, passed=passed) else None


class BodyFinder(Finder[BodyObservation]):
    """Propose people, and bodies below faces. These are observed with all other heads covered, as in stills.

    Both networks of bodies can mistake a hand for a body. Where the face detector detects no face at the head, the
    network that proposes people and hands must therefore propose no hand there.
    """

    verifies = True
    refresh_frames = 30
    min_presence = 0.02

    def __init__(self, faces: SingleShotDetector, people: Callable[[], network.PeopleNetwork], bodies: Bodies) -> None:
        super().__init__(bodies)
        self._records: WeakKeyDictionary[BodyTrack, Record] = WeakKeyDictionary()
        self._faces, self._people = faces, people
        self.reset()

    @property
    def sources(self) -> tuple[Source, ...]:
        """The face detector and the network that proposes people."""
        below_faces = Source(self._bodies_below_faces, cost=_FACE_COST)
        return below_faces, Source(self._people_in, _PEOPLE_PARTS, cost=_PEOPLE_COST, fewer=True)

    def reset(self) -> None:
        """Forget the previous stream."""
        self._frame = 0
        # Each head with the window and the frame in which it was detected.
        self._heads: list[tuple[geometry.Head, Window, int]] = []

    def begin_frame(self, tracked: Sequence[BodyObservation]) -> None:
        """Forget the heads of tracked bodies, and old ones."""
        self._frame += 1
        self._heads = [
            (head, window, frame)
            for head, window, frame in self._heads
            if self._frame - frame < _HEAD_FRAMES and not any(geometry.is_head_of(body, head) for body in tracked)
        ]

    def _people_in(self, rgb: Image, window: Window) -> list[geometry.Proposal]:
        """Return the boxes of the people in a window."""
        people, _ = self._people().find(rgb, window, LIMITS["stream_person"])
        return [geometry.Proposal(bodies.crop_of(box), score, "person", person=box) for score, box in people]

    def _bodies_below_faces(self, rgb: Image, window: Window) -> list[geometry.Proposal]:
        """Return the boxes of bodies below the faces of a window."""
        heads = geometry.detected_heads(self._faces, rgb, window, _HEAD_SCORE)
        self._heads = [item for item in self._heads if item[1] != window]
        self._heads += [(head, window, self._frame) for head in heads]
        return [_proposal_below(head) for head in heads]

    def observe(
        self, rgb: Image, box: RotatedBox, proposal: geometry.Proposal, tracked: Sequence[BodyObservation]
    ) -> BodyObservation:
        """Run the landmark network on an image (H, W, 3) with all heads covered except that of the proposal."""
        heads = [*(head for head, *_ in self._heads), *map(geometry.head_of_body, tracked)]
        others = heads if proposal.head is None else bodies.other_heads(heads, proposal.head)
        return self._kind.observe(bodies.without_others(rgb, proposal, others), box)

    def score(self, rgb: Image, proposal: geometry.Proposal, first: BodyObservation, second: BodyObservation) -> float:
        """Score a person in an image (H, W, 3) 0 to 1 as in stills, and a body below a face if the face is its own."""
        agreement = bodies.body_oks(first, second, rgb, moved=True)
        if proposal.head is None:
            return _faceless_score(rgb, [first, second], agreement)
        if not geometry.is_head_of(second, proposal.head):
            return 0.0
        return probability("stream_body", {"score": logit(max(first.score, second.score) * agreement)})

    def is_tracked(self, proposal: geometry.Proposal, tracked: BodyObservation) -> bool:
        """Check whether a proposal has the head or, without one, the box of a tracked body."""
        if proposal.head is not None:
            return geometry.is_head_of(tracked, proposal.head)
        return proposal.person is not None and box_iou(proposal.person, box_around(tracked.keypoints)) > _TRACKED_IOU

    def is_same(self, observation: BodyObservation, tracked: BodyObservation) -> bool:
        """Check whether two bodies share one torso."""
        return geometry.is_same_torso(observation, tracked)

    def accepts_new(
        self, rgb: Image, observation: BodyObservation, detections: int = 1, proposal: geometry.Proposal | None = None
    ) -> bool:
        """Check whether a new detection in an image (H, W, 3) is a body. A doubtful one of windows must be repeated."""
        known = max((head.score for head, *_ in self._heads if geometry.is_head_of(observation, head)), default=0.0)
        if known > _CERTAIN_FACE and proposal is None:
            return True
        face = self._face_score(rgb, observation)
        if face > _CERTAIN_FACE or (face > 0 and detections >= _FACE_DETECTIONS):
            return True
        was_face = known > _CERTAIN_FACE and detections >= _FACE_DETECTIONS  # a face, or a hand of an earlier frame
        if proposal is not None and not was_face:
            is_early = face > 0 or proposal.head is not None or detections < _FACELESS_DETECTIONS
            if is_early or observation.score <= LIMITS["faceless"]:
                return False
        return self._person_score(rgb, observation) > _MIN_BODY

    def image_for_track(self, rgb: Image, track: BodyTrack, tracked: Sequence[BodyTrack]) -> Image:
        """Return the image (H, W, 3) with the heads of other people covered: tracked ones, and certain faces.

        A less certain face is often a hand or a foot of the person, who must not be covered.
        """
        certain = [head for head, *_ in self._heads if head.score > _CERTAIN_FACE]
        own = geometry.head_of_body(track.observation)
        others = bodies.other_heads([*certain, *_other_heads(track, tracked)], own)
        return bodies.without_other_heads(rgb, track.box, others, own)

    def verify(
        self, rgb: Image, track: BodyTrack, observation: BodyObservation, tracked: Sequence[BodyTrack]
    ) -> BodyObservation | None:
        """Return a tracked body of an image (H, W, 3), or None if it is no longer one. It is verified periodically.

        A body of low presence, or whose box now shows another tracked person, stays while its face is detected. Its
        score is then that of the search over its last frames.
        """
        before, sure = track.observation, False
        record = self._records.setdefault(track, Record(confidence=before.score))
        is_another = not geometry.is_head_of(observation, geometry.head_of_body(before)) and any(
            geometry.is_head_of(observation, head) for head in _other_heads(track, tracked)
        )
        agreement = 0.0 if is_another else bodies.body_oks(before, observation, rgb)
        record.confidence += _MEMORY * (observation.score * agreement - record.confidence)
        if is_another or observation.score < _FAINT_PRESENCE:
            score = probability("stream_body", {"score": logit(record.confidence)})
            seen = (before,) if is_another else (observation, before)
            faced = next((body for body in seen if self._face_score(rgb, body) > 0), None)
            if faced is None:
                return None if is_another else observation
            observation, sure = replace(faced, score=score), True
        if not record.is_due():
            return observation
        has_face = sure or self._face_score(rgb, observation) > 0
        evidence = 1.0 if has_face else self._person_score(rgb, observation)
        kept = record.is_kept(sure=evidence > LIMITS["faceless"], passed=evidence > _MIN_BODY)
        return observation if kept else None

    def _face_score(self, rgb: Image, observation: BodyObservation) -> float:
        head = observation.keypoints[geometry.HEAD, :2]
        centre = head.mean(axis=0).tolist()
        return face_score(self._faces, rgb, centre, max(size_of(head), _MIN_HEAD_PX), _ON_BODY)

    def _person_score(self, rgb: Image, observation: BodyObservation) -> float:
        """Return the score of a body as in stills, from two inferences; 0 for a hand that looks like a body."""
        image = Window(0, 0, rgb.shape[1], rgb.shape[0])
        people, hands = self._people().find(rgb, image, LIMITS["person"], _HAND_SCORE)
        heads = geometry.detected_heads(self._faces, rgb, image, LIMITS["head"])
        again = self._kind.observe(rgb, self.box_after(observation))
        agreement = bodies.body_oks(observation, again, rgb)
        candidate = stills.Candidate([observation, again], _NO_PROPOSAL, agreement)
        score = probability("body", bodies.body_features(candidate, rgb, heads, people))
        around = bodies.clipped(observation, rgb)
        is_hand = any(box_iou(around, hand.bounds) > _HAND_IOU for hand in hands)
        return 0.0 if is_hand and score < _SURE_BODY else score


def _faceless_score(rgb: Image, views: list[BodyObservation], agreement: float) -> float:
    """Return the score of a body without a face from two observations."""
    return probability("faceless", bodies.body_features(stills.Candidate(views, _NO_PROPOSAL, agreement), rgb, ()))


def _proposal_below(head: geometry.Head, placement: int = 0) -> geometry.Proposal:
    """Return the proposal of a body below a head, whose alternatives are the further placements."""
    otherwise = _proposal_below(head, placement + 1) if placement + 1 < len(bodies.PLACEMENTS) else None
    box, score = bodies.box_below(head, placement), head.score / (1 + placement)
    return geometry.Proposal(box, score, "head", head, None, otherwise)


def _other_heads(track: BodyTrack, tracked: Sequence[BodyTrack]) -> list[geometry.Head]:
    """Return the heads of the other visible people."""
    others = (other for other in tracked if other is not track and other.occluded_s is None)
    return [geometry.head_of_body(other.observation) for other in others]


def face_score(
    faces: SingleShotDetector,
    rgb: Image,
    centre: tuple[float, float] | list[float],
    size: float,
    fit: tuple[float, tuple[float, float], float],
) -> float:
    """Return the score 0 to 1 of the face that a detector finds at a head in an image (H, W, 3); 0 if it finds none.

    `centre` (x, y) and `size` of the head are in pixels. `fit` is the maximum distance and the width range of the face,
    in head sizes, and its minimum score.
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
