"""The face's networks: which published file belongs to which model."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from sonjit.detectors.anchors import AnchorGrid
from sonjit.detectors.face import FaceFinder, FaceMeshes
from sonjit.detectors.face_boxes import FaceBoxes
from sonjit.detectors.request import load_together
from sonjit.engines import load_engine

if TYPE_CHECKING:
    from sonjit.detectors.request import Request

SHORT_GRID = AnchorGrid(input_size=128, strides=(8, 16, 16, 16))
"""Of the detector for faces up to about 2 m away."""
FULL_GRID = AnchorGrid(input_size=192, strides=(4,), interpolated_aspect_ratio=0.0)
"""Of the detector for faces up to about 5 m away."""
_DETECTOR_RANGE = (-1.0, 1.0)
_DETECTORS = {"box": ("face-short", SHORT_GRID), "box-full": ("face-full", FULL_GRID)}


def load_faces(request: Request) -> FaceMeshes | FaceBoxes:
    """Face detector, and for meshes the landmark network, of one model."""
    if request.model not in _DETECTORS:
        return load_meshes(request)
    name, grid = _DETECTORS[request.model]
    face_file = request.file(name, request.detector_model)
    return FaceBoxes(load_engine(face_file, request.engine, value_range=_DETECTOR_RANGE), grid)


def load_meshes(request: Request) -> FaceMeshes:
    """Short-range face detector and landmark network of one mesh model."""
    name, grid = _DETECTORS["box"]
    face_file = request.file(name, request.detector_model)
    mesh_file = request.file(f"face-{request.model}", request.landmark_model)
    faces, landmarks = load_together(
        partial(load_engine, face_file, request.engine, value_range=_DETECTOR_RANGE),
        partial(load_engine, mesh_file, request.engine),
    )
    return FaceMeshes(FaceFinder(faces, grid), landmarks)
