"""Events, hands and frames: what they write, and which of their values count."""

import numpy as np
import pytest

from sonjit import Body, Face, Frame, Hand, Person
from sonjit.results import Event, Gesture, HandPoints, MotionEvent, Results
from sonjit.results.classes import LEAST_SIDE_SCORE


def points(count=21, start=0):
    return np.arange(start, start + 3 * count, dtype=np.float32).reshape(count, 3)


def test_a_motion_is_written_with_few_digits():
    event = MotionEvent("Wave", "progress", 3, "Left", 1.23456789, 0.98765, (-0.123456, 2.34567), 4.56789)
    assert event.to_dict() == {
        "name": "Wave", "phase": "progress", "id": 3, "handedness": "Left", "time": 1.2346, "strength": 0.988,
        "moved": [-0.123, 2.346], "count": 4.57,
    }  # fmt: skip
    again = MotionEvent.from_dict(event.to_dict())
    assert again == MotionEvent("Wave", "progress", 3, "Left", 1.2346, 0.988, (-0.123, 2.346), 4.57)


@pytest.mark.parametrize(("value", "written"), [(0.123456789, 0.12346), (123.456789, 123.46), (1234567.0, 1234600.0)])
def test_an_event_is_written_with_few_digits(value, written):
    event = Event("Wave", "motion", "end", 0.123456, 1.234567, 3, "Right", value)
    data = event.to_dict()
    assert data == {
        "name": "Wave", "type": "motion", "phase": "end", "begin": 0.1235, "end": 1.2346, "id": 3,
        "handedness": "Right", "value": written,
    }  # fmt: skip
    assert Event.from_dict(data) == Event("Wave", "motion", "end", 0.1235, 1.2346, 3, "Right", written)
    assert Event("Wave", "motion", "begin", 0.5, None, 3, None, 0.5).to_dict()["end"] is None


def test_points_are_mirrored_in_the_width_of_the_image_and_around_the_hand():
    image, metres = points(), points(start=7)
    flipped = HandPoints(image, metres).flipped(640)
    np.testing.assert_array_equal(flipped.keypoints, image * (-1, 1, 1) + (640, 0, 0))
    np.testing.assert_array_equal(flipped.keypoints_3d, metres * (-1, 1, 1))
    assert type(flipped) is HandPoints


def test_gestures_are_of_the_published_points_if_they_are_known():
    hand = Hand("Left", 0.9, points(), points(start=1))
    assert hand.gesture_points.keypoints is hand.keypoints
    assert hand.gesture_points.keypoints_3d is hand.keypoints_3d
    hand.published = HandPoints(points(start=2), points(start=3))
    assert hand.gesture_points is hand.published


@pytest.mark.parametrize(("score", "title"), [(None, "Left hand"), (LEAST_SIDE_SCORE, "Left hand"), (0.7999, "hand")])
def test_the_title_of_a_hand_has_its_side_if_it_is_known(score, title):
    assert Hand("Left", 0.9, points(), points(), handedness_score=score).title == title


def test_equal_results_have_equal_compared_fields():
    one = Hand("Left", 0.9, points(), points(), id=1, gesture=Gesture("a", 0.5))
    other = Hand("Left", 0.9, points(), points(), id=1, gesture=Gesture("a", 0.5))
    other.appearance, other.published = np.ones((21, 2)), HandPoints(points(), points())
    assert one == other
    for name, value in (("id", 2), ("score", 0.8), ("keypoints", points(start=1)), ("gesture", None)):
        changed = Hand("Left", 0.9, points(), points(), id=1, gesture=Gesture("a", 0.5))
        setattr(changed, name, value)
        assert one != changed
    unknown = points() * np.nan
    assert Hand("Left", 0.9, unknown, points()) == Hand("Left", 0.9, unknown.copy(), points())
    assert one != "a"


def test_a_frame_has_its_results_by_list_and_its_instances_in_order():
    def body(id):
        return Body(0.75, points(33), points(33), np.ones(33), np.ones(33), id=id)

    hands = [Hand(side, 0.9, points(), points()) for side in ("Left", "Right", "Left")]
    faces = [Face(0.9, points(478), (0, 0, 1, 1)), Face(0.8, points(478), (0, 0, 1, 1))]
    people = [Person(body(4), None, hands[1], faces[1]), Person(body(5), hands[2])]
    frame = Frame.from_results(3, 0.5, [people[0], hands[0], faces[0], people[1]], "a.png")
    assert (frame.index, frame.time, frame.source) == (3, 0.5, "a.png")
    found = {name: [id(one) for one in frame.results(name)] for name in ("hands", "faces", "bodies", "people", "none")}
    expected = {"hands": hands[:1], "faces": faces[:1], "bodies": [], "people": people, "none": []}
    assert found == {name: [id(one) for one in some] for name, some in expected.items()}
    assert [id(one) for one in frame.all_results()] == [id(one) for one in (hands[0], faces[0], *people)]
    order = [(0, hands[0]), (0, faces[0]), (0, people[0].body), (0, hands[1]), (0, faces[1]), (1, people[1].body)]
    order.append((1, hands[2]))
    assert [(number, id(one)) for number, one in frame.instances()] == [(number, id(one)) for number, one in order]
    assert (people[1].id, people[1].score, people[1].keypoints.shape) == (5, 0.75, (33, 3))
    assert people[0].skeleton.name == "body_blazepose33"
    assert all(isinstance(frame.results(name), Results) for name in ("hands", "none"))
    assert list(frame.to_dict()) == ["index", "time", "source", "hands", "faces", "people"]


def test_a_frame_writes_its_motions_and_events():
    frame = Frame(0, 1.0)
    assert frame.to_dict(()) == {"index": 0, "time": 1.0}
    frame.motions.append(MotionEvent("Wave", "end", 3, "Left", 1.0, 0.5, (0.5, 0.25), 4.0))
    frame.events.append(Event("Wave", "motion", "end", 0.5, 1.0, 3, "Right", 0.5))
    data = frame.to_dict(())
    assert list(data) == ["index", "time", "motions", "events"]
    again = Frame.from_dict(data)
    assert (again.motions, again.events, again.source) == (frame.motions, frame.events, None)
