"""`FaceMesh` and `FaceDetection`: names, calls and results, compared with MediaPipe where reference data exist."""

import numpy as np
import pytest

from sonjit import Face
from sonjit.compat import mediapipe as mp

mesh, boxes = mp.solutions.face_mesh, mp.solutions.face_detection
BLACK = np.zeros((40, 80, 3), np.uint8)


def test_connections_have_mediapipes_numbers():
    sizes = {name: len(getattr(mesh, name)) for name in dir(mesh) if "MESH_" in name and "NUM" not in name}
    assert sizes == {
        "FACEMESH_LIPS": 40, "FACEMESH_LEFT_EYE": 16, "FACEMESH_LEFT_IRIS": 4, "FACEMESH_LEFT_EYEBROW": 8,
        "FACEMESH_RIGHT_EYE": 16, "FACEMESH_RIGHT_EYEBROW": 8, "FACEMESH_RIGHT_IRIS": 4, "FACEMESH_FACE_OVAL": 36,
        "FACEMESH_NOSE": 25, "FACEMESH_CONTOURS": 124, "FACEMESH_IRISES": 8, "FACEMESH_TESSELATION": 2556,
    }  # fmt: skip
    assert mesh.FACEMESH_NUM_LANDMARKS == 468
    assert mesh.FACEMESH_NUM_LANDMARKS_WITH_IRISES == 478


def test_landmarks_are_parts_of_the_image(detector):
    detector.found = [Face(0.9, np.tile(np.array([40, 10, -20], np.float32), (478, 1)), (0, 0, 1, 1))]
    ((points,),) = mesh.FaceMesh(refine_landmarks=True).process(BLACK)
    assert len(points.landmark) == 478
    point = points.landmark[477]
    assert (point.x, point.y, point.z) == (0.5, 0.25, -0.25)
    assert not point.HasField("visibility")


def test_detections_are_parts_of_the_image(detector):
    keypoints = np.array([[8 * i, 4 * i, np.nan] for i in range(6)], np.float32)
    detector.found = [Face(0.75, keypoints, (20, 10, 60, 30)), Face(0.5, keypoints, (-8, 0, 8, 8))]
    first, second = boxes.FaceDetection().process(BLACK).detections
    assert (first.score[0], second.score[0], first.label_id[0]) == (0.75, 0.5, 0)
    box = first.location_data.relative_bounding_box
    assert (box.xmin, box.ymin, box.width, box.height) == (0.25, 0.25, 0.5, 0.5)
    assert second.location_data.relative_bounding_box.xmin == np.float32(-0.1)
    nose = boxes.get_key_point(first, boxes.FaceKeyPoint.NOSE_TIP)
    assert (nose.x, nose.y) == pytest.approx((0.2, 0.2))
    first.ClearField("location_data")
    assert boxes.get_key_point(first, boxes.FaceKeyPoint.NOSE_TIP) is None


@pytest.mark.parametrize("solution", [mesh.FaceMesh, boxes.FaceDetection])
def test_missing_detections_are_none_and_wrong_images_are_value_errors(detector, solution):
    with solution() as found:
        assert found.process(BLACK) == (None,)
        with pytest.raises(ValueError, match="could not be read"):
            found.process(None)


@pytest.mark.golden
@pytest.mark.files("goldens/mediapipe/facemesh.*static*.json")
def test_meshes_match_mediapipe(golden, pixels, need):
    need("face-short", "face-mesh", "face-attention")
    truth, rgb = golden
    expected = truth["frames"][0]["instances"]
    with mesh.FaceMesh(**truth["config"], precision="f32") as faces:
        found = faces.process(rgb).multi_face_landmarks
    assert len(found or ()) == len(expected)
    for points, face in zip(found or (), expected, strict=True):
        errors = np.linalg.norm(pixels(points, rgb) - face["keypoints"], axis=1)
        assert errors.mean() < 0.5


@pytest.mark.golden
@pytest.mark.files("goldens/mediapipe/facedet.*.json")
def test_detections_match_mediapipe(golden, need):
    need("face-short", "face-full")
    truth, rgb = golden
    expected = truth["frames"][0]["instances"]
    model = truth["config"]["model_selection"]  # the other option is one that MediaPipe does not heed
    with boxes.FaceDetection(model_selection=model, precision="f32") as faces:
        found = faces.process(rgb).detections
    assert len(found or ()) == len(expected)
    for detection, face in zip(found or (), expected, strict=True):
        assert detection.score[0] == pytest.approx(face["score"], abs=0.02)
        box = detection.location_data.relative_bounding_box
        assert iou((box.xmin, box.ymin, box.width, box.height), face["box"]) > 0.95
        points = np.array([(point.x, point.y) for point in detection.location_data.relative_keypoints])
        errors = np.linalg.norm((points - face["kps"]) * rgb.shape[1::-1], axis=1)
        assert errors.mean() < 0.01 * max(face["box"][2] * rgb.shape[1], 50)


def iou(one, other):
    """Return the intersection over union of two boxes x, y, width, height."""
    low = np.maximum(one[:2], other[:2])
    high = np.minimum(np.add(one[:2], one[2:]), np.add(other[:2], other[2:]))
    both = np.prod(np.maximum(high - low, 0))
    return both / (np.prod(one[2:]) + np.prod(other[2:]) - both)


@pytest.mark.parametrize("module", [mp.solutions.face_mesh, mp.solutions.holistic])
def test_face_connections_of_old_scripts(module):
    with pytest.warns(DeprecationWarning, match="FACE_CONNECTIONS is now FACEMESH_CONTOURS"):
        assert module.FACE_CONNECTIONS == module.FACEMESH_CONTOURS


@pytest.mark.golden
@pytest.mark.files("goldens/mediapipe/facedet.portrait.*.json")
def test_a_confidence_leaves_faces_where_they_are(golden, need):
    need("face-short", "face-full")
    truth, rgb = golden
    model = truth["config"]["model_selection"]

    def found(confidence):
        with boxes.FaceDetection(confidence, model) as faces:
            return faces.process(rgb).detections or []

    (face,) = found(None)
    for confidence in (0.1, 0.3, 0.8):
        assert found(confidence) == [face]
    assert found(0.95) == []
