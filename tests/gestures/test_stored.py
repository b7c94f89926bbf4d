"""Gestures, segments, exports and commands of posed hands are those stored, so that none changes without notice."""

from dataclasses import replace

import numpy as np
import pytest

from sonjit.gestures import exports, segments_of
from sonjit.gestures.classifier import gesture_of
from sonjit.gestures.control import Controller, ControlMap, Rule
from sonjit.media import Header, open_writer
from sonjit.results import Frame

from ..support.stored import assert_as_stored  # noqa: TID252  # one helper for all packages

POSES = ("open", "fist", "point", "pinch", "victory", "thumb_up", "ily", "claw", "relaxed", "half")
OSC = "127.0.0.1:9000/hand"
RULES = [
    {"measure": "x", "from": [0.2, 0.8], "to": [10, 20], "smooth_s": 0.1, "dead_zone": 0.3, "osc": OSC},
    {"measure": "index_curl", "hand": "Left", "osc": OSC},
    *({"on": name, "osc": OSC} for name in ("Open_Palm", "Closed_Fist", "Victory")),
]


@pytest.fixture(scope="module")
def hands(posed):
    """Return a left and a right hand in each pose, turned and with another shape each."""
    rng = np.random.default_rng(2)
    return [
        posed(name, side, rng.normal(0, 25), rng.normal(0, 20), rng) for name in POSES for side in ("Right", "Left")
    ]


@pytest.fixture(scope="module")
def frames(posed):
    """Return frames of two hands that change their pose, move, and get lost."""
    shown = [name for name in ("open", "fist", "victory", "open") for _ in range(14)]
    made = []
    for index, name in enumerate(shown):
        right, left = replace(posed(name), id=1), replace(posed("fist" if index > 30 else "open", "Left"), id=2)
        right.keypoints = right.keypoints + np.float32([6 * index, 2 * index, 0])
        made.append(Frame(index, index / 20, [right, left] if index % 23 else [right]))
    return made


def test_gestures_are_as_stored(hands):
    assert_as_stored("gestures.classifier", [gesture_of(hand) for hand in hands], absolute=2e-3)


def test_segments_and_exports_are_as_stored(frames, tmp_path):
    segments = segments_of(frames)
    exports.save_segments_csv(tmp_path / "x.csv", segments)
    (tmp_path / "x.eaf").write_bytes(exports.eaf_from_segments(segments, "clip.mp4"))
    with open_writer(tmp_path / "x.pose", Header("clip.mp4", 640, 480)) as writer:
        for frame in frames[:3]:
            writer.write(frame)
    eaf = [line for line in (tmp_path / "x.eaf").read_text("utf-8").splitlines() if "DATE" not in line]
    pose = (tmp_path / "x.pose").read_bytes()
    found = [[segment.to_dict() for segment in segments], (tmp_path / "x.csv").read_text("utf-8"), eaf, pose]
    assert_as_stored("gestures.exports", found, absolute=2e-3)


def test_commands_are_as_stored(frames):
    controller = Controller(ControlMap([Rule.from_table(table) for table in RULES]))
    commands = [command.to_dict() for frame in frames for command in controller(frame.hands, frame.time, (640, 480))]
    assert_as_stored("gestures.commands", commands, absolute=2e-3)
