"""What a kind's loader is asked for, and how it finds weight files and loads networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sonjit.detectors.smoothing import KeypointSmoother
from sonjit.errors import InputError
from sonjit.weights import find_weight

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sonjit.detectors.smoothing import FilterChoice
    from sonjit.engines import Engine, EngineOptions


@dataclass(frozen=True)
class Request:
    """The part of `create_detector`'s arguments that concerns the networks.

    Attributes:
        model: one of the kind's names.
        mirrored: the images are selfie views.
        models_dir: folder with the published files, or None for the cache.
        detector_model: the caller's own detector network, or None.
        landmark_model: the caller's own landmark network, or None.
        engine: how networks run.
        segmentation: masks are wanted.
        smooth_segmentation: and smoothed over time.
        hand_model, face_model: of the parts of people; None to match the body's.
        min_presence_score: of an instance in its crop.
        search_interval: frames between searches.
        smoothing: "published", a filter, or None.
        static_image: every image stands alone.
        visibility: of hands' keypoints is wanted.
    """

    model: str
    mirrored: bool
    models_dir: Path | None
    detector_model: Path | None
    landmark_model: Path | None
    engine: EngineOptions
    segmentation: bool = False
    smooth_segmentation: bool = True
    hand_model: str | None = None
    face_model: str | None = None
    min_presence_score: float = 0.5
    search_interval: int = 5
    smoothing: FilterChoice = "published"
    static_image: bool = False
    visibility: bool = False

    def file(self, name: str, own: Path | None = None) -> Path:
        """The caller's own file, or the published one of that name in the catalogue."""
        return own or find_weight(name, self.models_dir)


def expect(engine: Engine, path: Path, what: str, *, size: int | None, outputs: Sequence[int]) -> Engine:
    """The engine itself, if it looks like the network that was meant.

    Args:
        engine: just loaded.
        path: from where, for the message.
        what: the network that was meant, e.g. "palm detector".
        size: side of its square input in pixels; None where any will do.
        outputs: how many numbers each of its outputs holds, in any order.

    Raises:
        InputError: it takes or gives something else.
    """
    height, width = engine.input.shape[1:3]
    if height != width or size not in (None, height) or sorted(engine.output_sizes) != sorted(outputs):
        raise InputError(
            f"{path} is no {what}: it takes {width} x {height} px and gives {_listed(engine.output_sizes)} numbers, "
            f"not {'any square' if size is None else f'{size} x {size} px'} and {_listed(outputs)}"
        )
    return engine


def _listed(sizes: Sequence[int]) -> str:
    return " + ".join(str(size) for size in sizes)


def keypoint_smoothers(request: Request) -> Callable[[], KeypointSmoother | None]:
    """A function that makes a new track's smoother; for kinds where nothing is published."""
    pattern = request.smoothing
    if pattern is None or pattern == "published":
        return lambda: None
    return lambda: KeypointSmoother(pattern)
