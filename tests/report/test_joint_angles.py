"""`sonjit report`: its page as HTML and PDF, and one line for each wrong call."""

import math

import numpy as np

from sonjit import Body, Event, Frame
from sonjit.report import joint_angles


def test_the_page_has_ranges_of_both_sides_and_repetitions():
    points = np.zeros((33, 3), np.float32)
    body = Body(1.0, points, points, points[:, 0], points[:, 0], id=3)
    angles = [{"left_knee_angle_rad": math.radians(knee), "right_knee_angle_rad": 3} for knee in (170, 90, 165)]
    frames = [Frame(i, i / 10, bodies=[body], measures=[row]) for i, row in enumerate(angles)]
    frames.append(Frame(3, 0.3, measures=[]))
    frames[2].events = [Event("left_knee_angle_rad", "repetition", "end", 0.0, 0.2, 3, None, math.pi / 2)]
    recording, right = (
        joint_angles.recording_of("bad\udcff $\\frac{$.mp4", "lite", frames),
        ("172", "172", "0", "–", "4"),
    )
    assert recording.rows == [("knee", "left", "90", "170", "80", "80", "4"), ("knee", "right", *right)]
    assert recording.extremes == frames[:2]
    assert recording.repetitions == [("left knee", "0.00", "0.20", "0.20", "90")]
    page = joint_angles._html(recording, [("0 s", np.zeros((20, 30, 3), np.uint8))])
    found = "data:image/jpeg", r"bad\xff $\frac{$.mp4", "Person #3, in 3 of 4 frames from 0.00 to 0.30 s"
    assert [text for text in found if text not in page] == []
    assert joint_angles._pdf(recording, [])[:4] == b"%PDF"


def test_a_plain_report_does_not_replace_one_that_hides_people(refusal, tmp_path):
    points = np.zeros((33, 3), np.float32)
    frames = [Frame(0, 0.0, bodies=[Body(1.0, points, points, points[:, 0], points[:, 0], id=3)], measures=[{}])]
    recording = joint_angles.recording_of("a.mp4", "lite", frames)
    for name in ("r.html", "r.pdf"):
        joint_angles.write_page(tmp_path / name, recording, [], mark="blur")
        before = (tmp_path / name).read_bytes()
        assert "hides people. Add --anonymise" in refusal("report", "a.mp4", "--save", str(tmp_path / name))
        assert (tmp_path / name).read_bytes() == before
        joint_angles.write_page(tmp_path / name, recording, [])
        assert "hides people" not in refusal("report", "a.mp4", "--save", str(tmp_path / name))


def test_wrong_calls_have_one_line(refusal):
    assert "html or .pdf" in refusal("report", "a.mp4", "--save", "r.txt")
    assert "one video" in refusal("report", "camera:0")
