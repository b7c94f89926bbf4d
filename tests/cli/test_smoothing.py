"""Python and every command give the same results for a clip, with the same default smoothing."""

import pytest

import sonjit as library
from sonjit.media import load_frames

DRAG = slice(90, 165)
"""Frames of the bundled clip in which a hand drags."""


@pytest.mark.slow
def test_hands_of_a_clip_are_those_of_track(sonjit, media, out):
    assert sonjit("hands", media / "clip.mp4", "--model", "lite", "--save", out / "t.json")[0] == 0
    tracked = list(library.track(media / "clip.mp4", "hands", model="lite"))
    saved = load_frames(out / "t.json")[1]
    assert any(frame.hands for frame in tracked)
    for frame, row in zip(tracked, saved, strict=True):
        assert [hand.to_dict(full=True) for hand in frame.hands] == [hand.to_dict(full=True) for hand in row.hands]


@pytest.mark.slow
def test_motions_of_a_clip_are_those_of_hands(sonjit, weights, demo_clip, write_video, tmp_path, out):
    clip = write_video(tmp_path / "drag.mp4", demo_clip[1][DRAG])
    assert sonjit("hands", clip, "--gestures", "canned", "--save", out / "hands.csv")[0] == 0
    assert sonjit("motions", clip, "--save", out / "motions.csv")[0] == 0
    rows = (out / "motions.csv").read_text("utf-8").splitlines()
    expected = (out / "hands.motions.csv").read_text("utf-8").splitlines()
    assert len(rows) > 1
    assert rows == [line for line in expected if ",progress," not in line]
