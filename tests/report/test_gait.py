"""Steps of a person who walks across the image."""

import json

import numpy as np
import pytest

from sonjit import Body
from sonjit.report import gait
from sonjit.results.skeletons import load_skeleton

INDEX = load_skeleton("body_blazepose33").index
RATE_HZ, STRIDE_S, STANCE = 30.0, 1.2, 0.62
SPEED_PX_S, LEG_PX, STEP_PX = 150.0, 300.0, 90.0


def walker(seconds=5.0, *, direction=1, late_s=0.0):
    """Return a person in each frame, whose right foot follows half a stride after the left, and `late_s` seconds."""
    bodies = []
    for time in np.arange(0, seconds, 1 / RATE_HZ):
        points = np.zeros((33, 3), np.float32)
        x = 800 - direction * 400 + direction * SPEED_PX_S * time
        points[:, :2] = x, 200
        for side, delay in (("left", 0.0), ("right", STRIDE_S / 2 + late_s)):
            phase = ((time - delay) / STRIDE_S) % 1
            # The foot goes back evenly during its stance, and forward during its swing.
            share = 1 - 2 * phase / STANCE if phase < STANCE else -1 + 2 * (phase - STANCE) / (1 - STANCE)
            foot = x + direction * STEP_PX * share
            points[INDEX(f"{side}_eye"), :2] = x, 100
            points[INDEX(f"{side}_shoulder"), :2] = x, 200
            points[INDEX(f"{side}_hip"), :2] = x, 400
            points[INDEX(f"{side}_knee"), :2] = (x + foot) / 2, 550
            points[INDEX(f"{side}_ankle"), :2] = foot, 690
            points[INDEX(f"{side}_heel"), :2] = foot - direction * 5, 700
            points[INDEX(f"{side}_foot_index"), :2] = foot + direction * 40, 700
        seen = np.ones(33, np.float32)
        world = (points - points[INDEX("left_hip")]) * np.float32(0.003)
        world[[INDEX(f"right_{name}") for name in ("hip", "shoulder", "knee", "ankle")], 2] = 0.2
        bodies.append(Body(1.0, points, world, seen, seen, id=1))
    return bodies


def found(bodies, **options):
    return gait.find_gait(bodies, (np.arange(len(bodies)) / RATE_HZ).tolist(), RATE_HZ, **options)


@pytest.mark.parametrize("direction", [1, -1])
def test_steps_of_a_walker_have_their_times(direction):
    walk = found(walker(direction=direction), height_m=1.7)
    assert 6 <= len(walk.steps) <= 8
    assert walk.cadence == pytest.approx(100, abs=3)
    for foot in gait.FEET:
        assert walk.step_time_s(foot) == pytest.approx(STRIDE_S / 2, abs=0.04)
        assert walk.stance(foot) == pytest.approx(100 * STANCE, abs=5)
    assert walk.asymmetry < 8
    metres_per_px = 1.7 * 0.936 / 600
    assert walk.speed_m_s == pytest.approx(SPEED_PX_S * metres_per_px, rel=0.03)


def test_uneven_steps_differ():
    walk = found(walker(late_s=0.15))
    assert walk.step_time_s("right") - walk.step_time_s("left") == pytest.approx(0.3, abs=0.08)
    assert walk.asymmetry > 30


def test_people_who_do_not_walk_have_no_gait():
    standing = walker()[:1] * 100
    assert found(standing) is None
    assert found([None] * 50) is None
    assert found([]) is None
    assert found(walker(seconds=1.0)) is None  # too few steps


def test_values_have_the_errors_of_the_file_and_no_speed_without_a_height():
    content = json.loads(gait.ERRORS_FILE.read_text("utf-8"))
    rows = {name: (value, error) for name, value, error in found(walker()).rows}
    assert "speed" not in rows
    assert rows["cadence"][0].endswith("per minute")
    for name in content["errors"]:
        assert float(rows[name][1]) >= content["errors"][name]
    rows = {name: error for name, _, error in found(walker(), height_m=1.7).rows}
    assert rows["speed"] == "not known"
