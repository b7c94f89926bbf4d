"""Search an image for hands: proposals of the palm detector and of arms, verified by one or two inferences."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from sonjit.detectors.kinds.hands import HandObservation, box_around_hand, box_from_palm
from sonjit.detectors.kinds.holistic import hand_box
from sonjit.detectors.search.agenda import COMPLETE, Agenda, Budget, Candidate, Found, are_enough, without_duplicates
from sonjit.detectors.search.bodies import box_below
from sonjit.detectors.search.faces import detected_heads
from sonjit.detectors.search.geometry import (
    PRESENT,
    PUBLISHED,
    Head,
    Hint,
    Proposal,
    Window,
    hint_score,
    hints_in,
    is_head_of,
    is_near,
    is_same_torso,
    merged,
    oks,
    window_around,
    windows,
    without_same_heads,
)
from sonjit.detectors.search.score import LIMITS, Score, logit
from sonjit.geometry.boxes import RotatedBox, box_around, iou, latest_boxes, shared_area, size_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.detectors.kinds.body import Bodies, BodyObservation
    from sonjit.detectors.kinds.hands import Hands
    from sonjit.detectors.search.geometry import Image
    from sonjit.detectors.ssd import SingleShotDetector

CROP = "crop"
"""Vote of the hand crop of a body, as in the published graph."""
_ARM = "arm"
_ELBOWS, _WRISTS, _KNUCKLES = (13, 14), (15, 16), ((15, 17, 19), (16, 18, 20))
_FEET = ((27, 29, 31), (28, 30, 32))
_NEAR_HAND, _SAME_HAND = 0.15, 0.4
"""Minimum IoU of a proposal near a certain hand, and of a proposal that shows it."""
_FACE_OF_EYES, _FACE_OF_SHOULDERS = 2.6, 0.45
"""Height of a face relative to the distance of eyes and mouth, and relative to that of the shoulders."""
_ARM_WINDOW, _ARM_REACH = 3.0, 0.3
"""Side of the window at the end of an arm, and its distance past the wrist, in face heights."""
_FAR_ARM, _FARTHEST_ARM, _NEAR_ARM, _MOST_ARM = 1.5, 9.0, 0.3, 1.5
"""Terms of `arm_side`: maximum distance of the nearer arm, limit of the distances, and term added to them, in hand
sizes; and limit of the log ratio."""
_VISIBLE_FOOT = 0.3
"""Minimum visibility of a foot."""
_SMALL_PX = 48.0
"""Size up to which the size of a hand affects its score."""
_PART_OF_FACE = 0.6
"""Maximum size of a candidate that may be an ear or a nose, in face heights."""


class HandSearch:
    """Search of one image for hands.

    Args:
        rgb: Image (H, W, 3).
        palms: Palm detector.
        hands: Landmark network. Its heads calibrate the side.
        guide: Function that returns the full-range face detector and the body networks, which propose hands at the ends
            of arms. It is called when they are needed. None to use only palms.
        published: Minimum score of a palm in the published search, whose hands keep their keypoints.
        least: Minimum score of a palm that is verified.
        budget: Limit of the search.
    """

    def __init__(
        self,
        rgb: Image,
        palms: SingleShotDetector,
        hands: Hands,
        guide: Callable[[], tuple[SingleShotDetector, Bodies]] | None = None,
        *,
        published: float = 0.5,
        least: float = 0.2,
        budget: Budget = COMPLETE,
    ) -> None:
        self._rgb, self._palms, self._hands, self._guide = rgb, palms, hands, guide
        self._published, self._least, self._budget = published, least, budget
        self._agenda = Agenda("hands", budget)
        self._candidates: list[Candidate[HandObservation]] = []
        self._verified_boxes: list[tuple[RotatedBox, Candidate[HandObservation] | None]] = []
        self._heads: list[Head] = []
        self._bodies: list[BodyObservation] = []
        self._hints: list[Hint] = []
        self._image_window = Window(0, 0, rgb.shape[1], rgb.shape[0])
        self._longest = max(rgb.shape)
        self._thirds: set[Window] = set()

    def search(self) -> Found[HandObservation]:
        """Return all candidates with their scores, best first."""
        palms = self._palms_in(self._image_window, self._image_window)
        for palm in palms:
            if PUBLISHED in palm.votes:
                self._verify(palm)
        self._propose([palm for palm in palms if PUBLISHED not in palm.votes])
        for parts in (1, 2) if self._guide is not None else ():
            for window in self._windows(parts):
                self._add_window(f"faces{parts}", window, self._search_faces)
        for window in self._windows(2):
            self._add_window("half", window, self._search_half)
        return self._run()

    def around(
        self, heads: Sequence[Head], bodies: Sequence[BodyObservation], proposals: Sequence[Proposal]
    ) -> Found[HandObservation]:
        """Return the hands of known people, from these proposals and from the ends of their arms."""
        self._heads, self._bodies = list(heads), list(bodies)
        self._propose(proposals)
        for body in bodies:
            self._add_arms(body)
        return self._run()

    def _run(self) -> Found[HandObservation]:
        self._agenda.run(lambda: are_enough([one for one in self._candidates if one.certain], self._budget))
        for candidate in self._candidates:
            candidate.features = self._features(candidate)
            candidate.rate(Score.named("hand"))
        candidates = without_duplicates(self._candidates)
        for candidate in candidates:
            candidate.views[-1] = replace(candidate.last, left=Score.named("side")(candidate.features))
        return Found(candidates, self._agenda.complete, self._agenda.log)

    def _windows(self, parts: int) -> list[Window]:
        return windows(self._rgb.shape[1], self._rgb.shape[0], parts, fewer=True)

    def _add_window(self, name: str, window: Window, search: Callable[[Window], None]) -> None:
        self._agenda.add(name, partial(search, window), partial(self._window_features, window))

    def _window_features(self, window: Window) -> dict[str, float]:
        """Return the features of the expected gain of a window."""
        certain = [candidate.last for candidate in self._candidates if candidate.certain]
        ends = [body.keypoints[wrist, :2] for body in self._bodies for wrist in _WRISTS]
        inside = [end for end in ends if window.has(*end.tolist())]
        sizes = [size_of(hand.keypoints[:, :2]) / self._longest for hand in certain]
        heads = [head.height / self._longest for head in self._heads]
        return {
            "heads": float(any(window.has(*head.middle.tolist()) for head in self._heads)),
            "arms": float(bool(inside)),
            "free_arms": float(any(not any(_is_at(hand, end) for hand in certain) for end in inside)),
            "hands": float(any(window.has(*hand.keypoints[:, :2].mean(0).tolist()) for hand in certain)),
            "people": float(bool(heads)),
            "several": float(len(heads) > 1),
            "small_head": float(bool(heads) and min(heads) < LIMITS["small_head"]),
            "hand_size": max(sizes, default=0.0),
            "plain": float(min(len(certain), 3)),
            "hint": hint_score(window, self._hints),
        }

    def _search_palms(self, window: Window) -> None:
        self._propose(self._palms_in(window, window))

    def _search_half(self, window: Window) -> None:
        self._search_palms(window)
        for third in self._windows(3):
            if third not in self._thirds and window.has((third.left + third.right) / 2, (third.top + third.bottom) / 2):
                self._thirds.add(third)
                self._add_window("third", third, self._search_palms)

    def _search_faces(self, window: Window) -> None:
        assert self._guide is not None
        known = self._heads
        found = detected_heads(self._guide()[0], self._rgb, window, LIMITS["head"])
        self._heads = without_same_heads([*known, *found])
        for head in self._heads:
            if not any(head is other for other in known):
                self._add_body(head, 0)

    def _add_body(self, head: Head, placement: int) -> None:
        features = {"head": logit(head.score), "size": math.log(head.height / self._longest)}
        self._agenda.add(f"body{placement}", partial(self._search_body, head, placement), lambda: features)

    def _search_body(self, head: Head, placement: int) -> None:
        """Find the body below a head, whose arms lead to hands."""
        assert self._guide is not None
        body = self._guide()[1].observe(self._rgb, box_below(head, placement))
        if body.score <= LIMITS["guide"] or not is_head_of(body, head):
            if placement == 0:
                self._add_body(head, 1)
        elif not any(is_same_torso(body, other) for other in self._bodies):
            self._bodies.append(body)
            self._add_arms(body)

    def _add_arms(self, body: BodyObservation) -> None:
        height, width = self._rgb.shape[:2]
        for side, wrist in enumerate(_WRISTS):
            x, y = body.keypoints[wrist, :2].tolist()
            if -0.05 * width < x < 1.05 * width and -0.05 * height < y < 1.05 * height:
                self._add_arm("arm", body, side, self._search_arm)

    def _add_arm(
        self, name: str, body: BodyObservation, side: int, search: Callable[[BodyObservation, int], None]
    ) -> None:
        """Add a search at the end of an arm, which runs if no certain hand is there."""
        wrist = body.keypoints[_WRISTS[side], :2]
        seen = logit(float(body.visibility[_WRISTS[side]]))
        size = math.log(face_height(body) / self._longest)

        def is_free() -> bool:
            return not any(candidate.certain and _is_at(candidate.last, wrist) for candidate in self._candidates)

        def run() -> None:
            if is_free():
                search(body, side)

        self._agenda.add(name, run, lambda: {"seen": seen, "free": float(is_free()), "size": size})

    def _search_arm(self, body: BodyObservation, side: int) -> None:
        """Search for palms at the end of an arm."""
        face = face_height(body)
        wrist = body.keypoints[_WRISTS[side], :2].astype(np.float64)
        arm = wrist - body.keypoints[_ELBOWS[side], :2]
        cx, cy = wrist + _ARM_REACH * face * arm / max(float(np.linalg.norm(arm)), 1.0)
        window = window_around(cx, cy, _ARM_WINDOW * face, self._rgb)
        if window is not None:
            self._propose(self._palms_in(window, (_ARM, side)))
        self._add_arm("arm_box", body, side, self._propose_arm_box)

    def _propose_arm_box(self, body: BodyObservation, side: int) -> None:
        box = hand_box(body, side)
        if box is not None:
            self._propose([Proposal(box, self._least, {_ARM})])

    def _palms_in(self, window: Window, vote: object) -> list[Proposal]:
        """Return boxes of hands in a window. `merged` later removes palms that were blended in two ways."""
        limits = self._published, self._least, LIMITS["hint"]
        as_published, more, faint = self._palms.find_from(window.cut(self._rgb), *limits)
        self._hints += hints_in(window, [palm for palm in faint if palm.score < self._least])
        proposals = window.proposals([*as_published, *more], box_from_palm, vote)
        if window == self._image_window:
            boxes = [proposal.box for proposal in proposals[: len(as_published)]]
            latest = latest_boxes(boxes, self._hands.is_same_instance)
            for proposal, box in zip(proposals, boxes, strict=False):
                proposal.votes |= {PUBLISHED} if box in latest else set()
        return proposals

    def _propose(self, proposals: Sequence[Proposal]) -> None:
        for proposal in merged(proposals, 4 * self._longest):
            if not self._is_known(proposal):
                self._agenda.add("hand", partial(self._verify, proposal), partial(self._proposal_features, proposal))

    def _proposal_features(self, proposal: Proposal) -> dict[str, float]:
        """Return the features of the expected gain of a proposal."""
        taken = any(
            f.certain and iou(box_around_hand(f.last.keypoints), proposal.box) > _NEAR_HAND for f in self._candidates
        )
        doubtful = any(
            candidate is None and iou(box, proposal.box) > _SAME_HAND for box, candidate in self._verified_boxes
        )
        return {
            "detection": logit(proposal.score),
            "arm": float(any(isinstance(vote, tuple) and vote[0] == _ARM for vote in proposal.votes)),
            "box": float(_ARM in proposal.votes),
            "taken": float(taken),
            "doubtful": float(doubtful),
            "size": math.log(proposal.box.width / self._longest),
        }

    def _is_known(self, proposal: Proposal) -> bool:
        """Check whether a proposal shows a certain hand or a verified box, and add its score to that."""
        known = [
            f
            for f in self._candidates
            if f.certain and iou(box_around_hand(f.last.keypoints), proposal.box) > _SAME_HAND
        ]
        known += [candidate for box, candidate in self._verified_boxes if is_near(proposal.box, box)][:1]
        if known and known[0] is not None:
            known[0].detection = max(known[0].detection, proposal.score)
        return bool(known)

    def _verify(self, proposal: Proposal) -> None:
        if PUBLISHED not in proposal.votes and self._is_known(proposal):
            return
        candidate = self._verified(proposal)
        self._candidates += [candidate] if candidate is not None else []
        self._verified_boxes.append((proposal.box, candidate))

    def _verified(self, proposal: Proposal) -> Candidate[HandObservation] | None:
        """Observe a proposal, and in doubt the box of its keypoints in the mirrored image. Return None for no hand."""
        published = PUBLISHED in proposal.votes
        first = self._hands.observe(self._rgb, proposal.box)
        views, agreement = [first], 1.0
        sure = LIMITS["published_sure" if published else "sure"]
        if first.score <= sure or proposal.score < self._published:
            if first.score < LIMITS["hand_seen"]:
                return None
            published = published and first.score > PRESENT
            mirrored = observe_mirrored(self._hands, self._rgb, box_around_hand(first.keypoints))
            if mirrored.score < LIMITS["hand_mirrored"] and not published:
                return None
            views = [mirrored, first] if published or CROP in proposal.votes else [first, mirrored]
            agreement = oks(first.keypoints, mirrored.keypoints)
        return Candidate(views, proposal.score, set(proposal.votes), self._agenda.current, agreement, published)

    def _features(self, candidate: Candidate[HandObservation]) -> dict[str, float]:
        """Return the features of the score of a hand."""
        hand, views = candidate.last, candidate.views
        return {
            "lower": logit(candidate.presence),
            "presence": float(np.mean([logit(view.score) for view in views])),
            "agreement": logit(candidate.agreement),
            "detection": logit(candidate.detection),
            "wrist": max(1 - wrist_distance(hand, self._bodies), 0),
            "people": float(bool(self._heads)),
            "face": share_in_face(hand, self._heads),
            "foot": foot_nearness(hand, self._bodies),
            "published": float(candidate.published),
            "seen": 0.5 if hand.visibility is None else float(hand.visibility.mean()),
            "small": min(math.log(size_of(hand.keypoints[:, :2]) / _SMALL_PX), 0.0),
            "likeness": float(np.mean([self._hands.likeness(view) for view in views])),
            "side": float(np.mean([logit(view.left) for view in views])),
            "arm": arm_side(hand, self._bodies),
            **proportions(hand),
        }


def observe_mirrored(hands: Hands, rgb: Image, box: RotatedBox) -> HandObservation:
    """Observe a box in the mirrored image. Return keypoints and side of the original image."""
    height, width = rgb.shape[:2]
    reach = 0.75 * box.width
    left, top = (min(max(int(at - reach), 0), size - 1) for at, size in ((box.cx, width), (box.cy, height)))
    right, bottom = (
        max(min(int(box.cx + reach) + 1, width), left + 1),
        max(min(int(box.cy + reach) + 1, height), top + 1),
    )
    cut = np.ascontiguousarray(rgb[top:bottom, left:right][:, ::-1])
    mirrored = hands.observe(cut, box._replace(cx=right - box.cx, cy=box.cy - top, rotation=-box.rotation))
    back = np.array([-1, 1, 1], np.float32)
    return replace(
        mirrored,
        keypoints=mirrored.keypoints * back + np.array([right, top, 0], np.float32),
        keypoints_3d=mirrored.keypoints_3d * back,
        left=1 - mirrored.left,
        appearance=None,  # it describes the mirrored image
        refinable=replace(mirrored.refinable, mirrored=True) if mirrored.refinable else None,
    )


def _is_at(hand: HandObservation, wrist: NDArray[np.floating]) -> bool:
    return math.dist(hand.keypoints[0, :2], wrist) < size_of(hand.keypoints[:, :2])


def face_height(body: BodyObservation) -> float:
    """Return the height of a face in pixels, from eyes and mouth, or from the shoulders if it is turned away."""
    points = body.keypoints[:, :2]
    eyes, mouth = points[[2, 5]].mean(axis=0), points[[9, 10]].mean(axis=0)
    return max(_FACE_OF_EYES * math.dist(eyes, mouth), _FACE_OF_SHOULDERS * math.dist(points[11], points[12]))


def wrist_distance(hand: HandObservation, bodies: Iterable[BodyObservation], side: int | None = None) -> float:
    """Return the distance from a hand to the nearest wrist or knuckles of a body, in sizes of the hand."""
    size, centre = size_of(hand.keypoints[:, :2]), hand.keypoints[:, :2].mean(axis=0)
    nearest = math.inf
    for body in bodies:
        for s in (0, 1) if side is None else (side,):
            points = body.keypoints[list(_KNUCKLES[s]), :2]
            near = min(math.dist(hand.keypoints[0, :2], points[0]), math.dist(centre, points.mean(axis=0)))
            nearest = min(nearest, near / size)
    return nearest


def proportions(hand: HandObservation) -> dict[str, float]:
    """Return log ratios of lengths in space: palm length to palm width, and fingers to palm."""
    points = hand.keypoints_3d.astype(np.float64)
    palm, across = math.dist(points[0], points[9]), math.dist(points[5], points[17])
    bones = points[[6, 7, 8, 10, 11, 12, 14, 15, 16, 18, 19, 20]] - points[[5, 6, 7, 9, 10, 11, 13, 14, 15, 17, 18, 19]]
    fingers = float(np.linalg.norm(bones, axis=1).sum()) / 4
    return {"palm": math.log((palm + 1e-3) / (across + 1e-3)), "fingers": math.log((fingers + 1e-3) / (palm + 1e-3))}


def arm_side(hand: HandObservation, bodies: Sequence[BodyObservation]) -> float:
    """Return whether a hand is at a left arm (up to 1.5) or a right arm (down to -1.5). Return 0 if both are far."""
    left, right = wrist_distance(hand, bodies, 0), wrist_distance(hand, bodies, 1)
    if min(left, right) > _FAR_ARM:
        return 0.0
    far_left, far_right = (min(distance, _FARTHEST_ARM) + _NEAR_ARM for distance in (left, right))
    return float(np.clip(math.log(far_right / far_left), -_MOST_ARM, _MOST_ARM))


def foot_nearness(hand: HandObservation, bodies: Sequence[BodyObservation]) -> float:
    """Return the nearness of a hand to a foot: 1 on it, 0 if it is far or nearer to a wrist."""
    size, centre = size_of(hand.keypoints[:, :2]), hand.keypoints[:, :2].mean(axis=0)
    nearest = math.inf
    for body in bodies:
        for foot in _FEET:
            if body.visibility[foot[0]] > _VISIBLE_FOOT:
                points = body.keypoints[list(foot), :2]
                points = np.vstack([points, points.mean(axis=0)])
                nearest = min(nearest, float(np.linalg.norm(points - centre, axis=1).min()) / size)
    return max(1 - nearest, 0.0) if nearest < wrist_distance(hand, bodies) else 0.0


def share_in_face(hand: HandObservation, heads: Sequence[Head]) -> float:
    """Return the share of a small hand inside a face. An ear or a nose has share 1."""
    x_min, y_min, x_max, y_max = box = box_around(hand.keypoints)
    area = max((x_max - x_min) * (y_max - y_min), 1e-6)
    small = [head for head in heads if size_of(hand.keypoints[:, :2]) < _PART_OF_FACE * head.height]
    return max((shared_area(box, head.box) / area for head in small), default=0.0)
