"""The stream: ordered images, changed settings, dropped images, and no leftovers."""

import json

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sonjit
from sonjit.geometry.boxes import box_iou
from sonjit.media.drawing.covers import head_of_face
from sonjit.server import errors, images, stream

from .conftest import LITE, answer, configure, frame_message, jpeg_of, open_stream


@pytest.mark.slow
def test_a_stream_gives_what_a_detector_gives(weights, listen, frames):
    with open_stream(listen()) as socket:
        loading, ready = configure(socket, LITE | {"max_instances": 2, "search": "fast"}, measures=True)
        assert loading == {"type": "loading", "model": "hands-lite", "done": 0, "of": 1}
        assert ready["detectors"][0]["smoothing"] == "one_euro"
        answers = [answer(socket, 7 + i, data, time=i / 30) for i, data in enumerate(frames)]
    with sonjit.create_detector("hands", model="lite", max_instances=2, search="fast") as detector:
        expected = [
            [result.to_dict(full=True) for result in detector.detect(data, time=i / 30)]
            for i, data in enumerate(frames)
        ]
    for i, (got, hands) in enumerate(zip(answers, expected, strict=True)):
        assert (got["type"], got["frame"], got["time"], got["dropped"]) == ("frame", 7 + i, i / 30, 0)
        assert set(got["timing"]) == {"wait_ms", "decode_ms", "detect_ms"}
        for hand in got["hands"]:
            assert hand.pop("skeleton") == "hand_mediapipe21"
            assert hand.pop("measures")
            assert set(hand.pop("gesture") or ()) <= {"name", "score"}
        assert got["hands"] == json.loads(json.dumps(hands))
    assert any(expected)


@pytest.mark.slow
def test_raw_images_are_those_that_were_encoded(weights, listen, photo):
    height, width = photo.shape[:2]
    with open_stream(listen()) as socket:
        configure(socket, LITE | {"static_image": True, "smoothing": "none"})
        png = answer(socket, 1, cv2.imencode(".png", photo[..., ::-1])[1].tobytes())
        rgb = answer(socket, 1, photo.tobytes(), kind=2, size=(width, height))
        rgba = answer(socket, 1, np.dstack([photo, photo[..., 0]]).tobytes(), kind=1, size=(width, height))
    assert (png["width"], png["height"]) == (width, height)
    assert png["hands"]
    assert png["hands"] == rgb["hands"] == rgba["hands"]


@pytest.mark.slow
@pytest.mark.golden
def test_instances_of_a_still_beyond_the_maximum_are_counted(weights, listen, data):
    file = data / "real" / "wild" / "group-5.jpg"
    if not file.is_file():
        pytest.skip(f"no {file.name} in {data}")
    options = {"model": "mesh", "max_instances": 2, "static_image": True}
    with open_stream(listen()) as socket:
        configure(socket, {"kind": "face", "smoothing": "none", **options})
        got = answer(socket, 1, file.read_bytes())
    with sonjit.create_detector("face", **options) as detector:
        expected = detector.detect(file)
    assert len(got["faces"]) == 2
    assert got["hidden"] == expected.total - 2 > 0


def test_detectors_that_stay_the_same_keep_their_instances(weights, listen, frames):
    with open_stream(listen()) as socket:
        configure(socket, LITE)
        first = answer(socket, 1, frames[0])["hands"]
        assert [one["id"] for one in first] == list(range(1, len(first) + 1))
        (ready,) = configure(socket, LITE, measures=True)  # measures are no option of the detector itself
        assert ready["detectors"][0]["measures"]
        again = answer(socket, 2, frames[1], time=0.03)["hands"]
        assert [one["id"] for one in again] == [one["id"] for one in first]
        assert all("measures" in one for one in again)
        assert configure(socket, LITE | {"max_instances": 1})[-1]["type"] == "ready"
        assert len(answer(socket, 3, frames[2], time=0.06)["hands"]) == 1
        assert configure(socket) == [{"type": "ready", "detectors": []}]
        nothing = answer(socket, 4, frames[3])
        assert "hands" not in nothing
        assert nothing["width"]


@pytest.mark.slow
@pytest.mark.golden
def test_a_client_gets_the_boxes_of_everybody_to_hide(all_weights, listen, data):
    """A detector of hands finds none of the faces."""
    file = data / "real" / "wild" / "person-lexi.jpg"
    if not file.is_file():
        pytest.skip(f"no {file.name} in {data}")
    with sonjit.create_detector("face", static_image=True) as detector:
        (face,) = detector.detect(file)
    blank = jpeg_of(np.full((240, 320, 3), 90, np.uint8))
    with open_stream(listen()) as socket:
        for how in ("blur", "persons"):
            configure(socket, LITE, anonymise=how)
            covered = answer(socket, 1, file.read_bytes(), time=0)["covered"]
            assert set(covered) == {"faces", "again"} | ({"people"} if how == "persons" else set())
            assert any(box_iou(box, head_of_face(face)) > 0.5 for box in covered["faces"])
        assert covered["people"]
        assert answer(socket, 2, blank, time=9)["covered"]["faces"] == []
        configure(socket, LITE | {"static_image": True}, anonymise="blur")
        assert answer(socket, 3, file.read_bytes(), time=10)["covered"]["faces"]
        configure(socket, LITE)
        assert "covered" not in answer(socket, 4, blank, time=11)


def test_reset_restarts(weights, listen, frames, demo_clip):
    blank = jpeg_of(np.zeros_like(demo_clip[1][0]))
    with open_stream(listen()) as socket:
        configure(socket, LITE | {"max_instances": 1})
        assert answer(socket, 1, frames[0], time=0)["hands"][0]["id"] == 1
        assert not answer(socket, 2, blank, time=10)["hands"]
        assert answer(socket, 3, frames[0], time=20)["hands"][0]["id"] == 2
        socket.send(json.dumps({"type": "reset"}))
        assert answer(socket, 4, frames[0], time=0)["hands"][0]["id"] == 1


def test_finish_reports_the_gestures_that_are_still_shown(weights, listen, frames):
    with open_stream(listen()) as socket:
        configure(socket, LITE | {"gestures": "canned"})
        seen = [answer(socket, number, frames[0], time=number / 10)["events"] for number in range(12)]
        socket.send(json.dumps({"type": "finish"}))
        ended = socket.receive()
        socket.send(json.dumps({"type": "finish"}))
        assert socket.receive() == {"type": "finished", "motions": [], "events": []}
    begun = [(event["name"], event["id"]) for events in seen for event in events]
    assert begun
    assert ended["type"] == "finished"
    assert [(event["name"], event["id"]) for event in ended["events"]] == begun
    assert {event["phase"] for event in ended["events"]} == {"end"}


WRONG_SETTINGS = (
    ({"detectors": [{"kind": "tails"}]}, "Choose from hands"),
    ({"detectors": [{}]}, "kind is missing"),
    ({"detectors": [{"kind": ["hands"]}]}, "Unknown kind"),
    ({"detectors": [{"kind": "hands", "model": "heavy"}]}, "full, lite"),
    ({"detectors": [{"kind": "hands", "max_instances": "many"}]}, "max_instances"),
    ({"detectors": [{"kind": "hands", "min_presence_score": float("nan")}]}, "min_presence_score"),
    ({"detectors": [{"kind": "hands", "hue": 1}]}, "Choose from model"),
    ({"detectors": [{"kind": "face", "explain": "presence"}]}, "Unknown option 'explain' of face"),
    ({"detectors": [{"kind": "hands", "explain": "thumb"}]}, "index_finger_tip.x; keypoints: wrist"),
    ({"detectors": [{"kind": "body", "segmentation": 3}]}, "segmentation=3: give true or false"),
    ({"detectors": {"kind": "hands"}}, "give a list"),
    ({}, "give a list"),
    ({"detectors": [], "colour": 1}, "Choose from type"),
    ({"detectors": [], "measures": 3}, "measures=3"),
    ({"detectors": [], "anonymise": "black"}, "anonymise='black'"),
    ({"detectors": [], "anonymise": ["blur"]}, "choose from none, blur, persons"),
)


@pytest.mark.slow
def test_wrong_settings_are_reported_and_the_old_ones_stay(weights, listen, frames):
    with open_stream(listen()) as socket:
        configure(socket, LITE)
        for message, part in WRONG_SETTINGS:
            socket.send(json.dumps({"type": "configure"} | message))
            error = socket.receive()
            assert (error["type"], error["code"]) == ("error", "bad_option")
            assert part in error["message"]
            assert answer(socket, 1, frames[0])["hands"]


def test_missing_weights_are_reported(listen, monkeypatch, tmp_path):
    monkeypatch.setenv("SONJIT_HOME", str(tmp_path))
    client = listen()
    with open_stream(client) as socket:
        error = configure(socket, LITE)[-1]
        assert error["code"] == "missing_weights"
        assert "sonjit models pull hands" in error["message"]
    assert client.service.detectors.in_use == 0


UNUSABLE_IMAGES = (
    (b"", {}, "bad_image"),
    (b"no image", {}, "bad_image"),
    (bytes(30), {"kind": 9}, "bad_image"),
    (bytes(11), {"kind": 2, "size": (2, 2)}, "bad_image"),
    (b"", {"kind": 1, "size": (0, 5)}, "bad_image"),
    (bytes(3 * 40_000), {"kind": 2, "size": (40_000, 1)}, "bad_image"),
    (bytes(4 * 300 * 300), {"kind": 1, "size": (300, 300)}, "too_many_pixels"),
)


def test_an_image_that_cannot_be_used_is_reported_and_the_stream_continues(weights, listen):
    with open_stream(listen(max_megapixels=0.05)) as socket:
        configure(socket, LITE)
        for data, others, code in UNUSABLE_IMAGES:
            error = answer(socket, 5, data, **others)
            assert (error["type"], error["frame"], error["code"]) == ("error", 5, code)
            assert answer(socket, 6, bytes(3 * 64), kind=2, size=(8, 8))["type"] == "frame"


def test_a_detector_that_fails_is_reported_and_the_stream_continues(weights, listen, frames, monkeypatch):
    with open_stream(listen()) as socket:
        configure(socket, LITE)
        with monkeypatch.context() as patch:
            patch.setattr(images.ClientDetector, "answer", lambda *_: 1 // 0)
            assert answer(socket, 1, frames[0])["code"] == "failed"
        assert answer(socket, 2, frames[0])["hands"]


@pytest.mark.slow
@pytest.mark.parametrize("send", [
    lambda s: s.send("{"), lambda s: s.send("[]"), lambda s: s.send('{"type": "hello"}'),
    lambda s: s.send("[" * 100_000),
    lambda s: s.send("[" * 3_000_000),
    lambda s: s.send("9" * 5000), lambda s: s.send(b""), lambda s: s.send(b"SNJ1"),
    lambda s: s.send(frame_message(1, b"", magic=b"SNJ2")),
])  # fmt: skip
def test_an_invalid_message_closes_the_stream(send, listen):
    with open_stream(listen()) as socket:
        send(socket)
        closed = socket.end()
    assert closed.code == 1008
    assert closed.reason


@given(st.binary(max_size=60) | st.binary(max_size=40).map(lambda rest: b"SNJ1" + rest))
def test_any_bytes_are_a_image_or_no_message(decoders, data):
    try:
        image = stream.read_image(data)
    except stream.ProtocolError:
        return
    try:
        shape, code = image.decode(100, decoders).shape, ""
    except errors.RefusedError as error:
        shape, code = (1, 1, 3), error.code
    assert shape[2] == 3
    assert code in ("", "bad_image", "too_many_pixels")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["hands", "lite"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["kind", "model", "max_instances", "smoothing", "x"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(st.text(max_size=30) | JSON.map(lambda value: json.dumps({"type": "configure", "detectors": value})))
def test_any_text_is_a_message_or_none(text):
    try:
        message = stream.read_text(text)
    except stream.ProtocolError:
        return
    assert isinstance(message, (stream.Configure, stream.Reset))
