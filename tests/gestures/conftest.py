import socket
import threading
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pytest

from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit.gestures import CustomMotions, MotionRecording
from sonjit.results import Frame, Hand
from sonjit_lab.hand_models.rig import RigPose
from sonjit_lab.synthesis.gestures import add_deviation, gestures, resolved_angles
from sonjit_lab.synthesis.hand_shapes import rig_from_shape


@pytest.fixture(scope="session")
def posed():
    """Function that gives a Hand with the true joints of a pose: palm to the camera, fingers up, then turned.

    With `rng` the hand is another person's, and each joint a little off the pose.
    """

    def posed(name, side="Right", roll_deg=0.0, yaw_deg=0.0, rng=None):
        rig = rig_from_shape(side, np.zeros(36) if rng is None else rng.normal(size=36).clip(-2, 2))
        pose = gestures()[name]
        angles = resolved_angles(rig, pose.angles if rng is None else add_deviation(pose.angles, rng), pose.touch)
        joints = rig.keypoints(RigPose(np.eye(3)[None], np.zeros((1, 3)), angles[None]))[0]
        rest = rig.frames[0]
        palm = np.stack([rest[:, 0], -rest[:, 2], rest[:, 1]], 1)  # across, along to the fingers, out of the back
        points = (joints - joints.mean(0)) @ palm * [1, -1, 1]
        roll, yaw = np.radians([0, 0, roll_deg]), np.radians([0, yaw_deg, 0])
        points = points @ (matrix_from_rotation_vector(roll) @ matrix_from_rotation_vector(yaw)).T
        return Hand(side, 1.0, (points * 1500 + [320, 240, 0]).astype(np.float32), points.astype(np.float32))

    return posed


WAYS = {
    "beckon": [[0, 0], [0, -1], [0, 0], [0, -1], [0, 0]],
    "tick": [[0, 0], [0.4, 0.5], [1.2, -0.6]],
    "zigzag": [[0, 0], [1, 0], [0, 0.8], [1, 0.8]],
}


@pytest.fixture(scope="session")
def moved(posed):
    """Return a function that gives the frames of a hand that moves along paths, with a rest after each, and noise."""

    def moved(*ways, fps=30, seconds=1.0, size=1.0, side="Right", seed=0, rest_s=0.6, hand="open"):
        rng = np.random.default_rng(seed)
        still = posed(hand, side)
        length = size * 280 * (1 if side == "Right" else -1)
        places = [np.zeros((round(rest_s * fps), 2))]
        for named in ways:
            way = np.array(WAYS[named] if isinstance(named, str) else named, float)
            far = np.concatenate([[0], np.linalg.norm(np.diff(way, axis=0), axis=1).cumsum()])
            at = np.linspace(0, far[-1], round(seconds * fps))
            path = np.stack([np.interp(at, far, column) for column in way.T], 1) * [length, abs(length)]
            places += [places[-1][-1] + path, np.repeat(places[-1][-1:] + path[-1:], round(rest_s * fps), 0)]
        for index, place in enumerate(np.concatenate(places)):
            points = still.keypoints + np.float32([*place, 0]) + rng.normal(0, 1, (21, 3)).astype(np.float32)
            yield Frame(index, index / fps, [Hand(side, 1.0, points, still.keypoints_3d, id=0)])

    return moved


@pytest.fixture(scope="session")
def motions(moved):
    """Return motions learned from five examples of each path, with several sizes and speeds."""
    return CustomMotions.learn(
        [
            MotionRecording.of(name, moved(*[name] * 3, seconds=seconds, size=size, seed=number))
            for name in WAYS
            for number, (seconds, size) in enumerate([(0.8, 0.9), (1.2, 1.1)])
        ]
    )


@dataclass
class Message:
    """Message that a client published."""

    topic: str
    text: str
    retain: bool
    qos: int


class Broker:
    """Broker of MQTT 3.1.1 that reads only while `reads` is set.

    `got` has the messages, also last wills, and `users` the logins.
    """

    def __init__(self):
        self.port = 0
        self.got, self.users = [], []
        self.confirms = True
        self.reads = threading.Event()
        self.reads.set()
        self.start()

    def start(self):
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.bind(("127.0.0.1", self.port))
        self._socket.listen()
        self.port, self._open = self._socket.getsockname()[1], []
        threading.Thread(target=self._serve, args=(self._socket,), daemon=True).start()

    def _serve(self, listening):
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                self._open.append(connection)
                threading.Thread(target=self._client, args=(connection,), daemon=True).start()

    def _client(self, connection):
        will = None
        stream = connection.makefile("rb")
        with suppress(OSError, EOFError):
            while True:
                self.reads.wait()
                head = self._bytes(stream, 1)[0]
                length = shift = 0
                while True:
                    byte = self._bytes(stream, 1)[0]
                    length |= (byte & 127) << shift
                    shift += 7
                    if byte < 128:
                        break
                body = self._bytes(stream, length)
                if head >> 4 == 1:  # CONNECT
                    will = self._login(body)
                    connection.sendall(b"\x20\x02\0\0")
                elif head >> 4 == 3:  # PUBLISH
                    end = 2 + int.from_bytes(body[:2], "big")
                    qos = head >> 1 & 3
                    text = body[end + 2 * (qos > 0) :].decode()
                    if self.confirms:
                        self.got.append(Message(body[2:end].decode(), text, bool(head & 1), qos))
                    if qos and self.confirms:
                        connection.sendall(b"\x40\x02" + body[end : end + 2])
                elif head >> 4 == 12:  # PINGREQ
                    connection.sendall(b"\xd0\0")
                elif head >> 4 == 14:  # DISCONNECT
                    will = None
                    return
        if will is not None:
            self.got.append(will)

    def _login(self, body):
        flags, rest = body[7], body[10:]
        fields = []
        while rest:
            size = int.from_bytes(rest[:2], "big")
            fields.append(rest[2 : 2 + size].decode())
            rest = rest[2 + size :]
        will = Message(fields[1], fields[2], bool(flags & 32), flags >> 3 & 3) if flags & 4 else None
        if flags & 128:
            self.users.append(tuple(fields[-2:]) if flags & 64 else (fields[-1],))
        return will

    def _bytes(self, stream, count):
        data = stream.read(count)
        if len(data) < count:
            raise EOFError
        return data

    def lose(self):
        """End the connections of all clients."""
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def close(self):
        self.reads.set()
        with suppress(OSError):  # wakes `accept`
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self.lose()
