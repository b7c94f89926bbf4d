"""Steps of a person who walks across the image."""

import json

import numpy as np
import pytest
from tests.support.moving_people import INDEX, RATE_HZ, SPEED_PX_S, STANCE, STRIDE_S, walker

from sonjit.report import gait


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
    walk = found(walker(direction=direction), floor_m_per_px=0.01)
    assert walk.speed_m_s == pytest.approx(SPEED_PX_S * 0.01, rel=0.03)


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


def test_feet_that_move_in_place_have_no_gait():
    bodies = walker()
    for body in bodies:  # as in jumping jacks
        body.keypoints[:, 0] += 800 - body.keypoints[INDEX("left_hip"), 0]
    assert found(bodies) is None


def test_feet_with_few_steps_are_not_compared():
    names = {name for name, _, _ in found(walker(seconds=3.5)).rows()}
    assert names == {"steps", "cadence"}
    assert {"difference of step times", "stance left", "stance right"} <= {row[0] for row in found(walker()).rows()}


def test_values_have_the_errors_of_the_file_and_no_speed_without_a_height():
    content = json.loads(gait.ERRORS_FILE.read_text("utf-8"))
    rows = {name: (value, error) for name, value, error in found(walker()).rows()}
    assert "speed" not in rows
    assert all(text.endswith("per minute") for text in rows["cadence"])
    rows = {name: (value, error) for name, value, error in found(walker(), height_m=1.7).rows()}
    assert set(rows) == set(content["errors"])  # every value has an error
    for name in content["errors"]:
        assert float(rows[name][1].split()[0]) >= content["errors"][name]
