"""Predictions as the servers and toolkits of challenges take them.

FreiHAND and HO-3D take `pred.json`, joints and vertices of every image in its order, in metres: FreiHAND in the
camera's frame; HO-3D in OpenGL's axes, joints in MANO's order and the hand moved to the wrist that the set gives.
DexYCB's toolkit takes a text of lines, an image's number in its split and 63 numbers, the joints in millimetres.

Sources: `pred.py` of FreiHAND and HO-3D; the DexYCB toolkit's page on evaluation.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import numpy as np

from sonjit.datasets.joint_orders import MANO
from sonjit.errors import InputError
from sonjit.evaluation.predictions import matched
from sonjit.files import atomic_file
from sonjit.json_text import json_from

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from sonjit.datasets import Sample
    from sonjit.evaluation.predictions import Prediction
    from sonjit.evaluation.protocols import Protocol
    from sonjit.evaluation.records import JournalLine

_JOINTS, _VERTICES = 21, 778
_FROM_OPENGL = np.array([1.0, -1.0, -1.0])


def check_submission(protocol: Protocol, path: Path, modes: Sequence[str]) -> None:
    """Refuse a submission that no server takes, before any work.

    Raises:
        InputError: the protocol has no such server, another ending, or more than one mode.
    """
    if not protocol.submission:
        raise InputError(f"--submission {path}: {protocol.name} has no challenge's server; leave it out")
    wanted = ".txt" if protocol.submission == "dexycb" else ".json"
    if path.suffix != wanted:
        raise InputError(f"--submission {path}: {protocol.name} takes {wanted}")
    if len(modes) > 1:
        raise InputError(f"--submission {path}: of several modes ({', '.join(modes)}) name one with --mode")


def submitted(protocol: Protocol, sample: Sample, predictions: Sequence[Prediction]) -> str:
    """A sample's points as the server wants them, as base64 of (799, 3) or (21, 3) float64; "" where none was found.

    Raises:
        InputError: a prediction without vertices, or an image that has several hands or, of FreiHAND and HO-3D, none.
    """
    named = f"{sample.dataset} {sample.id}"
    hands = [(number, one) for number, one in enumerate(sample.instances) if one.kind == "hand"]
    if protocol.submission == "dexycb" and not hands:
        return ""
    if len(hands) != 1:
        raise InputError(f"{named}: has {len(hands)} hands; a submission holds one of each image")
    (number, hand), own = hands[0], matched(hands, predictions)
    if number not in own:
        return ""
    joints, vertices = own[number].keypoints_m, own[number].vertices_m
    if joints is None or joints.shape != (_JOINTS, 3):
        raise InputError(f"{named}: a submission needs 21 joints in space")
    joints = np.asarray(joints, np.float64)
    if protocol.submission == "dexycb":
        return base64.b64encode(joints.tobytes()).decode()
    if vertices is None or vertices.shape != (_VERTICES, 3):
        raise InputError(f"{named}: a submission needs MANO's 778 vertices too")
    vertices = np.asarray(vertices, np.float64)
    if protocol.submission == "ho3d":
        if hand.keypoints_m is None:
            raise InputError(f"{named}: the set gives no wrist to move the hand to")
        shift = hand.keypoints_m[0] - joints[0]
        vertices, moved = (vertices + shift) * _FROM_OPENGL, (joints + shift) * _FROM_OPENGL
        moved[0] = hand.keypoints_m[0] * _FROM_OPENGL  # to the last digit
        joints = np.empty_like(moved)
        joints[list(MANO)] = moved
    return base64.b64encode(np.concatenate([joints, vertices]).tobytes()).decode()


def save_submission(protocol: Protocol, path: Path, lines: Sequence[JournalLine]) -> int:
    """Write what `submitted` gave for all samples in order; gives how many are zeros, for nothing was found.

    Raises:
        JobError: the disk refuses.
    """
    with atomic_file(path) as draft, draft.open("w", encoding="utf-8") as file:
        if protocol.submission == "dexycb":
            for line in lines:
                if line.submission:
                    numbers = (1000 * _decoded(line.submission)).ravel().tolist()
                    file.write(",".join(map(str, (line.place, *numbers))) + "\n")
            return 0
        file.write("[[")
        file.writelines(_rows(lines, slice(0, _JOINTS)))
        file.write("],[")
        file.writelines(_rows(lines, slice(_JOINTS, None)))
        file.write("]]\n")
    return sum(not line.submission for line in lines)


def _rows(lines: Sequence[JournalLine], part: slice) -> Iterator[str]:
    for number, line in enumerate(lines):
        yield ("," if number else "") + json_from(_decoded(line.submission)[part].tolist())


def _decoded(text: str) -> NDArray[np.float64]:
    if not text:
        return np.zeros((_JOINTS + _VERTICES, 3))
    return np.frombuffer(base64.b64decode(text), np.float64).reshape(-1, 3)
