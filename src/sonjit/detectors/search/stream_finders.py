"""What differs between hands, faces and bodies in a stream's windows."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, ClassVar, Generic

from sonjit.detectors.kinds.body import Bodies, BodyObservation, box_from_alignment
from sonjit.detectors.kinds.face import FaceMeshes, FaceObservation, box_around_face
from sonjit.detectors.kinds.hands import HandObservation, Hands, box_around_hand, box_from_palm
from sonjit.detectors.search.agenda import O
from sonjit.detectors.search.bodies import (
    BODY_TOLERANCE,
    PLACEMENTS,
    box_below,
    heads_in,
    seen_inside,
    without_other_heads,
)
from sonjit.detectors.search.geometry import (
    Head,
    Proposal,
    Window,
    head_from_detection,
    head_of_body,
    is_head_of,
    is_same_instance,
    is_same_torso,
    oks,
)
from sonjit.detectors.search.hands import seen_in_mirror
from sonjit.detectors.search.score import Score, logit
from sonjit.geometry.boxes import iou

if TYPE_CHECKING:
    from sonjit.detectors.search.geometry import Image
    from sonjit.detectors.ssd import SingleShotDetector
    from sonjit.geometry.boxes import RotatedBox

_HEAD_SCORE = 0.5
"""Least score of a face below which a body is looked for."""
_TAKEN_IOU = 0.3


class Finder(ABC, Generic[O]):
    """What differs between hands, faces and bodies in a stream's windows."""

    parts: ClassVar[Sequence[int]] = (2, 3)
    windows_at_once: ClassVar[int] = 1
    """How many are searched in the time of an inference."""
    patience: ClassVar[float] = math.inf
    """Frames after which a window that shows nothing new is searched again."""
    least_presence: ClassVar[float] = 0.2
    inferences: ClassVar[int] = 1
    """What a second look takes."""

    @abstractmethod
    def places(self, rgb: Image, window: Window) -> Sequence[Proposal]:
        """Return the proposals of a detector in a window, in pixels of the image (H, W, 3)."""

    @abstractmethod
    def observe(self, rgb: Image, box: RotatedBox) -> O:
        """Return the observation in a box."""

    @abstractmethod
    def box_after(self, seen: O) -> RotatedBox:
        """Return the box for the next frame."""

    @abstractmethod
    def score(self, rgb: Image, place: Proposal, first: O, second: O) -> float:
        """Probability that what was seen in two frames is one; the image is that of the second."""

    def is_same_instance(self, place: Proposal, held: O) -> bool:
        """Check whether a proposal shows a tracked instance."""
        return iou(place.box, self.box_after(held)) > _TAKEN_IOU

    def is_same(self, seen: O, held: O) -> bool:
        """Check whether an observation is tracked already."""
        return is_same_instance(seen.keypoints, held.keypoints)

    def masked_image(self, rgb: Image, place: Proposal, held: Sequence[O]) -> Image:
        """Return the image for verifying a proposal, with similar instances covered."""
        return rgb

    def elsewhere(self, place: Proposal) -> Proposal | None:
        """Return the alternative of a proposal that was not verified."""
        return None

    def begin_frame(self, held: Sequence[O]) -> None:
        """Start a frame with these tracked instances."""

    def reset(self) -> None:
        """Forget the stream before."""


class HandFinder(Finder[HandObservation]):
    """Hands by the palm detector, confirmed in the mirror."""

    SCORE = Score.named("stream_hand")
    """That of the search of stills, for what one window alone leads to."""

    inferences = 2

    def __init__(self, palms: SingleShotDetector, hands: Hands, min_detection: float) -> None:
        self._palms, self._hands, self._min_detection = palms, hands, min_detection

    def places(self, rgb: Image, window: Window) -> list[Proposal]:
        """Boxes of whole hands from palms."""
        boxes = [(palm.score, box_from_palm(palm)) for palm in self._palms.find(window.cut(rgb), self._min_detection)]
        return [Proposal(window.placed(box), score, set()) for score, box in boxes]

    def observe(self, rgb: Image, box: RotatedBox) -> HandObservation:
        """Return the hand in a box."""
        return self._hands.observe(rgb, box)

    def box_after(self, seen: HandObservation) -> RotatedBox:
        """Return the box around a hand."""
        return box_around_hand(seen.keypoints)

    def score(self, rgb: Image, place: Proposal, first: HandObservation, second: HandObservation) -> float:
        """From its presence in both frames and in the mirror."""
        mirrored = seen_in_mirror(self._hands, rgb, box_around_hand(second.keypoints))
        return self.SCORE({"presence": logit(min(first.score, second.score)), "mirrored": logit(mirrored.score)})


class FaceFinder(Finder[FaceObservation]):
    """Faces by the full-range detector."""

    SCORE = Score.named("stream_face")

    def __init__(self, detector: SingleShotDetector, meshes: FaceMeshes, min_detection: float) -> None:
        self._detector, self._meshes, self._min_detection = detector, meshes, min_detection

    def places(self, rgb: Image, window: Window) -> list[Proposal]:
        """Boxes of the mesh from faces."""
        return [
            Proposal(window.placed(box_around_face(f.box.tolist(), *f.keypoints[:2].tolist())), f.score, set())
            for f in self._detector.find(window.cut(rgb), self._min_detection)
        ]

    def observe(self, rgb: Image, box: RotatedBox) -> FaceObservation:
        """Return the face mesh in a box."""
        return self._meshes.observe(rgb, box)

    def box_after(self, seen: FaceObservation) -> RotatedBox:
        """Return the box around a face."""
        return self._meshes.box_after(seen)

    def score(self, rgb: Image, place: Proposal, first: FaceObservation, second: FaceObservation) -> float:
        """From the detection, the presence in both frames, and how well their shapes agree."""
        shift = first.keypoints.mean(axis=0) - second.keypoints.mean(axis=0)
        agreement = oks(first.keypoints, second.keypoints + shift)
        presence = min(first.score, second.score)
        return self.SCORE({"detection": logit(place.score), "presence": logit(presence), "agreement": logit(agreement)})


class HeadMap:
    """The heads that were last seen in each window of a stream, in some frames ago at most.

    Args:
        frames: Number of frames for which a head counts.
    """

    def __init__(self, frames: int) -> None:
        self._frames = frames
        self.reset()

    def __iter__(self) -> Iterator[Head]:
        """Return all heads. One head may have been detected in several windows."""
        return chain.from_iterable(heads for heads, _ in self._seen.values())

    def reset(self) -> None:
        """Forget them."""
        self._number = 0
        self._seen: dict[Window, tuple[list[Head], int]] = {}

    def see(self, window: Window, heads: list[Head]) -> None:
        """Take over what a window shows."""
        self._seen[window] = heads, self._number

    def begin_frame(self, is_known: Callable[[Head], bool]) -> None:
        """Start a frame. Remove heads that are too old or better known from tracked faces."""
        self._number += 1
        self._seen = {
            window: ([head for head in heads if not is_known(head)], number)
            for window, (heads, number) in self._seen.items()
            if self._number - number < self._frames
        }


@dataclass(eq=False)
class _Below(Proposal):
    """Where the body of a head may be: one of several placements."""

    head: Head
    placement: int = 0


class BodyFinder(Finder[BodyObservation]):
    """Bodies below faces, looked at with all other heads covered, as in stills."""

    windows_at_once = 4
    patience = 30
    least_presence = 0.02

    def __init__(self, faces: SingleShotDetector, bodies: Bodies, heads: HeadMap) -> None:
        self._faces, self._bodies, self._heads = faces, bodies, heads

    def begin_frame(self, held: Sequence[BodyObservation]) -> None:
        """Forget heads of bodies that are held, and those seen long ago."""
        self._heads.begin_frame(lambda head: any(is_head_of(one, head) for one in held))

    def reset(self) -> None:
        """Forget all heads."""
        self._heads.reset()

    def places(self, rgb: Image, window: Window) -> list[_Below]:
        """Bodies that stand below the faces of a window."""
        heads = [head_from_detection(face, window) for face in self._faces.find(window.cut(rgb), _HEAD_SCORE)]
        self._heads.see(window, heads)
        return [self._below(head, 0) for head in heads]

    def _below(self, head: Head, placement: int) -> _Below:
        box = box_below(head, *PLACEMENTS[placement])
        return _Below(box, head.score / (1 + placement), set(), head, placement)

    def elsewhere(self, place: Proposal) -> _Below | None:
        """Return the next placement."""
        assert isinstance(place, _Below)
        following = place.placement + 1
        return self._below(place.head, following) if following < len(PLACEMENTS) else None

    def observe(self, rgb: Image, box: RotatedBox) -> BodyObservation:
        """Return the body in a box."""
        return self._bodies.observe(rgb, box)

    def box_after(self, seen: BodyObservation) -> RotatedBox:
        """Return the box around a body."""
        return box_from_alignment(seen.alignment)

    def score(self, rgb: Image, place: Proposal, first: BodyObservation, second: BodyObservation) -> float:
        """Score a body as in stills if its face is the one that proposed it."""
        assert isinstance(place, _Below)
        if not is_head_of(second, place.head):
            return 0.0
        shift = first.keypoints.mean(axis=0) - second.keypoints.mean(axis=0)
        agreement = oks(first.keypoints, second.keypoints + shift, BODY_TOLERANCE, seen_inside(second, rgb))
        return Score.named("stream_body")({"score": logit(max(first.score, second.score) * agreement)})

    def is_same_instance(self, place: Proposal, held: BodyObservation) -> bool:
        """Check whether the head belongs to a tracked body."""
        assert isinstance(place, _Below)
        return is_head_of(held, place.head)

    def is_same(self, seen: BodyObservation, held: BodyObservation) -> bool:
        """Check whether two bodies share one torso."""
        return is_same_torso(seen, held)

    def masked_image(self, rgb: Image, place: Proposal, held: Sequence[BodyObservation]) -> Image:
        """Return the image with all heads covered except that of the proposal."""
        assert isinstance(place, _Below)
        others = (*self._heads, *map(head_of_body, held))
        return without_other_heads(rgb, heads_in(place.box, others), place.head)
