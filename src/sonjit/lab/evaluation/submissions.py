"""Write predictions in the formats of challenge servers and toolkits.

FreiHAND and HO-3D require `pred.json`, joints and vertices of every image in order, in metres: FreiHAND in the camera's
frame; HO-3D in OpenGL's axes, joints in MANO's order and the hand moved to the data set's wrist. DexYCB's
toolkit requires lines of text with an image's number in its split and 63 numbers, the joints in millimetres.

Sources: `pred.py` of FreiHAND and HO-3D; the DexYCB toolkit's page on evaluation.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import numpy as np

from sonjit._util.errors import InputError
from sonjit._util.files import atomic_file
from sonjit._util.json_text import json_from
from sonjit.lab.datasets.joint_orders import MANO
from sonjit.lab.evaluation.predictions import match_predictions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from sonjit.lab.datasets import Sample
    from sonjit.lab.evaluation.predictions import Prediction
    from sonjit.lab.evaluation.protocols import Protocol
    from sonjit.lab.evaluation.records import JournalLine

_JOINTS, _VERTICES = 21, 778
_FROM_OPENGL = np.array([1.0, -1.0, -1.0])


def check_submission(protocol: Protocol, path: Path, modes: Sequence[str]) -> None:
    """Refuse a submission that no server accepts, before any work.

    Raises:
        InputError: The protocol has no such server, the ending is unknown, or there is more than one mode.
    """
    if not protocol.submission:
        raise InputError(f"--submission applies only to protocols with a challenge server, not to {protocol.name}")
    ending = ".txt" if protocol.submission == "dexycb" else ".json"
    if path.suffix != ending:
        raise InputError(f"--submission {path}: {protocol.name} requires a {ending} file")
    if len(modes) > 1:
        raise InputError(f"--submission requires --mode. Choose from {', '.join(modes)}")


def encode_submission(protocol: Protocol, sample: Sample, predictions: Sequence[Prediction]) -> str:
    """Return a sample's points for the server as base64 of (799, 3) or (21, 3) float64; "" if nothing was found.

    Raises:
        InputError: A prediction has no vertices or an unknown point, or an image has several hands or, for FreiHAND and
            HO-3D, none.
    """
    named = f"{sample.dataset} {sample.id}"
    hands = [(number, instance) for number, instance in enumerate(sample.instances) if instance.kind == "hand"]
    if protocol.submission == "dexycb" and not hands:
        return ""
    if len(hands) != 1:
        raise InputError(f"{named}: has {len(hands)} hands; a submission requires one hand per image")
    (number, hand), own = hands[0], match_predictions(hands, predictions)
    if number not in own:
        return ""
    joints, vertices = own[number].keypoints_m, own[number].vertices_m
    if joints is None or joints.shape != (_JOINTS, 3):
        raise InputError(f"{named}: a submission requires 21 joints in space")
    joints = np.asarray(joints, np.float64)
    if not np.isfinite(joints).all():
        raise InputError(f"{named}: a submission requires known joints; joint {_first_unknown(joints)} is unknown")
    if protocol.submission == "dexycb":
        return base64.b64encode(joints.tobytes()).decode()
    if vertices is None or vertices.shape != (_VERTICES, 3):
        raise InputError(f"{named}: a submission requires MANO's 778 vertices")
    vertices = np.asarray(vertices, np.float64)
    if not np.isfinite(vertices).all():
        raise InputError(f"{named}: a submission requires known vertices; vertex {_first_unknown(vertices)} is unknown")
    if protocol.submission == "ho3d":
        if hand.keypoints_m is None:
            raise InputError(f"{named}: the data set has no wrist to move the hand to")
        wrist = hand.keypoints_m[0]
        shift = wrist - joints[0]
        vertices, moved = (vertices + shift) * _FROM_OPENGL, (joints + shift) * _FROM_OPENGL
        # To the last digit: the server divides by the distance of joints from the wrist.
        moved[(joints == joints[0]).all(1)] = wrist * _FROM_OPENGL
        joints = np.empty_like(moved)
        joints[list(MANO)] = moved
    return base64.b64encode(np.concatenate([joints, vertices]).tobytes()).decode()


def _first_unknown(points: NDArray[np.float64]) -> int:
    return int(np.flatnonzero(~np.isfinite(points).all(1))[0])


def save_submission(protocol: Protocol, path: Path, lines: Sequence[JournalLine]) -> int:
    """Write the results of `encode_submission` for all samples in order.

    Returns:
        Number of zero rows, where nothing was found.

    Raises:
        JobError: The disk refuses the file.
    """
    with atomic_file(path) as draft, draft.open("w", encoding="utf-8") as file:
        if protocol.submission == "dexycb":
            for line in lines:
                if line.submission:
                    numbers = (1000 * _decode(line.submission)).ravel().tolist()
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
        yield ("," if number else "") + json_from(_decode(line.submission)[part].tolist())


def _decode(text: str) -> NDArray[np.float64]:
    if not text:
        return np.zeros((_JOINTS + _VERTICES, 3))
    return np.frombuffer(base64.b64decode(text), np.float64).reshape(-1, 3)
