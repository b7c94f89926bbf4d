"""Options of `tasks.vision`: thresholds of MediaPipe's graphs, and networks that load in the meantime."""

import threading

import cv2
import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.compat import mediapipe as mp
from sonjit.compat.mediapipe.tasks.python.vision import _task
from sonjit.detectors.options import PUBLISHED_THRESHOLDS
from sonjit.detectors.thresholds import GraphThresholds

vision, BaseOptions = mp.tasks.vision, mp.tasks.BaseOptions
MODES = vision.RunningMode
BLACK = mp.Image(image_format=mp.ImageFormat.SRGB, data=np.zeros((48, 64, 3), np.uint8))


@pytest.fixture
def portrait(data):
    """Return an image of a person with a visible face and both hands."""
    path = data / "real" / "wild" / "mps_business.png"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    rgb = cv2.cvtColor(cv2.resize(cv2.imread(str(path)), None, fx=0.5, fy=0.5), cv2.COLOR_BGR2RGB)
    return mp.Image(image_format=mp.ImageFormat.SRGB, data=rgb)


@pytest.mark.parametrize(
    ("name", "mode", "given", "thresholds"),
    [
        ("HandLandmarker", "VIDEO", {"min_tracking_confidence": 0.2}, {"same_overlap": 0.2}),
        ("HandLandmarker", "IMAGE", {"min_tracking_confidence": 0.2}, {}),
        ("GestureRecognizer", "VIDEO", {"min_tracking_confidence": 0.8}, {"same_overlap": 0.8}),
        ("FaceLandmarker", "VIDEO", {}, {"same_overlap": 0.5}),
        ("PoseLandmarker", "VIDEO", {"min_tracking_confidence": 0.9}, {"same_overlap": 0.9}),
        ("PoseLandmarker", "VIDEO", {}, {}),
        ("FaceDetector", "VIDEO", {"min_suppression_threshold": 0.7}, {"overlap": 0.7}),
        (
            "HolisticLandmarker",
            "IMAGE",
            {
                "min_face_detection_confidence": 0.1, "min_face_suppression_threshold": 0.2,
                "min_face_landmarks_confidence": 0.3, "min_pose_suppression_threshold": 0.4,
                "min_hand_landmarks_confidence": 0.6,
            },
            {
                "face_detection": 0.1, "face_overlap": 0.2, "face_presence": 0.3, "overlap": 0.4, "hand_presence": 0.6,
                "searches_parts": True,
            },
        ),
    ],
)  # fmt: skip
def test_thresholds_reach_the_detector(weights, detector, name, mode, given, thresholds):
    options = getattr(vision, f"{name}Options")(BaseOptions(), running_mode=MODES[mode], **given)
    with getattr(vision, name).create_from_options(options):
        assert detector.thresholds == (GraphThresholds(**thresholds) if thresholds else PUBLISHED_THRESHOLDS)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("HandLandmarker", "num_hands"),
        ("GestureRecognizer", "num_hands"),
        ("FaceLandmarker", "num_faces"),
        ("PoseLandmarker", "num_poses"),
    ],
)
def test_a_count_out_of_range_is_named_as_in_the_options(weights, detector, name, count):
    with pytest.raises(RuntimeError, match=f"{count}=0: ask for at least 1"):
        getattr(vision, name)(getattr(vision, f"{name}Options")(BaseOptions(), **{count: 0}))


@pytest.mark.parametrize(
    ("delegate", "mode", "precision"), [(None, "IMAGE", "f32"), (None, "VIDEO", "f32"), ("GPU", "VIDEO", "auto")]
)
def test_processors_compute_in_f32_as_mediapipe_does(weights, detector, delegate, mode, precision):
    base = BaseOptions(delegate=delegate and BaseOptions.Delegate[delegate])
    with vision.HandLandmarker.create_from_options(vision.HandLandmarkerOptions(base, running_mode=MODES[mode])):
        assert detector.options["precision"] == precision


@pytest.mark.golden
def test_face_boxes_are_blended_from_an_overlap_on(portrait, need):
    need("face-short")
    counts = []
    for threshold in (0.3, 0.95):
        options = vision.FaceDetectorOptions(BaseOptions(), min_suppression_threshold=threshold)
        with vision.FaceDetector.create_from_options(options) as faces:
            counts.append(len(faces.detect(portrait).detections))
    assert counts[0] == 1 < counts[1]


@pytest.mark.slow
@pytest.mark.golden
@pytest.mark.parametrize(
    ("option", "value", "lost"),
    [
        ("min_face_detection_confidence", 1.0, {"face_landmarks"}),
        ("min_face_landmarks_confidence", 1.0, {"face_landmarks"}),
        ("min_hand_landmarks_confidence", 1.0, {"left_hand_landmarks", "right_hand_landmarks"}),
    ],
)
def test_each_part_of_a_person_has_its_own_threshold(portrait, need, option, value, lost):
    need("pose-detector", "body-full", "hand-full", "hand-recrop", "face-short", "face-attention")
    options = vision.HolisticLandmarkerOptions(BaseOptions(), **{option: value})
    with vision.HolisticLandmarker.create_from_options(options) as task:
        found = vars(task.detect(portrait))
    parts = {"face_landmarks", "pose_landmarks", "left_hand_landmarks", "right_hand_landmarks"}
    assert {name for name in parts if not found[name]} == lost


def test_networks_load_while_the_script_continues(weights, monkeypatch):
    go_on = threading.Event()

    def load(_):
        assert go_on.wait(30)
        raise InputError("mine.task: not a model")

    monkeypatch.setattr(_task.create, "detector_from", load)
    with vision.HandLandmarker.create_from_options(vision.HandLandmarkerOptions(BaseOptions())) as task:
        go_on.set()
        for error in (RuntimeError, ValueError):
            with pytest.raises(error, match=r"mine\.task: not a model"):
                task.detect(BLACK)


@pytest.mark.parametrize(
    ("kind", "newer", "field", "value"),
    [
        (vision.HolisticLandmarkerOptions, "min_face_presence_confidence", "min_face_landmarks_confidence", 0.7),
        (vision.HolisticLandmarkerOptions, "min_pose_presence_confidence", "min_pose_landmarks_confidence", 0.6),
        (vision.HolisticLandmarkerOptions, "output_pose_segmentation_masks", "output_segmentation_mask", True),
        (vision.GestureRecognizerOptions, "canned_gestures_classifier_options", "canned_gesture_classifier_options", 1),
        (vision.GestureRecognizerOptions, "custom_gestures_classifier_options", "custom_gesture_classifier_options", 2),
    ],
)
def test_names_of_the_newest_release_set_the_same_option(kind, newer, field, value):
    options = kind(BaseOptions(), **{newer: value})
    assert getattr(options, field) == getattr(options, newer) == value
    setattr(options, newer, "other")
    assert getattr(options, field) == "other"
    assert getattr(kind(BaseOptions(), **{field: value}), newer) == value
    with pytest.raises(ValueError, match=f"`{newer}` or deprecated `{field}`, not both"):
        kind(BaseOptions(), **{newer: value, field: value})
