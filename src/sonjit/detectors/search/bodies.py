"""Bodies of an image: proposals of the person detector and of faces, verified by two runs of the landmark network."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import cv2
import numpy as np

from sonjit.detectors.kinds.body import BodyObservation, box_from_alignment
from sonjit.detectors.search.agenda import COMPLETE, Agenda, Budget, Find, Found, without_same
from sonjit.detectors.search.faces import FaceSearch, add_windows, found_so_far
from sonjit.detectors.search.geometry import (
    EYES_TO_MOUTH,
    Head,
    Hint,
    Proposal,
    Window,
    head_from_mesh,
    head_of_body,
    hint_score,
    hints_in,
    is_head_of,
    is_near,
    is_same_head,
    oks,
    torso_distance,
    torso_size,
)
from sonjit.detectors.search.score import LIMITS, Score, logit
from sonjit.geometry.boxes import RotatedBox, iou, latest_boxes, overlap_over_smaller, size_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.detectors.kinds.body import Bodies
    from sonjit.detectors.kinds.face import FaceObservation
    from sonjit.detectors.search.geometry import Image
    from sonjit.detectors.ssd import SingleShotDetector

BODY_TOLERANCE = 0.05
PLACEMENTS = ((3.35, 4.5), (2.8, 3.6), (3.0, 3.2))
"""Distance of the hips from the face, and radius of the circle around the body, in heights of the face's mesh: of
people who stand, sit, and crouch or are children."""
_COVER, _KEPT, _HAIR = 0.75, 0.7, 0.15
"""Radius of the cover of a head, radius of what stays of the own face, and shift of the cover towards the hair, in
heights of the face's mesh."""
_GREY = 128
_PRESENT = 0.5
"""Presence from which the published search takes what it sees for a body."""
_PUBLISHED = "published"
"""Vote of what the published search looks at."""
_FACE = "face"
"""Vote of a body below a face."""
_CORE = [11, 12, 23, 24]
_NECK, _NECK_TOLERANCE = 1.25, 0.35
"""Distance from the middle of the face's mesh to that of the shoulders, and the distance from there that is worth
exp(-1/2), in heights of the mesh."""
_OVERLAP, _MANY = 0.4, 10
"""Intersection over union with a plain body, and number of proposals, that lower the worth of a proposal."""
_PARTS = (2,)


class BodySearch:
    """Bodies of an image.

    Args:
        people: Person detector.
        bodies: Landmark network.
        faces: Search for the faces that lead to bodies.
        published: Least score of the published search.
        budget: When the search ends.
    """

    def __init__(
        self,
        people: SingleShotDetector,
        bodies: Bodies,
        faces: FaceSearch,
        *,
        published: float = 0.5,
        budget: Budget = COMPLETE,
    ) -> None:
        self._people, self._bodies, self._faces = people, bodies, faces
        self._published, self._budget = published, budget
        self._score, self._faced_score = Score.named("body"), Score.named("body_faced")

    def search(self, rgb: Image) -> Found[BodyObservation]:
        """Return every candidate with its score, best first."""
        return self.search_with_faces(rgb)[0]

    def search_with_faces(self, rgb: Image) -> tuple[Found[BodyObservation], list[Find[FaceObservation]]]:
        """Return the same, and the faces found on the way."""
        agenda, finds = Agenda("body", self._budget), list[Find[BodyObservation]]()
        faces: list[Find[FaceObservation]] = []
        heads: list[Head] = []
        looked: list[RotatedBox] = []
        hints: list[Hint] = []
        whole = Window(0, 0, rgb.shape[1], rgb.shape[0])

        def look_for_faces() -> None:
            faces.extend(find for find in self._faces.search(rgb).finds if find.score > LIMITS["face"])
            heads.extend(head_from_mesh(find.score, find.last.keypoints) for find in faces)
            for head in heads:
                add_below(head, 0)

        def add_below(head: Head, placement: int) -> None:
            features = {"head": logit(head.score), "heads": math.log(len(heads))}
            agenda.add(f"head{placement}", partial(look_below, head, placement), lambda: features)

        def look_below(head: Head, placement: int) -> None:
            if any(find.plain and is_head_of(find.last, head) for find in finds):
                return
            box = box_below(head, *PLACEMENTS[placement])
            alone = without_other_heads(rgb, heads_in(box, heads), head)
            find = self._verify(alone, Proposal(box, head.score, {_FACE}), agenda)
            is_own = find is not None and is_head_of(find.last, head)
            if find is not None and is_own:
                finds.append(find)
            if (find is None or not is_own or not find.plain) and placement + 1 < len(PLACEMENTS):
                add_below(head, placement + 1)

        def look_for_people(window: Window) -> None:
            limits = self._published, LIMITS["person"], LIMITS["hint"]
            as_published, people, faint = self._people.find_from(window.cut(rgb), *limits)
            hints.extend(hints_in(window, [one for one in faint if one.score < LIMITS["person"]]))
            boxes = {box_from_alignment(one.keypoints[:2]): one for one in as_published if window == whole}
            for box in latest_boxes(boxes, self._bodies.is_same_instance):
                looked.append(box)
                find = self._verify(rgb, Proposal(box, boxes[box].score, {window, _PUBLISHED}), agenda)
                finds.extend([find] if find is not None else [])
            for person in people:
                box = window.placed(box_from_alignment(person.keypoints[:2]))
                if 8 < box.width < 6 * max(rgb.shape) and not any(is_near(box, other) for other in looked):
                    looked.append(box)
                    proposal = Proposal(box, person.score, {window})
                    agenda.add("person", partial(look, proposal), partial(seen_there, proposal))

        def look(proposal: Proposal) -> None:
            for find in finds:
                own = box_from_alignment(find.last.alignment)
                if find.plain and math.dist(own[:2], proposal.box[:2]) < LIMITS["same_hips"] * own.width:
                    find.detection, find.votes = max(find.detection, proposal.score), find.votes | proposal.votes
                    return
            find = self._verify(rgb, proposal, agenda)
            if find is not None:
                finds.append(find)

        def seen_there(proposal: Proposal) -> dict[str, float]:
            near = [f for f in finds if f.plain and iou(box_from_alignment(f.last.alignment), proposal.box) > _OVERLAP]
            return {"detection": logit(proposal.score), "taken": float(bool(near)), "many": float(len(looked) > _MANY)}

        def features(window: Window) -> dict[str, float]:
            plain = [find.last for find in finds if find.plain]
            free = [head for head in heads if not any(is_head_of(body, head) for body in plain)]
            return {
                **found_so_far([size_of(body.keypoints[:, :2]) for body in plain], rgb),
                "hint": hint_score(window, hints),
                "heads": float(any(window.has(*head.middle.tolist()) for head in free)),
                "body": float(any(window.has(*body.keypoints[_CORE, :2].mean(0).tolist()) for body in plain)),
            }

        enough = self._budget.enough
        look_for_people(whole)
        agenda.add("faces", look_for_faces, dict)
        add_windows(agenda, rgb, _PARTS, look_for_people, features)
        agenda.run(
            lambda: (
                enough is not None
                and sum(find.plain for find in finds) >= enough
                and sum(find.score > LIMITS["confident"] for find in self._best(rgb, finds, heads)) >= enough
            )
        )
        return Found(self._best(rgb, finds, heads), agenda.complete, agenda.log), faces

    def _verify(self, rgb: Image, proposal: Proposal, agenda: Agenda) -> Find[BodyObservation] | None:
        """Return what is seen in a proposal and in the box that follows from it, or None."""
        first = self._bodies.observe(rgb, proposal.box)
        if first.score < LIMITS["body_seen"]:
            return None
        second = self._bodies.observe(rgb, box_from_alignment(first.alignment))
        published = _PUBLISHED in proposal.votes and first.score > _PRESENT
        if second.score < LIMITS["body_seen"] and not published:
            return None
        agreed = oks(first.keypoints, second.keypoints, BODY_TOLERANCE, seen_inside(second, rgb))
        views = [second, first] if published else [first, second]
        return Find(views, proposal.score, set(proposal.votes), agenda.current, agreed, published)

    def _best(
        self, rgb: Image, finds: Sequence[Find[BodyObservation]], heads: Sequence[Head]
    ) -> list[Find[BodyObservation]]:
        """Return the find of each person, best first."""
        for find in finds:
            find.features = body_features(find, rgb, heads)
            find.rate(self._faced_score if find.features["own_head"] >= 0 else self._score)
        return without_same(finds, is_same_person)


def body_features(find: Find[BodyObservation], rgb: Image, heads: Sequence[Head]) -> dict[str, float]:
    """Return what the score of a body is made of; `own_head` is the index of its head, or -1."""
    height, width = rgb.shape[:2]
    body, torso = find.last, torso_size(find.last)
    middle = body.keypoints[EYES_TO_MOUTH, :2].mean(axis=0)
    own = [number for number, head in enumerate(heads) if is_head_of(body, head)]
    nearest = min(own, key=lambda number: math.dist(heads[number].middle, middle) / heads[number].height, default=-1)
    x, y = body.keypoints[:, 0], body.keypoints[:, 1]
    features = {
        "own_head": float(nearest),
        "lower": logit(find.presence),
        "upper": logit(max(view.score for view in find.views)),
        "agreement": logit(find.agreement),
        "detection": 0.0 if _FACE in find.votes else logit(find.detection),
        "from_face": float(_FACE in find.votes),
        "core": float(body.visibility[_CORE].mean()),
        "visible": float(body.visibility.mean()),
        "heatmap": body.heatmap_peak,
        "inside": float(((x > 0) & (x < width) & (y > 0) & (y < height)).mean()),
        "size": math.log(size_of(body.keypoints[:, :2]) / max(width, height)),
        "votes": math.log(len(find.votes)),
        "on_face": float(any(_is_on_face(body, torso, head) for head in heads)),
        "face": 0.0,
        "neck": 0.0,
        "head_size": 0.0,
        "torso": 0.0,
    }
    if nearest >= 0:
        head = heads[nearest]
        features |= {
            "face": logit(head.score),
            "neck": _neck_fit(body, head),
            "head_size": abs(math.log(head_of_body(body).height / head.height)),
            "torso": min(math.log(torso / head.height), 1.0),
        }
    return features


def is_same_person(a: Find[BodyObservation], b: Find[BodyObservation]) -> bool:
    """Check whether two finds are one person; `a` is the one with the lower score.

    They have one face, or one torso; or one of them shows no face and has the other's head, or lies inside the other.
    """
    heads = a.features["own_head"], b.features["own_head"]
    if (heads[0] >= 0 and heads[0] == heads[1]) or torso_distance(a.last, b.last) < LIMITS["same_person"]:
        return True
    if heads[0] < 0 and overlap_over_smaller(a.last.keypoints, b.last.keypoints) > LIMITS["inside"]:
        return True
    return min(heads) < 0 and is_same_head(a.last, b.last)


def _neck_fit(body: BodyObservation, head: Head) -> float:
    """Return how well the shoulders lie below a head, 0..1."""
    shoulders = body.keypoints[_CORE[:2], :2].mean(axis=0)
    off = math.dist(shoulders, head.middle + _NECK * head.down) / head.height
    return math.exp(-((off / _NECK_TOLERANCE) ** 2) / 2)


def _is_on_face(body: BodyObservation, torso: float, head: Head) -> bool:
    """Check whether a small torso lies on a face."""
    middle = body.keypoints[_CORE, :2].mean(axis=0)
    return torso < head.height and math.dist(middle, head.middle) < head.height


def box_below(head: Head, hips: float, radius: float) -> RotatedBox:
    """Return the box of a body below a head; see `PLACEMENTS`."""
    return box_from_alignment(np.stack([head.middle + hips * head.down, head.middle + (hips - radius) * head.down]))


def heads_in(box: RotatedBox, heads: Iterable[Head]) -> list[Head]:
    """Return the heads that a box may show."""
    return [head for head in heads if math.dist(head.middle, box[:2]) < box.width / math.sqrt(2) + head.height]


def without_other_heads(rgb: Image, heads: Sequence[Head], own: Head) -> Image:
    """Return an image with all heads covered but one: of several people in a crop the network sees the plainest."""
    if all(head is own for head in heads):
        return rgb
    covered = np.zeros(rgb.shape[:2], np.uint8)
    for head in heads:
        cv2.circle(covered, _pixel(head.middle - _HAIR * head.down), round(_COVER * head.height), 1, -1)
    cv2.circle(covered, _pixel(own.middle), round(_KEPT * own.height), 0, -1)
    alone = rgb.copy()
    alone[covered > 0] = _GREY
    return alone


def _pixel(point: NDArray[np.floating]) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


def seen_inside(body: BodyObservation, rgb: Image) -> NDArray[np.float32]:
    """Return (33,) visibility of the keypoints in an image, 0 for those outside."""
    height, width = rgb.shape[:2]
    x, y = body.keypoints[:, 0], body.keypoints[:, 1]
    return body.visibility * ((x > 0) & (x < width) & (y > 0) & (y < height))
