"""Landmarks behave as the protobuf messages that scripts expect."""

import copy
import pickle

import pytest

from sonjit.compat.mediapipe.framework.formats import classification_pb2, detection_pb2, landmark_pb2, location_data_pb2
from sonjit.compat.mediapipe.json_format import MessageToDict

Detection, Location = detection_pb2.Detection, location_data_pb2.LocationData
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


def detection():
    box = Location.RelativeBoundingBox(xmin=0.25, ymin=0.5, width=0.125)
    location = Location(format=Location.RELATIVE_BOUNDING_BOX, relative_bounding_box=box)
    location.relative_keypoints.add(x=0.75, y=0.1)
    return Detection(label_id=[0], score=[0.921885848], location_data=location)


def test_messages_within_messages():
    face = Detection()
    assert not face.HasField("location_data")
    assert face.location_data.relative_bounding_box.xmin == 0
    face.location_data.relative_bounding_box.xmin = 0.25
    assert face.HasField("location_data")
    assert face.location_data.HasField("relative_bounding_box")
    assert Detection() != face
    assert not Detection().HasField("location_data")
    with pytest.raises(AttributeError, match="CopyFrom"):
        face.location_data = Location()
    face.location_data.CopyFrom(detection().location_data)
    assert face.location_data == detection().location_data
    face.ClearField("location_data")
    assert face == Detection()


def test_copies_share_nothing_at_any_depth():
    face = detection()
    faces = detection_pb2.DetectionList(detection=[face])
    for other in (copy.copy(face), copy.deepcopy(face), faces.detection[0], pickle.loads(pickle.dumps(face))):
        assert other == face
        other.location_data.relative_keypoints[0].x = 0.5
        other.location_data.relative_bounding_box.xmin = 0.5
        other.score.append(0.5)
    assert face == detection()


def test_text_and_dict_of_a_detection():
    assert str(detection()) == (
        "label_id: 0\nscore: 0.921885848\nlocation_data {\n  format: RELATIVE_BOUNDING_BOX\n"
        "  relative_bounding_box {\n    xmin: 0.25\n    ymin: 0.5\n    width: 0.125\n  }\n"
        "  relative_keypoints {\n    x: 0.75\n    y: 0.1\n  }\n}\n"
    )
    assert MessageToDict(detection()) == {
        "labelId": [0],
        "score": [0.92188585],
        "locationData": {
            "format": "RELATIVE_BOUNDING_BOX",
            "relativeBoundingBox": {"xmin": 0.25, "ymin": 0.5, "width": 0.125},
            "relativeKeypoints": [{"x": 0.75, "y": 0.1}],
        },
    }
