"""Folders in which an interrupted run continues."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit._util.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


def has_settings(folder: Path, name: str, settings: str) -> bool:
    """Check whether a folder contains a run, which must have the same settings.

    Args:
        folder: Folder of the run.
        name: Name of the file with its settings, relative to the folder.
        settings: Settings of the present run, as text.

    Raises:
        InputError: The folder contains a run with other settings.
    """
    file = folder / name
    if not file.is_file():
        return False
    if file.read_text("utf-8") != settings:
        raise InputError(f"{folder}: contains a run with other settings ({name}). Choose another folder or delete it.")
    return True
