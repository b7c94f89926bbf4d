"""Load blendshapes and the canonical face from a face landmarker's bundle.

Source: Grishchenko et al. 2023, Blendshapes GHUM: Real-time Monocular Facial Blendshape Prediction.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from sonjit._util.errors import InputError
from sonjit._util.wire_format import int_from_varint, wire_fields
from sonjit.engines import load_number_engine
from sonjit.geometry.rotations import CanonicalFace
from sonjit.results.skeletons.faces import BLENDSHAPE_LANDMARKS, BLENDSHAPES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.engines import Engine, EngineOptions
    from sonjit.weights import TaskBundle

_BLENDSHAPES, _GEOMETRY = "face_blendshapes.tflite", "geometry_pipeline_metadata_landmarks.binarypb"
_POINTS = list(BLENDSHAPE_LANDMARKS)
_MESH = 468
_VERTEX = 5  # x, y, z and two of the texture
# Numbers of the fields in their messages.
_CANONICAL_MESH, _BASIS = 1, 2
_VERTICES = 3
_LANDMARK, _WEIGHT = 1, 2


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
        for number, _, value in wire_fields(data):
            if number == _CANONICAL_MESH:
                for inner, _, content in wire_fields(value):
                    if inner == _VERTICES:
                        vertices += np.frombuffer(content, "<f4").tolist()
            elif number == _BASIS:
                entry = {inner: content for inner, _, content in wire_fields(value)}
                weights[int_from_varint(entry.get(_LANDMARK, b"\0"))] = struct.unpack("<f", entry[_WEIGHT])[0]
        points = np.array(vertices).reshape(_MESH, _VERTEX)[:, :3]
    except (ValueError, IndexError, KeyError, struct.error) as error:
        raise InputError(f"{bundle.name}: {_GEOMETRY} is damaged") from error
    if np.count_nonzero(weights) < 3:
        raise InputError(f"{bundle.name}: {_GEOMETRY} lists fewer than three landmarks to fit")
    return CanonicalFace(points, weights)
