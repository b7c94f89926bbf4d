"""`Pose` and `Holistic`: names, calls and results, compared with MediaPipe where reference data exist."""

import cv2
import numpy as np
import pytest

from sonjit import Body, Face, Hand
from sonjit._util.errors import InputError
from sonjit.compat import mediapipe as mp
from sonjit.detectors.selfie import load_selfie_segmenter
from sonjit.results import Person
from sonjit.results.skeletons import load_skeleton

mp_pose, mp_holistic = mp.solutions.pose, mp.solutions.holistic
BLACK = np.zeros((40, 80, 3), np.uint8)


def points(count):
    return np.tile(np.array([40, 10, -20], np.float32), (count, 1))


def body(mask=None):
    visibility = np.linspace(0, 1, 33, dtype=np.float32)
    return Body(0.9, points(33), points(33) / 1000, visibility, np.ones(33, np.float32), mask=mask)


def hand(side, x):
    return Hand(side, 0.9, points(21) + np.array([x, 0, 0], np.float32), points(21))


def test_names_match_mediapipe():
    names = [mark.name.lower() for mark in mp_pose.PoseLandmark]
    assert names == list(load_skeleton("body_blazepose33").keypoints)
    assert [mark.value for mark in mp_pose.PoseLandmark] == list(range(33))
    assert len(mp_pose.POSE_CONNECTIONS) == 35
    for name in ("POSE_CONNECTIONS", "HAND_CONNECTIONS", "FACEMESH_CONTOURS", "FACEMESH_TESSELATION"):
        assert isinstance(getattr(mp_holistic, name), frozenset)
    assert mp_holistic.PoseLandmark is mp_pose.PoseLandmark
    assert mp_holistic.HandLandmark is mp.solutions.hands.HandLandmark


def test_a_pose_has_parts_metres_and_visibility(detector):
    mask = np.ones((40, 80), np.float32)
    detector.found = [body(mask)]
    pose, world, segmentation = mp_pose.Pose(enable_segmentation=True).process(BLACK)
    nose, last = pose.landmark[mp_pose.PoseLandmark.NOSE], pose.landmark[mp_pose.PoseLandmark.RIGHT_FOOT_INDEX]
    assert (nose.x, nose.y, nose.z, nose.visibility, last.visibility) == (0.5, 0.25, -0.25, 0, 1)
    assert nose.HasField("visibility")
    assert not nose.HasField("presence")
    assert (world.landmark[32].x, world.landmark[32].visibility) == (pytest.approx(0.04), 1)
    assert segmentation is mask


def test_a_persons_parts_stand_in_their_places(detector):
    face = Face(0.9, points(468), (0, 0, 1, 1))
    detector.found = [Person(body(), left_hand=hand("Left", 0), right_hand=hand("Right", 8), face=face)]
    found = mp_holistic.Holistic().process(BLACK)
    assert found.left_hand_landmarks.landmark[0].x == 0.5
    assert found.right_hand_landmarks.landmark[0].x == pytest.approx(0.6)
    assert len(found.face_landmarks.landmark) == 468
    assert found.pose_world_landmarks.landmark[32].visibility == 1
    assert found.segmentation_mask is None
    detector.found = [Person(body())]
    found = mp_holistic.Holistic().process(BLACK)
    assert found.pose_landmarks is not None
    assert (found.left_hand_landmarks, found.right_hand_landmarks, found.face_landmarks) == (None, None, None)


@pytest.mark.parametrize("solution", [mp_pose.Pose, mp_holistic.Holistic])
def test_missing_detections_are_none_and_wrong_images_are_value_errors(detector, solution):
    with solution() as found:
        assert set(found.process(BLACK)) == {None}
        with pytest.raises(ValueError, match="could not be read"):
            found.process(None)
    assert detector.calls == ["close"]


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
        keypoints = np.array(expected["keypoints"])
        assert np.linalg.norm(pixels(found, rgb)[:, :2] - keypoints[:, :2], axis=1).mean() < 1.5
        visibility = np.array([mark.visibility for mark in found.landmark])
        assert np.abs(visibility - keypoints[:, 3]).max() < 0.05
        metres = np.array([(mark.x, mark.y, mark.z) for mark in world.landmark])
        assert np.linalg.norm(metres - expected["world"], axis=1).mean() < 0.01
    if "mask_png" in frame:
        expected = cv2.imread(str(file.parent / frame["mask_png"]), cv2.IMREAD_GRAYSCALE) > 127
        assert mask.dtype == np.float32
        assert ((mask > 0.5) & expected).sum() / ((mask > 0.5) | expected).sum() > 0.97


SelfieSegmentation = mp.solutions.selfie_segmentation.SelfieSegmentation


def test_selfie_models_out_of_range_are_named():
    with pytest.raises(ValueError, match=r"model_selection=2: give 0 \(general\) or 1 \(landscape\)"):
        SelfieSegmentation(model_selection=2)


def test_files_that_are_no_such_network_are_named(tmp_path):
    (tmp_path / "selfie_segmentation.tflite").write_bytes(bytes(249505))
    with pytest.raises(InputError, match=r"selfie_segmentation.tflite: no TFLite file.*sonjit models pull selfie"):
        load_selfie_segmenter(models_dir=tmp_path)
    with pytest.raises(InputError, match=r"Unknown selfie model 'portrait'. Choose from general, landscape"):
        load_selfie_segmenter("portrait")


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
