"""Base of solutions and tasks: networks, and argument checks with MediaPipe's texts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from numbers import Real
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from sonjit._util.arrays import Image
from sonjit._util.errors import InputError
from sonjit._util.files import Closing
from sonjit.compat.mediapipe._images import ImageError
from sonjit.detectors import Detector, create
from sonjit.detectors.kinds import find_kind, make_options
from sonjit.detectors.options import PUBLISHED_THRESHOLDS, CommonOptions, GraphThresholds
from sonjit.detectors.selfie import SelfieSegmenter

V = TypeVar("V")
Found = TypeVar("Found")

_LOADER = ThreadPoolExecutor(max_workers=2, thread_name_prefix="sonjit-load")


def load_ahead(load: Callable[[], V]) -> Future[V]:
    """Load networks in another thread while the script opens its camera or reads its image."""
    return _LOADER.submit(copy_context().run, load)


def free_loaded(loading: Future[Detector[Any]] | Future[SelfieSegmenter]) -> None:
    """Free the loaded networks. Errors of loading were reported at the first use."""
    if loading.exception() is None:
        loading.result().close()


def check_detector(
    kind: str,
    *,
    smoothing: Literal["published"] | None = "published",
    **options: Any,  # noqa: ANN401  # of any kind
) -> CommonOptions:
    """Check the options of `create_detector` before the networks are loaded.

    Returns:
        All options, for `detector_from`.

    Raises:
        InputError: A value is wrong, or a network is missing.
    """
    entry = find_kind(kind)
    checked = make_options(entry, {**options, "smoothing": smoothing})
    bundle = checked.bundle
    if bundle is not None:
        bundle.check_networks()
    for role, name in entry.models[checked.model].weights.items():
        if role == "detector":
            checked.detector_file(name)
        elif role == "landmark":
            checked.landmark_file(name)
        elif bundle is None or bundle.task != "holistic_landmarker":
            checked.file(name)
    return checked


class InstanceOrder:
    """Order of the instances of a video. Instances that stay in view keep their order.

    Args:
        new_first: True if instances that appear are placed before the others, False if after them.
    """

    def __init__(self, *, new_first: bool) -> None:
        self._new_first = new_first
        self._ids: list[int] = []

    def sort(self, instances: Sequence[Any]) -> list[Any]:
        """Return the instances of the next frame in their order. Instances without a track ID stay as they are."""
        by_id = {instance.id: instance for instance in instances}
        if None in by_id:
            return list(instances)
        tracked = [number for number in self._ids if number in by_id]
        new = [number for number in by_id if number not in tracked]
        self._ids = [*new, *tracked] if self._new_first else [*tracked, *new]
        return [by_id[number] for number in self._ids]

    def reset(self) -> None:
        """Forget the order. The next frame starts a new video."""
        self._ids = []


class Solution(Closing, ABC, Generic[Found]):
    """Base of the solutions. Use as a context manager."""

    _loading: Future[Any]

    def process(self, image: NDArray[Any]) -> Found:
        """Detect instances in one image.

        Args:
            image: (H, W, 3) uint8 RGB; it is only read.

        Raises:
            ImageError: The argument is not such an array; it is a ValueError.
            InputError: The object is closed; it is a ValueError.
        """
        if image is None:  # pyright: ignore[reportUnnecessaryComparison]  # scripts pass anything
            raise ImageError("process() got None for an image: the file or the camera frame could not be read")
        if not isinstance(image, np.ndarray):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ImageError(f"process() takes an RGB array, not a {type(image).__name__}")
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ImageError(
                f"Input image must contain three channel rgb data: (H, W, 3) uint8, not {image.shape} {image.dtype}"
            )
        return self._outputs(image)

    @abstractmethod
    def _outputs(self, image: Image) -> Found: ...

    def reset(self) -> None:
        """Do nothing, because images are independent."""

    def close(self) -> None:
        """Free the networks."""
        free_loaded(self._loading)


class DetectorSolution(Solution[Found]):
    """Base of the solutions that run one detector."""

    def _open(
        self,
        kind: str,
        static_image_mode: bool,
        min_detection_confidence: float | None,
        min_tracking_confidence: float = 0.5,
        thresholds: GraphThresholds = PUBLISHED_THRESHOLDS,
        **options: object,
    ) -> None:
        """Create the detector from MediaPipe's arguments and options of `create_detector`."""
        check_confidences(
            min_detection_confidence=min_detection_confidence, min_tracking_confidence=min_tracking_confidence
        )
        given: dict[str, Any] = {
            "static_image": static_image_mode,
            "search": "fast",  # as MediaPipe
            "min_detection_score": min_detection_confidence,
            "min_presence_score": min_tracking_confidence,
            **options,
        }
        checked = check_detector(kind, **given)
        self._loading = load_ahead(lambda: create.detector_from(replace(checked, thresholds=thresholds)))
        self._order = InstanceOrder(new_first=True)

    def _detect(self, image: Image) -> list[Any]:
        return self._order.sort(self._loading.result().detect(image))

    def reset(self) -> None:
        """Forget all tracks. The next image starts a new video."""
        self._loading.result().reset()
        self._order.reset()


def choice(name: str, value: int, names: Mapping[int, V]) -> V:
    """Return the meaning of a number.

    Raises:
        InputError: The number is unknown.
    """
    if value not in names:
        raise InputError(f"{name}={value}: give {' or '.join(f'{number} ({what})' for number, what in names.items())}")
    return names[value]


def check_count(**values: int) -> None:
    """Refuse a maximum number of instances below 1. The message has its name."""
    for name, value in values.items():
        if value < 1:
            raise InputError(f"{name}={value}: ask for at least 1")


def check_confidences(**values: float | None) -> None:
    """Refuse a number outside 0 to 1. None is accepted. The message has its name."""
    for name, value in values.items():
        if value is not None and not (isinstance(value, Real) and 0 <= value <= 1):
            raise InputError(f"{name}={value!r}: give a probability between 0 and 1")
