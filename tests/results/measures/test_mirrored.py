"""Mirrored results have the measures of the image that is not mirrored, whatever way they take."""

import json
from copy import copy
from functools import partial

import numpy as np
import pytest
from tests.results.measures.conftest import hand_with

from sonjit import Body, Face, Frame, Hand, Person
from sonjit.gestures import classifier
from sonjit.media import Header, convert_table, load_frames, open_writer
from sonjit.report.recording import recording_of
from sonjit.results import unmirrored
from sonjit.results.measures import measures
from sonjit.results.skeletons import load_skeleton

WIDTH = 640


def mirror_image(points, width=0):
    return (points * np.float32([-1, 1, 1]) + np.float32([width, 0, 0])).astype(np.float32)


def hand(side, rng):
    metres = (hand_with("11111", side).keypoints_3d + rng.normal(0, 0.01, (21, 3))).astype(np.float32)
    return Hand(side, 0.9, metres * 900 + np.float32([300, 200, 0]), metres, id=1)


def body(rng):
    names = load_skeleton("body_blazepose33").keypoints
    metres = rng.normal(0, 0.1, (33, 3))
    metres[:, 0] += [0.3 * (name.startswith("left") - name.startswith("right")) for name in names]
    metres[:, 1] += [0.5 * ("hip" in name) - 0.4 * ("ear" in name) for name in names]
    metres, ones = metres.astype(np.float32), np.ones(33, np.float32)
    return Body(0.9, metres * 200 + np.float32([300, 200, 0]), metres, ones, ones, id=1)


def face(rng):
    points = rng.normal(200, 40, (478, 3)).astype(np.float32)
    return Face(0.9, points, (100.0, 100.0, 300.0, 300.0), id=1)


MADE = {
    "right hand": partial(hand, "Right"),
    "left hand": partial(hand, "Left"),
    "body": body,
    "face": face,
    "person": lambda rng: Person(body(rng), hand("Left", rng), hand("Right", rng), face(rng)),
}


def as_selfie(result):
    """Return a result as a detector with `mirrored` finds it in the mirrored image: the person's sides, x reversed."""
    other = copy(result)
    if isinstance(result, Person):
        parts = (result.body, result.left_hand, result.right_hand, result.face)
        return Person(*(part and as_selfie(part) for part in parts))
    other.keypoints = mirror_image(result.keypoints, WIDTH)
    if result.keypoints_3d is not None:
        other.keypoints_3d = mirror_image(result.keypoints_3d)
    other.is_mirrored = True
    return other


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", MADE)
def test_every_measure_is_that_of_the_image_that_is_not_mirrored(kind, seed):
    plain = MADE[kind](np.random.default_rng(seed))
    found, expected = measures(as_selfie(plain)), measures(plain)
    assert any(abs(value) > 0.01 for value in expected.values())
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-4, nan_ok=True)


@pytest.mark.parametrize("kind", MADE)
def test_flipping_a_selfie_view_gives_the_image_that_is_not_mirrored(kind):
    plain = MADE[kind](np.random.default_rng(7))
    selfie = as_selfie(plain)
    assert selfie.is_mirrored
    assert not plain.is_mirrored
    assert not unmirrored(selfie, WIDTH).is_mirrored
    assert selfie.is_mirrored
    for part, other in zip(unmirrored(selfie, WIDTH).parts, plain.parts, strict=True):
        np.testing.assert_allclose(part.keypoints, other.keypoints, atol=1e-3)


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".csv", ".parquet"])
def test_tables_keep_the_fact(tmp_path, ending):
    rng = np.random.default_rng(7)
    plain = Person(body(rng), hand("Left", rng), None, face(rng))
    frames = [Frame(0, 0.0, people=[plain]), Frame(1, 0.1, people=[as_selfie(plain)])]
    path = tmp_path / f"table{ending}"
    with open_writer(path, Header(kind="people", width=WIDTH, height=480, options={"mirrored": True})) as writer:
        for frame in frames:
            writer.write(frame)
    _, read = load_frames(path)
    assert [[part.is_mirrored for part in frame.people[0].parts] for frame in read] == [[False] * 3, [True] * 3]
    for frame in read:
        found = measures(frame.people[0])
        expected = measures(plain)
        assert found["trunk_lean_rad"] == pytest.approx(expected["trunk_lean_rad"], abs=1e-4)


def test_tables_of_images_that_are_not_mirrored_do_not_mention_it(tmp_path):
    with open_writer(tmp_path / "plain.csv", Header(kind="hands")) as writer:
        writer.write(Frame(0, 0.0, hands=[hand("Left", np.random.default_rng(7))]))
    assert "mirrored" not in (tmp_path / "plain.csv").read_text().splitlines()[0]
    assert "mirrored" not in json.dumps(hand("Left", np.random.default_rng(7)).to_dict(full=True))


def test_a_converted_table_makes_the_same_character(tmp_path):
    frames = [Frame(k, k / 30, bodies=[body(np.random.default_rng(1))]) for k in range(4)]
    for name, given in (
        ("plain", frames),
        ("selfie", [Frame(k, k / 30, bodies=[as_selfie(f.bodies[0])]) for k, f in enumerate(frames)]),
    ):
        options = {"mirrored": True} if name == "selfie" else {}
        header = Header("clip.mp4", WIDTH, 480, 30.0, kind="bodies", options=options, version="1")
        with open_writer(tmp_path / f"{name}.jsonl", header) as writer:
            for frame in given:
                writer.write(frame)
        convert_table(tmp_path / f"{name}.jsonl", tmp_path / f"{name}.bvh")
    rows = [
        np.array([line.split() for line in (tmp_path / f"{name}.bvh").read_text().splitlines()[-4:]], float)
        for name in ("plain", "selfie")
    ]
    np.testing.assert_allclose(rows[0], rows[1], atol=0.01)


def test_reports_have_the_signs_of_the_image_that_is_not_mirrored():
    bodies = [body(np.random.default_rng(1)) for _ in range(10)]
    plain, selfie = (
        recording_of("a.mp4", "full", [Frame(k, k / 30, bodies=[change(one)]) for k, one in enumerate(bodies)], ())
        for change in (lambda one: one, as_selfie)
    )
    for name in ("trunk_lean_rad", "neck_flexion_rad"):
        assert abs(plain.angles[name][5]) > 2
        np.testing.assert_allclose(plain.angles[name], selfie.angles[name], atol=0.1)


@pytest.mark.parametrize("side", ["Left", "Right"])
def test_gestures_are_classified_in_the_shape_of_the_hand(side):
    plain = hand(side, np.random.default_rng(7))
    selfie = as_selfie(plain)
    np.testing.assert_allclose(classifier.features_of([selfie]), classifier.features_of([plain]), atol=1e-4)
