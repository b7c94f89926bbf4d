"""What a kind's loader is asked for, and how it finds weight files and loads networks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sonjit.detectors.smoothing import KeypointSmoother
from sonjit.weights import find_weight

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TypeVar

    from sonjit.detectors.smoothing import FilterChoice
    from sonjit.engines import EngineOptions

    T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """The part of `create_detector`'s arguments that concerns the networks.

    Attributes:
        model: one of the kind's names.
        mirrored: the pictures are selfie views.
        models_dir: folder with the published files, or None for the cache.
        detector_model: the caller's own detector network, or None.
        landmark_model: the caller's own landmark network, or None.
        engine: how networks run.
        segmentation: masks are wanted.
        smooth_segmentation: and smoothed over time.
        min_presence_score: of an instance in its crop.
        search_interval: frames between searches.
        smoothing: "published", a filter, or None.
        static_image: every picture stands alone.
    """

    model: str
    mirrored: bool
    models_dir: Path | None
    detector_model: Path | None
    landmark_model: Path | None
    engine: EngineOptions
    segmentation: bool = False
    smooth_segmentation: bool = True
    min_presence_score: float = 0.5
    search_interval: int = 5
    smoothing: FilterChoice = "published"
    static_image: bool = False

    def file(self, name: str, own: Path | None = None) -> Path:
        """The caller's own file, or the published one of that name in the catalogue."""
        return own or find_weight(name, self.models_dir)


def load_together(*loaders: Callable[[], T]) -> list[T]:
    """Run loaders side by side: reading and compiling lets go of the interpreter."""
    with ThreadPoolExecutor(len(loaders)) as pool:
        return [future.result() for future in [pool.submit(loader) for loader in loaders]]


def keypoint_smoothers(request: Request) -> Callable[[], KeypointSmoother | None]:
    """A function that makes a new track's smoother; for kinds where nothing is published."""
    pattern = request.smoothing
    if pattern is None or pattern == "published":
        return lambda: None
    return lambda: KeypointSmoother(pattern)
