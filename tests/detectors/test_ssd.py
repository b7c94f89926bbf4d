import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sonjit.detectors.ssd import AnchorGrid, SingleShotDetector, blend_overlapping
from sonjit.geometry.boxes import RotatedBox

numbers = st.floats(-300, 300)


@st.composite
def detections(draw):
    count = draw(st.integers(0, 12))
    low = draw(arrays(np.float64, (count, 2), elements=numbers))
    size = draw(arrays(np.float64, (count, 2), elements=st.floats(0, 200)))
    scores = draw(arrays(np.float64, count, elements=st.floats(0.01, 1)))
    return scores, np.hstack([low, low + size]), draw(arrays(np.float64, (count, 7, 2), elements=numbers))


@given(detections())
@pytest.mark.slow
def test_blending_keeps_the_best_of_each_cluster_in_order(given_detections):
    scores, boxes, keypoints = given_detections
    found = blend_overlapping(scores, boxes, keypoints)
    assert bool(found) == bool(len(scores))
    assert len(found) <= len(scores)
    assert [d.score for d in found] == sorted((d.score for d in found), reverse=True)
    if found:
        assert found[0].score == scores.max()
    assert {d.score for d in found} <= set(scores)


@given(detections())
def test_a_blend_lies_among_its_members(given_detections):
    scores, boxes, keypoints = given_detections
    for found in blend_overlapping(scores, boxes, keypoints):
        assert found.box.shape == (4,)
        assert found.keypoints.shape == (7, 2)
        assert np.isfinite(found.box).all()
        assert (found.box >= boxes.min(axis=0) - 1e-6).all()
        assert (found.box <= boxes.max(axis=0) + 1e-6).all()


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


@pytest.mark.parametrize(("width", "height"), [(64, 64), (128, 64), (100, 200)])
def test_boxes_stand_in_pixels_of_the_image(network, width, height):
    image = np.full((height, width, 3), 9, np.uint8)
    (found,) = SingleShotDetector(network, GRID).find(image, 0.5)
    side, left, top = max(width, height), min(0, width - height) / 2, min(0, height - width) / 2
    np.testing.assert_allclose(
        found.box,
        np.array([0.75 - 0.125, 0.25 - 0.25, 0.75 + 0.125, 0.25 + 0.25]) * side + (left, top, left, top),
        atol=1e-6,
    )
    np.testing.assert_allclose(found.keypoints[0], np.array([0.875, 0.125]) * side + (left, top), atol=1e-6)
    assert found.keypoints.shape == (7, 2)
    assert found.score == pytest.approx(0.75)
    assert network.input.any()


def test_what_a_turned_area_shows_stands_in_pixels_of_the_image(network):
    image = np.full((300, 120, 3), 9, np.uint8)
    (found,) = SingleShotDetector(network, GRID).find_in(image, RotatedBox(100, 50, 80, 80, math.pi / 2), 0.5)
    # To the right in the area is downwards in the image, and down is to the left.
    np.testing.assert_allclose(found.box, [100 + 20 - 20, 50 + 20 - 10, 100 + 20 + 20, 50 + 20 + 10], atol=1e-6)
    np.testing.assert_allclose(found.keypoints[0], [100 + 30, 50 + 30], atol=1e-6)
    assert not network.input[0, :15].any()  # beyond the image's right border it is dark
    assert (network.input[0, 17:] == 9).all()


@pytest.mark.parametrize(("min_score", "count"), [(0.74, 1), (0.76, 0), (1.0, 0)])
def test_the_least_score_is_honoured(network, min_score, count):
    assert len(SingleShotDetector(network, GRID).find(np.zeros((9, 9, 3), np.uint8), min_score)) == count


@pytest.mark.parametrize("broken", [-1.0, math.nan, math.inf])
def test_impossible_boxes_are_dropped(network, broken):
    network.raw[0, 3, 2] = broken
    assert SingleShotDetector(network, GRID).find(np.zeros((9, 9, 3), np.uint8), 0.5) == []
