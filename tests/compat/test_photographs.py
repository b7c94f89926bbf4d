"""Cases of MediaPipe's own tests: blank photographs, gestures, and a still shown as a video."""

import json

import cv2
import numpy as np
import pytest

from sonjit.compat import mediapipe as mp

pytestmark = pytest.mark.slow
solutions, vision, BaseOptions = mp.solutions, mp.tasks.vision, mp.tasks.BaseOptions
NETWORKS = (
    "palm-full", "hand-full", "hand-recrop", "face-short", "face-mesh", "pose-detector", "body-full", "selfie",
)  # fmt: skip


@pytest.fixture
def photo(data):
    """Return a photograph (H, W, 3) RGB of real/wild by name."""

    def photo(name):
        image = cv2.imread(str(data / "real" / "wild" / name))
        if image is None:
            pytest.skip(f"{name} is not in {data}/real/wild")
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    return photo


def test_a_white_image_contains_no_person(need):
    need(*NETWORKS)
    white = np.full((100, 100, 3), 255, np.uint8)
    for solution in (
        solutions.hands.Hands, solutions.face_mesh.FaceMesh, solutions.pose.Pose, solutions.holistic.Holistic,
        solutions.face_detection.FaceDetection,
    ):  # fmt: skip
        with solution() as made:
            assert set(made.process(white)) == {None}, solution
    with solutions.selfie_segmentation.SelfieSegmentation() as made:
        assert (made.process(white).segmentation_mask * 255).max() < 1


@pytest.mark.nightly_after(1)
@pytest.mark.golden
@pytest.mark.parametrize(
    ("name", "margin_px"), [("hands.hands.static2.full", 15), ("facemesh.portrait.static4.plain", 5),
                            ("pose.pose.static.full", 15)]
)  # fmt: skip
def test_a_still_shown_as_a_video_stays_where_it_is(data, need, pixels, name, margin_px):
    need(*NETWORKS)
    path = data / "goldens" / "mediapipe" / f"{name}.json"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    truth = json.loads(path.read_text("utf-8"))
    image = cv2.imread(str(data / truth["source"]))
    if image is None:
        pytest.skip(f"{truth['source']} is not there")
    rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    expected = truth["frames"][0]["instances"]
    module, made = {
        "hands": ("multi_hand_landmarks", solutions.hands.Hands),
        "facemesh": ("multi_face_landmarks", solutions.face_mesh.FaceMesh),
        "pose": ("pose_landmarks", solutions.pose.Pose),
    }[name.split(".")[0]]
    with made(static_image_mode=False) as solution:
        for _ in range(4):
            results = solution.process(rgb)
            found = getattr(results, module)
            every = found if isinstance(found, list) else [found]
            assert len(every) == len(expected)
            for one, true in zip(every, expected, strict=True):
                error = pixels(one, rgb)[:, :2] - np.array(true["keypoints"])[: len(one.landmark), :2]
                assert abs(error).max() < margin_px
                if name.startswith("pose"):
                    world = np.array([(mark.x, mark.y, mark.z) for mark in results.pose_world_landmarks.landmark])
                    assert abs(world - true["world"]).max() < 0.2  # in metres


KNEES = {0: [[0.5979, 1.3795], [0.2084, 1.3213]], 1: [[0.6184, 1.3788], [0.2547, 1.3318]]}
"""Of a half body, below the image, as mediapipe 0.10.21's `Pose` gives them in a video's first frames: the second crop
comes from the first one's landmarks and lies 85 px higher than what the detector gave."""


@pytest.mark.golden
def test_a_half_body_moves_in_a_video_as_mediapipes_does(need, photo):
    need("pose-detector", "body-full")
    rgb = cv2.resize(photo("mps_business.png"), None, fx=1000 / 1358, fy=1000 / 1358, interpolation=cv2.INTER_AREA)
    with solutions.pose.Pose(precision="f32") as pose:
        for frame, knees in KNEES.items():
            marks = pose.process(rgb).pose_landmarks.landmark
            found = [(mark.x, mark.y) for mark in marks[25:27]]
            np.testing.assert_allclose(found, knees, atol=0.005, err_msg=f"frame {frame}")


@pytest.mark.golden
def test_a_thumb_is_recognised_upright_and_rotated(need, photo):
    need("palm-full", "hand-full")
    upright = photo("mps_thumb_up.jpg")
    with vision.GestureRecognizer.create_from_options(vision.GestureRecognizerOptions(BaseOptions())) as recognizer:
        for turns in (0, 1):
            pixels = np.ascontiguousarray(np.rot90(upright, turns))  # counter-clockwise
            image = mp.Image(image_format=mp.ImageFormat.SRGB, data=pixels)
            options = vision.ImageProcessingOptions(rotation_degrees=-270 * turns)
            result = recognizer.recognize(image, options)
            ((gesture,),) = result.gestures  # one hand, and its surest gesture alone
            assert (gesture.index, gesture.category_name, gesture.display_name) == (-1, "Thumb_Up", "")
            assert len(result.hand_landmarks[0]) == len(result.hand_world_landmarks[0]) == 21
            assert len(result.handedness[0]) == 1


@pytest.mark.golden
def test_masks_are_optional_and_a_pose_works_without_them(need, photo):
    need("selfie", "pose-detector", "body-full")
    pixels = cv2.resize(photo("mps_business.png"), None, fx=0.5, fy=0.5)
    image = mp.Image(image_format=mp.ImageFormat.SRGB, data=pixels)
    for confidence, category in ((True, False), (False, True)):
        options = vision.ImageSegmenterOptions(
            BaseOptions(), output_confidence_masks=confidence, output_category_mask=category
        )
        with vision.ImageSegmenter.create_from_options(options) as segmenter:
            masks = segmenter.segment(image)
        assert (masks.confidence_masks is None, masks.category_mask is None) == (not confidence, not category)
        mask = masks.confidence_masks[0] if confidence else masks.category_mask
        assert mask.numpy_view().dtype == (np.float32 if confidence else np.uint8)
        assert mask.numpy_view().shape == pixels.shape[:2]
    with vision.PoseLandmarker.create_from_options(vision.PoseLandmarkerOptions(BaseOptions())) as poses:
        assert poses.detect(image).segmentation_masks is None


def test_a_hand_that_appears_is_first_in_hands_and_last_in_tasks(photo, need):
    """The orders are those of MediaPipe 0.10.21 on these frames."""
    need("palm-full", "hand-full")
    hand = cv2.resize(photo("mps_hand.jpg"), None, fx=0.2, fy=0.2, interpolation=cv2.INTER_AREA)
    height, width = hand.shape[:2]

    def frame(*sides):
        image = np.full((height + 40, 2 * width + 40, 3), 200, np.uint8)
        for side in sides:
            left = 10 if side == "left" else width + 30
            image[20 : 20 + height, left : left + width] = hand[:, ::-1] if side == "left" else hand
        return image

    def order(hands):
        return ["left" if np.mean([mark.x for mark in marks]) < 0.5 else "right" for marks in hands]

    frames = [frame("right"), *[frame("left", "right")] * 6, frame("left"), *[frame("left", "right")] * 6]
    options = vision.HandLandmarkerOptions(BaseOptions(), running_mode=vision.RunningMode.VIDEO, num_hands=2)
    with solutions.hands.Hands() as hands, vision.HandLandmarker.create_from_options(options) as task:
        found = [hands.process(image).multi_hand_landmarks or [] for image in frames]
        ours = [order(marks.landmark for marks in lists) for lists in found]
        images = [mp.Image(mp.ImageFormat.SRGB, image) for image in frames]
        tasks = [order(task.detect_for_video(image, 33 * i).hand_landmarks) for i, image in enumerate(images)]
    assert (ours[6], ours[-1]) == (["left", "right"], ["right", "left"])
    assert (tasks[6], tasks[-1]) == (["right", "left"], ["left", "right"])
