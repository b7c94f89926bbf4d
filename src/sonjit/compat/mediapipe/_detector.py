"""Load the detectors of solutions and tasks, and check their arguments with MediaPipe's texts."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from numbers import Real
from typing import Any, TypeVar

from sonjit._util import InputError
from sonjit.compat.mediapipe._selfie import SelfieSegmenter
from sonjit.detectors import Detector, create
from sonjit.detectors.kinds import KINDS, make_options
from sonjit.detectors.options import PUBLISHED_THRESHOLDS, CommonOptions, GraphThresholds
from sonjit.engines import load_ahead

V = TypeVar("V")


def free_loaded(loading: Future[Detector[Any]] | Future[SelfieSegmenter]) -> None:
    """Free the loaded networks. Errors of loading were reported at the first use."""
    if loading.exception() is None:
        loading.result().close()


def open_detector(
    kind: str, given: Mapping[str, object], thresholds: GraphThresholds = PUBLISHED_THRESHOLDS
) -> Future[Detector[Any]]:
    """Check options of `create_detector`, and load the networks while the script opens its camera or reads its image.

    The defaults of smoothing and search are MediaPipe's. Raise InputError if a value is wrong, or a network is missing.
    """
    checked = check_detector(kind, {"smoothing": "published", "search": "fast", **given})
    return load_ahead(lambda: create.detector_from(replace(checked, thresholds=thresholds)))


def check_detector(kind: str, given: Mapping[str, object]) -> CommonOptions:
    """Check options and the files of their networks, and return all options."""
    entry = KINDS.find(kind)
    checked = make_options(entry, given)
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

    Instances that appear are placed before the others if `new_first` is True, otherwise after them.
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


def choice(name: str, value: int, names: Mapping[int, V]) -> V:
    """Return the meaning of a number. Raise InputError if it is unknown."""
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
