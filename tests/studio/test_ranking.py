import numpy as np

from sonjit.studio.annotation.marks import review_priorities
from sonjit.studio.triangulation.bones import HAND_BONES

from .projects import hands


def good(count=6):
    points = np.repeat(hands(1).reshape(1, 2, 21, 3), count, 0)
    lengths = np.linalg.norm(points[0][:, HAND_BONES[:, 1]] - points[0][:, HAND_BONES[:, 0]], axis=-1)
    return {
        "frames": np.arange(count) * 10,
        "points_m": points,
        "std_m": np.full((count, 2, 21), 0.001),
        "views": np.full((count, 2, 21), 10),
        "residual_px": np.full((count, 2, 21), 1.0),
        "lengths_m": lengths,
        "times_s": np.arange(count) * 0.1,
        "mesh_m": np.full((count, 2), 0.001),
        "expected": np.ones((count, 2), np.bool_),
    }


def worst(figures):
    needs = review_priorities(**figures)
    frame = max(needs, key=lambda index: needs[index].score)
    return frame, needs[frame].why


def test_each_reason_brings_its_frame_set_to_the_top():
    reasons = {
        "label": lambda f: f["points_m"].__setitem__((3, 0, slice(5, 15)), np.nan),
        "few views": lambda f: f["views"].__setitem__((3, 1), 2),
        "uncertain": lambda f: f["std_m"].__setitem__((3, 1), 0.02),
        "px off": lambda f: f["residual_px"].__setitem__((3, 0), 20.0),
        "possible hand": lambda f: f["mesh_m"].__setitem__((3, 0), 0.05),
    }
    for reason, spoil in reasons.items():
        figures = good()
        spoil(figures)
        frame, why = worst(figures)
        assert frame == 30
        assert reason in why


def test_a_jump_is_found_on_both_sides():
    figures = good()
    figures["points_m"][3:] += (1.0, 0, 0)
    needs = review_priorities(**figures)
    assert {frame for frame, need in needs.items() if "jumps" in need.why} == {20, 30}


def test_a_stretched_bone_counts():
    figures = good()
    figures["points_m"][2, 0, 8] += (0, -0.06, 0)
    figures["points_m"][2, 0, 12] += (0, -0.06, 0)
    assert worst(figures)[0] == 20
