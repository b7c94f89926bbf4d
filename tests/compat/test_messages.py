"""Messages have the fields of MediaPipe's own; protobuf does the rest."""

import re
import subprocess
import sys

import pytest

from sonjit.compat.mediapipe.framework.formats import classification_pb2, detection_pb2, landmark_pb2, location_data_pb2
from sonjit.compat.mediapipe.json_format import MessageToDict, MessageToJson, Parse, ParseDict, ParseError

Detection, Location = detection_pb2.Detection, location_data_pb2.LocationData
Point, Points = landmark_pb2.NormalizedLandmark, landmark_pb2.NormalizedLandmarkList


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
    where = detection().location_data
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
def test_the_wire_format_is_that_of_mediapipe(name):
    message = wire_messages()[name]
    assert message.SerializeToString().hex() == WIRE[name]
    assert type(message).FromString(bytes.fromhex(WIRE[name])).SerializeToString().hex() == WIRE[name]


def test_dictionaries_are_parsed_as_protobuf_does():
    message = detection()
    message.detection_id = 2**40
    for preserving in (False, True):
        content = MessageToDict(message, preserving_proto_field_name=preserving)
        assert ParseDict(content, Detection()) == message
    assert content["detection_id"] == str(2**40)
    assert Parse(MessageToJson(message), Detection()) == message
    with pytest.raises(ParseError, match="Failed to load JSON"):
        Parse("{", Point())


def test_tasks_run_without_protobuf_and_solutions_name_its_extra():
    lines = [
        "import sys",
        "sys.modules['google.protobuf'] = None",
        "from sonjit.compat import mediapipe as mp",
        "import numpy as np",
        "point = mp.tasks.components.containers.NormalizedLandmark(0.5, 0.5, 0.0)",
        "mp.tasks.vision.drawing_utils.draw_landmarks(np.zeros((9, 9, 3), np.uint8), [point])",
        "mp.tasks.vision.PoseLandmarker, mp.tasks.vision.GestureRecognizer, mp.tasks.vision.ImageSegmenter",
        "try:",
        "    mp.solutions.hands",
        "except ImportError as error:",
        "    print(error)",
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True, timeout=120, capture_output=True)
    assert re.search(rb"pip install .*\[compat\]'", done.stdout)
