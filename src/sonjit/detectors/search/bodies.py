"""Search an image for bodies: people of two networks and heads without a body, verified by two inferences."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import cv2
import numpy as np

from sonjit._util import Image, RealArray
from sonjit.detectors.kinds.body import Bodies, BodyObservation, box_from_alignment
from sonjit.detectors.search import geometry
from sonjit.detectors.search.network import HandBox, PeopleNetwork, PersonBox, has_small, new_people
from sonjit.detectors.search.score import LIMITS, logit, probability
from sonjit.detectors.search.stills import AUTO, Candidate, Extent, StillSearch
from sonjit.detectors.ssd import SingleShotDetector
from sonjit.geometry.boxes import Box, RotatedBox, box_iou, size_of

_TOLERANCE = 0.05  # see `oks`
_OWN_BOX, _UNSEEN = 0.3, 0.02
"""Minimum IoU of a body and its person box, and score of a person that the network does not find."""
_MARGIN = 0.1  # margin of a person's box that stays visible, relative to the box
_HIPS, _RADIUS = 0.72, 0.75
"""Distance from the upper edge of a person's box to the hips, and radius of the circle around the body, in heights."""
PLACEMENTS = ((3.35, 4.5), (2.8, 3.6))
"""Distance from the face to the hips and radius of the circle around the body, in face heights, of standing and of
sitting people."""
_COVER, _KEPT, _HAIR = 0.75, 0.7, 0.15
"""Radius of the cover of a head, radius of the uncovered own face, and shift of the cover towards the hair, in face
heights."""
_GREY = 128
_HAND_SCORE, _HAND_IOU, _SURE_BODY, _SURE_FACE = 0.55, 0.12, 0.95, 1.1
"""Minimum score of a hand, and minimum IoU of its box and that of a body, for which the body is the hand, and score of
the body and log odds of its face from which it is none."""
_NECK, _NECK_TOLERANCE = 1.25, 0.35
"""Distance from the centre of a face to that of the shoulders, and its standard deviation, in face heights."""


class BodySearch(StillSearch[BodyObservation]):
    """Search of one image for bodies.

    The landmark network can mistake a hand for a body. In frames of streams, where hands are often close to the camera,
    and with `refuses_hands`, a body without a face is refused where the network of people and hands proposes a hand.
    `is_stream` also takes the proposals of the detector of `"fast"`, which finds lying people.
    """

    def __init__(
        self,
        rgb: Image,
        network: Callable[[], PeopleNetwork],
        faces: SingleShotDetector,
        bodies: Bodies,
        extent: Extent,
        *,
        is_stream: bool = False,
        refuses_hands: bool = False,
    ) -> None:
        super().__init__(rgb, extent)
        self._least_hand = _HAND_SCORE if is_stream or refuses_hands else 1.0
        self._is_stream = is_stream
        self._network = network
        self._faces = faces
        self._bodies = bodies
        self.heads: list[geometry.Head] = []
        self.people: list[PersonBox] = []
        self.hands: list[HandBox] = []

    def propose(self) -> Iterator[list[geometry.Proposal]]:
        """Yield the people of the networks, and heads without a body."""
        for window in self.windows(1):
            self.heads += geometry.detected_heads(self._faces, self.rgb, window, LIMITS["head"])
        yield from self._people_in(1)
        for head in self.heads:
            if head.score < self._least("head"):
                continue
            boxes = (box_below(head, placement) for placement in range(len(PLACEMENTS)))
            yield [geometry.Proposal(box, head.score, "head", head=head) for box in boxes]
        if self._is_stream:
            boxes = self._bodies.find(self.rgb, self.min_detection)
            yield [geometry.Proposal(box, self.min_detection, "detector") for box in boxes]
        if self.thorough or has_small(self.people, self.rgb):
            yield from self._people_in(2)
        else:
            self.complete = False

    def _least(self, source: str) -> float:
        """Return the minimum score of a source, which follows the minimum detection score."""
        return LIMITS[source] * self.min_detection / AUTO.min_detection

    def _people_in(self, count: int) -> Iterator[list[geometry.Proposal]]:
        """Yield the crops of the people that the network finds in windows."""
        for window in self.windows(count):
            people, hands = self._network().find(self.rgb, window, self._least("person"), self._least_hand)
            self.hands += hands
            for person in new_people(people, self.people):
                self.people.append(person)
                yield [geometry.Proposal(crop_of(person.box), person.score, f"person{count}", person=person.box)]

    def shows(self, proposal: geometry.Proposal, instance: BodyObservation, limit: str = "same_person_box") -> bool:
        """Check whether a body has the head of a proposal, or fills its box by a minimum IoU."""
        if proposal.head is not None:
            return geometry.is_head_of(instance, proposal.head)
        if proposal.person is None:
            return self._bodies.is_same_instance(proposal.box, self._bodies.box_after(instance))
        return box_iou(proposal.person, clipped(instance, self.rgb)) > LIMITS[limit]

    def verify(self, proposal: geometry.Proposal) -> Candidate[BodyObservation] | None:
        """Observe a proposal and the box from its keypoints. Return None if there is no body of the proposal."""
        rgb, box = without_others(self.rgb, proposal, self.heads), proposal.box
        views: list[BodyObservation] = []
        for _ in range(2):
            views.append(self._bodies.observe(rgb, box))
            if views[-1].score < LIMITS["body_seen"] or not self.shows(proposal, views[-1], "person_overlap"):
                return None
            box = self._bodies.box_after(views[-1])
        return Candidate(views, proposal, body_oks(views[0], views[1], rgb))

    def score(self, candidate: Candidate[BodyObservation]) -> float:
        """Return the probability that a candidate is a body."""
        candidate.features = body_features(candidate, self.rgb, self.heads, self.people)
        score = probability("body", candidate.features)
        is_doubtful = candidate.features["face"] < _SURE_FACE and score < _SURE_BODY
        return 0.0 if is_doubtful and self._is_hand(candidate.last) else score

    def _is_hand(self, body: BodyObservation) -> bool:
        """Check whether the network proposes a hand where a body is."""
        around = clipped(body, self.rgb)
        return any(box_iou(around, hand.bounds) > _HAND_IOU for hand in self.hands)

    def is_same(self, candidate: Candidate[BodyObservation], better: Candidate[BodyObservation]) -> bool:
        """Check whether two candidates share the face, the torso or, if one of them has no face, the head."""
        heads = candidate.features["own_head"], better.features["own_head"]
        if heads[0] == heads[1] >= 0 or geometry.is_same_torso(candidate.last, better.last):
            return True
        return min(heads) < 0 and geometry.is_same_head(candidate.last, better.last)


def clipped(body: BodyObservation, rgb: Image) -> Box:
    """Return the box around the keypoints of a body in an image (H, W, 3)."""
    height, width = rgb.shape[:2]
    x, y = body.keypoints[:, 0].clip(0, width), body.keypoints[:, 1].clip(0, height)
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())


def crop_of(box: Box) -> RotatedBox:
    """Return the crop of a person with an upright box."""
    x_min, y_min, x_max, y_max = box
    x, height = (x_min + x_max) / 2, y_max - y_min
    return box_from_alignment(np.array([(x, y_min + _HIPS * height), (x, y_min + (_HIPS - _RADIUS) * height)]))


def only_box(rgb: Image, box: Box) -> Image:
    """Return an image (H, W, 3) that is grey outside a box and its margin."""
    x_min, y_min, x_max, y_max = box
    margin_x, margin_y = _MARGIN * (x_max - x_min), _MARGIN * (y_max - y_min)
    rows = slice(max(int(y_min - margin_y), 0), int(y_max + margin_y))
    columns = slice(max(int(x_min - margin_x), 0), int(x_max + margin_x))
    masked = np.full_like(rgb, _GREY)
    masked[rows, columns] = rgb[rows, columns]
    return masked


def body_features(
    candidate: Candidate[BodyObservation], rgb: Image, heads: Sequence[geometry.Head], people: Sequence[PersonBox] = ()
) -> dict[str, float]:
    """Return the features of the score of a body in an image (H, W, 3). `own_head` is the index of its head, or -1."""
    height, width = rgb.shape[:2]
    body, around = candidate.last, clipped(candidate.last, rgb)
    head_numbers = [number for number, head in enumerate(heads) if geometry.is_head_of(body, head)]
    nearest = min(head_numbers, key=lambda number: geometry.head_offset(body, heads[number]), default=-1)
    head = heads[nearest] if head_numbers else None
    overlap, person = max(((box_iou(around, box), score) for score, box in people), default=(0.0, 0.0))
    return {
        "own_head": float(nearest),
        "lower": logit(candidate.presence),
        "upper": logit(max(view.score for view in candidate.views)),
        "agreement": logit(candidate.agreement),
        "person": logit(person if overlap > _OWN_BOX else _UNSEEN),
        "overlap": overlap,
        "core": float(body.visibility[geometry.TORSO].mean()),
        "visible": float(body.visibility.mean()),
        "heatmap": body.heatmap_peak,
        "size": math.log(size_of(body.keypoints[:, :2]) / max(width, height)),
        "faced": float(head is not None),
        "face": logit(head.score) if head else 0.0,
        "neck": _neck_fit(body, head) if head else 0.0,
        "torso": min(math.log(geometry.torso_size(body) / head.height), 1.0) if head else 0.0,
    }


def _neck_fit(body: BodyObservation, head: geometry.Head) -> float:
    """Return how well the position of the shoulders fits a head, 0..1."""
    shoulders = body.keypoints[geometry.TORSO[:2], :2].mean(axis=0)
    off = math.dist(shoulders, head.middle + _NECK * head.down) / head.height
    return math.exp(-((off / _NECK_TOLERANCE) ** 2) / 2)


def box_below(head: geometry.Head, placement: int) -> RotatedBox:
    """Return the box of a body below a head; `placement` is an index in `PLACEMENTS`."""
    hips, radius = PLACEMENTS[placement]
    return box_from_alignment(np.stack([head.middle + hips * head.down, head.middle + (hips - radius) * head.down]))


def without_others(rgb: Image, proposal: geometry.Proposal, heads: Iterable[geometry.Head]) -> Image:
    """Return an image (H, W, 3) without what belongs to other people. The network finds only one person in a crop."""
    if proposal.head is not None:
        return without_other_heads(rgb, proposal.box, heads, proposal.head)
    return rgb if proposal.person is None else only_box(rgb, proposal.person)


def without_other_heads(
    rgb: Image, box: RotatedBox, heads: Iterable[geometry.Head], person_head: geometry.Head
) -> Image:
    """Return an image (H, W, 3) with the heads near a box covered, except one."""
    near = [head for head in heads if math.dist(head.middle, box[:2]) < box.width / math.sqrt(2) + head.height]
    if all(head is person_head for head in near):
        return rgb
    covered = np.zeros(rgb.shape[:2], np.uint8)
    for head in near:
        cv2.circle(covered, _pixel(head.middle - _HAIR * head.down), round(_COVER * head.height), 1, -1)
    cv2.circle(covered, _pixel(person_head.middle), round(_KEPT * person_head.height), 0, -1)
    masked = rgb.copy()
    masked[covered > 0] = _GREY
    return masked


def _pixel(point: RealArray) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


def body_oks(first: BodyObservation, second: BodyObservation, rgb: Image) -> float:
    """Return `oks` of two observations of a body, weighted by the visibility in the second one.

    Keypoints outside the image (H, W, 3) of the second observation have weight 0.
    """
    height, width = rgb.shape[:2]
    x, y = second.keypoints[:, 0], second.keypoints[:, 1]
    visible = second.visibility * ((x > 0) & (x < width) & (y > 0) & (y < height))
    return geometry.oks(first.keypoints, second.keypoints, _TOLERANCE, visible)
