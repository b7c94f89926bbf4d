"""Hands of an image: proposals of the palm detector and of arms, verified by one to three views."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from sonjit.detectors.kinds.hands import HandObservation, box_around_hand, box_from_palm
from sonjit.detectors.kinds.holistic import hand_box
from sonjit.detectors.search.agenda import COMPLETE, Agenda, Budget, Find, Found, without_same
from sonjit.detectors.search.bodies import PLACEMENTS, box_below
from sonjit.detectors.search.faces import detected_heads
from sonjit.detectors.search.geometry import (
    Head,
    Hint,
    Proposal,
    Window,
    area,
    corners,
    hint_score,
    hints_in,
    is_head_of,
    is_near,
    is_same_torso,
    merged,
    oks,
    shared_area,
    window_around,
    windows,
    without_same_heads,
)
from sonjit.detectors.search.score import LIMITS, Score, logit
from sonjit.geometry.boxes import RotatedBox, iou, latest_boxes, size_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.detectors.kinds.body import Bodies, BodyObservation
    from sonjit.detectors.kinds.hands import Hands
    from sonjit.detectors.search.geometry import Image
    from sonjit.detectors.ssd import SingleShotDetector

CROP = "crop"
"""Vote of a body's own crop of its hand, as the published graph makes it."""
_ARM = "arm"
_PUBLISHED = "published"
_ELBOWS, _WRISTS, _KNUCKLES = (13, 14), (15, 16), ((15, 17, 19), (16, 18, 20))
_FEET = ((27, 29, 31), (28, 30, 32))
_NEAR_HAND, _SAME_HAND = 0.15, 0.4
"""Intersection over union from which a proposal is near a plain hand, and from which it shows that hand."""
_FACE_OF_EYES, _FACE_OF_SHOULDERS = 2.6, 0.45
"""Height of a face's mesh in distances of the eyes from the mouth, and of the shoulders."""
_ARM_WINDOW, _ARM_REACH = 3.0, 0.3
"""Side of the window at the end of an arm, and its distance past the wrist, in heights of the face's mesh."""
_FAR_ARM, _FARTHEST_ARM, _NEAR_ARM, _MOST_ARM = 1.5, 9.0, 0.3, 1.5
"""Distance of both arms, in sizes of the hand, from which they do not count for the side; the greatest distance that
counts; what is added to each distance; and the limit of the log ratio."""
_SEEN_FOOT = 0.3
"""Visibility from which a foot counts."""
_PRESENT = 0.5
"""Presence from which the published search takes what it sees for a hand."""
_SMALL_PX = 48.0
"""Size of a hand from which a larger one is not seen better."""
_PART_OF_FACE = 0.6
"""Size, in heights of a face, below which a find may be an ear or a nose."""


class Guide:
    """Finds faces and the bodies below them, which lead to hands. Its networks are loaded when first used.

    Args:
        load: Returns the full-range face detector and the body's landmark network.
    """

    def __init__(self, load: Callable[[], tuple[SingleShotDetector, Bodies]]) -> None:
        self._load = load

    @cached_property
    def _networks(self) -> tuple[SingleShotDetector, Bodies]:
        return self._load()

    def heads(self, rgb: Image, window: Window) -> list[Head]:
        """Return the heads in a window."""
        return detected_heads(self._networks[0], rgb, window, LIMITS["head"])

    def body(self, rgb: Image, head: Head, placement: int) -> BodyObservation | None:
        """Return the body below a head, or None where its face is elsewhere."""
        seen = self._networks[1].observe(rgb, box_below(head, *PLACEMENTS[placement]))
        return seen if seen.score > LIMITS["guide"] and is_head_of(seen, head) else None


class HandSearch:
    """Hands of an image.

    Args:
        palms: Palm detector.
        hands: Landmark network. With heads, their side is the calibrated one.
        guide: Finds arms; None where palms alone are used.
        published: Detection score from which the published search takes a palm of the image. What it finds keeps the
            keypoints that it has there.
        least: Least score of a palm that is worth an inference.
        budget: When the search ends.
    """

    def __init__(
        self,
        palms: SingleShotDetector,
        hands: Hands,
        guide: Guide | None = None,
        *,
        published: float = 0.5,
        least: float = 0.2,
        budget: Budget = COMPLETE,
    ) -> None:
        self._palms, self._hands, self._guide = palms, hands, guide
        self._published, self._least, self._budget = published, least, budget

    def search(self, rgb: Image) -> Found[HandObservation]:
        """Return every candidate with its score, best first."""
        return _HandRun(self._palms, self._hands, self._guide, rgb, self._published, self._least, self._budget).search()

    def around(
        self, rgb: Image, heads: Sequence[Head], bodies: Sequence[BodyObservation], places: Sequence[Proposal]
    ) -> Found[HandObservation]:
        """Return the hands of known people, from these places and from the ends of their arms."""
        run = _HandRun(self._palms, self._hands, None, rgb, self._published, self._least, self._budget)
        return run.around(heads, bodies, places)


class _HandRun:
    """The search of one image."""

    def __init__(
        self,
        palms: SingleShotDetector,
        hands: Hands,
        guide: Guide | None,
        rgb: Image,
        published: float,
        least: float,
        budget: Budget,
    ) -> None:
        self._palms, self._hands, self._guide, self._rgb = palms, hands, guide, rgb
        self._published, self._least, self._budget = published, least, budget
        self._agenda = Agenda("hands", budget)
        self._finds: list[Find[HandObservation]] = []
        self._looked: list[tuple[RotatedBox, Find[HandObservation] | None]] = []
        self._heads: list[Head] = []
        self._bodies: list[BodyObservation] = []
        self._hints: list[Hint] = []
        self._whole = Window(0, 0, rgb.shape[1], rgb.shape[0])
        self._thirds: set[Window] = set()

    def search(self) -> Found[HandObservation]:
        """Search palms in windows, and arms of the bodies below faces."""
        height, width = self._rgb.shape[:2]
        palms = self._palms_in(self._whole, self._whole)
        for palm in palms:
            if _PUBLISHED in palm.votes:
                self._look(palm)
        self._propose([palm for palm in palms if _PUBLISHED not in palm.votes])
        if self._guide is not None:
            for parts in (1, 2):
                for window in windows(width, height, parts, fewer=True):
                    name = f"faces{parts}"
                    self._agenda.add(name, partial(self._look_for_faces, window), partial(self._features, window))
        for window in windows(width, height, 2, fewer=True):
            self._add_window("half", window)
        return self._run()

    def around(
        self, heads: Sequence[Head], bodies: Sequence[BodyObservation], places: Sequence[Proposal]
    ) -> Found[HandObservation]:
        """See `HandSearch.around`."""
        self._heads, self._bodies = list(heads), list(bodies)
        self._propose(list(places))
        for body in bodies:
            self._add_arms(body)
        return self._run()

    def _run(self) -> Found[HandObservation]:
        self._agenda.run(self._is_enough)
        finds = without_same(self._scored())
        for find in finds:
            find.views[-1] = replace(find.last, left=Score.named("side")(find.features))
        return Found(finds, self._agenda.complete, self._agenda.log)

    def _is_enough(self) -> bool:
        enough, plain = self._budget.enough, [find for find in self._finds if find.plain]
        return enough is not None and len(plain) >= enough and len(without_same(plain)) >= enough

    def _add_window(self, name: str, window: Window) -> None:
        self._agenda.add(name, partial(self._look_for_palms, name, window), partial(self._features, window))

    def _features(self, window: Window) -> dict[str, float]:
        """Return what a window's expected finds are made of."""
        plain = [find.last for find in self._finds if find.plain]
        ends = [body.keypoints[wrist, :2].astype(np.float64) for body in self._bodies for wrist in _WRISTS]
        inside = [end for end in ends if window.has(*end.tolist())]
        sizes = [size_of(hand.keypoints[:, :2]) / max(self._rgb.shape) for hand in plain]
        heads = [head.height / max(self._rgb.shape) for head in self._heads]
        return {
            "heads": float(any(window.has(*head.middle.tolist()) for head in self._heads)),
            "arms": float(bool(inside)),
            "free_arms": float(any(not any(_is_at(hand, end) for hand in plain) for end in inside)),
            "hands": float(any(window.has(*hand.keypoints[:, :2].mean(0).tolist()) for hand in plain)),
            "people": float(bool(heads)),
            "several": float(len(heads) > 1),
            "small_head": float(bool(heads) and min(heads) < LIMITS["small_head"]),
            "hand_size": max(sizes, default=0.0),
            "plain": float(min(len(plain), 3)),
            "hint": hint_score(window, self._hints),
        }

    def _look_for_palms(self, name: str, window: Window) -> None:
        self._propose(self._palms_in(window, window))
        if name == "half":
            for third in windows(self._rgb.shape[1], self._rgb.shape[0], 3, fewer=True):
                x, y = (third.left + third.right) / 2, (third.top + third.bottom) / 2
                if window.has(x, y) and third not in self._thirds:
                    self._thirds.add(third)
                    self._add_window("third", third)

    def _look_for_faces(self, window: Window) -> None:
        assert self._guide is not None
        known = self._heads
        self._heads = without_same_heads([*known, *self._guide.heads(self._rgb, window)])
        for head in self._heads:
            if not any(head is one for one in known):
                self._add_body(head, 0)

    def _add_body(self, head: Head, placement: int) -> None:
        def look() -> None:
            assert self._guide is not None
            body = self._guide.body(self._rgb, head, placement)
            if body is not None and not any(is_same_torso(body, other) for other in self._bodies):
                self._bodies.append(body)
                self._add_arms(body)
            elif body is None and placement == 0:
                self._add_body(head, 1)

        size = head.height / max(self._rgb.shape)
        features = {"head": logit(head.score), "size": math.log(size)}
        self._agenda.add(f"body{placement}", look, lambda: features)

    def _add_arms(self, body: BodyObservation) -> None:
        height, width = self._rgb.shape[:2]
        for side, wrist in enumerate(_WRISTS):
            x, y = body.keypoints[wrist, :2].tolist()
            if -0.05 * width < x < 1.05 * width and -0.05 * height < y < 1.05 * height:
                self._add_arm("arm", body, side)

    def _add_arm(self, name: str, body: BodyObservation, side: int) -> None:
        wrist = body.keypoints[_WRISTS[side], :2].astype(np.float64)
        seen, size = logit(float(body.visibility[_WRISTS[side]])), math.log(face_height(body) / max(self._rgb.shape))

        def is_free() -> bool:
            return not any(find.plain and _is_at(find.last, wrist) for find in self._finds)

        def look() -> None:
            if is_free():
                self._look_at_arm(name, body, side)

        self._agenda.add(name, look, lambda: {"seen": seen, "free": float(is_free()), "size": size})

    def _look_at_arm(self, name: str, body: BodyObservation, side: int) -> None:
        """Search palms at the end of an arm, or look into the arm's own box."""
        if name == "arm_box":
            box = hand_box(body, side)
            if box is not None:
                self._propose([Proposal(box, self._least, {_ARM})])
            return
        face = face_height(body)
        wrist = body.keypoints[_WRISTS[side], :2].astype(np.float64)
        arm = wrist - body.keypoints[_ELBOWS[side], :2]
        cx, cy = wrist + _ARM_REACH * face * arm / max(float(np.linalg.norm(arm)), 1.0)
        window = window_around(cx, cy, _ARM_WINDOW * face, self._rgb)
        if window is not None:
            self._propose(self._palms_in(window, (_ARM, side)))
        self._add_arm("arm_box", body, side)

    def _palms_in(self, window: Window, vote: object) -> list[Proposal]:
        """Return boxes of hands in a window."""
        limits = self._published, self._least, LIMITS["hint"]
        as_published, more, faint = self._palms.find_from(window.cut(self._rgb), *limits)
        self._hints += hints_in(window, [palm for palm in faint if palm.score < self._least])
        boxes = [box_from_palm(palm) for palm in as_published]
        published = latest_boxes(boxes, self._hands.is_same_instance) if window == self._whole else []
        proposals = [  # the same palms with other neighbours blended in lie a little apart
            Proposal(window.placed(box_from_palm(palm)), palm.score, {vote}) for palm in [*as_published, *more]
        ]
        for one, box in zip(proposals, boxes, strict=False):
            one.votes |= {_PUBLISHED} if box in published else set()
        return proposals

    def _propose(self, proposals: Sequence[Proposal]) -> None:
        for one in merged(proposals, 4 * max(self._rgb.shape)):
            if not self._is_known(one):
                self._agenda.add("hand", partial(self._look, one), partial(self._seen_there, one))

    def _seen_there(self, one: Proposal) -> dict[str, float]:
        """Return what the expected finds of a proposal are made of."""
        taken = any(f.plain and iou(box_around_hand(f.last.keypoints), one.box) > _NEAR_HAND for f in self._finds)
        doubtful = any(find is None and iou(box, one.box) > _SAME_HAND for box, find in self._looked)
        return {
            "detection": logit(one.score),
            "arm": float(any(isinstance(vote, tuple) and vote[0] == _ARM for vote in one.votes)),
            "box": float(_ARM in one.votes),
            "votes": math.log(len(one.votes)),
            "taken": float(taken),
            "doubtful": float(doubtful),
            "size": math.log(one.box.width / max(self._rgb.shape)),
        }

    def _is_known(self, one: Proposal) -> bool:
        """Check whether a proposal shows a plain hand or a box seen before, and count its votes for that."""
        known = [f for f in self._finds if f.plain and iou(box_around_hand(f.last.keypoints), one.box) > _SAME_HAND]
        known += [find for box, find in self._looked if is_near(one.box, box)][:1]
        if known and known[0] is not None:
            known[0].votes |= one.votes
            known[0].detection = max(known[0].detection, one.score)
        return bool(known)

    def _look(self, one: Proposal) -> None:
        """See what a proposal shows and, where that leaves doubt, again in the mirror from its own keypoints."""
        find, published = None, _PUBLISHED in one.votes
        if not published and self._is_known(one):
            return
        first = self._hands.observe(self._rgb, one.box)
        if first.score > LIMITS["sure"] and one.score >= self._published:
            find = Find([first], one.score, set(one.votes), self._agenda.current, published=published)
            self._finds.append(find)
        elif first.score >= LIMITS["hand_seen"]:
            mirrored = seen_in_mirror(self._hands, self._rgb, box_around_hand(first.keypoints))
            stays = published and first.score > _PRESENT
            if stays or mirrored.score >= LIMITS["hand_mirrored"]:
                agreed = oks(first.keypoints, mirrored.keypoints)
                views = [mirrored, first] if stays or CROP in one.votes else [first, mirrored]
                find = Find(views, one.score, set(one.votes), self._agenda.current, agreed, stays)
                self._finds.append(find)
        self._looked.append((one.box, find))

    def _scored(self) -> list[Find[HandObservation]]:
        for find in self._finds:
            hand, views = find.last, find.views
            find.features = {
                "lower": logit(find.presence),
                "presence": float(np.mean([logit(one.score) for one in views])),
                "agreement": logit(find.agreement),
                "detection": logit(find.detection),
                "votes": math.log(len(find.votes)),
                "wrist": max(1 - wrist_distance(hand, self._bodies), 0),
                "people": float(bool(self._heads)),
                "face": share_in_face(hand, self._heads),
                "foot": foot_nearness(hand, self._bodies),
                "published": float(find.published),
                "seen": 0.5 if hand.visibility is None else float(hand.visibility.mean()),
                "small": min(math.log(size_of(hand.keypoints[:, :2]) / _SMALL_PX), 0.0),
                "likeness": float(np.mean([self._hands.likeness(one) for one in views])),
                "side": float(np.mean([logit(one.left) for one in views])),
                "arm": arm_side(hand, self._bodies),
                **proportions(hand),
            }
            find.rate(Score.named("hand"))
        return self._finds


def seen_in_mirror(hands: Hands, rgb: Image, box: RotatedBox) -> HandObservation:
    """Return what is seen in a box in the mirror, with keypoints and side as they are in the image itself."""
    height, width = rgb.shape[:2]
    reach = 0.75 * box.width
    left, top = (min(max(int(at - reach), 0), size - 1) for at, size in ((box.cx, width), (box.cy, height)))
    right, bottom = (
        max(min(int(box.cx + reach) + 1, width), left + 1),
        max(min(int(box.cy + reach) + 1, height), top + 1),
    )
    cut = np.ascontiguousarray(rgb[top:bottom, left:right][:, ::-1])
    seen = hands.observe(cut, box._replace(cx=right - box.cx, cy=box.cy - top, rotation=-box.rotation))
    back = np.array([-1, 1, 1], np.float32)
    return replace(
        seen,
        keypoints=seen.keypoints * back + np.array([right, top, 0], np.float32),
        keypoints_3d=seen.keypoints_3d * back,
        left=1 - seen.left,
        appearance=None,  # which is that of the mirror image
    )


def _is_at(hand: HandObservation, wrist: NDArray[np.floating]) -> bool:
    return math.dist(hand.keypoints[0, :2], wrist) < size_of(hand.keypoints[:, :2])


def face_height(body: BodyObservation) -> float:
    """Return the height of the face's mesh, from eyes and mouth, or from the shoulders of a face turned away."""
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
    """Return log ratios of lengths in space: of the palm to its width, and of the fingers to the palm."""
    points = hand.keypoints_3d.astype(np.float64)
    palm, across = math.dist(points[0], points[9]), math.dist(points[5], points[17])
    bones = points[[6, 7, 8, 10, 11, 12, 14, 15, 16, 18, 19, 20]] - points[[5, 6, 7, 9, 10, 11, 13, 14, 15, 17, 18, 19]]
    fingers = float(np.linalg.norm(bones, axis=1).sum()) / 4
    return {"palm": math.log((palm + 1e-3) / (across + 1e-3)), "fingers": math.log((fingers + 1e-3) / (palm + 1e-3))}


def arm_side(hand: HandObservation, bodies: Sequence[BodyObservation]) -> float:
    """Return how much nearer a left arm's end is than a right one's: -1.5 (right) .. 1.5 (left), 0 far from both."""
    left, right = wrist_distance(hand, bodies, 0), wrist_distance(hand, bodies, 1)
    if min(left, right) > _FAR_ARM:
        return 0.0
    far_left, far_right = (min(one, _FARTHEST_ARM) + _NEAR_ARM for one in (left, right))
    return float(np.clip(math.log(far_right / far_left), -_MOST_ARM, _MOST_ARM))


def foot_nearness(hand: HandObservation, bodies: Sequence[BodyObservation]) -> float:
    """Return how near a hand is to a body's foot: 1 on it, 0 where it is far or nearer to a wrist."""
    size, centre = size_of(hand.keypoints[:, :2]), hand.keypoints[:, :2].mean(axis=0)
    nearest = math.inf
    for body in bodies:
        for foot in _FEET:
            if body.visibility[foot[0]] > _SEEN_FOOT:
                points = body.keypoints[list(foot), :2]
                points = np.vstack([points, points.mean(axis=0)])
                nearest = min(nearest, float(np.linalg.norm(points - centre, axis=1).min()) / size)
    return max(1 - nearest, 0.0) if nearest < wrist_distance(hand, bodies) else 0.0


def share_in_face(hand: HandObservation, heads: Sequence[Head]) -> float:
    """Return the share of a small hand inside a face: an ear or a nose is all inside."""
    box = corners(hand.keypoints)
    small = [head for head in heads if size_of(hand.keypoints[:, :2]) < _PART_OF_FACE * head.height]
    return max((shared_area(box, head.box) / area(box) for head in small), default=0.0)
