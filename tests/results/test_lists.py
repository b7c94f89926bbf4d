import copy
import pickle
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
import pytest

from sonjit import Body, Face, Frame, Hand, InputError, Person, Results
from sonjit.results import HandPoints, Result

RNG = np.random.default_rng(7)


def points(count, axes=3):
    return RNG.uniform(0, 99, (count, axes)).astype(np.float32)


def a_hand(score=0.5, id=None):
    return Hand("Left", score, points(21), points(21), id)


def complete_hand():
    """Return a hand with all of its arrays."""
    return Hand(
        "Right", 0.9, points(21), points(21), 1, 0.9, points(2, 2), np.ones(21, np.float32), None, points(21, 4),
        np.ones(21, np.float32), HandPoints(points(21), points(21)), 1.0, 0.1,
    )  # fmt: skip


def complete_person():
    visible = np.ones(33, np.float32)
    body = Body(0.9, points(33), points(33), visible, visible.copy(), 1, np.ones((4, 5), np.float32))
    face = Face(0.9, points(478), (0.0, 0.0, 9.0, 9.0), 1, {"jawOpen": 0.5}, np.eye(4, dtype=np.float32))
    return Person(body, complete_hand(), complete_hand(), face)


@dataclass(eq=False, slots=True)
class Other(Result):
    """Result of an extension, with arrays inside other values."""

    score: float
    keypoints: np.ndarray
    maps: dict[str, Any]
    pieces: list[Any]
    id: int | None = None

    kind: ClassVar[str] = "other"
    list_name: ClassVar[str] = "others"


def arrays_of(value):
    """Return all arrays in a value."""
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, Result):
        value = [getattr(value, item.name) for item in fields(value)]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [array for item in inner for array in arrays_of(item)]


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (complete_hand, 8),
        (complete_person, 5 + 8 + 8 + 2),
        (lambda: Other(0.5, points(4), {"a": points(3)}, [(points(2), 1)]), 3),
    ],
)
def test_a_frozen_result_has_its_own_arrays_which_are_read_only(make, count):
    result = make()
    before = arrays_of(result)
    copies = [array.copy() for array in before]
    assert result.freeze() is result
    after = arrays_of(result)
    assert len(before) == len(after) == count
    for old, new, values in zip(before, after, copies, strict=True):
        assert not np.shares_memory(old, new)
        np.testing.assert_array_equal(new, values)
        with pytest.raises(ValueError, match="read-only"):
            new[...] = 0
        old[...] = -1
        np.testing.assert_array_equal(new, values)
    result.freeze()
    assert all(old is new for old, new in zip(after, arrays_of(result), strict=True))


def test_a_view_of_the_memory_of_others_is_copied():
    memory = points(21)
    view = memory.view()
    view.flags.writeable = False
    hand = Hand("Left", 0.5, view, points(21)).freeze()
    memory[:] = 0
    assert hand.keypoints.any()


def test_results_of_files_are_read_only():
    hand = complete_hand()
    hand.error_px = hand.published = None
    read = Hand.from_dict(hand.to_dict(full=True))
    with pytest.raises(ValueError, match="read-only"):
        read.keypoints /= 2
    assert copy.deepcopy(read).keypoints.flags.writeable


def test_lists_give_the_values_of_their_results_as_arrays():
    hands = Results([a_hand(0.5), a_hand(0.9, 7)], keypoint_count=21)
    np.testing.assert_array_equal(hands.keypoints, [hand.keypoints for hand in hands])
    np.testing.assert_array_equal(hands.xy, hands.keypoints[:, :, :2])
    np.testing.assert_array_equal(hands.boxes, np.float32([hand.box for hand in hands]))
    np.testing.assert_array_equal(hands.scores, np.float32([0.5, 0.9]))
    assert hands.ids.tolist() == [-1, 7]
    types = {name: str(getattr(hands, name).dtype) for name in ("keypoints", "xy", "boxes", "scores", "ids")}
    assert types == dict.fromkeys(("keypoints", "xy", "boxes", "scores"), "float32") | {"ids": "int64"}
    hands.keypoints[:] = 0
    assert hands[0].keypoints.any()


def test_empty_lists_have_the_shapes_of_their_results():
    empty = Results([a_hand()], keypoint_count=21)[:0]
    for hands in (empty, Results(keypoint_count=21), Frame(0, None).hands, pickle.loads(pickle.dumps(empty))):
        shapes = [getattr(hands, name).shape for name in ("keypoints", "xy", "boxes", "scores", "ids")]
        assert shapes == [(0, 21, 3), (0, 21, 2), (0, 4), (0,), (0,)]
    frame = Frame(0, None)
    assert [len(frame.results(name).xy[0:0][0:]) for name in ("hands", "faces", "bodies", "people")] == [0] * 4
    assert [frame.results(name).xy.shape[1] for name in ("hands", "faces", "bodies", "people")] == [21, 478, 33, 33]


def test_keypoints_of_several_sizes_have_no_array():
    faces = Results([Face(0.5, points(count), (0.0, 0.0, 1.0, 1.0)) for count in (478, 468)])
    with pytest.raises(InputError, match="several numbers of keypoints"):
        faces.xy  # noqa: B018 - the access is the test
    assert faces.boxes.shape == (2, 4)


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (slice(1, None), [1, 2]),
        (slice(None, None, -1), [2, 1, 0]),
        (np.array([True, False, True]), [0, 2]),
        ([True, False, True], [0, 2]),
        (np.array([2, 0]), [2, 0]),
        ([-1], [2]),
        ([], []),
        (np.array([], bool)[:0].astype(int), []),
    ],
)
def test_an_index_selects_results(index, expected):
    hands = Results([a_hand(), a_hand(), a_hand()], keypoint_count=21)
    chosen = hands[index]
    assert type(chosen) is Results
    assert [id(hand) for hand in chosen] == [id(list(hands)[k]) for k in expected]
    assert chosen.xy.shape == (len(expected), 21, 2)


@pytest.mark.parametrize("index", [np.int64(1), np.array(1), 1, -2])
def test_a_number_selects_one_result(index):
    hands = Results([a_hand(), a_hand(), a_hand()])
    assert hands[index] is list(hands)[1]


@pytest.mark.parametrize(
    ("index", "error"),
    [
        (np.array([True, False]), IndexError),
        ([3], IndexError),
        (np.ones((3, 3), int), IndexError),
        (np.array([0.5]), IndexError),
        ("a", TypeError),
        (7, IndexError),
    ],
)
def test_an_index_that_fits_no_result_is_an_error(index, error):
    with pytest.raises(error):
        Results([a_hand(), a_hand(), a_hand()])[index]


def test_selected_results_keep_their_image_and_what_is_known_of_it():
    image = np.zeros((9, 9, 3), np.uint8)
    results = Results([a_hand(0.2), a_hand(0.9)], image, (), 5, False)
    chosen = results[results.scores > 0.5]
    assert chosen.image is image
    assert (len(chosen), chosen.total, chosen.complete) == (1, 5, False)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_lists_are_copied_with_their_type(duplicate):
    for hands in (Results([a_hand()], keypoint_count=21), Results([a_hand()], total=3, keypoint_count=21)):
        again = duplicate(hands)
        assert type(again) is type(hands)
        assert again == hands
        assert again[:0].xy.shape == (0, 21, 2)


def test_a_frame_of_plain_lists_has_arrays_too():
    frame = Frame(0, None, [a_hand()])
    frame.add([a_hand()])
    assert frame.hands.xy.shape == (2, 21, 2)
    assert Frame.from_results(0, None, [complete_person()]).people.xy.shape == (1, 33, 2)


def test_a_list_without_results_or_a_number_of_keypoints_has_none():
    assert Results().keypoints.shape == (0, 0, 3)
