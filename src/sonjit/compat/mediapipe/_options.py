"""Define the options that tasks share."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, IntEnum
from functools import wraps
from operator import attrgetter
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

from sonjit._util import InputError
from sonjit.compat.mediapipe._containers import Category, Rect, RectF
from sonjit.compat.mediapipe._images import MissingFileError, ModelError
from sonjit.weights.bundles import checked_model

Options = TypeVar("Options")
_NAMES: Final = {
    "blaze_face_short_range.tflite": ("blaze_face_short_range.tflite",),
    "holistic_landmarker.task": ("holistic_landmarker.task",),
    "selfie_segmenter.tflite": ("selfie_segmenter.tflite", "selfie_segmenter_landscape.tflite"),
}
"""Names of the published models of tasks. Other tasks check names such as `pose_landmarker_lite.task` themselves."""


class _Delegate(IntEnum):
    """Device of a network."""

    CPU = 0
    GPU = 1


@dataclass
class BaseOptions:
    """Model of a task and its device.

    Attributes:
        model_asset_path: Path of a `.task` bundle or of a network file. None, or a name such as
            `hand_landmarker.task` without such a file, selects the published networks.
        model_asset_buffer: Content of such a file, as an alternative to its path.
        delegate: GPU runs the landmark networks on a graphics processor that OpenVINO knows.
    """

    Delegate: ClassVar[type[_Delegate]] = _Delegate

    model_asset_path: str | None = None
    model_asset_buffer: bytes | None = None
    delegate: _Delegate | None = None

    def file(self, published: str) -> Path:
        """Return the model's file, or the name of a published network. `published` is the task's own.

        Raise ModelError if the path does not exist and is no published name, both a path and a buffer are given, or the
        content is no model of the task.
        """
        if self.model_asset_path is not None and self.model_asset_buffer is not None:
            raise ModelError("model_asset_path and model_asset_buffer are both given: give one of them")
        if self.model_asset_path is None:
            if self.model_asset_buffer is None:
                return Path(published)
            return checked_model(self.model_asset_buffer, "model_asset_buffer", published)
        path = Path(self.model_asset_path)
        if path.is_file():
            return checked_model(path, str(path), published)
        published_path = Path(published)
        is_variant = path.suffix == published_path.suffix and path.stem.startswith(published_path.stem)
        if path.name in _NAMES[published] if published in _NAMES else is_variant:
            return Path(path.name)
        raise MissingFileError(
            f"Unable to open file at {path.absolute()}: no such file. Omit it or name it {published}"
        )

    @property
    def device(self) -> str:
        """Device name of `create_detector`."""
        return "GPU" if self.delegate == _Delegate.GPU else "CPU"


@dataclass
class ClassifierOptions:
    """Selection of the categories of a classifier.

    Attributes:
        display_names_locale: Language of the display names. The networks here have none.
        max_results: Maximum number of results, best first; None or a negative number for all.
        score_threshold: Minimum score.
        category_allowlist: Names of accepted categories, or None for all.
        category_denylist: Names of rejected categories. It excludes `category_allowlist`.
    """

    display_names_locale: str | None = None
    max_results: int | None = None
    score_threshold: float | None = None
    category_allowlist: list[str] | None = None
    category_denylist: list[str] | None = None

    def check(self) -> None:
        """Raise InputError if both lists are given, or the maximum number of results is 0."""
        if self.category_allowlist and self.category_denylist:
            raise InputError("category_allowlist and category_denylist are mutually exclusive: give one of them")
        if self.max_results == 0:
            raise InputError("max_results=0: give None for all, or at least 1")

    def choose(self, categories: Iterable[Category]) -> list[Category]:
        """Filter scored categories by the options, best first."""
        allowed, denied = self.category_allowlist, self.category_denylist or ()
        threshold = self.score_threshold or 0.0
        kept = [
            category
            for category in categories
            if (category.score or 0.0) >= threshold
            and category.category_name not in denied
            and (not allowed or category.category_name in allowed)
        ]
        kept.sort(key=lambda category: -(category.score or 0.0))
        return kept[: self.max_results] if self.max_results is not None and self.max_results > 0 else kept


@dataclass
class ImageProcessingOptions:
    """Region and rotation of an image.

    Attributes:
        region_of_interest: Region to process. The covered tasks refuse it.
        rotation_degrees: Clockwise rotation that makes the image upright, a multiple of 90. Results refer to the image
            without rotation.
    """

    region_of_interest: Rect | RectF | None = None
    rotation_degrees: int = 0


class VisionTaskRunningMode(Enum):
    """Type of input: single images, frames of a video, or a live stream with a callback for its results."""

    IMAGE = "IMAGE"
    VIDEO = "VIDEO"
    LIVE_STREAM = "LIVE_STREAM"


RunningMode = VisionTaskRunningMode


def validate_running_mode(
    running_mode: VisionTaskRunningMode, packet_callback: Callable[..., None] | None = None
) -> None:
    """Check that live streams have a callback, and that images and videos have none.

    Raise InputError, a ValueError, if the mode and the callback do not fit.
    """
    if running_mode is VisionTaskRunningMode.LIVE_STREAM and packet_callback is None:
        raise InputError("The vision task is in live stream mode, a user-defined result callback must be provided.")
    if running_mode is not VisionTaskRunningMode.LIVE_STREAM and packet_callback is not None:
        raise InputError(
            "The vision task is in image or video mode, a user-defined result callback should not be provided."
        )


def accept_newer_names(**names: str) -> Callable[[type[Options]], type[Options]]:
    """Let a class of options also accept the names that MediaPipe 1.2.3 has for its fields."""

    def add(kind: type[Options]) -> type[Options]:
        create = kind.__init__

        @wraps(create)
        def accept(self: Options, *values: Any, **given: Any) -> None:  # noqa: ANN401  # those of the class
            for name, field in names.items():
                if name in given and field in given:
                    raise InputError(f"Specify either `{name}` or deprecated `{field}`, not both.")
                if name in given:
                    given[field] = given.pop(name)
            create(self, *values, **given)

        kind.__init__ = accept
        for name, field in names.items():
            setattr(kind, name, _alias(field))
        return kind

    return add


def _alias(field: str) -> property:
    """Return a property that reads and writes another attribute."""
    return property(attrgetter(field), lambda options, value: setattr(options, field, value))
