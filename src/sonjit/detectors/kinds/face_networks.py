"""Load the networks of faces, also those of a face landmarker's bundle.

Source: Grishchenko et al. 2023, Blendshapes GHUM: Real-time Monocular Facial Blendshape Prediction.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sonjit._util import Float32Array, InputError
from sonjit.detectors import crops, kinds, smoothing, ssd
from sonjit.detectors.kinds import face, face_boxes
from sonjit.detectors.options import CommonOptions, FaceOptions, HolisticOptions
from sonjit.engines import Engine, EngineOptions, Precision, load_engine, load_number_engine
from sonjit.engines.precision import Landmarks
from sonjit.geometry import boxes, rotations
from sonjit.results import Face
from sonjit.results.measures.faces import STABLE_POINTS, blendshapes_from_mesh
from sonjit.results.skeletons.faces import BLENDSHAPE_LANDMARKS, BLENDSHAPES
from sonjit.weights import TaskBundle

SHORT_GRID = ssd.AnchorGrid(input_size=128, strides=(8, 16, 16, 16))
"""Anchors of the detector for faces up to about 2 m away."""
FULL_GRID = ssd.AnchorGrid(input_size=192, strides=(4,), interpolated_aspect_ratio=0.0)
"""Anchors of the detector for faces up to about 5 m away."""
_GRIDS = {"face-short": SHORT_GRID, "face-full": FULL_GRID}
_DETECTOR_RANGE = (-1.0, 1.0)  # values of black and white in the input of the detector network
_MESH_OUTPUTS = {"mesh": (468 * 3, 1), "attention": (468 * 3, 80 * 2, 71 * 2, 71 * 2, 5 * 2, 5 * 2, 1)}
_BUNDLE_OVERLAP = 0.5  # minimum IoU of boxes that a face landmarker's graph blends into one
_BUNDLE_SMOOTHING = (0.05, 80.0, 1.0, 0.0)  # parameters of the One-Euro filter in that graph
_MESH = 468
_EYE_CORNERS_CM = 8.9  # distance between the outer eye corners of an average adult
_BUNDLE_OUTPUTS = (0, 1)  # the mesh and the logit of a face; the third is not used
_BLENDSHAPES, _GEOMETRY = "face_blendshapes.tflite", "geometry_pipeline_metadata_landmarks.binarypb"
_POINTS = list(BLENDSHAPE_LANDMARKS)
_VERTEX = 5  # x, y, z and two of the texture
# Numbers of the fields in their messages.
_CANONICAL_MESH, _BASIS = 1, 2
_VERTICES = 3
_LANDMARK, _WEIGHT = 1, 2
_VARINT, _LENGTH, _SIZES = 0, 2, {1: 8, 5: 4}
"""Types of fields in Protobuf's wire format: numbers, with a length, and with fixed numbers of bytes.

Source: the encoding page of Protocol Buffers' documentation."""


def load_faces(options: FaceOptions) -> face.FaceMeshes | face_boxes.FaceBoxes:
    """Load the face detector, and for meshes the landmark network, of one model or of a task bundle."""
    model = FACE.models[options.model]
    if options.precision == "int8" and options.model != "mesh":
        raise InputError(f"precision='int8' requires the model mesh, not {model.name}")
    bundle = options.bundle
    if bundle is not None:
        return load_bundle_faces(options, bundle)
    if not model.is_box:
        return load_meshes(options, options.model, blendshapes=options.blendshapes, transform=options.transform)
    if options.blendshapes or options.transform:
        name = "blendshapes" if options.blendshapes else "transform"
        raise InputError(f"{name}=True requires the model attention or mesh, not {model.name}")
    if options.landmark_model is not None:
        raise InputError(f"landmark_model={options.landmark_model} cannot be combined with face model {model.name}")
    detector = load_face_detector(options, model.weights["detector"], options.detector_model)
    return face_boxes.FaceBoxes(detector, options.thresholds.blended, mirrored=options.mirrored)


def load_bundle_faces(options: FaceOptions, bundle: TaskBundle, *, of_people: bool = False) -> face.FaceMeshes:
    """Load the networks of a face landmarker's bundle, or with `of_people` of a holistic landmarker's bundle."""
    if options.model != "attention":
        raise InputError(f"model={options.model!r} cannot be combined with {bundle.name}")
    file = options.landmark_file("")
    detector = load_face_detector(options, "face-short", options.detector_file(""), overlap=_BUNDLE_OVERLAP)
    landmarks = load_engine(file, _small(options.running, "auto", "bf16", "int8"), outputs=_BUNDLE_OUTPUTS)
    crops.check_shapes(landmarks, file, "face landmarker network", size=None, outputs=(478 * 3, 1))
    return face.FaceMeshes(
        detector,
        landmarks,
        blendshapes=load_blendshapes(bundle, options.running).read if options.blendshapes else None,
        canonical=load_canonical_face(bundle) if options.transform else None,
        turns=options.thresholds.turns_faces,
        stretches_depth=True,
        squares=False,
        squares_after=not of_people,
        shift_y=0.0,
        mirrored=options.mirrored,
    )


def face_smoothers(options: FaceOptions) -> Callable[[], smoothing.KeypointSmoother | None]:
    """Return a factory of smoothers. A face landmarker's graph smooths a single face, but not several faces."""
    if options.filter == "published" and options.bundle is not None and options.max_instances == 1:
        return lambda: smoothing.KeypointSmoother(smoothing.OneEuro(*_BUNDLE_SMOOTHING), size=boxes.mean_size_of)
    return smoothing.keypoint_smoothers(options)


def load_meshes(
    options: FaceOptions | HolisticOptions, model: str, *, blendshapes: bool = False, transform: bool = False
) -> face.FaceMeshes:
    """Load the face detector and the landmark network of one mesh model. Blendshapes are estimated from the mesh."""
    weights = FACE.models[model].weights
    detector = load_face_detector(options, weights["detector"], options.detector_model)
    mesh_file = options.landmark_file(weights["landmark"])
    # the attention mesh crops regions inside, where bf16 and int8 lose 2 px
    as_f32: tuple[Precision, ...] = ("auto", "bf16", "int8") if model == "attention" else ("auto",)
    landmarks = load_engine(mesh_file, _small(options.running, *as_f32))
    crops.check_shapes(landmarks, mesh_file, f"face {model} network", size=None, outputs=_MESH_OUTPUTS[model])
    return face.FaceMeshes(
        detector,
        landmarks,
        blendshapes=blendshapes_from_mesh if blendshapes else None,
        canonical=_average_face() if transform else None,
        turns=options.thresholds.turns_faces,
        mirrored=options.mirrored,
    )


def _average_face() -> rotations.CanonicalFace:
    """Return the stable points of an average face in centimetres, with the origin between the eyes."""
    points, weights = np.zeros((_MESH, 3)), np.zeros(_MESH)
    used = list(STABLE_POINTS)
    points[used] = np.array(list(STABLE_POINTS.values())) * (_EYE_CORNERS_CM, -_EYE_CORNERS_CM, -_EYE_CORNERS_CM)
    weights[used] = 1.0
    return rotations.CanonicalFace(points, weights)


def load_face_detector(
    options: CommonOptions, name: str, detector_file: Path | None = None, *, overlap: float = 0.3
) -> ssd.SingleShotDetector:
    """Load the published face detector with a name, or a custom file. The overlap is a default."""
    file, grid = detector_file or options.file(name), _GRIDS[name]
    requested = options.thresholds.overlap
    engine = load_engine(file, _small(options.running, "auto", "int8"), value_range=_DETECTOR_RANGE)
    count = len(grid.anchors())
    crops.check_shapes(engine, file, "face detector", size=grid.input_size, outputs=(count * 16, count))
    return ssd.SingleShotDetector(engine, grid, overlap=overlap if requested is None else requested)


def _small(options: EngineOptions, *as_f32: Precision) -> EngineOptions:
    """Return the engine options of a network that runs for half a millisecond, in f32 for some precisions.

    Several threads wait for each other longer than they save, and bf16 moves the detector's keypoints by half a pixel.
    """
    if options.threads is None and "SONJIT_THREADS" not in os.environ:
        options = replace(options, threads=1)
    if options.precision in as_f32 and options.device == "CPU":
        options = replace(options, precision="f32")
    return options


class BlendshapeNetwork:
    """Compute blendshapes from landmarks with a network that takes (1, 146, 2) and gives 52 numbers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def read(self, keypoints: Float32Array) -> dict[str, float]:
        """Return the 52 blendshapes by name, from landmarks (478, 3) in pixels."""
        self._engine.input[0] = keypoints[_POINTS, :2]
        (scores,) = self._engine.run()
        return dict(zip(BLENDSHAPES, scores.ravel().tolist(), strict=True))


def load_blendshapes(bundle: TaskBundle, running: EngineOptions) -> BlendshapeNetwork:
    """Load the bundle's network of blendshapes."""
    engine = load_number_engine(bundle.file(_BLENDSHAPES), running)
    if engine.input.shape != (1, len(_POINTS), 2) or engine.output_sizes != [len(BLENDSHAPES)]:
        raise InputError(
            f"{bundle.name}: {_BLENDSHAPES} has input {engine.input.shape} and output sizes {engine.output_sizes}, "
            f"not (1, {len(_POINTS)}, 2) and {len(BLENDSHAPES)}"
        )
    return BlendshapeNetwork(engine)


def load_canonical_face(bundle: TaskBundle) -> rotations.CanonicalFace:
    """Load the bundle's canonical face."""
    data = bundle.read(_GEOMETRY)
    try:
        vertices: list[float] = []
        weights = np.zeros(_MESH)
        for number, value in _wire_fields(data):
            if number == _CANONICAL_MESH:
                for inner, content in _wire_fields(value):
                    if inner == _VERTICES:
                        vertices += np.frombuffer(content, "<f4").tolist()
            elif number == _BASIS:
                entry = dict(_wire_fields(value))
                weights[entry.get(_LANDMARK, 0)] = np.frombuffer(entry[_WEIGHT], "<f4")[0]
        points = np.array(vertices).reshape(_MESH, _VERTEX)[:, :3]
    except (ValueError, IndexError, KeyError) as error:
        raise InputError(f"{bundle.name}: {_GEOMETRY} is damaged") from error
    if np.count_nonzero(weights) < 3:
        raise InputError(f"{bundle.name}: {_GEOMETRY} lists fewer than three landmarks to fit")
    return rotations.CanonicalFace(points, weights)


def _wire_fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Yield the number and the value of each field of a message: integers of varints, otherwise bytes.

    A damaged message raises ValueError, IndexError or KeyError.
    """
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while data[position] & 0x80:
            value += (data[position] & 0x7F) << shift
            position, shift = position + 1, shift + 7
        position += 1
        return value + (data[position - 1] << shift)

    while position < len(data):
        number, kind = divmod(varint(), 8)
        if kind == _VARINT:
            yield number, varint()
            continue
        end = varint() + position if kind == _LENGTH else position + _SIZES[kind]
        if end > len(data):
            raise ValueError("a field past the end")
        yield number, data[position:end]
        position = end


FACE = kinds.KindEntry(
    name="face",
    result=Face,
    summary="Find faces: a mesh of 478 keypoints with irises, or boxes.",
    plural="faces",
    models={
        "attention": kinds.Model("attention", {"detector": "face-short", "landmark": "face-attention"}),
        "mesh": kinds.Model("mesh", {"detector": "face-short", "landmark": "face-mesh"}),
        "box": kinds.Model("box", {"detector": "face-short"}, is_box=True),
        "box-full": kinds.Model("box-full", {"detector": "face-full"}, min_detection_score=0.6, is_box=True),
    },
    model_help="attention refines lips, eyes and irises. mesh is faster. box and box-full (to 5 m) return boxes.",
    options=FaceOptions,
    load=load_faces,
    smoothers=face_smoothers,
    instances=("face",),
    search="sonjit.detectors.search.load:search_faces",
    search_weights=("face-full",),
    examples=(
        ("sonjit face photo.jpg --draw drawn.jpg", "draws the mesh."),
        ("sonjit face clip.mp4 --save clip.parquet --measures --max-instances 3", "also writes head poses."),
        (
            "sonjit face crowd.jpg --model box-full --max-instances 50 --save boxes.json",
            "finds small faces as boxes.",
        ),
    ),
    weight_groups=("face",),
    int8={"face-mesh": ("mesh", Landmarks(1404, least_presence=0.0))},
    pages=kinds.PageSupport(networks={"search": "face-full", "people": "person-detector"}, without=("mirrored",)),
)
