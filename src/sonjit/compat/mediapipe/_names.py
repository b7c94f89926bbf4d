"""The names of MediaPipe: which module defines each, under which import paths, and which are not covered."""

import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

PACKAGE: Final = "sonjit.compat.mediapipe"
_HERE: Final = "."  # home of the modules of a package
_PEOPLE, _HANDS = "tasks.python.vision._people", "tasks.python.vision._hands"
_HAND_LINES: Final = (
    "HAND_CONNECTIONS HAND_INDEX_FINGER_CONNECTIONS HAND_MIDDLE_FINGER_CONNECTIONS HAND_PALM_CONNECTIONS "
    "HAND_PINKY_FINGER_CONNECTIONS HAND_RING_FINGER_CONNECTIONS HAND_THUMB_CONNECTIONS HandLandmark"
)
_FACE_LINES: Final = (
    "FACEMESH_CONTOURS FACEMESH_FACE_OVAL FACEMESH_IRISES FACEMESH_LEFT_EYE FACEMESH_LEFT_EYEBROW FACEMESH_LEFT_IRIS "
    "FACEMESH_LIPS FACEMESH_NOSE FACEMESH_RIGHT_EYE FACEMESH_RIGHT_EYEBROW FACEMESH_RIGHT_IRIS FACEMESH_TESSELATION"
)
_POSE_LINES: Final = "POSE_CONNECTIONS PoseLandmark"
_TASKS: Final = {
    "face_detector": (_PEOPLE, "FaceDetector"),
    "face_landmarker": (_PEOPLE, "FaceLandmarker Blendshapes FaceLandmarksConnections"),
    "gesture_recognizer": (_HANDS, "GestureRecognizer"),
    "hand_landmarker": (_HANDS, "HandLandmarker Connection HandLandmark HandLandmarksConnections"),
    "holistic_landmarker": (_PEOPLE, "HolisticLandmarker"),
    "image_segmenter": (_HANDS, "ImageSegmenter"),
    "pose_landmarker": (_PEOPLE, "PoseLandmarker PoseLandmark PoseLandmarksConnections"),
}
"""Module of each task, and its names. The first one also has options and a result."""
IMPORT_PATHS: Final[Mapping[str, Mapping[str, str]]] = {
    "": {_HERE: "json_format", "_images": "Image ImageFormat ImageFrame Timestamp"},
    "framework": {},
    "framework.formats": {},
    "framework.formats.classification_pb2": {
        "_messages": "Classification ClassificationList ClassificationListCollection"
    },
    "framework.formats.detection_pb2": {"_messages": "Detection DetectionList"},
    "framework.formats.landmark_pb2": {
        "_messages": "Landmark LandmarkList LandmarkListCollection NormalizedLandmark NormalizedLandmarkList "
        "NormalizedLandmarkListCollection"
    },
    "framework.formats.location_data_pb2": {"_messages": "LocationData"},
    "framework.formats.rect_pb2": {"_messages": "NormalizedRect Rect"},
    "python": {"_images": "Image ImageFormat ImageFrame Timestamp", _HERE: "solutions"},
    "python._framework_bindings": {},
    "python._framework_bindings.image": {"_images": "Image"},
    "python._framework_bindings.image_frame": {"_images": "ImageFormat ImageFrame"},
    "python._framework_bindings.timestamp": {"_images": "Timestamp"},
    "solutions": {_HERE: "drawing_styles drawing_utils"},
    "solutions.face_detection": {"_connections": "FaceKeyPoint", "_solutions": "FaceDetection get_key_point"},
    "solutions.face_mesh": {
        "_connections": f"{_FACE_LINES} FACEMESH_NUM_LANDMARKS FACEMESH_NUM_LANDMARKS_WITH_IRISES",
        "_solutions": "FaceMesh",
    },
    "solutions.face_mesh_connections": {"_connections": _FACE_LINES},
    "solutions.hands": {"_connections": _HAND_LINES, "_solutions": "Hands"},
    "solutions.hands_connections": {"_connections": _HAND_LINES},
    "solutions.holistic": {
        "_connections": f"{_FACE_LINES} {_POSE_LINES} HAND_CONNECTIONS HandLandmark",
        "_solutions": "Holistic",
    },
    "solutions.pose": {"_connections": _POSE_LINES, "_solutions": "Pose"},
    "solutions.pose_connections": {"_connections": _POSE_LINES},
    "solutions.selfie_segmentation": {"_solutions": "SelfieSegmentation"},
    "tasks": {"_options": "BaseOptions", "tasks.python": "components core vision"},
    "tasks.python": {"_options": "BaseOptions"},
    "tasks.python.components": {},
    "tasks.python.components.containers": {},
    "tasks.python.components.containers.bounding_box": {"_containers": "BoundingBox"},
    "tasks.python.components.containers.category": {"_containers": "Category"},
    "tasks.python.components.containers.classification_result": {"_containers": "ClassificationResult Classifications"},
    "tasks.python.components.containers.detections": {"_containers": "Detection DetectionResult"},
    "tasks.python.components.containers.embedding_result": {"_containers": "Embedding EmbeddingResult"},
    "tasks.python.components.containers.keypoint": {"_containers": "NormalizedKeypoint"},
    "tasks.python.components.containers.landmark": {"_containers": "Landmark NormalizedLandmark"},
    "tasks.python.components.containers.landmark_detection_result": {"_containers": "LandmarksDetectionResult"},
    "tasks.python.components.containers.rect": {"_containers": "NormalizedRect Rect RectF"},
    "tasks.python.components.processors": {},
    "tasks.python.components.processors.classifier_options": {"_options": "ClassifierOptions"},
    "tasks.python.components.utils": {},
    "tasks.python.components.utils.cosine_similarity": {"_containers": "cosine_similarity"},
    "tasks.python.core": {},
    "tasks.python.core.base_options": {"_images": "ModelError", "_options": "BaseOptions"},
    "tasks.python.vision": {
        "_options": "ImageProcessingOptions RunningMode",
        "solutions": "drawing_styles drawing_utils",
    },
    "tasks.python.vision.core": {},
    "tasks.python.vision.core.base_vision_task_api": {"tasks.python.vision._task": "BaseVisionTaskApi"},
    "tasks.python.vision.core.image": {"_images": "Image ImageFormat"},
    "tasks.python.vision.core.image_processing_options": {"_options": "ImageProcessingOptions"},
    "tasks.python.vision.core.vision_task_running_mode": {"_options": "VisionTaskRunningMode validate_running_mode"},
    **{
        f"tasks.python.vision.{module}": {home: f"{names} {names.split()[0]}Options {names.split()[0]}Result"}
        for module, (home, names) in _TASKS.items()
    },
}
"""Names, separated by spaces, by the module of this package that defines them, for each import path."""
_WITH_FILE: Final = ("framework", "framework.formats", "solutions", "tasks", "tasks.python", "tasks.python.vision")
"""Paths of the table that are modules with a file, for type checkers."""
_WITH_NAMES_BELOW: Final = (
    "tasks.python.components.containers",
    "tasks.python.components.processors",
    "tasks.python.vision",
)
"""Paths of the table that also have the names of the modules below them."""
_ALIASES: Final = {
    "python.solutions": "solutions",
    "tasks.python.vision.drawing_styles": "solutions.drawing_styles",
    "tasks.python.vision.drawing_utils": "solutions.drawing_utils",
}
"""Second import paths of modules and of what is below them."""
_RENAMED: Final = {"FACE_CONNECTIONS": "FACEMESH_CONTOURS"}
"""Names that MediaPipe has removed and scripts still use, by their present names."""

_OTHER_OBJECTS: Final = "its networks find other things than hands, faces and bodies"
_NO_NETWORKS: Final = "no package publishes its networks, so results cannot be compared"
REASONS: Final[Mapping[str, str]] = {
    "ObjectDetector": f"{_OTHER_OBJECTS}, and end in an operator that OpenVINO and ONNX Runtime lack",
    "ImageClassifier": _OTHER_OBJECTS,
    "ImageEmbedder": _OTHER_OBJECTS,
    "InteractiveSegmenter": _NO_NETWORKS,
    "FaceStylizer": _NO_NETWORKS,
    "FaceAligner": _NO_NETWORKS,
    "objectron": "it finds boxes of shoes, chairs, cups and cameras",
    **dict.fromkeys(["audio", "text", "genai", "decision", "retrieval"], "its input is not an image"),
    **dict.fromkeys(
        [
            "CalculatorGraph",
            "SolutionBase",
            "get_graph_config",
            "Matrix",
            "Packet",
            "packet_creator",
            "packet_getter",
            "solution_base",
            "matrix_data_pb2",
            "optional_dependencies",
        ],
        "no graph of MediaPipe computes the results",
    ),
}
"""Why a name of MediaPipe is not covered."""


class ImportPaths(MetaPathFinder, Loader):
    """Find the modules of `IMPORT_PATHS`, also below `mediapipe` if `sys.modules["mediapipe"]` is this package."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module in the table, or None.

        Raise ImportError if the name is one of MediaPipe's that are not covered.
        """
        package = sys.modules.get(PACKAGE)
        for root in (PACKAGE, "mediapipe"):
            relative = fullname.removeprefix(f"{root}.")
            if relative == fullname or package is None or sys.modules.get(root) is not package:
                continue
            if reason := _reason_of(name := relative.rpartition(".")[2]):
                raise ImportError(f"{PACKAGE} does not cover {name!r}, because {reason}", name=fullname)
            real = _real_path(relative)
            if root != PACKAGE or real != relative or (real in IMPORT_PATHS and real not in _WITH_FILE):
                return ModuleSpec(fullname, self, origin=real, is_package=True)
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Give a module the names of its import path, which are loaded at their first use."""
        assert module.__spec__ is not None
        real = f"{PACKAGE}.{module.__spec__.origin}"
        if module.__name__ != real:
            sys.modules[module.__name__] = import_module(real)
        else:
            add_covered_names(vars(module))
            if "_solutions" in IMPORT_PATHS[str(module.__spec__.origin)]:
                import_module(f"{PACKAGE}._solutions")  # name a missing extra at the import


def _real_path(path: str) -> str:
    """Return a path without the second import paths of `_ALIASES`."""
    for alias, real in _ALIASES.items():
        if path == alias or path.startswith(f"{alias}."):
            return real + path.removeprefix(alias)
    return path


def add_covered_names(package: dict[str, Any]) -> None:
    """Give a module its names in the table, which are loaded at their first use, and errors for unknown names.

    Args:
        package: `globals()` of the module.
    """
    package_name = package["__name__"]
    path = package_name.removeprefix(PACKAGE).removeprefix(".")
    below = [key for key in IMPORT_PATHS if key and key.rpartition(".")[0] == path]
    tables = [IMPORT_PATHS[key] for key in (path, *(below if path in _WITH_NAMES_BELOW else ())) if key in IMPORT_PATHS]
    homes = {name: home for table in tables for home, names in table.items() for name in names.split()}
    homes |= {key.rpartition(".")[2]: _HERE for key in below}

    def load(name: str) -> Any:  # noqa: ANN401  # what a module's __getattr__ gives
        if (new := _RENAMED.get(name)) in homes:
            warnings.warn(f"{name} is now {new}", DeprecationWarning, stacklevel=2)
            name = str(new)
        if name not in homes:
            defined = [
                name for name, value in package.items() if getattr(value, "__module__", package_name) == package_name
            ]
            raise not_covered(package_name, name, package.get("__all__") or defined)
        home = homes[name]
        value = (
            import_module(f"{package_name}.{name}")
            if home == _HERE
            else getattr(import_module(f"{PACKAGE}.{home}"), name)
        )
        package[name] = value
        return value

    package["__getattr__"] = load
    if homes:
        package["__all__"] = sorted({*package.get("__all__", ()), *homes})
        package["__dir__"] = lambda: package["__all__"]


def not_covered(module: str, name: str, covered: Iterable[str]) -> AttributeError:
    """Return an error that names the reason, if it is known, and lists the available names.

    >>> not_covered("solutions", "pose", ["hands"])
    AttributeError("solutions has no 'pose'; covered: hands")
    """
    names = ", ".join(sorted(entry for entry in covered if not entry.startswith("_")))
    reason = _reason_of(name)
    why = "" if reason is None else f", because {reason}"
    return AttributeError(f"{module} has no {name!r}{why}; covered: {names}", name=name)


def _reason_of(name: str) -> str | None:
    """Return why a name of MediaPipe is not covered, or None for other names."""
    return REASONS.get(name.removesuffix("Options").removesuffix("Result"))
