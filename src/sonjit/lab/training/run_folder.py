"""A run's folder: its settings, its log, and the checkpoint from which it continues."""

from __future__ import annotations

import json
import logging
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import torch

from sonjit._util.arrays import Image
from sonjit._util.errors import InputError, JobError, SonjitError, check_memory
from sonjit._util.files import atomic_file, write_bytes, write_text
from sonjit._util.json_text import json_from
from sonjit._util.version import installed_versions
from sonjit.lab.training.loggers import LoggerFactory, RunLogger, flat_values, logger_factories
from sonjit.media.encode import encode_image

_LOG = logging.getLogger(__name__)
_LIBRARIES = ("torch", "torchvision", "timm", "numpy", "opencv-python-headless")

ENVIRONMENT = "environment"
"""Key of the settings file that describes how a run was started; it does not identify the run."""

WEIGHTS, CHECKPOINT, LOG, SETTINGS = "weights.safetensors", "checkpoint.pt", "log.jsonl", "settings.json"
"""File names in a run's folder."""

IMAGES = "images"
"""Subfolder of pictures, whose file names are captions in the report."""

BEST = "best.safetensors"
"""File of the weights with the best evaluation so far."""

RESULT = "result.json"
"""File of a recipe's results and the settings that it ran with."""


class LogRow(TypedDict):
    """One step, which is a line of the log.

    Attributes:
        step: Number of the step, from 1.
        losses: Losses by name, before the step.
        learning_rate: Learning rate of the step.
        gradient_norm: Gradient norm before clipping.
        seconds: Duration of the step.
        waited_seconds: Part of the duration in which the step waited for its batches.
        images: Number of images in the step, where the recipe has the setting `batch`.
        layer_gradients: Root mean square of the gradient by layer, in some steps.
        evaluation: Metrics by name, in some steps.
        evaluation_before: Metrics by name before the training, in the first step.
    """

    step: int
    losses: Mapping[str, float]
    learning_rate: float
    gradient_norm: float
    seconds: float
    waited_seconds: float
    images: NotRequired[int]
    layer_gradients: NotRequired[Mapping[str, float]]
    evaluation: NotRequired[Mapping[str, float]]
    evaluation_before: NotRequired[Mapping[str, float]]


class RunState(TypedDict):
    """A checkpoint.

    Attributes:
        step: Number of finished steps.
        stopped: True if the run ended before its last step because it did not improve.
        best: First metric of the best evaluation so far.
        waited: Number of evaluations since the best one.
        evaluation: Last evaluation.
        parts: State dicts by name: network, optimizer, and the moving average if there is one.
    """

    step: int
    stopped: bool
    best: float | None
    waited: int
    evaluation: dict[str, float]
    parts: Mapping[str, dict[str, Any]]


class RunFolder:
    """A run's folder.

    Files are replaced atomically, so that a process that is killed at any moment leaves complete files.

    Args:
        folder: Path of the folder. It is created if necessary.
        settings: All inputs that the run depends on. A run with other settings cannot continue in the folder.
        loggers: Trackers that receive the log, see `logger_factories`.

    Raises:
        InputError: The folder is not writable or contains a run with other settings, or a logger is unknown.
        MissingExtraError: A tracker is not installed.
    """

    def __init__(self, folder: Path, settings: Mapping[str, object], *, loggers: Sequence[str] = ()) -> None:
        self.folder = folder
        self._settings = settings
        self._factories = dict(zip(loggers, logger_factories(loggers), strict=True))
        self._loggers: list[RunLogger] = []
        own = json_from({**settings, ENVIRONMENT: environment()}, 2, sort_keys=True) + "\n"
        try:
            file = folder / SETTINGS
            if file.exists():
                _check_same_run(file, json.loads(own))
            else:
                write_text(file, own)
        except OSError as error:
            raise InputError(f"{folder}: not writable: {error.strerror}") from None

    def restore(self) -> RunState | None:
        """Return the last checkpoint, if there is one, remove later rows from the log, and open the loggers."""
        file, log = self.folder / CHECKPOINT, self.folder / LOG
        state: RunState | None = None
        lines: list[str] = []
        if file.exists():
            try:
                state = torch.load(file, map_location="cpu", weights_only=True)
                assert state is not None
                lines = log.read_text("utf-8").splitlines(keepends=True)[: int(state["step"])]
            except Exception as error:  # damaged files raise arbitrary exceptions in torch.load
                check_memory(error)
                raise InputError(
                    f"{file}: damaged checkpoint ({type(error).__name__}); remove it to start again"
                ) from None
        write_text(log, "".join(lines))
        for name, factory in self._factories.items():
            self._loggers.append(self._opened(name, factory, len(lines)))
        return state

    def _opened(self, name: str, factory: LoggerFactory, done: int) -> RunLogger:
        try:
            return factory(self.folder, self._settings, done)
        except Exception as error:  # each tracker has its own exceptions
            if isinstance(error, SonjitError) or ":" in name:  # a function of the user's own needs its traceback
                raise
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0].partition(". ")[0][:300]
            raise JobError(f"loggers={name} cannot start: {reason}") from None

    def log(self, row: LogRow) -> None:
        """Append a row to the log."""
        with (self.folder / LOG).open("a", encoding="utf-8") as file:
            file.write(json_from(row, spaced=True) + "\n")
        for logger in self._loggers:
            if before := row.get("evaluation_before"):
                logger.log(0, dict(flat_values({"evaluation": before})))
            values = {name: value for name, value in row.items() if name not in ("step", "evaluation_before")}
            logger.log(row["step"], dict(flat_values(values)))

    def save_pictures(self, step: int, pictures: Mapping[str, Image]) -> None:
        """Write the report's pictures (H, W, 3) by caption, and send them to the loggers."""
        for caption, rgb in pictures.items():
            write_bytes(self.folder / IMAGES / f"{caption}.png", encode_image(rgb, ".png"))
            for logger in self._loggers:
                logger.image(step, caption, rgb)

    def close(self) -> None:
        """Close the loggers."""
        for logger in self._loggers:
            logger.close()

    def save(self, state: RunState) -> None:
        """Write a checkpoint; the previous one stays until this one is complete."""
        file = self.folder / CHECKPOINT
        with atomic_file(file) as draft:
            try:
                torch.save(dict(state), draft)
            except RuntimeError as error:  # for example a full disk
                check_memory(error)
                raise JobError(f"writing {file} failed: {error}") from None


def environment() -> dict[str, object]:
    """Return the command of this process, the versions of Python and the libraries, and the platform."""
    return {"command": sys.argv, "versions": installed_versions(_LIBRARIES), "platform": platform.platform()}


def _check_same_run(file: Path, settings: dict[str, Any]) -> None:
    """Compare the settings of a run with those in its folder; warn if only its libraries have changed."""
    try:
        before = json.loads(file.read_text("utf-8"))
        versions = before.pop(ENVIRONMENT)["versions"]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{file}: damaged, or of another version of Sonjit. Choose another folder.") from None
    now = settings.pop(ENVIRONMENT)["versions"]
    if differ := sorted(name for name in {*before, *settings} if before.get(name) != settings.get(name)):
        raise InputError(
            f"{file.parent}: contains a run with other settings ({SETTINGS}: {', '.join(differ)}). "
            "Choose another folder."
        )
    if changed := [
        f"{name} {versions.get(name)} is now {now.get(name)}" for name in now if versions.get(name) != now[name]
    ]:
        _LOG.warning("%s: %s; the continued run may differ in rounding", file.parent, ", ".join(changed))
