from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonjit.studio.annotation.marks import (
    JOINTS,
    MACHINE,
    Mark,
    agreement,
    conflicts,
    epipolar_lines,
    joint_names,
    mark_table,
    solve_joints,
)
from sonjit.studio.triangulation.bones import BONES, bone_lengths, bone_warnings, median_of_other_frames

from .projects import hands
from .rigs import random_rig

PAIRS = np.array(BONES)


def mark(annotator, x, y=0.0, *, frame=0, view="a", joint=0, state="seen"):
    place = (None, None) if state == "absent" else (x, y)
    source = "M" if annotator == MACHINE else "H"
    return Mark(f"{annotator}{frame}{view}{joint}", frame, view, joint, annotator, state, *place, source)


@given(st.lists(st.floats(0, 30), min_size=1, max_size=20))
def test_distances_between_two_people(apart):
    marks = [mark("Ann", 0.0, frame=k) for k in range(len(apart))]
    marks += [mark("Ben", 0.0, px, frame=k, joint=0) for k, px in enumerate(apart)]
    report = agreement(marks, (5.0,))
    assert report["all"]["pairs"] == len(apart)
    assert report["all"]["mean_px"] == pytest.approx(np.mean(apart))
    assert report["all"]["median_px"] == pytest.approx(np.median(apart))
    assert report["all"]["within"]["5"] == pytest.approx(np.mean(np.array(apart) <= 5))
    assert report["annotators"]["Ann | Ben"]["mean_px"] == report["joints"]["right_wrist"]["mean_px"]


def test_machines_and_single_marks_do_not_count():
    report = agreement([mark("Ann", 0.0), mark(MACHINE, 9.0), mark("Ben", 1.0, view="b")])
    assert report["all"]["pairs"] == 0
    assert report["all"]["mean_px"] is None
    assert report["joints"] == report["annotators"] == {}


def test_three_people_are_three_pairs_and_states_are_compared():
    report = agreement([mark("Ann", 0.0), mark("Ben", 3.0), mark("Cho", 0.0, state="absent")])
    assert report["all"]["pairs"] == 1
    assert report["all"]["states"] == 3
    assert report["all"]["same_state"] == pytest.approx(1 / 3)
    assert len(report["annotators"]) == 3


def test_conflicts_are_marks_far_apart_or_there_and_not_there():
    marks = [
        *(mark("Ann", 0.0, joint=1), mark("Ben", 4.0, joint=1)),
        *(mark("Ann", 0.0, joint=2), mark("Ben", 40.0, joint=2)),
        *(mark("Ann", 0.0, joint=3), mark("Ben", 0.0, joint=3, state="absent")),
        *(mark("Ann", 0.0, joint=4, state="absent"), mark("Ben", 0.0, joint=4, state="absent")),
    ]
    found = conflicts(marks)
    assert [(one.joint, one.apart_px) for one in found] == [(2, 40.0), (3, None)]


def test_joints_are_restored_from_their_projections():
    rig, truth = random_rig(5, 3), hands(1, 3)[0]
    pixels = rig.project(truth)
    marks = [
        Mark(f"{c}-{k}", 0, name, k, "Ann", "seen", *map(float, pixels[c, k]))
        for c, name in enumerate(rig.names)
        for k in range(JOINTS)
        if np.isfinite(pixels[c, k]).all() and (c < 2 or k < 40)
    ]
    solution = solve_joints(rig, mark_table(rig, marks))
    np.testing.assert_allclose(solution.points_m, truth, atol=1e-6)
    np.testing.assert_allclose(solution.projected_px, pixels, atol=1e-3)
    assert np.nanmax(solution.residual_px) < 1e-3


def test_one_mark_gives_a_line_through_the_joint_in_every_other_view():
    rig, truth = random_rig(4, 5), hands(1, 5)[0]
    pixels = rig.project(truth)
    table = mark_table(rig, [Mark("m", 0, rig.names[1], 7, "Ann", "seen", *map(float, pixels[1, 7]))])
    lines = epipolar_lines(rig, table, 7)
    assert rig.names[1] not in lines
    for name, line in lines.items():
        fine = np.concatenate([np.linspace(a, b, 50) for a, b in pairwise(line)])
        assert np.linalg.norm(fine - pixels[rig.index(name), 7], axis=1).min() < 2
    assert lines
    assert epipolar_lines(rig, table, 8) == {}


def test_weak_marks_pull_less():
    rig, truth = random_rig(3, 1, lens=False), hands(1, 1)[0]
    pixels = rig.project(truth)[:, 0]

    def error(state):
        shift = np.array([[0, 0], [0, 0], [12.0, 0]])
        marks = [
            Mark(str(c), 0, name, 0, "Ann", state if c == 2 else "seen", *map(float, pixels[c] + shift[c]))
            for c, name in enumerate(rig.names)
        ]
        return np.linalg.norm(solve_joints(rig, mark_table(rig, marks)).points_m[0] - truth[0])

    assert error("uncertain") < error("occluded") < error("seen")


def test_human_hands_are_not_warned_of_and_a_slipped_joint_is():
    truth = hands(5, 2)
    lengths = bone_lengths(truth, PAIRS)
    unknown = np.full(len(BONES), np.nan)
    assert bone_warnings(lengths[0], unknown) == []
    slipped = truth[0].copy()
    tip = joint_names().index("left_index_finger_tip")
    slipped[tip] += (0.0, -0.05, 0.0)
    assert tip in {end for warning in bone_warnings(bone_lengths(slipped, PAIRS), unknown) for end in warning.bone}


def test_a_bone_that_changes_between_frames_is_warned_of():
    truth = hands(5, 2)
    lengths = {frame: bone_lengths(joints, PAIRS) for frame, joints in enumerate(truth)}
    usual = median_of_other_frames(lengths, 4)
    np.testing.assert_allclose(usual, bone_lengths(truth[0], PAIRS), atol=1e-9)
    assert bone_warnings(bone_lengths(truth[4], PAIRS), usual) == []
    wrong = truth[4].copy()
    wrong[8] += 0.012 * (wrong[8] - wrong[7]) / np.linalg.norm(wrong[8] - wrong[7])
    (found,) = bone_warnings(bone_lengths(wrong, PAIRS), usual)
    assert (found.bone, found.against) == ((7, 8), "frames")
    assert np.isnan(median_of_other_frames({}, 0)).all()
