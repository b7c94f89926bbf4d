import contextlib
import json
import queue
import socket
import threading

import cv2
import numpy as np
import pytest
from pythonosc.dispatcher import Dispatcher
from pythonosc.osc_bundle import OscBundle
from pythonosc.osc_server import BlockingOSCUDPServer

from sonjit import Body, Event, Face, Hand, InputError
from sonjit.results import Frame, Gesture
from sonjit.results.skeletons.faces import BLENDSHAPES
from sonjit.runs.live import LiveOutput

from ..media.characters.actors import SIZE, actor, body_of  # noqa: TID252  # one actor for files and streams
from ..support.gltf import rotation_of  # noqa: TID252
from ..support.scripted import face as face_of  # noqa: TID252
from ..support.scripted import hand as hand_of  # noqa: TID252
from ..support.stored import assert_as_stored  # noqa: TID252
from ..support.waiting import wait_until  # noqa: TID252

UNITY_BONES = {
    *("Hips", "Spine", "Chest", "UpperChest", "Neck", "Head"),
    *(f"{side}{bone}" for side in ("Left", "Right") for bone in
      ("Shoulder", "UpperArm", "LowerArm", "Hand", "UpperLeg", "LowerLeg", "Foot", "Toes")),
    *(f"{side}{finger}{part}" for side in ("Left", "Right") for finger in ("Thumb", "Index", "Middle", "Ring", "Little")
      for part in ("Proximal", "Intermediate", "Distal")),
}  # fmt: skip
"""Names of HumanBodyBones of Unity, apart from eyes and jaw."""


@pytest.fixture
def receiver():
    """Return the port of a python-osc receiver, and a function that waits for messages in the order of sending."""
    got = queue.Queue()
    dispatcher = Dispatcher()
    dispatcher.set_default_handler(lambda address, *values: got.put((address, *values)))
    with BlockingOSCUDPServer(("127.0.0.1", 0), dispatcher) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address[1], lambda count: [got.get(timeout=10) for _ in range(count)]
        server.shutdown()
        thread.join()


def hand(**more):
    points = np.arange(63, dtype=np.float32).reshape(21, 3)
    return Hand("Left", 0.9, points, points / 1000, id=3, **more)


def test_hands_are_sent_by_osc(receiver):
    port, messages = receiver
    event = Event("Fist", "gesture", "begin", 0.1, None, 3, "Left", 0.5)
    with LiveOutput(f"osc://127.0.0.1:{port}", "hands") as output:
        output.send(Frame(7, 0.25, [hand(gesture=Gesture("Fist", 0.75))], events=[event]), (100, 50))
    got = {address: values for address, *values in messages(25)}
    assert got["/sonjit/frame"] == [7, 0.25, 1]
    assert got["/sonjit/left_hand/3/index_finger_tip"] == pytest.approx([0.24, 0.5, 0.024, 0.025, 0.026])
    assert got["/sonjit/left_hand/3/gesture"] == ["Fist", 0.75]
    assert got["/sonjit/event"] == ["Fist", "begin", 3, 0.5]


def test_bodies_are_sent_by_osc_without_unknown_points(receiver):
    port, messages = receiver
    points = np.ones((33, 3), np.float32)
    points[0, 0] = np.nan
    body = Body(0.5, points, points, np.ones(33, np.float32), np.ones(33, np.float32), id=1)
    with LiveOutput(f"osc://localhost:{port}", "bodies") as output:
        output.send(Frame(0, 0.0, bodies=[body]), (2, 2))
    addresses = [address for address, *_ in messages(34)]
    assert "/sonjit/body/1/left_wrist" in addresses
    assert "/sonjit/body/1/nose" not in addresses


def test_blendshapes_are_sent_by_vmc_without_the_neutral_one(receiver):
    port, messages = receiver
    points = np.zeros((478, 3), np.float32)
    face = Face(1.0, points, (0, 0, 1, 1), 1, dict.fromkeys(BLENDSHAPES, 0.5), np.eye(4, dtype=np.float32))
    with LiveOutput(f"vmc://127.0.0.1:{port}", "faces") as output:
        output.send(Frame(0, 0.0), (9, 9))
        output.send(Frame(1, 0.1, faces=[face]), (9, 9))
    got = messages(57)
    assert got[:2] == [("/VMC/Ext/OK", 1), ("/VMC/Ext/T", 0)]
    assert got[2:4] == [("/VMC/Ext/OK", 1), ("/VMC/Ext/T", pytest.approx(0.1))]
    blends = [values[0] for address, *values in got if address == "/VMC/Ext/Blend/Val"]
    assert len(blends) == 51
    assert "_neutral" not in blends
    head = next(values for address, *values in got if address == "/VMC/Ext/Bone/Pos")
    assert head == ["Head", 0, 0, 0, 0, 0, 0, 1]
    assert ["/VMC/Ext/Blend/Apply"] in [list(message) for message in got]


def test_bones_of_a_body_are_sent_by_vmc(receiver):
    port, messages = receiver
    body = body_of(actor(0.5))
    with LiveOutput(f"vmc://127.0.0.1:{port}", "bodies") as output:
        output.send(Frame(0, 0.0), SIZE)
        output.send(Frame(1, 0.1, bodies=[body]), SIZE)
    root, *bones = messages(57)[4:]
    assert root == ("/VMC/Ext/Root/Pos", "root", 0, 0, 0, 0, 0, 0, 1)
    assert {address for address, *_ in bones} == {"/VMC/Ext/Bone/Pos"}
    poses = {name: (np.array(values[:3]), values[3:]) for _, name, *values in bones}
    assert set(poses) == UNITY_BONES
    place, turn = np.zeros(3), np.eye(3)
    for bone in ("RightShoulder", "RightUpperArm", "RightLowerArm", "RightHand"):  # from the chest
        place = place + turn @ poses[bone][0]
        turn = turn @ rotation_of(poses[bone][1])
    chest = np.eye(3)
    for bone in ("Hips", "Spine", "Chest", "UpperChest"):
        chest = chest @ rotation_of(poses[bone][1])
    points = actor(0.5) * (-1, 1, 1)  # x of Unity is to the person's right
    arm = chest @ place - chest @ poses["RightShoulder"][0]
    collar = chest @ rotation_of(poses["RightShoulder"][1]) @ poses["RightUpperArm"][0]
    np.testing.assert_allclose(arm - collar, points[16] - points[12], atol=0.03)


def test_frames_are_sent_as_json_by_websocket():
    from websockets.sync.server import serve

    got = queue.Queue()
    with serve(lambda connection: [got.put(text) for text in connection], "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        port = server.socket.getsockname()[1]
        with LiveOutput(f"ws://127.0.0.1:{port}/pose", "hands") as output:
            output.send(Frame(2, 0.5, [hand()]), (640, 480))
            message = json.loads(got.get(timeout=10))
        server.shutdown()
        thread.join()
    assert (message["index"], message["width"], message["height"]) == (2, 640, 480)
    assert message["hands"][0]["handedness"] == "Left"


@pytest.mark.parametrize(
    "address",
    ["osc://127.0.0.1", "http://127.0.0.1:1", "osc://:9", "osc://host:x", "osc://host:0", "9000", "osc://[::1:9000"],
)
def test_wrong_addresses(address):
    with pytest.raises(InputError, match=r"write osc://127\.0\.0\.1:9000, vmc:"):
        LiveOutput(address, "hands")


@pytest.mark.parametrize("scheme", ["osc", "ws"])
def test_a_mistyped_host(scheme):
    with pytest.raises(InputError, match=r"127\.0\.0\.\.1:9000"):
        LiveOutput(f"{scheme}://127.0.0..1:9000", "hands")


def test_a_websocket_that_starts_later_receives_from_then_on(caplog):
    from websockets.sync.server import serve

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    got = queue.Queue()
    with LiveOutput(f"ws://127.0.0.1:{port}", "hands") as output:
        output.send(Frame(0, 0.0, [hand()]), (640, 480))
        wait_until(lambda: caplog.text)  # the address was tried
        with serve(lambda connection: [got.put(text) for text in connection], "127.0.0.1", port) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            for index in range(1, 200):
                output.send(Frame(index, index / 30, [hand()]), (640, 480))
                with contextlib.suppress(queue.Empty):
                    message = json.loads(got.get(timeout=0.1))
                    break
            server.shutdown()
            thread.join()
    assert message["index"] > 0
    assert f"ws://127.0.0.1:{port}: " in caplog.text
    assert "receives again" in caplog.text


def test_a_port_that_is_no_websocket_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as other:

        def answer():
            connection, _ = other.accept()
            connection.sendall(b"220 mail\r\n")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(InputError, match="--to ws://"):
            LiveOutput(f"ws://127.0.0.1:{other.getsockname()[1]}", "hands")
        thread.join()


def stored_frames():
    """Return frames of each kind, with unknown values and points."""
    left, right = hand_of("Left", id=None, seed=2), hand_of(gesture=("Fist", 0.625))
    right.keypoints[3, 1], right.keypoints_3d[5, 2] = np.nan, np.inf
    turned = np.eye(4, dtype=np.float32)
    turned[:3, :3], turned[:3, 3] = 2 * cv2.Rodrigues(np.array([0.3, -0.5, 0.9]))[0], (5, 6, 7)
    faces = [face_of(transform=turned), face_of(id=None, seed=4)]
    plain = Face(0.5, np.zeros((6, 3), np.float32), (0.0, 0.0, 1.0, 1.0))
    events = [
        Event("Wave", "motion", "end", 0.1, 0.5, 3, "Left", 0.25),
        Event("m", "measure", "begin", 0.2, None, 7, None, 2.5),
    ]
    return [
        Frame(3, None, [left, right], events=events),
        Frame(4, 1.25, faces=faces, bodies=[body_of(actor(0.5))]),
        Frame(5, 0.5, faces=[plain]),
    ]


@pytest.mark.parametrize("scheme", ["osc", "vmc"])
def test_the_messages_of_frames_are_as_stored(scheme):
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        for frame in stored_frames():
            with LiveOutput(f"{scheme}://127.0.0.1:{receiver.getsockname()[1]}", "hands") as output:
                output.send(frame, SIZE)
            receiver.settimeout(10)
            packets = [receiver.recv(65_536)]
            receiver.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    packets.append(receiver.recv(65_536))
            found += [[[message.address, *message.params] for message in OscBundle(packet)] for packet in packets]
    assert_as_stored(f"live.{scheme}", found, relative=1e-3, absolute=1e-3)
