"""Images of clients with detectors of the test: members of answers, masks, maps, uploads and their bounds."""

import base64
import json

import cv2
import numpy as np
import pytest

from sonjit._util.errors import InputError, JobError
from sonjit.explanations.hand_saliency import TargetMap
from sonjit.geometry.boxes import RotatedBox
from sonjit.gestures import LearnedGestures
from sonjit.media.result_exports import Results
from sonjit.results import Body, Face, Hand
from sonjit.results.classes import Gesture, HandPoints
from sonjit.server.errors import RefusedError
from sonjit.server.images import ClientDetector, decode_upload, map_to_dict, mask_to_dict, raw_image
from sonjit.server.options import SessionOptions

RGB = np.zeros((40, 60, 3), np.uint8)
POINTS = np.arange(63, dtype=np.float32).reshape(21, 3)
OPEN = Gesture("Open_Palm", 0.75)


def hand(id=1, gesture=OPEN, published=False, **more):
    own = HandPoints(POINTS + 100, POINTS / 10) if published else None
    return Hand("Left", 0.5, POINTS, POINTS / 100, id, 0.75, gesture=gesture, published=own, **more)


def body(mask=None):
    points = np.arange(99, dtype=np.float32).reshape(33, 3)
    return Body(0.5, points, points / 100, points[:, 0] / 99, points[:, 0] / 99, 1, mask)


class Detecting:
    """Detector that finds what a test states, and two more that are hidden."""

    def __init__(self, *found, kind="hands", motions=()):
        self.found, self.kind, self.motions = found, kind, motions
        self.calls = []

    def detect(self, rgb, time=None, roi=None):
        self.calls.append(time)
        return Results(self.found, rgb, motions=self.motions, total=len(self.found) + 2)

    def finish(self):
        return []

    def set_gestures(self, gestures):
        self.calls.append(gestures)

    def reset(self):
        self.calls.append("reset")


def options_of(kind="hands", *, still=False, **values):
    return SessionOptions.from_values(kind, values, still=still)


def members(answer):
    return json.loads(f"{{{answer}}}")


def test_an_answer_of_a_stream_has_what_was_asked_for():
    asked = {"nothing": {}, "gestures": {"gestures": "canned"}, "measures": {"measures": True}}
    found = {}
    for name, values in asked.items():
        detecting = Detecting(hand(published=True), hand(2, None))
        client = ClientDetector(options_of(**values), detecting)
        assert client.hidden == 0
        found[name] = members(client.answer(RGB, 0.5))["hands"]
        assert (client.hidden, [one.id for one in client.hands]) == (2, [1, 2])
        assert detecting.calls == [{"nothing": None}.get(name, "canned"), 0.5]
        assert client.motions == (None if name == "nothing" else [])
    plain, gestures, measures = found.values()
    assert [one["gesture"] for one in gestures] == [{"name": "Open_Palm", "score": 0.75}, None]
    assert [set(one) - set(two) for one, two in zip(measures, gestures, strict=True)] == [{"measures"}] * 2
    assert not {"gesture", "gesture_score"} & measures[0]["measures"].keys()
    assert "measures" not in plain[0]
    assert "gesture" not in plain[1]
    assert [one.get("published", {}).keys() for one in plain] == [{"keypoints", "keypoints3D"}, set()]
    shown = plain[0]["published"]
    assert (shown["keypoints"][1], shown["keypoints3D"][1]) == (
        {"x": 103.0, "y": 104.0, "z": 105.0},
        {"x": 0.3, "y": 0.4, "z": 0.5},
    )
    assert {"id", "box", "skeleton", "handednessScore"} <= plain[0].keys()


def test_a_strict_answer_has_the_members_of_tfjs_models_only():
    client = ClientDetector(options_of(still=True, measures=True), Detecting(hand(None, published=True)))
    (strict,) = members(client.answer(RGB, None, strict=True))["hands"]
    assert set(strict) == {"score", "handedness", "keypoints", "keypoints3D", "gesture"}
    (full,) = members(client.answer(RGB, None))["hands"]
    assert {"id", "measures", "box"} <= full.keys()
    assert "published" not in full
    assert client.motions is None


def test_measures_of_boxes_come_only_if_they_are_asked_for():
    face = Face(0.5, np.zeros((6, 3), np.float32), (1.0, 2.0, 3.0, 4.0), 1)
    for measured in (False, True):
        client = ClientDetector(options_of("face", model="box", measures=measured), Detecting(face, kind="face"))
        (shown,) = members(client.answer(RGB, 0.5))["faces"]
        assert ("measures" in shown) == measured
        assert client.motions is None


def test_only_a_body_with_a_mask_has_a_segmentation():
    mask = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    client = ClientDetector(options_of("body"), Detecting(body(mask), body(), kind="body"))
    for strict in (False, True):
        first, second = members(client.answer(RGB, 0.5, strict=strict))["bodies"]
        assert (first["segmentation"], "segmentation" in second) == (mask_to_dict(mask), False)


def test_gestures_of_a_file_need_no_option():
    detecting, learned = Detecting(hand()), object.__new__(LearnedGestures)
    client = ClientDetector(options_of(), detecting)
    client.change(options_of(), learned)
    (shown,) = members(client.answer(RGB, 0.5))["hands"]
    assert (shown["gesture"]["name"], "measures" in shown, client.motions) == ("Open_Palm", False, [])


def test_a_reset_ends_the_events_that_last():
    client = ClientDetector(options_of(gestures="canned"), Detecting(hand()))
    begun = []
    for number in range(8):
        client.answer(RGB, number / 10)
        begun += client.events
    client.reset()
    assert client.detector.calls[-1] == "reset"
    client.answer(RGB, 0.0)
    assert [(event.name, event.phase) for event in begun] == [("Open_Palm", "begin")]
    assert [(event.name, event.phase) for event in client.events] == [("Open_Palm", "end")]
    client.answer(RGB, 0.1)
    assert client.events == []


def test_an_image_that_a_detector_refuses_is_a_bad_image():
    class Refusing(Detecting):
        def detect(self, rgb, time=None, roi=None):
            raise InputError("too large")

    with pytest.raises(RefusedError, match="too large") as refused:
        ClientDetector(options_of(), Refusing()).answer(RGB, 0.5)
    assert refused.value.code == "bad_image"


def mask_of(shape, **more):
    shown = mask_to_dict(np.full(shape, 0.5, np.float32))
    grey = cv2.imdecode(np.frombuffer(base64.b64decode(shown["png"]), np.uint8), cv2.IMREAD_UNCHANGED)
    assert grey.shape == (shown["height"], shown["width"])
    assert set(grey.ravel()) <= {127, 128}
    return grey.shape


@pytest.mark.parametrize(
    ("shape", "shown"),
    [
        ((511, 3), (511, 3)),
        ((512, 3), (512, 3)),
        ((3, 513), (3, 512)),
        ((1024, 512), (512, 256)),
        ((256, 1024), (128, 512)),
        ((1, 2000), (1, 512)),
        ((2000, 1), (512, 1)),
    ],
)
def test_a_mask_has_at_most_512_pixels_along_a_side(shape, shown):
    assert mask_of(shape) == shown


BOX = RotatedBox(20.12345, 10.0, 8.0, 6.0, 0.25)
MAP = TargetMap("presence", np.array([[1, 2, 3], [4, 5, 6.5]], np.float32), 0.123456, 7.654321, "logit", BOX)


@pytest.mark.parametrize(
    ("width", "values", "cx", "rotation"),
    [(None, [1.0, 2.0, 3.0, 4.0, 5.0, 6.5], 20.123, 0.25), (60, [3.0, 2.0, 1.0, 6.5, 5.0, 4.0], 39.877, -0.25)],
)
def test_a_map_is_flipped_with_its_image(width, values, cx, rotation):
    shown = map_to_dict(MAP, flipped_width=width)
    assert (shown["of"], shown["unit"], shown["size"], shown["values"]) == ("presence", "logit", [2, 3], values)
    assert (shown["value"], shown["bias"]) == (7.6543, 0.1235)
    assert (shown["box"]["cx"], shown["box"]["rotation"], shown["box"]["cy"]) == (cx, rotation, 10.0)


@pytest.mark.parametrize("channels", [3, 4])
def test_raw_rows_are_pixels_if_their_number_fits(channels):
    pixels = np.arange(6 * channels, dtype=np.uint8).reshape(2, 3, channels)
    data = memoryview(pixels.tobytes())
    assert np.array_equal(raw_image(data, 3, 2, channels, 6), pixels[..., :3])
    for width, height, given in (
        (0, 2, data),
        (3, 0, data),
        (0, 0, data[:0]),
        (3, 2, data[:-1]),
        (3, 1, data),
        (0, 2, data[:0]),
        (2, 0, data[:0]),
    ):
        with pytest.raises(RefusedError, match=f"{len(given)} bytes are not {width} x {height} pixels") as refused:
            raw_image(given, width, height, channels, 6)
        assert refused.value.code == "bad_image"
    with pytest.raises(RefusedError, match="3 x 2 pixels, more than 5e-06 million") as refused:
        raw_image(data, 3, 2, channels, 5)
    assert refused.value.code == "too_many_pixels"


PNG = cv2.imencode(".png", np.full((2, 3, 3), 90, np.uint8))[1].tobytes()


class Decoding:
    def decode(self, data):
        if data.endswith(b"broken"):
            raise JobError("it broke")
        return data


@pytest.mark.parametrize(
    ("data", "code", "says"),
    [
        (PNG, None, ""),
        (b"", "bad_image", "no image came: send the bytes"),
        (b"text", "bad_image", "4 bytes are not an image of a known format: send"),
        (PNG[:20], "bad_image", "20 bytes are a damaged png image: send"),
        (PNG + b"broken", "bad_image", "it broke"),
    ],
)
def test_an_upload_is_decoded_if_it_is_an_image_of_so_many_pixels(data, code, says):
    if code is None:
        assert decode_upload(data, 6, Decoding()) == data
        code, says, pixels = "too_many_pixels", "3 x 2 pixels", 5
    else:
        pixels = 6
    with pytest.raises(RefusedError, match=says) as refused:
        decode_upload(data, pixels, Decoding())
    assert refused.value.code == code


def test_the_end_of_a_stream_ends_the_events_that_last():
    client = ClientDetector(options_of(gestures="canned"), Detecting(hand()))
    for number in range(8):
        client.answer(RGB, number / 10)
    client.reset()
    for number in range(8):
        client.answer(RGB, number / 10)
    ended = [(event.name, event.phase) for event in client.finish()[1]]
    assert ended == [("Open_Palm", "end")]
    assert client.finish() == ([], [])
