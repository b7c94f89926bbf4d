"""`sonjit.detectors.network_files` finds the keypoints in the rows of YOLO networks of other projects."""

import json

import numpy as np
import pytest

import sonjit
from sonjit.detectors.kinds import KINDS
from sonjit.results import RESULT_TYPES

from ..support import constant_networks  # noqa: TID252  # one writer of networks for both files

pytest.importorskip("onnxruntime", reason="extra onnx")
K = 17
SIDE = 320
CELLS = sum((SIDE // stride) ** 2 for stride in (8, 16, 32))


def yolo_rows(instances, count, classes, dims, rng):
    """Return raw rows (N, 4 + C + dims K) like those of a network: small scores and keypoints around each cell."""
    steps = [np.stack(np.meshgrid(*2 * [np.arange(s / 2, SIDE, s)]), axis=-1).reshape(-1, 2) for s in (8, 16, 32)]
    centres = np.vstack(steps)
    points = centres[:, None] + rng.normal(size=(CELLS, count, 2)) * 30
    if dims == 3:
        points = np.dstack([points, rng.uniform(0, 1, points.shape[:2])])
    scores = rng.uniform(0, 0.005, (CELLS, classes))
    rows = np.hstack([centres, np.full((CELLS, 2), 40.0), scores, points.reshape(CELLS, -1)])
    for cell, (centre, label, places) in zip(rng.choice(CELLS, len(instances), replace=False), instances, strict=True):
        own = np.column_stack([places, np.full(count, 0.8)])[:, :dims]
        rows[cell] = *centre, 60, 90, *np.where(np.arange(classes) == label, 0.9, 0.001), *own.ravel()
    return rows


@pytest.fixture
def found_by(tmp_path):
    """Write a constant network with its file, and return the keypoints and scores that are found, by their x."""

    def found_by(output, count, text="", number=np.float32, engine="openvino"):
        constant_networks.write_constant(tmp_path / "constant.onnx", output, SIDE, number)
        names = json.dumps([f"k{k}" for k in range(count)])
        path = tmp_path / "other.toml"
        path.write_text(f'network = "constant.onnx"\ndecoder = "yolo"\n{text}\n[[parts]]\nkeypoints = {names}\n')
        sonjit.load_extension(str(path))
        options = {"static_image": True, "engine": engine, "max_instances": 9}
        with sonjit.create_detector("other", **options) as detector:
            return sorted(detector.detect(np.full((SIDE, SIDE, 3), 90, np.uint8)), key=lambda one: one.keypoints[0, 0])

    yield found_by
    KINDS.pop("other", None)
    RESULT_TYPES.pop("other", None)


FORMS = [(17, 1, 3), (17, 2, 3), (17, 3, 3), (17, 80, 3), (17, 1, 2), (17, 2, 2), (17, 18, 2), (3, 4, 2), (5, 6, 2),
         (1, 2, 2), (1, 1, 3), (1, 1, 2), (4, 5, 2), (133, 2, 3), (21, 4, 2)]  # fmt: skip


@pytest.mark.parametrize("unit", ["pixels", "fractions", "fractions of boxes"])
@pytest.mark.parametrize(
    ("count", "classes", "dims", "rows_first"), [(*form, number % 2 == 0) for number, form in enumerate(FORMS)]
)
def test_a_yolo_network_of_any_number_of_classes_gives_its_keypoints(found_by, count, classes, dims, unit, rows_first):
    rng = np.random.default_rng(3)
    places = [centre + rng.uniform(-30, 30, (count, 2)) for centre in ((80, 100), (250, 200))]
    instances = [((80, 100), 0, places[0]), ((250, 200), classes - 1, places[1])]
    rows = yolo_rows(instances, count, classes, dims, rng)
    if unit != "pixels":
        rows[:, :4] /= SIDE
    if unit == "fractions":
        rows[:, 4 + classes :].reshape(CELLS, count, dims)[..., :2] /= SIDE
    text = f"classes = {classes}" if (unit, dims) == ("fractions", 2) else ""
    found = found_by((rows if rows_first else rows.T)[None], count, text)
    assert len(found) == 2
    expected = sorted(places, key=lambda points: points[0, 0])
    np.testing.assert_allclose([one.keypoints[:, :2] for one in found], expected, atol=1e-3)
    assert [one.score for one in found] == pytest.approx([0.9, 0.9], abs=1e-4)
    assert {round(float(value), 3) for one in found for value in one.visibility} == {0.8 if dims == 3 else 1.0}


def test_further_outputs_of_a_yolo_network_do_not_count(found_by, monkeypatch):
    write_one = constant_networks.write_constant

    def write_two(path, output, *options):
        write_one(path, output, *options)
        constant_networks.add_nodes(path, [], {"output": output.shape, "mean": ()})

    places = np.full((3, 2), 100.0) + np.eye(3, 2) * 20
    rows = yolo_rows([((100, 100), 0, places)], 3, 1, 3, np.random.default_rng(4))
    monkeypatch.setattr(constant_networks, "write_constant", write_two)
    (found,) = found_by(rows[None], 3)
    np.testing.assert_allclose(found.keypoints[:, :2], places, atol=1e-3)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_rows_without_duplicates_in_half_precision(found_by, engine):
    rows = np.zeros((300, 6 + 3 * K))
    places = np.random.default_rng(1).integers(10, 200, (K, 2)).astype(float)
    for index in (0, 1):  # on top of each other, but of two classes
        rows[index] = 10, 20, 210, 220, 0.75, index, *np.column_stack([places + 40 * index, np.full(K, 0.5)]).ravel()
    found = found_by(rows[None], K, number=np.float16, engine=engine)
    np.testing.assert_allclose([one.keypoints[:, :2] for one in found], [places, places + 40], atol=1e-3)


def test_classes_suppress_only_their_own_duplicates(found_by):
    places = np.full((3, 2), 100.0) + np.eye(3, 2) * 20
    instances = [((100, 100), label, places + shift) for label, shift in ((0, 0), (0, 2), (1, 4))]
    found = found_by(yolo_rows(instances, 3, 2, 3, np.random.default_rng(4)).T[None], 3)
    assert len(found) == 2
    np.testing.assert_allclose(found[1].keypoints[:, :2] - found[0].keypoints[:, :2], 4, atol=3)


def test_an_image_without_instances_has_none(found_by):
    assert found_by(yolo_rows([], 3, 2, 3, np.random.default_rng(4)).T[None], 3) == []


@pytest.mark.parametrize("shape", [(2, 56, 2100), (56, 2100), (1, 1, 56, 2100)])
def test_classes_are_no_remedy_for_outputs_with_other_axes(found_by, shape):
    with pytest.raises(sonjit.InputError, match=r"which is not yolo of 17 keypoints$"):
        found_by(np.full(shape, 0.5), K)


@pytest.mark.parametrize(
    ("shape", "text", "message"),
    [
        ((1, 25200, 6 + 3 * K), "", "gives 1 x 25200 x 57, which is not yolo of 17 keypoints. Give classes"),
        ((1, 30, 2100), "", "gives 1 x 30 x 2100, which is not yolo of 17 keypoints. Give classes"),
        ((1, 58, 2100), "classes = 2", "gives 1 x 58 x 2100, which is not yolo of 17 keypoints and 2 classes"),
    ],
)
def test_outputs_of_other_yolo_networks_are_refused(found_by, shape, text, message):
    with pytest.raises(sonjit.InputError, match=message):
        found_by(np.random.default_rng(1).uniform(0, 300, shape), K, text)


@pytest.mark.parametrize("classes", [0, -1])
def test_a_yolo_network_has_a_class(found_by, classes):
    with pytest.raises(sonjit.InputError, match="input and classes must be positive"):
        found_by(np.full((1, 56, 2100), 0.5), K, f"classes = {classes}")


@pytest.mark.parametrize(("shift", "count"), [(10, 1), (11, 2)])
def test_boxes_of_one_class_that_overlap_by_seven_tenths_are_one_instance(found_by, shift, count):
    """Boxes of 60 x 60 have an IoU of 50 / 70 or 49 / 71."""
    rows = np.zeros((300, 6 + 3 * 2))
    for index in (0, 1):
        left = 100 + shift * index
        rows[index] = left, 100, left + 60, 160, 0.9 - 0.1 * index, 0, left, 100, 0.5, left + 60, 160, 0.5
    found = found_by(rows[None], 2)
    assert [round(one.score, 3) for one in found] == [0.9, 0.8][:count]
