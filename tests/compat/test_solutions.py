"""`mediapipe.solutions`: names, calls and results, compared with MediaPipe where reference data exist."""

import subprocess
import sys

import cv2
import numpy as np
import pytest

from sonjit import Body, Face, Hand, InputError, Person
from sonjit.compat import mediapipe as mp
from sonjit.compat.mediapipe._selfie import load_selfie_segmenter
from sonjit.detectors.options import GraphThresholds
from sonjit.results.skeletons import load_skeleton

solutions = mp.solutions
mp_hands, mp_pose, mesh, boxes = solutions.hands, solutions.pose, solutions.face_mesh, solutions.face_detection
Holistic, SelfieSegmentation = solutions.holistic.Holistic, solutions.selfie_segmentation.SelfieSegmentation
BLACK = np.zeros((40, 80, 3), np.uint8)


def keypoints(count):
    return np.tile(np.array([40, 10, -20], np.float32), (count, 1))


def body(mask=None):
    visibility = np.linspace(0, 1, 33, dtype=np.float32)
    return Body(0.9, keypoints(33), keypoints(33) / 1000, visibility, np.ones(33, np.float32), mask=mask)


def xyz(landmarks):
    return np.array([(mark.x, mark.y, mark.z) for mark in landmarks.landmark])


@pytest.mark.parametrize(
    ("landmarks", "skeleton"), [(mp_hands.HandLandmark, "hand_mediapipe21"), (mp_pose.PoseLandmark, "body_blazepose33")]
)
def test_landmarks_have_mediapipes_names_and_numbers(landmarks, skeleton):
    names = [mark.name.lower() for mark in landmarks]
    assert names == [name.replace("pinky_finger", "pinky") for name in load_skeleton(skeleton).keypoints]
    assert [mark.value for mark in landmarks] == list(range(len(names)))


def test_connections_have_mediapipes_numbers():
    sizes = {name: len(getattr(mesh, name)) for name in dir(mesh) if "MESH_" in name and "NUM" not in name}
    assert sizes == {
        "FACEMESH_LIPS": 40, "FACEMESH_LEFT_EYE": 16, "FACEMESH_LEFT_IRIS": 4, "FACEMESH_LEFT_EYEBROW": 8,
        "FACEMESH_RIGHT_EYE": 16, "FACEMESH_RIGHT_EYEBROW": 8, "FACEMESH_RIGHT_IRIS": 4, "FACEMESH_FACE_OVAL": 36,
        "FACEMESH_NOSE": 25, "FACEMESH_CONTOURS": 124, "FACEMESH_IRISES": 8, "FACEMESH_TESSELATION": 2556,
    }  # fmt: skip
    assert (mesh.FACEMESH_NUM_LANDMARKS, mesh.FACEMESH_NUM_LANDMARKS_WITH_IRISES) == (468, 478)
    assert len(mp_pose.POSE_CONNECTIONS) == 35
    for name in ("POSE_CONNECTIONS", "HAND_CONNECTIONS", "FACEMESH_CONTOURS", "FACEMESH_TESSELATION"):
        assert isinstance(getattr(solutions.holistic, name), frozenset)
    assert solutions.holistic.PoseLandmark is mp_pose.PoseLandmark
    assert solutions.holistic.HandLandmark is mp_hands.HandLandmark


SHARED = {
    "static_image": True, "min_detection_score": 0.7, "min_presence_score": 0.6, "precision": "auto", "search": "fast",
    "smoothing": "published",
}  # fmt: skip
PERSON = {"model": "lite", "smoothing": None, "segmentation": True, "smooth_segmentation": False}
WITHOUT_TRACKS = {"min_presence_score": 0.5}
OPTIONS = {
    "hands.Hands": ("hands", {"model": "full", "max_instances": 2, "mirrored": True, "search_interval": 5}),
    "face_mesh.FaceMesh": ("face", {"model": "mesh", "max_instances": 1, "search_interval": 5}),
    "pose.Pose": ("body", {"model": "full", "segmentation": False, "smooth_segmentation": True}),
    "holistic.Holistic": ("holistic", {
        "model": "full", "face_model": "mesh", "hand_model": "full", "segmentation": False,
        "smooth_segmentation": True, "search_interval": 1,
    }),
    "face_detection.FaceDetection": ("face", {"model": "box", "max_instances": 100}),
}  # fmt: skip
"""Kind, and options by default."""


@pytest.mark.parametrize(
    ("name", "arguments", "further", "expected", "thresholds"),
    [
        ("hands.Hands", (True, 3, 0, 0.7, 0.6), {"search_interval": 1}, {"model": "lite", "max_instances": 3}, {}),
        (
            "face_mesh.FaceMesh", (True, 3, True, 0.7, 0.6), {"search_interval": 1},
            {"model": "attention", "max_instances": 3}, {},
        ),
        ("pose.Pose", (True, 0, False, True, False, 0.7, 0.6), {}, PERSON, {}),
        (
            "holistic.Holistic", (True, 0, False, True, False, True, 0.7, 0.6), {"search_interval": 2},
            PERSON | {"face_model": "attention"}, {},
        ),
        ("face_detection.FaceDetection", (0.7, 0), {}, WITHOUT_TRACKS, {"blended": 0.5}),
        ("face_detection.FaceDetection", (0.7, 1), {}, WITHOUT_TRACKS | {"model": "box-full"}, {"blended": 0.6}),
    ],
)  # fmt: skip
def test_options_are_passed_on(detector, name, arguments, further, expected, thresholds):
    module, solution = name.split(".")
    make, (kind, usual) = getattr(getattr(mp.solutions, module), solution), OPTIONS[name]
    make(*arguments, precision="auto", **further)
    assert (detector.kind, detector.options) == (kind, SHARED | usual | further | expected)
    assert detector.thresholds == GraphThresholds(**thresholds)
    make()
    is_still = module == "face_detection"
    defaults = {"static_image": is_still, "min_detection_score": None if is_still else 0.5, "min_presence_score": 0.5}
    assert detector.options == SHARED | usual | defaults | {"precision": "f32"}
    assert detector.thresholds.searches_parts == (kind == "holistic")


@pytest.mark.parametrize(
    ("solution", "wrong"),
    [
        (mp_hands.Hands, {"model_complexity": 2}), (mp_hands.Hands, {"max_num_hands": 0}),
        (mesh.FaceMesh, {"max_num_faces": 0}), (mesh.FaceMesh, {"min_detection_confidence": 1.5}),
        (boxes.FaceDetection, {"min_detection_confidence": -1}), (boxes.FaceDetection, {"model_selection": 2}),
        (mp_pose.Pose, {"model_complexity": 3}), (mp_pose.Pose, {"min_tracking_confidence": 1.5}),
        (Holistic, {"model_complexity": -1}), (Holistic, {"min_detection_confidence": -1}),
        (SelfieSegmentation, {"model_selection": 2}),
    ],
)  # fmt: skip
def test_options_out_of_range_are_named(detector, solution, wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"{name}={value}: give|{name}={value}: ask"):
        solution(**wrong)


def test_missing_networks_are_reported_before_the_first_image(tmp_path, monkeypatch):
    monkeypatch.setenv("SONJIT_HOME", str(tmp_path))
    for make in (mp_hands.Hands, mp_pose.Pose, SelfieSegmentation):
        with pytest.raises(ValueError, match="sonjit models pull"):
            make()


def test_files_that_are_no_such_network_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("SONJIT_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "selfie_segmentation.tflite").write_bytes(bytes(249505))
    with pytest.raises(InputError, match=r"selfie_segmentation.tflite: no TFLite file.*sonjit models pull selfie"):
        load_selfie_segmenter("general")
    with pytest.raises(InputError, match=r"Unknown selfie model 'portrait'. Choose from general, landscape"):
        load_selfie_segmenter("portrait")


@pytest.mark.parametrize("make", [mp_hands.Hands, mesh.FaceMesh, boxes.FaceDetection, mp_pose.Pose, Holistic])
def test_missing_detections_are_none_and_a_missing_image_is_refused(detector, make):
    with make() as solution:
        assert set(solution.process(BLACK)) == {None}
        with pytest.raises(ValueError, match="could not be read"):
            solution.process(None)
        solution.reset()
    assert detector.calls == ["reset", "close"]


@pytest.mark.parametrize(
    ("image", "words", "error"),
    [
        (None, "could not be read", AttributeError),
        ("hand.jpg", "not a str", AttributeError),
        (BLACK[..., 0], r"three channel rgb data.*\(40, 80\)", IndexError),
        (np.zeros((4, 4, 4), np.uint8), r"\(4, 4, 4\)", RuntimeError),
        (BLACK.astype(np.float32), "float32", TypeError),
    ],
)
def test_wrong_images_are_value_errors_and_those_of_mediapipe(detector, image, words, error):
    for kind in (ValueError, error):
        with pytest.raises(kind, match=words):
            mp_hands.Hands().process(image)


def test_results_are_parts_of_the_image_and_metres(detector):
    detector.found = [Hand("Left", 0.9, keypoints(21), keypoints(21) / 1000, handedness_score=0.8)]
    results = mp_hands.Hands().process(BLACK)
    (points,), (world,), (side,) = results
    assert len(points.landmark) == len(world.landmark) == 21
    tip = points.landmark[mp_hands.HandLandmark.INDEX_FINGER_TIP]
    assert (tip.x, tip.y, tip.z) == (0.5, 0.25, -0.25)
    assert world.landmark[0].x == pytest.approx(0.04)
    assert not tip.HasField("visibility")
    best = side.classification[0]
    assert (best.index, best.label, best.score) == (0, "Left", np.float32(0.8))
    assert results.multi_handedness[0] is side


def test_landmarks_are_parts_of_the_image(detector):
    detector.found = [Face(0.9, keypoints(478), (0, 0, 1, 1))]
    ((points,),) = mesh.FaceMesh(refine_landmarks=True).process(BLACK)
    assert len(points.landmark) == 478
    point = points.landmark[477]
    assert (point.x, point.y, point.z) == (0.5, 0.25, -0.25)
    assert not point.HasField("visibility")


def test_detections_are_parts_of_the_image(detector):
    points = np.array([[8 * i, 4 * i, np.nan] for i in range(6)], np.float32)
    detector.found = [Face(0.75, points, (20, 10, 60, 30)), Face(0.5, points, (-8, 0, 8, 8))]
    first, second = boxes.FaceDetection().process(BLACK).detections
    assert (first.score[0], second.score[0], first.label_id[0]) == (0.75, 0.5, 0)
    box = first.location_data.relative_bounding_box
    assert (box.xmin, box.ymin, box.width, box.height) == (0.25, 0.25, 0.5, 0.5)
    assert second.location_data.relative_bounding_box.xmin == np.float32(-0.1)
    nose = boxes.get_key_point(first, boxes.FaceKeyPoint.NOSE_TIP)
    assert (nose.x, nose.y) == pytest.approx((0.2, 0.2))
    first.ClearField("location_data")
    assert boxes.get_key_point(first, boxes.FaceKeyPoint.NOSE_TIP) is None


def test_a_pose_has_parts_metres_and_visibility(detector):
    mask = np.ones((40, 80), np.float32)
    detector.found = [body(mask).freeze()]
    pose, world, segmentation = mp_pose.Pose(enable_segmentation=True).process(BLACK)
    nose, last = pose.landmark[mp_pose.PoseLandmark.NOSE], pose.landmark[mp_pose.PoseLandmark.RIGHT_FOOT_INDEX]
    assert (nose.x, nose.y, nose.z, nose.visibility, last.visibility) == (0.5, 0.25, -0.25, 0, 1)
    assert nose.HasField("visibility")
    assert not nose.HasField("presence")
    assert (world.landmark[32].x, world.landmark[32].visibility) == (pytest.approx(0.04), 1)
    np.testing.assert_array_equal(segmentation, mask)
    segmentation[:] = 0  # it is writable, and a copy
    assert mask.any()


def test_a_persons_parts_stand_in_their_places(detector):
    face = Face(0.9, keypoints(468), (0, 0, 1, 1))
    left = Hand("Left", 0.9, keypoints(21), keypoints(21))
    right = Hand("Right", 0.9, keypoints(21) + np.float32([8, 0, 0]), keypoints(21))
    detector.found = [Person(body(), left, right, face)]
    found = Holistic().process(BLACK)
    assert found.left_hand_landmarks.landmark[0].x == 0.5
    assert found.right_hand_landmarks.landmark[0].x == pytest.approx(0.6)
    assert len(found.face_landmarks.landmark) == 468
    assert found.pose_world_landmarks.landmark[32].visibility == 1
    assert found.segmentation_mask is None
    detector.found = [Person(body())]
    found = Holistic().process(BLACK)
    assert found.pose_landmarks is not None
    assert (found.left_hand_landmarks, found.right_hand_landmarks, found.face_landmarks) == (None, None, None)


@pytest.mark.parametrize("module", [mp.solutions.face_mesh, mp.solutions.holistic])
def test_face_connections_of_old_scripts(module):
    with pytest.warns(DeprecationWarning, match="FACE_CONNECTIONS is now FACEMESH_CONTOURS"):
        assert module.FACE_CONNECTIONS == module.FACEMESH_CONTOURS


@pytest.mark.parametrize("place", [mp, mp.solutions, mp.solutions.drawing_styles])
def test_uncovered_names_list_the_covered_ones(place):
    with pytest.raises(AttributeError, match=r"'objectron', because it finds boxes .*; covered: .*"):
        place.objectron  # noqa: B018 - the access is the test


IMPORTS = """
import sonjit.compat.mediapipe as mp
from sonjit.compat import mediapipe as again
from sonjit.compat.mediapipe import solutions
from sonjit.compat.mediapipe.solutions import hands
import sonjit.compat.mediapipe.solutions.drawing_utils as mp_drawing
from sonjit.compat.mediapipe.solutions.drawing_styles import get_default_hand_landmarks_style
assert again is mp and mp.solutions.hands is hands and mp.solutions.drawing_utils is mp_drawing
mp.framework.formats.landmark_pb2.NormalizedLandmarkList()
import sys
sys.modules["mediapipe"] = mp
import mediapipe
from mediapipe.tasks.python import vision
assert mediapipe.solutions.hands.Hands is hands.Hands and vision.HandLandmarker is mp.tasks.vision.HandLandmarker
loaded = {"cv2", "openvino", "matplotlib", "av"} & set(sys.modules)
others = ("face_landmarker", "sonjit.gestures.custom", "sonjit.media.drawing", "tables")
loaded |= {name for name in sys.modules if name.endswith(others) and name.startswith("sonjit")}
assert not loaded, loaded
"""


@pytest.mark.slow
def test_every_form_of_import_works_and_loads_nothing_heavy():
    subprocess.run([sys.executable, "-W", "error", "-c", IMPORTS], check=True, timeout=60)


def test_images_that_are_read_only_or_not_contiguous(weights):
    with mp_hands.Hands(static_image_mode=True) as hands:
        image = np.zeros((64, 64, 3), np.uint8)
        image.flags.writeable = False
        assert hands.process(image).multi_hand_landmarks is None
        assert hands.process(image[:, ::-1, ::-1]).multi_hand_landmarks is None
    with pytest.raises(ValueError, match="closed"):
        hands.process(image)


def in_frame(*ids):
    keypoints = np.zeros((21, 3), np.float32)
    return [Hand("Left", 0.9, keypoints + number, keypoints, id=number) for number in ids]


def test_hands_of_a_video_are_in_the_order_of_mediapipe(detector):
    with mp_hands.Hands() as hands:
        for ids, order in [((1,), [1]), ((1, 2), [2, 1]), ((2,), [2]), ((1, 2), [1, 2]), ((1, 2), [1, 2])]:
            detector.found = in_frame(*ids)
            points = hands.process(BLACK).multi_hand_landmarks
            assert [round(marks.landmark[0].x * BLACK.shape[1]) for marks in points] == order
        hands.reset()
        detector.found = in_frame(1, 2)
        assert hands.process(BLACK).multi_hand_landmarks[0].landmark[0].x * BLACK.shape[1] == pytest.approx(1)


@pytest.mark.nightly_after(2)
@pytest.mark.golden
@pytest.mark.files("goldens/mediapipe/hands.*static*.json")
def test_stills_match_mediapipe(golden, pixels, weights):
    truth, rgb = golden
    expected = truth["frames"][0]["instances"]
    with mp_hands.Hands(**truth["config"], precision="f32") as hands:
        points, world, sides = hands.process(rgb)
    if not expected:
        assert (points, world, sides) == (None, None, None)
        return
    assert [side.classification[0].label for side in sides] == [hand["handedness"] for hand in expected]
    scores = [side.classification[0].score for side in sides]
    assert scores == pytest.approx([hand["score"] for hand in expected], abs=0.01)
    for hand, in_metres, hand_truth in zip(points, world, expected, strict=True):
        assert np.linalg.norm(pixels(hand, rgb) - hand_truth["keypoints"], axis=1).mean() < 0.3
        assert np.linalg.norm(xyz(in_metres) - hand_truth["world"], axis=1).mean() < 0.001


@pytest.mark.nightly_after(2)
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


@pytest.mark.nightly_after(2)
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


@pytest.mark.nightly_after(2)
@pytest.mark.golden
@pytest.mark.files("goldens/mediapipe/pose.*static*.json")
def test_poses_match_mediapipe(file, golden, pixels, need):
    need("pose-detector", "body-lite", "body-full", "body-heavy")
    truth, rgb = golden
    frame = truth["frames"][0]
    with mp_pose.Pose(**truth["config"], precision="f32") as pose:
        found, world, mask = pose.process(rgb)
    assert (found is not None) == bool(frame["instances"])
    for expected in frame["instances"]:
        points = np.array(expected["keypoints"])
        assert np.linalg.norm(pixels(found, rgb)[:, :2] - points[:, :2], axis=1).mean() < 1.5
        visibility = np.array([mark.visibility for mark in found.landmark])
        assert np.abs(visibility - points[:, 3]).max() < 0.05
        assert np.linalg.norm(xyz(world) - expected["world"], axis=1).mean() < 0.01
    if "mask_png" in frame:
        expected = cv2.imread(str(file.parent / frame["mask_png"]), cv2.IMREAD_GRAYSCALE) > 127
        assert mask.dtype == np.float32
        assert ((mask > 0.5) & expected).sum() / ((mask > 0.5) | expected).sum() > 0.97


@pytest.mark.nightly_after(2)
@pytest.mark.golden
@pytest.mark.files("goldens/mediapipe/pose.*static.full.json")
@pytest.mark.parametrize("model", [0, 1])
def test_masks_agree_with_those_of_the_pose(file, golden, need, model):
    need("selfie", "selfie-landscape")
    truth, rgb = golden
    with SelfieSegmentation(model_selection=model) as selfie:
        mask = selfie.process(rgb).segmentation_mask
    assert (mask.dtype, mask.shape) == (np.float32, rgb.shape[:2])
    assert mask.min() >= 0
    assert mask.max() <= 1
    if "mask_png" in truth["frames"][0]:
        body = cv2.imread(str(file.parent / truth["frames"][0]["mask_png"]), cv2.IMREAD_GRAYSCALE) > 127
        assert ((mask > 0.5) & body).sum() / ((mask > 0.5) | body).sum() > 0.8
    with pytest.raises(ValueError, match="closed"):
        selfie.process(rgb)
