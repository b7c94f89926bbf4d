"""Motions that are learned from examples and found in streams of tracked hands at any speed and size."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sonjit import gestures
from sonjit._util.errors import InputError
from sonjit.gestures import control, custom
from sonjit.media.result_exports import Results
from sonjit.results import Frame, Hand
from sonjit.runs import Session


def spotted(motions, frames):
    spotter = gestures.MotionSpotter(motions)
    return [(one, frame.time) for frame in frames for one in spotter(frame.hands, frame.time)]


@pytest.mark.parametrize(("fps", "seconds", "size", "side"), [(30, 1.0, 1.0, "Right"), (15, 0.7, 1.2, "Left")])
def test_motions_are_reported_soon_after_their_end_at_any_speed_and_size(motions, moved, fps, seconds, size, side):
    frames = moved("tick", "zigzag", "beckon", fps=fps, seconds=seconds, size=size, side=side, seed=9)
    events = spotted(motions, frames)
    assert [one.name for one, _ in events] == ["tick", "zigzag", "beckon"]
    for number, (one, time_s) in enumerate(events):
        start_s = 0.6 + number * (seconds + 0.6)
        assert one.start == pytest.approx(start_s, abs=0.25)
        assert one.end == pytest.approx(start_s + seconds, abs=0.25)
        assert 0 < time_s - one.end < 0.12 + 2.5 / fps
        assert 0.5 < one.score <= 1
        assert (one.id, one.handedness, one.moving) == (0, side, True)


def test_other_paths_and_resting_hands_make_no_motion(motions, moved):
    for way in ([[0, 0], [0, 1.5]], [[0, 0], [-1, 0], [-1, 1], [0, 1], [0, 0]], [[0, 0]]):
        assert spotted(motions, moved(way, way, seed=5)) == []


def test_a_recording_is_cut_where_the_hand_rests_and_ends_when_there_are_enough(moved, tmp_path):
    frames = moved("tick", "tick", "tick")
    recording = gestures.MotionRecording.of("tick", frames, 2)
    assert len(recording.ways) == 2
    assert next(frames).index > 60  # the third was not waited for
    recording.save(tmp_path / "tick.npz")
    assert (tmp_path / "tick.npz").stat().st_size < 8000
    with pytest.raises(InputError, match="no hand moves"):
        gestures.MotionRecording.of("still", moved())
    still = next(moved())
    still.time = None
    with pytest.raises(InputError, match="from a video or camera"):
        gestures.MotionRecording.of("still", [still])


def test_held_gestures_and_motions_are_learned_into_one_file(moved, posed, tmp_path):
    rng = np.random.default_rng(1)
    claws = gestures.GestureRecording.of("claw", [posed("claw", rng=rng) for _ in range(6)])
    ticks = gestures.MotionRecording.of("tick", moved("tick", "tick", "tick", seed=3, hand="claw"))
    gestures.LearnedGestures.learn([claws, ticks]).save(tmp_path / "mine.npz")
    mine = gestures.LearnedGestures.load(tmp_path / "mine.npz")
    assert mine.names == ("claw", "tick")
    segments = gestures.segments_of(moved("tick", hand="claw", seed=8, rest_s=1.0), mine)
    assert {(segment.name, segment.moving) for segment in segments} == {("claw", False), ("tick", True)}
    gestures.LearnedGestures.learn([ticks]).save(tmp_path / "ticks.npz")
    only = gestures.LearnedGestures.load(tmp_path / "ticks.npz")
    assert only.names == ("tick",)
    assert only(posed("claw")) is None
    with pytest.raises(InputError, match="tick was recorded both as a static gesture and as a motion"):
        gestures.LearnedGestures.learn([ticks, gestures.GestureRecording("tick", claws.points)])


def test_lost_hands_and_wrong_calls(motions, moved):
    frames = list(moved("tick", seed=4))
    spotter = gestures.MotionSpotter(motions)
    assert spotter(frames[0].hands, 1.0) == []
    with pytest.raises(InputError, match="backwards"):
        spotter(frames[0].hands, 0.5)
    with pytest.raises(InputError, match="a video or camera"):
        spotter([Hand("Left", 1.0, frames[0].hands[0].keypoints, frames[0].hands[0].keypoints_3d)], 2.0)
    with pytest.raises(InputError, match="forget_s=0"):
        gestures.MotionSpotter(motions, forget_s=0)
    torn = [frame for frame in frames if not 0.9 < frame.time < 1.3]  # the middle of it was not seen
    assert spotted(motions, torn) == []
    cut = gestures.MotionSpotter(motions)
    assert [one for frame in frames if frame.time < 1.6 for one in cut(frame.hands, frame.time)] == []
    assert [one.name for one in cut.finish()] == ["tick"]


def test_maps_of_commands_name_motions_like_gestures(moved, tmp_path):
    mine = gestures.LearnedGestures.learn([gestures.MotionRecording.of("tick", moved("tick", "tick", "tick"))])
    (tmp_path / "map.toml").write_text('[[rule]]\non = "tick"\npost = "http://127.0.0.1:9/tick"\n')
    controller = control.Controller(control.load_map(tmp_path / "map.toml", mine.names), mine)
    sent = [one for frame in moved("tick", seed=2) for one in controller(frame.hands, frame.time, (640, 480))]
    (tick,) = (one.content for one in sent)
    assert tick.items() >= {"name": "tick", "phase": "end", "id": 0, "moved": [0, 0]}.items()  # a motion's JSON
    assert list(controller.finish()) == []


@pytest.mark.parametrize("is_paused", [False, True])
def test_a_motion_that_ends_with_the_stream_makes_a_command_unless_commands_are_paused(is_paused, motions, moved):
    zigzag, tick = (control.Rule.from_table({"on": name, "key": "a"}, motions.names) for name in ("zigzag", "tick"))
    controller = control.Controller(control.ControlMap([zigzag, tick]), gestures.LearnedGestures(None, motions))
    for frame in moved("tick", seed=4):
        if frame.time < 1.6:
            assert list(controller(frame.hands, frame.time, (640, 480))) == []
    controller.is_paused = is_paused
    assert [command.rule for command in controller.finish()] == ([] if is_paused else [tick])


def test_the_recognizer_of_motions_reports_custom_ones_too(motions, moved, tmp_path):
    """Check that they are reported once at their end, or at the end of the clip."""
    gestures.LearnedGestures(None, motions).save(tmp_path / "mine.npz")
    recognizer = gestures.MotionRecognizer(custom=custom.chosen_gestures(str(tmp_path / "mine.npz")).motions)
    frames = list(moved("tick", "zigzag", seed=9))
    frames = [frame for frame in frames if frame.time < 3.25]  # the second ends at 3.2
    events = [event for frame in frames for event in recognizer(frame.hands, frame.time)]
    late = [one.name for one in recognizer.finish() if one.name in motions.names]
    (tick,) = (event for event in events if event.name in motions.names)
    assert (tick.name, tick.phase, tick.id, tick.handedness) == ("tick", "end", 0, "Right")
    assert 1.6 < tick.time < 2.0
    assert 0.5 < tick.strength <= 1
    assert late == ["zigzag"]
    assert custom.chosen_gestures("asl").motions.names == ("J", "Z")


def test_a_motion_that_ends_just_before_the_stream_is_reported(motions, moved):
    recognizer, hands = gestures.MotionRecognizer(custom=motions), []

    def detect(rgb, *, time, roi):
        return Results(hands, rgb, recognizer(hands, time))

    session = Session([SimpleNamespace(detect=detect, finish=recognizer.finish)])
    for frame in moved("tick", seed=4):
        if frame.time < 1.6:
            hands[:] = frame.hands
            assert session.frame(np.zeros((4, 4, 3), np.uint8), frame.index, frame.time).motions == []
    (motion,), events = session.finish()
    assert (motion.name, motion.phase, motion.id) == ("tick", "end", 0)
    assert motion.time == pytest.approx(1.6, abs=0.05)
    assert [(event.name, event.phase, event.end) for event in events] == [
        ("tick", "begin", None),
        ("tick", "end", motion.time),
    ]
    assert session.finish() == ([], [])


GOOD = {
    "motion_names": np.array(["a", "b"]), "motion_steps": np.zeros((7, 24)), "motion_lengths": np.array([3, 4]),
    "motion_of": np.array([0, 1]), "motion_reaches": np.array([0.1, 0.2]),
}  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {"motion_steps": np.zeros(7)}, {"motion_steps": np.zeros((7, 24, 1))}, {"motion_steps": np.zeros((7, 23))},
        {"motion_steps": np.zeros((7, 24), int)}, {"motion_lengths": np.array([[3, 4]])},
        {"motion_lengths": np.array([3.0, 4.0])}, {"motion_lengths": np.array([0, 7])},
        {"motion_lengths": np.array([-1, 8])}, {"motion_lengths": np.array([3, 5])},
        {"motion_lengths": np.array([3, 3])}, {"motion_of": np.array([0, 2])}, {"motion_of": np.array([-1, 1])},
        {"motion_of": np.array([1, 1])}, {"motion_of": np.array([0])}, {"motion_of": np.array([0, 1, 0])},
        {"motion_reaches": np.array([0.1, 0.0])}, {"motion_reaches": np.array([0.1, np.nan])},
        {"motion_reaches": np.array([0.1])}, {"motion_names": np.array(["a", "b", "c"])},
        {"motion_names": np.array("a"), "motion_reaches": np.array(0.1)},
        {"motion_names": np.array([["a"], ["b"]]), "motion_reaches": np.ones((2, 1))},
        {"motion_steps": np.zeros((0, 24)), "motion_lengths": np.zeros(0, int), "motion_of": np.zeros(0, int)},
    ],
)  # fmt: skip
def test_arrays_of_motions_that_do_not_fit_are_refused(changes):
    learned = gestures.CustomMotions.from_arrays(GOOD, Path("x"))
    assert [len(way) for way in learned.ways] == [3, 4]
    with pytest.raises(InputError, match="x: "):
        gestures.CustomMotions.from_arrays(GOOD | changes, Path("x"))


def test_motions_and_recordings_are_the_same_after_a_file(motions, moved, tmp_path):
    again = gestures.CustomMotions.from_arrays(motions.arrays(), Path("x"))
    assert again.names == motions.names
    np.testing.assert_array_equal(again.motion, motions.motion)
    np.testing.assert_allclose(again.reaches, motions.reaches)
    for way, kept in zip(motions.ways, again.ways, strict=True):
        np.testing.assert_array_equal(way, kept)
    recording = gestures.MotionRecording.of("tick", moved("tick", "zigzag"))
    recording.save(tmp_path / "tick.npz")
    read = custom.load_recording(tmp_path / "tick.npz")
    assert (read.name, len(read), len(recording)) == ("tick", 2, 2)
    for way, kept in zip(recording.ways, read.ways, strict=True):
        np.testing.assert_array_equal(way, kept)


def shown(posed, places, times_s, side="Right"):
    """Return frames of a hand at places, in hand lengths, and times."""
    hand = posed("open", side)
    length = float(np.linalg.norm(hand.keypoints[9, :2] - hand.keypoints[0, :2]))
    points = [hand.keypoints + np.float32([*place, 0]) * length for place in places]
    return [
        Frame(n, time_s, [Hand(side, 1.0, own, hand.keypoints_3d, id=3)])
        for n, (own, time_s) in enumerate(zip(points, times_s, strict=True))
    ]


def test_an_unknown_fingertip_leaves_a_frame_out(posed, motions):
    frames = shown(posed, [(0.2 * k, 0) for k in range(20)], [k / 30 for k in range(20)])
    frames[9].hands[0].keypoints[8] = np.nan
    assert len(gestures.MotionRecording.of("a", frames)) == 1
    assert spotted(motions, frames) == []
    frames[9].hands[0].keypoints[:] = 0
    assert len(gestures.MotionRecording.of("a", frames)) == 1


def test_a_segment_is_written_with_few_digits():
    segment = gestures.GestureSegment("a", 0.123456, 1.234567, 0.87654, 4, "Left", moving=True)
    expected = {"name": "a", "start": 0.1235, "end": 1.2346, "score": 0.877, "id": 4, "handedness": "Left"}
    assert segment.to_dict() == expected | {"moving": True}


def test_a_recording_without_examples_is_refused(tmp_path):
    steps, lengths = np.zeros((0, 24), np.float16), np.zeros(0, int)
    np.savez(tmp_path / "a.npz", name=np.array("a"), steps=steps, lengths=lengths)
    with pytest.raises(InputError, match=r"a\.npz: contains steps \(0, 24\) of \(0,\) examples"):
        custom.load_recording(tmp_path / "a.npz")
