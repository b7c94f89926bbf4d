"""Parts of the search: proposals, heads, people and hands of the networks, and crops of bodies."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from sonjit.detectors.kinds.body import BodyObservation
from sonjit.detectors.search import geometry
from sonjit.detectors.search.bodies import clipped, only_box
from sonjit.detectors.search.geometry import oks
from sonjit.detectors.search.network import SIDE, VALUES, PeopleNetwork
from sonjit.detectors.ssd import AnchorGrid, Detection
from sonjit.geometry.windows import Window


def square(x=0.0, y=0.0, width=100.0, height=100.0):
    return np.array([(x, y, 0), (x + width, y, 0), (x, y + height, 0), (x + width, y + height, 0)], float)


def test_similarity_of_keypoints_falls_with_their_distance():
    points = square()
    assert oks(points, points) == 1
    assert oks(points, square(8)) == pytest.approx(math.exp(-1 / 2))
    assert oks(points, square(8), tolerance=0.16) == pytest.approx(math.exp(-1 / 8))
    assert oks(points, square(y=8, height=92), weights=np.array([1, 1, 3, 0])) == pytest.approx(
        (2 * math.exp(-1 / 2) + 3) / 5
    )
    assert oks(points, points, weights=np.zeros(4)) == 0


def body_of(eyes=(100, 100), mouth=(100, 140), torso=((130, 200), (70, 200), (120, 300), (80, 300))):
    points = np.zeros((33, 3), np.float32)
    points[:11, :2] = eyes
    points[[9, 10], :2] = mouth
    points[[11, 12, 23, 24], :2] = torso
    ones = np.ones(33, np.float32)
    return BodyObservation(0.8, points, points, ones, ones, np.zeros((2, 2), np.float32))


@pytest.mark.parametrize(("mouth", "turn"), [((100, 140), 0.0), ((140, 100), -math.pi / 2), ((100, 60), math.pi)])
def test_a_head_spans_forehead_to_chin_and_turns_with_the_face(mouth, turn):
    head = geometry.head_from_points(0.8, np.array([100.0, 100]), np.array(mouth, float))
    assert head.score == 0.8
    assert head.height == pytest.approx(2.41 * 40)
    np.testing.assert_allclose(head.middle, (100, 100) + 0.39 * (np.array(mouth) - 100))
    assert head.crop.width == head.crop.height == pytest.approx(1.5 * 2.41 * 40)
    assert abs(head.crop.rotation) == pytest.approx(abs(turn))
    assert turn in (math.pi, head.crop.rotation)


def test_heads_of_a_window_are_in_pixels_of_the_image():
    points = np.array([(20, 30), (40, 30), (30, 40), (30, 50), (0, 0), (0, 0)], float)
    detector = SimpleNamespace(find=lambda rgb, least: [Detection(0.7, np.zeros(4), points)] * (rgb.shape[0] == 80))
    (head,) = geometry.detected_heads(detector, np.zeros((200, 200, 3), np.uint8), Window(100, 50, 150, 130), 0.5)
    np.testing.assert_allclose(head.middle, (130, 80 + 0.39 * 20))
    np.testing.assert_allclose(head.down, (0, 2.41 * 20))
    assert head.score == 0.7


def test_an_image_is_grey_outside_a_person_and_its_margin():
    rgb = np.zeros((400, 300, 3), np.uint8)
    rows, columns = np.nonzero((only_box(rgb, (100, 100, 200, 300)) == 0).all(2))
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (80, 320, 90, 210)
    assert set(np.unique(only_box(rgb, (100, 100, 200, 300)))) == {0, 128}
    assert (only_box(rgb, (-50, -50, 400, 500)) == 0).all()
    assert clipped(body_of(torso=((-9, 50), (350, 450), (9, 9), (20, 20))), rgb) == (0, 0, 300, 400)


def people_network(codes=None, logits=None, *, peaks=(), boxes=True):
    """Return a network with these published boxes, and peaks (row, column, first value, values) of the own map."""
    values = np.zeros((SIDE, SIDE, VALUES), np.float32)
    values[..., [0, 6]] = -9
    for row, column, first, own in peaks:
        values[row, column, first : first + len(own)] = own
    shared = np.zeros((1, 32, SIDE, SIDE), np.float32)
    published = [np.zeros((1, 1917, 4), np.float32), np.full((1, 1917, 24), -9, np.float32)]
    for anchor, logit in (logits or {}).items():
        published[1][0, anchor, 4] = logit
    engine = SimpleNamespace(
        input=np.zeros((1, 300, 300, 3), np.uint8), run=lambda: [*(published if boxes else []), shared]
    )
    own = SimpleNamespace(input=np.zeros((1, SIDE, SIDE, 32), np.float32), run=lambda: [values[None]])
    return PeopleNetwork(engine, own)


CELL = 300 / SIDE
COMPLETE = Window(0, 0, 300, 300)
IMAGE = np.zeros((300, 300, 3), np.uint8)


def person_at(width, height, logit=2.0):
    """Return a peak of the map at the centre of the image, of a person with a size in cells."""
    return 19, 19, 6, (logit, -0.5, -0.5, math.log(width), math.log(height))


def test_people_of_both_networks_are_joined():
    network = people_network(logits={-1: 2.0}, peaks=[person_at(10, 20)])
    people, hands = network.find(IMAGE, COMPLETE, 0.2)
    assert hands == []
    assert [person.score for person in people] == pytest.approx([0.881, 0.881], abs=1e-3)
    own = min(people, key=lambda person: person.box[2] - person.box[0])
    assert own.box == pytest.approx((150 - 5 * CELL, 150 - 10 * CELL, 150 + 5 * CELL, 150 + 10 * CELL), abs=0.01)
    network = people_network(logits={-1: 3.0}, peaks=[person_at(36, 36)])
    (joined,), _ = network.find(IMAGE, COMPLETE, 0.2)
    assert joined.score == pytest.approx(1 / (1 + math.exp(-3)))
    assert joined.box == pytest.approx((150 - 18 * CELL,) * 2 + (150 + 18 * CELL,) * 2, abs=0.01)


def test_hands_have_places_sizes_and_turns_in_the_image():
    peaks = [(10, 12, 0, (1.0, 0.25, -0.25, math.log(4), 0.6, 0.8)), (30, 5, 0, (2.0, 0, 0, 9.0, 1, 0))]
    network, rgb = people_network(peaks=peaks), np.zeros((600, 600, 3), np.uint8)
    wide, small = network.find(rgb, Window(200, 100, 500, 400), 0.2, 0.3)[1]
    assert small.score == pytest.approx(1 / (1 + math.exp(-1)))
    expected = 200 + 12.75 * CELL, 100 + 10.25 * CELL, 4 * CELL, 4 * CELL, math.atan2(0.6, 0.8)
    assert small.box == pytest.approx(expected, abs=1e-3)
    assert small.bounds == pytest.approx(
        (expected[0] - 2 * CELL, expected[1] - 2 * CELL, expected[0] + 2 * CELL, expected[1] + 2 * CELL), abs=1e-3
    )
    assert wide.box.width == pytest.approx(math.exp(5) * CELL, rel=1e-4)  # no larger size is possible
    assert network.find(rgb, COMPLETE, 0.2, 0.75)[1] == [
        wide._replace(box=wide.box._replace(cx=5.5 * CELL, cy=30.5 * CELL))
    ]


def test_published_people_are_decoded_from_the_anchors_of_the_grid():
    """Centre codes are tenths of an anchor and size codes fifths of the log of its size, from y to x and h to w."""
    grid = AnchorGrid(
        300, (16, 32, 64, 100, 150, 300), (1.0, 2.0, 0.5, 3.0, 1 / 3), min_scale=0.2, max_scale=0.95, fixed_size=False,
        reduce_lowest_layer=True,
    ).anchors()  # fmt: skip
    codes, logits = np.zeros((1917, 4), np.float32), np.full(1917, -9.0, np.float32)
    chosen = {
        1910: (2.0, (-1.0, 0.5, 1.0, 0.5)),
        1367: (1.5, (0, 0, 0, 0)),  # aspect 1 : 2
        1500: (1.0, (1.0, -2.0, 0.5, -0.25)),
        300: (0.5, (0, 0, 2.0, 1.0)),
        1339: (-0.5, (0, 0, 0, 0)),  # aspect 1 : 3
    }
    for anchor, (logit, code) in chosen.items():
        logits[anchor], codes[anchor] = logit, code
    window, shift = Window(40, 60, 340, 360), np.array([40, 60, 40, 60])
    engine = SimpleNamespace(
        input=np.zeros((1, 300, 300, 3), np.uint8),
        run=lambda: [codes[None], np.tile(logits[None, :, None], 24), np.zeros((1, 32, SIDE, SIDE), np.float32)],
    )
    own = SimpleNamespace(
        input=np.zeros((1, SIDE, SIDE, 32), np.float32), run=lambda: [np.full((1, SIDE, SIDE, VALUES), -9, np.float32)]
    )
    network = PeopleNetwork(engine, own)
    expected = []
    for anchor, (logit, (y, x, h, w)) in chosen.items():
        cx, cy, width, height = grid[anchor]
        cx, cy = cx + x / 10 * width, cy + y / 10 * height
        width, height = width * math.exp(w / 5), height * math.exp(h / 5)
        box = 300 * np.array([cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2]) + shift
        expected.append((1 / (1 + math.exp(-logit)), box))
    rgb = np.zeros((400, 380, 3), np.uint8)
    inside = [
        (score, window.clipped(box)) for score, box in expected
        if not window.cuts(box, rgb) and box[3] - box[1] > 0.8 * (box[2] - box[0])
    ]  # fmt: skip
    found, _ = network.find(rgb, window, 0.2)
    assert len(found) == len(inside) > 2
    for person, (score, box) in zip(found, inside, strict=True):
        assert person.score == pytest.approx(score)
        np.testing.assert_allclose(person.box, box, atol=0.01)
