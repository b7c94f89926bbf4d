"""Computations of the lab against the functions of other libraries, on tiny, empty, off-grid and degenerate input."""

import math

import numpy as np
import pytest
import torch
import torchvision
from faster_coco_eval import COCO, COCOeval_faster
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, linalg, ndimage, spatial

from sonjit.geometry import rotations
from sonjit_lab import metrics
from sonjit_lab.metrics.keypoints import area_under
from sonjit_lab.metrics.surfaces import nearest_distances

SEEDS = st.integers(0, 10**6)
EDGES = st.sampled_from([-3.5, 0.0, 0.25, 1.0, 1.5, 7.0, 1e-3, 640.75])


@given(st.tuples(*[EDGES] * 4), st.tuples(*[EDGES] * 4))
def test_overlap_of_boxes(a, b):
    a, b = (tuple(sorted(box[::2]) + sorted(box[1::2])) for box in (a, b))
    a, b = ((box[0], box[2], box[1], box[3]) for box in (a, b))
    (expected,) = torchvision.ops.box_iou(*(torch.tensor([box], dtype=torch.float64) for box in (a, b)))[0].tolist()
    assert metrics.box_iou(a, b) == pytest.approx(0 if math.isnan(expected) else expected, abs=1e-12)


@given(SEEDS, st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([1e-3, 2.25, 900.0, 1e5]))
def test_similarity_of_keypoints(seed, labelled, area):
    rng = np.random.default_rng(seed)
    truth, found = rng.uniform(-5, 60, (2, 17, 2))
    flags = 2 * (rng.random(17) < labelled)
    x, y, width, height = rng.uniform(0, 40, 4).tolist()
    category, image = [{"id": 1, "name": "person"}], {"id": 7, "width": 64, "height": 64}
    annotation = {
        "id": 1, "image_id": 7, "category_id": 1, "iscrowd": 0, "area": area, "bbox": [x, y, width, height],
        "keypoints": np.column_stack([truth, flags]).ravel().tolist(), "num_keypoints": int((flags > 0).sum()),
    }  # fmt: skip
    result = {"image_id": 7, "category_id": 1, "score": 1.0,
              "keypoints": np.column_stack([found, np.full(17, 2)]).ravel().tolist()}  # fmt: skip
    gold = COCO({"images": [image], "annotations": [annotation], "categories": category})
    evaluated = COCOeval_faster(gold, gold.loadRes([result]), "keypoints", kpt_oks_sigmas=list(metrics.COCO_SIGMAS))
    evaluated.params.imgIds, evaluated.params.catIds = [7], [1]
    evaluated._prepare()
    expected = float(np.ravel(evaluated.computeOks(7, 1))[0])
    box = (x, y, x + width, y + height)
    own = metrics.object_keypoint_similarity(found, truth, flags, area=area, box=box)
    assert own == pytest.approx(expected, rel=1e-6, abs=1e-12)


@given(SEEDS, st.integers(1, 5), st.sampled_from([4, 8]), st.sampled_from([0.0, 0.2, 0.5]))
def test_largest_part_of_a_map(seed, side, connectivity, threshold):
    values = np.random.default_rng(seed).random((side, side + 2)).round(1)
    labels, count = ndimage.label(values > threshold * values.max(), np.ones((3, 3)) if connectivity == 8 else None)
    found = metrics.box_from_map(values, threshold, connectivity=connectivity)
    if not values.max() > 0:
        assert found is None
        return
    sizes = ndimage.sum_labels(np.ones_like(values), labels, range(1, count + 1))
    slices = [part for part, size in zip(ndimage.find_objects(labels), sizes, strict=True) if size == sizes.max()]
    assert found in [(part[1].start, part[0].start, part[1].stop, part[0].stop) for part in slices]


@given(SEEDS, st.integers(0, 40), st.integers(1, 40))
def test_nearest_vertices(seed, count, others):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(count, 3)), rng.normal(size=(others, 3)).round(rng.integers(0, 3))
    np.testing.assert_allclose(nearest_distances(a, b), spatial.cKDTree(b).query(a)[0], atol=1e-12)


@given(SEEDS, st.integers(3, 21), st.booleans())
def test_similarity_alignment(seed, joints, mirror):
    rng = np.random.default_rng(seed)
    predicted, truth = rng.normal(size=(2, joints, 3))
    a, b = predicted - predicted.mean(0), truth - truth.mean(0)
    if mirror:
        turn, scale = linalg.orthogonal_procrustes(a, b)
        expected = a @ turn * scale / (np.linalg.norm(a) + 1e-8) ** 2 + truth.mean(0)
    else:
        turn, _ = spatial.transform.Rotation.align_vectors(b, a)
        moved = turn.apply(a)
        expected = moved * (moved * b).sum() / np.square(a).sum() + truth.mean(0)
    (aligned,), *_ = metrics.similarity_aligned(predicted[None], truth[None], mirror=mirror)
    np.testing.assert_allclose(aligned, expected, atol=1e-6)


@given(SEEDS, st.integers(2, 30))
def test_area_under_a_curve(seed, count):
    rng = np.random.default_rng(seed)
    x, y = np.cumsum(rng.random(count) + 1e-6), rng.random(count)
    assert area_under(x, y) == pytest.approx(integrate.trapezoid(y, x) / (x[-1] - x[0]), abs=1e-12)


@given(SEEDS, st.sampled_from([0.0, 1e-9, 1e-4, 1.0, math.pi - 1e-7, math.pi, 7.0]))
def test_rotations(seed, angle):
    axis = np.random.default_rng(seed).normal(size=3)
    vector = axis / np.linalg.norm(axis) * angle
    expected = spatial.transform.Rotation.from_rotvec(vector).as_matrix()
    np.testing.assert_allclose(rotations.matrix_from_rotation_vector(vector), expected, atol=1e-12)
