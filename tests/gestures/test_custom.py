"""Custom gestures, learned from a few examples."""

import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.gestures import CustomGestures, GestureRecording, LearnedGestures, MotionRecording, custom, find_gestures
from sonjit.results import Frame
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
