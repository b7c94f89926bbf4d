"""Load blendshapes and the canonical face from a face landmarker's bundle.

Source: Grishchenko et al. 2023, Blendshapes GHUM: Real-time Monocular Facial Blendshape Prediction.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sonjit._util.errors import InputError
from sonjit.engines import Engine, EngineOptions, load_number_engine
from sonjit.geometry.rotations import CanonicalFace
from sonjit.results.skeletons.faces import BLENDSHAPE_LANDMARKS, BLENDSHAPES
from sonjit.weights import TaskBundle

_BLENDSHAPES, _GEOMETRY = "face_blendshapes.tflite", "geometry_pipeline_metadata_landmarks.binarypb"
_POINTS = list(BLENDSHAPE_LANDMARKS)
_MESH = 468
_VERTEX = 5  # x, y, z and two of the texture
# Numbers of the fields in their messages.
_CANONICAL_MESH, _BASIS = 1, 2
_VERTICES = 3
_LANDMARK, _WEIGHT = 1, 2
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
"""Types of fields in Protobuf's wire format. Source: the encoding page of Protocol Buffers' documentation."""


class BlendshapeNetwork:
    """Compute blendshapes from landmarks.

    Args:
        engine: Takes (1, 146, 2) and gives 52 numbers.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def read(self, keypoints: NDArray[np.float32]) -> dict[str, float]:
        """Return the 52 blendshapes by name, from landmarks (478, 3) in pixels."""
        self._engine.input[0] = keypoints[_POINTS, :2]
        (scores,) = self._engine.run()
        return dict(zip(BLENDSHAPES, scores.ravel().tolist(), strict=True))


def load_blendshapes(bundle: TaskBundle, running: EngineOptions) -> BlendshapeNetwork:
    """Load the bundle's network of blendshapes.

    Raises:
        InputError: The network is missing, or has other inputs or outputs.
    """
    engine = load_number_engine(bundle.file(_BLENDSHAPES), running)
    if engine.input.shape != (1, len(_POINTS), 2) or engine.output_sizes != [len(BLENDSHAPES)]:
        raise InputError(
            f"{bundle.name}: {_BLENDSHAPES} has input {engine.input.shape} and output sizes {engine.output_sizes}, "
            f"not (1, {len(_POINTS)}, 2) and {len(BLENDSHAPES)}"
        )
    return BlendshapeNetwork(engine)


def load_canonical_face(bundle: TaskBundle) -> CanonicalFace:
    """Load the bundle's canonical face.

    Raises:
        InputError: The bundle has none, or it is damaged.
    """
    data = bundle.read(_GEOMETRY)
    try:
        vertices: list[float] = []
        weights = np.zeros(_MESH)
        for number, _, value in _wire_fields(data):
            if number == _CANONICAL_MESH:
                for inner, _, content in _wire_fields(value):
                    if inner == _VERTICES:
                        vertices += np.frombuffer(content, "<f4").tolist()
            elif number == _BASIS:
                entry = {inner: content for inner, _, content in _wire_fields(value)}
                weights[_int_from_varint(entry.get(_LANDMARK, b"\0"))] = struct.unpack("<f", entry[_WEIGHT])[0]
        points = np.array(vertices).reshape(_MESH, _VERTEX)[:, :3]
    except (ValueError, IndexError, KeyError, struct.error) as error:
        raise InputError(f"{bundle.name}: {_GEOMETRY} is damaged") from error
    if np.count_nonzero(weights) < 3:
        raise InputError(f"{bundle.name}: {_GEOMETRY} lists fewer than three landmarks to fit")
    return CanonicalFace(points, weights)


def _wire_fields(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield the number, wire type and content of each field of a message. Varints stay encoded.

    Raises:
        ValueError: The message is damaged.
    """
    position = 0
    while position < len(data):
        end = _varint_end(data, position)
        number, kind = divmod(_int_from_varint(data[position:end]), 8)
        position = end
        if kind == _VARINT:
            end = _varint_end(data, position)
        elif kind == _LENGTH:
            start = _varint_end(data, position)
            end = start + _int_from_varint(data[position:start])
            position = start
        elif kind in (_FIXED64, _FIXED32):
            end = position + (8 if kind == _FIXED64 else 4)
        else:
            raise ValueError(f"a field of wire type {kind}")
        if end > len(data):
            raise ValueError("a field past the end")
        yield number, kind, data[position:end]
        position = end


def _int_from_varint(varint: bytes) -> int:
    """Decode a varint as an unsigned integer."""
    return sum((byte & 0x7F) << (7 * index) for index, byte in enumerate(varint))


def _varint_end(data: bytes, position: int) -> int:
    while position < len(data) and data[position] & 0x80:
        position += 1
    if position >= len(data):
        raise ValueError("a number past the end")
    return position + 1
