"""Detectors of task bundles compared with MediaPipe's Tasks API on the same images and videos."""

import json
import zipfile

import cv2
import numpy as np
import pytest

import sonjit
from sonjit._util.errors import InputError
from sonjit.results.skeletons.faces import BLENDSHAPES
from sonjit.weights import find_weight

pytestmark = pytest.mark.golden


@pytest.fixture(scope="session")
def hand_bundle(weights, tmp_path_factory):
    """Return the bundle of a hand landmarker with the published networks."""
    path = tmp_path_factory.mktemp("bundles") / "hand_landmarker.task"
    with zipfile.ZipFile(path, "w") as file:
        file.write(weights["palm-full"], "hand_detector.tflite")
        file.write(weights["hand-full"], "hand_landmarks_detector.tflite")
    return path


@pytest.fixture(scope="session")
def face_bundle(data):
    path = data / "real" / "tasks" / "face_landmarker.task"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    return path


@pytest.fixture
def golden(file, data):
    """Return the results of MediaPipe's Tasks API by frame, and the frames (H, W, 3) RGB."""
    golden = json.loads(file.read_text("utf-8"))
    source = next((data / "real").glob(f"wild*/**/{golden['source']}"), None)
    if source is None:
        pytest.skip(f"{golden['source']} is not there")
    if golden["mode"] == "IMAGE":
        return golden["frames"], [cv2.imread(str(source))[..., ::-1]]
    capture = cv2.VideoCapture(str(source))
    return golden["frames"], [capture.read()[1][..., ::-1] for _ in golden["frames"]]


def shift(result, truth, rgb):
    """Return the mean distance in pixels between keypoints and relative landmarks [x, y, z]."""
    size = (rgb.shape[1], rgb.shape[0])
    return np.linalg.norm(result.keypoints[:, :2] - np.array(truth)[:, :2] * size, axis=1).mean()


def rotation_between_deg(a, b):
    """Return the angle between two similarity transforms (4, 4) in degrees."""
    first, second = (m[:3, :3] / np.cbrt(np.linalg.det(m[:3, :3])) for m in (a, b))
    return np.degrees(np.arccos(np.clip((np.trace(first.T @ second) - 1) / 2, -1, 1)))


@pytest.mark.nightly_after(2)
@pytest.mark.files("goldens/tasks/face.*.json")
def test_faces_of_a_bundle(golden, face_bundle):
    frames, images = golden
    if len(images) > 1:
        pytest.skip("a video")
    with sonjit.create_detector(
        "face", landmark_model=face_bundle, blendshapes=True, transform=True,
        max_instances=4, static_image=True, search="fast",
    ) as detector:  # fmt: skip
        faces = detector.detect(images[0])
    (truth,) = frames
    assert len(faces) == len(truth["face_landmarks"])
    for face, landmarks, shapes, matrix in zip(
        faces, *(truth[key] for key in ("face_landmarks", "face_blendshapes", "facial_transformation_matrixes")),
        strict=True,
    ):  # fmt: skip
        assert shift(face, landmarks, images[0]) < 0.5
        assert tuple(face.blendshapes) == BLENDSHAPES == tuple(shape["category_name"] for shape in shapes)
        np.testing.assert_allclose(list(face.blendshapes.values()), [shape["score"] for shape in shapes], atol=0.02)
        matrix = np.array(matrix)
        assert rotation_between_deg(face.transform, matrix) < 0.5
        np.testing.assert_allclose(face.transform[:3, 3], matrix[:3, 3], atol=0.01 * np.linalg.norm(matrix[:3, 3]))
        assert sonjit.Face.from_dict(json.loads(json.dumps(face.to_dict(full=True)))) == face


@pytest.mark.nightly_after(2)
@pytest.mark.files("goldens/tasks/hand.*.json")
def test_hands_of_a_bundle(golden, hand_bundle):
    frames, images = golden
    still = len(images) == 1
    with sonjit.create_detector(
        "hands", landmark_model=hand_bundle, search="fast", smoothing="published", search_interval=1,
        static_image=still, precision="f32",
    ) as detector:  # fmt: skip
        found = [
            detector.detect(image, time=frame.get("timestamp_ms", 0) / 1000)
            for frame, image in zip(frames, images, strict=True)
        ]
    counts = [(len(hands), len(frame["hand_landmarks"])) for hands, frame in zip(found, frames, strict=True)]
    assert sum(a != b for a, b in counts) <= len(counts) // 20  # a score at its threshold
    shifts = []
    for hands, frame, image in zip(found, frames, images, strict=True):
        for hand, landmarks, side in zip(hands, frame["hand_landmarks"], frame["handedness"], strict=False):
            assert hand.handedness == side[0]["category_name"]
            shifts.append(shift(hand, landmarks, image))
    # In a video every frame's crop comes from the last one's landmarks: what a decoder rounds otherwise adds up.
    assert np.mean(shifts) < 0.5 if still else np.median(shifts) < 1


HOLISTIC = {  # of mediapipe 0.10.21's HolisticLandmarker for person-tetiana.jpg: keypoints in pixels
    "face": {1: (271.92, 187.36), 152: (265.79, 223.43), 263: (297.54, 168.43), 473: (290.87, 167.47)},
    "left_hand": {8: (248.2, 592.43), 20: (277.28, 587.94)},
    "right_hand": {8: (181.54, 599.66), 20: (164.29, 588.42)},
}
HOLISTIC_BLENDSHAPES = {
    "mouthSmileRight": 0.7823,
    "mouthSmileLeft": 0.6989,
    "mouthUpperUpRight": 0.479,
    "jawOpen": 0.0265,
}


@pytest.mark.slow
def test_holistic_of_a_bundle(data, face_bundle, weights, tmp_path, read_rgb):
    path = tmp_path / "holistic_landmarker.task"
    members = {
        "hand_landmarks_detector": "hand-full", "hand_roi_refinement": "hand-recrop",
        "pose_detector": "pose-detector", "pose_landmarks_detector": "body-full",
    }  # fmt: skip
    path.write_bytes(face_bundle.read_bytes())
    with zipfile.ZipFile(path, "a") as file:
        for member, name in members.items():
            file.write(find_weight(name), f"{member}.tflite")
    rgb = read_rgb(data / "real" / "wild" / "person-tetiana.jpg")
    options = {"blendshapes": True, "static_image": True, "search": "fast", "precision": "f32"}
    with sonjit.create_detector("holistic", landmark_model=path, **options) as detector:
        (person,) = detector.detect(rgb)
    for part, points in HOLISTIC.items():
        found = getattr(person, part).keypoints[list(points), :2]
        assert np.linalg.norm(found - list(points.values()), axis=1).max() < 0.5, part
    assert tuple(person.face.blendshapes) == BLENDSHAPES
    for name, score in HOLISTIC_BLENDSHAPES.items():
        assert person.face.blendshapes[name] == pytest.approx(score, abs=0.02), name
    with pytest.raises(InputError, match="hand_model and face_model cannot be combined with"):
        sonjit.create_detector("holistic", landmark_model=path, hand_model="lite")


def test_faces_without_a_bundle_resemble_those_of_one(data, read_rgb, need, tmp_path):
    """Compare blendshapes from the mesh by correlation. MediaPipe's pose is 6 degrees lower and 18 % farther away."""
    need("face-short", "face-attention")
    for file in find_weight("face-attention").parent.iterdir():
        if file.suffix != ".task":
            (tmp_path / file.name).symlink_to(file)
    options = {"static_image": True, "search": "fast", "max_instances": 4, "models_dir": tmp_path}
    pairs, turns_deg, distances = [], [], []
    with sonjit.create_detector("face", blendshapes=True, transform=True, **options) as detector:
        for file in sorted((data / "goldens" / "tasks").glob("face.*.json")):
            golden = json.loads(file.read_text("utf-8"))
            source = next((data / "real").glob(f"wild*/**/{golden['source']}"), None)
            truth = golden["frames"][0]
            if golden["mode"] != "IMAGE" or source is None or not truth["face_landmarks"]:
                continue
            rgb = read_rgb(source)
            faces = detector.detect(rgb)
            for landmarks, shapes, matrix in zip(
                *(truth[key] for key in ("face_landmarks", "face_blendshapes", "facial_transformation_matrixes")),
                strict=True,
            ):
                face, matrix = min(faces, key=lambda one: shift(one, landmarks, rgb)), np.array(matrix)
                expected = {shape["category_name"]: shape["score"] for shape in shapes}
                assert len(face.blendshapes) == 22
                pairs += [(value, expected[name]) for name, value in face.blendshapes.items()]
                turns_deg.append(rotation_between_deg(face.transform, matrix))
                distances.append(face.transform[2, 3] / matrix[2, 3])
    if not pairs:
        pytest.skip("no photographs of faces")
    assert np.corrcoef(np.array(pairs).T)[0, 1] > 0.6
    assert max(turns_deg) < 18
    assert 0.75 < np.median(distances) < 0.95


def test_a_mirrored_canvas_mirrors_the_pose_too(data, face_bundle, read_rgb):
    options = {"landmark_model": face_bundle, "transform": True, "static_image": True, "search": "fast"}
    rgb = read_rgb(data / "real" / "wild" / "stock-emotions-a-3.jpg")
    with sonjit.create_detector("face", **options) as detector:
        (seen,) = detector.detect(np.ascontiguousarray(rgb[:, ::-1]))
    with sonjit.create_detector("face", flip_horizontal=True, **options) as detector:
        (flipped,) = detector.detect(rgb)
    assert rotation_between_deg(seen.transform, flipped.transform) < 1
    np.testing.assert_allclose(seen.transform[:3, 3], flipped.transform[:3, 3], atol=0.5)  # cm


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"blendshapes": True, "model": "box"}, "blendshapes=True requires the model attention or mesh, not box"),
        (
            {"landmark_model": "face_landmarker.task"},
            r"face_landmarker.task: no such task bundle; .* sonjit models add",
        ),
        ({"landmark_model": "hands"}, r"contains no face_landmarks_detector.tflite; it is a hand_landmarker bundle"),
        ({"landmark_model": "face", "model": "mesh"}, "model='mesh' cannot be combined with .*task"),
    ],
)
def test_missing_parts_of_bundles_are_named(hand_bundle, face_bundle, tmp_path, monkeypatch, options, reason):
    monkeypatch.setenv("SONJIT_HOME", str(tmp_path))
    options = dict(options)
    given = options.get("landmark_model")
    options["landmark_model"] = {"hands": hand_bundle, "face": face_bundle}.get(given, given)
    with pytest.raises(InputError, match=reason):
        sonjit.create_detector("face", **options)
