"""Visibility and calibrated handedness of the shipped heads, and unchanged results without them."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

import sonjit
from sonjit import InputError
from sonjit.detectors.kinds.hands import box_around_hand, load_hands
from sonjit.detectors.options import HandOptions
from sonjit.media import Header, load_frames, open_writer
from sonjit.results import Frame, Hand

MODELS = ("full", "lite")
FINGER = [6, 7, 8, 10, 11, 12]  # the index and middle fingers' last three


@pytest.fixture(scope="module")
def looked(hands, photo):
    """Return by model the hands without and with visibility."""
    return {
        model: tuple(hands(model=model, static_image=True, **more).detect(photo) for more in ({}, {"visibility": True}))
        for model in MODELS
    }


@pytest.mark.parametrize("model", MODELS)
def test_visibility_is_optional_and_does_not_change_keypoints(hands, photo, model):
    """Compare in f32, because bf16 fuses and rounds the layers of the network differently."""
    options = {"model": model, "static_image": True, "precision": "f32"}
    plain, seen = (hands(**options, **more).detect(photo) for more in ({}, {"visibility": True}))
    assert plain
    assert len(plain) == len(seen)
    for one, other in zip(plain, seen, strict=True):
        assert one.visibility is None
        np.testing.assert_allclose(one.keypoints, other.keypoints, atol=1e-3)
        np.testing.assert_allclose(one.keypoints_3d, other.keypoints_3d, atol=1e-6)
        assert one.score == pytest.approx(other.score, abs=1e-6)


@pytest.mark.parametrize("model", MODELS)
def test_visibility_is_a_probability_for_each_keypoint(looked, model):
    for hand in looked[model][1]:
        assert hand.visibility.shape == (21,)
        assert hand.visibility.dtype == np.float32
        assert ((hand.visibility >= 0) & (hand.visibility <= 1)).all()
        assert 0.5 <= hand.handedness_score <= 1
        assert (hand.appearance is None) == (model == "lite")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("colour", [(128, 128, 128), (30, 60, 140)])
def test_what_is_painted_over_is_seen_less(hands, photo, looked, model, colour):
    hand = looked[model][1][0]
    points = hand.keypoints[FINGER, :2]
    margin = 0.1 * np.ptp(hand.keypoints[:, 0])
    (left, top), (right, low) = (
        np.floor(points.min(0) - margin).astype(int),
        np.ceil(points.max(0) + margin).astype(int),
    )
    painted = photo.copy()
    painted[max(top, 0) : low, max(left, 0) : right] = colour
    detector = hands(model=model, static_image=True, visibility=True, min_presence_score=0.0)
    (after,) = detector.detect(painted, boxes=[box_around_hand(hand.keypoints)])
    assert after.visibility[FINGER].mean() < hand.visibility[FINGER].mean() - 0.2


@pytest.mark.slow
def test_hands_of_the_demo_are_on_the_right_side(hands, demo_clip):
    _, frames, truth = demo_clip
    detector = hands(static_image=True, visibility=True)
    sides = []
    for rgb, record in list(zip(frames, truth, strict=True))[::24]:
        for hand in detector.detect(rgb):
            distances = [
                np.linalg.norm(np.array(one["xy"]) - hand.keypoints[:, :2], axis=1).mean() for one in record["hands"]
            ]
            sides.append(record["hands"][int(np.argmin(distances))]["handedness"] == hand.handedness)
    assert len(sides) > 5
    assert np.mean(sides) > 0.9


def test_a_selfie_view_has_the_other_hand(hands, photo):
    sides = [
        [hand.handedness for hand in hands(static_image=True, visibility=True, mirrored=mirrored).detect(photo)]
        for mirrored in (False, True)
    ]
    assert sides[0]
    assert sides[0] == [{"Left": "Right", "Right": "Left"}[side] for side in sides[1]]


@pytest.mark.parametrize("ending", [".json", ".jsonl", ".csv"])
def test_tables_keep_visibility(tmp_path, looked, ending):
    frame = Frame.from_results(0, None, looked["full"][1])
    path = tmp_path / f"hands{ending}"
    with open_writer(path, Header(source="photo.jpg", width=8, height=8, fps=None, model="hands-full")) as writer:
        writer.write(frame)
    for wrote, read in zip(frame.hands, load_frames(path)[1][0].hands, strict=True):
        np.testing.assert_array_equal(wrote.visibility, read.visibility)


def test_a_keypoint_s_score_is_its_visibility(looked):
    (hand, *_), (plain, *_) = looked["full"][1], looked["full"][0]
    fields = hand.to_dict()
    for name in ("keypoints", "keypoints3D"):
        assert [np.float32(point["score"]) for point in fields[name]] == hand.visibility.tolist()
        assert "score" not in plain.to_dict()[name][0]
    assert Hand.from_dict(hand.to_dict(full=True)) == hand


def test_what_the_network_shows_of_a_hand_goes_with_it_and_into_no_file(hands, photo, looked):
    (hand, *_) = looked["full"][1]
    assert hand.appearance.shape == (21, 66)
    assert hand.appearance.dtype == np.float32
    assert (hand.appearance[:, :-2] >= 0).all()
    assert hand.appearance[:, :-2].any()
    np.testing.assert_allclose(hand.appearance[:, -2:].mean(0), 0, atol=1e-5)
    assert (hand.appearance[:, -2:] ** 2).mean() == pytest.approx(1, rel=1e-4)
    assert "appearance" not in hand.to_dict(full=True)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(hand)).appearance, hand.appearance)
    assert replace(hand, appearance=None) == hand
    kind = load_hands(HandOptions(static_image=True, precision="f32"))
    (box, *_) = kind.find(photo, 0.5)
    seen = kind.observe(photo, box)
    assert seen.appearance is not None
    assert kind.propagate(seen, np.zeros(2, np.float32), 0.5).appearance is None
    with sonjit.create_detector("hands", search="fast") as stream:
        assert all(result.appearance is None for result in stream.detect(photo))


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("face", {}, "face has no option visibility"),
        ("body", {}, "body has no option visibility"),
        ("hands", {"landmark_model": "mine.tflite"}, "published networks"),
    ],
)
def test_unavailable_visibility_is_reported(weights, kind, options, message):
    with pytest.raises(InputError, match=message):
        sonjit.create_detector(kind, visibility=True, **options)


@pytest.mark.slow
def test_onnx_runtime_sees_the_same(weights, photo):
    found = []
    for engine in ("openvino", "onnxruntime"):
        with sonjit.create_detector("hands", visibility=True, engine=engine, precision="f32") as detector:
            found.append(detector.detect(photo))
    assert len(found[0]) == len(found[1]) > 0
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(other.keypoints, one.keypoints, atol=0.05)
        np.testing.assert_allclose(other.visibility, one.visibility, atol=1e-3)
        assert other.handedness_score == pytest.approx(one.handedness_score, abs=1e-3)
