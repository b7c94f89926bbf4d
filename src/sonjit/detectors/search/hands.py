"""Hands by a thorough search: palms in windows and at the ends of arms, scored by three inferences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from sonjit.detectors.kinds.hands import HandObservation, box_around_hand, box_from_palm
from sonjit.detectors.kinds.holistic import hand_box, recropped_box
from sonjit.detectors.search.finds import (
    PARTS,
    Find,
    LogisticRegression,
    Place,
    Window,
    area,
    corners,
    logit,
    merged,
    oks,
    rank,
    shared_area,
    tiles,
    window_around,
    without_same,
)  # fmt: skip
from sonjit.detectors.smoothing import size_of
from sonjit.geometry import RotatedBox, iou, wrap_angle

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.detectors.kinds.body import BodyObservation
    from sonjit.detectors.kinds.face import FaceObservation
    from sonjit.detectors.kinds.hands import Hands
    from sonjit.detectors.search.finds import Image
    from sonjit.detectors.ssd import SingleShotDetector
    from sonjit.engines import Engine

_HAND_PER_FACE = 0.7
_HAND_PER_WINDOW = 0.15
"""Size of a hand, in sides of a window, from which the palm detector finds three of four."""
_ELBOWS, _WRISTS, _KNUCKLES = (13, 14), (15, 16), ((15, 17, 19), (16, 18, 20))
_FEET = ((27, 29, 31), (28, 30, 32))


class HandSearch:
    """Hands of an image.

    Args:
        palms: palm detector.
        hands: run twice, and once on the mirrored image. With heads: their side is the calibrated one.
        recrop: network that finds a hand in an image of a forearm's end; None where no bodies are given.
        parts: see `tiles`.
        min_detection: least score of a palm that is worth an inference.
    """

    WRIST_WINDOW = 3.0
    """Side of the window around a body's wrist, in heights of the face: a hand is 0.7 of them."""
    REACH = 0.3
    SCORE = LogisticRegression(-1.95, {"presence": 0.212, "mirrored": 0.672, "votes": 2.3})
    SIDE = LogisticRegression(-0.49, {"side": 0.52, "arm": 1.93})

    def __init__(
        self,
        palms: SingleShotDetector,
        hands: Hands,
        recrop: Engine | None,
        parts: Sequence[int] = PARTS,
        min_detection: float = 0.2,
    ) -> None:
        self._palms, self._hands, self._recrop = palms, hands, recrop
        self._parts, self._min_detection = parts, min_detection

    def search(
        self, rgb: Image, faces: Sequence[Find[FaceObservation]], bodies: Sequence[Find[BodyObservation]]
    ) -> list[Find[HandObservation]]:
        """Every candidate with its score, best first."""
        height, width = rgb.shape[:2]
        finds: list[Find[HandObservation]] = []
        windows = tiles(width, height, self._needed(width, height, faces))
        for chosen in (windows[:1], windows[1:]):  # what is clear in the whole image is not searched again
            places = [p for window in chosen for p in self._palms_in(rgb, window, window)]
            self._consider(rgb, places, finds)
        for body in bodies:
            for side in (0, 1):
                self._at_wrist(rgb, body.last, side, finds)
        finds = [find for find in finds if not is_foot(find.last, bodies) and not is_part_of_face(find.last, faces)]
        finds = without_same(finds, rank)
        for find in finds:
            self._confirm(rgb, find, bodies)
        return sorted(finds, key=lambda f: -f.score)

    def search_window(self, rgb: Image, window: Window) -> list[Find[HandObservation]]:
        """Every candidate of one window with its score, best first."""
        finds: list[Find[HandObservation]] = []
        self._consider(rgb, self._palms_in(rgb, window, window), finds)
        finds = without_same(finds, rank)
        for find in finds:
            self._confirm(rgb, find, [])
        return sorted(finds, key=lambda f: -f.score)

    def _confirm(self, rgb: Image, find: Find[HandObservation], bodies: Sequence[Find[BodyObservation]]) -> None:
        """Run once on the mirror image, and score."""
        mirrored = self._mirrored(rgb, box_around_hand(find.last.keypoints))
        find.features = {
            "presence": logit(find.presence),
            "mirrored": logit(mirrored.score),
            "votes": math.log(len(find.votes)),
            "side": (logit(find.last.left) + logit(1 - mirrored.left)) / 2,
            "arm": arm_side(find.last, bodies),
        }
        find.score = self.SCORE(find.features)
        find.observations[-1] = replace(find.last, left=self.SIDE(find.features))

    def _mirrored(self, rgb: Image, box: RotatedBox) -> HandObservation:
        """What is seen in the mirror; its keypoints are those of the mirrored window."""
        height, width = rgb.shape[:2]
        reach = 0.75 * box.width
        left, right = max(int(box.cx - reach), 0), min(int(box.cx + reach) + 1, width)
        top, bottom = max(int(box.cy - reach), 0), min(int(box.cy + reach) + 1, height)
        cut = np.ascontiguousarray(rgb[top:bottom, left:right][:, ::-1])
        place = box._replace(cx=right - box.cx, cy=box.cy - top, rotation=-box.rotation)
        return self._hands.observe(cut, place)

    def _palms_in(self, rgb: Image, window: Window, vote: object, turned: bool = False) -> list[Place]:
        """Boxes of hands in a window, which may be searched upside down."""
        cut = window.cut(rgb)
        if turned:
            cut = np.ascontiguousarray(cut[::-1, ::-1])
        places: list[Place] = []
        for palm in self._palms.find(cut, self._min_detection):
            box = box_from_palm(palm)
            if turned:
                box = RotatedBox(
                    cut.shape[1] - box.cx,
                    cut.shape[0] - box.cy,
                    box.width,
                    box.height,
                    wrap_angle(box.rotation + math.pi),
                )
            box = box._replace(cx=box.cx + window.left, cy=box.cy + window.top)
            places.append(Place(box, palm.score, {vote}))
        return places

    def _needed(self, width: int, height: int, faces: Sequence[Find[FaceObservation]]) -> list[int]:
        """Parts of the image fine enough for the hands of the smallest face; all, where there is none."""
        if not faces:
            return list(self._parts)
        smallest = min(size_of(face.last.keypoints[:, :2]) for face in faces)
        side = _HAND_PER_FACE * smallest / _HAND_PER_WINDOW
        enough = [n for n in self._parts if max(width, height) / n <= side]
        return [n for n in self._parts if not enough or n <= max(enough[0], 2)]

    def _consider(self, rgb: Image, places: list[Place], finds: list[Find[HandObservation]]) -> None:
        """Run on places; those of hands seen clearly count as votes for them."""
        for place in merged(places, 4 * max(rgb.shape)):
            plain = next(
                (f for f in finds if f.plain and iou(box_around_hand(f.last.keypoints), place.box) > 0.4), None
            )
            if plain is not None:
                plain.votes |= place.votes
                continue
            find = self._infer(rgb, place)
            if find is not None:
                finds.append(find)

    def _at_wrist(self, rgb: Image, body: BodyObservation, side: int, finds: list[Find[HandObservation]]) -> None:
        """Search the end of a body's arm: upright, and where no hand is clear there, upside down."""
        height, width = rgb.shape[:2]
        wrist = body.keypoints[_WRISTS[side], :2].astype(np.float64)
        if not (-0.05 * width < wrist[0] < 1.05 * width and -0.05 * height < wrist[1] < 1.05 * height):
            return
        face = face_height(body)
        arm = wrist - body.keypoints[_ELBOWS[side], :2]
        cx, cy = wrist + self.REACH * face * arm / max(float(np.linalg.norm(arm)), 1.0)
        window = window_around(cx, cy, self.WRIST_WINDOW * face, rgb)
        rough = hand_box(body, side)
        for turned in (False, True):
            if turned and any(find.plain and _is_at(find.last, wrist) for find in finds):
                return
            places = [] if window is None else self._palms_in(rgb, window, ("arm", turned), turned)
            if not turned and self._recrop is not None and rough is not None and rough.width > 8:
                places.append(Place(recropped_box(rgb, rough, self._recrop), 0.5, {"recrop"}))
            self._consider(rgb, places, finds)

    def _infer(self, rgb: Image, place: Place) -> Find[HandObservation] | None:
        first = self._hands.observe(rgb, place.box)
        if first.score < 0.1:
            return None
        second = self._hands.observe(rgb, box_around_hand(first.keypoints))
        if second.score < 0.3:
            return None
        return Find([first, second], place.score, set(place.votes), oks(first.keypoints, second.keypoints))


def _is_at(hand: HandObservation, wrist: NDArray[np.floating]) -> bool:
    return math.dist(hand.keypoints[0, :2], wrist) < size_of(hand.keypoints[:, :2])


def face_height(body: BodyObservation) -> float:
    """Height of the face's mesh in pixels, from eyes and mouth, and from the shoulders where it is turned away."""
    points = body.keypoints[:, :2]
    eyes, mouth = points[[2, 5]].mean(axis=0), points[[9, 10]].mean(axis=0)
    return max(2.6 * math.dist(eyes, mouth), 0.45 * math.dist(points[11], points[12]))


def wrist_distance(hand: HandObservation, bodies: Sequence[Find[BodyObservation]], side: int | None = None) -> float:
    """From a hand to the nearest body's wrist or knuckles, in sizes of the hand."""
    size, centre = size_of(hand.keypoints[:, :2]), hand.keypoints[:, :2].mean(axis=0)
    nearest = math.inf
    for body in bodies:
        for s in (0, 1) if side is None else (side,):
            points = body.last.keypoints[list(_KNUCKLES[s]), :2]
            near = min(math.dist(hand.keypoints[0, :2], points[0]), math.dist(centre, points.mean(axis=0)))
            nearest = min(nearest, near / size)
    return nearest


def arm_side(hand: HandObservation, bodies: Sequence[Find[BodyObservation]]) -> float:
    """How much nearer to a left arm's end than to a right one's: -1.5 (right) .. 1.5 (left), 0 far from both."""
    left, right = wrist_distance(hand, bodies, 0), wrist_distance(hand, bodies, 1)
    if min(left, right) > 1.5:
        return 0.0
    return float(np.clip(math.log((min(right, 9.0) + 0.3) / (min(left, 9.0) + 0.3)), -1.5, 1.5))


def is_foot(hand: HandObservation, bodies: Sequence[Find[BodyObservation]]) -> bool:
    """Whether it is on a body's foot, and nearer to it than to any wrist."""
    size, centre = size_of(hand.keypoints[:, :2]), hand.keypoints[:, :2].mean(axis=0)
    nearest = math.inf
    for body in bodies:
        for foot in _FEET:
            if body.last.visibility[foot[0]] > 0.3:
                points = body.last.keypoints[list(foot), :2]
                points = np.vstack([points, points.mean(axis=0)])
                nearest = min(nearest, float(np.linalg.norm(points - centre, axis=1).min()) / size)
    return nearest < 0.7 and nearest < wrist_distance(hand, bodies)


def is_part_of_face(hand: HandObservation, faces: Sequence[Find[FaceObservation]]) -> bool:
    """Whether it lies in a face and is too small for a hand before it: an ear, a nose."""
    box = corners(hand.keypoints)
    for face in faces:
        if face.score < 0.5:
            continue
        x_min, y_min, x_max, y_max = corners(face.last.keypoints)
        small = size_of(hand.keypoints[:, :2]) < 0.6 * max(x_max - x_min, y_max - y_min)
        if small and shared_area(box, (x_min, y_min, x_max, y_max)) > 0.7 * area(box):
            return True
    return False
