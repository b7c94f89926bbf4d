"""Hands of the user's own in place of the catalog's: a rig as GLB, or MANO."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from sonjit.errors import InputError
from sonjit.hand_models.mano_files import read_mano
from sonjit.hand_models.rig_files import load_rig, read_rig
from sonjit.hand_models.rig_mano import rig_from_mano

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sonjit.hand_models.rig import Rig, Side

Kind = Literal["hand-rig", "mano"]
"""By the names of the options."""
_MANO_SIDES: Final[tuple[Side, ...]] = ("Right", "Left")


@dataclass(frozen=True)
class HandFile:
    """A file as it was when a run began.

    Attributes:
        path: as given.
        sha256: of what is in it.
    """

    path: str
    sha256: str


@dataclass(frozen=True)
class HandFiles:
    """One hand, whose other side is its mirror image, or both.

    Attributes:
        kind: of the files; MANO's do not say whose hand they hold: the right one's stands first.
        files: one or two.
    """

    kind: Kind
    files: tuple[HandFile, ...]

    @classmethod
    def named(cls, kind: Kind, text: str) -> HandFiles:
        """By a path, or two with a comma between.

        Raises:
            InputError: more than two, or a file that cannot be read.
        """
        paths = text.split(",")
        if len(paths) > 2 or not all(paths):
            raise InputError(f"--{kind} {text}: name a file, or two with a comma between")
        return cls(kind, tuple(HandFile(path, _sha256(kind, path)) for path in paths))


def rest_rig(side: Side, files: HandFiles | None) -> Rig:
    """The rig that a hand is made from; of the other side where there is none of its own.

    Raises:
        InputError: a file is not there, is no such hand, or two are of one side.
    """
    if files is None:
        return load_rig("Right")
    rigs = _read(files)
    return rigs[side] if side in rigs else next(iter(rigs.values()))


@lru_cache(maxsize=4)
def _read(files: HandFiles) -> Mapping[Side, Rig]:
    rigs: dict[Side, Rig] = {}
    for file, place in zip(files.files, _MANO_SIDES, strict=False):
        rig = read_rig(Path(file.path)) if files.kind == "hand-rig" else _mano(file.path, place)
        if rig.side in rigs:
            raise InputError(f"{file.path} is a {rig.side.lower()} hand as the file before: name one of each side")
        rigs[rig.side] = rig
    return rigs


def _mano(path: str, side: Side) -> Rig:
    fields, plain = read_mano(path), load_rig("Right")
    try:
        return rig_from_mano(fields, plain if side == plain.side else plain.mirrored())
    except InputError as error:
        raise InputError(f"{path}: {error}; give --mano MANO_RIGHT.pkl,MANO_LEFT.pkl") from None


def _sha256(kind: Kind, path: str) -> str:
    try:
        with Path(path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"--{kind} {path} cannot be read: {error.strerror}") from None
