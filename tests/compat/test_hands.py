"""`Hands`: names, calls and results, compared with MediaPipe where reference data exist."""

import subprocess
import sys

import numpy as np
import pytest

from sonjit import Hand
from sonjit.compat import mediapipe as mp
from sonjit.detectors.options import GraphThresholds

mp_hands = mp.solutions.hands
BLACK = np.zeros((40, 80, 3), np.uint8)


def test_names_match_mediapipe():
    assert [mark.name for mark in mp_hands.HandLandmark][:6] == [
        "WRIST", "THUMB_CMC", "THUMB_MCP", "THUMB_IP", "THUMB_TIP", "INDEX_FINGER_MCP",
    ]  # fmt: skip
    assert [mark.value for mark in mp_hands.HandLandmark] == list(range(21))
    assert mp_hands.HandLandmark.PINKY_TIP == 20


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
        (mp_hands.Hands, {"model_complexity": 2}),
        (mp_hands.Hands, {"max_num_hands": 0}),
        (mp.solutions.face_mesh.FaceMesh, {"max_num_faces": 0}),
        (mp.solutions.face_mesh.FaceMesh, {"min_detection_confidence": 1.5}),
        (mp.solutions.face_detection.FaceDetection, {"min_detection_confidence": -1}),
        (mp.solutions.face_detection.FaceDetection, {"model_selection": 2}),
        (mp.solutions.pose.Pose, {"model_complexity": 3}),
        (mp.solutions.pose.Pose, {"min_tracking_confidence": 1.5}),
        (mp.solutions.holistic.Holistic, {"model_complexity": -1}),
        (mp.solutions.holistic.Holistic, {"min_detection_confidence": -1}),
    ],
)
def test_options_out_of_range_are_named(detector, solution, wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"{name}={value}:"):
        solution(**wrong)


def test_missing_networks_are_reported_before_the_first_image(tmp_path, monkeypatch):
    monkeypatch.setenv("SONJIT_HOME", str(tmp_path))
    for make in (mp_hands.Hands, mp.solutions.pose.Pose, mp.solutions.selfie_segmentation.SelfieSegmentation):
        with pytest.raises(ValueError, match="sonjit models pull"):
            make()


def test_results_are_parts_of_the_image_and_metres(detector):
    keypoints = np.tile(np.array([40, 10, -20], np.float32), (21, 1))
    detector.found = [Hand("Left", 0.9, keypoints, keypoints / 1000, handedness_score=0.8)]
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


def test_missing_detections_are_none(detector):
    assert mp_hands.Hands().process(BLACK) == (None, None, None)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (None, "could not be read"),
        ("hand.jpg", "not a str"),
        (BLACK[..., 0], r"three channel rgb data.*\(40, 80\)"),
        (np.zeros((4, 4, 4), np.uint8), r"\(4, 4, 4\)"),
        (BLACK.astype(np.float32), "float32"),
    ],
)
def test_wrong_images_are_value_errors(detector, image, words):
    with pytest.raises(ValueError, match=words):
        mp_hands.Hands().process(image)


def test_closing_and_resetting(detector):
    with mp_hands.Hands() as hands:
        hands.reset()
    assert detector.calls == ["reset", "close"]


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
from mediapipe.solutions import drawing_utils
from mediapipe.framework.formats import landmark_pb2
assert mediapipe.solutions.hands.Hands is hands.Hands
import mediapipe.python.solutions.pose as pose
from mediapipe.tasks.python import vision
assert pose is mp.solutions.pose and vision.HandLandmarker is mp.tasks.vision.HandLandmarker
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
        metres = np.array([(mark.x, mark.y, mark.z) for mark in in_metres.landmark])
        assert np.linalg.norm(metres - hand_truth["world"], axis=1).mean() < 0.001


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
