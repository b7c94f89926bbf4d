"""Define how hands, faces and bodies are found in the windows of a stream."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, ClassVar, Generic, NamedTuple

from sonjit.detectors.kinds.body import Bodies, BodyObservation, box_from_alignment
from sonjit.detectors.kinds.face import FaceMeshes, FaceObservation, box_around_face
from sonjit.detectors.kinds.hands import HandObservation, Hands, box_around_hand, box_from_palm
from sonjit.detectors.search.agenda import Candidate, O
from sonjit.detectors.search.bodies import (
    BODY_TOLERANCE,
    PLACEMENTS,
    body_features,
    box_below,
    heads_in,
    visibility_inside,
    without_other_heads,
)
from sonjit.detectors.search.faces import detected_heads
from sonjit.detectors.search.geometry import (
    Head,
    Proposal,
    Window,
    head_of_body,
    is_head_of,
    is_same_instance,
    is_same_torso,
    oks,
)
from sonjit.detectors.search.hands import observe_mirrored
from sonjit.detectors.search.score import LIMITS, Score, logit
from sonjit.geometry.boxes import iou

if TYPE_CHECKING:
    from sonjit.detectors.search.geometry import Image
    from sonjit.detectors.ssd import SingleShotDetector
    from sonjit.geometry.boxes import RotatedBox

_HEAD_SCORE = 0.5
"""Minimum score of a face that proposes a body."""
_TRACKED_IOU = 0.3
"""Minimum overlap of a proposal and the box of a tracked instance that it shows."""
_PARTS, _PEOPLE_PARTS = (2, 3), (1, 2)
"""Numbers of windows along the longer side of an image, and those in which people are detected."""
_FACE_COST = 0.25
"""Time in which faces are detected in a window, in inferences of the landmark network of bodies."""


class Source(NamedTuple):
    """A detector that proposes instances in the windows of an image.

    Attributes:
        find: Function that returns the proposals in a window of an image (H, W, 3), in pixels of the image.
        parts: Numbers of windows along the longer side of the image.
        cost: Time of a window, in inferences of the landmark network.
        fewer: See `windows`.
    """

    find: Callable[[Image, Window], Sequence[Proposal]]
    parts: Sequence[int] = _PARTS
    cost: float = 1.0
    fewer: bool = False


class Finder(ABC, Generic[O]):
    """Base of the finders, one for each kind.

    Attributes:
        sources: Detectors that propose instances.
        refresh_frames: Number of frames after which an unchanged window is searched again.
        min_presence: Minimum score of an observation that is verified in the next frame.
        inferences: Number of inferences of this verification.
    """

    sources: Sequence[Source]
    refresh_frames: ClassVar[float] = math.inf
    min_presence: ClassVar[float] = 0.2
    inferences: ClassVar[int] = 1

    @abstractmethod
    def observe(self, rgb: Image, box: RotatedBox) -> O:
        """Run the landmark network on a box."""

    @abstractmethod
    def box_after(self, observation: O) -> RotatedBox:
        """Return the box for the next frame."""

    @abstractmethod
    def score(self, rgb: Image, proposal: Proposal, first: O, second: O) -> float:
        """Return the probability that two observations show an instance.

        Args:
            rgb: Image (H, W, 3) of the second frame.
            proposal: Proposal that led to the first observation.
            first: Observation in the previous frame.
            second: Observation in this frame.
        """

    def is_same_instance(self, proposal: Proposal, tracked: O) -> bool:
        """Check whether a proposal shows a tracked instance."""
        return iou(proposal.box, self.box_after(tracked)) > _TRACKED_IOU

    def is_same(self, observation: O, tracked: O) -> bool:
        """Check whether an observation is tracked already."""
        return is_same_instance(observation.keypoints, tracked.keypoints)

    def masked_image(self, rgb: Image, proposal: Proposal, tracked: Sequence[O]) -> Image:
        """Return the image for verifying a proposal, with similar instances covered."""
        return rgb

    def alternative(self, proposal: Proposal) -> Proposal | None:
        """Return the alternative of a proposal that was not verified."""
        return None

    def begin_frame(self, tracked: Sequence[O]) -> None:
        """Start a frame with these tracked instances."""

    def reset(self) -> None:
        """Forget the previous stream."""


class HandFinder(Finder[HandObservation]):
    """Propose hands by the palm detector and verify them in the mirrored image."""

    SCORE = Score.named("stream_hand")
    """Score of the search of stills for a hand that was proposed in one window only."""

    inferences = 2

    def __init__(self, palms: SingleShotDetector, hands: Hands, min_detection: float) -> None:
        self._palms, self._hands, self._min_detection = palms, hands, min_detection
        self.sources = (Source(self._proposals),)

    def _proposals(self, rgb: Image, window: Window) -> list[Proposal]:
        """Return the boxes of hands, from palms."""
        boxes = [(palm.score, box_from_palm(palm)) for palm in self._palms.find(window.cut(rgb), self._min_detection)]
        return [Proposal(window.placed(box), score, set()) for score, box in boxes]

    def observe(self, rgb: Image, box: RotatedBox) -> HandObservation:
        """Return the hand in a box."""
        return self._hands.observe(rgb, box)

    def box_after(self, observation: HandObservation) -> RotatedBox:
        """Return the box around a hand."""
        return box_around_hand(observation.keypoints)

    def score(self, rgb: Image, proposal: Proposal, first: HandObservation, second: HandObservation) -> float:
        """Return the score from the presence in both frames and in the mirrored image."""
        mirrored = observe_mirrored(self._hands, rgb, box_around_hand(second.keypoints))
        return self.SCORE({"presence": logit(min(first.score, second.score)), "mirrored": logit(mirrored.score)})


class FaceFinder(Finder[FaceObservation]):
    """Propose faces by the full-range detector."""

    SCORE = Score.named("stream_face")

    def __init__(self, detector: SingleShotDetector, meshes: FaceMeshes, min_detection: float) -> None:
        self._detector, self._meshes, self._min_detection = detector, meshes, min_detection
        self.sources = (Source(self._proposals),)

    def _proposals(self, rgb: Image, window: Window) -> list[Proposal]:
        """Return the boxes of the mesh network, from faces."""
        return [
            Proposal(window.placed(box_around_face(f.box.tolist(), *f.keypoints[:2].tolist())), f.score, set())
            for f in self._detector.find(window.cut(rgb), self._min_detection)
        ]

    def observe(self, rgb: Image, box: RotatedBox) -> FaceObservation:
        """Return the face mesh in a box."""
        return self._meshes.observe(rgb, box)

    def box_after(self, observation: FaceObservation) -> RotatedBox:
        """Return the box around a face."""
        return self._meshes.box_after(observation)

    def score(self, rgb: Image, proposal: Proposal, first: FaceObservation, second: FaceObservation) -> float:
        """Return the score from the detection, the presence in both frames, and the agreement of the two shapes."""
        shift = first.keypoints.mean(axis=0) - second.keypoints.mean(axis=0)
        agreement = oks(first.keypoints, second.keypoints + shift)
        presence = min(first.score, second.score)
        return self.SCORE(
            {"detection": logit(proposal.score), "presence": logit(presence), "agreement": logit(agreement)}
        )


class HeadMap:
    """Heads that were last detected in each window of a stream.

    Args:
        frames: Number of frames for which a head counts.
    """

    def __init__(self, frames: int) -> None:
        self._frames = frames
        self.reset()

    def __iter__(self) -> Iterator[Head]:
        """Return all heads. One head may have been detected in several windows."""
        return chain.from_iterable(heads for heads, _ in self._heads.values())

    def reset(self) -> None:
        """Forget all heads."""
        self._number = 0
        self._heads: dict[Window, tuple[list[Head], int]] = {}

    def update(self, window: Window, heads: list[Head]) -> None:
        """Replace the heads of a window."""
        self._heads[window] = heads, self._number

    def begin_frame(self, is_known: Callable[[Head], bool]) -> None:
        """Start a frame. Remove heads that are too old or better known from tracked faces."""
        self._number += 1
        self._heads = {
            window: ([head for head in heads if not is_known(head)], number)
            for window, (heads, number) in self._heads.items()
            if self._number - number < self._frames
        }


class BodyFinder(Finder[BodyObservation]):
    """Propose people, and bodies below faces. These are observed with all other heads covered, as in stills."""

    refresh_frames = 30
    min_presence = 0.02

    def __init__(self, faces: SingleShotDetector, bodies: Bodies, heads: HeadMap) -> None:
        assert bodies.people is not None
        self._faces, self._people, self._bodies, self._heads = faces, bodies.people.detector, bodies, heads
        self.sources = (
            Source(self._bodies_below_faces, cost=_FACE_COST),
            Source(self._people_in, _PEOPLE_PARTS, fewer=True),
        )

    def begin_frame(self, tracked: Sequence[BodyObservation]) -> None:
        """Forget the heads of tracked bodies, and old ones."""
        self._heads.begin_frame(lambda head: any(is_head_of(body, head) for body in tracked))

    def reset(self) -> None:
        """Forget all heads."""
        self._heads.reset()

    def _people_in(self, rgb: Image, window: Window) -> list[Proposal]:
        """Return the boxes of the people in a window."""
        people = self._people.find(window.cut(rgb), LIMITS["person"])
        boxes = [(person.score, window.placed(box_from_alignment(person.keypoints[:2]))) for person in people]
        return [Proposal(box, score, {window}) for score, box in boxes]

    def _bodies_below_faces(self, rgb: Image, window: Window) -> list[Proposal]:
        """Return the boxes of bodies below the faces of a window."""
        heads = detected_heads(self._faces, rgb, window, _HEAD_SCORE)
        self._heads.update(window, heads)
        return [_proposal_below(head, 0) for head in heads]

    def alternative(self, proposal: Proposal) -> Proposal | None:
        """Return the next placement."""
        following = proposal.placement + 1
        return _proposal_below(proposal.head, following) if proposal.head and following < len(PLACEMENTS) else None

    def observe(self, rgb: Image, box: RotatedBox) -> BodyObservation:
        """Return the body in a box."""
        return self._bodies.observe(rgb, box)

    def box_after(self, observation: BodyObservation) -> RotatedBox:
        """Return the box around a body."""
        return box_from_alignment(observation.alignment)

    def score(self, rgb: Image, proposal: Proposal, first: BodyObservation, second: BodyObservation) -> float:
        """Score a detected person as in stills, and a body below a face if the face is its own."""
        shift = first.keypoints.mean(axis=0) - second.keypoints.mean(axis=0)
        agreement = oks(first.keypoints, second.keypoints + shift, BODY_TOLERANCE, visibility_inside(second, rgb))
        if proposal.head is None:
            candidate = Candidate([first, second], proposal.score, proposal.votes, agreement=agreement)
            return Score.named("body")(body_features(candidate, rgb, ()))
        if not is_head_of(second, proposal.head):
            return 0.0
        return Score.named("stream_body")({"score": logit(max(first.score, second.score) * agreement)})

    def is_same_instance(self, proposal: Proposal, tracked: BodyObservation) -> bool:
        """Check whether a proposal has the head or, without one, the hips of a tracked body."""
        if proposal.head is not None:
            return is_head_of(tracked, proposal.head)
        own = self.box_after(tracked)
        return math.dist(own[:2], proposal.box[:2]) < LIMITS["same_hips"] * own.width

    def is_same(self, observation: BodyObservation, tracked: BodyObservation) -> bool:
        """Check whether two bodies share one torso."""
        return is_same_torso(observation, tracked)

    def masked_image(self, rgb: Image, proposal: Proposal, tracked: Sequence[BodyObservation]) -> Image:
        """Return the image with all heads covered except that of the proposal."""
        if proposal.head is None:
            return rgb
        others = (*self._heads, *map(head_of_body, tracked))
        return without_other_heads(rgb, heads_in(proposal.box, others), proposal.head)


def _proposal_below(head: Head, placement: int) -> Proposal:
    return Proposal(box_below(head, *PLACEMENTS[placement]), head.score / (1 + placement), set(), head, placement)
