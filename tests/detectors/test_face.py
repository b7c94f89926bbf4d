"""Faces compared with MediaPipe on the same images, and properties that need no reference."""

import json
import math
from contextlib import suppress
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

import sonjit
from conftest import reused
from sonjit import Face, InputError
from sonjit.detectors.kinds import face_networks
from sonjit.detectors.kinds.face import FaceMeshes, FaceObservation, box_around_detection, box_around_face
from sonjit.detectors.kinds.face_boxes import FaceBoxes
from sonjit.detectors.kinds.face_networks import _wire_fields
from sonjit.detectors.ssd import Detection
from sonjit.geometry.boxes import RotatedBox
from sonjit.media.drawing.heat_maps import corners_of
from sonjit.results.measures import measure_face

from .conftest import boxes_from, keypoint_distances, matched

MESHES = {False: "mesh", True: "attention"}
BOXES = ("box", "box-full")
STILLS = pytest.mark.files("goldens/mediapipe/facemesh.*.static*.json")
OVER_MOUTH = [234, 132, 172, 152, 397, 361, 454, 5]
TRACKED = pytest.mark.files("goldens/mediapipe/facemesh.*.track*.json")


@pytest.fixture(scope="module")
def faces(need):
    """Return a function that gives a new or reset face detector. Detectors are shared by tests."""
    need("face-mesh", "face-attention", "face-short", "face-full")
    with reused("face") as get:
        yield get


@pytest.fixture(scope="module")
def portrait(data, read_rgb):
    """Return an image with one face, and MediaPipe's result, from the first suitable golden."""
    for file in sorted(data.glob("goldens/mediapipe/facemesh.*.static*.json")):
        golden = json.loads(file.read_text("utf-8"))
        if len(golden["frames"][0]["instances"]) == 1:
            return read_rgb(data / golden["source"])
    pytest.skip(f"no golden of one face in {data}")


def overlap(a, b):
    """Return the intersection over union of two boxes (x_min, y_min, x_max, y_max)."""
    a, b = np.array(a), np.array(b)
    shared = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return shared / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared)


@pytest.mark.nightly_after(4)
@pytest.mark.golden
@STILLS
@pytest.mark.parametrize("precision", ["f32", "auto"])
def test_stills(file, precision, data, read_rgb, faces):
    golden = json.loads(file.read_text("utf-8"))
    config, expected = golden["config"], golden["frames"][0]["instances"]
    model, most = MESHES[config["refine_landmarks"]], config["max_num_faces"]
    detector = faces(model=model, max_instances=most, static_image=True, precision=precision)
    found = detector.detect(read_rgb(data / golden["source"]))
    assert len(found) == len(expected)
    if not expected:
        return
    pairs = matched(found, expected)
    assert np.mean([keypoint_distances(*pair) for pair in pairs]) < 0.3
    for face, instance in pairs:
        np.testing.assert_allclose(face.keypoints[:, 2], np.array(instance["keypoints"])[:, 2], atol=1.5)


@pytest.mark.nightly_after(3)
@pytest.mark.golden
@pytest.mark.files("goldens/mediapipe/facedet.*.json")
def test_boxes(file, data, read_rgb, faces):
    golden = json.loads(file.read_text("utf-8"))
    expected = golden["frames"][0]["instances"]
    detector = faces(model=BOXES[golden["config"]["model_selection"]], max_instances=99, static_image=True)
    rgb = read_rgb(data / golden["source"])
    found = detector.detect(rgb)
    assert len(found) == len(expected)
    size = np.array(rgb.shape[1::-1])
    for face, instance in zip(found, expected, strict=True):
        corner, extent = np.array(instance["box"]).reshape(2, 2) * size
        assert overlap(face.box, (*corner, *(corner + extent))) > 0.95
        assert face.score == pytest.approx(instance["score"], abs=0.01)
        assert np.abs(face.keypoints[:, :2] - np.array(instance["kps"]) * size).max() < 1


@pytest.mark.nightly_after(2)
@pytest.mark.golden
@TRACKED
def test_tracked_freely(file, golden_frames, faces):
    """Compare only the mean, because the tracker feeds its landmarks back and so amplifies rounding."""
    golden = json.loads(file.read_text("utf-8"))
    by_index = {int(frame["frame"]): frame["instances"] for frame in golden["frames"]}
    detector = faces(model=MESHES[golden["config"]["refine_landmarks"]], precision="f32", search_interval=1)
    distances = []
    for index, rgb in enumerate(golden_frames(file, golden)[1]):
        found = detector.detect(rgb)
        if index in by_index:
            assert len(found) == len(by_index[index])
            distances += [keypoint_distances(*pair) for pair in matched(found, by_index[index])]
    assert np.mean(distances) < 1


@pytest.mark.nightly_after(2)
@pytest.mark.golden
@TRACKED
def test_tracked_in_the_references_own_boxes(file, golden_frames, faces):
    golden = json.loads(file.read_text("utf-8"))
    frames = {int(frame["frame"]): frame for frame in golden["frames"]}
    detector = faces(model=MESHES[golden["config"]["refine_landmarks"]], precision="f32", static_image=True)
    distances = []
    for index, rgb in enumerate(golden_frames(file, golden)[1]):
        if index in frames and index - 1 in frames:
            boxes = boxes_from(frames[index - 1]["rois_next"], *rgb.shape[1::-1])
            (face,), (instance,) = detector.detect(rgb, boxes=boxes), frames[index]["instances"]
            distances.append(keypoint_distances(face, instance))
    if not distances:
        pytest.skip(f"{file.name} has no two frames in a row")
    assert np.mean(distances) < 0.1
    assert np.percentile(distances, 95) < 0.3


@pytest.mark.golden
@pytest.mark.files("goldens/mediapipe/facemesh.*.json")
def test_the_next_box_is_the_references(file):
    golden = json.loads(file.read_text("utf-8"))
    width, height = golden["size"]
    meshes = FaceMeshes(None, SimpleNamespace(input=np.zeros((1, 192, 192, 3)), output_sizes=[1404, 1]))
    for frame in golden["frames"]:
        boxes = boxes_from(frame.get("rois_next"), width, height)
        for box, instance in zip(boxes, frame["instances"], strict=True):
            seen = FaceObservation(1.0, np.array(instance["keypoints"], np.float32))
            np.testing.assert_allclose(meshes.box_after(seen), box, rtol=1e-3, atol=0.05)


@pytest.mark.golden
@pytest.mark.parametrize("model", ["attention", "box"])
def test_two_faces_side_by_side_keep_their_ids(model, portrait, faces):
    pair = np.hstack([portrait, portrait])
    detector = faces(model=model, max_instances=2)
    first, second = detector.detect(pair)
    assert {first.id, second.id} == {1, 2}
    left, right = sorted((first, second), key=lambda face: face.box[0])
    assert overlap(np.array(right.box) - (portrait.shape[1], 0, portrait.shape[1], 0), left.box) > 0.9
    before = {face.id: face.box for face in (first, second)}
    for _ in range(3):
        after = {face.id: face.box for face in detector.detect(pair)}
        assert after.keys() == before.keys()
        assert all(overlap(after[number], before[number]) > 0.9 for number in after)


@pytest.mark.golden
@pytest.mark.parametrize(("model", "count"), [("attention", 478), ("mesh", 468), ("box", 6), ("box-full", 6)])
def test_a_result_is_complete(model, count, portrait, faces):
    (face,) = faces(model=model, static_image=True).detect(portrait)
    assert face.keypoints.shape == (count, 3)
    assert face.keypoints.dtype == np.float32
    assert face.id is None
    assert 0 < face.score <= 1
    assert len(face.skeleton.keypoints) == count
    assert np.isnan(face.keypoints[:, 2]).all() == (count == 6)
    x_min, y_min, x_max, y_max = face.box
    assert x_min < face.keypoints[0, 0] < x_max
    assert y_min < face.keypoints[0, 1] < y_max
    assert Face.from_dict(json.loads(json.dumps(face.to_dict(full=True)))) == face


@pytest.mark.golden
@pytest.mark.parametrize("model", ["attention", "box"])
def test_flipping_mirrors_only_the_output(model, portrait, faces):
    (face,) = faces(model=model, static_image=True).detect(portrait)
    (flipped,) = faces(model=model, static_image=True, flip_horizontal=True).detect(portrait)
    width = portrait.shape[1]
    np.testing.assert_allclose(flipped.keypoints[:, 0], width - face.keypoints[:, 0], atol=1e-3)
    np.testing.assert_array_equal(flipped.keypoints[:, 1:], face.keypoints[:, 1:])
    assert flipped.box == pytest.approx((width - face.box[2], face.box[1], width - face.box[0], face.box[3]))


@pytest.mark.golden
@pytest.mark.parametrize("model", ["attention", "mesh", "box"])
def test_a_mirrored_face_has_the_persons_own_sides(model, portrait, faces):
    given = {"model": model, "static_image": True, "search": "fast"}
    given |= {} if model == "box" else {"blendshapes": True, "transform": True}
    (face,) = faces(**given).detect(portrait)
    (mirrored,) = faces(**given, mirrored=True).detect(np.ascontiguousarray(portrait[:, ::-1]))
    flipped = mirrored.keypoints[:, :2] * (-1, 1) + (portrait.shape[1], 0)
    assert np.abs(flipped - face.keypoints[:, :2]).max() < 0.12 * (face.box[2] - face.box[0])
    if model != "box":
        shapes = [list(one.blendshapes.values()) for one in (face, mirrored)]
        np.testing.assert_allclose(*shapes, atol=0.2)
        np.testing.assert_allclose(face.transform[:3, :3], mirrored.transform[:3, :3], atol=0.08)
        for one in (face, mirrored):
            np.testing.assert_allclose(measure_face(one)["head_yaw_rad"], measure_face(face)["head_yaw_rad"], atol=0.08)


@pytest.mark.nightly_after(5)
@pytest.mark.golden
@pytest.mark.parametrize(("turns", "mask"), [(1, False), (2, False), (3, False), (0, True), (2, True)])
@pytest.mark.parametrize(("search", "static"), [("fast", True), ("fast", False), ("auto", False)])
def test_faces_are_found_at_all_angles(turns, mask, search, static, portrait, faces):
    image = cv2.copyMakeBorder(portrait, 96, 96, 91, 91, cv2.BORDER_CONSTANT, value=(128, 128, 128))
    (face,) = faces(search="fast", static_image=static).detect(image)
    if mask:  # over mouth and chin, from ear to ear
        image = cv2.fillPoly(image, [face.keypoints[OVER_MOUTH, :2].round().astype(np.int32)], (225, 225, 225))
    turned_image, detector = np.ascontiguousarray(np.rot90(image, turns)), faces(search=search, static_image=static)
    (turned,) = [detector.detect(turned_image) for _ in range(10)][-1]  # a doubtful face is verified after 0.25 s
    before, after = (measure_face(one)["head_roll_rad"] for one in (face, turned))
    assert abs((before - after - turns * np.pi / 2 + np.pi) % (2 * np.pi) - np.pi) < 0.2


@pytest.mark.golden
@pytest.mark.parametrize("model", ["attention", "box"])
def test_smoothing_comes_to_rest_where_the_face_is(model, portrait, faces):
    shown = [portrait] * 3 + [np.roll(portrait, 7, axis=1)] * 40
    raw, smooth = (faces(model=model, smoothing=smoothing) for smoothing in (None, "one_euro"))
    pairs = [(raw.detect(rgb)[0], smooth.detect(rgb)[0]) for rgb in shown]
    np.testing.assert_array_equal(*(face.keypoints for face in pairs[0]))
    apart = [np.abs(one.keypoints[:, :2] - other.keypoints[:, :2]).mean() for one, other in pairs]
    assert max(apart) > 0.01
    assert apart[-1] < 1
    assert pairs[-1][0].box == pytest.approx(pairs[-1][1].box, abs=2)


@pytest.mark.parametrize(("model", "count"), [("attention", 478), ("mesh", 468), ("box", 6), ("box-full", 6)])
@pytest.mark.parametrize("shape", [(1, 1), (2, 300)])
def test_nothing_is_found_where_nothing_is(model, count, shape, faces):
    found = faces(model=model).detect(np.zeros((*shape, 3), np.uint8))
    assert found == []
    assert found.xy.shape == (0, count, 2)


def test_box_models_refuse_given_boxes(faces):
    with pytest.raises(InputError, match="model='mesh' or 'attention'"):
        faces(model="box").detect(np.zeros((9, 9, 3), np.uint8), boxes=[sonjit.RotatedBox(4, 4, 4, 4)])


class Detector:
    """Face detector with these faces, which notes its smallest score."""

    def __init__(self, *found, turned=()):
        self.found, self.turned = found, turned

    def find(self, rgb, min_score):
        self.min_score = min_score
        return [face for face in self.found if face.score >= min_score]

    def find_in(self, rgb, box, min_score):
        self.box = box
        return [face for face in self.turned if face.score >= min_score]

    def find_from(self, rgb, limit, min_score):
        return self.find(rgb, limit), self.find(rgb, min_score)


def detected(score=0.9, box=(10, 20, 50, 70)):
    corner = np.array(box[:2], float)
    return Detection(score, np.array(box, float), np.arange(12.0).reshape(6, 2) + corner - (10, 20))


@pytest.mark.parametrize(("mirrored", "order"), [(False, [0, 1, 2, 3, 4, 5]), (True, [1, 0, 2, 3, 5, 4])])
def test_a_face_box_is_that_of_its_detection(mirrored, order):
    kind = FaceBoxes(Detector(detected(), detected(0.4)), mirrored=mirrored)
    rgb = np.zeros((100, 100, 3), np.uint8)
    (seen,) = kind.search(rgb, 0.5)
    assert kind.box_after(seen) == RotatedBox(30, 45, 40, 50)
    face = kind.result(rgb, seen, None)
    assert (face.score, face.box, face.id) == (0.9, (10, 20, 50, 70), None)
    assert kind.result(rgb, seen, SimpleNamespace(id=4)).id == 4
    np.testing.assert_array_equal(face.keypoints[:, :2], np.arange(12).reshape(6, 2)[order])
    assert np.isnan(face.keypoints[:, 2]).all()


def test_points_of_the_network_lie_in_its_crop():
    """The network gives pixels of its input, whose centre is that of the box."""
    corners = np.array([[0, 0, 0], [192, 0, 0], [192, 192, 0], [0, 192, 0], [96, 96, 48]], np.float32)
    mesh, logit = np.tile(corners, (94, 1))[:468], np.array([math.log(3)], np.float32)
    network = SimpleNamespace(
        input=np.zeros((1, 192, 192, 3), np.float32), output_sizes=[1404, 1], run=lambda: [mesh.ravel(), logit]
    )
    box = RotatedBox(100, 60, 80, 80, 0.4)
    seen = FaceMeshes(None, network).observe(np.zeros((120, 200, 3), np.uint8), box)
    assert seen.score == pytest.approx(0.75)
    np.testing.assert_allclose(seen.keypoints[:4, :2], corners_of(box), atol=1e-3)
    np.testing.assert_allclose(seen.keypoints[4], (100, 60, 20), atol=1e-3)


@pytest.mark.parametrize(
    ("sizes", "count"), [([1404, 1], 468), ([1434, 1], 478), ([1404, 1, 160, 142, 142, 10, 10], 478)]
)
def test_an_empty_result_has_the_shape_of_the_mesh(sizes, count):
    network = SimpleNamespace(input=np.zeros((1, 192, 192, 3)), output_sizes=sizes)
    assert FaceMeshes(None, network).keypoint_count == count


def field(number, content):
    """Return a field of a message: its number, its length in one or two bytes, and its bytes."""
    length = len(content)
    assert length < 1 << 21
    sizes = [length & 127 | 128, length >> 7 & 127 | 128, length >> 14]
    return bytes([number << 3 | 2, *sizes]) + content


def landmark(index):
    """Return the field of an index. As in the published file, there is none for 0."""
    return bytes([1 << 3, index & 127 | 128, index >> 7]) if index else b""


def canonical_face(vertices, weights):
    """Return a message as in `geometry_pipeline_metadata_landmarks.binarypb`."""
    mesh = field(3, vertices.astype("<f4").tobytes())
    basis = b"".join(
        field(2, landmark(index) + bytes([2 << 3 | 5]) + np.float32(weight).tobytes())
        for index, weight in weights.items()
    )
    return SimpleNamespace(name="a.task", read=lambda _: bytes([5 << 3, 1]) + field(1, bytes([8, 1]) + mesh) + basis)


def test_the_canonical_face_of_a_bundle_has_its_points_and_weights():
    vertices = np.random.default_rng(1).normal(size=(468, 5)).astype(np.float32)
    weights = {0: 0.75, 4: 0.5, 200: 0.25, 467: 1.0}
    face = face_networks.load_canonical_face(canonical_face(vertices, weights))
    np.testing.assert_array_equal(face.points, vertices[:, :3])
    assert {index: face.weights[index] for index in np.flatnonzero(face.weights)} == weights


@pytest.mark.parametrize(
    ("rows", "weights", "reason"),
    [
        (467, {4: 0.5, 200: 0.25, 467: 1.0}, "is damaged"),
        (468, {4: 0.5, 200: 0.25, 468: 1.0}, "is damaged"),
        (468, {4: 0.5, 200: 0.25}, "lists fewer than three landmarks"),
    ],
)
def test_an_impossible_canonical_face_is_refused(rows, weights, reason):
    with pytest.raises(InputError, match=f"a.task: geometry_pipeline_metadata_landmarks.binarypb {reason}"):
        face_networks.load_canonical_face(canonical_face(np.ones((rows, 5)), weights))


def test_fields_of_a_message_are_read_up_to_its_end():
    message = bytes([0x08, 0x96, 0x01, 0x12, 3, *b"abc", 0x1D, 1, 2, 3, 4, 0x21, *range(8), 0x28, 7])
    fields = [(1, 150), (2, b"abc"), (3, bytes([1, 2, 3, 4])), (4, bytes(range(8))), (5, 7)]
    assert list(_wire_fields(message)) == fields
    for end in range(1, len(message)):
        with suppress(ValueError, IndexError, KeyError):
            read = list(_wire_fields(message[:end]))
            assert read == fields[: len(read)]
            assert end in {3, 8, 13, 22}


@pytest.mark.parametrize("turn", [0.0, 0.6, math.pi / 2, 3.0])
def test_the_box_of_a_face_turns_with_its_eyes(turn):
    """The face is 80 wide and 100 high, around (200, 150)."""
    right, left = ([200 + side * 10 * math.cos(turn), 150 + side * 10 * math.sin(turn)] for side in (-1, 1))
    corners = (160, 100, 240, 200)
    box = box_around_face(corners, right, left)
    assert box == pytest.approx((200, 150, 150, 150, turn))
    assert box_around_face(corners, right, left, square=False, scale=2.0) == pytest.approx((200, 150, 160, 200, turn))
    moved = box_around_face(corners, right, left, scale=1.0, shift_y=-0.1)  # of the height
    expected = 200 + 10 * math.sin(turn), 150 - 10 * math.cos(turn), 100, 100, turn
    assert moved == pytest.approx(expected)
    points = np.array([right, left, *4 * [(0, 0)]], float)
    found = box_around_detection(Detection(0.9, np.array(corners, float), points))
    assert found == pytest.approx(box)


def test_a_face_in_a_head_has_a_box_around_its_keypoints():
    points = np.array([(180, 140), (220, 140), (200, 160), (200, 180), (160, 150), (240, 150)], float)
    detector = Detector(turned=[Detection(0.8, np.zeros(4), points)])
    network = SimpleNamespace(input=np.zeros((1, 192, 192, 3)), output_sizes=[1404, 1])
    head, rgb = RotatedBox(200, 150, 300, 300), np.zeros((400, 400, 3), np.uint8)
    kind = FaceMeshes(detector, network)
    assert kind.find_in(rgb, head, 0.5) == pytest.approx((200, 160 - 4, 160, 160, 0))  # twice the width of 80
    assert FaceMeshes(detector, network, shift_y=0.0).find_in(rgb, head, 0.5).cy == pytest.approx(160)
    assert kind.find_in(rgb, head, 0.9) is None


class MeshNetwork:
    """Face network with the brightest column of its crop as x of all keypoints, 10 px apart, and depth 19.2."""

    output_sizes = (1404, 1)

    def __init__(self):
        self.input = np.zeros((1, 192, 192, 3), np.uint8)

    def run(self):
        points = np.full((468, 3), (0, 96, 19.2), np.float32)
        points[:, 0] = self.input[0].sum((0, 2)).argmax()
        points[[33, 263], 0] += -10, 10
        return [points.reshape(1, -1), np.float32([[2.0]])]


def test_a_mirrored_face_is_observed_in_the_mirrored_crop():
    rgb = np.zeros((300, 400, 3), np.uint8)
    rgb[:, 250:252] = 255
    box = RotatedBox(200, 150, 192, 192)
    plain, mirrored = (FaceMeshes(None, MeshNetwork(), mirrored=one).observe(rgb, box) for one in (False, True))
    assert plain.score == pytest.approx(1 / (1 + math.exp(-2)))
    for seen, sign, edge in ((plain, 1, 250), (mirrored, -1, 252)):  # the edge of the bright columns that is first
        np.testing.assert_allclose(seen.keypoints[0], (edge, 150, 19.2), rtol=1e-5)
        assert seen.keypoints[263, 0] - seen.keypoints[33, 0] == pytest.approx(sign * 20)


@pytest.mark.parametrize(("rotation", "depth"), [(0.0, 19.2), (math.pi / 2, 19.2 * 400 / 300), (math.pi, 19.2)])
def test_the_depth_of_a_face_landmarker_is_stretched_with_the_aspect_of_the_image(rotation, depth):
    rgb, box = np.zeros((300, 400, 3), np.uint8), RotatedBox(200, 150, 192, 192, rotation)
    stretched, plain = (FaceMeshes(None, MeshNetwork(), stretches_depth=one).observe(rgb, box) for one in (True, False))
    np.testing.assert_allclose(stretched.keypoints[:, 2], depth, rtol=1e-5)
    np.testing.assert_allclose(plain.keypoints[:, 2], 19.2, rtol=1e-5)
