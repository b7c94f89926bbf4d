"""Import paths of MediaPipe for names that other modules of this package define."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Final

from sonjit.compat.mediapipe.not_covered import add_covered_names, reason_of

PACKAGE: Final = "sonjit.compat.mediapipe"
IMPORT_PATHS: Final[Mapping[str, Mapping[str, str]]] = {
    "framework.formats.classification_pb2": {
        "message_types": "Classification ClassificationList ClassificationListCollection"
    },
    "framework.formats.detection_pb2": {"message_types": "Detection DetectionList"},
    "framework.formats.landmark_pb2": {
        "message_types": "Landmark LandmarkList LandmarkListCollection NormalizedLandmark NormalizedLandmarkList "
        "NormalizedLandmarkListCollection"
    },
    "framework.formats.location_data_pb2": {"message_types": "LocationData"},
    "framework.formats.rect_pb2": {"message_types": "NormalizedRect Rect"},
    "python._framework_bindings": {},
    "python._framework_bindings.image": {"image": "Image"},
    "python._framework_bindings.image_frame": {"image": "ImageFormat", "image_frame": "ImageFrame"},
    "python._framework_bindings.timestamp": {"timestamp": "Timestamp"},
    "tasks.python.components.containers.bounding_box": {"containers": "BoundingBox"},
    "tasks.python.components.containers.category": {"containers": "Category"},
    "tasks.python.components.containers.classification_result": {"containers": "ClassificationResult Classifications"},
    "tasks.python.components.containers.detections": {"containers": "Detection DetectionResult"},
    "tasks.python.components.containers.embedding_result": {"containers": "Embedding EmbeddingResult"},
    "tasks.python.components.containers.keypoint": {"containers": "NormalizedKeypoint"},
    "tasks.python.components.containers.landmark": {"containers": "Landmark NormalizedLandmark"},
    "tasks.python.components.containers.landmark_detection_result": {"containers": "LandmarksDetectionResult"},
    "tasks.python.components.containers.rect": {"containers": "NormalizedRect Rect RectF"},
    "tasks.python.components.processors": {"task_options": "ClassifierOptions"},
    "tasks.python.components.processors.classifier_options": {"task_options": "ClassifierOptions"},
    "tasks.python.components.utils.cosine_similarity": {"cosine_similarity": "cosine_similarity"},
    "tasks.python.core.base_options": {"errors": "ModelError", "task_options": "BaseOptions"},
    "tasks.python.vision.core.image": {"image": "Image ImageFormat"},
    "tasks.python.vision.core.image_processing_options": {"task_options": "ImageProcessingOptions"},
    "tasks.python.vision.core.vision_task_running_mode": {
        "task_options": "VisionTaskRunningMode validate_running_mode"
    },
}
"""Names, separated by spaces, by the module of this package that defines them, for each import path."""
SECOND_SOLUTIONS: Final = "python.solutions"
"""Second import path of `solutions` and its modules."""


class ImportPaths(MetaPathFinder, Loader):
    """Find the modules of `IMPORT_PATHS`, also below `mediapipe` if `sys.modules["mediapipe"]` is this package."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module in the table, or None.

        Raises:
            ImportError: The name is one of MediaPipe's that are not covered.
        """
        package = sys.modules.get(PACKAGE)
        for root in (PACKAGE, "mediapipe"):
            relative = fullname.removeprefix(f"{root}.")
            is_in_table = relative in IMPORT_PATHS or f"{relative}.".startswith(f"{SECOND_SOLUTIONS}.")
            if relative == fullname or package is None or sys.modules.get(root) is not package:
                continue
            if is_in_table:
                return ModuleSpec(fullname, self, origin=relative, is_package=True)
            if reason := reason_of(name := relative.rpartition(".")[2]):
                raise ImportError(f"sonjit.compat.mediapipe does not cover {name!r}, because {reason}", name=fullname)
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Give a module the names of its import path, which are loaded at their first use."""
        spec = module.__spec__
        assert spec is not None
        relative = spec.origin or ""
        if relative not in IMPORT_PATHS:
            sys.modules[module.__name__] = import_module(f"{PACKAGE}.{relative.removeprefix('python.')}")
            return
        homes = {name: f"{PACKAGE}.{home}" for home, names in IMPORT_PATHS[relative].items() for name in names.split()}
        modules = (path.rpartition(".") for path in IMPORT_PATHS)
        homes |= {name: module.__name__ for parent, _, name in modules if parent == relative}
        add_covered_names(vars(module), homes)
