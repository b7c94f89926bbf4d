"""`tasks.vision`: what its calls say, and what it finds beside MediaPipe's own outputs."""

import importlib
import json
import threading

import cv2
import numpy as np
import pytest

import sonjit
from sonjit.compat import mediapipe as mp
from sonjit.detectors.selfie import SelfieSegmenter
from sonjit.gestures import Gesture
from sonjit.weights import find_weight

vision, BaseOptions = mp.tasks.vision, mp.tasks.BaseOptions
ImageFormat = mp.ImageFormat
MODES = vision.RunningMode


def image_of(data, image_format=ImageFormat.SRGB):
    return mp.Image(image_format=image_format, data=data)


BLACK = image_of(np.zeros((48, 64, 3), np.uint8))


@pytest.fixture
def hand_landmarker(weights):
    """`hand_landmarker(**options)`: one of the published networks; closed at the end."""
    made = []

    def make(**options):
        options = {"base_options": BaseOptions()} | options
        made.append(vision.HandLandmarker.create_from_options(vision.HandLandmarkerOptions(**options)))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize(
    ("name", "member"),
    [
        ("tasks", "python"),
        ("tasks.python", "vision"),
        ("tasks.python", "BaseOptions"),
        ("tasks.python.vision", "drawing_utils"),
        ("tasks.python.vision.hand_landmarker", "HandLandmarkerResult"),
        ("tasks.python.vision.core.vision_task_running_mode", "VisionTaskRunningMode"),
        ("tasks.python.core.base_options", "BaseOptions"),
        ("tasks.python.components.containers.landmark", "NormalizedLandmark"),
        ("tasks.python.components.processors", "ClassifierOptions"),
        ("python.solutions.hands", "Hands"),
        ("python", "ImageFormat"),
    ],
)
def test_modules_lie_where_mediapipe_has_them(name, member):
    assert hasattr(importlib.import_module(f"sonjit.compat.mediapipe.{name}"), member)


def test_modules_of_python_are_those_of_solutions():
    module = importlib.import_module("sonjit.compat.mediapipe.python.solutions.face_mesh")
    assert module is mp.solutions.face_mesh
    assert mp.tasks.python.vision is mp.tasks.vision
    with pytest.raises(AttributeError, match=r"has no 'ObjectDetector'; covered: .*FaceDetector"):
        vision.ObjectDetector  # noqa: B018


def test_images():
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    image = image_of(pixels)
    assert (image.width, image.height, image.channels, image[1, 2, 0]) == (4, 2, 3, 18)
    assert image.is_aligned(1)
    assert image.is_aligned(4)
    assert not image.is_aligned(8)  # rows of 12 bytes
    pixels[:] = 0
    assert image[1, 2, 0] == 18
    with pytest.raises(ValueError, match="read-only"):
        image.numpy_view()[0] = 0
    with pytest.raises(IndexError, match="Invalid index dimension"):
        image[0, 0]
    grey = image_of(np.zeros((2, 4, 1), np.uint8), ImageFormat.GRAY8)
    assert grey.numpy_view().shape == (2, 4)
    assert image_of(np.ones((2, 4), np.float32), ImageFormat.VEC32F1)[1, 1] == 1.0
    for data, image_format in (
        (np.zeros((2, 4, 3), np.float32), ImageFormat.SRGB),
        (np.zeros((2, 4, 3), np.uint8), ImageFormat.SRGBA),
        (None, ImageFormat.SRGB),
    ):
        with pytest.raises(ValueError, match="data is "):
            image_of(data, image_format)


def test_image_files(tmp_path):
    for name, shape, image_format in (
        ("a.png", (5, 6, 3), ImageFormat.SRGB),
        ("b.png", (5, 6, 4), ImageFormat.SRGBA),
        ("c.png", (5, 6), ImageFormat.GRAY8),
    ):
        pixels = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
        cv2.imwrite(str(tmp_path / name), pixels)
        image = mp.Image.create_from_file(str(tmp_path / name))
        assert image.image_format == image_format
        bgr = pixels[..., [2, 1, 0, 3][: shape[2]]] if len(shape) == 3 else pixels
        np.testing.assert_array_equal(image.numpy_view(), bgr)
    with pytest.raises(RuntimeError, match="can't fopen"):
        mp.Image.create_from_file(str(tmp_path / "none.png"))


@pytest.mark.slow
def test_what_a_wrong_call_says(hand_landmarker):
    image = hand_landmarker()
    for call, reason in (
        (lambda: image.detect(np.zeros((4, 4, 3), np.uint8)), "provide an mp.Image with 'image_format' and 'data'"),
        (lambda: image.detect(BLACK, vision.ImageProcessingOptions(rotation_degrees=45)), "multiple of 90°"),
        (lambda: hand_landmarker(num_hands=0), "max_instances=0"),
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
    name_there = "sonjit.compat.mediapipe.tasks.python.vision.image_segmenter.load_selfie_segmenter"
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
        ({"model_asset_buffer": b"abc"}, "is not a task bundle"),
        ({"model_asset_path": "face_landmarker.task", "model_asset_buffer": b"abc"}, "both given: give one of them"),
        ({}, r"face_landmarker.task: no such task bundle; .* sonjit models add"),
    ],
)
def test_models_that_are_of_no_use(tmp_path, monkeypatch, options, reason):
    monkeypatch.setenv("SONJIT_HOME", str(tmp_path))
    for error in (RuntimeError, ValueError):  # MediaPipe's, and that of all wrong input
        with pytest.raises(error, match=reason):
            vision.FaceLandmarker.create_from_options(vision.FaceLandmarkerOptions(BaseOptions(**options)))


@pytest.fixture
def golden(data):
    """`golden(pattern)`: a still's golden of MediaPipe's Tasks API with somebody in it, and its image."""

    def golden(pattern):
        for file in sorted((data / "goldens" / "tasks").glob(pattern)):
            golden = json.loads(file.read_text("utf-8"))
            source = next((data / "real").glob(f"wild/**/{golden['source']}"), None)
            found = next(value for name, value in golden["frames"][0].items() if name.endswith("landmarks"))
            if golden["mode"] == "IMAGE" and found and source is not None:
                return golden["frames"][0], mp.Image.create_from_file(str(source))
        pytest.skip(f"no still {pattern} with its image in {data}")

    return golden


def xyz(landmarks):
    return np.array([(mark.x, mark.y, mark.z) for mark in landmarks])


@pytest.mark.golden
def test_hands_of_a_still(golden, hand_landmarker):
    truth, image = golden("hand.*.json")
    options = {"num_hands": 2, "base_options": BaseOptions(model_asset_path="models/hand_landmarker.task")}
    result = hand_landmarker(**options).detect(image)
    assert len(result.hand_landmarks) == len(truth["hand_landmarks"])
    for side, marks, world, *true in zip(
        result.handedness, result.hand_landmarks, result.hand_world_landmarks, truth["handedness"],
        truth["hand_landmarks"], truth["hand_world_landmarks"], strict=True,
    ):  # fmt: skip
        (category,), (named,) = side, true[0]
        assert (category.index, category.category_name) == (named["index"], named["category_name"])
        assert category.score == pytest.approx(named["score"], abs=0.01)
        np.testing.assert_allclose(xyz(marks), true[1], atol=1e-3)
        np.testing.assert_allclose(xyz(world), true[2], atol=1e-3)
        assert marks[0].visibility is marks[0].presence is None


@pytest.mark.golden
def test_a_turned_image_gives_results_in_its_own_frame(golden, hand_landmarker):
    _, image = golden("hand.*.json")
    landmarker = hand_landmarker()
    upright = landmarker.detect(image)
    pixels = image.numpy_view()
    for turns in (1, 2, 3):  # counter-clockwise
        turned = image_of(np.ascontiguousarray(np.rot90(pixels, turns)))
        options = vision.ImageProcessingOptions(rotation_degrees=90 * turns - 360)
        found = landmarker.detect(turned, options)
        points, world = xyz(upright.hand_landmarks[0]), xyz(upright.hand_world_landmarks[0])
        for _ in range(turns):
            points[:, 0], points[:, 1] = points[:, 1].copy(), 1 - points[:, 0]
            world[:, 0], world[:, 1] = world[:, 1].copy(), -world[:, 0]
        np.testing.assert_allclose(xyz(found.hand_landmarks[0])[:, :2], points[:, :2], atol=1e-5)
        np.testing.assert_allclose(xyz(found.hand_world_landmarks[0]), world, atol=1e-5)


@pytest.mark.golden
@pytest.mark.parametrize("turns", [0, 1])
def test_a_still_shown_as_a_video_keeps_its_hands(golden, hand_landmarker, turns):
    truth, image = golden("hand.*.json")
    turned = image_of(np.ascontiguousarray(np.rot90(image.numpy_view(), turns)))  # counter-clockwise
    landmarker = hand_landmarker(running_mode=MODES.VIDEO, num_hands=2)
    for timestamp in range(0, 150, 30):
        result = landmarker.detect_for_video(turned, timestamp, vision.ImageProcessingOptions(None, -270 * turns))
        assert len(result.hand_landmarks) == len(truth["hand_landmarks"])
        for marks, true in zip(result.hand_landmarks, truth["hand_landmarks"], strict=True):
            x, y = np.array(true)[:, :2].T
            np.testing.assert_allclose(xyz(marks)[:, :2], np.stack([y, 1 - x] if turns else [x, y], 1), atol=0.03)
        sides = [side[0].category_name for side in result.handedness]
        assert sides == [side[0]["category_name"] for side in truth["handedness"]]


@pytest.mark.golden
def test_face_boxes_of_a_turned_video_by_a_networks_content(golden, need):
    need("face-short")
    _, image = golden("face.*.json")
    base = BaseOptions(model_asset_buffer=find_weight("face-short").read_bytes())
    with vision.FaceDetector.create_from_options(vision.FaceDetectorOptions(base)) as detector:
        upright = detector.detect(image).detections
        assert detector.detect(BLACK).detections == []
    assert upright
    options = vision.FaceDetectorOptions(base, running_mode=MODES.VIDEO)
    turned = image_of(np.ascontiguousarray(np.rot90(image.numpy_view())))
    with vision.FaceDetector.create_from_options(options) as detector:
        for timestamp in (0, 30, 60):
            found = detector.detect_for_video(turned, timestamp, vision.ImageProcessingOptions(None, -270)).detections
            for one, other in zip(found, upright, strict=True):
                assert (one.categories[0].index, one.categories[0].score) == (0, other.categories[0].score)
                points = [(mark.y, 1 - mark.x) for mark in other.keypoints]
                np.testing.assert_allclose([(mark.x, mark.y) for mark in one.keypoints], points, atol=1e-5)
                a, b = one.bounding_box, other.bounding_box
                assert (a.width, a.height) == (pytest.approx(b.height, abs=1), pytest.approx(b.width, abs=1))
                assert a.origin_y == pytest.approx(image.width - b.origin_x - b.width, abs=2)


@pytest.mark.golden
def test_faces_of_a_still(golden, data):
    bundle = data / "real" / "tasks" / "face_landmarker.task"
    if not bundle.is_file():
        pytest.skip(f"{bundle} is not there")
    truth, image = golden("face.*.json")
    options = vision.FaceLandmarkerOptions(
        BaseOptions(model_asset_buffer=bundle.read_bytes()), num_faces=4,
        output_face_blendshapes=True, output_facial_transformation_matrixes=True,
    )  # fmt: skip
    with vision.FaceLandmarker.create_from_options(options) as landmarker:
        result = landmarker.detect(image)
        assert landmarker.detect(BLACK) == vision.FaceLandmarkerResult([], [], [])
    assert len(result.face_landmarks) == len(truth["face_landmarks"])
    np.testing.assert_allclose(xyz(result.face_landmarks[0]), truth["face_landmarks"][0], atol=2e-3)
    shapes, true = result.face_blendshapes[0], truth["face_blendshapes"][0]
    assert [(one.index, one.category_name) for one in shapes] == [(one["index"], one["category_name"]) for one in true]
    assert {one.display_name for one in shapes} == {""}
    assert [one["category_name"] for one in true].index("jawOpen") == vision.Blendshapes.JAW_OPEN
    np.testing.assert_allclose([one.score for one in shapes], [one["score"] for one in true], atol=0.02)
    np.testing.assert_allclose(
        result.facial_transformation_matrixes[0], truth["facial_transformation_matrixes"][0], atol=0.3
    )


def test_gestures_are_chosen_as_asked(weights, monkeypatch, detector):
    from sonjit.compat.mediapipe.tasks.python.vision import gesture_recognizer as module
    from sonjit.detectors.kinds import gesture_bundle
    from sonjit.weights import TaskBundle, load_bundle

    zeros = np.zeros((21, 3), np.float32)
    detector.detect = lambda *_, **__: [sonjit.Hand("Left", 1.0, zeros, zeros, handedness_score=0.9)]

    def recognized(custom=None, **chosen):
        classifiers = [mp.tasks.components.processors.ClassifierOptions(**one) for one in (chosen, custom or {})]
        options = vision.GestureRecognizerOptions(BaseOptions(), MODES.IMAGE, 1, 0.5, 0.5, 0.5, *classifiers)
        with vision.GestureRecognizer.create_from_options(options) as recognizer:
            return [(one.index, one.category_name, one.score) for one in recognizer.recognize(BLACK).gestures[0]]

    told = [Gesture("Victory", 0.9)]
    with monkeypatch.context() as patch:
        patch.setattr(module, "gesture_of", lambda _: told[0])
        assert recognized() == [(-1, "Victory", 0.9)]
        assert recognized(category_denylist=["Victory"]) == recognized(score_threshold=0.95) == []
        told[0] = Gesture("Horns", 0.8)
        assert recognized() == [(-1, "None", 0.8)]
        told[0] = None
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


@pytest.mark.golden
def test_people_with_their_masks(data, need):
    need("pose-detector", "body-lite", "selfie")
    goldens = sorted(data.glob("goldens/mediapipe/pose.*static.full.json"))
    sources = (data / json.loads(file.read_text("utf-8"))["source"] for file in goldens)
    source = next((path for path in sources if path.is_file()), None)
    if source is None:
        pytest.skip(f"no image of a person in {data}")
    image = mp.Image.create_from_file(str(source))
    options = vision.PoseLandmarkerOptions(
        BaseOptions(model_asset_path="pose_landmarker_lite.task"), num_poses=2, output_segmentation_masks=True
    )
    with vision.PoseLandmarker.create_from_options(options) as landmarker:
        people = landmarker.detect(image)
    options = vision.ImageSegmenterOptions(BaseOptions(), output_category_mask=True)
    with vision.ImageSegmenter.create_from_options(options) as segmenter:
        masks = segmenter.segment(image)
    mark = people.pose_landmarks[0][0]
    assert 0 <= mark.visibility <= 1
    assert 0 <= mark.presence <= 1
    person = people.segmentation_masks[0].numpy_view() > 0.5
    assert person.shape == (image.height, image.width)
    assert set(np.unique(masks.category_mask.numpy_view())) <= {0, 255}
    other = (masks.category_mask.numpy_view() == 0) != (masks.confidence_masks[0].numpy_view() > 0.5)
    assert other.mean() < 0.05  # they are scaled from the network's size in two ways


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
        boxes = [one.bounding_box for one in faces.detect(BLACK).detections]
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
        (BaseOptions(model_asset_buffer=bytes(50)), r"selfie_segmenter\.tflite: no TFLite file; only networks of"),
    ):
        with pytest.raises(RuntimeError, match=reason):
            masks(other)


def test_containers_are_messages_too():
    containers = mp.tasks.components.containers
    box, point = containers.BoundingBox(1, 2, 3, 4), containers.NormalizedKeypoint(0.5, 0.25, "eye", 0.125)
    category, nameless = containers.Category(3, 0.5, "shown", "name"), containers.Category(score=0.25)
    found = containers.Detection(box, [category, nameless], [point])
    for one in (
        containers.Landmark(1.0, 2.0, 3.0, 0.5, 0.25), containers.NormalizedLandmark(1.0, 2.0, 3.0, 0.5, 0.25),
        containers.NormalizedRect(0.5, 0.25, 0.125, 1.0, 0.5, 7), box, point, category, found,
        containers.DetectionResult([found, containers.Detection(box, [], [])]),
    ):  # fmt: skip
        assert type(one).create_from_pb2(one.to_pb2()) == one
    assert not containers.Landmark(1.0, 2.0, 3.0).to_pb2().HasField("visibility")
    # bytes of MediaPipe's own messages
    rect = containers.NormalizedRect(0.5, 0.25, 0.125, 1.0, 0.5, 7).to_pb2()
    assert rect.SerializeToString().hex() == "0d0000003f150000803e1d0000803f250000003e2d0000003f3007"
    first = containers.Detection(box, [containers.Category(0, 0.5)], [containers.NormalizedKeypoint(0.0, 0.25, "", 0)])
    assert first.to_pb2().SerializeToString().hex() == "1a040000003f22130801120808011002180320042a05150000803e"


def test_processing_options_as_a_turned_rectangle(need):
    need("face-short")
    containers, quarter = mp.tasks.components.containers, np.pi / 2
    options, rect, region = vision.ImageProcessingOptions, containers.NormalizedRect, containers.Rect(0.25, 0.5, 0.5, 1)
    with vision.FaceDetector.create_from_options(vision.FaceDetectorOptions(BaseOptions())) as task:
        assert task.convert_to_normalized_rect(None, BLACK) == rect(0.5, 0.5, 1, 1, 0)
        assert task.convert_to_normalized_rect(options(None, 90), BLACK) == rect(0.5, 0.5, 0.75, 4 / 3, -quarter)
        assert task.convert_to_normalized_rect(options(region, -90), BLACK) == rect(0.375, 0.75, 0.375, 1 / 3, quarter)
        for sides, reason in (((0.5, 0, 0.5, 1), "left < right"), ((0, 0, 1, 1.5), r"in \[0,1\]")):
            with pytest.raises(ValueError, match=reason):
                task.convert_to_normalized_rect(options(containers.Rect(*sides)), BLACK)


def test_drawings_are_those_of_solutions():
    marks = [(0.2 + 0.03 * k, 0.3 + 0.02 * (k % 5), 0.0) for k in range(21)]
    message = mp.framework.formats.landmark_pb2.NormalizedLandmarkList()
    for x, y, z in marks:
        message.landmark.add(x=x, y=y, z=z)
    points = [mp.tasks.components.containers.NormalizedLandmark(*mark) for mark in marks]
    drawn = [np.zeros((120, 160, 3), np.uint8) for _ in range(2)]
    utils, styles = vision.drawing_utils, vision.drawing_styles
    style = styles.get_default_hand_landmarks_style(), styles.get_default_hand_connections_style()
    utils.draw_landmarks(drawn[0], points, vision.HandLandmarksConnections.HAND_CONNECTIONS, *style)
    mp.solutions.drawing_utils.draw_landmarks(drawn[1], message, sorted(mp.solutions.hands.HAND_CONNECTIONS), *style)
    assert drawn[0].any()
    np.testing.assert_array_equal(*drawn)
    containers = mp.tasks.components.containers
    found = containers.Detection(containers.BoundingBox(10, 20, 30, 40), [], [containers.NormalizedKeypoint(0.5, 0.5)])
    utils.draw_detection(drawn[0], found)
    assert (drawn[0][20, 10] == utils.WHITE_COLOR).all()


def test_a_live_stream_gives_each_frame_to_its_callback(hand_landmarker):
    got = threading.Event()
    results = []

    def callback(result, image, timestamp_ms):
        results.append((result, image, timestamp_ms))
        got.set()

    live = hand_landmarker(running_mode=MODES.LIVE_STREAM, result_callback=callback)
    live.detect_async(BLACK, 7)
    assert got.wait(30)
    with pytest.raises(ValueError, match="must be monotonically increasing: 6 ms comes after 7 ms"):
        live.detect_async(BLACK, 6)
    got.clear()
    live.detect_async(BLACK, 8)
    assert got.wait(30)
    live.close()
    assert [(result.hand_landmarks, image, at) for result, image, at in results] == [([], BLACK, 7), ([], BLACK, 8)]
    with pytest.raises(ValueError, match="currently not running"):
        live.detect_async(BLACK, 9)


def test_the_catalogue_stands_for_bundles_that_are_not_there(weights):
    from sonjit.weights import load_bundle

    assert load_bundle("gesture_recognizer.task").file("hand_detector.tflite") == find_weight("palm-full")
