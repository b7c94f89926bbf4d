"""The face's networks: which published file belongs to which model."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from sonjit.detectors.anchors import AnchorGrid
from sonjit.detectors.face import FaceFinder, FaceMeshes
from sonjit.detectors.face_boxes import FaceBoxes
from sonjit.detectors.request import expect
from sonjit.engines import load_engine

if TYPE_CHECKING:
    from pathlib import Path

    from sonjit.detectors.request import Request
    from sonjit.engines import Engine, EngineOptions, Precision

SHORT_GRID = AnchorGrid(input_size=128, strides=(8, 16, 16, 16))
"""Of the detector for faces up to about 2 m away."""
FULL_GRID = AnchorGrid(input_size=192, strides=(4,), interpolated_aspect_ratio=0.0)
"""Of the detector for faces up to about 5 m away."""
_DETECTOR_RANGE = (-1.0, 1.0)
_MESH_OUTPUTS = {"mesh": (468 * 3, 1), "attention": (468 * 3, 80 * 2, 71 * 2, 71 * 2, 5 * 2, 5 * 2, 1)}
_DETECTORS = {"box": ("face-short", SHORT_GRID), "box-full": ("face-full", FULL_GRID)}


def load_faces(request: Request) -> FaceMeshes | FaceBoxes:
    """Face detector, and for meshes the landmark network, of one model."""
    if request.model not in _DETECTORS:
        return load_meshes(request)
    name, grid = _DETECTORS[request.model]
    face_file = request.file(name, request.detector_model)
    return FaceBoxes(_load_detector(face_file, request, grid), grid)


def load_meshes(request: Request) -> FaceMeshes:
    """Short-range face detector and landmark network of one mesh model."""
    name, grid = _DETECTORS["box"]
    face_file = request.file(name, request.detector_model)
    mesh_file = request.file(f"face-{request.model}", request.landmark_model)
    faces = _load_detector(face_file, request, grid)
    landmarks = load_engine(mesh_file, _landmark_options(request))
    expect(landmarks, mesh_file, f"face {request.model} network", size=None, outputs=_MESH_OUTPUTS[request.model])
    return FaceMeshes(FaceFinder(faces, grid), landmarks)


def _load_detector(file: Path, request: Request, grid: AnchorGrid) -> Engine:
    engine = load_engine(file, _small(request.engine, "auto"), value_range=_DETECTOR_RANGE)
    count = len(grid.anchors())
    return expect(engine, file, "face detector", size=grid.input_size, outputs=(count * 16, count))


def _landmark_options(request: Request) -> EngineOptions:
    """The attention mesh never runs in bf16: it cuts out regions at places that it computes, and loses 2 px there."""
    return _small(request.engine, *(("auto", "bf16") if request.model == "attention" else ("auto",)))


def _small(options: EngineOptions, *as_f32: Precision) -> EngineOptions:
    """Options for a network of half a millisecond.

    Several threads wait for each other longer than they save; bf16 saves a twentieth of the time of a mesh and moves
    the detector's keypoints by half a pixel.

    Args:
        options: the caller's; what they say counts.
        as_f32: precisions that mean f32 here.
    """
    if options.threads is None and "SONJIT_THREADS" not in os.environ:
        options = replace(options, threads=1)
    if options.precision in as_f32 and options.device == "CPU":
        options = replace(options, precision="f32")
    return options
