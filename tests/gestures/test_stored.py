"""Gestures, segments, exports and commands of posed hands are those stored, so that none changes without notice."""

from dataclasses import replace

import numpy as np
import pytest

from sonjit.gestures import MotionRecording, MotionSpotter, exports, segments_of
from sonjit.gestures.classifier import SHIPPED, features_of, gesture_of, load_gestures
from sonjit.gestures.control import Controller, ControlMap, Rule
from sonjit.gestures.custom import CustomGestures, GestureRecording, confusion
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


def test_probabilities_and_features_are_as_stored(hands):
    classify, features = load_gestures(), features_of(hands)
    found = {"features": features[::4, ::9], "probabilities": classify.probabilities(features)}
    found |= {"embedding": classify.embed(features)[::4, ::5], "gestures": [gesture_of(hand) for hand in hands]}
    found |= {"whitened": classify.whiten(features)[::4, ::5], "spread": classify.spread[::5]}
    assert set(SHIPPED)
    assert_as_stored("gestures.classifier", found, absolute=2e-3)


def test_probabilities_with_the_appearance_of_hands_are_as_stored(hands):
    appearance = np.random.default_rng(6).normal(size=(len(hands), 21, 66)).clip(0).astype(np.float32)
    found = load_gestures().probabilities(features_of(hands), appearance)
    seen = [replace(hand, appearance=own) for hand, own in zip(hands, appearance, strict=True)]
    assert_as_stored("gestures.appearance", [found, [gesture_of(hand) for hand in seen]], absolute=2e-3)


def test_learned_gestures_are_as_stored(posed):
    rng = np.random.default_rng(5)
    made = lambda name: [posed(name, "Right", rng.normal(0, 20), rng.normal(0, 15), rng) for _ in range(5)]  # noqa: E731
    recordings = [GestureRecording.of(name, made(name)) for name in ("claw", "vulcan") for _ in range(2)]
    learned = CustomGestures.learn(recordings)
    hands = [hand for name in ("claw", "vulcan", "fist") for hand in made(name)]
    embeddings = load_gestures().embed(features_of(hands))
    found = [learned.evidence(embeddings), learned.probabilities(embeddings), [learned(hand) for hand in hands]]
    assert_as_stored("gestures.learned", [*found, confusion(recordings)], absolute=2e-3)


def test_motions_that_were_learned_are_found_as_stored(motions, moved):
    found = []
    for size, seconds in ((0.5, 0.6), (1.0, 1.0), (1.6, 1.5)):
        spotter = MotionSpotter(motions)
        frames = list(moved("tick", "beckon", "zigzag", fps=20, seconds=seconds, size=size, seed=4))
        found.append([[frame.index, one.to_dict()] for frame in frames for one in spotter(frame.hands, frame.time)])
        found[-1] += [one.to_dict() for one in spotter.finish()]
    assert_as_stored("gestures.motions", found, absolute=2e-3)


def test_recorded_and_learned_motions_are_as_stored(moved, motions):
    """Record small hands at several speeds, from paths that are too short up to more than 12 steps in a frame."""
    found = [motions.reaches]
    for side, size, fps, seconds in (("Left", 0.3, 30, 0.6), ("Right", 0.7, 12, 0.5), ("Left", 1.4, 25, 0.08)):
        paths = ["zigzag", *([[0, 0], [reach, reach / 4]] for reach in (0.5, 0.6, 0.7, 0.8))]
        frames = list(moved(*paths, fps=fps, seconds=seconds, size=size, side=side, rest_s=0.4))
        for frame in frames:
            frame.hands[0].keypoints *= np.float32(0.1)
        ways = MotionRecording.of("a", frames).ways
        found.append([[len(way), way[:: max(len(way) // 4, 1), ::3]] for way in ways])
    assert_as_stored("gestures.recorded", found, absolute=3e-3)


def test_segments_and_exports_are_as_stored(frames, tmp_path):
    segments = segments_of(frames)
    exports.save_segments_csv(tmp_path / "x.csv", segments)
    exports.save_segments_eaf(tmp_path / "x.eaf", segments, "clip.mp4")
    exports.save_pose(tmp_path / "x.pose", frames[:3], (640, 480))
    eaf = [line for line in (tmp_path / "x.eaf").read_text("utf-8").splitlines() if "DATE" not in line]
    pose = (tmp_path / "x.pose").read_bytes()
    found = [[segment.to_dict() for segment in segments], (tmp_path / "x.csv").read_text("utf-8"), eaf, pose]
    assert_as_stored("gestures.exports", found, absolute=2e-3)


def test_commands_are_as_stored(frames):
    controller = Controller(ControlMap([Rule.from_table(table) for table in RULES]))
    commands = [command.to_dict() for frame in frames for command in controller(frame.hands, frame.time, (640, 480))]
    assert_as_stored("gestures.commands", commands, absolute=2e-3)
