"""Define the options that tasks share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, IntEnum
from pathlib import Path
from typing import ClassVar

from sonjit._util.errors import InputError
from sonjit.compat.mediapipe.containers import Category, Rect, RectF
from sonjit.compat.mediapipe.errors import MissingFileError, ModelError


class _Delegate(IntEnum):
    """What a network runs on."""

    CPU = 0
    GPU = 1


@dataclass
class BaseOptions:
    """Which model a task takes, and what it runs on.

    Attributes:
        model_asset_path: Path of a `.task` bundle or of a network file; a name such as `hand_landmarker.task`
            stands for the published networks where there is no such file, and so does None.
        model_asset_buffer: Content of such a file, as an alternative to its path.
        delegate: GPU runs the landmark networks on a graphics processor that OpenVINO knows.
    """

    Delegate: ClassVar[type[_Delegate]] = _Delegate

    model_asset_path: str | None = None
    model_asset_buffer: bytes | None = None
    delegate: _Delegate | None = None

    def file(self, published: str) -> Path:
        """Return the model's file, or the name of a published network.

        Args:
            published: the name of the task's own bundle or network.

        Raises:
            ModelError: The path does not exist and is no published name, both a path and a buffer are given, or the
                content is no model of the task.
        """
        if self.model_asset_path is not None and self.model_asset_buffer is not None:
            raise ModelError("model_asset_path and model_asset_buffer are both given: give one of them")
        from sonjit.weights.bundles import checked_model

        if self.model_asset_path is None:
            if self.model_asset_buffer is None:
                return Path(published)
            return checked_model(self.model_asset_buffer, "model_asset_buffer", published)
        path = Path(self.model_asset_path)
        if path.is_file():
            return checked_model(path, str(path), published)
        stem = Path(published).stem
        if path.suffix == Path(published).suffix and path.stem.startswith(stem):
            return Path(path.name)
        raise MissingFileError(
            f"Unable to open file at {path.absolute()}: no such file; leave it out, or name it {published}"
        )

    @property
    def device(self) -> str:
        """As `create_detector` calls it."""
        return "GPU" if self.delegate == _Delegate.GPU else "CPU"


@dataclass
class ClassifierOptions:
    """Which categories a classifier gives.

    Attributes:
        display_names_locale: language of the display names; there are none here.
        max_results: Maximum number of results, best first; None or a negative number for all.
        score_threshold: least score.
        category_allowlist: names of those that count; None for all.
        category_denylist: names of those that do not; not together with the list above.
    """

    display_names_locale: str | None = None
    max_results: int | None = None
    score_threshold: float | None = None
    category_allowlist: list[str] | None = None
    category_denylist: list[str] | None = None

    def check(self) -> None:
        """Refuse contradictions.

        Raises:
            InputError: both lists, or no result at all.
        """
        if self.category_allowlist and self.category_denylist:
            raise InputError("category_allowlist and category_denylist are mutually exclusive: give one of them")
        if self.max_results == 0:
            raise InputError("max_results=0: give None for all, or at least 1")

    def choose(self, categories: Iterable[Category]) -> list[Category]:
        """Filter scored categories by the options, best first."""
        allowed, denied = self.category_allowlist, self.category_denylist or ()
        least = self.score_threshold or 0.0
        kept = [
            one
            for one in categories
            if (one.score or 0.0) >= least and one.category_name not in denied
            and (not allowed or one.category_name in allowed)
        ]  # fmt: skip
        kept.sort(key=lambda one: -(one.score or 0.0))
        return kept[: self.max_results] if self.max_results is not None and self.max_results > 0 else kept


@dataclass
class ImageProcessingOptions:
    """How an image is to be looked at.

    Attributes:
        region_of_interest: Region to process. The covered tasks refuse it.
        rotation_degrees: clockwise, a multiple of 90: turned by so much the image is upright. Results stay in the image
            as it is.
    """

    region_of_interest: Rect | RectF | None = None
    rotation_degrees: int = 0


class VisionTaskRunningMode(Enum):
    """What a task works on: single images, the frames of a video, or a live stream with a callback for its results."""

    IMAGE = "IMAGE"
    VIDEO = "VIDEO"
    LIVE_STREAM = "LIVE_STREAM"
