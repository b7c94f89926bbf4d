import json
import math

import numpy as np
import pytest

from sonjit.detectors.kinds.face_networks import FULL_GRID, SHORT_GRID
from sonjit.detectors.ssd import AnchorGrid, SingleShotDetector, blend_overlapping
from sonjit.geometry.boxes import RotatedBox, box_iou


def test_members_count_by_their_score():
    boxes = np.array([[0, 0, 10, 10], [2, 0, 12, 10], [100, 100, 110, 110]], float)
    best, other = blend_overlapping(np.array([0.25, 0.75, 0.5]), boxes, boxes[:, None, :2])
    np.testing.assert_allclose(best.box, [1.5, 0, 11.5, 10])
    np.testing.assert_allclose(best.keypoints, [[1.5, 0]])
    assert best.score == 0.75
    np.testing.assert_allclose(other.box, boxes[2])


class FakeNetwork:
    """Network that gives the same values at one anchor for every image."""

    precision = "f32"

    def __init__(self, size, count, *, swapped=False):
        self.input = np.zeros((1, size, size, 3), np.uint8)
        self.raw, self.logits = np.zeros((1, count, 18), np.float32), np.full((1, count, 1), -50, np.float32)
        self.swapped = swapped

    def run(self):
        return [self.logits, self.raw] if self.swapped else [self.raw, self.logits]


GRID = AnchorGrid(input_size=64, strides=(32,))


@pytest.fixture(params=[False, True], ids=["boxes-first", "logits-first"])
def network(request):
    network = FakeNetwork(64, len(GRID.anchors()), swapped=request.param)
    network.logits[0, 3] = math.log(3)  # a score of 0.75, at the anchor with centre 0.75, 0.25
    network.raw[0, 3, :4] = 0, 0, 16, 32
    network.raw[0, 3, 4:6] = 8, -8
    return network


@pytest.mark.parametrize("broken", [-1.0, math.nan, math.inf])
def test_impossible_boxes_are_dropped(network, broken):
    network.raw[0, 3, 2] = broken
    assert SingleShotDetector(network, GRID).find(np.zeros((9, 9, 3), np.uint8), 0.5) == []


def test_a_detection_lies_in_pixels_of_the_image_in_its_square(network):
    """The anchor is at (150, 0) in the square of 200 px around the image."""
    detector, rgb = SingleShotDetector(network, GRID), np.zeros((100, 200, 3), np.uint8)
    (found,) = detector.find(rgb, 0.74)
    assert found.score == pytest.approx(0.75)
    np.testing.assert_allclose(found.box, (125, -50, 175, 50))
    np.testing.assert_allclose(found.keypoints[:2], [(175, -25), (150, 0)])
    assert [len(each) for each in detector.find_from(rgb, 0.7, 0.8, 0.0, 1.0)] == [1, 0, len(GRID.anchors()), 0]


def test_a_detection_has_at_least_the_minimum_score(network):
    network.logits[0, 3] = 0
    detector, rgb = SingleShotDetector(network, GRID), np.zeros((100, 200, 3), np.uint8)
    assert [len(each) for each in detector.find_from(rgb, 0.5, 0.501)] == [1, 0]


def test_a_detection_in_a_turned_square_has_an_upright_box(network):
    detector, rgb = SingleShotDetector(network, GRID), np.zeros((100, 200, 3), np.uint8)
    (found,) = detector.find_in(rgb, RotatedBox(100, 50, 80, 80, math.pi / 2), 0.5)
    np.testing.assert_allclose(found.box, (100, 60, 140, 80))
    np.testing.assert_allclose(found.keypoints[0], (130, 80))
    (found,) = detector.find_in(rgb, RotatedBox(100, 50, 80, 80), 0.5)
    np.testing.assert_allclose(found.box, (110, 10, 130, 50))


# The two settings of MediaPipe's own tests of its anchor generator.
PUBLISHED = [
    AnchorGrid(256, (8, 16, 32, 32, 32), min_scale=0.1171875, max_scale=0.75),
    AnchorGrid(
        300,
        (16, 32, 64, 128, 256, 512),
        aspect_ratios=(1.0, 2.0, 0.5, 3.0, 0.3333),
        min_scale=0.2,
        max_scale=0.95,
        fixed_size=False,
        reduce_lowest_layer=True,
    ),
]


@pytest.mark.golden
@pytest.mark.files("real/tfjs-models/shared/test_data/anchor_golden_file_*.json")
def test_anchors_match_mediapipes(file):
    expected = np.array(json.loads(file.read_text("utf-8")))
    fitting = [anchors for anchors in (grid.anchors() for grid in PUBLISHED) if len(anchors) == len(expected)]
    if not fitting:
        pytest.skip(f"no known setting gives {len(expected)} anchors")
    np.testing.assert_allclose(fitting[0], expected, atol=2e-5)


def test_clusters_have_more_overlap_than_the_threshold_with_their_best_box():
    """Compare with boxes one by one."""
    rng = np.random.default_rng(2)
    corners = rng.uniform(0, 60, (40, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(10, 50, (40, 2))], 1)
    scores, keypoints = rng.uniform(0.1, 1, 40), rng.uniform(0, 100, (40, 3, 2))
    left = sorted(range(40), key=lambda index: -scores[index])
    for found in blend_overlapping(scores, boxes, keypoints, 0.3):
        best = left[0]
        cluster = [index for index in left if box_iou(boxes[index], boxes[best]) > 0.3]
        left = [index for index in left if index not in cluster]
        assert found.score == scores[best]
        np.testing.assert_allclose(found.box, np.average(boxes[cluster], 0, scores[cluster]))
        np.testing.assert_allclose(found.keypoints, np.average(keypoints[cluster], 0, scores[cluster]))
    assert not left


def test_layers_of_one_stride_share_their_cells_and_an_interpolated_anchor_may_be_absent():
    anchors = SHORT_GRID.anchors()
    coarse = anchors[16 * 16 * 2 :].reshape(8, 8, 6, 4)  # two anchors at each of three layers
    rows, columns = np.mgrid[:8, :8]
    expected = np.stack([(columns + 0.5) / 8, (rows + 0.5) / 8, np.ones((8, 8)), np.ones((8, 8))], -1)
    np.testing.assert_allclose(coarse, np.repeat(expected[:, :, None], 6, 2), atol=1e-6)
    assert len(FULL_GRID.anchors()) == 48 * 48


def test_anchors_of_several_sizes_have_the_ratios_of_their_layers():
    """Compare with the scales 0.2 to 0.95 of six layers; the first layer has three anchors in a cell."""
    anchors, root = PUBLISHED[1].anchors(), math.sqrt(2)
    assert len(anchors) == 19 * 19 * 3 + (100 + 25 + 9 + 4 + 1) * 6
    np.testing.assert_allclose(
        anchors[:3, 2:], [(0.1, 0.1), (0.2 * root, 0.2 / root), (0.2 / root, 0.2 * root)], rtol=1e-6
    )
    np.testing.assert_allclose(anchors[3, :2], (1.5 / 19, 0.5 / 19), rtol=1e-6)
    second = anchors[19 * 19 * 3 :][:6]
    np.testing.assert_allclose(second[:, :2], 0.05, rtol=1e-6)
    np.testing.assert_allclose(second[:, 2] / second[:, 3], [1, 2, 0.5, 3, 0.3333, 1], rtol=1e-5)
    np.testing.assert_allclose(second[:, 2] * second[:, 3], [0.35**2] * 5 + [0.35 * 0.5], rtol=1e-5)
    np.testing.assert_allclose(anchors[-1], (0.5, 0.5, math.sqrt(0.95), math.sqrt(0.95)), rtol=1e-6)
    single = AnchorGrid(64, (32,), min_scale=0.2, max_scale=0.6, fixed_size=False).anchors()
    np.testing.assert_allclose(single[:2, 2:], [(0.4, 0.4), (math.sqrt(0.4), math.sqrt(0.4))], rtol=1e-6)
