"""Names that a client gives -> names of files, safe in one folder."""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath

_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"|?*\ud800-\udfff]')
_LONGEST_BYTES = 150  # file systems take 255; drafts and drawings add to it


def split_name(sent: str) -> tuple[str | None, str]:
    r"""The chosen folder in a sent name, or None, and the file's own name, with the folders between joined by `_`.

    >>> split_name("shots/day 1/9.jpg")
    ('shots', 'day 1_9.jpg')
    >>> split_name(r"..\..\boot.ini")
    (None, 'boot.ini')
    """
    parts = [part for part in map(_clean, re.split(r"[/\\]", sent)) if part]
    if len(parts) < 2:
        return None, parts[0] if parts else "upload"
    return parts[0], _clean("_".join(parts[1:]))


def is_hidden(sent: str) -> bool:
    """Whether a sent name is that of a hidden file, as systems leave them in folders (.DS_Store)."""
    return re.split(r"[/\\]", sent)[-1].startswith(".")


def free_name(name: str, taken: set[str]) -> str:
    """The name, or the same with a number where it is taken; sorts after the one that has it. Adds it to `taken`.

    Names that differ in case alone are one file on some systems.
    """
    path = PurePosixPath(name)
    free, number = name, 2
    while free.casefold() in taken:
        free, number = f"{path.stem}_{number}{path.suffix}", number + 1
    taken.add(free.casefold())
    return free


def _clean(part: str) -> str:
    """One part of a path as a visible file's name; empty where nothing is left of it."""
    text = _FORBIDDEN.sub("_", unicodedata.normalize("NFC", part)).strip().lstrip(".").strip()
    path = PurePosixPath(text)
    ending = path.suffix if len(path.suffix) < 10 else ""
    room = _LONGEST_BYTES - len(ending.encode())
    return _cut(text.removesuffix(ending), room) + ending


def _cut(text: str, size: int) -> str:
    return text.encode()[:size].decode(errors="ignore")
