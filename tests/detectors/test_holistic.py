"""People with their hands and face: each part belongs to the right person."""

import json
import math
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest

from sonjit import create_detector
from sonjit.detectors.kinds.body import BodyObservation
from sonjit.detectors.kinds.holistic import (
    _HAND_SHIFT,
    head_box,
    recropped_box,
)
from sonjit.geometry.boxes import RotatedBox, wrap_angle
from sonjit.media import open_source, rgb_from

STILLS = pytest.mark.files("goldens/mediapipe/pose.*.static.full.json")
VIDEOS = pytest.mark.files("goldens/mediapipe/pose.*[!p].track.full.json")  # without the gap of another golden
FRAMES = 24  # of a video, in which parts are lost and found again


def medium(file):
    """Return the image or clip of a golden, or skip synthetic ones that are not stored."""
    golden = json.loads(file.read_text("utf-8"))
    path = file.parents[2] / golden["source"]
    if not path.is_file():
        pytest.skip(f"{path.name} is not in the test data")
    return golden, path


@pytest.fixture(scope="module")
def holistic(weights):
    with create_detector("holistic", static_image=True, search="fast", max_instances=2) as detector:
        yield detector


@pytest.fixture(scope="module")
def bodies(weights):
    with create_detector("body", static_image=True, search="fast", max_instances=2) as detector:
        yield detector


@pytest.mark.nightly_after(2)
@pytest.mark.golden
@STILLS
def test_bodies_are_those_of_the_body_detector(file, holistic, bodies):
    _, path = medium(file)
    rgb = rgb_from(path)
    for person, body in zip(holistic.detect(rgb), bodies.detect(rgb), strict=True):
        np.testing.assert_array_equal(person.body.keypoints, body.keypoints)


@pytest.mark.nightly_after(2)
@pytest.mark.golden
@STILLS
def test_hands_and_face_are_where_the_body_has_them(file, holistic):
    _, path = medium(file)
    for person in holistic.detect(path):
        body = person.body
        for hand, wrist in ((person.left_hand, 15), (person.right_hand, 16)):
            if hand is not None:
                assert hand.handedness == ("Left" if wrist == 15 else "Right")
                size = np.ptp(hand.keypoints[:, :2], axis=0).max()
                assert np.linalg.norm(hand.keypoints[0, :2] - body.keypoints[wrist, :2]) < size
        if person.face is not None:
            x_min, y_min, x_max, y_max = person.face.box
            nose = body.keypoints[0, :2]
            assert x_min - (x_max - x_min) < nose[0] < x_max + (x_max - x_min)
            assert y_min < nose[1] < y_max


@pytest.mark.nightly_after(2)
@pytest.mark.golden
@STILLS
def test_two_people_have_the_results_of_single_images(file, holistic):
    """Show the same image twice, one below the other, and detect in the boxes of the single image."""
    _, path = medium(file)
    rgb = rgb_from(path)
    separate = holistic.detect(rgb)[:1]
    if not separate:
        pytest.skip(f"nobody is found in {path.name}")
    height = rgb.shape[0]
    box = holistic._loop.kind.find(rgb, 0.5)[0]
    both = holistic.detect(np.vstack([rgb, rgb]), boxes=[box, box._replace(cy=box.cy + height)])
    reach = box.height / 2 * (abs(np.cos(box.rotation)) + abs(np.sin(box.rotation)))
    if not 0 < box.cy - reach < box.cy + reach < height:
        pytest.skip(f"the box of {path.name} reaches over the seam")
    assert len(both) == 2
    for person, shift in zip(both, (0, height), strict=True):
        for mine, theirs in zip(person.parts, separate[0].parts, strict=True):
            moved = mine.keypoints[:, :2] - (0, shift)
            assert np.linalg.norm(moved - theirs.keypoints[:, :2], axis=1).mean() < 1


@pytest.mark.nightly_after(1)
@pytest.mark.golden
@VIDEOS
def test_everything_of_a_person_keeps_one_id(file, weights):
    _, path = medium(file)
    with create_detector("holistic", max_instances=1) as detector, open_source(path) as source:
        frames = [detector.detect(rgb, time=time) for _, time, rgb in islice(source, FRAMES)]
    assert all(len(people) == 1 for people in frames[1:])
    assert {part.id for people in frames for person in people for part in person.parts} == {1}


@pytest.mark.nightly_after(2)
@pytest.mark.golden
@STILLS
def test_all_parts_of_flipped_people_are_flipped(file, weights, holistic):
    _, path = medium(file)
    rgb = rgb_from(path)
    options = {"static_image": True, "search": "fast", "max_instances": 2}
    with create_detector("holistic", **options, flip_horizontal=True) as flipping:
        for mine, theirs in zip(flipping.detect(rgb), holistic.detect(rgb), strict=True):
            for a, b in zip(mine.parts, theirs.parts, strict=True):
                np.testing.assert_allclose(a.keypoints[:, 0], rgb.shape[1] - b.keypoints[:, 0], rtol=1e-5, atol=1e-2)
                assert a.keypoints.dtype == np.float32


def test_forced_boxes_without_a_person_give_no_person(holistic):
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    assert holistic.detect(noise, boxes=[RotatedBox(100, 100, 120, 120, 0.0)]) == []


@pytest.mark.parametrize("turn", [0.0, 0.4, -1.2, 2.9])
@pytest.mark.parametrize("box_turn", [0.0, 0.7])
def test_the_box_of_a_hand_points_from_its_lower_edge_to_its_centre(turn, box_turn):
    """The network gives the centre, and the middle of the lower edge, in pixels of its input."""
    rough, size, side = RotatedBox(300, 200, 120, 120, box_turn), 256, 80.0
    found = np.array([[128.0, 128], [128 - side / 2 * math.sin(turn), 128 + side / 2 * math.cos(turn)]], np.float32)
    network = SimpleNamespace(input=np.zeros((1, size, size, 3), np.uint8), run=lambda: [found.ravel()])
    box = recropped_box(np.zeros((400, 600, 3), np.uint8), rough, network)
    px = side * rough.width / size
    assert wrap_angle(box.rotation - turn - box_turn) == pytest.approx(0, abs=1e-5)
    assert box.width == box.height == pytest.approx(px, rel=1e-5)
    shift = -_HAND_SHIFT * px
    place = 300 + shift * math.sin(box.rotation), 200 - shift * math.cos(box.rotation)
    assert (box.cx, box.cy) == pytest.approx(place, abs=1e-3)


def test_the_box_of_a_head_is_centred_on_its_keypoints_with_level_eyes():
    points = np.full((33, 3), 500, np.float32)
    points[:11, :2] = 100, 100
    points[2, :2], points[5, :2] = (120, 90), (70, 110)  # the person's left and right eye
    seen = np.ones(33, np.float32)
    body = BodyObservation(0.9, points, points, seen, seen, np.zeros((2, 2), np.float32))
    box = head_box(body)
    assert (box.cx, box.cy) == pytest.approx((95, 100))
    assert box.rotation == pytest.approx(math.atan2(-20, 50))
    assert box.width == box.height == pytest.approx(3 * 50)
    seen[:11] = 0.05
    assert head_box(body) is None
