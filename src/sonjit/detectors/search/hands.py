"""Search an image for hands: palms, hands of a proposal network and ends of arms, verified by one or two inferences."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np

from sonjit._util import Image
from sonjit.detectors.kinds.body import Bodies, BodyObservation
from sonjit.detectors.kinds.hands import HandObservation, Hands, box_around_hand, box_from_palm
from sonjit.detectors.search import geometry
from sonjit.detectors.search.ahead import Ahead, Helpers
from sonjit.detectors.search.bodies import clipped, crop_of
from sonjit.detectors.search.network import HandBox, PeopleNetwork, PersonBox, has_small, new_people
from sonjit.detectors.search.score import LIMITS, logit, map_odds, probability
from sonjit.detectors.search.stills import AUTO, Candidate, Extent, StillSearch
from sonjit.detectors.ssd import Detection, SingleShotDetector
from sonjit.geometry.boxes import RotatedBox, box_iou, iou, latest_boxes, size_of
from sonjit.geometry.windows import Window, window_around

T = TypeVar("T")
_ELBOWS, _WRISTS, _KNUCKLES = (13, 14), (15, 16), ((15, 17, 19), (16, 18, 20))
_FEET = ((27, 29, 31), (28, 30, 32))
_CROP_SCORE = 0.5  # score of the proposals from a body's own crops of its hands
_SAME_HAND = 0.4  # minimum IoU of a proposal and a certain hand that it shows
_FACE_OF_EYES, _FACE_OF_SHOULDERS = 2.6, 0.45
"""Height of a face relative to the distance of eyes and mouth, and relative to that of the shoulders."""
_ARM_WINDOW, _ARM_REACH = 3.0, 0.3
"""Side of the window at the end of an arm, and its distance past the wrist, in face heights."""
_FAR_ARM, _NEAR_ARM, _MOST_ARM = 1.5, 0.3, 1.5
"""Terms of `arm_side`: maximum distance of the nearer arm, and term added to the distances, in hand sizes; and limit of
the log ratio."""
_CLOSER = "closer"  # source of the proposals near loose boxes of the network
_CLOSER_WINDOW = 3.0  # side of the window around a loose box, in sides of the box
_MOST_PALMS = 4  # maximum number of palms in such a window
_HAND_WINDOW = 2.0  # side of the window around a hand of the network, in sides of its crop
_NETWORK_SHARE = 0.5  # weight of the log odds of the network, relative to those of the palm detector
_NEAR_CROP, _NEAR_SIZE = 0.3, 2.0  # maximum distance, in sides, and maximum ratio of two crops of one hand
_NEAR_WINDOW = 0.75  # maximum distance of two hands of the network that one window shows, in sides
_UNSEEN = 0.02  # score of a hand that the network does not find
_VISIBLE_FOOT = 0.3  # minimum visibility of a foot
_SMALL_PX = 48.0  # size up to which the size of a hand affects its score


class HandNetworks(NamedTuple):
    """Networks that see parts of an image."""

    palms: SingleShotDetector
    hands: Hands


class HandSearch(StillSearch[HandObservation]):
    """Search of one image for hands. `helpers` observe independent parts of it at once, with the same result."""

    def __init__(
        self,
        rgb: Image,
        palms: SingleShotDetector,
        hands: Hands,
        network: Callable[[], PeopleNetwork] | None = None,
        bodies: Callable[[], Bodies] | None = None,
        extent: Extent = AUTO,
        helpers: Helpers[HandNetworks] | None = None,
    ) -> None:
        super().__init__(rgb, extent)
        self._ahead = Ahead(HandNetworks(palms, hands), helpers)
        self._is_same_box = hands.is_same_instance
        self._network = network
        self._load_bodies = bodies
        self._least = LIMITS["palm_share"] * self.min_detection
        self._verified_boxes: list[RotatedBox] = []
        self.bodies: list[BodyObservation] = []
        self._people: list[PersonBox] = []
        self._network_hands: list[HandBox] | None = None  # before the network has run
        self._examined = 0

    def propose(self) -> Iterator[list[geometry.Proposal]]:
        """Yield palms of the image, hands that the network finds, and ends of arms, then those in windows."""
        self._start(lambda search: search(), [self._published], single=True)
        for window in self.windows(1):
            self._people_of(window)
        yield self._published()
        yield from self._network_in(1)
        all_palms = (palm for palms in self._palms() for palm in palms)
        palms = (geometry.Proposal(box_from_palm(palm), palm.score, "palm") for palm in all_palms)
        likely = self._likely(palms)
        self._start(lambda proposal: [proposal], (palm for palm in likely if not self.is_known(palm)))
        yield likely
        yield from self._arms()
        if self.thorough or has_small(self._people, self.rgb):
            yield from self._network_in(2)
            yield from self._arms()
        else:
            self.complete = False
        yield from self._closer()

    def _palms(self) -> list[list[Detection]]:
        """Return the palms of the image as the published search finds them, and those of lower scores."""
        return self._ahead.once(
            "palms", lambda networks: networks.palms.find_from(self.rgb, self.min_detection, self._least)
        )

    def _published(self) -> list[geometry.Proposal]:
        """Return the proposals of the published search."""
        boxes = {box_from_palm(palm): palm.score for palm in self._palms()[0]}
        latest = latest_boxes(boxes, self._is_same_box)
        return [geometry.Proposal(box, boxes[box], "published") for box in latest]

    def _people_of(self, window: Window) -> tuple[list[PersonBox], list[HandBox]]:
        """Return the people and hands that the network finds in a window."""
        assert self._network is not None
        network, limits = self._network, (LIMITS["arm_person"], LIMITS["faint_hand"])
        return self._ahead.once(window, lambda _: network().find(self.rgb, window, *limits))

    def _body_of(self, person: PersonBox) -> BodyObservation:
        """Return the body in the box of a person."""
        assert self._load_bodies is not None
        bodies = self._load_bodies
        return self._ahead.once(person, lambda _: bodies().observe(self.rgb, crop_of(person.box)))

    def _closer(self) -> Iterator[list[geometry.Proposal]]:
        """Yield the crops near the hands of the network that no certain hand shows."""
        hands = sorted(self._network_hands or [], key=lambda hand: -hand.score)
        loose = [geometry.Proposal(box, score, _CLOSER) for score, box in hands if score >= LIMITS["closer"]]
        self._start(lambda box: self.crops_near(box, self.is_known), self._apart(loose))
        for box in self._apart(loose):
            yield from ([crop] for crop in self.crops_near(box, self.skips))

    def _apart(self, loose: Iterable[geometry.Proposal]) -> Iterator[RotatedBox]:
        """Yield the boxes that no certain hand shows, and without those in the window of an earlier one."""
        earlier: list[RotatedBox] = []
        for proposal in loose:
            is_near = any(is_near_crop(proposal.box, other, _NEAR_WINDOW) for other in earlier)
            if not is_near and not self.shown(proposal):
                earlier.append(proposal.box)
                yield proposal.box

    def crops_near(self, box: RotatedBox, skips: Callable[[geometry.Proposal], bool]) -> Iterator[geometry.Proposal]:
        """Yield crops of hands in a window around a box in pixels, without the palms that `skips` accepts.

        The box may be off by half a hand, have any rotation, and be 0.6 to 1.7 times as large as the crop of the hand.
        Each crop is that of the keypoints which the landmark network finds in the crop of a palm.
        """
        window = window_around(box.cx, box.cy, _CLOSER_WINDOW * box.width, self.rgb)
        palms = [] if window is None else self._find(window, LIMITS["closer_palm"])
        proposals = [] if window is None else geometry.proposals_in(window, palms, box_from_palm, _CLOSER)
        for palm in geometry.merge_proposals(proposals, 4 * max(self.rgb.shape))[:_MOST_PALMS]:
            if skips(palm):
                continue
            first = self._observe(palm.box)
            if first.score > LIMITS["closer_seen"]:
                yield replace(palm, box=box_around_hand(first.keypoints))

    def _network_in(self, count: int) -> Iterator[list[geometry.Proposal]]:
        """Yield the palms around the hands that the network finds in windows, and keep its people."""
        least = LIMITS["hand_thorough" if self.thorough else "hand"]
        for window in self.windows(count):
            people, hands = self._people_of(window)
            people = new_people(people, self._people)
            self._people += people
            self._network_hands = [*(self._network_hands or []), *hands]
            proposals = [geometry.Proposal(box, score, f"hand{count}") for score, box in hands if score > least]
            self._start(self._around, (hand for hand in proposals if not self.is_known(hand)), single=bool(people))
            for person in people:
                self._body_of(person)
            yield from (self._around(hand) for hand in proposals if not self.skips(hand))

    def _around(self, hand: geometry.Proposal) -> list[geometry.Proposal]:
        """Return the palms around a hand of the network, or the hand."""
        window = window_around(hand.box.cx, hand.box.cy, _HAND_WINDOW * hand.box.width, self.rgb)
        palms = [] if window is None else self._palms_in(window, hand.source)
        return palms or self._likely([hand])

    def _palms_in(self, window: Window, source: str) -> list[geometry.Proposal]:
        """Return boxes of palms in a window."""
        return self._likely(geometry.proposals_in(window, self._find(window, self._least), box_from_palm, source))

    def _start(
        self, propose: Callable[[T], Iterable[geometry.Proposal]], items: Iterable[T], *, single: bool = False
    ) -> None:
        """Let the helpers observe the proposals from several items as `verify` will, or from a single one too."""

        def observe(item: T) -> None:
            for proposal in propose(item):
                if self._ahead.ended:
                    return
                if not self.is_known(proposal):
                    self._views(proposal)

        self._ahead.start([partial(observe, item) for item in items], single=single)

    def _find(self, window: Window, least: float) -> list[Detection]:
        return self._ahead.once((window, least), lambda networks: networks.palms.find(window.cut(self.rgb), least))

    def _observe(self, box: RotatedBox) -> HandObservation:
        return self._ahead.once(box, lambda networks: networks.hands.observe(self.rgb, box))

    def _likely(self, proposals: Iterable[geometry.Proposal]) -> list[geometry.Proposal]:
        """Return the proposals with a sufficient score of their detector and of the network, without duplicates."""
        least = LIMITS["hand_odds_thorough" if self.thorough else "hand_odds"]
        merged = geometry.merge_proposals(proposals, 4 * max(self.rgb.shape))
        return [p for p in merged if logit(p.score) + _NETWORK_SHARE * self._network_odds(p.box) > least]

    def _network_odds(self, box: RotatedBox) -> float:
        """Return the log odds of the best hand of the network near a crop."""
        if self._network_hands is None:
            return 0.0
        return logit(max((hand.score for hand in self._network_hands if is_near_crop(hand.box, box)), default=_UNSEEN))

    def _arms(self) -> Iterator[list[geometry.Proposal]]:
        """Yield the hands at the arms of the people that were not examined before."""
        people, self._examined = self._people[self._examined :], len(self._people)
        bodies: list[BodyObservation] = []
        for person in people:
            body = self._body_of(person)
            overlap = box_iou(clipped(body, self.rgb), person.box)
            is_known = any(geometry.is_same_torso(body, other) for other in (*self.bodies, *bodies))
            if body.score > LIMITS["guide"] and overlap > LIMITS["person_overlap"] and not is_known:
                bodies.append(body)
        self.bodies += bodies
        return self._hands_of(bodies)

    def _hands_of(self, bodies: Sequence[BodyObservation]) -> Iterator[list[geometry.Proposal]]:
        """Yield the palms near the wrists of bodies where no hand is."""
        self._start(self._palms_at, self._ends_of(bodies))
        return map(self._palms_at, self._ends_of(bodies))

    def _palms_at(self, end: Window) -> list[geometry.Proposal]:
        return self._palms_in(end, "arm")

    def _ends_of(self, bodies: Iterable[BodyObservation]) -> Iterator[Window]:
        """Yield the windows at the ends of arms where no hand is."""
        height, width = self.rgb.shape[:2]
        for body, elbow, wrist in ((body, *arm) for body in bodies for arm in zip(_ELBOWS, _WRISTS, strict=True)):
            end = body.keypoints[wrist, :2].astype(np.float64)
            is_inside = -0.05 * width < end[0] < 1.05 * width and -0.05 * height < end[1] < 1.05 * height
            hand_points = (candidate.last.keypoints[:, :2] for candidate in self.candidates)
            if not is_inside or any(math.dist(hand[0], end) < size_of(hand) for hand in hand_points):
                continue
            arm, face = end - body.keypoints[elbow, :2], face_height(body)
            cx, cy = end + _ARM_REACH * face * arm / max(float(np.linalg.norm(arm)), 1.0)
            window = window_around(cx, cy, _ARM_WINDOW * face, self.rgb)
            if window is not None:
                yield window

    def is_known(self, proposal: geometry.Proposal) -> bool:
        """Check whether a proposal shows a certain hand or a box that was verified before."""
        return super().is_known(proposal) or any(geometry.is_near(proposal.box, box) for box in self._verified_boxes)

    def shows(self, proposal: geometry.Proposal, instance: HandObservation) -> bool:
        """Check whether a proposal shows a hand."""
        return iou(box_around_hand(instance.keypoints), proposal.box) > _SAME_HAND

    def verify(self, proposal: geometry.Proposal) -> Candidate[HandObservation] | None:
        """Observe a proposal, and in doubt the box of its keypoints in the mirrored image."""
        self._verified_boxes.append(proposal.box)
        return self._views(proposal)

    def _views(self, proposal: geometry.Proposal) -> Candidate[HandObservation] | None:
        first = self._observe(proposal.box)
        odds = self._network_odds(box_around_hand(first.keypoints))
        is_likely = proposal.score >= self.min_detection or odds > LIMITS["sure_odds"]
        if first.score > LIMITS["sure_hand"] and is_likely:
            return Candidate([first], proposal, published=proposal.published)
        if first.score < LIMITS["hand_seen"]:
            return None
        published = proposal.published and first.score > geometry.PRESENT
        box = box_around_hand(first.keypoints)
        mirrored = self._ahead.once(("mirrored", box), lambda search: search.hands.observe_mirrored(self.rgb, box))
        if mirrored.score < LIMITS["hand_mirrored"] and not published:
            return None
        views = [mirrored, first] if published or proposal.source == "crop" else [first, mirrored]
        return Candidate(views, proposal, geometry.oks(first.keypoints, mirrored.keypoints), published)

    def score(self, candidate: Candidate[HandObservation]) -> float:
        """Return the probability that a candidate is a hand."""
        hand, views = candidate.last, candidate.views
        odds = map_odds(view.maps for view in views)
        candidate.features = {
            "maps": odds or 0.0,
            "lower": logit(candidate.presence),
            "presence": float(np.mean([logit(view.score) for view in views])),
            "agreement": logit(candidate.agreement),
            "detection": logit(candidate.proposal.score),
            "network": self._network_odds(box_around_hand(hand.keypoints)),
            "wrist": max(1 - wrist_distance(hand, self.bodies), 0),
            "people": float(bool(self.bodies)),
            "foot": foot_nearness(hand, self.bodies),
            "published": float(candidate.published),
            "seen": 0.5 if hand.visibility is None else float(hand.visibility.mean()),
            "small": min(math.log(size_of(hand.keypoints[:, :2]) / _SMALL_PX), 0.0),
            "side": float(np.mean([logit(view.left) for view in views])),
            "arm": arm_side(hand, self.bodies),
        }
        return probability("hand" if odds is None else "verified_hand", candidate.features)

    def run(self, sources: Iterable[Sequence[geometry.Proposal]]) -> list[Candidate[HandObservation]]:
        """Return all hands with their scores and calibrated sides; see `StillSearch.run`."""
        try:
            candidates = super().run(sources)
        finally:
            self._ahead.end()
        for candidate in candidates:
            candidate.views[-1] = replace(candidate.last, left=probability("side", candidate.features))
        return candidates

    def around(
        self, bodies: Sequence[BodyObservation], crops: Iterable[RotatedBox]
    ) -> list[Candidate[HandObservation]]:
        """Return the hands of known people, from these crops and from the ends of their arms."""
        self.bodies = [*bodies]
        crop_proposals = [geometry.Proposal(box, _CROP_SCORE, "crop") for box in crops]
        return self.run(proposals for source in ([crop_proposals], self._hands_of(bodies)) for proposals in source)


def is_near_crop(a: RotatedBox, b: RotatedBox, sides: float = _NEAR_CROP) -> bool:
    """Check whether two crops of similar size are at most some sides apart, whatever their rotation."""
    is_close = math.dist(a[:2], b[:2]) < sides * max(a.width, b.width)
    return is_close and 1 / _NEAR_SIZE < a.width / b.width < _NEAR_SIZE


def face_height(body: BodyObservation) -> float:
    """Return the height of a face in pixels, from eyes and mouth, or from the shoulders if it is turned away."""
    points = body.keypoints[:, :2]
    eyes, mouth = points[[2, 5]].mean(axis=0), points[[9, 10]].mean(axis=0)
    return max(_FACE_OF_EYES * math.dist(eyes, mouth), _FACE_OF_SHOULDERS * math.dist(points[11], points[12]))


def wrist_distance(hand: HandObservation, bodies: Iterable[BodyObservation], side: int | None = None) -> float:
    """Return the distance from a hand to the nearest wrist or knuckles of a body, in sizes of the hand."""
    points, sides = hand.keypoints[:, :2], _KNUCKLES if side is None else _KNUCKLES[side : side + 1]
    centre, ends = points.mean(axis=0), (body.keypoints[list(end), :2] for body in bodies for end in sides)
    near = (min(math.dist(points[0], end[0]), math.dist(centre, end.mean(axis=0))) for end in ends)
    return min(near, default=math.inf) / size_of(points)


def arm_side(hand: HandObservation, bodies: Sequence[BodyObservation]) -> float:
    """Return whether a hand is at a left arm (up to 1.5) or a right arm (down to -1.5). Return 0 if both are far."""
    left, right = wrist_distance(hand, bodies, 0), wrist_distance(hand, bodies, 1)
    if min(left, right) > _FAR_ARM:
        return 0.0
    return float(np.clip(math.log((right + _NEAR_ARM) / (left + _NEAR_ARM)), -_MOST_ARM, _MOST_ARM))


def foot_nearness(hand: HandObservation, bodies: Sequence[BodyObservation]) -> float:
    """Return the nearness of a hand to a foot: 1 on it, 0 if it is far or nearer to a wrist."""
    points, seen = hand.keypoints[:, :2], ((body, foot) for body in bodies for foot in _FEET)
    feet = (body.keypoints[list(foot), :2] for body, foot in seen if body.visibility[foot[0]] > _VISIBLE_FOOT)
    away = (np.vstack([foot, foot.mean(axis=0)]) - points.mean(axis=0) for foot in feet)
    nearest = min((float(np.linalg.norm(offsets, axis=1).min()) for offsets in away), default=math.inf) / size_of(
        points
    )
    return max(1 - nearest, 0.0) if nearest < wrist_distance(hand, bodies) else 0.0
