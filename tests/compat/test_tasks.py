"""`tasks.vision`: accepted arguments, errors and results."""

import json
import threading
import zipfile

import cv2
import numpy as np
import pytest

import sonjit
from sonjit.compat import mediapipe as mp
from sonjit.detectors.options import PUBLISHED_THRESHOLDS, GraphThresholds
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
    name_there = "sonjit.compat.mediapipe.tasks.python.vision._hands.load_selfie_segmenter"
    monkeypatch.setattr(name_there, lambda _: FakeSegmenter())
    task, options_type = getattr(vision, name), getattr(vision, f"{name}Options")

    def make(mode, callback=None, path=model):
        base = BaseOptions(model_asset_path=path)
        return task.create_from_options(options_type(base, running_mode=mode, result_callback=callback))

    got = threading.Event()
    callbacks = {MODES.IMAGE: None, MODES.VIDEO: None, MODES.LIVE_STREAM: lambda *_: got.set()}
    methods = {MODES.IMAGE: "", MODES.VIDEO: "_for_video", MODES.LIVE_STREAM: "_async"}
    turned, containers = vision.ImageProcessingOptions(rotation_degrees=-90), mp.tasks.components.containers
    regions = containers.Rect(0, 0, 1, 1), containers.rect.RectF(0.1, 0.2, bottom=0.8, right=0.9)
    for mode, callback in callbacks.items():
        with pytest.raises(ValueError, match=r"result callback (must be|should not be) provided"):
            make(mode, print if callback is None else None)
        for error in (ValueError, RuntimeError, FileNotFoundError):
            with pytest.raises(error, match=r"Unable to open file at /path/to/invalid/model\.tflite"):
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
                for region in regions:
                    with pytest.raises(ValueError, match="doesn't support region-of-interest"):
                        call(BLACK, *at, vision.ImageProcessingOptions(region))
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


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("FaceDetector", "blaze_face_short_range_mine.tflite"),
        ("ImageSegmenter", "selfie_segmenter_mine.tflite"),
        ("HolisticLandmarker", "holistic_landmarker_mine.task"),
        ("HandLandmarker", "hand_landmarker_mine.task"),
        ("PoseLandmarker", "pose_landmarker_mine.task"),
    ],
)
def test_a_missing_model_of_ones_own_is_not_replaced_by_the_published_one(tmp_path, task, name):
    options = BaseOptions(str(tmp_path / name))
    with pytest.raises(RuntimeError, match=name):
        getattr(vision, task).create_from_options(getattr(vision, f"{task}Options")(options))


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


@pytest.fixture
def golden(data):
    """Return a function for a still's golden of MediaPipe's Tasks API with a person, and its image."""

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
        assert marks[0].visibility == marks[0].presence == 0.0


@pytest.mark.golden
def test_a_turned_image_gives_results_in_its_own_frame(golden, hand_landmarker, monkeypatch):
    monkeypatch.setattr(vision.HandLandmarker, "turns_as_mediapipe", False)
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
    assert [(shape.index, shape.category_name) for shape in shapes] == [
        (one["index"], one["category_name"]) for one in true
    ]
    assert {shape.display_name for shape in shapes} == {""}
    assert [one["category_name"] for one in true].index("jawOpen") == vision.Blendshapes.JAW_OPEN
    np.testing.assert_allclose([shape.score for shape in shapes], [one["score"] for one in true], atol=0.02)
    np.testing.assert_allclose(
        result.facial_transformation_matrixes[0], truth["facial_transformation_matrixes"][0], atol=0.3
    )


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


@pytest.fixture
def portrait(data, read_rgb):
    """Return an image of a person with a visible face and both hands."""
    rgb = cv2.resize(read_rgb(data / "real" / "wild" / "mps_business.png"), None, fx=0.5, fy=0.5)
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
