"""`BaseOptions`: which model a task takes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import ClassVar

from sonjit.errors import InputError


class _Delegate(IntEnum):
    """What a network runs on."""

    CPU = 0
    GPU = 1


class ModelError(InputError, RuntimeError):
    """A model file that is missing or of no use: a ValueError as all wrong input, and MediaPipe's RuntimeError."""


@dataclass
class BaseOptions:
    """Which model a task takes, and what it runs on.

    Attributes:
        model_asset_path: of a `.task` bundle, or of a network; a name such as `hand_landmarker.task` stands for the
            published networks where there is no such file, and so does None.
        model_asset_buffer: what such a file holds, instead.
        delegate: GPU runs the landmark networks on a graphics processor that OpenVINO knows.
    """

    Delegate: ClassVar[type[_Delegate]] = _Delegate

    model_asset_path: str | None = None
    model_asset_buffer: bytes | None = None
    delegate: _Delegate | None = None

    def file(self, published: str) -> Path:
        """The model's file, or the name for which published networks stand.

        Args:
            published: the name of the task's own bundle or network.

        Raises:
            ModelError: a path that is not there, whose name is none of a published one; or both a path and a buffer.
        """
        if self.model_asset_path is not None and self.model_asset_buffer is not None:
            raise ModelError("model_asset_path and model_asset_buffer are both given: give one of them")
        from sonjit.weights.bundles import kept_file

        if self.model_asset_path is None:
            if self.model_asset_buffer is None:
                return Path(published)
            return kept_file(published, self.model_asset_buffer)
        path = Path(self.model_asset_path)
        if path.is_file():
            return path
        stem = Path(published).stem
        if path.suffix == Path(published).suffix and path.stem.startswith(stem):
            return Path(path.name)
        raise ModelError(
            f"Unable to open file at {path.absolute()}: no such file; leave it out, or name it {published}"
        )

    @property
    def device(self) -> str:
        """As `create_detector` calls it."""
        return "GPU" if self.delegate == _Delegate.GPU else "CPU"
