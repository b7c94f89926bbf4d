"""`sonjit report`: its page as HTML and PDF, and one line for each wrong call."""

import json
import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from unittest.mock import Mock

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.moving_people import INDEX, body_with, frames_of, knees_of, squat

from sonjit import Body, Frame, InputError
from sonjit.media import Header, draw_frame, open_writer
from sonjit.media.sources.base import SourceFrame
from sonjit.report import comparison, errors, joint_angles, pictures
from sonjit.report.angles import filtered, local_rates
from sonjit.report.contents import axis_ends
from sonjit.report.motion_files import trc_text, write_motion
from sonjit.report.recording import recording_of
from sonjit.results.skeletons import load_skeleton, mirrored_order
from sonjit.runs import hiding
from sonjit.runs.annotations import AngleLimits

KNEE = "left_knee_angle_rad"


def page_of(recording, shown=(), labels=None, **options):
    """Return the HTML page of a recording about its knees."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        joint_angles.write_page(path, [knees_of(recording)], [shown], labels=labels, **options)
        return path.read_text("utf-8")


def recorded(knees, **options):
    return recording_of("a.mp4", "full", frames_of(knees), (AngleLimits(KNEE),), **options)


def test_ranges_leave_out_single_frames_and_have_the_share_in_which_the_joint_was_seen():
    knees = [*squat(90), *[None] * 30, *[170] * 30]
    knees[20] = 20
    frames = frames_of(knees)
    for frame in frames[90:108]:
        frame.bodies[0].visibility[INDEX("left_ankle")] = 0
    recording = recording_of("a.mp4", "full", frames, ())
    (row,) = recording.rows([KNEE])
    assert row[2] == "80"  # of the 90 frames with the person
    assert "the person is in 90 of 120 images, 0.00 to 3.97 s, model full" in page_of(recording)
    assert 88 <= float(row[3]) <= 95
    assert 168 <= float(row[4]) <= 171
    error = errors.range_error_deg("full", "knee")
    span = float(row[4]) - float(row[3])  # of the printed ends, so that a reader finds the same difference
    assert row[5] == f"{span:.0f}"
    assert row[6] == f"{span - error:.0f} to {span + error:.0f}"


def test_long_gaps_stay_gaps_in_the_page_and_short_ones_are_filled():
    knees = [*[150] * 20, *[None] * 3, *[160] * 20, *[None] * 30, *[170] * 20]
    recording = recorded(knees)
    known = np.isfinite(recording.angles[KNEE])
    assert known[:43].all()
    assert not known[43:73].any()
    page = page_of(recording)
    knee = page[page.index('aria-label="knee in degrees"') :]
    paths = re.findall(r'<path d="([^"]*)"[^>]*style="[^"]*stroke: #d97706[^"]*"', knee)
    assert any(path.count("M") == 2 for path in paths)  # the line of the left knee begins twice


def test_sides_that_were_rarely_seen_are_not_compared():
    frames = frames_of(squat(90))
    for frame in frames[20:]:
        frame.bodies[0].visibility[INDEX("left_ankle")] = 0
    recording = recording_of("a.mp4", "full", frames, ())
    words = {row[0]: row[-1] for row in recording.side_rows}
    assert words["knee"] == "left was seen too rarely"
    assert words["hip"] in ("different", "within the error")


def test_keypoints_outside_the_image_are_not_seen():
    frames = frames_of(squat(90))
    for frame in frames[30:]:
        frame.bodies[0].keypoints[INDEX("left_ankle"), 0] = 650
    seen = np.isfinite(recording_of("a.mp4", "full", frames, (), size=(640, 2000)).angles[KNEE])
    assert seen[:30].all()
    assert not seen[30:].any()


def leaving(frames, first):
    """Move the left ankle to the left edge in one frame and out of it later. Between these, legs are exchanged."""
    order = mirrored_order(load_skeleton("body_blazepose33").keypoints)
    legs = [INDEX(f"{side}_{name}") for side in ("left", "right") for name in ("hip", "knee", "ankle")]
    for at, frame in enumerate(frames[first : first + 8]):
        (body,) = frame.bodies
        body.keypoints[INDEX("left_ankle"), 0] = -20 if at == 7 else 8
        if 0 < at < 7:
            for points in (body.keypoints, body.keypoints_3d):
                points[legs] = points[order][legs]


def test_limbs_that_the_image_cuts_are_not_seen_and_do_not_exchange_the_sides():
    frames = frames_of([*squat(90), *[170] * 30])
    for frame in frames:  # a step, in front of the trunk
        for side, ahead_m in (("left", -0.3), ("right", 0.3)):
            index = INDEX(f"{side}_ankle")
            frame.bodies[0].keypoints_3d[index, 0] += ahead_m
            frame.bodies[0].keypoints[index, 0] += 500 * ahead_m
    expected = recording_of("a.mp4", "full", frames, (), size=(2000, 2000)).angles["neck_flexion_rad"]
    leaving(frames, 70)
    angles = recording_of("a.mp4", "full", frames, (), size=(2000, 2000)).angles
    np.testing.assert_allclose(angles["neck_flexion_rad"], expected, atol=1e-6)
    seen = {side: np.isfinite(angles[f"{side}_knee_angle_rad"]) for side in ("left", "right")}
    assert np.flatnonzero(~seen["left"]).tolist() == [*range(70, 78)]
    assert np.flatnonzero(~seen["right"]).tolist() == []  # a short gap is filled
    assert np.isfinite(angles["left_elbow_angle_rad"]).all()


def test_repetitions_and_what_is_not_counted_have_rows():
    recording = recorded([*squat(90), *squat(80), *squat(85)[:40]])
    headings, rows = recording.bend_table
    assert headings == ("number", "joint", "begin s", "end s", "duration s", "left knee, most bent °")
    error = f"± {recording.errors_deg[KNEE]:.0f}"
    assert [(row[0], row[1], row[-1]) for row in rows] == [("1", "knee", f"90 {error}"), ("2", "knee", f"80 {error}")]
    assert [row[2] for row in recording.incomplete] == ["the recording ends before the joint is straight again"]
    recording = recorded([*squat(90)[25:], *squat(80)])
    assert [row[2] for row in recording.incomplete] == ["the recording begins during the movement"]
    recording = recorded([angle - 30 for angle in [*squat(90), *squat(80)]])
    assert [row[2] for row in recording.incomplete] == ["the joint is never straighter than 150°"] * 2
    recording = recorded([angle - 30 for angle in squat(90)], convention="clinical")
    assert [row[2] for row in recording.incomplete] == ["the joint is never straighter than 30°"]
    recording = recorded([*squat(90)[:40], *[None] * 40, *squat(90)[50:]])
    assert [row[2] for row in recording.incomplete] == ["the joint was not seen for more than 1 s"]


def test_the_headline_states_how_often_and_how_deep():
    recording = recorded([*squat(90), *squat(80), *[170] * 10])
    error = f"{recording.errors_deg[KNEE]:.0f}"
    assert recording.headline == f"2 repetitions of the knee, deepest left knee 80° (± {error}°) at 3.0 s"
    assert recorded([*squat(90), *[170] * 10]).headline.startswith("1 repetition of the knee, deepest left knee 90°")
    clinical = recorded([*squat(90), *squat(80), *[170] * 10], convention="clinical")
    assert clinical.headline == f"2 repetitions of the knee, deepest left knee 100° (± {error}°) at 3.0 s"
    (moment,) = recording.moments
    assert moment.frame.time == pytest.approx(3.0, abs=0.05)
    assert moment.value_deg == pytest.approx(80, abs=1)
    page = page_of(recording)
    assert page.index(recording.headline) < page.index("<table")
    still = recorded([*np.linspace(120, 160, 60)])
    assert re.fullmatch(r"left knee moved most, from 12\d° to 1[56]\d° \(± \d+°\)", still.headline)


def squatting(low=80, frames=60):
    """Return frames of a person in a side view who bends knees and hips on both sides."""
    made = frames_of([170.0] * frames)
    for share, frame in zip(np.sin(np.pi * np.arange(frames) / frames) ** 2, made, strict=True):
        (body,) = frame.bodies
        bend = np.radians(share * (170 - low) / 2 + 5)
        for side in ("left", "right"):
            hip, knee, ankle = (INDEX(f"{side}_{name}") for name in ("hip", "knee", "ankle"))
            depth = body.keypoints_3d[hip, 2]
            body.keypoints_3d[knee] = 0, -0.5, depth
            body.keypoints_3d[ankle] = -0.4 * np.sin(bend), -0.5 + 0.4 * np.cos(bend), depth
            moved = np.array([-0.4 * np.sin(bend), -0.5 - 0.4 * np.cos(bend), depth]) - body.keypoints_3d[hip]
            upper = [INDEX(f"{side}_{name}") for name in ("ear", "shoulder", "elbow", "wrist", "hip")]
            body.keypoints_3d[upper] += moved
        body.keypoints[:] = body.keypoints_3d * [500, 500, 0] + [400, 900, 0]
    return made


def test_an_exercise_of_the_legs_counts_squats_and_no_elbows():
    frames = squatting()
    for frame in frames:  # the arms bend and stretch as often
        share = np.sin(2 * np.pi * frame.index / 60) ** 2
        for side in ("left", "right"):
            wrist, elbow = INDEX(f"{side}_wrist"), INDEX(f"{side}_elbow")
            turn = np.radians(120 * share)
            body = frame.bodies[0]
            body.keypoints_3d[wrist] = body.keypoints_3d[elbow] + [0.3 * np.sin(turn), 0.3 * np.cos(turn), 0]
            body.keypoints[wrist] = body.keypoints_3d[wrist] * [500, 500, 0] + [400, 900, 0]
    recording = recording_of("a.mp4", "full", frames, None)
    assert {limits.measure for limits in recording.counted} == {KNEE, "right_knee_angle_rad"}
    assert recording.headline.startswith("1 squat, deepest ")
    assert [row[1] for row in recording.bend_table[1]] == ["knee"]
    assert set(recording.bends) == {"knee"}


def test_both_sides_of_one_movement_are_one_repetition():
    recording = recording_of("a.mp4", "full", squatting(), None)
    (bend,) = recording.bends["knee"]
    assert set(bend.lowest) == {KNEE, "right_knee_angle_rad"}


def test_the_clinical_convention_has_0_for_a_straight_knee():
    recording = recorded([*squat(90), *[170] * 10], convention="clinical")
    low, high = recording.ranges[KNEE]
    assert 8 <= low <= 12
    assert 85 <= high <= 92
    assert recording.bend_table[1][0][-1].startswith("90 ± ")
    assert "0°, and flexion is positive" in page_of(recording)


def test_exchanged_sides_are_exchanged_back():
    frames = frames_of([*squat(90), *squat(90)])
    order = mirrored_order(load_skeleton("body_blazepose33").keypoints)
    expected = recording_of("a.mp4", "full", frames, ()).angles[KNEE]
    for frame in frames[40:80]:
        (body,) = frame.bodies
        frame.bodies = [
            Body(1.0, body.keypoints[order], body.keypoints_3d[order], body.visibility, body.presence, id=3)
        ]
    np.testing.assert_allclose(recording_of("a.mp4", "full", frames, ()).angles[KNEE], expected, atol=1e-6)


def test_sides_stay_exchanged_in_frames_with_one_side():
    frames = frames_of([*squat(90), *squat(90)])
    order = mirrored_order(load_skeleton("body_blazepose33").keypoints)
    hidden = [INDEX(f"right_{name}") for name in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")]
    for index, frame in enumerate(frames):
        (body,) = frame.bodies
        seen = np.ones(33, np.float32)
        if 50 <= index < 70:
            seen[hidden] = 0
        if 40 <= index < 80:
            frame.bodies = [Body(1.0, body.keypoints[order], body.keypoints_3d[order], seen[order], seen, id=3)]
    found = recording_of("a.mp4", "full", frames, ()).angles
    expected = recording_of("a.mp4", "full", frames_of([*squat(90), *squat(90)]), ()).angles
    np.testing.assert_allclose(found[KNEE], expected[KNEE], atol=1e-6)
    assert np.isnan(found["right_knee_angle_rad"][50:70]).all()


def test_a_mirrored_recording_has_the_same_ranges():
    frames = frames_of([*squat(90), *squat(80)])
    recording = recording_of("a.mp4", "full", frames, ())
    for frame in frames:
        (body,) = frame.bodies
        pixels, world = body.keypoints * [-1, 1, 1] + [640, 0, 0], body.keypoints_3d * [-1, 1, 1]
        frame.bodies = [Body(1.0, pixels.astype("f4"), world.astype("f4"), body.visibility, body.presence, id=3)]
    np.testing.assert_allclose(
        recording_of("a.mp4", "full", frames, ()).ranges[KNEE], recording.ranges[KNEE], atol=1e-3
    )


def false_depth(depths_m):
    """Return frames with a straight left knee, whose ankle has false depths (N,) in metres."""
    frames = frames_of([179.0] * len(depths_m))
    for frame, depth_m in zip(frames, depths_m, strict=True):
        frame.bodies[0].keypoints_3d[INDEX("left_ankle"), 2] += depth_m
    return frames


def test_bones_have_less_depth_where_they_are_longer_than_in_the_image():
    found = recording_of("a.mp4", "full", false_depth([0.0] * 20 + [0.25] * 20), ()).angles[KNEE]
    assert found[5] == pytest.approx(179, abs=0.5)
    without_bound_deg = 180 - np.degrees(np.arctan2(0.25, 0.4))
    assert found[35] > without_bound_deg + 12


def test_the_bound_of_a_bone_comes_from_frames_in_which_it_is_seen(recwarn):
    frames = false_depth([0.25] * 20)
    expected = recording_of("a.mp4", "full", frames, ()).angles[KNEE][10]
    hidden = frames_of([179.0] * 10)
    for frame in hidden:
        frame.bodies[0].visibility[INDEX("left_ankle")] = 0
        frame.bodies[0].keypoints[INDEX("left_ankle"), 1] += 400
    found = recording_of("a.mp4", "full", [*frames, *hidden], ()).angles[KNEE]
    assert found[10] == pytest.approx(expected, abs=0.5)
    for frame in frames:
        frame.bodies[0].visibility[INDEX("left_wrist") :] = 0
    recording_of("a.mp4", "full", frames, ())
    assert [str(warning.message) for warning in recwarn] == []


def test_bones_that_always_point_at_the_camera_keep_their_depth():
    frames = frames_of([179.0] * 20)
    for frame in frames:
        (body,) = frame.bodies
        for side in ("left", "right"):
            for name in ("knee", "ankle", "foot_index"):  # turn the thigh by 60 degrees towards the camera
                body.keypoints_3d[INDEX(f"{side}_{name}")] += np.array([0, -0.2, -0.346])
                body.keypoints[INDEX(f"{side}_{name}"), 1] -= 500 * 0.2
    found = recording_of("a.mp4", "full", frames, ()).angles["left_hip_angle_rad"]
    assert found[10] == pytest.approx(120, abs=7)


def test_a_person_is_chosen_by_number():
    frames = [Frame(k, k / 30, bodies=[body_with(170), *([body_with(90, 7)] if k else [])]) for k in range(20)]
    assert recording_of("a.mp4", "full", frames, ()).person == 3
    recording = recording_of("a.mp4", "full", frames, (), person=7)
    assert (recording.person, recording.people) == (7, 2)
    assert "person 7 of 2" in page_of(recording)
    with pytest.raises(InputError, match=r"--person 5: a\.mp4 has #3, #7"):
        recording_of("a.mp4", "full", frames, (), person=5)
    with pytest.raises(InputError, match="no person found"):
        recording_of("a.mp4", "full", frames_of([None]), ())


def test_errors_of_the_page_are_those_of_the_file():
    content = json.loads(errors.FILE.read_text("utf-8"))
    assert set(content["models"]) == {"lite", "full", "heavy"}
    for model, joints in content["models"].items():
        recording = recording_of("a.mp4", model, frames_of(squat(90)), ())
        shown = {(row[0], row[1]): row[7] for row in recording.rows(recording.ranges)}
        for joint in ("elbow", "shoulder", "hip", "knee", "ankle"):
            found = joints[joint]  # the body is parallel to the image
            error = found["views"]["side"]["percentile_95"]
            error = found["views"]["all"]["percentile_95"] if error is None else error
            assert shown[joint, "left"] == f"{error:.0f}"
            assert errors.range_error_deg(model, joint) == found["range_percentile_95"]
            assert errors.difference_error_deg(joint, model) == found["difference_percentile_95"]
    page = page_of(recording)
    found = content["origins"]["heavy"]
    assert f"recordings: {found['recordings']}, images: {found['frames']}" in page


def test_sides_are_different_beyond_the_error_of_a_difference():
    limit = errors.difference_error_deg("knee", "full")
    for low, words in ((90, "different"), (170 - limit + 8, "within the error")):
        recording = recorded([*squat(low), *[170] * 10])  # the right knee stays straight
        (row,) = (row for row in recording.side_rows if row[0] == "knee")
        assert (row[-2], row[-1]) == (f"{limit:.0f}", words)
    assert page_of(recording).count("Film the movement from both sides") == 1


def test_joints_of_a_kind_share_an_axis_that_fits_their_values():
    recording = recorded([*squat(90), *[170] * 10])
    low, high = axis_ends(recording, "knee")
    assert axis_ends(recording, "elbow") == (low, high)
    known = [values[np.isfinite(values)] for joint in ("elbow", "shoulder", "hip", "knee")
             for values in recording.plots[joint].values()]  # fmt: skip
    assert low <= min(values.min() for values in known) < low + 10
    assert high - 10 < max(values.max() for values in known) <= high
    low, high = axis_ends(recording, "ankle")
    assert 40 <= high - low < 180


def test_curves_have_their_error_and_the_warning_is_above_the_numbers():
    recording = recorded([*squat(90), *[170] * 10])
    error = recording.errors_deg[KNEE]
    assert recording.legend("knee", "left") == f"left ± {error:.0f}°"
    page = page_of(recording)
    assert f"left ± {error:.0f}°" in page
    assert page.index("not a medical measurement") < page.index("<table")


def test_pages_have_captions_labels_and_any_name(tmp_path):
    recording = recording_of("bad\udcff $\\frac{$.mp4", "lite", frames_of(squat(90)), (AngleLimits(KNEE),))
    recording = knees_of(recording)
    first = recording.moments[0].caption
    assert first.startswith("left knee 90°, at ")
    labels = joint_angles.Labels("", "A <b>", "before", "2026-01-02")
    page = page_of(recording, [(first, np.zeros((20, 30, 3), np.uint8))], labels)
    wanted = "data:image/jpeg", r"bad\xff $\frac{$.mp4", first, "Name: A &lt;b&gt;", "Date: 2026-01-02", "Note: before"
    assert [text for text in wanted if text not in page] == []
    joint_angles.write_page(
        tmp_path / "a.pdf", [recording], [[(first, np.zeros((20, 30, 3), np.uint8))]], labels=labels
    )
    pdf = (tmp_path / "a.pdf").read_bytes()
    assert pdf[:4] == b"%PDF"
    assert b"/Title" in pdf
    joint_angles.write_page(
        tmp_path / "b.pdf", [recording], [[(first, np.zeros((20, 30, 3), np.uint8))]], labels=labels
    )
    assert (tmp_path / "b.pdf").read_bytes() == pdf


def test_pictures_show_the_angle_that_is_counted():
    frames = frames_of(squat(90))
    for frame in frames:
        shoulder = frame.bodies[0].keypoints[INDEX("left_shoulder"), :2]  # the hip moves more
        shoulder += 2 * (shoulder - frame.bodies[0].keypoints[INDEX("left_hip"), :2])
    for counted in ((AngleLimits("right_hip_angle_rad"),), (AngleLimits(KNEE),)):
        captions = [moment.caption for moment in recording_of("a.mp4", "full", frames, counted).moments]
        name = "left knee" if counted[0].measure == KNEE else "right hip"
        assert all(caption.startswith(name) for caption in captions), captions


def test_long_tables_of_a_pdf_continue_on_another_page(tmp_path):
    counts = []
    for repeats in (1, 36):
        path = tmp_path / f"{repeats}.pdf"
        joint_angles.write_page(path, [knees_of(recorded([*squat(90, 20)] * repeats))], [[]])
        counts.append(path.read_bytes().count(b"/Type /Page\n"))
    assert counts[1] > counts[0] > 0


def test_pages_without_angles_state_so_in_place_of_empty_tables_and_plots():
    frames = frames_of([170] * 20)
    for frame in frames:
        frame.bodies[0].visibility[INDEX("left_shoulder") :] = 0
    recording = recording_of("a.mp4", "full", frames, ())
    page = page_of(recording)
    assert "No angle was seen." in page
    assert [
        text
        for text in ("<table>", "How it was measured", "Ranges of left and right", "Angles over time")
        if text in page
    ] == []
    assert recording.headline == "No movement of a joint was seen"


def test_values_that_are_seen_for_a_moment_between_gaps_are_unknown():
    values = np.full(60, np.nan)
    values[:20] = 90.0
    values[40:42] = 150.0  # the median of few values is one of them
    values[50:53] = 100.0
    found = filtered(values, 30.0)
    assert np.flatnonzero(np.isfinite(found)).tolist() == [*range(20), 50, 51, 52]
    assert np.isfinite(filtered(values, 5.0)[40:42]).all()


@pytest.mark.parametrize(("before_hz", "rate_hz"), [(30, 5), (60, 15), (5, 30), (30, 30)])
def test_a_rate_that_changes_leaves_the_angles_of_a_movement_as_they_are_alone(before_hz, rate_hz):
    """The filters are in seconds: a cosine of 2 s after 4 s at rest at another rate has the range that it has alone."""
    times = np.arange(8 * rate_hz) / rate_hz
    still = np.arange(4 * before_hz) / before_hz
    movement = 120 + 50 * np.cos(np.pi * times)
    alone = filtered(movement, local_rates(times))
    after = filtered(np.append(np.full(len(still), movement[0]), movement), local_rates([*still, *(4 + times)]))
    shown = after[len(still) :]
    later = times > 0.5  # the edge of the recording is another neighbour than rest
    np.testing.assert_allclose(shown[later], alone[later], atol=0.01)
    assert (shown.min(), shown.max()) == pytest.approx((alone.min(), alone.max()), abs=0.5)


@given(st.floats(4, 240), st.integers(2, 200))
def test_the_rate_of_a_constant_recording_is_one_number(rate_hz, count):
    times = np.round(np.arange(count) / rate_hz, 4)
    rates = local_rates(times)
    assert len(rates) == count
    assert len(set(rates.tolist())) == 1
    assert rates[0] == pytest.approx(rate_hz, rel=0.03)


def test_a_page_names_the_joints_whose_ranges_depend_on_mirroring():
    content = json.loads(errors.FILE.read_text("utf-8"))["models"]
    for model, joints in content.items():
        page = page_of(recording_of("a.mp4", model, frames_of(squat(90)), ()))
        warned = {joint: value for joint, row in joints.items() if (value := row["mirrored_largest"] or 0) > 3}
        assert ("its mirror image differed" in page) == bool(warned)
        assert [joint for joint, value in warned.items() if f"{joint} {value:.0f}°" not in page] == []


def test_a_page_states_the_cuts_of_a_recording():
    cut = replace(recorded(squat(90)), cuts_s=(1.5, 2))
    assert "another scene begins at 1.50, 2.00 s, and a person has another number there" in page_of(cut)
    assert "another scene" not in page_of(recorded(squat(90)))


@pytest.mark.parametrize("ending", ["html", "pdf"])
def test_reports_that_hide_people_have_no_names_of_videos(ending, tmp_path):
    recording = knees_of(recording_of("anna.mp4", "full", frames_of(squat(90)), (AngleLimits(KNEE),)))
    earlier = comparison.Earlier("Joint angles: anna.mp4", "full", {KNEE: 80.0})
    for mark in ("", "blur"):
        path = tmp_path / f"r{mark}.{ending}"
        joint_angles.write_page(path, [recording], [[]], mark, joint_angles.Labels(note="third week"), earlier)
        assert (b"anna.mp4" in path.read_bytes()) == (mark == "")
    joint_angles.write_page(path, [recording], [[]], "blur", joint_angles.Labels(title="squats"))
    assert b"Joint angles: squats" in path.read_bytes()


def test_the_report_of_a_processed_video_that_hides_people_has_a_mark_and_no_name(tmp_path):
    table = tmp_path / "a.jsonl"
    with open_writer(table, Header(kind="bodies")) as writer:
        for frame in frames_of(squat(90)):
            writer.write(frame)
    path = tmp_path / "r.html"
    joint_angles.write_report(path, table, None, "anna.mp4", "full", anonymise="black")
    assert joint_angles.hides_people(path)
    assert b"anna" not in path.read_bytes()


def test_a_plain_report_does_not_replace_one_that_hides_people(refusal, tmp_path):
    recording = knees_of(recorded([170]))
    for name in ("r.html", "r.pdf"):
        joint_angles.write_page(tmp_path / name, [recording], [[]], mark="blur")
        before = (tmp_path / name).read_bytes()
        assert "hides people. Add --anonymise" in refusal("report", "a.mp4", "--save", str(tmp_path / name))
        assert (tmp_path / name).read_bytes() == before
        joint_angles.write_page(tmp_path / name, [recording], [[]])
        assert "hides people" not in refusal("report", "a.mp4", "--save", str(tmp_path / name))


@pytest.mark.parametrize(
    ("options", "problem"), [((), "would replace it"), (("--save", "link.html"), "is the input itself")]
)
def test_a_report_does_not_replace_the_one_that_it_is_compared_with(refusal, tmp_path, monkeypatch, options, problem):
    monkeypatch.chdir(tmp_path)
    joint_angles.write_page(earlier := Path("report.html"), [knees_of(recorded([170]))], [[]])
    Path("link.html").symlink_to("report.html")
    Path("a.mp4").touch()
    before = earlier.read_bytes()
    assert problem in refusal("report", "a.mp4", "--before", "report.html", *options)
    assert earlier.read_bytes() == before


def test_wrong_calls_have_one_line(refusal, tmp_path):
    video = tmp_path / "a.mp4"
    video.touch()
    assert "html or .pdf" in refusal("report", "a.mp4", "--save", "r.txt")
    assert "video files" in refusal("report", "camera:0")
    assert "420:1310:4" in refusal("report", video, "--floor", "100:100:2")
    assert "--height or --floor" in refusal("report", video, "--floor", "100:300:2", "--height", "1.7")
    assert refusal("report", "missing.mp4") == "sonjit: missing.mp4: no such file or folder"


def test_networks_that_hide_people_are_loaded_before_the_work(refusal, tmp_path, monkeypatch):
    detector = Mock()
    monkeypatch.setattr("sonjit.cli.joint_angles.report_detector", detector)
    monkeypatch.setattr("sonjit.detectors.bystanders.BystanderSearch", Mock(side_effect=InputError("no network")))
    (video := tmp_path / "a.mp4").touch()
    for how in ("blur", "persons"):
        line = refusal("report", video, "--anonymise", how, "--save", tmp_path / "a.html")
        assert (line, detector.called) == ("sonjit: no network", False)


def test_counted_angles_are_named_as_they_were_typed(refusal, tmp_path):
    video = tmp_path / "a.mp4"
    video.write_bytes(b"")
    assert "--count left_wrist_flexion: a report counts left_elbow, right_elbow," in refusal(
        "report", str(video), "--count", "left_wrist_flexion"
    )


def test_misspelt_angles_get_the_short_names_that_count_accepts():
    with pytest.raises(InputError, match=r"unknown angle 'left_kne'. Choose from left_knee, left_knee_angle_2d"):
        AngleLimits.from_text("left_kne", "body")
    assert AngleLimits.from_text("left_knee", "body").measure == KNEE
    assert AngleLimits.from_text("left_knee_angle_2d", "body").measure == "left_knee_angle_2d_rad"


def test_two_reports_are_compared_with_the_error_in_mind(tmp_path, refusal):
    before, now = (knees_of(recorded([*squat(low), *[170] * 10])) for low in (120, 60))
    joint_angles.write_page(tmp_path / "before.html", [before], [[]], labels=joint_angles.Labels(title="<Anna>"))
    earlier = comparison.earlier_report(tmp_path / "before.html")
    assert earlier.title == "Joint angles: <Anna>"
    rows = {row[0]: row[1:] for row in comparison.rows_against(earlier, now)}
    found = [errors.difference_error_deg("knee", model) for model in ("lite", "full")]
    assert errors.difference_error_deg("knee", "lite", "full") == max(found)
    assert rows["left knee"][-1] == "changed by more than the 95 % error"
    assert float(rows["left knee"][2]) == pytest.approx(60, abs=2)
    assert rows["right knee"][-1] == "within the error"
    joint_angles.write_page(tmp_path / "now.html", [now], [[]], earlier=earlier)
    page = (tmp_path / "now.html").read_text("utf-8")
    assert "changed by more than the 95 % error" in page
    assert "Before: Joint angles: &lt;Anna&gt;" in page
    (tmp_path / "other.html").write_text("<html></html>", "utf-8")
    for name, ranges in (("huge", f'{{"knee": 1{"0" * 400}}}'), ("deep", "[" * 5000)):
        text = f'<script type="application/json" id="sonjit-ranges">{{"ranges_deg": {ranges}}}</script>'
        (tmp_path / f"{name}.html").write_text(text, "utf-8")
    for name in ("other.html", "none.html", "huge.html", "deep.html"):
        with pytest.raises(InputError, match=f"--before .*{name}"):
            comparison.earlier_report(tmp_path / name)


def test_a_picture_shows_the_angle_of_the_person_only():
    recording = recorded([*squat(90), *[170] * 10])
    (moment,) = recording.moments
    body = moment.frame.bodies[0]
    frame = pictures.only(Frame(0, 0.0, bodies=[body, body_with(90, 7)]), body.id)
    assert [each.id for each in frame.bodies] == [body.id]
    blank = np.zeros((1300, 900, 3), np.uint8)
    drawn = pictures.with_angles(blank, body, {moment.angle: moment.value_deg})
    changed = np.argwhere(drawn.any(-1))[:, ::-1]
    joints = np.array([body.keypoints[INDEX(f"left_{name}"), :2] for name in ("hip", "knee", "ankle")])
    for joint in joints:
        assert np.linalg.norm(changed - joint, axis=1).min() < 4
    assert (changed >= joints.min(0) - 80).all()
    assert (changed <= joints.max(0) + 120).all()
    assert blank.max() == 0


@pytest.mark.parametrize("shift", [0, 15, 60, 200])
def test_angles_of_both_sides_have_plates_apart_within_the_image(shift):
    """Each number is on a dark plate of its own, also where both joints are at one place or at the edge."""
    recording = recorded([*squat(90), *[170] * 10])
    body = recording.moments[0].frame.bodies[0]
    for name in ("hip", "knee", "ankle"):
        body.keypoints[INDEX(f"right_{name}"), 0] = body.keypoints[INDEX(f"left_{name}"), 0] + shift
    knee_x, knee_y = body.keypoints[INDEX("left_knee"), :2]
    values = {KNEE: 104.0, "right_knee_angle_rad": 74.0}
    for corner in ((0, 0), (int(knee_x) - 30, 0), (0, int(knee_y) - 10)):
        part = np.full((1300 - corner[1], 900 - corner[0], 3), 255, np.uint8)
        drawn = pictures.with_angles(part, body, values, corner)
        plate = (drawn == (20, 24, 30)).all(-1).astype(np.uint8)
        count, _, boxes, _ = cv2.connectedComponentsWithStats(cv2.morphologyEx(plate, cv2.MORPH_CLOSE, np.ones((9, 9))))
        areas = sorted(boxes[1:, 4])[::-1][:2]
        assert count >= 3
        assert areas[1] > 0.8 * areas[0]  # neither is cut or covered


def test_the_headline_names_a_side_only_where_both_differ_by_more_than_the_error():
    recording = recording_of("a.mp4", "full", squatting(), None)
    deepest = r"1 squat, deepest knee (\d+)° \(± \d+°, (?:left|right) \1°\) at \d\.\d s"
    assert re.fullmatch(deepest, recording.headline), recording.headline  # both sides are drawn alike
    assert "No difference between left and right knee was found" in page_of(recording)
    limit = errors.difference_error_deg("knee", "full")
    counted = (AngleLimits(KNEE), AngleLimits("right_knee_angle_rad"))
    one_side = recording_of("a.mp4", "full", frames_of([*squat(90), *[170] * 10]), counted)
    assert "deepest left knee " in one_side.headline
    assert f"which is more than one camera can mistake, {limit:.0f}°" in page_of(one_side)


def test_pictures_end_around_the_person():
    recording = recorded([*squat(90), *[170] * 10])
    (moment,) = recording.moments
    rgb = np.zeros((2000, 3000, 3), np.uint8)
    shown = pictures.picture(rgb, moment.frame, moment)
    assert shown.max() > 0
    assert max(shown.shape[:2]) < 1300
    assert pictures.picture(rgb, Frame(0, 0.0), moment).shape == rgb.shape


def test_several_recordings_share_a_page_that_compares_them(tmp_path):
    first, second = (
        knees_of(recording_of(f"{name}.mp4", "full", frames_of([*squat(low), *[170] * 10]), (AngleLimits(KNEE),)))
        for name, low in (("first", 120), ("second", 60))
    )
    for name in ("both.html", "both.pdf"):
        joint_angles.write_page(tmp_path / name, [first, second], [[], []])
    page = (tmp_path / "both.html").read_text("utf-8")
    for recording in (first, second):
        assert f"{recording.name}: {recording.headline}." in page
    assert "first.mp4 and second.mp4" in page
    assert "changed by more than the 95 % error" in page
    joint_angles.write_page(tmp_path / "both.html", [first, second], [[], []], "blur")
    hidden = (tmp_path / "both.html").read_text("utf-8")
    assert "second.mp4" not in hidden
    assert "recording 1 and recording 2" in hidden


def test_motion_files_have_the_angles_and_points(tmp_path):
    recording = recorded([*squat(90), None, *[170] * 10])
    for name in ("a.mot", "a.trc"):
        write_motion(tmp_path / name, recording, recording.bodies)
    lines = (tmp_path / "a.mot").read_text("utf-8").splitlines()
    begin = lines.index("endheader") + 1
    columns, rows = lines[begin].split("\t"), [line.split("\t") for line in lines[begin + 1 :]]
    assert (lines[2], lines[3]) == (f"nRows={len(rows)}", f"nColumns={len(columns)}")
    knees = [float(row[columns.index("left_knee")]) for row in rows]
    np.testing.assert_allclose(knees, recording.angles[KNEE], atol=1e-3)
    lines = (tmp_path / "a.trc").read_text("utf-8").splitlines()
    assert lines[2].split("\t")[2:5] == ["71", "33", "m"]
    names = lines[3].split("\t")[2::3]
    first = lines[6].split("\t")
    at = 2 + 3 * names.index("left_shoulder")
    assert float(first[at + 1]) == pytest.approx(0.5, abs=0.01)  # above the hips
    assert len(first) == len(lines[5 + 61].split("\t")) == 2 + 99
    assert lines[5 + 61].split("\t")[at] == ""  # the person is not in this frame


@pytest.mark.parametrize(
    ("times", "rate", "count"), [([0, 0, 0.04, 0.04, 0.04, 0.08], 25, 3), ([1, 1, 1], 30, 3), ([0], 30, 1)]
)
def test_motion_files_of_repeated_times_have_a_rate(times, rate, count):
    lines = trc_text(np.zeros((len(times), 33, 3)), np.array(times, np.float64)).splitlines()
    assert lines[2].split("\t")[:3] == [f"{rate:.3f}", f"{rate:.3f}", str(count)]


def test_motion_files_of_a_variable_rate_have_every_point_at_its_time():
    """The wrist is as far to the right of the hips in metres as its time in seconds."""
    times = np.append(np.arange(90) / 30, 3 + np.arange(40) / 5)
    points = np.zeros((len(times), 33, 3))
    points[:, 16, 0] = times
    lines = trc_text(points, times).splitlines()
    rows = [line.split("\t") for line in lines[6:]]
    assert lines[2].split("\t")[:3] == ["30.000", "30.000", "325"]
    shown = np.array([[float(row[1]), float(row[2 + 3 * 16])] for row in rows])
    np.testing.assert_allclose(shown[:, 0], np.arange(325) / 30, atol=1e-5)
    np.testing.assert_allclose(shown[:, 1], shown[:, 0], atol=2e-5)


def test_a_page_of_a_processed_video_states_that_its_errors_may_be_larger(tmp_path):
    table = tmp_path / "a.jsonl"
    with open_writer(table, Header(kind="bodies")) as writer:
        for frame in frames_of([*squat(90), *[170] * 10]):
            writer.write(frame)
    labels = joint_angles.Labels("Week 2", "Anna Müller", "after the operation")
    joint_angles.write_report(tmp_path / "r.html", table, None, "a.mp4", "full", labels=labels)
    page = (tmp_path / "r.html").read_text("utf-8")
    assert "without its mirror image" in page
    assert all(word in page for word in ("Week 2", "Name: Anna Müller", "Note: after the operation"))
    assert page.index(">Repetitions<") < page.index(">Appendix<") < page.index(">Joints that moved")


def test_pictures_have_no_label_with_a_score():
    recording = recorded([*squat(90), *[170] * 10])
    blank = np.zeros((1300, 900, 3), np.uint8)
    sources = [SourceFrame(frame.index, frame.time, blank) for frame in recording.frames]
    video = SimpleNamespace(open_one=lambda: nullcontext(sources))
    (drawn,) = pictures.pictures_of(video, [recording], hiding.Anonymiser("none"))
    for moment, (caption, shown) in zip(recording.moments, drawn, strict=True):
        expected = pictures.picture(draw_frame(blank, moment.frame, labels=False), moment.frame, moment)
        assert caption == moment.caption
        np.testing.assert_array_equal(shown, expected)
