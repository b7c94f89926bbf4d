"""Landmarks behave as the protobuf messages that scripts expect."""

import copy
import pickle

import numpy as np
import pytest

from sonjit.compat.mediapipe.framework.formats import classification_pb2, detection_pb2, landmark_pb2, location_data_pb2
from sonjit.compat.mediapipe.json_format import MessageToDict, MessageToJson, Parse, ParseDict, ParseError

Detection, Location = detection_pb2.Detection, location_data_pb2.LocationData
Point, Points = landmark_pb2.NormalizedLandmark, landmark_pb2.NormalizedLandmarkList


def test_unset_fields_read_as_zero_and_are_marked_as_unset():
    point = Point(x=0.5)
    assert (point.x, point.y, point.visibility) == (0.5, 0.0, 0.0)
    assert point.HasField("x")
    assert not point.HasField("visibility")
    point.visibility = 0.25
    assert point.HasField("visibility")
    point.ClearField("visibility")
    assert not point.HasField("visibility")
    assert not Point(visibility=None).HasField("visibility")


def test_numbers_are_rounded_to_32_bits():
    tenth = float(np.float32(0.1))
    point = Point(x=0.1, y=1, z=1e300)
    assert (point.x, point.y, point.z) == (tenth, 1.0, float("inf"))
    assert type(point.y) is float
    for value in (0.1, np.float32(0.1), np.float64(0.1)):
        point.z = value
        assert (type(point.z), point.z) == (float, tenth)
    for wrong in (lambda: Point(x="a"), lambda: setattr(point, "x", None), lambda: Detection(score=["a"])):
        with pytest.raises(TypeError):
            wrong()
    scores = Detection(score=[0.1]).score
    scores.append(0.1)
    scores.MergeFrom([0.1, 1])
    scores.insert(0, 0.2)
    scores[0] = 0.1
    scores[1:2] = [0.1]
    assert list(scores) == [tenth] * 4 + [1.0]
    assert all(type(score) is float for score in scores)
    assert Point.FromString(point.SerializeToString()) == point


def test_what_is_set_has_the_fields_type():
    label = classification_pb2.Classification(index=np.int64(3), label=b"one", score=True)
    assert (type(label.index), label.index, label.label, label.score) == (int, 3, "one", 1.0)
    label.index = True
    assert label.index is not True
    assert label.index == 1
    assert Location(format="RELATIVE_BOUNDING_BOX").format is Location.RELATIVE_BOUNDING_BOX
    assert Location(format=1).format is Location.BOUNDING_BOX
    assert Detection(detection_id=2**40, location_data={"format": 2}).location_data.format == 2
    assert Points(landmark=[{"x": 0.5}]).landmark[0] == Point(x=0.5)
    for error, wrong in (
        (TypeError, lambda: classification_pb2.Classification(index=1.0)),
        (TypeError, lambda: setattr(label, "index", None)),
        (TypeError, lambda: setattr(label, "label", 1)),
        (TypeError, lambda: Detection(label_id=["1"])),
        (TypeError, lambda: Detection(label=[1])),
        (TypeError, lambda: Detection(location_data=Point())),
        (TypeError, lambda: Points(landmark=[1])),
        (TypeError, lambda: Points().landmark.append(landmark_pb2.Landmark())),
        (TypeError, lambda: Point().CopyFrom(landmark_pb2.Landmark())),
        (ValueError, lambda: classification_pb2.Classification(index=2**31)),
        (ValueError, lambda: Detection(detection_id=2**63)),
        (ValueError, lambda: Location(format=7)),
        (ValueError, lambda: Location(format="CIRCLE")),
    ):
        with pytest.raises(error):
            wrong()
    assert (label.index, label.label) == (1, "one")


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
    assert [point.x for point in points.landmark] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert len(points.landmark) == 5
    assert points.landmark[-1].x == 0.5
    assert [point.x for point in points.landmark[:2]] == pytest.approx([0.1, 0.2])
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
    assert points.landmark[0].x == np.float32(0.7)


def test_text_has_one_field_a_line():
    points = Points(landmark=[Point(x=0.5), Point(x=0.1234567891234, y=1)])
    assert str(points) == "landmark {\n  x: 0.5\n}\nlandmark {\n  x: 0.123456791\n  y: 1\n}\n"
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


# What MediaPipe 0.10.21's own messages of the same content serialize to.
WIRE = {
    "landmarks": "0a140d0000003f15000080be1d000000402500007a3f0a050d0000803e",
    "detection": "1204000102031a080000803f0000003f221f08021a0f0d0000803e150000003f1d0000003e"
    "2a0a0d0000403f15cdcccc3d32017438074a0466616365",
}


def wire_messages():
    points = Points()
    points.landmark.add(x=0.5, y=-0.25, z=2.0, visibility=0.9765625)
    points.landmark.add(x=0.25)
    box = Location.RelativeBoundingBox(xmin=0.25, ymin=0.5, width=0.125)
    where = Location(format=Location.RELATIVE_BOUNDING_BOX, relative_bounding_box=box)
    where.relative_keypoints.add(x=0.75, y=0.1)
    face = Detection(
        label_id=[0, 1, 2, 3],
        score=[1.0, 0.5],
        location_data=where,
        track_id="t",
        detection_id=7,
        display_name=["face"],
    )
    return {"landmarks": points, "detection": face}


@pytest.mark.parametrize("name", WIRE)
def test_the_wire_format_is_protobufs(name):
    message = wire_messages()[name]
    assert message.SerializeToString().hex() == WIRE[name]
    assert message.ByteSize() == len(WIRE[name]) // 2
    assert type(message).FromString(bytes.fromhex(WIRE[name])).SerializeToString().hex() == WIRE[name]
    with pytest.raises(ValueError, match="past the end"):
        type(message).FromString(bytes.fromhex(WIRE[name])[:-1])


def test_messages_are_merged_and_cleared():
    points, more = Points(landmark=[Point(x=1.0)]), Points(landmark=[Point(x=2.0)])
    points.MergeFrom(more)
    assert [point.x for point in points.landmark] == [1.0, 2.0]
    assert points.IsInitialized()
    joined = Points()
    for one in (points, more):
        joined.MergeFromString(one.SerializeToString())
    assert [point.x for point in joined.landmark] == [1.0, 2.0, 2.0]
    face = Detection(feature_tag="old")
    face.MergeFrom(Detection(feature_tag="new", location_data=Location(bounding_box=Location.BoundingBox(xmin=-3))))
    assert (face.feature_tag, face.location_data.bounding_box.xmin) == ("new", -3)
    assert Detection.FromString(face.SerializeToString()) == face
    face.Clear()
    assert face == Detection()
    both = landmark_pb2.NormalizedLandmarkListCollection(landmark_list=[points, more])
    assert [len(one.landmark) for one in both.landmark_list] == [2, 1]
    with pytest.raises(TypeError, match="takes a Detection"):
        face.MergeFrom(points)


def test_descriptors_name_the_fields():
    descriptor = Detection(score=[0.5]).DESCRIPTOR
    assert (descriptor.name, descriptor.full_name) == ("Detection", "mediapipe.Detection")
    assert [(field.name, field.number, field.label, field.type) for field in descriptor.fields] == [
        ("label", 1, 3, 9), ("label_id", 2, 3, 5), ("score", 3, 3, 2), ("location_data", 4, 1, 11),
        ("feature_tag", 5, 1, 9), ("track_id", 6, 1, 9), ("detection_id", 7, 1, 3), ("display_name", 9, 3, 9),
        ("timestamp_usec", 10, 1, 3),
    ]  # fmt: skip
    assert descriptor.fields_by_name["score"].full_name == "mediapipe.Detection.score"
    assert Location.DESCRIPTOR.fields_by_name["format"].type == 14
    ((field, value),) = Point(x=0.5).ListFields()
    assert (field.name, field.number, value) == ("x", 1, 0.5)
    with pytest.raises(ValueError, match="has no oneof 'x'"):
        Point().WhichOneof("x")
    assert Point(x=0.5).SerializePartialToString() == Point(x=0.5).SerializeToString()


def test_dictionaries_are_parsed_as_protobuf_does():
    message = detection()
    message.detection_id = 2**40
    for preserving in (False, True):
        content = MessageToDict(message, preserving_proto_field_name=preserving)
        assert ParseDict(content, Detection()) == message
    assert content["detection_id"] == str(2**40)
    assert Parse(MessageToJson(message), Detection()) == message
    assert ParseDict({"x": "0.5", "y": None}, Point(z=1.0)) == Point(x=0.5, z=1.0)
    assert ParseDict({"x": 1, "w": 2}, Point(), ignore_unknown_fields=True) == Point(x=1.0)
    for content, reason in (
        ({"w": 1}, 'no field named "w"'),
        ({"x": "a"}, "Failed to parse x field"),
        ({"x": {}}, "Failed to parse x field"),
    ):
        with pytest.raises(ParseError, match=reason):
            ParseDict(content, Point())
    with pytest.raises(ParseError, match="Failed to load JSON"):
        Parse("{", Point())


def test_defaults_and_numbers_of_enumerators_are_written_if_requested():
    assert MessageToDict(Point(x=0.5), including_default_value_fields=True) == {
        "x": 0.5, "y": 0.0, "z": 0.0, "visibility": 0.0, "presence": 0.0,
    }  # fmt: skip
    assert MessageToDict(Points(), including_default_value_fields=True) == {"landmark": []}
    assert MessageToDict(Location(format="MASK"), use_integers_for_enums=True) == {"format": 3}
