"""Search an image for bodies: proposals of the person detector and of faces, verified by two inferences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import cv2
import numpy as np

from sonjit.detectors.kinds.body import BodyObservation, box_from_alignment
from sonjit.detectors.search.agenda import COMPLETE, Agenda, Budget, Candidate, Found, without_duplicates
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
"""Distance from the face to the hips and radius of the circle around the body, in face heights. The three placements
are those of standing people, of sitting people, and of children and crouching people."""
_COVER, _KEPT, _HAIR = 0.75, 0.7, 0.15
"""Radius of the cover of a head, radius of the uncovered own face, and shift of the cover towards the hair, in face
heights."""
_GREY = 128
_PRESENT = 0.5
"""Minimum presence of a body in the published search."""
_PUBLISHED = "published"
"""Vote of proposals of the published search."""
_FACE = "face"
"""Vote of a body below a face."""
_CORE = [11, 12, 23, 24]
_NECK, _NECK_TOLERANCE = 1.25, 0.35
"""Distance from the centre of a face to that of the shoulders, and its standard deviation, in face heights."""
_OVERLAP, _MANY = 0.4, 10
"""IoU with a certain body, and number of proposals, above which the expected gain of a proposal is lower."""
_PARTS = (2,)


class BodySearch:
    """Search images for bodies.

    Args:
        people: Person detector.
        bodies: Landmark network.
        faces: Search for the faces that lead to bodies.
        published: Minimum score of the published search.
        budget: Limit of the search.
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
        """Return all candidates with their scores, best first."""
        return self.search_with_faces(rgb)[0]

    def search_with_faces(self, rgb: Image) -> tuple[Found[BodyObservation], list[Candidate[FaceObservation]]]:
        """Return all candidates with their scores, best first, and the faces that the search found."""
        agenda, candidates = Agenda("body", self._budget), list[Candidate[BodyObservation]]()
        faces: list[Candidate[FaceObservation]] = []
        heads: list[Head] = []
        verified: list[RotatedBox] = []
        hints: list[Hint] = []
        image_window = Window(0, 0, rgb.shape[1], rgb.shape[0])

        def search_faces() -> None:
            faces.extend(
                candidate for candidate in self._faces.search(rgb).candidates if candidate.score > LIMITS["face"]
            )
            heads.extend(head_from_mesh(candidate.score, candidate.last.keypoints) for candidate in faces)
            for head in heads:
                add_below(head, 0)

        def add_below(head: Head, placement: int) -> None:
            features = {"head": logit(head.score), "heads": math.log(len(heads))}
            agenda.add(f"head{placement}", partial(verify_below, head, placement), lambda: features)

        def verify_below(head: Head, placement: int) -> None:
            if any(candidate.certain and is_head_of(candidate.last, head) for candidate in candidates):
                return
            box = box_below(head, *PLACEMENTS[placement])
            masked = without_other_heads(rgb, heads_in(box, heads), head)
            candidate = self._verify(masked, Proposal(box, head.score, {_FACE}), agenda)
            is_own = candidate is not None and is_head_of(candidate.last, head)
            if candidate is not None and is_own:
                candidates.append(candidate)
            if (candidate is None or not is_own or not candidate.certain) and placement + 1 < len(PLACEMENTS):
                add_below(head, placement + 1)

        def search_people(window: Window) -> None:
            limits = self._published, LIMITS["person"], LIMITS["hint"]
            as_published, people, faint = self._people.find_from(window.cut(rgb), *limits)
            hints.extend(hints_in(window, [person for person in faint if person.score < LIMITS["person"]]))
            boxes = {
                box_from_alignment(person.keypoints[:2]): person for person in as_published if window == image_window
            }
            for box in latest_boxes(boxes, self._bodies.is_same_instance):
                verified.append(box)
                candidate = self._verify(rgb, Proposal(box, boxes[box].score, {window, _PUBLISHED}), agenda)
                candidates.extend([candidate] if candidate is not None else [])
            for person in people:
                box = window.placed(box_from_alignment(person.keypoints[:2]))
                if 8 < box.width < 6 * max(rgb.shape) and not any(is_near(box, other) for other in verified):
                    verified.append(box)
                    proposal = Proposal(box, person.score, {window})
                    agenda.add("person", partial(verify_proposal, proposal), partial(proposal_features, proposal))

        def verify_proposal(proposal: Proposal) -> None:
            for candidate in candidates:
                own = box_from_alignment(candidate.last.alignment)
                if candidate.certain and math.dist(own[:2], proposal.box[:2]) < LIMITS["same_hips"] * own.width:
                    candidate.detection, candidate.votes = (
                        max(candidate.detection, proposal.score),
                        candidate.votes | proposal.votes,
                    )
                    return
            candidate = self._verify(rgb, proposal, agenda)
            if candidate is not None:
                candidates.append(candidate)

        def certain_bodies() -> list[BodyObservation]:
            return [candidate.last for candidate in candidates if candidate.certain]

        def proposal_features(proposal: Proposal) -> dict[str, float]:
            certain = certain_bodies()
            taken = any(iou(box_from_alignment(body.alignment), proposal.box) > _OVERLAP for body in certain)
            return {
                "detection": logit(proposal.score),
                "taken": float(taken),
                "many": float(len(verified) > _MANY),
                "faceless": float(bool(certain) and not heads),
            }

        def window_features(window: Window) -> dict[str, float]:
            certain = certain_bodies()
            free = [head for head in heads if not any(is_head_of(body, head) for body in certain)]
            return {
                **found_so_far([size_of(body.keypoints[:, :2]) for body in certain], rgb),
                "hint": hint_score(window, hints),
                "heads": float(any(window.has(*head.middle.tolist()) for head in free)),
                "body": float(any(window.has(*body.keypoints[_CORE, :2].mean(0).tolist()) for body in certain)),
                "faceless": float(bool(certain) and not heads),
            }

        enough = self._budget.enough
        search_people(image_window)
        agenda.add("faces", search_faces, dict)
        add_windows(agenda, rgb, _PARTS, search_people, window_features, fewer=True)
        agenda.run(
            lambda: (
                enough is not None
                and sum(candidate.certain for candidate in candidates) >= enough
                and sum(candidate.score > LIMITS["confident"] for candidate in self._best(rgb, candidates, heads))
                >= enough
            )
        )
        return Found(self._best(rgb, candidates, heads), agenda.complete, agenda.log), faces

    def _verify(self, rgb: Image, proposal: Proposal, agenda: Agenda) -> Candidate[BodyObservation] | None:
        """Observe a proposal and the box from its keypoints. Return None if there is no body."""
        first = self._bodies.observe(rgb, proposal.box)
        if first.score < LIMITS["body_seen"]:
            return None
        second = self._bodies.observe(rgb, box_from_alignment(first.alignment))
        published = _PUBLISHED in proposal.votes and first.score > _PRESENT
        if second.score < LIMITS["body_seen"] and not published:
            return None
        agreement = oks(first.keypoints, second.keypoints, BODY_TOLERANCE, visibility_inside(second, rgb))
        views = [second, first] if published else [first, second]
        return Candidate(views, proposal.score, set(proposal.votes), agenda.current, agreement, published)

    def _best(
        self, rgb: Image, candidates: Sequence[Candidate[BodyObservation]], heads: Sequence[Head]
    ) -> list[Candidate[BodyObservation]]:
        """Return one candidate per person, best first."""
        for candidate in candidates:
            candidate.features = body_features(candidate, rgb, heads)
            candidate.rate(self._faced_score if candidate.features["own_head"] >= 0 else self._score)
        return without_duplicates(candidates, is_same_person)


def body_features(candidate: Candidate[BodyObservation], rgb: Image, heads: Sequence[Head]) -> dict[str, float]:
    """Return the features of the score of a body. `own_head` is the index of its head, or -1."""
    height, width = rgb.shape[:2]
    body, torso = candidate.last, torso_size(candidate.last)
    middle = body.keypoints[EYES_TO_MOUTH, :2].mean(axis=0)
    own = [number for number, head in enumerate(heads) if is_head_of(body, head)]
    nearest = min(own, key=lambda number: math.dist(heads[number].middle, middle) / heads[number].height, default=-1)
    x, y = body.keypoints[:, 0], body.keypoints[:, 1]
    features = {
        "own_head": float(nearest),
        "lower": logit(candidate.presence),
        "upper": logit(max(view.score for view in candidate.views)),
        "agreement": logit(candidate.agreement),
        "detection": 0.0 if _FACE in candidate.votes else logit(candidate.detection),
        "from_face": float(_FACE in candidate.votes),
        "core": float(body.visibility[_CORE].mean()),
        "visible": float(body.visibility.mean()),
        "heatmap": body.heatmap_peak,
        "inside": float(((x > 0) & (x < width) & (y > 0) & (y < height)).mean()),
        "size": math.log(size_of(body.keypoints[:, :2]) / max(width, height)),
        "votes": math.log(len(candidate.votes)),
        "neck": 0.0,
        "head_size": 0.0,
        "torso": 0.0,
    }
    if nearest >= 0:
        head = heads[nearest]
        features |= {
            "neck": _neck_fit(body, head),
            "head_size": abs(math.log(head_of_body(body).height / head.height)),
            "torso": min(math.log(torso / head.height), 1.0),
        }
    return features


def is_same_person(a: Candidate[BodyObservation], b: Candidate[BodyObservation]) -> bool:
    """Check whether two candidates are the same person. The score of `a` is lower.

    They share the face or the torso, or one of them has no face and either shares the head or lies inside the other,
    with the torso nearby.
    """
    heads = a.features["own_head"], b.features["own_head"]
    distance = torso_distance(a.last, b.last)
    if (heads[0] >= 0 and heads[0] == heads[1]) or distance < LIMITS["same_person"]:
        return True
    may_be_nested = heads[0] < 0 and distance < LIMITS["near_torso"]
    if may_be_nested and overlap_over_smaller(a.last.keypoints, b.last.keypoints) > LIMITS["inside"]:
        return True
    return min(heads) < 0 and is_same_head(a.last, b.last)


def _neck_fit(body: BodyObservation, head: Head) -> float:
    """Return how well the position of the shoulders fits a head, 0..1."""
    shoulders = body.keypoints[_CORE[:2], :2].mean(axis=0)
    off = math.dist(shoulders, head.middle + _NECK * head.down) / head.height
    return math.exp(-((off / _NECK_TOLERANCE) ** 2) / 2)


def box_below(head: Head, hips: float, radius: float) -> RotatedBox:
    """Return the box of a body below a head. See `PLACEMENTS`."""
    return box_from_alignment(np.stack([head.middle + hips * head.down, head.middle + (hips - radius) * head.down]))


def heads_in(box: RotatedBox, heads: Iterable[Head]) -> list[Head]:
    """Return the heads that may be visible in a box."""
    return [head for head in heads if math.dist(head.middle, box[:2]) < box.width / math.sqrt(2) + head.height]


def without_other_heads(rgb: Image, heads: Sequence[Head], own: Head) -> Image:
    """Return an image with all heads covered except one. The network finds only one of several people in a crop."""
    if all(head is own for head in heads):
        return rgb
    covered = np.zeros(rgb.shape[:2], np.uint8)
    for head in heads:
        cv2.circle(covered, _pixel(head.middle - _HAIR * head.down), round(_COVER * head.height), 1, -1)
    cv2.circle(covered, _pixel(own.middle), round(_KEPT * own.height), 0, -1)
    masked = rgb.copy()
    masked[covered > 0] = _GREY
    return masked


def _pixel(point: NDArray[np.floating]) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


def visibility_inside(body: BodyObservation, rgb: Image) -> NDArray[np.float32]:
    """Return (33,) visibility of the keypoints in an image, 0 for those outside."""
    height, width = rgb.shape[:2]
    x, y = body.keypoints[:, 0], body.keypoints[:, 1]
    return body.visibility * ((x > 0) & (x < width) & (y > 0) & (y < height))
