"""Send the results of each frame to another program by OSC, WebSocket or VMC."""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import numpy as np

from sonjit._util import FloatArray, InputError, RealArray, json_from
from sonjit._util.files import Closing
from sonjit.geometry.rotations import quaternion_wxyz_from_matrix
from sonjit.gestures.outlets.osc import open_udp, osc_bundles, osc_message
from sonjit.gestures.outlets.websocket import WebSocketClient
from sonjit.gestures.targets import Target
from sonjit.media.tables.characters import BONES, PARENTS, Motion, writer
from sonjit.results import Face, Frame, Hand
from sonjit.results.skeletons.faces import NO_EXPRESSION

SCHEMES: Final = ("osc", "vmc", "ws", "wss")
_UNITY_THUMB: Final = {"Metacarpal": "Proximal", "Proximal": "Intermediate"}
_VMC_OK: Final = b"/VMC/Ext/OK\0,i\0\0\0\0\0\1"  # message with the integer 1: the sender is ready


class LiveOutput(Closing):
    """Send frames to an address `osc://HOST:PORT`, `vmc://HOST:PORT`, `ws://HOST:PORT/PATH` or `wss://...`.

    `osc` sends keypoints as messages of Open Sound Control over UDP, in bundles. `ws` sends a JSON object per frame,
    which has the list of results even if it is empty. `vmc` sends the Virtual Motion Capture protocol, in bundles: the
    bones of one body, or the blendshapes and the head of one face.
    """

    def __init__(self, address: str, list_name: str) -> None:
        self._address = address
        self._list_name = list_name
        try:
            url = urlsplit(address)
            scheme, host, port = url.scheme, url.hostname, url.port
        except ValueError:  # the port is no number, or a bracket is open
            scheme = host = port = None
        if scheme not in SCHEMES or not host or not port:
            raise InputError(
                f"--to {address}: write osc://127.0.0.1:9000, vmc://127.0.0.1:39539 or ws://127.0.0.1:8000/path"
            )
        with ExitStack() as stack:
            self._send = self._open(scheme, host, port, stack)
            self._stack = stack.pop_all()

    def _open(self, scheme: str, host: str, port: int, stack: ExitStack) -> Callable[[Frame, tuple[int, int]], None]:
        if scheme in ("ws", "wss"):
            client = WebSocketClient(self._address)
            try:
                client.connect()
            except ConnectionRefusedError:  # the receiver may start later: `Target` tries again, and reports it
                pass
            except (OSError, UnicodeError) as error:
                raise InputError(f"--to {self._address}: {error}") from error
            stack.callback(client.close)
            texts = stack.enter_context(Target(self._address, client.send, client.abort))
            lists = (self._list_name,)
            return lambda frame, size: texts.put(
                json_from({"width": size[0], "height": size[1], **frame.to_dict(lists)})
            )
        send = open_udp(host, port, stack)
        character = writer.LiveCharacter()
        messages = partial(_vmc_messages, character) if scheme == "vmc" else _osc_messages

        def send_all(packets: list[bytes]) -> None:
            for packet in packets:
                send(packet)

        frames = stack.enter_context(Target(self._address, send_all))
        return lambda frame, size: frames.put(list(osc_bundles(messages(frame, size))))

    def send(self, frame: Frame, size: tuple[int, int]) -> None:
        """Send a frame in a thread. If the receiver is slow, only the newest frame waits; see `Target`."""
        self._send(frame, size)

    def close(self) -> None:
        """Send the last frame and close the connection, within the time limit."""
        self._stack.close()


def _osc_messages(frame: Frame, size: tuple[int, int]) -> Iterator[bytes]:
    """Yield the messages of a frame: the number of instances, keypoints, gestures, blendshapes and events."""
    instances = [instance for _, instance in frame.instances()]
    yield osc_message("/sonjit/frame", float(frame.index), frame.time or 0.0, float(len(instances)))
    for instance in instances:
        part = f"{instance.handedness.lower()}_hand" if isinstance(instance, Hand) else instance.kind
        base = f"/sonjit/{part}/{instance.id or 0}"
        yield osc_message(f"{base}/score", instance.score)
        metric = instance.keypoints_3d
        for k, (name, point) in enumerate(zip(instance.names, instance.keypoints.tolist(), strict=True)):
            if not name or instance.kind == Face.kind:
                continue
            place = [point[0] / size[0], point[1] / size[1]]
            values = place + ([] if metric is None else metric[k].tolist())
            if all(map(math.isfinite, values)):
                yield osc_message(f"{base}/{name}", *values)
        if isinstance(instance, Hand) and instance.gesture is not None:
            yield osc_message(f"{base}/gesture", instance.gesture.name, instance.gesture.score)
        if isinstance(instance, Face):
            for name, value in _expressions(instance):
                yield osc_message(f"{base}/{name}", value)
    for event in frame.events:
        yield osc_message("/sonjit/event", event.name, event.phase, float(event.id), event.value)


def _vmc_messages(character: writer.LiveCharacter, frame: Frame, size: tuple[int, int]) -> Iterator[bytes]:
    """Yield the state and the time, the bones of a body, and the blendshapes and the head of the first face."""
    yield _VMC_OK
    yield osc_message("/VMC/Ext/T", frame.time or 0.0)
    yield from _bone_messages(character.pose(frame, size))
    face = next(frame.parts_of(Face), None)
    if face is None:
        return
    if face.transform is not None:
        scale = (face.transform[:3, 0] ** 2).sum() ** 0.5
        yield _bone_message("Head", np.zeros(3), face.transform[:3, :3] / scale)
    expressions = list(_expressions(face))
    for name, value in expressions:
        yield osc_message("/VMC/Ext/Blend/Val", name, value)
    if expressions:
        yield osc_message("/VMC/Ext/Blend/Apply")


def _bone_messages(pose: Motion | None) -> Iterator[bytes]:
    """Yield the root and all bones of a pose."""
    if pose is None:
        return
    yield osc_message("/VMC/Ext/Root/Pos", "root", 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    for number, bone in enumerate(BONES):
        place = pose.offsets[number] if PARENTS[bone] else pose.hips[0]
        yield _bone_message(unity_bone(bone), place, pose.rotations[0, number])


def _bone_message(name: str, place: FloatArray, rotation: RealArray) -> bytes:
    """Return the position and rotation of a bone relative to its parent. Unity's x points to the other side."""
    w, x, y, z = quaternion_wxyz_from_matrix(rotation).tolist()
    return osc_message("/VMC/Ext/Bone/Pos", name, -place[0], place[1], place[2], x, -y, -z, w)


def unity_bone(bone: str) -> str:
    """Return the name of a bone in Unity's humanoid.

    >>> unity_bone("leftThumbMetacarpal"), unity_bone("hips")
    ('LeftThumbProximal', 'Hips')
    """
    finger, thumb, part = bone.partition("Thumb")
    name = f"{finger}{thumb}{_UNITY_THUMB.get(part, part)}"
    return name[0].upper() + name[1:]


def _expressions(face: Face) -> Iterator[tuple[str, float]]:
    return ((name, value) for name, value in (face.blendshapes or {}).items() if name != NO_EXPRESSION)
