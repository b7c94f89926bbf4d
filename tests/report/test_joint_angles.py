"""`sonjit report`: its page as HTML and PDF, and one line for each wrong call."""

import json
import re
import warnings
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
from tests.support.moving_people import INDEX, body_with, frames_of, squat

from sonjit import Body, Frame, InputError
from sonjit.media import Header, draw_frame, open_writer
from sonjit.media.sources.base import SourceFrame
from sonjit.report import comparison, errors, fonts, html_page, joint_angles, pdf_page, pictures
from sonjit.report.angles import filtered
from sonjit.report.motion_files import trc_text, write_motion
from sonjit.report.recording import axis_ends, recording_of
from sonjit.results.skeletons import load_skeleton, mirrored_order
from sonjit.runs import hiding
from sonjit.runs.annotations import AngleLimits

KNEE = "left_knee_angle_rad"


def recorded(knees, **options):
    return recording_of("a.mp4", "full", frames_of(knees), (AngleLimits(KNEE),), **options)


def test_ranges_leave_out_single_frames_and_have_the_share_in_which_the_joint_was_seen():
    knees = [*squat(90), *[None] * 30, *[170] * 30]
    knees[20] = 20
    frames = frames_of(knees)
    for frame in frames[90:108]:
        frame.bodies[0].visibility[INDEX("left_ankle")] = 0
    recording = recording_of("a.mp4", "full", frames, ())
    (row,) = (row for row in recording.rows if row[:2] == ("knee", "left"))
    assert row[2] == "80"  # of the 90 frames with the person
    page = html_page._html(recording, [], joint_angles.Labels())
    assert "The person is in 90 of 120 images of the video, from 0.00 to 3.97 s." in page
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
    page = html_page._html(recording, [], joint_angles.Labels())
    knee = page[page.index('aria-label="knee in degrees"') :]
    paths = re.findall(r'<path d="([^"]*)"[^>]*style="[^"]*stroke: #d97706[^"]*"', knee)
    assert any(path.count("M") == 2 for path in paths)  # the line of the left knee begins twice


def test_sides_that_were_rarely_seen_are_not_compared():
    frames = frames_of(squat(90))
    for frame in frames[20:]:
        frame.bodies[0].visibility[INDEX("left_ankle")] = 0
    recording = recording_of("a.mp4", "full", frames, ())
    assert "knee: the left side was seen in 33 % of the images, too few to compare." in recording.comparisons
    assert any(sentence.startswith("hip: the ranges of left and right differ") for sentence in recording.comparisons)


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
    assert [(row[0], row[4]) for row in recording.repetitions] == [("left knee", "90"), ("left knee", "80")]
    assert [row[2] for row in recording.incomplete] == ["the recording ends before the joint is straight again"]
    recording = recorded([*squat(90)[25:], *squat(80)])
    assert [row[2] for row in recording.incomplete] == ["the recording begins during the movement"]
    recording = recorded([angle - 30 for angle in [*squat(90), *squat(80)]])
    assert [row[2] for row in recording.incomplete] == ["the joint is never straighter than 150°"]
    recording = recorded([angle - 30 for angle in squat(90)], convention="clinical")
    assert [row[2] for row in recording.incomplete] == ["the joint is never straighter than 30°"]
    recording = recorded([*squat(90)[:40], *[None] * 40, *squat(90)[50:]])
    assert [row[2] for row in recording.incomplete] == ["the joint was not seen for more than 1 s"]


def test_the_clinical_convention_has_0_for_a_straight_knee():
    recording = recorded([*squat(90), *[170] * 10], convention="clinical")
    low, high = recording.ranges[KNEE]
    assert 8 <= low <= 12
    assert 85 <= high <= 92
    assert recording.repetitions[0][-1] == "90"
    assert "0°, and flexion is positive" in html_page._html(recording, [], joint_angles.Labels())


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
    assert "Sonjit numbered 2 people." in html_page._html(recording, [], joint_angles.Labels())
    with pytest.raises(InputError, match=r"--person 5: a\.mp4 has #3, #7"):
        recording_of("a.mp4", "full", frames, (), person=5)
    with pytest.raises(InputError, match="no person found"):
        recording_of("a.mp4", "full", frames_of([None]), ())


def test_errors_of_the_page_are_those_of_the_file():
    content = json.loads(errors.FILE.read_text("utf-8"))
    assert set(content["models"]) == {"lite", "full", "heavy"}
    for model, joints in content["models"].items():
        recording = recording_of("a.mp4", model, frames_of(squat(90)), ())
        shown = {(row[0], row[1]): row[7] for row in recording.rows}
        for joint in ("elbow", "shoulder", "hip", "knee", "ankle"):
            found = joints[joint]  # the body is parallel to the image
            mean = found["views"]["side"]["mean"]
            mean = found["views"]["all"]["mean"] if mean is None else mean
            assert shown[joint, "left"] == f"{mean:.0f}"
            assert errors.range_error_deg(model, joint) == found["range_percentile_95"]
            assert errors.difference_error_deg(joint, model) == found["difference_percentile_95"]
    page = html_page._html(recording, [], joint_angles.Labels())
    found = content["origins"]["heavy"]
    assert f"recordings: {found['recordings']}, images: {found['frames']}" in page


def test_differences_below_the_error_are_called_that():
    recording = recorded([*squat(90), *[170] * 10])  # the right knee stays straight
    limit = errors.difference_error_deg("knee", "full")
    assert f"more than the 95 % error of such a difference, {limit:.0f}°." in recording.comparisons[3]
    assert recording.comparisons[-1].startswith("One camera sees one side of the body better")
    recording = recorded([*squat(170 - limit + 8), *[170] * 10])
    less = f"less than the 95 % error of such a difference, {limit:.0f}°, which covers the errors of both ranges."
    assert f"{less} Left and right may be equal or different." in recording.comparisons[3]


def test_axes_of_angles_contain_0_and_90_so_that_errors_do_not_look_like_movements():
    assert axis_ends([np.array([8.0, np.nan, 20.0])]) == (0, pytest.approx(93.6))
    low, high = axis_ends([np.array([-30.0, 20.0]), np.array([170.0])])
    assert -40 < low < -30
    assert 170 < high < 180


def test_curves_have_their_error_and_the_warning_is_above_the_numbers():
    recording = recorded([*squat(90), *[170] * 10])
    error = recording.errors_deg[KNEE]
    assert recording.legend("knee", "left") == f"left ± {error:.0f}°"
    page = html_page._html(recording, [], joint_angles.Labels())
    assert f"left ± {error:.0f}°" in page
    assert page.index("not a medical measurement") < page.index("Range of motion")


def test_pages_have_captions_labels_and_any_name(tmp_path):
    recording = recording_of("bad\udcff $\\frac{$.mp4", "lite", frames_of(squat(90)), (AngleLimits(KNEE),))
    (_, first), (_, last) = recording.extremes
    assert first.startswith("left knee, largest")
    assert last.startswith("left knee, smallest")
    labels = joint_angles.Labels("", "A <b>", "before", "2026-01-02")
    page = html_page._html(recording, [(first, np.zeros((20, 30, 3), np.uint8))], labels)
    wanted = "data:image/jpeg", r"bad\xff $\frac{$.mp4", first, "Name: A &lt;b&gt;", "Date: 2026-01-02", "Note: before"
    assert [text for text in wanted if text not in page] == []
    pdf = pdf_page.pdf_page(recording, [], labels)
    assert pdf[:4] == b"%PDF"
    assert b"/Title" in pdf


def test_pictures_show_the_angle_that_is_counted():
    frames = frames_of(squat(90))
    for frame in frames:
        shoulder = frame.bodies[0].keypoints[INDEX("left_shoulder"), :2]  # the hip moves more
        shoulder += 2 * (shoulder - frame.bodies[0].keypoints[INDEX("left_hip"), :2])
    for counted in ((AngleLimits("right_hip_angle_rad"),), (AngleLimits(KNEE),)):
        captions = [caption for _, caption in recording_of("a.mp4", "full", frames, counted).extremes]
        name = "left knee" if counted[0].measure == KNEE else "right hip"
        assert all(caption.startswith(name) for caption in captions), captions


def test_printed_parts_continue_on_another_page_where_one_is_full():
    labels = joint_angles.Labels()
    short = pdf_page._table_pages(recorded([170]), [], labels, [])
    recording = recorded([*squat(90)] * 25)
    pictures = [("first", np.zeros((20, 30, 3), np.uint8))] * 2
    pages = pdf_page._table_pages(recording, pictures, labels, [])
    assert (len(short), len(pages)) == (1, 2)
    for page in pages:
        page.draw_without_rendering()
        boxes = [axes.get_tightbbox() for axes in page.axes]
        assert min(box.y0 for box in boxes if box is not None) >= 0.02 * page.bbox.height
        assert max(box.y1 for box in boxes if box is not None) <= 0.98 * page.bbox.height
        assert max(box.x1 for box in boxes if box is not None) <= 0.96 * page.bbox.width


def test_pages_without_angles_state_so_in_place_of_empty_tables_and_plots():
    frames = frames_of([170] * 20)
    for frame in frames:
        frame.bodies[0].visibility[INDEX("left_shoulder") :] = 0
    recording = recording_of("a.mp4", "full", frames, ())
    page = html_page._html(recording, [], joint_angles.Labels())
    assert "No angle was seen." in page
    assert [
        text
        for text in ("<table>", "<h2>What the angles mean", "<h3>Left and right", "Angles over time")
        if text in page
    ] == []
    assert pdf_page.pdf_page(recording, [], joint_angles.Labels()).count(b"/Type /Page ") == 1


def test_titles_and_legends_of_printed_curves_do_not_overlap():
    page = pdf_page._curves_page(recorded(squat(90)))
    page.draw_without_rendering()
    for axes in page.axes[1:]:  # the first is the heading
        title = next(child for child in axes.get_children() if getattr(child, "get_text", str)().endswith("seconds"))
        assert title.get_window_extent().x1 < axes.get_legend().get_window_extent().x0


def test_values_that_are_seen_for_a_moment_between_gaps_are_unknown():
    values = np.full(60, np.nan)
    values[:20] = 90.0
    values[40:42] = 150.0  # the median of few values is one of them
    values[50:53] = 100.0
    found = filtered(values, 30.0)
    assert np.flatnonzero(np.isfinite(found)).tolist() == [*range(20), 50, 51, 52]
    assert np.isfinite(filtered(values, 5.0)[40:42]).all()


def test_a_page_warns_of_a_model_whose_ranges_depend_on_mirroring():
    content = json.loads(errors.FILE.read_text("utf-8"))["models"]
    for model, joints in content.items():
        largest = max(found["mirrored_largest"] for found in joints.values() if found["mirrored_largest"] is not None)
        page = html_page._html(recording_of("a.mp4", model, frames_of(squat(90)), ()), [], joint_angles.Labels())
        expected = f"The ranges of the model {model} differed by up to {largest:.0f}°"
        assert (expected in page) == (largest > 3)
    assert errors.mirrored_difference_deg("full") <= 3


@pytest.mark.parametrize("ending", ["html", "pdf"])
def test_reports_that_hide_people_have_no_names_of_videos(ending, tmp_path):
    recording = recording_of("anna.mp4", "full", frames_of(squat(90)), (AngleLimits(KNEE),))
    earlier = comparison.Earlier("Joint angles: anna.mp4", "full", {KNEE: 80.0})
    for mark in ("", "blur"):
        path = tmp_path / f"r{mark}.{ending}"
        joint_angles.write_page(path, recording, [], mark, joint_angles.Labels(note="third week"), earlier)
        assert (b"anna.mp4" in path.read_bytes()) == (mark == "")
    joint_angles.write_page(path, recording, [], "blur", joint_angles.Labels(title="squats"))
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
    recording = recorded([170])
    for name in ("r.html", "r.pdf"):
        joint_angles.write_page(tmp_path / name, recording, [], mark="blur")
        before = (tmp_path / name).read_bytes()
        assert "hides people. Add --anonymise" in refusal("report", "a.mp4", "--save", str(tmp_path / name))
        assert (tmp_path / name).read_bytes() == before
        joint_angles.write_page(tmp_path / name, recording, [])
        assert "hides people" not in refusal("report", "a.mp4", "--save", str(tmp_path / name))


@pytest.mark.parametrize("options", [(), ("--save", "link.html")])
def test_a_report_does_not_replace_the_one_that_it_is_compared_with(refusal, tmp_path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    joint_angles.write_page(earlier := Path("report.html"), recorded([170]), [])
    Path("link.html").symlink_to("report.html")
    Path("a.mp4").touch()
    before = earlier.read_bytes()
    assert "would replace it" in refusal("report", "a.mp4", "--before", "report.html", *options)
    assert earlier.read_bytes() == before


def test_wrong_calls_have_one_line(refusal, tmp_path):
    video = tmp_path / "a.mp4"
    video.touch()
    assert "html or .pdf" in refusal("report", "a.mp4", "--save", "r.txt")
    assert "one video" in refusal("report", "camera:0")
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
    before, now = recorded([*squat(120), *[170] * 10]), recorded([*squat(60), *[170] * 10])
    joint_angles.write_page(tmp_path / "before.html", before, [], labels=joint_angles.Labels(title="<Anna>"))
    earlier = comparison.earlier_report(tmp_path / "before.html")
    assert earlier.title == "Joint angles: <Anna>"
    rows = {row[0]: row[1:] for row in comparison.rows_against(earlier, now)}
    found = [errors.difference_error_deg("knee", model) for model in ("lite", "full")]
    assert errors.difference_error_deg("knee", "lite", "full") == max(found)
    assert rows["left knee"][-1] == "changed by more than the 95 % error"
    assert float(rows["left knee"][2]) == pytest.approx(60, abs=2)
    assert rows["right knee"][-1] == "less than the error: better, worse or equal"
    joint_angles.write_page(tmp_path / "now.html", now, [], earlier=earlier)
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


def test_pictures_have_the_skeleton_of_the_person_only():
    frame = Frame(0, 0.0, bodies=[body_with(170), body_with(90, 7)])
    assert [body.id for body in pictures._only(frame, 7).bodies] == [7]


def test_pictures_end_around_the_person():
    body = body_with(170)
    rgb = np.zeros((2000, 3000, 3), np.uint8)
    rgb[round(float(body.keypoints[INDEX("left_knee"), 1])), 400] = 255
    picture = pictures._around(rgb, Frame(0, 0.0, bodies=[body]))
    assert picture.max() == 255
    assert max(picture.shape[:2]) < 1300
    assert pictures._around(rgb, Frame(0, 0.0)).shape == rgb.shape


def test_a_page_in_korean_has_its_letters(tmp_path):
    if not set(fonts.FONTS[1:]) & set(fonts.installed_fonts()):
        pytest.skip("no font with Korean letters is installed")
    labels = joint_angles.Labels("스쿼트", "김민지", "무릎 수술 후 6주", "2026-01-02")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Matplotlib warns of letters without a glyph
        joint_angles.write_page(tmp_path / "k.pdf", recorded([*squat(90), *[170] * 10]), [], labels=labels)
    assert (tmp_path / "k.pdf").read_bytes()[:4] == b"%PDF"


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


@pytest.mark.parametrize(("times", "rate"), [([0, 0, 0.04, 0.04, 0.04, 0.08], 25), ([1, 1, 1], 30), ([0], 30)])
def test_motion_files_of_repeated_times_have_a_rate(times, rate):
    lines = trc_text(np.zeros((len(times), 33, 3)), np.array(times, np.float64)).splitlines()
    assert lines[2].split("\t")[:3] == [f"{rate:.3f}", f"{rate:.3f}", str(len(times))]


def test_a_page_of_a_processed_video_states_that_its_errors_may_be_larger(tmp_path):
    table = tmp_path / "a.jsonl"
    with open_writer(table, Header(kind="bodies")) as writer:
        for frame in frames_of([*squat(90), *[170] * 10]):
            writer.write(frame)
    joint_angles.write_report(tmp_path / "r.html", table, None, "a.mp4", "full")
    assert "without its mirror image" in (tmp_path / "r.html").read_text("utf-8")


def test_pictures_have_no_label_with_a_score():
    recording = recorded([*squat(90), *[170] * 10])
    blank = np.zeros((1300, 900, 3), np.uint8)
    sources = [SourceFrame(frame.index, frame.time, blank) for frame in recording.frames]
    video = SimpleNamespace(open_one=lambda: nullcontext(sources))
    drawn = joint_angles.pictures_of(video, recording, hiding.Anonymiser("none"))
    for (frame, caption), (shown, picture) in zip(recording.extremes, drawn, strict=True):
        expected = pictures._around(draw_frame(blank, frame, labels=False), frame)
        assert shown == caption
        np.testing.assert_array_equal(picture, expected)
