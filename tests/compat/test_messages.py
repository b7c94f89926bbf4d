"""Landmarks behave as the protobuf messages that scripts expect."""

import copy
import pickle

import pytest

from sonjit.compat.mediapipe.framework.formats import classification_pb2, landmark_pb2
from sonjit.compat.mediapipe.json_format import MessageToDict

Point, Points = landmark_pb2.NormalizedLandmark, landmark_pb2.NormalizedLandmarkList


def test_unset_fields_read_as_zero_and_say_so():
    point = Point(x=0.5)
    assert (point.x, point.y, point.visibility) == (0.5, 0.0, 0.0)
    assert point.HasField("x")
    assert not point.HasField("visibility")
    point.visibility = 0.25
    assert point.HasField("visibility")
    point.ClearField("visibility")
    assert not point.HasField("visibility")
    assert not Point(visibility=None).HasField("visibility")


def test_unknown_fields_are_errors():
    with pytest.raises(ValueError, match=r"'w'.*x, y, z"):
        Point(w=1)
    with pytest.raises(AttributeError, match="'w'"):
        Point().w = 1
    with pytest.raises(ValueError, match="'w'"):
        Point().HasField("w")


def test_lists_are_built_as_scripts_build_them():
    points = Points()
    points.landmark.add().x = 0.1
    points.landmark.add(x=0.2, y=0.3)
    points.landmark.extend([Point(x=0.3), Point(x=0.4)])
    reused = Point(x=0.5)
    points.landmark.append(reused)
    reused.x = 9.0
    assert [point.x for point in points.landmark] == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert len(points.landmark) == 5
    assert points.landmark[-1].x == 0.5
    assert [point.x for point in points.landmark[:2]] == [0.1, 0.2]
    with pytest.raises(AttributeError, match="extend"):
        points.landmark = []
    del points.landmark[:]
    assert points == Points()


def test_instances_do_not_share_lists():
    first, second = Points(), Points()
    first.landmark.add()
    assert len(second.landmark) == len(Points.landmark) == 0


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_copies_are_equal_and_independent(duplicate):
    points = Points(landmark=[Point(x=0.1), Point(y=0.2, presence=0.9)])
    other = duplicate(points)
    assert other == points
    other.landmark[0].x = 0.7
    other.landmark.add()
    assert other != points
    assert len(points.landmark) == 2
    points.CopyFrom(other)
    assert points == other
    other.landmark[0].x = 0.8
    assert points.landmark[0].x == 0.7


def test_text_has_one_field_a_line():
    points = Points(landmark=[Point(x=0.5), Point(x=0.1234567891234, y=1)])
    assert str(points) == "landmark {\n  x: 0.5\n}\nlandmark {\n  x: 0.123456789\n  y: 1\n}\n"
    assert str(classification_pb2.Classification(index=1, label="Right")) == 'index: 1\nlabel: "Right"\n'


def test_message_to_dict():
    side = classification_pb2.Classification(index=0, score=0.9785234928131104, label="Left", display_name="L")
    sides = classification_pb2.ClassificationList(classification=[side])
    plain = {"index": 0, "score": 0.9785235, "label": "Left"}
    assert MessageToDict(sides) == {"classification": [plain | {"displayName": "L"}]}
    assert MessageToDict(side, preserving_proto_field_name=True) == plain | {"display_name": "L"}
    assert MessageToDict(Points()) == {}
