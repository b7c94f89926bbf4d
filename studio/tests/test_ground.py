from dataclasses import replace

import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit_studio import commands, exports
from sonjit_studio.bones import Part, body_length_m
from sonjit_studio.ground import floor_world, people_on_floor
from sonjit_studio.people import PeopleInSpace

from .rigs import random_rig
from .test_people import NAMES, body, one_body, walking, write_tables

FEET = [NAMES.index(f"{side}_{part}") for side in ("left", "right") for part in ("heel", "foot_index")]


def walker(turn_deg=20.0, *, seed=0, noise_m=0.004, line=False, steps=8):
    """Return a person who walks round a corner with z up, one foot on the floor at a time, and the world's rotation."""
    rng, rate, per_step = np.random.default_rng(seed), 30, 12
    person = body(seed) @ from_z_up()  # its transpose, from y down to z up
    person[:, 2] += 0.9
    person[FEET, 2] = 0.0
    points = np.zeros((steps * per_step, 33, 3))
    place = np.zeros(3)
    feet = {side: place.copy() for side in ("left", "right")}
    for step in range(steps):
        side = ("left", "right")[step % 2]
        ahead = np.array([0, 0.6, 0]) if line or step < steps // 2 else np.array([0.6, 0, 0])
        for row in range(per_step):
            share = (row + 1) / per_step
            lift = np.array([0, 0, 0.15 * np.sin(np.pi * share)])
            shown = person + place + share * ahead / 2
            for name in feet:
                rows = [NAMES.index(f"{name}_{part}") for part in ("heel", "foot_index")]
                moved = share * ahead + lift if name == side else 0.0
                shown[rows] = person[rows] * (0 if line else 1, 1, 1) + feet[name] + moved
            points[step * per_step + row] = shown
        feet[side] = feet[side] + ahead
        place = place + ahead / 2
    R = matrix_from_rotation_vector(np.radians(turn_deg) * np.array([0.6, 0.0, 0.8])) @ from_z_up()
    seen = (points + rng.normal(0, noise_m, points.shape)) @ R.T + (0.3, 1.2, 4.0)
    times = np.arange(len(points)) / rate
    part = Part("bodies", "body_blazepose33")
    return PeopleInSpace((part,), (1,), np.arange(len(points)), times, seen[:, None]), points, R


def from_z_up():
    """Return the rotation from z up to the frame of a camera, y down."""
    return np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])


@pytest.mark.parametrize(("turn_deg", "seed"), [(0.0, 0), (20.0, 1), (-35.0, 2)])
def test_the_floor_under_the_feet_becomes_zero(turn_deg, seed):
    people, truth, R = walker(turn_deg, seed=seed)
    new_R, _ = floor_world(people)
    tilt_deg = np.degrees(np.arccos((new_R @ R)[2, 2]))
    assert tilt_deg < 1.0
    up, y_up = (people_on_floor(people, y_up=is_y).points_m[:, 0] for is_y in (False, True))
    np.testing.assert_allclose(up[..., 2], truth[..., 2], atol=0.05)
    assert abs(np.median(up[..., 2] - truth[..., 2])) < 0.005
    np.testing.assert_allclose(y_up, np.stack([up[..., 0], up[..., 2], -up[..., 1]], -1))
    assert np.linalg.det(new_R) == pytest.approx(1)
    apart = (
        np.linalg.norm(np.diff(up, axis=1), axis=-1),
        np.linalg.norm(np.diff(people.points_m[:, 0], axis=1), axis=-1),
    )
    np.testing.assert_allclose(*apart)


def test_a_floor_that_feet_do_not_determine_is_refused():
    with pytest.raises(InputError, match="stand along a line"):
        floor_world(walker(line=True)[0])
    people = walker()[0]
    carried = people.points_m + np.cumsum(np.full((len(people.frames), 1, 1, 3), 0.1), 0)
    with pytest.raises(InputError, match="requires feet that stand: 0 still"):
        floor_world(replace(people, points_m=carried))
    hand = Part("hands", "hand_mediapipe21", "Right")
    hands = PeopleInSpace((hand,), (1,), np.arange(3), np.arange(3) / 30, np.zeros((3, 1, 21, 3)))
    with pytest.raises(InputError, match="applies only to bodies"):
        floor_world(hands)


def test_export_puts_the_floor_at_zero_in_each_format(tmp_path):
    people, truth, _ = walker()
    plain, trc, csv = tmp_path / "plain.trc", tmp_path / "people.trc", tmp_path / "people.csv"
    exports.export_people(people, plain)
    exports.export_people(people, trc, floor=True)
    exports.export_people(people, csv, floor=True)
    row = np.array(trc.read_text().splitlines()[6].split("\t")[2:], float).reshape(33, 3)
    np.testing.assert_allclose(row[:, 1], 1000 * truth[0, :, 2], atol=50)
    first = np.array([line.split(",")[5:] for line in csv.read_text().splitlines()[1:34]], float)
    np.testing.assert_allclose(1000 * first[:, [0, 2]], row[:, :2], atol=0.01)
    assert plain.read_text() != trc.read_text()
    for name, figure in (("people.glb", None), ("people.svg", None), ("angles.csv", "angles")):
        with pytest.raises(InputError, match=r"--floor applies only to keypoints as \.c3d, \.trc, \.csv"):
            exports.export_people(people, tmp_path / name, figure, floor=True)


def test_bodies_of_no_persons_size_are_noticed(tmp_path, capsys):
    rig, truth = random_rig(4, 4, distance_m=4.0, half=True), walking(1)
    pixels = rig.project(truth)
    cameras, tables = write_tables(tmp_path, rig, lambda view, row: [one_body(pixels[view, row, 0])], "bodies")
    commands.triangulate_tables(cameras, tables, out=tmp_path / "people.json")
    assert "unit" not in capsys.readouterr().err
    made = cameras.read_text()
    text = made.replace('"unit": "m"', '"unit": "mm"')
    assert text != made
    cameras.write_text(text)
    commands.triangulate_tables(cameras, tables, out=tmp_path / "people.json")
    assert "is the unit of" in capsys.readouterr().err
    assert body_length_m(truth[:, 0]) == pytest.approx(1.4, abs=0.1)
