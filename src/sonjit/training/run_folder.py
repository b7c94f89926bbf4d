"""A run's folder: its settings, its log, and the checkpoint from which it goes on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch

from sonjit.errors import InputError, JobError
from sonjit.files import atomic_file, write_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

WEIGHTS, CHECKPOINT, LOG, SETTINGS = "weights.safetensors", "checkpoint.pt", "log.jsonl", "settings.json"
"""What stands in a run's folder."""
BEST = "best.safetensors"
"""The weights that an evaluation found best so far."""
RESULT = "result.json"
"""What a recipe told at its end, and the settings that it was given."""


class RunFolder:
    """A run's folder.

    Whatever replaces a file is written beside it first, so that a process killed at any moment leaves whole files.

    Args:
        folder: made where it is missing.
        settings: what makes this run what it is, so that no other one goes on with it.

    Raises:
        InputError: a folder that cannot be written to, or that holds a run with other settings.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
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

    def restore(self) -> dict[str, Any] | None:
        """The last checkpoint, if there is one; the log loses what came after it."""
        file, log = self.folder / CHECKPOINT, self.folder / LOG
        state: dict[str, Any] | None = None
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

    def log(self, line: Mapping[str, Any]) -> None:
        """Add one line of JSON to the log."""
        with (self.folder / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def save(self, state: Mapping[str, Any]) -> None:
        """Write a checkpoint; the one before stays until this one is whole."""
        file = self.folder / CHECKPOINT
        with atomic_file(file, of_run=True) as draft:
            try:
                torch.save(dict(state), draft)
            except RuntimeError as error:  # where the disk refuses
                raise JobError(f"writing {file} failed: {error}") from None
