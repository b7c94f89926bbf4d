import importlib
import subprocess
import sys

import numpy as np
import pytest

from sonjit.compat import mediapipe as mp
from sonjit.compat.mediapipe import _names

NAMES = {
    "": "__init__ framework json_format python solutions tasks",
    "framework": "formats",
    "framework.formats": "classification_pb2 detection_pb2 landmark_pb2 location_data_pb2 rect_pb2",
    "python": "_framework_bindings solutions",
    "python._framework_bindings": "image image_frame timestamp",
    "python.solutions": "hands",
    "solutions": (
        "drawing_styles drawing_utils face_detection face_mesh face_mesh_connections hands "
        "hands_connections holistic pose pose_connections selfie_segmentation"
    ),
    "tasks": "python",
    "tasks.python": "components core vision",
    "tasks.python.components": "containers processors utils",
    "tasks.python.components.containers": (
        "bounding_box category classification_result detections embedding_result keypoint landmark "
        "landmark_detection_result rect"
    ),
    "tasks.python.components.processors": "classifier_options",
    "tasks.python.components.utils": "cosine_similarity",
    "tasks.python.core": "base_options",
    "tasks.python.vision": (
        "core drawing_styles drawing_utils face_detector face_landmarker gesture_recognizer "
        "hand_landmarker holistic_landmarker image_segmenter pose_landmarker"
    ),
    "tasks.python.vision.core": "base_vision_task_api image image_processing_options vision_task_running_mode",
}
PATHS = [f"{parent}.{name}".lstrip(".") for parent, names in NAMES.items() for name in names.split()]
FACE = mp.tasks.vision.FaceLandmarksConnections
POSE = mp.tasks.vision.PoseLandmarksConnections
HAND = mp.tasks.vision.HandLandmarksConnections


def test_connections_start_as_in_mediapipe():
    first = {
        "oval": [(one.start, one.end) for one in FACE.FACE_LANDMARKS_FACE_OVAL[:3]],
        "mesh": [(one.start, one.end) for one in FACE.FACE_LANDMARKS_TESSELATION[:4]],
        "contours": [(connection.start, connection.end) for connection in FACE.FACE_LANDMARKS_CONTOURS[:2]],
        "pose": [(connection.start, connection.end) for connection in POSE.POSE_LANDMARKS[:5]],
        "palm": [(connection.start, connection.end) for connection in HAND.HAND_PALM_CONNECTIONS],
    }
    assert first == {
        "oval": [(10, 338), (338, 297), (297, 332)],
        "mesh": [(127, 34), (34, 139), (139, 127), (11, 0)],
        "contours": [(61, 146), (146, 91)],
        "pose": [(0, 1), (1, 2), (2, 3), (3, 7), (0, 4)],
        "palm": [(0, 1), (0, 5), (9, 13), (13, 17), (5, 9), (0, 17)],
    }
    assert len(HAND.HAND_CONNECTIONS) == 21
    assert HAND.HAND_CONNECTIONS[:6] == HAND.HAND_PALM_CONNECTIONS


def test_timestamps_count_microseconds():
    time = mp.Timestamp.from_seconds(2.000001)
    assert (time.value, time.microseconds(), time.seconds()) == (2_000_001, 2_000_001, 2.000001)
    assert mp.Timestamp(3) > mp.Timestamp(2)
    assert mp.Timestamp(mp.Timestamp(100)) == 100
    assert str(mp.Timestamp(100)) == "<mediapipe.Timestamp with value: 100>"
    assert str(mp.Timestamp.UNSET) == "<mediapipe.Timestamp with value: UNSET>"
    assert mp.Timestamp.MIN < 0 < mp.Timestamp.MAX < mp.Timestamp.DONE


def test_an_array_of_four_channels_is_read_as_srgb():
    data = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    np.testing.assert_array_equal(mp.Image(mp.ImageFormat.SRGB, data).numpy_view(), data[:, :, :3])


def test_an_image_frame_is_accepted_as_an_image():
    frame = mp.ImageFrame(image_format=mp.ImageFormat.VEC32F1, data=np.zeros((2, 3), np.float32))
    assert (frame.byte_depth, frame.width, frame.height) == (4, 3, 2)
    assert isinstance(frame, mp.Image)


@pytest.fixture
def _former_version():
    """Follow the version that is followed by default, also after the test."""
    mp.follow_version("0.10.21")
    yield
    mp.follow_version("0.10.21")


@pytest.mark.usefixtures("_former_version")
def test_the_followed_version_decides_about_unknown_scores():
    api = importlib.import_module("sonjit.compat.mediapipe.tasks.python.vision._task")
    points = np.zeros((1, 3), np.float32)
    (former,) = api.normalized_landmarks(points)
    assert (former.visibility, former.presence) == (0.0, 0.0)
    mp.follow_version("1.2.2")
    (current,) = api.world_landmarks(points)
    assert (mp.__version__, current.visibility, current.presence) == ("1.2.2", None, None)
    with pytest.raises(ValueError, match=r"Unknown version '2'. Choose from 0\.10\.21, 1\.2\.2, 1\.2\.3"):
        mp.follow_version("2")


@pytest.mark.usefixtures("_former_version")
def test_the_followed_version_decides_about_shapes_and_numbers():
    api = importlib.import_module("sonjit.compat.mediapipe.tasks.python.vision._task")
    image = importlib.import_module("sonjit.compat.mediapipe._images")
    mask = mp.Image(mp.ImageFormat.VEC32F1, np.zeros((4, 6), np.float32))
    frame = api.Frame(mask, np.zeros((4, 6, 3), np.uint8), 0, None)
    assert mask.numpy_view().shape == (4, 6)
    assert (mask.step, mask.is_contiguous()) == (24, True)
    assert frame.transform(np.eye(4, dtype=np.float32)).dtype == np.float64
    mp.follow_version("1.2.2")
    assert mask.numpy_view().shape == (4, 6, 1)
    assert (mask.step, mask.is_contiguous()) == (32, False)
    assert image.rgb_of(mp.Image(mp.ImageFormat.GRAY8, np.zeros((4, 6), np.uint8))).shape == (4, 6, 3)
    assert frame.transform(np.eye(4, dtype=np.float32)).dtype == np.float32


def test_every_path_is_imported_by_the_name_of_mediapipe():
    lines = [
        "import importlib, sys, sonjit.compat.mediapipe",
        "sys.modules['mediapipe'] = sonjit.compat.mediapipe",
        f"for path in {PATHS!r}:",
        "    importlib.import_module(f'mediapipe.{path}')",
        "from mediapipe.framework.formats.landmark_pb2 import NormalizedLandmark",
        "from mediapipe.tasks.python.components.containers import landmark",
        "import mediapipe.python.solutions.hands",
        "from mediapipe.python._framework_bindings.image import Image",
        "assert NormalizedLandmark is sonjit.compat.mediapipe.framework.formats.landmark_pb2.NormalizedLandmark",
    ]
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True, timeout=120)


def test_paths_of_another_mediapipe_are_not_found(monkeypatch):
    finder = _names.ImportPaths()
    path = "mediapipe.framework.formats.landmark_pb2"
    monkeypatch.setitem(sys.modules, "mediapipe", type(sys)("mediapipe"))
    assert finder.find_spec(path, None) is None
    monkeypatch.setitem(sys.modules, "mediapipe", mp)
    assert finder.find_spec(path, None).origin == "framework.formats.landmark_pb2"
