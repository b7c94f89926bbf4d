"""What separates true from false finds of a stream: a hand looks like a face or a body to those networks."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from sonjit.detectors.kinds.body import BodyObservation, box_from_alignment
from sonjit.detectors.search.bodies import BODY_TOLERANCE, heads_in, seen_inside, without_other_heads
from sonjit.detectors.search.geometry import Head, corners, head_of_body, is_head_of, oks, window_around
from sonjit.detectors.search.score import Score, logit
from sonjit.geometry.boxes import size_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sonjit.detectors.kinds.body import Bodies
    from sonjit.detectors.kinds.face import FaceObservation
    from sonjit.detectors.search.geometry import Image
    from sonjit.detectors.ssd import SingleShotDetector
    from sonjit.detectors.tracking import Track

_HEAD = slice(0, 11)
_BOX_SCORE = 0.6
"""Published threshold of the full-range face detector."""
_SHOULDERS, _HIPS = (11, 12), (23, 24)  # left, right
_MIN_HEAD_PX = 8.0
_WINDOW = 3.0
"""Side of the window in which a face is looked for, in widths of the head that is to have it."""


_FROM_BEHIND = 0.97, 0.8
"""Least presence of two inferences and their agreement, of a body that is seen from behind."""
_FROM_BEHIND_DETECTION = 0.75
"""And the least score of its detection, when it is new."""
_PLAIN_FACE = 0.75
"""Score of a face that speaks for a body at once."""
_FACED_TIMES, _TIMES, _AS_BEFORE, _MOST_DOUBTFUL = 2, 3, 0.5, 50
"""How often a body with any other face and one without must be found, how well one find must agree with the next, and
how many may be waiting."""
_FAINT = 0.5
"""Presence under which a held body needs its face to be seen."""
_MEMORY = 0.15
"""Weight of a new frame in how sure a body is: where much of it is hidden, the network sees it by turns."""
_INTERVAL, _SURE_INTERVAL = 3, 30
"""Frames between checks of what is held, after a failure and after a success."""
_PATIENCE, _MORE_PATIENCE, _MOST_PATIENCE = 2, 4, 18
"""Failures in a row after which it is gone: at first, more for each success, and at most."""
_ON_BODY = 0.4, (0.75, 2.3), 0.45  # the head of a body is as large as its eyes, ears and mouth
_ON_MESH = 0.25, (0.65, 1.4), 0.4
"""How a face fits a head: maximum distance of the centres and range of the width, in head sizes; minimum score."""


@dataclass
class _Record:
    """Of a held instance: how sure it was of late, frames since the last check, failures in a row, successes."""

    sureness: float = 1.0
    frames: int = 0
    failures: int = 0
    successes: int = 0

    def is_due(self) -> bool:
        """Count a frame, and say whether the instance is checked in it."""
        self.frames += 1
        if self.frames < (_SURE_INTERVAL if self.successes and not self.failures else _INTERVAL):
            return False
        self.frames = 0
        return True

    def is_kept(self, *, sure: bool, passed: bool) -> bool:
        """Return whether the instance stays after a check. A `sure` one is checked again later."""
        self.successes += sure
        self.failures = 0 if passed else self.failures + 1
        return self.failures < min(_PATIENCE + _MORE_PATIENCE * self.successes, _MOST_PATIENCE)


class FaceCheck:
    """Tells a face from a hand that the mesh takes for one: the full-range detector must see it at the same place.

    Args:
        faces: Full-range face detector.
    """

    def __init__(self, faces: SingleShotDetector) -> None:
        self._faces = faces
        self._records: WeakKeyDictionary[Track[FaceObservation], _Record] = WeakKeyDictionary()

    def reset(self) -> None:
        """Forget the stream before."""
        self._records.clear()

    def accepts_new(self, rgb: Image, seen: FaceObservation, *, is_first: bool = False) -> bool:
        """Check whether a new find in an image (H, W, 3) is a face."""
        x_min, y_min, x_max, y_max = corners(seen.keypoints)
        size, centre = max(x_max - x_min, y_max - y_min), ((x_min + x_max) / 2, (y_min + y_max) / 2)
        return face_score(self._faces, rgb, centre, size, _ON_MESH) > 0

    def masked_image(self, rgb: Image, track: Track[FaceObservation], held: Sequence[Track[FaceObservation]]) -> Image:
        """Return the image unchanged."""
        return rgb

    def verify(
        self, rgb: Image, track: Track[FaceObservation], seen: FaceObservation, held: Sequence[Track[FaceObservation]]
    ) -> FaceObservation | None:
        """Return a tracked face, or None if it is no longer one. Tracked faces are re-verified periodically."""
        record = self._records.setdefault(track, _Record())
        if not record.is_due():
            return seen
        passed = self.accepts_new(rgb, seen)
        return seen if record.is_kept(sure=passed, passed=passed) else None


class BodyCheck:
    """Tells a body from a hand that both of the body's networks take for one.

    Another network must see a face where its head is; else only a body seen from behind counts, with every sign strong.

    Args:
        faces: Full-range face detector.
        bodies: sees the body again.
        heads: seen in the stream, held bodies' and others'.
        mirrored: the images are selfie views.
    """

    def __init__(
        self, faces: SingleShotDetector, bodies: Bodies, heads: Iterable[Head] = (), *, mirrored: bool = False
    ) -> None:
        self._faces, self._bodies, self._heads, self._mirrored = faces, bodies, heads, mirrored
        self._records: WeakKeyDictionary[Track[BodyObservation], _Record] = WeakKeyDictionary()
        self._doubtful: list[tuple[BodyObservation, int]] = []

    def reset(self) -> None:
        """Forget the stream before."""
        self._records.clear()
        self._doubtful.clear()

    def accepts_new(self, rgb: Image, seen: BodyObservation, *, is_first: bool = False) -> bool:
        """Check whether a new find in an image (H, W, 3) is a body.

        A doubtful body must be found again in later frames. The first frame of a stream may be a single image, so a
        faint face is enough there.
        """
        known = max((head.score for head in self._heads if is_head_of(seen, head)), default=0.0)
        face = known if known > _BOX_SCORE else self._face_score(rgb, seen)
        if face > 0:
            return face > _PLAIN_FACE or self._is_seen_again(seen, 1 if is_first else _FACED_TIMES)
        return self._is_from_behind(rgb, seen) and self._is_detected(rgb, seen) and self._is_seen_again(seen, _TIMES)

    def _is_seen_again(self, seen: BodyObservation, times: int) -> bool:
        """Check whether the last finds of the body agree."""
        before = [one for one in self._doubtful if oks(one[0].keypoints, seen.keypoints, BODY_TOLERANCE) > _AS_BEFORE]
        count = 1 + max((count for _, count in before), default=0)
        self._doubtful = [(seen, count), *(one for one in self._doubtful if one not in before)][:_MOST_DOUBTFUL]
        return count >= times

    def masked_image(self, rgb: Image, track: Track[BodyObservation], held: Sequence[Track[BodyObservation]]) -> Image:
        """Return the image with the heads of all other people covered."""
        others = (head_of_body(one.observation) for one in held if one is not track and one.occluded_s is None)
        heads = heads_in(track.box, (*self._heads, *others))
        return without_other_heads(rgb, heads, head_of_body(track.observation))

    def verify(
        self, rgb: Image, track: Track[BodyObservation], seen: BodyObservation, held: Sequence[Track[BodyObservation]]
    ) -> BodyObservation | None:
        """Return a tracked body, or None if it is no longer one. Tracked bodies are re-verified periodically.

        One that is seen faintly, or whose box now shows another held one, stays where its face is seen, and counts by
        the score of the search over its last frames.
        """
        before, sure = track.observation, False
        record = self._records.setdefault(track, _Record(sureness=before.score))
        is_others = self._is_others(track, seen, held)
        agreement = 0.0 if is_others else oks(before.keypoints, seen.keypoints, BODY_TOLERANCE, seen_inside(seen, rgb))
        record.sureness += _MEMORY * (seen.score * agreement - record.sureness)
        if is_others or seen.score < _FAINT:
            score = Score.named("stream_body")({"score": logit(record.sureness)})
            faced = [one for one in ((before,) if is_others else (seen, before)) if self._face_score(rgb, one) > 0]
            if not faced:
                return None if is_others else seen
            seen, sure = replace(faced[0], score=score), True
        if not record.is_due():
            return seen
        sure = sure or self._face_score(rgb, seen) > 0
        return seen if record.is_kept(sure=sure, passed=sure or self._is_from_behind(rgb, seen)) else None

    def _is_others(
        self, track: Track[BodyObservation], seen: BodyObservation, held: Sequence[Track[BodyObservation]]
    ) -> bool:
        """Check whether the head of a body moved to another person's head."""
        if is_head_of(seen, head_of_body(track.observation)):
            return False
        return any(
            one is not track and one.occluded_s is None and is_head_of(seen, head_of_body(one.observation))
            for one in held
        )

    def _face_score(self, rgb: Image, seen: BodyObservation) -> float:
        head = seen.keypoints[_HEAD, :2]
        centre = head.mean(axis=0).tolist()
        return face_score(self._faces, rgb, centre, max(size_of(head), _MIN_HEAD_PX), _ON_BODY)

    def _is_from_behind(self, rgb: Image, seen: BodyObservation) -> bool:
        presence, agreement = _FROM_BEHIND
        if shows_front(seen) != self._mirrored or seen.score <= presence:  # who shows the front shows the face
            return False
        x, y = seen.keypoints[_HEAD, :2].mean(axis=0).tolist()
        if not (0 < x < rgb.shape[1] and 0 < y < rgb.shape[0]):
            return False
        again = self._bodies.observe(rgb, box_from_alignment(seen.alignment))
        agreed = oks(seen.keypoints, again.keypoints, BODY_TOLERANCE, seen_inside(again, rgb))
        return again.score > presence and agreed > agreement

    def _is_detected(self, rgb: Image, seen: BodyObservation) -> bool:
        box = box_from_alignment(seen.alignment)
        strong = self._bodies.find(rgb, _FROM_BEHIND_DETECTION)
        return any(math.dist(box[:2], other[:2]) < 0.1 * box.width for other in strong)


def shows_front(body: BodyObservation) -> bool:
    """Check whether a body faces the camera. It need not stand upright. The image is not a selfie view."""
    left, right, *hips = body.keypoints[[*_SHOULDERS, *_HIPS], :2].astype(float)
    (up_x, up_y), (side_x, side_y) = (left + right) / 2 - sum(hips) / 2, right - left
    return bool(up_x * side_y < up_y * side_x)


def face_score(
    faces: SingleShotDetector,
    rgb: Image,
    centre: tuple[float, float] | list[float],
    size: float,
    fit: tuple[float, tuple[float, float], float],
) -> float:
    """Score of the face that a face detector finds where a head is; 0 where it finds none.

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
