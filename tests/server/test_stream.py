"""The stream: pictures in order, settings that change on the way, the oldest dropped, nothing left behind."""

import gc
import json
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sonjit
from sonjit.server import messages
from sonjit.server.errors import RefusedError
from sonjit.server.messages import Configure, NoMessageError, Picture, Reset, read_picture, read_text

from .conftest import configure, frame_message, jpeg_of, open_stream, settled

LITE = {"kind": "hands", "model": "lite"}


@pytest.fixture
def frames(demo_clip):
    """Frames with hands in them, encoded."""
    return [jpeg_of(rgb) for rgb in demo_clip[1][100:106]]


def answer(socket, number, data, **others):
    socket.send(frame_message(number, data, **others))
    return socket.receive()


def test_a_stream_gives_what_a_detector_gives(weights, listen, frames):
    with open_stream(listen()) as socket:
        loading, ready = configure(socket, LITE | {"max_instances": 2}, measures=True)
        assert loading == {"type": "loading", "model": "hands-lite", "done": 0, "of": 1}
        assert ready["detectors"][0]["smoothing"] == "one_euro"
        answers = [answer(socket, 7 + i, data, time=i / 30) for i, data in enumerate(frames)]
    with sonjit.create_detector("hands", model="lite", max_instances=2, smoothing="one_euro") as detector:
        expected = [
            [one.to_dict(full=True) for one in detector.detect(data, time=i / 30)] for i, data in enumerate(frames)
        ]
    for i, (got, hands) in enumerate(zip(answers, expected, strict=True)):
        assert (got["type"], got["frame"], got["time"], got["dropped"]) == ("frame", 7 + i, i / 30, 0)
        assert set(got["timing"]) == {"wait_ms", "decode_ms", "detect_ms"}
        for one in got["hands"]:
            assert one.pop("measures")
            assert set(one.pop("gesture")) == {"name", "score"}
        assert got["hands"] == json.loads(json.dumps(hands))
    assert any(expected)


def test_raw_pictures_are_those_that_were_encoded(weights, listen, photo):
    height, width = photo.shape[:2]
    with open_stream(listen()) as socket:
        configure(socket, LITE | {"static_image": True, "smoothing": "none"})
        png = answer(socket, 1, cv2.imencode(".png", photo[..., ::-1])[1].tobytes())
        rgb = answer(socket, 1, photo.tobytes(), kind=2, size=(width, height))
        rgba = answer(socket, 1, np.dstack([photo, photo[..., 0]]).tobytes(), kind=1, size=(width, height))
    assert (png["width"], png["height"]) == (width, height)
    assert png["hands"]
    assert png["hands"] == rgb["hands"] == rgba["hands"]


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


def test_reset_begins_anew(weights, listen, frames, demo_clip):
    blank = jpeg_of(np.zeros_like(demo_clip[1][0]))
    with open_stream(listen()) as socket:
        configure(socket, LITE | {"max_instances": 1})
        assert answer(socket, 1, frames[0], time=0)["hands"][0]["id"] == 1
        assert not answer(socket, 2, blank, time=10)["hands"]
        assert answer(socket, 3, frames[0], time=20)["hands"][0]["id"] == 2
        socket.send(json.dumps({"type": "reset"}))
        assert answer(socket, 4, frames[0], time=0)["hands"][0]["id"] == 1


def test_a_clip_that_begins_anew_keeps_its_gestures(weights, listen, frames):
    with open_stream(listen()) as socket:
        configure(socket, LITE, measures=True)
        for i, time in enumerate((0, 1, 0, float("nan"), 0.5)):
            got = answer(socket, i, frames[0], time=time)
            assert all("gesture" in one for one in got["hands"])
            assert got["time"] == (None if time != time else time)


def test_a_stream_that_was_here_before_loads_nothing(weights, listen):
    client = listen()
    for count in (2, 1):
        with open_stream(client) as socket:
            assert len(configure(socket, LITE)) == count


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"detectors": [{"kind": "tails"}]}, "known: hands"),
        ({"detectors": [{}]}, "unknown kind None"),
        ({"detectors": [{"kind": ["hands"]}]}, "unknown kind"),
        ({"detectors": [{"kind": "hands", "model": "heavy"}]}, "full, lite"),
        ({"detectors": [{"kind": "hands", "max_instances": True}]}, "max_instances"),
        ({"detectors": [{"kind": "hands", "min_presence_score": float("nan")}]}, "min_presence_score"),
        ({"detectors": [{"kind": "hands", "hue": 1}]}, "known: model"),
        ({"detectors": [{"kind": "hands"}, {"kind": "hands", "model": "lite"}]}, "more than once"),
        ({"detectors": {"kind": "hands"}}, "give a list"),
        ({"detectors": ["hands"]}, "each is an object"),
        ({}, "give a list"),
        ({"detectors": [], "colour": 1}, "known: type"),
        ({"detectors": [], "measures": 3}, "measures=3"),
    ],
)
def test_wrong_settings_are_told_and_the_old_ones_stay(message, said, weights, listen, frames):
    with open_stream(listen()) as socket:
        configure(socket, LITE)
        socket.send(json.dumps({"type": "configure"} | message))
        error = socket.receive()
        assert (error["type"], error["code"]) == ("error", "bad_option")
        assert said in error["message"]
        assert answer(socket, 1, frames[0])["hands"]


def test_missing_weights_are_told(listen, monkeypatch, tmp_path):
    monkeypatch.setenv("SONJIT_HOME", str(tmp_path))
    client = listen()
    with open_stream(client) as socket:
        error = configure(socket, LITE)[-1]
        assert error["code"] == "missing_weights"
        assert "sonjit models pull hands" in error["message"]
    assert client.service.stock.lent == 0


@pytest.mark.parametrize(
    ("data", "others", "code"),
    [
        (b"", {}, "bad_image"),
        (b"no picture", {}, "bad_image"),
        (bytes(30), {"kind": 9}, "bad_image"),
        (bytes(11), {"kind": 2, "size": (2, 2)}, "bad_image"),
        (b"", {"kind": 1, "size": (0, 5)}, "bad_image"),
        (bytes(4 * 300 * 300), {"kind": 1, "size": (300, 300)}, "too_many_pixels"),
    ],
)
def test_a_picture_that_cannot_be_used_is_told_and_the_stream_goes_on(data, others, code, weights, listen):
    with open_stream(listen(max_megapixels=0.05)) as socket:
        configure(socket, LITE)
        error = answer(socket, 5, data, **others)
        assert (error["type"], error["frame"], error["code"]) == ("error", 5, code)
        assert answer(socket, 6, bytes(3 * 64), kind=2, size=(8, 8))["type"] == "frame"


def test_a_failure_of_the_servers_own_is_told_and_the_stream_goes_on(weights, listen, monkeypatch):
    with open_stream(listen()) as socket:
        configure(socket, LITE)
        with monkeypatch.context() as patch:
            patch.setattr(Picture, "decode", lambda *_: 1 // 0)
            assert answer(socket, 1, b"")["code"] == "failed"
        assert answer(socket, 2, bytes(3 * 64), kind=2, size=(8, 8))["type"] == "frame"


@pytest.mark.parametrize("send", [
    lambda s: s.send("{"), lambda s: s.send("[]"), lambda s: s.send('{"type": "hello"}'),
    lambda s: s.send("[" * 100_000), lambda s: s.send(b""), lambda s: s.send(b"SNJ1"),
    lambda s: s.send(frame_message(1, b"", magic=b"SNJ2")),
])  # fmt: skip
def test_what_is_no_message_closes_the_stream(send, listen):
    with open_stream(listen()) as socket:
        send(socket)
        closed = socket.end()
    assert closed.code == 1008
    assert closed.reason


@given(st.binary(max_size=60) | st.binary(max_size=40).map(lambda rest: b"SNJ1" + rest))
def test_any_bytes_are_a_picture_or_no_message(data):
    try:
        picture = read_picture(data)
    except NoMessageError:
        return
    try:
        shape, code = picture.decode(100).shape, ""
    except RefusedError as error:
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
        message = read_text(text)
    except NoMessageError:
        return
    assert isinstance(message, (Configure, Reset))


def hold_decoding(monkeypatch):
    """Pictures wait before they are decoded until the gate is set; `begun` is set once one does."""
    begun, gate, decode = threading.Event(), threading.Event(), messages.Picture.decode

    def wait(picture, max_pixels):
        begun.set()
        gate.wait()
        return decode(picture, max_pixels)

    monkeypatch.setattr(messages.Picture, "decode", wait)
    return begun, gate


@pytest.mark.parametrize("queue", [1, 3])
def test_pictures_beyond_the_queue_push_out_the_oldest(queue, weights, listen, monkeypatch):
    begun, gate = hold_decoding(monkeypatch)
    pixel = frame_message(0, bytes(3), kind=2, size=(1, 1))[8:]
    live = listen(queue=queue)
    with open_stream(live) as socket:
        configure(socket, LITE)
        (stream,) = live.service.streams
        socket.send(b"SNJ1" + bytes(4) + pixel)
        begun.wait()  # the first is being decoded, so that all others wait
        for number in range(1, 11):
            socket.send(b"SNJ1" + number.to_bytes(4, "little") + pixel)
        socket.send(json.dumps({"type": "configure", "detectors": []}))  # in order, and never dropped
        assert settled(lambda: any(isinstance(one, Configure) for one in list(stream._waiting)))
        gate.set()
        got = [socket.receive() for _ in range(queue + 2)]
    assert [one.get("frame") for one in got] == [0, *range(11 - queue, 11), None]
    assert [one.get("dropped") for one in got[1:-1]] == [10 - queue] * queue
    assert got[-1] == {"type": "ready", "detectors": []}


def test_clients_beyond_the_limit_are_sent_away_and_may_come_later(listen):
    client = listen(max_clients=2)
    with open_stream(client) as one, open_stream(client) as two:
        assert configure(one)[-1]["type"] == configure(two)[-1]["type"] == "ready"
        assert len(client.service.streams) == 2
        with open_stream(client) as three:
            closed = three.end()
        assert closed.code == 1013
        assert "2 clients" in closed.reason
    assert settled(lambda: not client.service.streams)
    with open_stream(client) as three:
        assert configure(three)[-1]["type"] == "ready"


def test_a_client_that_leaves_leaves_nothing(weights, listen, frames, monkeypatch):
    client = listen()
    service = client.service
    begun, gate = hold_decoding(monkeypatch)
    with open_stream(client) as socket:
        configure(socket, LITE)
        assert service.stock.lent == 1
        (stream,) = service.streams
        held = [weakref.ref(stream), weakref.ref(stream._lane)]
        del stream
        for number in range(4):
            socket.send(frame_message(number, frames[0]))
        begun.wait()
        gate.set()
    assert settled(lambda: service.stock.lent == 0 and not service.streams)
    assert settled(lambda: gc.collect() is not None and [one() for one in held] == [None, None])


def test_many_settings_at_once_are_no_way_to_fill_the_memory(listen, monkeypatch):
    begun, gate = hold_decoding(monkeypatch)
    with open_stream(listen()) as socket:
        socket.send(frame_message(0, bytes(3), kind=2, size=(1, 1)))
        begun.wait()
        for _ in range(100):
            socket.send(json.dumps({"type": "reset"}))
        gate.set()
        assert socket.end().code == 1008


def test_the_server_stops_with_a_word(weights, listen, frames):
    live = listen()
    with open_stream(live) as socket:
        configure(socket, LITE)
        socket.send(frame_message(1, frames[0]))
        live.stop()
        assert socket.end().code == 1001
    assert live.service.stock.lent == 0
    assert not any(thread.name.startswith("sonjit-worker") for thread in threading.enumerate())


def test_eight_busy_clients_are_served_alike(weights, listen, frames):
    live, answered, enough = listen(workers=1), [0] * 8, threading.Event()

    def client(number):
        with open_stream(live) as socket:
            configure(socket, LITE)
            socket.send(frame_message(0, frames[0]))
            while not enough.is_set():
                socket.send(frame_message(1, frames[0]))
                assert socket.receive()["type"] == "frame"
                answered[number] += all(answered) or not answered[number]  # from when all are there
                if sum(answered) > 160:
                    enough.set()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(client, range(8)))
    assert min(answered) > 0.5 * max(answered)
