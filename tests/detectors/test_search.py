from functools import partial
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

import sonjit
from sonjit.detectors.kinds.body import BodyObservation
from sonjit.detectors.kinds.hand_heads import TAPS, load_hand_heads, sampled_maps
from sonjit.detectors.observations import is_same_object
from sonjit.detectors.search.bodies import BodySearch
from sonjit.detectors.search.geometry import Proposal, is_same_instance, torso_size
from sonjit.detectors.search.network import _published_people
from sonjit.detectors.search.stills import Candidate
from sonjit.geometry.boxes import RotatedBox

NOWHERE = Proposal(RotatedBox(0, 0, 1, 1), 0.5, "test")


def a_find(x, head, size=100.0):
    points = np.zeros((33, 3), np.float32)
    points[:, 0] = x + np.linspace(0, size, 33)
    points[:, 1] = np.linspace(0, 2 * size, 33)
    ones = np.ones(33, np.float32)
    body = BodyObservation(0.9, points, points, ones, ones, np.zeros((2, 2), np.float32))
    return Candidate([body], NOWHERE, features={"own_head": float(head)})


is_same = partial(BodySearch.is_same, None)


def test_one_person_has_one_face_and_one_torso():
    assert is_same(a_find(0, 1), a_find(500, 1))
    assert is_same(a_find(0, 1), a_find(5, 2))
    assert not is_same(a_find(0, 1), a_find(500, 2))
    assert not is_same(a_find(0, -1), a_find(500, -1))


def test_two_faces_with_nearly_one_torso_are_one_person():
    torso = torso_size(a_find(0, 1).last)
    assert is_same(a_find(0, 1), a_find(0.4 * torso, 2))
    assert not is_same(a_find(0, 1), a_find(0.6 * torso, 2))


def test_one_inside_the_other_is_one_find_and_one_reading():
    points = np.random.default_rng(1).random((21, 3)).astype(np.float32) * 100
    inside = 50 + 0.7 * (points[::-1] - 50)
    assert is_same_instance(points, inside)
    readings = (points, 0.1), (inside, 0.2), (inside, 0.9)
    seen, again, other = (SimpleNamespace(keypoints=keypoints, left=left) for keypoints, left in readings)
    assert is_same_object(seen, again, merge_nested=True)
    assert not is_same_object(seen, other, merge_nested=True)
    assert not is_same_object(seen, again)


def test_boxes_of_faces_have_no_thorough_search_in_streams():
    with pytest.raises(sonjit.InputError, match="search='thorough' is not available for face box in streams"):
        sonjit.create_detector("face", model="box", search="thorough")


@pytest.mark.nightly_after(2)
@pytest.mark.parametrize("is_tall", [False, True])
@pytest.mark.files("real/tfjs-models/face-landmarks-detection/test_data/*.jpg")
def test_faces_and_people_of_very_wide_and_tall_images_are_found(file, is_tall):
    portrait = cv2.cvtColor(cv2.resize(cv2.imread(str(file)), (256, 256)), cv2.COLOR_BGR2RGB)
    scene = np.full((11 * 256, 256, 3) if is_tall else (256, 11 * 256, 3), 128, np.uint8)
    for at in (512, 2400):
        (scene[at : at + 256] if is_tall else scene[:, at : at + 256])[:] = portrait
    for kind in ("face", "body"):
        with sonjit.create_detector(kind, static_image=True, max_instances=9) as detector:
            found = detector.detect(scene)
            assert sum(result.score > 0.8 for result in found) == 2
            assert found.complete


@pytest.mark.nightly_after(1)
@pytest.mark.parametrize("model", ["box", "box-full"])
@pytest.mark.files("real/tfjs-models/face-landmarks-detection/test_data/*.jpg")
def test_boxes_of_small_faces_are_found_in_windows_once_and_the_published_ones_stay(file, model):
    """Use a scene with one large and two small portraits."""
    portrait = cv2.imread(str(file))
    scene = np.full((1200, 1600, 3), 128, np.uint8)
    scene[100:920, 60:880] = cv2.resize(portrait, (820, 820))
    for left in (950, 1300):
        scene[300:580, left : left + 280] = cv2.resize(portrait, (280, 280), interpolation=cv2.INTER_AREA)
    scene = scene[..., ::-1].copy()
    found = {}
    for search in ("fast", "thorough"):
        with sonjit.create_detector("face", model=model, search=search, static_image=True, max_instances=9) as one:
            found[search] = one.detect(scene)
    assert len(found["thorough"]) == 3
    for published in found["fast"]:
        assert any(np.array_equal(published.keypoints, one.keypoints, equal_nan=True) for one in found["thorough"])


def test_people_are_decoded_from_anchors_and_neighbours_are_suppressed():
    """Use anchors of the coarsest layers, whose boxes are known."""
    codes, logits = np.zeros((1917, 4), np.float32), np.full(1917, -9.0, np.float32)
    logits[[-1, -2, 0]] = 2.0, 1.0, -5.0
    people = _published_people(codes, logits, RotatedBox(150, 150, 300, 300), 0.2)
    assert [round(person.score, 3) for person in people] == [0.881, 0.731]
    assert people[0].box == pytest.approx((3.8, 3.8, 296.2, 296.2), abs=0.1)


def test_heads_return_the_maps_at_the_keypoints():
    rng = np.random.default_rng(0)
    channels = {28: 40, 14: 112, 7: 192}
    taps = [rng.normal(size=(1, channels[side], side, side)).astype(np.float32) for side in TAPS]
    points = rng.uniform(size=(21, 3)).astype(np.float32)
    read = load_hand_heads("full").read(points, [*taps, np.zeros((1, 1152), np.float32)])
    np.testing.assert_array_equal(read.maps, sampled_maps(taps, points))
