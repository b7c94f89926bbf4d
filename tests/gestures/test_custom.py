"""Custom gestures, learned from a few examples."""

import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.gestures import (
    CustomGestures,
    CustomMotions,
    GestureRecording,
    LearnedGestures,
    MotionRecording,
    classifier,
    custom,
    find_gestures,
)
from sonjit.results import Body, Frame, Gesture, Hand, Person
from sonjit.runs import annotate, table_columns

CUSTOM = ("claw", "vulcan", "beak")


@pytest.fixture(scope="module")
def recordings(posed):
    """Return one recording of each pose by each of two people."""
    return [
        GestureRecording.of(name, hands_of(posed, name, 10 * person + number))
        for person in (1, 2)
        for number, name in enumerate(CUSTOM)
    ]


def hands_of(posed, name, seed, count=10):
    rng = np.random.default_rng(seed)
    return [posed(name, rng.choice(["Left", "Right"]), rng.normal(0, 20), rng.normal(0, 15), rng) for _ in range(count)]


def test_ten_examples_by_two_people_teach_a_third_ones(recordings, posed):
    taught = CustomGestures.learn(recordings)
    predicted = {name: [taught(hand) for hand in hands_of(posed, name, 99)] for name in CUSTOM}
    right = [one is not None and one.name == name for name, names in predicted.items() for one in names]
    assert np.mean(right) >= 0.9, predicted
    others = [taught(hand) for name in ("fist", "ily", "thumb_up") for hand in hands_of(posed, name, 98)]
    assert np.mean([one is None for one in others]) >= 0.9, others


def test_tables_have_taught_gestures_before_the_shipped_ones(recordings, posed, tmp_path):
    LearnedGestures.learn(recordings).save(tmp_path / "mine.npz")
    columns = table_columns("hands-full", measures=False, gestures=True)
    assert list(columns) == ["gesture", "gesture_score"]
    annotated = []
    for name in ("canned", str(tmp_path / "mine.npz")):
        hands = [posed("claw"), posed("victory")]
        for hand in hands:
            hand.gesture = find_gestures(name)(hand)
        annotated.append(annotate(Frame(0, None, hands), columns))
    assert [[extra["gesture"] for extra in each.extras] for each in annotated] == [
        [None, "Victory"],
        ["claw", "Victory"],
    ]
    assert annotated[1].notes[0].startswith("claw ")
    for model, options in (("face-box", {"gestures": True}), ("body-full", {"gestures": True}), ("hands-full", {})):
        assert "gesture" not in table_columns(model, measures=model != "hands-full", **options)


@pytest.mark.parametrize("is_motion", [False, True])
def test_confusion_leaves_each_recording_out(recordings, moved, motions, is_motion):
    if is_motion:
        recordings = [
            MotionRecording.of(name, moved(name, name, seed=seed)) for name in motions.names for seed in (1, 2)
        ]
    names, counts = custom.confusion(recordings)
    assert (names, counts.shape) == (motions.names if is_motion else CUSTOM, (3, 4))
    assert counts.sum(1).tolist() == ([4, 4, 4] if is_motion else [20, 20, 20])
    assert np.trace(counts[:, :3]) >= (1 if is_motion else 0.8) * counts.sum()
    with pytest.raises(InputError, match=f"{names[0]} has only one recording"):
        custom.confusion(recordings[:1])


def test_files_are_small_and_give_the_same(recordings, tmp_path):
    taught = LearnedGestures.learn(recordings)
    taught.save(tmp_path / "mine.npz")
    recordings[0].save(tmp_path / "claw.npz")
    assert (tmp_path / "mine.npz").stat().st_size < 4000
    assert (tmp_path / "claw.npz").stat().st_size < 8000
    places = custom.load_recording(tmp_path / "claw.npz").embedding()
    again = LearnedGestures.load(tmp_path / "mine.npz").static.classify(places)
    assert [one and one.name for one in again] == [
        gesture and gesture.name for gesture in taught.static.classify(places)
    ]


@pytest.mark.parametrize("load", [custom.load_recording, LearnedGestures.load])
def test_damaged_files_are_refused(load, recordings, tmp_path):
    file = tmp_path / "mine.npz"
    LearnedGestures.learn(recordings).save(file)
    complete = file.read_bytes()
    for damaged in (b"", b"nothing", complete[:-40], complete[:60] + bytes(20) + complete[80:]):
        file.write_bytes(damaged)
        with pytest.raises(InputError, match=r"mine\.npz is damaged or no \.npz file"):
            load(file)


def test_files_of_something_else_are_refused(tmp_path):
    other = tmp_path / "other.npz"
    np.savez(other, points=np.zeros(3))
    with pytest.raises(InputError, match=r"other\.npz: not a recording"):
        custom.load_recording(other)
    with pytest.raises(InputError, match=r"other\.npz: no custom gestures"):
        LearnedGestures.load(other)
    kept = CustomGestures(("a",), np.zeros((1, 64)), np.ones(1)).arrays()
    changes = {
        "trained for another": {"counts": None},
        "another version. Train": {"spread": kept["spread"] + 1},
        "not finite": {"means": kept["means"] * np.nan},
        "or no hands": {"counts": -kept["counts"]},
        "<U1 means": {"means": np.full((1, 64), "a")},
        r"counts \(2,\)": {"counts": np.ones(2)},
    }
    for message, changed in changes.items():
        np.savez(other, **{name: value for name, value in (kept | changed).items() if value is not None})
        with pytest.raises(InputError, match=message):
            LearnedGestures.load(other)
    with pytest.raises(InputError, match="no gesture to learn"):
        CustomGestures.learn([])
    with pytest.raises(InputError, match="no hand found"):
        GestureRecording.of("fist", [])


def test_an_unknown_hand_makes_no_gesture():
    assert CustomGestures(("a",), np.zeros((1, 64)), np.ones(1)).classify(np.full((2, 64), np.nan)) == [None, None]


def test_a_recording_with_further_arrays_is_read_as_what_it_is(tmp_path):
    file, steps = tmp_path / "wave.npz", np.zeros((5, 24), np.float16)
    np.savez(file, name=np.array("wave"), steps=steps, lengths=np.array([2, 3]), later=np.ones(3))
    recording = custom.load_recording(file)
    assert isinstance(recording, MotionRecording)
    assert [len(way) for way in recording.ways] == [2, 3]


@pytest.mark.parametrize(
    "points",
    [
        np.zeros((0, 2, 21, 3), np.float16), np.zeros((5, 2, 21), np.float16), np.zeros((5, 2, 20, 3), np.float16),
        np.zeros((2, 21, 3), np.float16), np.full((1, 2, 21, 3), "a"), np.full((1, 2, 21, 3), np.nan),
        np.float64(3), np.zeros((5, 2, 21, 3, 1), np.float16),
    ],
)  # fmt: skip
def test_recordings_of_other_points_are_refused(tmp_path, points):
    np.savez(tmp_path / "a.npz", name=np.array("a"), points=points)
    with pytest.raises(InputError, match=r"a\.npz: contains .*points"):
        custom.load_recording(tmp_path / "a.npz")


def test_hands_with_unknown_keypoints_are_no_examples(posed):
    known, unknown = posed("claw"), posed("fist")
    unknown.keypoints_3d = unknown.keypoints_3d.copy()
    unknown.keypoints_3d[4] = np.nan
    recording = GestureRecording.of("claw", [unknown, known])
    np.testing.assert_array_equal(recording.points, GestureRecording.of("claw", [known]).points)
    assert len(recording) == 1
    with pytest.raises(InputError, match="no hand found"):
        GestureRecording.of("claw", [unknown])


@pytest.mark.parametrize(
    "changes",
    [
        {"names": np.array("a")}, {"names": np.array([["a"]])}, {"means": np.zeros((1, 63), np.float32)},
        {"means": np.zeros((2, 64), np.float32)}, {"means": np.zeros((1, 64), int)}, {"counts": np.ones(1, int)},
        {"counts": np.zeros(1)}, {"counts": np.array([np.nan])}, {"names": np.array(["a", "b"])},
    ],
)  # fmt: skip
def test_arrays_of_gestures_that_do_not_fit_are_refused(changes):
    kept = CustomGestures(("a",), np.zeros((1, 64)), np.ones(1)).arrays()
    assert CustomGestures.from_arrays(kept, "x").names == ("a",)
    with pytest.raises(InputError, match=r"^x: "):
        CustomGestures.from_arrays(kept | changes, "x")


def test_learned_gestures_have_the_mean_and_number_of_their_examples(recordings):
    taught = CustomGestures.learn(recordings)
    assert (taught.names, taught.counts.tolist()) == (CUSTOM, [20, 20, 20])
    both = [one.embedding() for one in recordings if one.name == CUSTOM[1]]
    np.testing.assert_allclose(taught.means[1], np.concatenate(both).mean(0), atol=1e-4)
    again = CustomGestures.from_arrays(taught.arrays(), "x")
    np.testing.assert_allclose(again.means, taught.means, rtol=1e-6)
    assert again.counts.tolist() == [20, 20, 20]


@pytest.mark.parametrize("name", ["a", "a" * 40, "b-2 _C", "\uac00\ub098"])
def test_names_of_letters_digits_spaces_and_lines_are_taken(name):
    assert custom.checked_name(name) == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        *((name, "1 to 40 letters") for name in ("", "a" * 41, "  ", "a.b", "a/b", "a\n", 3, None)),
        ("None", "no gesture. Choose another"), ("Wave", "already a motion"), ("Swipe_Up", "already a motion"),
    ],
)  # fmt: skip
def test_other_names_are_refused(name, message):
    with pytest.raises(InputError, match=message):
        custom.checked_name(name)


def test_gestures_of_a_recipe_are_no_custom_file(tmp_path):
    alphabet = custom.chosen_gestures("asl")
    assert alphabet.names[-2:] == ("J", "Z")
    assert len(alphabet.names) == len(set(alphabet.names)) == 26
    with pytest.raises(InputError, match=r"x\.npz: gestures of a recipe"):
        alphabet.save(tmp_path / "x.npz")
    nothing = custom.chosen_gestures("canned")
    assert (nothing.names, nothing.static, nothing.motions.names) == ((), None, ())
    assert custom.chosen_gestures(alphabet) is alphabet


def test_a_file_named_like_a_shipped_alphabet_is_read(recordings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    LearnedGestures.learn(recordings[:1]).save(tmp_path / "mine.npz")
    (tmp_path / "mine.npz").rename("asl")
    assert custom.chosen_gestures("asl").names == ("claw",)


def test_gestures_as_bytes_are_limited_in_size(recordings):
    taught = LearnedGestures.learn(recordings)
    data = taught.to_bytes()
    assert LearnedGestures.from_bytes(data, "mine", 100_000).names == CUSTOM
    with pytest.raises(InputError, match="mine"):
        LearnedGestures.from_bytes(data, "mine", 100)


def shown(*names, rate=64, start=0):
    """Return frames of hands that make gestures by name: one name or the names of several hands with an id each."""
    points, frames = np.ones((21, 3), np.float32), []
    for index, each in enumerate(names):
        hands = [
            Hand("Right", 1.0, points, points, id=id, gesture=one and Gesture(one, 0.8))
            for id, one in enumerate(each if isinstance(each, tuple) else (each,))
            if one != "away"
        ]
        frames.append(Frame(index, start + index / rate, hands))
    return frames


SEEN = LearnedGestures(lambda hand: hand.gesture, CustomMotions.learn([]))


def segments(frames):
    return [(one.name, one.id, one.start, one.end) for one in custom.segments_of(frames, SEEN)]


def test_segments_are_from_the_first_to_the_last_frame_of_a_steady_gesture():
    names = ["A"] * 40 + ["B"] * 40 + [None] * 40 + ["away"] * 20 + ["B"] * 20
    (first, second, third) = segments(shown(*names))
    assert first[:3] == ("A", 0, 0)
    assert second[:2] == ("B", 0)
    assert second[2] - first[3] == 4 / 64  # between them no gesture has enough of a share
    assert 0.1 < second[2] - 40 / 64 < 0.2
    assert second[3] == 85 / 64
    assert third == ("B", 0, pytest.approx(third[2]), 159 / 64)
    assert {one.handedness for one in custom.segments_of(shown(*names), SEEN)} == {"Right"}
    assert not any(one.moving for one in custom.segments_of(shown(*names), SEEN))


def test_segments_of_several_hands_are_in_the_order_of_their_start():
    names = [("A", "away", "C")] * 20 + [("A", "B", "away")] * 20 + [("away", "B", "away")] * 20
    assert segments(shown(*names)) == [("C", 2, 0, 19 / 64), ("A", 0, 0, 39 / 64), ("B", 1, 20 / 64, 59 / 64)]


def test_a_time_that_steps_back_does_not_end_a_segment():
    frames = shown(*["A"] * 40)
    frames[20].time = 0.1
    assert segments(frames) == [("A", 0, 0, 39 / 64)]


def test_hands_of_people_are_hands_of_a_frame():
    points = np.ones((21, 3), np.float32)
    left, right, third = (Hand(side, 1.0, points, points, id=1) for side in ("Left", "Right", "Left"))
    body = Body(1.0, np.ones((33, 3), np.float32), np.ones((33, 3), np.float32), np.ones(33), np.ones(33), id=1)
    frame = Frame(0, 0.0, [third], people=[Person(body, left, right, None), Person(body, None, None, None)])
    assert [id(one) for one in classifier.hands_of(frame.all_results())] == [id(third), id(left), id(right)]


def test_confusions_are_of_gestures_and_motions(recordings, motions):
    ways = [MotionRecording(name, motions.ways[k : k + 1]) for k, name in ((0, "beckon"), (1, "beckon"))]
    (gestures, counts), (names, moving) = custom.confusions([*recordings, *ways])
    assert (gestures, counts.sum()) == (CUSTOM, 60)
    assert (names, moving.tolist()) == (("beckon",), [[2, 0]])
    assert [given for given, _ in custom.confusions(ways)] == [("beckon",)]


def test_the_embedding_of_a_recording_is_that_of_its_hands(posed):
    rng, hands = np.random.default_rng(3), []
    for side in ("Left", "Right"):
        hand = posed("claw", side)
        hand.keypoints = hand.keypoints + rng.normal(0, 20, (21, 3)).astype(np.float32)  # unlike those in metres
        hands.append(hand)
    expected = classifier.load_gestures().whiten(classifier.features_of(hands))
    found = GestureRecording.of("claw", hands).embedding()
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())
