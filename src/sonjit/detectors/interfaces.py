"""What the pipeline asks of a kind of instance, and of the searches that stand behind it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Generic, Protocol, TypeVar

import numpy as np

from sonjit.detectors.observations import Observation
from sonjit.geometry.boxes import RotatedBox, iou
from sonjit.results import Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sonjit.detectors.tracking import Track

O = TypeVar("O", bound=Observation)  # noqa: E741  # an observation
C = TypeVar("C", bound=Observation)
R = TypeVar("R", bound=Result)


class Kind(ABC, Generic[O, R]):
    """What differs between hands, faces and bodies.

    Attributes:
        searches_always: every image is searched and no box is carried over; observations give the identity.
        core: keypoints that say whether two instances overlap: without limbs that reach out to others.
    """

    searches_always: ClassVar[bool] = False
    core: ClassVar[tuple[int, ...] | None] = None

    @abstractmethod
    def find(self, rgb: NDArray[np.uint8], min_score: float) -> list[RotatedBox]:
        """Boxes for the landmark network from a search over the whole image (H, W, 3), best first."""

    @abstractmethod
    def observe(self, rgb: NDArray[np.uint8], box: RotatedBox) -> O:
        """What the landmark network sees in one box."""

    @abstractmethod
    def follow(self, track: Track[O]) -> RotatedBox:
        """The next frame's box."""

    def is_present(self, observation: O, min_score: float) -> bool:
        """Whether an observation shows an instance."""
        return observation.score > min_score

    def is_taken(self, box: RotatedBox, other: RotatedBox) -> bool:
        """Whether a found box shows the instance of another box."""
        return iou(box, other) > 0.5

    def moved(self, observation: O, shift: NDArray[np.float32], score: float) -> O:
        """The observation of an instance that another one hides: moved on by (2,) pixels, with a score of its own."""
        keypoints = observation.keypoints + np.append(shift, np.float32(0))
        return replace(observation, keypoints=keypoints, score=score)  # pyright: ignore

    @abstractmethod
    def result(self, rgb: NDArray[np.uint8], observation: O, track: Track[O] | None) -> R:
        """The public result for one instance in an image (H, W, 3).

        Args:
            rgb: the image, for kinds that infer again.
            observation: smoothed where asked for.
            track: who this is; None for stills.
        """

    @abstractmethod
    def flip(self, result: R, width: int) -> R:
        """The same result with x mirrored in an image of that width."""


class Thorough(Protocol[C]):
    """A search that finds more than `Kind.find`, and scores each find itself."""

    def search(self, rgb: NDArray[np.uint8]) -> list[C]:
        """What is in an image (H, W, 3), best first; the score of each is a calibrated probability."""
        ...


class Spread(Protocol[C]):
    """A search that is spread over the frames of a stream.

    Attributes:
        check: tells true finds from false ones; None where nothing does.
    """

    check: Check[C] | None

    def step(
        self, rgb: NDArray[np.uint8], held: Sequence[C], lost: Sequence[RotatedBox], *, spent: int, room: int
    ) -> list[C]:
        """What this frame's share of the search finds beside what is held, near what was lost first.

        Args:
            rgb: (H, W, 3).
            held: seen in this frame.
            lost: where instances were lost of late.
            spent: inferences that the frame has taken beside those of what is held.
            room: how many more may be held; with none, the frame only passes.
        """
        ...

    def is_changed(self, rgb: NDArray[np.uint8]) -> bool:
        """Whether an image (H, W, 3) shows something new since one that this said of."""
        ...

    def reset(self) -> None:
        """Forget the stream before."""
        ...


class Check(Protocol[C]):
    """Tells true finds of a stream from false ones."""

    def view(self, rgb: NDArray[np.uint8], track: Track[C], held: Sequence[Track[C]]) -> NDArray[np.uint8]:
        """The image in which one of those held is looked at: without what may be taken for it."""
        ...

    def admits(self, rgb: NDArray[np.uint8], seen: C) -> bool:
        """Whether what a search has just found may be held."""
        ...

    def keeps(self, rgb: NDArray[np.uint8], track: Track[C], seen: C, held: Sequence[Track[C]]) -> C | None:
        """What is seen of one of those held, as it counts; None where it may not stay."""
        ...
