"""Results of tasks for photographs, compared with MediaPipe's outputs."""

import json
import threading

import numpy as np
import pytest

from sonjit.compat import mediapipe as mp

vision, BaseOptions = mp.tasks.vision, mp.tasks.BaseOptions
MODES = vision.RunningMode
BLACK = mp.Image(mp.ImageFormat.SRGB, np.zeros((48, 64, 3), np.uint8))


def image_of(data, image_format=mp.ImageFormat.SRGB):
    return mp.Image(image_format=image_format, data=data)


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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "verb", "networks"),
    [
        ("HandLandmarker", "detect", ["palm-full", "hand-full"]),
        ("GestureRecognizer", "recognize", ["palm-full", "hand-full"]),
        ("PoseLandmarker", "detect", ["pose-detector", "body-full"]),
        ("HolisticLandmarker", "detect", ["pose-detector", "body-full", "hand-recrop", "hand-full", "face-attention"]),
    ],
)
def test_lists_are_empty_without_people(need, name, verb, networks):
    need(*networks)
    found = []

    def make(mode=MODES.IMAGE, callback=None):
        options = getattr(vision, f"{name}Options")(BaseOptions(), running_mode=mode, result_callback=callback)
        return getattr(vision, name).create_from_options(options)

    with make() as task:
        still = getattr(task, verb)(BLACK)
    assert not any(vars(still).values())
    with make(MODES.VIDEO) as task:
        found += [getattr(task, f"{verb}_for_video")(BLACK, timestamp) for timestamp in (0, 30)]
    got = threading.Event()
    with make(MODES.LIVE_STREAM, lambda result, image, _: (found.append((result, image)), got.set())) as task:
        getattr(task, f"{verb}_async")(BLACK, 0)
        assert got.wait(30)
    assert found == [still, still, (still, BLACK)]
