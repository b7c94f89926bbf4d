"""A run's folder: its settings, its log, and the checkpoint from which it goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, NotRequired, TypedDict

import torch

from sonjit.errors import InputError, JobError
from sonjit.files import atomic_file, write_text

if TYPE_CHECKING:
    from pathlib import Path

WEIGHTS, CHECKPOINT, LOG, SETTINGS = "weights.safetensors", "checkpoint.pt", "log.jsonl", "settings.json"
"""Files of a run's folder."""
BEST = "best.safetensors"
"""The weights with the best evaluation so far."""
RESULT = "result.json"
"""What a recipe returned, and the settings that it was given."""


class LogRow(TypedDict):
    """One step: a line of the log.

    Attributes:
        step: from 1.
        losses: by name, before the step.
        learning_rate: of the step.
        gradient_norm: before it is clipped.
        layer_gradients: root mean square of the gradient by layer, in some steps.
        evaluation: metrics by name, in some steps.
    """

    step: int
    losses: Mapping[str, float]
    learning_rate: float
    gradient_norm: float
    layer_gradients: NotRequired[Mapping[str, float]]
    evaluation: NotRequired[Mapping[str, float]]


class RunState(TypedDict):
    """A checkpoint.

    Attributes:
        step: how many are done.
        best: first metric of the best evaluation so far.
        parts: state dicts by name: network, optimizer, and the moving average where there is one.
    """

    step: int
    best: float | None
    parts: Mapping[str, Mapping[str, object]]


class RunFolder:
    """A run's folder.

    Whatever replaces a file is written beside it first, so that a process killed at any moment leaves whole files.

    Args:
        folder: made where it is missing.
        settings: everything that the run depends on: no run with others continues it.

    Raises:
        InputError: a folder that cannot be written to, or that holds a run with other settings.
    """

    def __init__(self, folder: Path, settings: Mapping[str, object]) -> None:
        self.folder = folder
        text = json.dumps(settings, indent=2, sort_keys=True) + "\n"
        try:
            file = folder / SETTINGS
            if not file.exists():
                write_text(file, text, of_run=True)
            elif file.read_text("utf-8") != text:
                raise InputError(f"{folder}: holds a run with other settings ({SETTINGS}); give another folder")
        except OSError as error:
            raise InputError(f"{folder}: cannot be written: {error.strerror}") from None

    def restore(self) -> RunState | None:
        """The last checkpoint, if there is one; the log loses what came after it."""
        file, log = self.folder / CHECKPOINT, self.folder / LOG
        state: RunState | None = None
        kept: list[str] = []
        if file.exists():
            try:
                state = torch.load(file, map_location="cpu", weights_only=True)
                assert state is not None
                kept = log.read_text("utf-8").splitlines(keepends=True)[: int(state["step"])]
            except Exception as error:  # torch's reader fails in any way on what is damaged
                raise InputError(
                    f"{file}: a damaged checkpoint ({type(error).__name__}); remove it to begin anew"
                ) from None
        write_text(log, "".join(kept), of_run=True)
        return state

    def log(self, row: LogRow) -> None:
        """Append a row to the log."""
        with (self.folder / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def save(self, state: RunState) -> None:
        """Write a checkpoint; the one before stays until this one is whole."""
        file = self.folder / CHECKPOINT
        with atomic_file(file, of_run=True) as draft:
            try:
                torch.save(dict(state), draft)
            except RuntimeError as error:  # where the disk refuses
                raise JobError(f"writing {file} failed: {error}") from None
