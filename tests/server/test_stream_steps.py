"""Steps of a stream with a client and detectors of the test: messages, queue, answers, commands, and its end."""

import asyncio
import json
import math
import time
from types import SimpleNamespace

import anyio
import numpy as np
import pytest
from starlette.websockets import WebSocketDisconnect, WebSocketState

from sonjit._util.errors import JobError
from sonjit.server import stream
from sonjit.server.errors import RefusedError
from sonjit.server.service import Service
from sonjit.server.settings import Settings
from sonjit.server.stream import Configure, DryRun, ProtocolError, Reset, Stream, StreamImage, read_image, read_text

from .conftest import frame_message

LEFT = {"type": "websocket.disconnect"}
HANDS, FACE, PEOPLE = ({"kind": kind} for kind in ("hands", "face", "holistic"))
MAP = '[[rule]]\non = "Clap"\nkey = "right"'


class Client:
    """Socket of a client. A number in its script waits until as many messages were sent to it."""

    def __init__(self, *script, state=WebSocketState.CONNECTED, fails=()):
        self.script, self.fails = list(script), fails
        self.sent, self.closed, self.client_state, self.scope = [], [], state, {"subprotocols": []}

    async def accept(self, subprotocol):
        assert subprotocol is None

    async def receive(self):
        while self.script and not isinstance(self.script[0], dict):
            wanted = self.script.pop(0)
            while len(self.sent) < wanted:
                await asyncio.sleep(0.001)
        message = self.script.pop(0) if self.script else LEFT
        if "raise" in message:
            raise message["raise"]
        return message

    async def send_text(self, text):
        self.sent.append(json.loads(text))
        if self.sent[-1]["type"] in self.fails:
            raise WebSocketDisconnect

    async def close(self, code, reason):
        self.closed.append((code, reason))


class Pool:
    """Detectors of the server by kind. Those in `idle` are loaded, and those in `broken` fail."""

    def __init__(self, idle=(), broken=()):
        self.idle, self.broken, self.taken, self.returned = idle, broken, [], []

    def has(self, options):
        return options.kind in self.idle

    def take(self, options):
        if options.kind in self.broken:
            raise RefusedError("missing_weights", f"{options.kind} lacks weights")
        self.taken.append(options.kind)
        return options.kind

    def give_back(self, options, detector):
        self.returned.append(detector)


class Detecting:
    """Detector of a client. `found` has what it sets, and what it answers or raises, by kind."""

    found = {}  # noqa: RUF012
    calls = []  # noqa: RUF012

    def __init__(self, options, detector):
        self.options, self.detector = options, detector
        self.hands, self.motions, self.events, self.hidden = [], None, [], 0
        vars(self).update(self.found.get(options.kind, {}))

    def change(self, options, custom):
        self.options = options
        self.calls.append((self.detector, "change", options.measures, custom))

    def reset(self):
        self.calls.append((self.detector, "reset"))

    def end(self):
        self.calls.append((self.detector, "end"))

    def answer(self, rgb, time_s):
        self.calls.append((self.detector, rgb.shape, time_s))
        if hasattr(self, "error"):
            raise self.error
        return f'"{self.detector}":[{time_s}]'


@pytest.fixture
def detecting(monkeypatch):
    """Replace the detectors of clients, and return their class."""
    monkeypatch.setattr(Detecting, "found", {})
    monkeypatch.setattr(Detecting, "calls", [])
    monkeypatch.setattr(stream, "ClientDetector", Detecting)
    return Detecting


def serve(client, pool=None, others=0, **settings):
    """Serve a client to its end, and return the service."""
    service = Service(Settings(workers=2, **settings))
    service.detectors = pool or Pool()
    service.streams.update(dict.fromkeys(range(others)))

    async def run():
        await asyncio.wait_for(Stream(client, service).run(), 20)

    asyncio.run(run())
    assert len(service.streams) == others
    return service


def text(**message):
    return {"type": "websocket.receive", "text": json.dumps(message)}


def setting(*detectors, **more):
    return text(type="configure", detectors=detectors, **more)


def image(number, time=0.5, size=(2, 1)):
    return {
        "type": "websocket.receive",
        "bytes": frame_message(number, bytes(3 * size[0] * size[1]), time=time, kind=2, size=size),
    }


def without_timing(messages):
    return [{name: value for name, value in message.items() if name != "timing"} for message in messages]


def test_detectors_load_once_and_answer_side_by_side(detecting):
    pool = Pool(idle=("face",))
    again = setting(PEOPLE, {"kind": "hands", "measures": True})
    client = Client(setting(HANDS, FACE, PEOPLE), 3, image(5), 4, again, 5, image(6, 0.75), 6)
    serve(client, pool)
    ready, changed = ([one["kind"] for one in client.sent[place]["detectors"]] for place in (2, 4))
    assert (ready, changed) == (["hands", "face", "holistic"], ["holistic", "hands"])
    head = {"width": 2, "height": 1, "dropped": 0}
    assert without_timing([*client.sent[:2], client.sent[3], client.sent[5]]) == [
        {"type": "loading", "model": "hands-full", "done": 0, "of": 2},
        {"type": "loading", "model": "holistic-full", "done": 1, "of": 2},
        {"type": "frame", "frame": 5, "time": 0.5, **head, "hands": [0.5], "face": [0.5], "holistic": [0.5]},
        {"type": "frame", "frame": 6, "time": 0.75, **head, "holistic": [0.75], "hands": [0.75]},
    ]
    assert pool.taken == ["hands", "face", "holistic"]
    assert pool.returned == ["face", "holistic", "hands"]
    assert ("hands", "change", True, None) in detecting.calls
    assert [call for call in detecting.calls if call[0] == "face"][-1] == ("face", "end")
    assert ("hands", (1, 2, 3), 0.5) in detecting.calls
    assert client.closed == []


@pytest.mark.parametrize(("is_complete", "motions"), [(True, ["a", "b"]), (False, None)])
def test_an_answer_has_what_all_detectors_found(detecting, monkeypatch, is_complete, motions):
    class Control:
        asked = []  # noqa: RUF012

        def __init__(self, control, custom):
            assert (control.rules[0].on, custom) == ("Clap", None)

        def commands(self, *arguments):
            self.asked.append(arguments)
            return ["command"]

    monkeypatch.setattr(stream, "DryRun", Control)
    a, b, c = (SimpleNamespace(to_dict=name.upper) for name in "abc")
    detecting.found = {
        "hands": {"hidden": 2, "motions": [a], "events": [c], "hands": ["left"]},
        "holistic": {"hidden": 3, "motions": [b] if is_complete else None, "events": [a], "hands": ["right"]},
        "face": {"events": [b]},
    }
    pool = Pool(idle=("hands", "face", "holistic"))
    client = Client(
        setting(HANDS, FACE, PEOPLE, control=MAP), 1, image(1, size=(4, 3)), 2, setting(FACE), 3, image(2), 4
    )
    serve(client, pool)
    first, later = client.sent[1], client.sent[3]
    assert (first["hidden"], first["motions"]) == (5, ["A", "B"] if is_complete else ["A"])
    assert (first["events"], first["commands"]) == (["C", "B", "A"], ["command"])
    wanted = None if motions is None else [{"a": a, "b": b}[name] for name in motions]
    assert Control.asked == [(["left", "right"], 0.5, (4, 3), wanted)]
    assert not {"hidden", "motions", "events", "commands"} & later.keys()


def test_times_are_measured_in_milliseconds(detecting, monkeypatch):
    """The image waits for 20 s, is decoded in 235 ms, and searched in 62.5 ms."""
    clock = iter([30.123456, 30.358023, 200.0, 200.062507])
    monkeypatch.setattr(stream, "time", SimpleNamespace(perf_counter=lambda: next(clock), monotonic=lambda: 0.0))
    monkeypatch.setattr(
        stream, "read_image", lambda _: StreamImage(1, 0.5, 2, 1, 1, memoryview(bytes(3)), arrived_s=10.0)
    )
    client = Client(setting(HANDS), 2, image(1), 3)
    serve(client)
    assert client.sent[2]["timing"] == {"wait_ms": 20123.46, "decode_ms": 234.57, "detect_ms": 62.51}


def test_an_error_costs_one_answer_and_waits_for_all_detectors(detecting):
    detecting.found = {"hands": {"error": JobError("broken")}}
    broken = image(3)
    broken["bytes"] = broken["bytes"][:-1]
    client = Client(setting(HANDS, FACE), 3, image(1), 4, setting(FACE), 5, broken, 6, image(4), 7)
    serve(client)
    assert client.sent[3] == {"type": "error", "frame": 1, "code": "failed", "message": "broken"}
    assert ("face", (1, 2, 3), 0.5) in detecting.calls
    assert (client.sent[5]["frame"], client.sent[5]["code"]) == (3, "bad_image")
    assert (client.sent[6]["frame"], client.sent[6]["face"]) == (4, [0.5])


def test_only_one_image_is_decoded_before_its_turn(detecting, monkeypatch):
    """While the first image is searched, the second waits decoded, and the third is decoded until there is room."""
    decoded, decode, seen = [], StreamImage.decode, []

    def count(image, *limits):
        decoded.append(image.number)
        return decode(image, *limits)

    def answer(self, rgb, time_s):
        time.sleep(0.05)  # for images that are decoded too early
        seen.append(len(decoded))
        return '"hands":[]'

    monkeypatch.setattr(StreamImage, "decode", count)
    monkeypatch.setattr(detecting, "answer", answer)
    client = Client(setting(HANDS), 2, *map(image, range(1, 7)), 8)
    serve(client, queue=9)
    assert decoded == [1, 2, 3, 4, 5, 6]
    assert seen[0] <= 3


def test_detectors_that_do_not_load_change_nothing(detecting):
    pool = Pool(idle=("face",), broken=("holistic",))
    client = Client(setting(FACE), 1, setting(HANDS, PEOPLE), 4, image(1), 5)
    serve(client, pool)
    assert [message["type"] for message in client.sent] == ["ready", "loading", "loading", "error", "frame"]
    assert client.sent[3]["message"] == "holistic lacks weights"
    assert client.sent[4]["face"] == [0.5]
    assert pool.returned == ["hands", "face"]


def test_explanations_load_with_their_detector(detecting, monkeypatch):
    loaded = []
    monkeypatch.setattr(stream, "explainer_of", lambda options: loaded.append(options.explain))
    serve(Client(setting({"kind": "hands", "explain": "presence"}, FACE), 3))
    assert loaded == ["presence", "none"]


def test_a_client_that_leaves_while_detectors_load_gets_no_close_message(detecting):
    pool = Pool()
    client = Client(setting(HANDS, FACE), 9, fails=("ready",))
    serve(client, pool)
    assert pool.returned == ["hands", "face"]
    assert client.closed == []
    pool, client = Pool(idle=("hands",)), Client(setting(HANDS, FACE), 9, fails=("loading",))
    serve(client, pool)
    assert (pool.returned, client.closed) == (["hands"], [])


class HidingPeople:
    made = []  # noqa: RUF012

    def __init__(self, how):
        self.how, self.calls = how, []
        self.made.append(self)

    def reset(self):
        self.calls.append("reset")

    def answer(self, rgb, time_s, *, is_still):
        self.calls.append(is_still)
        return '"covered":{}'


def test_the_search_for_people_to_hide_stays_until_its_kind_changes(detecting, monkeypatch):
    monkeypatch.setattr(stream, "ClientHiding", HidingPeople)
    monkeypatch.setattr(HidingPeople, "made", [])
    pool, still = Pool(idle=("hands", "face")), {"static_image": True}
    settings = [
        setting(HANDS, anonymise="blur"),
        setting(HANDS | still, FACE, anonymise="blur"),
        setting(HANDS | still, FACE | still, anonymise="persons"),
        setting(anonymise="persons"),
        setting(HANDS),
    ]
    script = [step for k, one in enumerate(settings) for step in (one, 2 * k + 1, image(k), 2 * k + 2)]
    client = Client(*script[:4], text(type="reset"), *script[4:], text(type="reset"), image(9), 11)
    serve(client, pool)
    assert [(one.how, one.calls) for one in HidingPeople.made] == [
        ("blur", [False, "reset", False]),
        ("persons", [True, True]),
    ]
    assert [("covered" in message) for message in client.sent[1::2]] == [True, True, True, True, False]
    assert detecting.calls.count(("hands", "reset")) == 2


def test_the_oldest_images_are_dropped_and_settings_are_not(detecting):
    client = Client(*map(image, range(1, 6)), text(type="reset"), 2, image(6), 3)
    serve(client, queue=2)
    assert [(message["frame"], message["dropped"]) for message in client.sent] == [(4, 3), (5, 3), (6, 3)]


@pytest.mark.parametrize(("count", "closed"), [(32, []), (33, [1008])])
def test_so_many_settings_wait(detecting, count, closed):
    client = Client(image(1), image(2), *[text(type="reset")] * count, *[0 if closed else 2])
    serve(client, queue=2)
    assert [code for code, _ in client.closed] == closed
    if closed:
        assert "more than 32 messages wait" in client.closed[0][1]


@pytest.mark.parametrize(("others", "is_served"), [(1, True), (2, False), (3, False)])
def test_so_many_clients_are_served(detecting, others, is_served):
    client = Client(setting(), int(is_served))
    serve(client, others=others, max_clients=2)
    assert [message["type"] for message in client.sent] == ["ready"] * is_served
    assert client.closed == ([] if is_served else [(1013, "2 clients are served already: try again later")])


def test_a_silent_client_has_its_minutes_from_its_last_message(detecting, monkeypatch):
    now, waits, sleep = [1000.0], [], asyncio.sleep

    async def advance(seconds):
        waits.append(seconds)
        now[0] += seconds if len(waits) > 2 else seconds - 0.5
        await sleep(0.01)

    monkeypatch.setattr(stream, "time", SimpleNamespace(perf_counter=lambda: 0.0, monotonic=lambda: now[0]))
    monkeypatch.setattr(stream.anyio, "sleep", advance)
    client = Client(text(type="reset"), 1)
    serve(client, idle_minutes=2)
    assert waits == [120.0, 0.5, 0.5]
    assert client.closed == [(4408, "no image for 2 minutes (--idle-minutes): connect again to continue")]


@pytest.mark.parametrize(
    ("error", "closed"),
    [
        (WebSocketDisconnect(), []),
        (ProtocolError("no reason", 4000), [(4000, "no reason")]),
        (JobError("x" * 130), [(1011, "x" * 120)]),
        (JobError("손" * 50), [(1011, "손" * 40)]),
        (JobError("x" + "손" * 50), [(1011, "x" + "손" * 39)]),
        (ValueError("secret"), [(1011, "the server failed (ValueError). See its output for details")]),
    ],
)
def test_an_error_ends_the_stream_with_a_short_reason(detecting, error, closed):
    client = Client({"raise": error})
    serve(client)
    assert client.closed == closed


def test_a_connection_that_has_ended_is_not_closed_again(detecting):
    client = Client({"raise": JobError("broken")}, state=WebSocketState.DISCONNECTED)
    serve(client)
    assert client.closed == []


def test_a_server_that_stops_closes_a_stream_and_waits_for_its_end(detecting, monkeypatch):
    service, client, limits, limit = Service(Settings(workers=2)), Client(setting(), 9), [], anyio.move_on_after
    service.detectors = Pool()
    monkeypatch.setattr(stream.anyio, "move_on_after", lambda seconds: (limits.append(seconds), limit(seconds))[1])

    async def run():
        task = asyncio.create_task(Stream(client, service).run())
        while not client.sent:
            await asyncio.sleep(0.001)
        (stop,) = service.streams.values()
        await stop()
        assert service.streams == {}
        await task

    asyncio.run(run())
    assert client.closed == [(1001, "the server stops")]
    assert limits == [5, 2.0]  # seconds for the stream and for its close message


@pytest.mark.parametrize(("size", "is_read"), [(23, False), (24, True), (25, True)])
def test_an_image_has_a_header_of_24_bytes(size, is_read):
    data = frame_message(7, b"x", time=1.5, kind=2, size=(3, 4))[:size]
    if not is_read:
        with pytest.raises(ProtocolError, match="24 bytes"):
            read_image(data)
        return
    read = read_image(data)
    assert (read.number, read.time_s, read.format, read.width, read.height) == (7, 1.5, 2, 3, 4)
    assert bytes(read.data) == b"x"[: size - 24]
    with pytest.raises(ProtocolError, match="begins with SNJ1"):
        read_image(b"SNJ2" + data[4:])


def test_raw_images_have_three_or_four_channels_and_others_are_decoded(monkeypatch):
    monkeypatch.setattr(stream, "decode_upload", lambda *arguments: arguments)
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    read = [
        StreamImage(1, 0.0, kind, 3, 2, memoryview(data))
        for kind, data in ((1, pixels.tobytes()), (2, pixels[..., :3].tobytes()), (0, b"jpeg"), (3, b""))
    ]
    for one in read[:2]:
        assert np.array_equal(one.decode(6, None), pixels[..., :3])
    assert read[2].decode(6, "decoders") == (b"jpeg", 6, "decoders")
    with pytest.raises(RefusedError, match="format 3: give 0"):
        read[3].decode(6, None)
    with pytest.raises(RefusedError, match="more than 5e-06 million"):
        read[0].decode(5, None)


@pytest.mark.parametrize(
    "message", ["", "{", "[]", "3", '{"type": 3}', '{"type": "aaa"}', '{"type": "d"}', '{"type": "zzz"}', "[" * 100_000]
)
def test_other_texts_are_no_messages(message):
    with pytest.raises(ProtocolError):
        read_text(message)


def test_a_text_has_two_million_characters_at_most():
    reset = '{"type": "reset"}'
    assert read_text(reset + " " * (2_000_000 - len(reset))) == Reset()
    with pytest.raises(ProtocolError, match="at most 2000000 characters"):
        read_text(reset + " " * (2_000_001 - len(reset)))
    with pytest.raises(ProtocolError, match="lists and objects"):
        read_text("[" * 500_001)


def test_settings_have_defaults_of_a_stream():
    read = read_text(json.dumps({"type": "configure", "detectors": [HANDS]}))
    assert (read.control, read.custom, read.anonymise) == (None, None, None)
    (options,) = read.detectors
    assert (options.kind, options.measures, options.detector.static_image) == ("hands", False, False)
    read = read_text(json.dumps({"type": "configure", "detectors": [HANDS, FACE], "measures": True, "control": MAP}))
    assert [options.measures for options in read.detectors] == [True, True]
    assert len(read.control.rules) == 1


@pytest.mark.parametrize("how", [None, "none", "blur", "persons"])
def test_everybody_nobody_or_faces_are_hidden(how):
    read = read_text(json.dumps({"type": "configure", "detectors": [], "anonymise": how}))
    assert read == Configure((), anonymise=how if how in ("blur", "persons") else None)


@pytest.mark.parametrize(
    ("more", "says"),
    [({"anonymise": how}, "choose from none, blur, persons") for how in ("", "black", "c", "zoo", 3, ["blur"])]
    + [
        ({"control": 3}, "control"),
        ({"control": "x" * 64_001}, "more than 64000 characters"),
        ({"gestures_file": 3}, "base64"),
        ({"measures": 1}, "measures=1"),
        ({"a": 1, "b": 2}, "Unknown member 'a'. Choose from type, detectors, measures, control, gestures_file"),
        ({"detectors": 3}, "give a list"),
    ],
)
def test_wrong_settings_are_refused(more, says):
    refused = read_text(json.dumps({"type": "configure", "detectors": []} | more)).detectors
    assert isinstance(refused, RefusedError)
    assert says in str(refused)


def test_commands_are_of_tracked_hands_and_begin_again_with_each_clip(monkeypatch):
    made = []

    class Control:
        def __init__(self, control_map, custom):
            assert (control_map, custom) == ("map", "custom")
            self.calls = []
            made.append(self)

        def __call__(self, *arguments):
            self.calls.append(arguments)
            return [SimpleNamespace(to_dict=lambda: "command")]

    monkeypatch.setattr(stream, "Controller", Control)
    dry, tracked, still = DryRun("map", "custom"), SimpleNamespace(id=1), SimpleNamespace(id=None)
    for time_s in (-5.0, 1.0, 1.0, 2.0, 1.5, math.nan, math.inf, 1.25):
        wanted = ["command"] if math.isfinite(time_s) else []
        assert dry.commands([tracked], time_s, (4, 3), ["motion"]) == wanted
    assert dry.commands([tracked, still], 3.0, (4, 3), None) == []
    assert [[call[1] for call in one.calls] for one in made] == [[-5.0, 1.0, 1.0, 2.0], [1.5], [1.25]]
    assert made[0].calls[0] == ([tracked], -5.0, (4, 3), ["motion"])
