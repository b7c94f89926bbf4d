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
from sonjit.detectors.search.faces import found_so_far
from sonjit.detectors.search.geometry import (
    PRESENT,
    PUBLISHED,
    TORSO,
    Head,
    Hint,
    Proposal,
    Window,
    head_distance,
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
    windows,
)
from sonjit.detectors.search.score import LIMITS, Score, logit
from sonjit.geometry.boxes import RotatedBox, iou, latest_boxes, overlap_over_smaller, size_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.detectors.kinds.body import Bodies
    from sonjit.detectors.kinds.face import FaceObservation
    from sonjit.detectors.search.faces import FaceSearch
    from sonjit.detectors.search.geometry import Image
    from sonjit.detectors.ssd import Detection, SingleShotDetector

_TOLERANCE = 0.05
"""See `oks`."""
PLACEMENTS = ((3.35, 4.5), (2.8, 3.6), (3.0, 3.2))
"""Distance from the face to the hips and radius of the circle around the body, in face heights. The three placements
are those of standing people, of sitting people, and of children and crouching people."""
_COVER, _KEPT, _HAIR = 0.75, 0.7, 0.15
"""Radius of the cover of a head, radius of the uncovered own face, and shift of the cover towards the hair, in face
heights."""
_GREY = 128
_FACE = "face"
"""Vote of a body below a face."""
_NECK, _NECK_TOLERANCE = 1.25, 0.35
"""Distance from the centre of a face to that of the shoulders, and its standard deviation, in face heights."""
_OVERLAP, _MANY = 0.4, 10
"""IoU with a certain body, and number of proposals, above which the expected gain of a proposal is lower."""


class BodySearch:
    """Search of one image for bodies.

    Args:
        rgb: Image (H, W, 3).
        people: Person detector.
        bodies: Landmark network.
        faces: Search for the faces that lead to bodies.
        published: Minimum score of the published search.
        budget: Limit of the search.

    Attributes:
        faces: Faces that the search found.
    """

    def __init__(
        self,
        rgb: Image,
        people: SingleShotDetector,
        bodies: Bodies,
        faces: FaceSearch,
        *,
        published: float = 0.5,
        budget: Budget = COMPLETE,
    ) -> None:
        self._rgb, self._people, self._bodies, self._face_search = rgb, people, bodies, faces
        self._published, self._budget = published, budget
        self._agenda = Agenda("body", budget)
        self._candidates: list[Candidate[BodyObservation]] = []
        self._proposed: list[RotatedBox] = []
        self._heads: list[Head] = []
        self._hints: list[Hint] = []
        self.faces: list[Candidate[FaceObservation]] = []

    def search(self) -> Found[BodyObservation]:
        """Return all candidates with their scores, best first."""
        height, width = self._rgb.shape[:2]
        self._search_people(Window(0, 0, width, height), published=True)
        self._agenda.add("faces", self._search_faces, dict)
        for window in windows(width, height, 2, fewer=True):
            self._agenda.add("part2", partial(self._search_people, window), partial(self._window_features, window))
        self._agenda.run(self._are_enough)
        return Found(self._best(), self._agenda.complete, self._agenda.log)

    def _are_enough(self) -> bool:
        enough = self._budget.enough
        if enough is None or len(self._certain()) < enough:
            return False
        return sum(candidate.score > LIMITS["confident"] for candidate in self._best()) >= enough

    def _certain(self) -> list[BodyObservation]:
        return [candidate.last for candidate in self._candidates if candidate.certain]

    def _search_faces(self) -> None:
        found = self._face_search.search(self._rgb).candidates
        self.faces = [candidate for candidate in found if candidate.score > LIMITS["face"]]
        self._heads = [head_from_mesh(candidate.score, candidate.last.keypoints) for candidate in self.faces]
        for head in self._heads:
            self._add_below(head, 0)

    def _add_below(self, head: Head, placement: int) -> None:
        features = {"head": logit(head.score), "heads": math.log(len(self._heads))}
        self._agenda.add(f"head{placement}", partial(self._verify_below, head, placement), lambda: features)

    def _verify_below(self, head: Head, placement: int) -> None:
        if any(is_head_of(body, head) for body in self._certain()):
            return
        box = box_below(head, placement)
        masked = without_other_heads(self._rgb, box, self._heads, head)
        candidate = self._verified(masked, Proposal(box, head.score, {_FACE}))
        is_own = candidate is not None and is_head_of(candidate.last, head)
        if candidate is not None and is_own:
            self._candidates.append(candidate)
        if (candidate is None or not is_own or not candidate.certain) and placement + 1 < len(PLACEMENTS):
            self._add_below(head, placement + 1)

    def _search_people(self, window: Window, *, published: bool = False) -> None:
        """Propose the people in a window, and verify those of the published search."""
        limits = self._published, LIMITS["person"], LIMITS["hint"]
        as_published, people, faint = self._people.find_from(window.cut(self._rgb), *limits)
        self._hints += hints_in(window, [person for person in faint if person.score < LIMITS["person"]])
        first = window.proposals(as_published if published else [], box_of_person, window, PUBLISHED)
        by_box = {proposal.box: proposal for proposal in first}
        for box in latest_boxes(by_box, self._bodies.is_same_instance):
            self._proposed.append(box)
            self._verify(by_box[box])
        for proposal in window.proposals(people, box_of_person, window):
            box = proposal.box
            if 8 < box.width < 6 * max(self._rgb.shape) and not any(is_near(box, other) for other in self._proposed):
                self._proposed.append(box)
                features = partial(self._proposal_features, proposal)
                self._agenda.add("person", partial(self._verify_unknown, proposal), features)

    def _verify_unknown(self, proposal: Proposal) -> None:
        """Verify a proposal if it is not at the hips of a certain body, which otherwise gets its votes."""
        for candidate in self._candidates:
            if candidate.certain and has_hips_of(proposal, candidate.last):
                candidate.detection = max(candidate.detection, proposal.score)
                candidate.votes |= proposal.votes
                return
        self._verify(proposal)

    def _verify(self, proposal: Proposal) -> None:
        candidate = self._verified(self._rgb, proposal)
        if candidate is not None:
            self._candidates.append(candidate)

    def _verified(self, rgb: Image, proposal: Proposal) -> Candidate[BodyObservation] | None:
        """Observe a proposal and the box from its keypoints. Return None if there is no body."""
        first = self._bodies.observe(rgb, proposal.box)
        if first.score < LIMITS["body_seen"]:
            return None
        second = self._bodies.observe(rgb, self._bodies.box_after(first))
        published = PUBLISHED in proposal.votes and first.score > PRESENT
        if second.score < LIMITS["body_seen"] and not published:
            return None
        views = [second, first] if published else [first, second]
        agreement = body_oks(first, second, rgb)
        return Candidate(views, proposal.score, set(proposal.votes), self._agenda.current, agreement, published)

    def _proposal_features(self, proposal: Proposal) -> dict[str, float]:
        """Return the features of the expected gain of a proposal."""
        certain = self._certain()
        return {
            "detection": logit(proposal.score),
            "taken": float(any(iou(self._bodies.box_after(body), proposal.box) > _OVERLAP for body in certain)),
            "many": float(len(self._proposed) > _MANY),
            "faceless": float(bool(certain) and not self._heads),
        }

    def _window_features(self, window: Window) -> dict[str, float]:
        """Return the features of the expected gain of a window."""
        certain = self._certain()
        free = [head for head in self._heads if not any(is_head_of(body, head) for body in certain)]
        return {
            **found_so_far([size_of(body.keypoints[:, :2]) for body in certain], self._rgb),
            "hint": hint_score(window, self._hints),
            "heads": float(any(window.has(*head.middle.tolist()) for head in free)),
            "body": float(any(window.has(*body.keypoints[TORSO, :2].mean(0).tolist()) for body in certain)),
            "faceless": float(bool(certain) and not self._heads),
        }

    def _best(self) -> list[Candidate[BodyObservation]]:
        """Return one candidate per person, best first."""
        for candidate in self._candidates:
            candidate.features = body_features(candidate, self._rgb, self._heads)
            candidate.rate(Score.named("body_faced" if candidate.features["own_head"] >= 0 else "body"))
        return without_duplicates(self._candidates, is_same_person)


def body_features(candidate: Candidate[BodyObservation], rgb: Image, heads: Sequence[Head]) -> dict[str, float]:
    """Return the features of the score of a body. `own_head` is the index of its head, or -1."""
    height, width = rgb.shape[:2]
    body, torso = candidate.last, torso_size(candidate.last)
    own = [number for number, head in enumerate(heads) if is_head_of(body, head)]
    distances = {number: head_distance(body, heads[number].middle.tolist()) / heads[number].height for number in own}
    nearest = min(own, key=distances.__getitem__, default=-1)
    x, y = body.keypoints[:, 0], body.keypoints[:, 1]
    features = {
        "own_head": float(nearest),
        "lower": logit(candidate.presence),
        "upper": logit(max(view.score for view in candidate.views)),
        "agreement": logit(candidate.agreement),
        "detection": 0.0 if _FACE in candidate.votes else logit(candidate.detection),
        "from_face": float(_FACE in candidate.votes),
        "core": float(body.visibility[TORSO].mean()),
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
    shoulders = body.keypoints[TORSO[:2], :2].mean(axis=0)
    off = math.dist(shoulders, head.middle + _NECK * head.down) / head.height
    return math.exp(-((off / _NECK_TOLERANCE) ** 2) / 2)


def box_of_person(person: Detection) -> RotatedBox:
    """Return the box around a detected person."""
    return box_from_alignment(person.keypoints[:2])


def box_below(head: Head, placement: int) -> RotatedBox:
    """Return the box of a body below a head; `placement` is an index in `PLACEMENTS`."""
    hips, radius = PLACEMENTS[placement]
    return box_from_alignment(np.stack([head.middle + hips * head.down, head.middle + (hips - radius) * head.down]))


def has_hips_of(proposal: Proposal, body: BodyObservation) -> bool:
    """Check whether a proposal is at the hips of a body."""
    own = box_from_alignment(body.alignment)
    return math.dist(own[:2], proposal.box[:2]) < LIMITS["same_hips"] * own.width


def without_other_heads(rgb: Image, box: RotatedBox, heads: Iterable[Head], own: Head) -> Image:
    """Return an image with the heads near a box covered, except one.

    The network finds only one of several people in a crop.
    """
    near = [head for head in heads if math.dist(head.middle, box[:2]) < box.width / math.sqrt(2) + head.height]
    if all(head is own for head in near):
        return rgb
    covered = np.zeros(rgb.shape[:2], np.uint8)
    for head in near:
        cv2.circle(covered, _pixel(head.middle - _HAIR * head.down), round(_COVER * head.height), 1, -1)
    cv2.circle(covered, _pixel(own.middle), round(_KEPT * own.height), 0, -1)
    masked = rgb.copy()
    masked[covered > 0] = _GREY
    return masked


def _pixel(point: NDArray[np.floating]) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


def body_oks(first: BodyObservation, second: BodyObservation, rgb: Image, *, moved: bool = False) -> float:
    """Return `oks` of two observations of a body, weighted by the visibility in the second one.

    Keypoints outside the image (H, W, 3) of the second observation have weight 0.
    """
    height, width = rgb.shape[:2]
    x, y = second.keypoints[:, 0], second.keypoints[:, 1]
    visible = second.visibility * ((x > 0) & (x < width) & (y > 0) & (y < height))
    return oks(first.keypoints, second.keypoints, _TOLERANCE, visible, moved=moved)
