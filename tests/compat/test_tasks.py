"""`tasks.vision`: accepted arguments, errors and results."""

import threading
import zipfile

import numpy as np
import pytest

import sonjit
from sonjit.compat import mediapipe as mp
from sonjit.detectors.selfie import SelfieSegmenter
from sonjit.gestures import Gesture
from sonjit.weights import find_weight

vision, BaseOptions = mp.tasks.vision, mp.tasks.BaseOptions
MODES = vision.RunningMode
BLACK = mp.Image(mp.ImageFormat.SRGB, np.zeros((48, 64, 3), np.uint8))


def image_of(data, image_format=mp.ImageFormat.SRGB):
    return mp.Image(image_format=image_format, data=data)


@pytest.mark.slow
def test_what_a_wrong_call_says(hand_landmarker):
    image = hand_landmarker()
    for call, reason in (
        (lambda: image.detect(np.zeros((4, 4, 3), np.uint8)), "provide an mp.Image with 'image_format' and 'data'"),
        (lambda: image.detect(BLACK, vision.ImageProcessingOptions(rotation_degrees=45)), "multiple of 90°"),
        (lambda: hand_landmarker(num_hands=0), "num_hands=0"),
        (lambda: hand_landmarker(running_mode="VIDEO"), "running_mode='VIDEO': give a RunningMode"),
        (lambda: hand_landmarker(base_options=None), "base_options=None: give a BaseOptions"),
        (lambda: hand_landmarker(min_tracking_confidence="x"), "min_tracking_confidence='x': give a probability"),
        (lambda: hand_landmarker(min_hand_detection_confidence=2.0), "min_hand_detection_confidence=2.0"),
    ):
        with pytest.raises(ValueError, match=reason):
            call()


class FakeSegmenter:
    def network_mask(self, rgb):
        return np.zeros((4, 4), np.float32)

    def close(self):
        pass


@pytest.mark.parametrize(
    ("name", "verb", "model"),
    [
        ("HandLandmarker", "detect", "hand_landmarker.task"),
        ("FaceLandmarker", "detect", "face_landmarker.task"),
        ("PoseLandmarker", "detect", "pose_landmarker_lite.task"),
        ("HolisticLandmarker", "detect", "holistic_landmarker.task"),
        ("FaceDetector", "detect", "blaze_face_short_range.tflite"),
        ("GestureRecognizer", "recognize", "gesture_recognizer.task"),
        ("ImageSegmenter", "segment", "selfie_segmenter.tflite"),
    ],
)
def test_every_task_has_its_modes(weights, monkeypatch, detector, name, verb, model):
    detector.detect = lambda *_, **__: []
    name_there = "sonjit.compat.mediapipe.tasks.python.vision._segmenter.load_selfie_segmenter"
    monkeypatch.setattr(name_there, lambda _: FakeSegmenter())
    task, options_type = getattr(vision, name), getattr(vision, f"{name}Options")

    def make(mode, callback=None, path=model):
        base = BaseOptions(model_asset_path=path)
        return task.create_from_options(options_type(base, running_mode=mode, result_callback=callback))

    got = threading.Event()
    callbacks = {MODES.IMAGE: None, MODES.VIDEO: None, MODES.LIVE_STREAM: lambda *_: got.set()}
    methods = {MODES.IMAGE: "", MODES.VIDEO: "_for_video", MODES.LIVE_STREAM: "_async"}
    turned, region = vision.ImageProcessingOptions(rotation_degrees=-90), vision.ImageProcessingOptions()
    region.region_of_interest = mp.tasks.components.containers.Rect(0, 0, 1, 1)
    for mode, callback in callbacks.items():
        with pytest.raises(ValueError, match=r"result callback (must be|should not be) provided"):
            make(mode, print if callback is None else None)
        with pytest.raises(RuntimeError, match=r"Unable to open file at /path/to/invalid/model\.tflite"):
            make(mode, callback, "/path/to/invalid/model.tflite")
        with make(mode, callback) as made:
            assert isinstance(made, task)
            for other, ending in methods.items():
                at = () if other is MODES.IMAGE else (1,)
                call = getattr(made, verb + ending)
                if other is not mode:
                    words = other.name.lower().replace("_", " ")
                    with pytest.raises(ValueError, match=f"not initialized with the {words} mode"):
                        call(BLACK, *at)
                    continue
                with pytest.raises(ValueError, match="doesn't support region-of-interest"):
                    call(BLACK, *at, region)
                result = call(BLACK, *at, turned)
                if mode is MODES.LIVE_STREAM:
                    assert result is None
                    assert got.wait(30)
                else:
                    assert type(result).__name__ == f"{name}Result" or result == vision.FaceDetectorResult([])
                for late in (1, 0) if at else ():
                    with pytest.raises(ValueError, match="must be monotonically increasing"):
                        call(BLACK, late)
        with pytest.raises(ValueError, match="currently not running"):
            getattr(made, verb + methods[mode])(BLACK, *(() if mode is MODES.IMAGE else (2,)))
        made.close()  # again
    with task.create_from_model_path(model) as made:
        getattr(made, verb)(BLACK)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"model_asset_path": "/no/model.tflite"}, "Unable to open file at /no/model.tflite"),
        (
            {"model_asset_buffer": b"abc"},
            "^model_asset_buffer is not a model of this task, which requires a .task bundle",
        ),
        ({"model_asset_buffer": b"PK\3\4abc"}, "^model_asset_buffer is not a model"),
        (
            {"model_asset_path": __file__},
            r"test_tasks\.py is not a model .*\.task bundle such as face_landmarker\.task",
        ),
        ({"model_asset_path": "face_landmarker.task", "model_asset_buffer": b"abc"}, "both given: give one of them"),
        ({}, r"face_landmarker.task: no such task bundle; .* sonjit models add"),
    ],
)
def test_models_that_are_of_no_use(tmp_path, monkeypatch, options, reason):
    monkeypatch.setenv("SONJIT_HOME", str(tmp_path))
    for error in (RuntimeError, ValueError):  # MediaPipe's, and that of all wrong input
        with pytest.raises(error, match=reason):
            vision.FaceLandmarker.create_from_options(vision.FaceLandmarkerOptions(BaseOptions(**options)))
    assert not list(tmp_path.rglob("bundles"))


def test_models_of_another_task_are_refused_at_creation(need):
    need("face-short", "hand-full")
    network = BaseOptions(str(find_weight("hand-full")))
    for task, reason in (
        ("FaceDetector", "is not a face detector"),
        ("FaceLandmarker", "is not a face attention network"),
    ):
        with pytest.raises(RuntimeError, match=reason):
            getattr(vision, task).create_from_options(getattr(vision, f"{task}Options")(network))


def test_a_bundle_may_have_any_file_name(weights, tmp_path):
    path = tmp_path / "hands.bin"
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.write(find_weight("palm-full"), "hand_detector.tflite")
        bundle.write(find_weight("hand-full"), "hand_landmarks_detector.tflite")
    with vision.HandLandmarker.create_from_model_path(str(path)) as task:
        assert task.detect(BLACK).hand_landmarks == []


def turned_pixels(task, detector, degrees):
    """Return the pixels that the detector receives for an image whose pixels have the numbers 1 to 6."""
    seen = []
    detector.detect = lambda rgb, **_: seen.append(rgb[:, :, 0]) or []
    pixels = np.arange(1, 7, dtype=np.uint8).reshape(2, 3)
    with getattr(vision, task).create_from_options(getattr(vision, f"{task}Options")(BaseOptions())) as made:
        made.detect(
            image_of(np.repeat(pixels[:, :, None], 3, 2)), vision.ImageProcessingOptions(rotation_degrees=degrees)
        )
    return seen[0].tolist()


def test_turned_hands_and_faces_are_sampled_as_in_mediapipe(weights, need, detector):
    need("face-short", "pose-detector", "body-full")
    for task in ("HandLandmarker", "FaceDetector"):
        assert turned_pixels(task, detector, 90) == [[0, 4], [0, 5], [0, 6]]
        assert turned_pixels(task, detector, 180) == [[0, 0, 0], [0, 6, 5]]
        assert turned_pixels(task, detector, 270) == [[0, 0], [3, 6], [2, 5]]
    assert turned_pixels("PoseLandmarker", detector, 90) == [[4, 1], [5, 2], [6, 3]]


def test_gestures_are_chosen_as_requested(weights, monkeypatch, detector):
    from sonjit.compat.mediapipe.tasks.python.vision import _hands as module
    from sonjit.detectors.kinds import gesture_bundle
    from sonjit.weights import TaskBundle, load_bundle

    zeros = np.zeros((21, 3), np.float32)
    detector.detect = lambda *_, **__: [sonjit.Hand("Left", 1.0, zeros, zeros, handedness_score=0.9)]

    def recognized(custom=None, **chosen):
        classifiers = [mp.tasks.components.processors.ClassifierOptions(**one) for one in (chosen, custom or {})]
        options = vision.GestureRecognizerOptions(BaseOptions(), MODES.IMAGE, 1, 0.5, 0.5, 0.5, *classifiers)
        with vision.GestureRecognizer.create_from_options(options) as recognizer:
            return [
                (gesture.index, gesture.category_name, gesture.score)
                for gesture in recognizer.recognize(BLACK).gestures[0]
            ]

    gestures = [Gesture("Victory", 0.9)]
    with monkeypatch.context() as patch:
        patch.setattr(module, "gesture_of", lambda _: gestures[0])
        assert recognized() == [(-1, "Victory", 0.9)]
        assert recognized(category_denylist=["Victory"]) == recognized(score_threshold=0.95) == []
        gestures[0] = Gesture("Horns", 0.8)
        assert recognized() == [(-1, "None", 0.8)]
        gestures[0] = None
        assert recognized() == [(-1, "None", 1.0)]
        with pytest.raises(ValueError, match="mutually exclusive"):
            recognized(category_allowlist=["Victory"], category_denylist=["None"])
        with pytest.raises(ValueError, match=r"gesture_recognizer\.task has no custom gestures"):
            recognized({"score_threshold": 0.5})

    class Networks:  # of a bundle with custom gestures
        custom, canned = {"None": 0.3, "rock": 0.7}, {"None": 0.4, "Victory": 0.6}

        def scores(self, hand, side_px, depth_px):
            assert (side_px, depth_px) == (64, 64)
            return [self.custom, self.canned]

    members = {**load_bundle("gesture_recognizer.task").members, gesture_bundle.CUSTOM: b""}
    bundle = TaskBundle("gesture_recognizer.task", "gesture_recognizer", members)
    monkeypatch.setattr(module, "load_bundle", lambda _: bundle)
    monkeypatch.setattr(gesture_bundle, "load_gestures", lambda *_: Networks())
    assert recognized() == [(-1, "rock", 0.7)]  # the custom one goes before
    assert recognized({"category_denylist": ["rock"]}) == [(-1, "Victory", 0.6)]
    assert recognized({"score_threshold": 0.8}) == [(-1, "Victory", 0.6)]
    nothing = {"category_allowlist": ["None"]}
    assert recognized(nothing, **nothing) == [(-1, "None", 0.3)]  # of the first
    assert recognized({"category_allowlist": ["scissors"]}, category_allowlist=["ILoveYou"]) == []


def test_hands_of_a_person_in_metres_are_at_the_poses_wrists(weights, detector):
    rng = np.random.default_rng(0)
    body, left, right = (rng.normal(size=(count, 3)).astype(np.float32) for count in (33, 21, 21))
    hands = [sonjit.Hand(side, 1.0, one, one) for side, one in (("Left", left), ("Right", right))]
    visibility = np.ones(33, np.float32)
    detector.detect = lambda *_, **__: [
        sonjit.Person(sonjit.Body(1.0, body, body, visibility, visibility), *hands, face=None)
    ]
    with vision.HolisticLandmarker.create_from_options(vision.HolisticLandmarkerOptions(BaseOptions())) as task:
        found = task.detect(BLACK)
    for own, moved, wrist in (
        (left, found.left_hand_world_landmarks, 15),
        (right, found.right_hand_world_landmarks, 16),
    ):
        points = np.array([(mark.x, mark.y, mark.z) for mark in moved])
        np.testing.assert_allclose(points, own - own[0] + body[wrist], atol=1e-6)


def test_each_number_of_a_face_box_lies_within_the_image(weights, detector):
    points = np.zeros((6, 3), np.float32)
    detector.detect = lambda *_, **__: [
        sonjit.Face(0.7, points, box) for box in ((-9.5, 6.2, 20.9, 60.0), (3, 4, 90, 9.5))
    ]
    with vision.FaceDetector.create_from_options(vision.FaceDetectorOptions(BaseOptions())) as faces:
        boxes = [detection.bounding_box for detection in faces.detect(BLACK).detections]
    box = mp.tasks.components.containers.BoundingBox
    assert boxes == [box(0, 6, 30, 48), box(3, 4, 64, 5)]


def test_categories_are_of_a_mask_stretched_from_its_outer_pixels(need, monkeypatch):
    need("selfie")
    monkeypatch.setattr(SelfieSegmenter, "network_mask", lambda *_: np.array([[0, 1, 0], [0, 0, 0]], np.float32))
    options = vision.ImageSegmenterOptions(BaseOptions(), output_category_mask=True)
    with vision.ImageSegmenter.create_from_options(options) as segmenter:
        masks = segmenter.segment(image_of(np.zeros((5, 9, 3), np.uint8)))
    person = np.zeros((5, 9), bool)
    person[:2, 3:6] = True  # 1 at the top's middle, 1/4 less with each column and each row
    np.testing.assert_array_equal(masks.category_mask.numpy_view() == 0, person)


def test_segmenters_read_the_network_that_is_given(need):
    need("selfie", "selfie-landscape", "face-short")
    image = image_of(np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8))

    def masks(base):
        with vision.ImageSegmenter.create_from_options(vision.ImageSegmenterOptions(base)) as segmenter:
            return segmenter.segment(image).confidence_masks[0].numpy_view().copy()

    file = find_weight("selfie-landscape")
    for base in (BaseOptions(model_asset_buffer=file.read_bytes()), BaseOptions(str(file))):
        np.testing.assert_array_equal(masks(base), masks(BaseOptions("selfie_segmenter_landscape.tflite")))
    for other, reason in (
        (BaseOptions(str(find_weight("face-short"))), "no operator Convolution2DTransposeBias in it; only networks of"),
        (
            BaseOptions(model_asset_buffer=bytes(50)),
            "model_asset_buffer is not a model of this task, which requires a TFLite",
        ),
    ):
        with pytest.raises(RuntimeError, match=reason):
            masks(other)
