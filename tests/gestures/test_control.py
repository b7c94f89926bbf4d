"""Control maps: their syntax, their actions for hands, and the outputs."""

import copy
import json
import sys
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.machinery import ModuleSpec
from pathlib import Path
from queue import Queue
from socket import SOCK_DGRAM, socket
from threading import Event, Thread
from types import ModuleType, SimpleNamespace
from unittest.mock import MagicMock, Mock, call

import numpy as np
import pytest
from websockets.sync.server import serve

from sonjit._util.errors import InputError
from sonjit._util.extras import MissingExtraError
from sonjit.gestures.control import Command, Controller, ControlMap, Rule, load_map
from sonjit.gestures.outlets import Outlets
from sonjit.gestures.outlets.osc import osc_message
from sonjit.results import Gesture, Hand, MotionEvent

OSC = "127.0.0.1:9000/hand"


def rule(**table):
    return Rule.from_table({key.rstrip("_"): value for key, value in table.items()})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"on": "Wave", "oscc": OSC}, "unknown key 'oscc'. Choose from on, phase"),
        ({"osc": OSC}, "give either on"),
        ({"on": "Wave", "measure": "x", "osc": OSC}, "give either on"),
        ({"on": "Wave"}, "give one of osc, post, websocket"),
        ({"on": "Wave", "osc": OSC, "key": "a"}, "give one of osc"),
        ({"on": "Waves", "osc": OSC}, "on = 'Waves': choose from Swipe_Right"),
        ({"on": "ThumbUp", "osc": OSC}, "Did you mean 'Thumb_Up'?"),
        ({"measure": "pinch", "osc": OSC}, "measure = 'pinch': choose from thumb_curl_rad"),
        ({"on": "Victory", "phase": "end", "osc": OSC}, "phase does not apply to Victory"),
        ({"on": "Wave", "smooth_s": 0.1, "osc": OSC}, "smooth_s does not apply to Wave"),
        ({"measure": "x", "key": "a"}, "key does not apply to a measure"),
        ({"on": "Wave", "phase": "start", "osc": OSC}, "phase = 'start': choose from begin, progress"),
        ({"on": "Wave", "hand": "left", "osc": OSC}, "hand = 'left': choose from Left, Right"),
        ({"measure": "x", "from": [0.2, 0.2], "osc": OSC}, "two different numbers"),
        ({"measure": "x", "to": [0, "1"], "osc": OSC}, "to: give 2 numbers"),
        ({"measure": "x", "to": [0, 10**400], "osc": OSC}, "to: give 2 numbers"),
        ({"measure": "x", "smooth_s": -(10**400), "osc": OSC}, "smooth_s: give a number"),
        ({"measure": "x", "from": [True, 0.0], "osc": OSC}, "from: give 2 numbers"),
        ({"measure": "x", "smooth_s": -1, "osc": OSC}, "give 0 or more"),
        ({"measure": "x", "osc": "127.0.0.1/hand"}, "osc = '127.0.0.1/hand': give HOST:PORT/ADDRESS"),
        ({"measure": "x", "osc": "127.0.0.1:99999/hand"}, "give HOST:PORT/ADDRESS"),
        ({"measure": "x", "post": "ftp://127.0.0.1/"}, "post = 'ftp://127.0.0.1/': give an address"),
        ({"on": "Wave", "key": "ctrl+"}, "give keys"),
        ({"on": "Wave", "click": 1}, "click = 1: give one of left, middle, right"),
        ({"on": "Wave", "websocket": "http://127.0.0.1/"}, "give an address, as in ws://"),
        ({"on": "Wave", "mqtt": "127.0.0.1/room"}, "give HOST:PORT/TOPIC"),
        ({"on": "Wave", "mqtt": "127.0.0.1:1883/room/#"}, "give HOST:PORT/TOPIC"),
        ({"on": "Wave", "midi": "Sonjit/17/control/7"}, "give PORT/CHANNEL/control/NUMBER"),
        ({"on": "Wave", "midi": "Sonjit/1/control/128"}, "give PORT/CHANNEL/control/NUMBER"),
        ({"measure": "x", "midi": "Sonjit/1/note/60"}, "a note is played by a gesture or motion"),
        ({"measure": "x", "pointer": "press"}, "give x or y with a measure"),
    ],
)
def test_rules_that_mean_nothing_are_refused(table, message):
    with pytest.raises(InputError) as caught:
        Rule.from_table(table)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("action", "inside", "outside"),
    [
        ("midi", ("a/1/pitch", "a/16/control/0", "a b/2/note/127"), ("a/0/pitch", "a/17/pitch", "a/1/note/128", "a/1")),
        (
            "osc",
            ("h:1/a", "h:65535/a"),
            ("h:0/a", "h:65536/a", "h:9000/", "h:9000", "h:9000/a#", "h:9000/\u00e4", ":9/a"),
        ),
        ("post", ("http://h", "https://h:8000/a?b"), ("https:///a", "h:80/a", "ws://h", "http://h:0/")),
        ("websocket", ("ws://h", "wss://h:1/a"), ("wss:///a", "https://h")),
        ("mqtt", ("h:1883/a/b",), ("h:1883/+/b", "h:1883/", "h/a", "me@h:1883/a", "h:1883/a?b")),
        ("key", ("a", "ctrl+shift+s"), ("", "+a", "a++b")),
        ("click", ("left", "middle", "right"), ("", "Left", "both")),
        ("pointer", ("press", "release"), ("x", "y", "")),
    ],
)
def test_targets_up_to_their_limits_are_taken_and_others_refused(action, inside, outside):
    for target in inside:
        assert Rule.from_table({"on": "Wave", action: target}).target == target
    for target in outside:
        with pytest.raises(InputError, match=f"{action} = .*: give "):
            Rule.from_table({"on": "Wave", action: target})


def test_a_gesture_counts_after_a_quarter_of_a_second_and_again_after_a_second_away(posed):
    shown = [*range(80), *range(143, 200), *range(264, 320)]  # away for exactly a second, then for a little more
    controller, hand, made = Controller(ControlMap([rule(on="Open_Palm", osc=OSC)])), posed("open"), []
    hand.id = 1
    for index in range(320):
        made += [index for _ in controller([hand] if index in shown else [], index / 64, (640, 480))]
    assert made == [16, 264 + 16]


def test_maps_name_the_rule_that_is_wrong(tmp_path):
    file = tmp_path / "map.toml"
    good = f'[[rule]]\non = "Wave"\nosc = "{OSC}"\n'
    file.write_text(good + '[[rule]]\non = "claw"\nkey = "a"\n')
    with pytest.raises(InputError, match=r"map\.toml, rule 2: on = 'claw'"):
        load_map(file)
    assert [rule.phase for rule in load_map(file, ["claw"]).rules] == ["begin", None]
    file.write_text(f'pause = "claw"\n{good}')
    assert load_map(file, ["claw"]).pause == "claw"
    for text, message in (
        (f'pause = "claws"\n{good}', "pause = 'claws': choose from"),
        ('pause = "Victory"\n[[rule]]\non = "Victory"\nkey = "a"\n', "Victory pauses and has a rule"),
        ("rules = 1", "unknown key 'rules'"),
        ("", "no rule"),
        ("rule = 3", "no rule"),
        ("rule = []", "no rule"),
        ("rule = [1, 2]", "no rule"),
        ('rule = [{on = "Wave", key = "a"}, 2]', "no rule"),
        ("[", "damaged or not TOML"),
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=message):
            load_map(file)
    with pytest.raises(InputError, match="cannot be read: No such file"):
        load_map(tmp_path / "none.toml")


def test_the_example_maps_are_maps():
    files = sorted((Path(__file__).parents[2] / "examples" / "control").glob("*.toml"))
    assert [file.stem for file in files] == ["drawing", "home_assistant", "lamp", "slides", "theremin", "volume"]
    for file in files:
        load_map(file)


def test_hands_make_commands(posed):
    rules = [
        rule(on="Swipe_Right", osc=OSC),
        rule(on="Open_Palm", hand="Right", key="a"),
        rule(on="Open_Palm", hand="Left", key="b"),
        rule(measure="x", from_=[0, 0.5], to=[10, 20], dead_zone=1, osc=OSC),
        rule(measure="palm_facing", hand="Left", osc=OSC),
    ]
    controller, hand, commands = Controller(ControlMap(rules)), posed("open"), []
    hand.id, keypoints = 3, hand.keypoints.copy()
    for index in range(36):
        share = np.clip((index - 12) / 9, 0, 1)
        hand.keypoints[:, 0] = keypoints[:, 0] + 500 * share**3 * (10 - 15 * share + 6 * share**2)
        commands += controller([hand], index / 30, (1600, 600))
    assert [command.rule for command in commands if command.rule is not rules[3]] == [rules[1], rules[0]]
    swipe = next(command for command in commands if command.rule is rules[0])
    assert swipe.to_dict().items() >= {"osc": OSC, "name": "Swipe_Right", "phase": "end", "id": 3}.items()
    values = [command.value for command in commands if command.rule is rules[3]]
    assert values[0] == pytest.approx(10 + 10 * keypoints[[0, 5, 9, 13, 17], 0].mean() / 800)
    assert 19 < values[-1] <= 20
    assert min(np.diff(values)) >= 1


def test_the_pause_gesture_stops_commands_until_it_is_made_again(posed):
    controller, poses = (
        Controller(ControlMap([rule(measure="x", osc=OSC)], "Closed_Fist")),
        (posed("open"), posed("fist")),
    )
    sent = set()
    for index in range(75):
        hand = copy.deepcopy(poses[index // 15 % 2])
        hand.id, hand.keypoints[:, 0] = 1, index
        sent |= {index for _ in controller([hand], index / 30, (100, 100))}
    paused = set(range(75)) - sent
    assert paused == set(range(min(paused), max(paused) + 1))
    assert 15 < min(paused) < 30
    assert 45 < max(paused) < 60


def test_a_hand_that_joins_a_held_pause_gesture_does_not_end_the_pause(posed):
    controller, sent = Controller(ControlMap([rule(measure="x", osc=OSC)], "Closed_Fist")), []
    opened, fist = posed("open"), posed("fist")
    for index in range(90):
        hands = [copy.deepcopy(hand) for hand in (opened if index < 15 else fist, *([fist] if index > 45 else []))]
        for number, hand in enumerate(hands):
            hand.id, hand.keypoints[:, 0] = number, index
        sent += [index for _ in controller(hands, index / 30, (100, 100))]
    assert 15 < max(sent) < 30


@pytest.mark.parametrize("fps", [10, 60])
def test_smoothing_is_in_seconds(posed, fps):
    controller, hand = Controller(ControlMap([rule(measure="x", smooth_s=0.2, osc=OSC)])), posed("fist")
    hand.id, hand.keypoints[:, 0], sent = 1, 0, []
    for index in range(fps + 1):
        hand.keypoints[:, 0] = 100 * (index >= fps * 0.6)
        sent += [(index / fps, one.value) for one in controller([hand], index / fps, (100, 100))]
    assert sent[0] == (0, 0)
    after = dict(sent)[0.8]
    assert after == pytest.approx(1 - np.exp(-(0.2 + 1 / fps) / 0.2), abs=1e-6)


def test_osc_messages_are_sent_to_the_address_of_the_map():
    with socket(type=SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(10)
        one = rule(measure="x", osc=f"127.0.0.1:{receiver.getsockname()[1]}/hand/x")
        with Outlets(ControlMap([one])) as outlets:
            outlets.send(Command(one, 0.5, {}))
            assert receiver.recv(100) == osc_message("/hand/x", 0.5)


def test_posts_are_json_and_follow_no_redirect(caplog):
    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(302 if self.path == "/moved" else 204)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            address = f"http://127.0.0.1:{server.server_port}"
            rules = [rule(on="Wave", post=f"{address}/{name}") for name in ("hand", "moved")]
            with Outlets(ControlMap(rules)) as outlets:
                for one in (*rules, rules[1]):
                    outlets.send(Command(one, 0.5, {"name": "Wave"}))
        finally:
            server.shutdown()
            thread.join()
    content = {"value": 0.5, "name": "Wave"}
    assert sorted(got, key=str) == [("/hand", content), ("/moved", content)]  # not tried again so soon
    assert [record.getMessage() for record in caplog.records] == [f"post {address}/moved: HTTP Error 302: Found"]


def test_websockets_are_reopened(caplog):
    got, lost = Queue(), Event()

    def receive(connection):
        got.put(json.loads(connection.recv()))
        connection.close()
        lost.set()

    one = None
    with serve(receive, "127.0.0.1", 0) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            one = rule(on="Wave", websocket=f"ws://127.0.0.1:{server.socket.getsockname()[1]}/hand")
            with Outlets(ControlMap([one])) as outlets:
                outlets.send(Command(one, 0.5, {"name": "Wave"}))
                assert got.get(timeout=30) == {"value": 0.5, "name": "Wave"}
                assert lost.wait(30)
                while not caplog.records:  # the other side has closed it; not at once on a busy machine
                    outlets.send(Command(one, 0.5, {}))
                outlets.send(Command(one, 0.5, {}))  # not tried again so soon
            with Outlets(ControlMap([one])) as outlets:
                outlets.send(Command(one, 0.25, {}))
                assert got.get(timeout=30) == {"value": 0.25}
        finally:
            server.shutdown()
            thread.join()
    assert len(caplog.records) == 1
    with pytest.raises(InputError, match="websocket ws://127"):
        Outlets(ControlMap([one]))


def test_midi_plays_on_ports_and_opens_its_own(monkeypatch):
    ports = {name: Mock() for name in ("Synth/2", "own")}
    mido = Mock(Message=lambda kind, **values: (kind, values))
    mido.get_output_names.return_value = ["Synth/2"]
    mido.open_output.side_effect = lambda name, **_: ports[name]
    monkeypatch.setitem(sys.modules, "mido", mido)
    rules = [
        rule(measure="x", midi="Synth/2/1/control/7"),
        rule(measure="y", midi="Synth/2/1/pitch"),
        rule(on="Wave", midi="own/16/note/60"),
    ]
    with Outlets(ControlMap(rules)) as outlets:
        for one in rules:
            outlets.send(Command(one, 1.5, {}))
    assert ports["Synth/2"].mock_calls == [
        call.send(("control_change", {"channel": 0, "control": 7, "value": 127})),
        call.send(("pitchwheel", {"channel": 0, "pitch": 8191})),
        call.close(),
    ]
    assert ports["own"].mock_calls == [
        call.send(("note_on", {"channel": 15, "note": 60, "velocity": 127})),
        call.send(("note_off", {"channel": 15, "note": 60, "velocity": 0})),
        call.close(),
    ]
    assert mido.open_output.mock_calls == [call("Synth/2"), call("own", virtual=True)]
    mido.open_output.side_effect = OSError("no sequencer")
    with pytest.raises(InputError, match="the port 'broken' cannot be opened: no sequencer"):
        Outlets(ControlMap([rule(on="Wave", midi="broken/1/note/60")]))


@pytest.mark.parametrize(
    ("value", "control", "pitch", "velocity"),
    [(-1, 0, -8192, 1), (0, 0, -8192, 1), (0.25, 32, -4096, 32), (0.75, 95, 4095, 95), (1, 127, 8191, 127)],
)
def test_values_from_0_to_1_span_what_midi_has(monkeypatch, value, control, pitch, velocity):
    port = Mock()
    mido = Mock(Message=lambda kind, **values: values)
    mido.open_output.return_value = port
    mido.get_output_names.return_value = ["own"]
    monkeypatch.setitem(sys.modules, "mido", mido)
    rules = [rule(on="Wave", midi=f"own/1/{kind}") for kind in ("control/7", "pitch", "note/60")]
    with Outlets(ControlMap(rules)) as outlets:
        for one in rules:
            outlets.send(Command(one, value, {}))
    first, second, on, off = (sent.args[0] for sent in port.send.mock_calls)
    assert (first["value"], second["pitch"], on["velocity"], off["velocity"]) == (control, pitch, velocity, 0)


def test_keys_and_clicks_are_those_of_pynput(monkeypatch):
    keyboard, mouse = MagicMock(), Mock(Button={"left": "LEFT"})
    keyboard.Key = SimpleNamespace(__members__=("ctrl", "right"), ctrl="CTRL", right="RIGHT")
    pointer = mouse.Controller.return_value
    pointer.position = (3, 4)
    package = ModuleType("pynput")
    package.__spec__ = ModuleSpec("pynput", None)
    for name, module in (("", package), (".keyboard", keyboard), (".mouse", mouse)):
        monkeypatch.setitem(sys.modules, f"pynput{name}", module)
    rules = [
        rule(on="Wave", key="ctrl+s"),
        rule(on="Wave", click="left"),
        rule(measure="x", pointer="x"),
        rule(measure="x", pointer="y"),
        rule(on="Pinch", phase="begin", pointer="press"),
        rule(on="Pinch", phase="end", pointer="release"),
    ]
    with Outlets(ControlMap(rules)) as outlets:
        for one in rules:
            outlets.send(Command(one, 100.4, {}))
    held = call.pressed("CTRL")
    keys = [held, held.__enter__(), call.tap("s"), held.__exit__(None, None, None)]
    assert keyboard.Controller.return_value.mock_calls == keys
    assert pointer.mock_calls == [call.click("LEFT"), call.press("LEFT"), call.release("LEFT")]
    assert pointer.position == (100, 100)
    with pytest.raises(InputError, match=r"key 'strg\+s': unknown key. Choose from single characters and ctrl, right"):
        Outlets(ControlMap([rule(on="Wave", key="strg+s")]))
    monkeypatch.setitem(sys.modules, "pynput", None)
    with pytest.raises(MissingExtraError, match=r"\[control\]"):
        Outlets(ControlMap(rules))


def test_motions_that_were_found_already_are_not_looked_for_again(posed):
    controller, hand = Controller(ControlMap([rule(on="Clap", phase="begin", osc=OSC)])), posed("open")
    hand.id = 1
    clap = MotionEvent("Clap", "begin", 1, "Right", 0.5, 0.7, (0.0, 0.0), 0.0)
    (command,) = controller([hand], 0.5, (640, 480), [clap])
    assert command.to_dict()["value"] == 0.7
    assert list(controller([hand], 0.6, (640, 480), [])) == []
    with pytest.raises(InputError, match="require a video or camera"):
        list(controller([hand], None, (640, 480), []))


def test_keys_without_a_screen_are_refused_in_a_line(tmp_path, monkeypatch):
    (tmp_path / "pynput").mkdir()
    (tmp_path / "pynput" / "__init__.py").write_text("raise ImportError('this platform is not supported: no display')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pynput", raising=False)
    with pytest.raises(InputError, match="a key or pointer is not available: this platform is not supported"):
        Outlets(ControlMap([rule(on="Clap", key="a")]))


def made_up(gestures, seconds=1 / 64, hands=1):
    """Return a function that gives a controller's commands for hands that make gestures by name, one per frame."""

    def run(control_map):
        classify = SimpleNamespace(motions=None, or_shipped=lambda hand: hand.gesture)
        controller, points, found = Controller(control_map, classify), np.ones((21, 3), np.float32), []
        for index, name in enumerate(gestures):
            names = name if isinstance(name, tuple) else (name,) * hands
            shown = [
                Hand("Right", 1.0, points * index, points, id=id, gesture=Gesture(one, 0.9))
                for id, one in enumerate(names)
                if one is not None
            ]
            found += [(index, one) for one in controller(shown, index * seconds, (1000, 200), [])]
        return found

    return run


def test_a_rule_has_its_stated_defaults_and_values():
    usual = {
        "on": None, "phase": None, "measure": "x", "hand": None, "low": 0, "high": 1, "to": (0, 1), "smooth_s": 0,
        "dead_zone": 0, "action": "osc", "target": OSC, "payload": None, "headers": {}, "retain": False, "qos": 1,
        "rest_s": 0, "valid_s": 60, "state": None,
    }  # fmt: skip
    assert vars(rule(measure="x", osc=OSC)) == usual
    given = vars(
        rule(measure="y", hand="Left", from_=[3, -2.5], to=[7, 6], smooth_s=0.25, dead_zone=0.5, post="http://h")
    )
    assert given == usual | {
        "measure": "y", "hand": "Left", "low": 3, "high": -2.5, "to": (7, 6), "smooth_s": 0.25, "dead_zone": 0.5,
        "action": "post", "target": "http://h",
    }  # fmt: skip
    phases = {name: rule(on=name, osc=OSC).phase for name in ("Swipe_Up", "Wave", "Zoom", "Victory")}
    assert phases == {"Swipe_Up": "end", "Wave": "begin", "Zoom": "begin", "Victory": None}
    assert rule(on="Swipe_Up", phase="progress", osc=OSC).phase == "progress"


@pytest.mark.parametrize(
    "table",
    [
        {"from": [0, 1, 2]}, {"from": [0]}, {"from": 0}, {"to": [True, 1]}, {"to": [0, float("inf")]},
        {"smooth_s": [0.1, 0.2]}, {"smooth_s": "1"}, {"smooth_s": True}, {"dead_zone": -0.01},
        {"smooth_s": float("nan")},
    ],
)  # fmt: skip
def test_numbers_of_a_rule_are_finite_and_as_many_as_needed(table):
    with pytest.raises(InputError, match=r"give (2 numbers|a number|0 or more)"):
        Rule.from_table({"measure": "x", "osc": OSC} | table)


@pytest.mark.parametrize(("place", "value"), [(0.1, 10), (0.2, 10), (0.35, 15), (0.5, 20), (0.6, 20)])
def test_a_measure_is_sent_within_its_range(place, value):
    points, sent = np.ones((21, 3), np.float32) * np.float32([640 * place, 480 * place, 0]), []
    rules = [rule(measure=axis, from_=[0.2, 0.5], to=[10, 20], osc=OSC) for axis in ("x", "y")]
    rules.append(rule(measure="x", from_=[0.5, 0.2], to=[20, 10], osc=OSC))
    hand = Hand("Left", 1.0, points, points, id=4)
    sent = [one.to_dict() for one in Controller(ControlMap(rules))([hand], 0.123456, (640, 480), [])]
    axes = ("x", "y", "x")
    assert sent == [
        {
            "osc": OSC,
            "value": pytest.approx(value, abs=1e-4),
            "measure": axis,
            "id": 4,
            "handedness": "Left",
            "time": 0.1235,
        }
        for axis in axes
    ]


def test_an_unknown_measure_is_not_sent():
    points = np.full((21, 3), np.nan, np.float32)
    controller = Controller(ControlMap([rule(measure="x", osc=OSC), rule(measure="palm_facing", osc=OSC)]))
    assert list(controller([Hand("Left", 1.0, points, points, id=4)], 0.0, (640, 480), [])) == []


def test_a_measure_is_of_the_first_hand_of_its_side():
    points = np.ones((21, 3), np.float32)
    hands = [
        Hand(side, 1.0, points * k, points, id=id)
        for k, (side, id) in enumerate([("Left", 5), ("Right", 2), ("Left", 3)])
    ]
    rules = [rule(measure="x", hand=side, osc=OSC) for side in (None, "Left", "Right") if side] + [
        rule(measure="x", osc=OSC)
    ]
    sent = list(Controller(ControlMap(rules))(hands, 0.0, (10, 10), []))
    assert [(one.content["id"], one.value) for one in sent] == [
        (3, pytest.approx(0.2)),
        (2, pytest.approx(0.1)),
        (2, pytest.approx(0.1)),
    ]


@pytest.mark.parametrize(
    ("dead_zone", "sent"), [(0, [0, 0.25, 0.5, 0.25]), (0.25, [0, 0.25, 0.5, 0.25]), (0.26, [0, 0.5]), (0.51, [0])]
)
def test_a_number_is_sent_when_it_leaves_the_dead_zone(dead_zone, sent):
    controller, points, found = (
        Controller(ControlMap([rule(measure="x", dead_zone=dead_zone, osc=OSC)])),
        np.ones((21, 3)),
        [],
    )
    for index, place in enumerate([0, 0, 0.25, 0.25, 0.5, 0.25, 0.25]):
        hand = Hand("Left", 1.0, points * place * 100, points, id=4)
        found += [one.value for one in controller([hand], float(index), (100, 100), [])]
    assert found == sent


def test_smoothing_starts_at_the_first_number_and_covers_frames_without_a_hand():
    controller, points, found = Controller(ControlMap([rule(measure="x", smooth_s=2, osc=OSC)])), np.ones((21, 3)), []
    for time_s, place in ((5.0, 0.5), (6.0, 1.0), (7.0, None), (8.0, 0.0)):
        hands = [] if place is None else [Hand("Left", 1.0, points * place * 100, points, id=4)]
        found += [one.value for one in controller(hands, time_s, (100, 100), [])]
    second = 1 - 0.5 * np.exp(-0.5)
    assert found == pytest.approx([0.5, second, second * np.exp(-1)])


@pytest.mark.parametrize(("name", "value"), [("Rotate", 0.3), ("Zoom", 0.3), ("Pinch", 0.7), ("tick", 0.7)])
def test_the_value_of_a_motion_is_its_count_or_strength(name, value):
    rules = [rule(on=name, osc=OSC)] if name != "tick" else [Rule.from_table({"on": "tick", "osc": OSC}, ["tick"])]
    rules += [rule(on=name, hand=side, osc=OSC) for side in ("Left", "Right") if name != "tick"]
    event = MotionEvent(name, "begin" if name != "tick" else "end", 1, "Left", 0.5, 0.7, (1.0, 2.0), 0.3)
    sent = list(
        Controller(ControlMap(rules))(
            [], 0.5, (10, 10), [event, replace(event, phase="cancel")][: 2 - (name == "tick")]
        )
    )
    assert [one.rule for one in sent] == rules[:2]
    assert {one.value for one in sent} == {value}
    assert sent[0].content == event.to_dict()


def test_a_new_gesture_is_a_command_with_its_time():
    (found,) = made_up(["A"] * 18 + [None] * 2 + ["A"] * 60)(
        ControlMap([Rule.from_table({"on": "A", "osc": OSC}, ["A"])])
    )
    index, command = found
    assert (index, command.value) == (16, 0.9)
    assert command.content == {"name": "A", "id": 0, "handedness": "Right", "time": 0.25}
    ((_, command),) = made_up(["A"] * 30, seconds=0.0123456)(
        ControlMap([Rule.from_table({"on": "A", "osc": OSC}, ["A"])])
    )
    assert command.content["time"] == 0.2593


def test_each_hand_starts_its_own_gesture_once():
    """Let hands with neighbouring ids make a gesture of their own each, and another one later."""
    points, sides = np.ones((21, 3), np.float32), ("Left", "Right")
    classify = SimpleNamespace(motions=None, or_shipped=lambda hand: hand.gesture)
    names = [f"{side}{id}{part}" for part in "ab" for id in range(5) for side in sides]
    rules = [Rule.from_table({"on": name, "osc": OSC}, names) for name in names]
    controller, found = Controller(ControlMap(rules), classify), []
    for index in range(60):
        part = "a" if index < 30 else "b"
        hands = [
            Hand(side, 1.0, points, points, id=id, gesture=Gesture(f"{side}{id}{part}", 0.9))
            for id in range(5) for side in sides
        ]  # fmt: skip
        found += [one.content["name"] for one in controller(hands, index / 30, (10, 10), [])]
    assert found == names


@pytest.mark.parametrize(
    ("name", "hint"), [("victori", "Victory"), ("swipe left", "Swipe_Left"), ("hello", None), ("Ok", "OK")]
)
def test_a_name_like_a_known_one_gets_a_hint(name, hint):
    with pytest.raises(InputError) as caught:
        rule(on=name, osc=OSC)
    assert str(caught.value).endswith(f". Did you mean {hint!r}?" if hint else "with its file (--gestures)")


PAIR = [rule(on="Pinch", phase=phase, osc=f"127.0.0.1:9000/{phase}") for phase in ("begin", "end", "cancel")]


def phases_sent(posed, motions, paused, frames=90, rules=PAIR):
    """Return the index and the phase of each command for motions at frames, with a pause gesture at others.

    The commands at the end of the stream have the index after the last one.
    """
    controller, sent = Controller(ControlMap(rules, "Closed_Fist")), []
    shown = {name: posed(name) for name in ("open", "fist")}
    for index in range(frames):
        hand = copy.deepcopy(shown["fist" if index in paused else "open"])
        hand.id = 9
        given = [
            MotionEvent(name, phase, key, "Right", index / 30, 1.0, (0.0, 0.0), 0.0)
            for name, phase, key, at in motions
            if at == index
        ]
        sent += [(index, one.content["phase"]) for one in controller([hand], index / 30, (640, 480), given)]
    return sent + [(frames, one.content["phase"]) for one in controller.finish()]


@pytest.mark.parametrize(
    ("motions", "expected"),
    [
        ([("begin", 15), ("end", 60)], [(15, "begin"), (60, "end")]),
        ([("begin", 15), ("cancel", 60)], [(15, "begin"), (60, "cancel")]),
        ([("begin", 15), ("end", 20)], [(15, "begin"), (20, "end")]),
        ([("begin", 15)], [(15, "begin"), (90, "cancel")]),  # the stream ends in the pause
        ([("begin", 60), ("end", 70)], []),
        ([("begin", 60)], []),
        ([("begin", 15), ("end", 60), ("begin", 65), ("end", 70)], [(15, "begin"), (60, "end")]),
    ],
)
def test_what_began_before_a_pause_ends_in_it(posed, motions, expected):
    given = [("Pinch", phase, 1, at) for phase, at in motions]
    assert phases_sent(posed, given, range(30, 90)) == expected


def test_what_began_in_a_pause_has_no_end_after_it(posed):
    given = [("Pinch", "begin", 1, 45), ("Pinch", "end", 1, 85), ("Pinch", "begin", 1, 87)]
    paused = [*range(30, 50), *range(60, 80)]  # made twice, so that the second one resumes
    assert phases_sent(posed, given, paused) == [(87, "begin"), (90, "cancel")]


def test_each_hand_ends_its_own_motion_in_a_pause(posed):
    given = [("Pinch", "begin", 1, 15), ("Pinch", "end", 2, 50), ("Pinch", "end", 1, 60), ("Pinch", "end", 1, 65)]
    assert phases_sent(posed, given, range(30, 90)) == [(15, "begin"), (60, "end")]


def test_motions_without_a_begin_are_paused_at_their_end(posed):
    swipe = [rule(on="Swipe_Left", osc=OSC)]
    given = [("Swipe_Left", "begin", 1, 15), ("Swipe_Left", "end", 1, 60)]
    assert phases_sent(posed, given, range(30, 90), rules=swipe) == []
    assert phases_sent(posed, given, (), rules=swipe) == [(60, "end")]
