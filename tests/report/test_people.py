"""Pages of one of several people, and of several recordings."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.support.moving_people import INDEX, frames_of, knees_of, squat

from sonjit import InputError
from sonjit.report import errors, joint_angles
from sonjit.report.recording import Recording, recording_of
from sonjit.runs.annotations import AngleLimits

COUNTED = (AngleLimits("left_knee_angle_rad"),)
REPEATED = [*squat(90), *[170] * 10]


def page_of(folder: Path, *recordings: Recording) -> str:
    joint_angles.write_page(folder / "page.html", [*map(knees_of, recordings)], [[] for _ in recordings])
    return (folder / "page.html").read_text("utf-8")


def test_the_result_of_one_of_several_people_names_the_person(tmp_path: Path) -> None:
    frames = frames_of(REPEATED)
    for frame in frames[:40]:
        frame.bodies.append(replace(frame.bodies[0], id=7))
    frames[50].bodies.append(replace(frames[50].bodies[0], id=9))
    alone = recording_of("a.mp4", "full", frames_of(REPEATED), COUNTED)
    described = recording_of("a.mp4", "full", frames, COUNTED, person=7)
    assert f"person 7: {described.headline}." in page_of(tmp_path, described)
    assert f'<p class="lead">{alone.headline}.' in page_of(tmp_path, alone)
    assert described.frames_of_people == {alone.person: len(frames), 7: 40}  # and not who is in one frame


def test_the_joint_that_moves_most_is_examined_where_none_repeats() -> None:
    bending = recording_of("a.mp4", "full", frames_of([170 - k for k in range(60)]), None)
    assert {errors.joint_of(limits.measure) for limits in bending.counted} == {"knee"}
    frames = frames_of([170] * 60)
    for degrees, frame in enumerate(frames):
        bend, body = np.radians(degrees), frame.bodies[0]
        turned = 0.3 * np.array([np.sin(bend), np.cos(bend)])  # from elbow to wrist, in metres
        for side in ("left", "right"):
            elbow, wrist = INDEX(f"{side}_elbow"), INDEX(f"{side}_wrist")
            body.keypoints_3d[wrist, :2] = body.keypoints_3d[elbow, :2] + turned
            body.keypoints[wrist, :2] = body.keypoints[elbow, :2] + 500 * turned
    moving = recording_of("a.mp4", "full", frames, None)
    assert {errors.joint_of(limits.measure) for limits in moving.counted} == {"elbow"}


def test_the_first_plot_marks_movements_that_do_not_count(tmp_path: Path) -> None:
    """A coach who sees three bent positions, and reads of two, finds the third one marked."""
    cut = recording_of("a.mp4", "full", frames_of([*squat(90), *squat(80), *squat(85)[:40]]), COUNTED)
    page = page_of(tmp_path, cut)
    assert cut.headline.startswith("2 ")
    assert page[page.index('class="lead"') : page.index("</svg>")].count("not counted") == 1
    assert "not counted" not in page_of(tmp_path, recording_of("a.mp4", "full", frames_of(REPEATED), COUNTED))


def test_compared_recordings_have_other_colours_than_left_and_right(tmp_path: Path) -> None:
    names = "first.mp4", "second.mp4"
    recordings = [recording_of(name, "full", frames_of(REPEATED), COUNTED) for name in names]
    page = page_of(tmp_path, *recordings)
    compared = page[page.index(">Compared<") :]
    plot = compared[: compared.index("</svg>")]
    assert {"#2f6fde", "#d97706"}.isdisjoint(re.findall(r"stroke: (#[0-9a-f]{6})", plot))
    assert "+0" not in compared[: compared.index("How it was measured")]


def test_a_video_without_a_person_names_the_remedy() -> None:
    with pytest.raises(InputError, match=r"no person found\. The whole body should be in the image"):
        recording_of("a.mp4", "full", frames_of([None] * 5), None)
