"""Endpoints that train and test custom gestures and check control maps. The server stores none of them."""

import base64
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import numpy as np
from fastapi import APIRouter, Request
from numpy.typing import NDArray
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from sonjit._util import Float32Array, InputError, Json, JsonObject, json_from
from sonjit.gestures import GESTURES, MOTIONS, GestureRecording, LearnedGestures, MotionRecording, classifier, control
from sonjit.gestures.custom import checked_name, confusions
from sonjit.results import Frame, Hand
from sonjit.results.measures import measure_names
from sonjit.server.errors import RefusedError
from sonjit.server.options import load_json, require_short_map
from sonjit.server.service import Service

_MAX_RECORDINGS = 64
_MAX_HANDS = 200
_MAX_FRAMES = 600
_MAX_MOTIONS = 10
_MAX_NAMES = 200
"""Maximum numbers of recordings, of hands or frames of a recording, of its examples of a motion, and of names."""
_MAX_STEPS = 10_000
"""Maximum number of motions times the length of the longest: every step of a hand is compared with as many."""
_MAX_GESTURE_BYTES = 1_000_000
"""Size of a client's gesture file, compressed and uncompressed; files of the page have some 10 kB."""
_HAND = '{"handedness", "keypoints", "keypoints3D"}'
_EXAMPLE = (
    f'{{"recordings": [{{"name": "claw", "hands": [{_HAND}, …]}}, or of a motion '
    f'{{"name": "tick", "frames": [{{"time": 0.5, "hands": [{_HAND} with "id", …]}}, …]}}, …]}}'
)

Recording = GestureRecording | MotionRecording


def gesture_router(service: Service) -> APIRouter:
    """Return the endpoints `/v1/gestures` and `/v1/control`."""
    router = APIRouter(prefix="/v1", tags=["gestures"])

    async def answer(work: Callable[[bytes], JsonObject], request: Request) -> Response:
        with service.body(request) as limited:
            body = await limited.body()
        return _json(await run_in_threadpool(work, body))

    @router.post("/gestures/train")
    async def train(request: Request) -> Response:
        """Train custom gestures: `{"names", "examples", "file"}`, the file of `sonjit gestures train` in base64."""
        return await answer(_trained, request)

    @router.post("/gestures/test")
    async def test(request: Request) -> Response:
        """Test each recording with the others. Return `{"names", "counts"}` of gestures and motions, with none last."""
        return await answer(_tested, request)

    @router.get("/control")
    def names_in_rules() -> Response:
        """Return the names that rules of a map may use."""
        names: JsonObject = {
            "gestures": list(GESTURES),
            "motions": list(MOTIONS),
            "measures": [*control.PLACES, *measure_names(Hand.kind)],
            "actions": dict(control.ACTIONS),
        }
        return _json(names)

    @router.post("/control")
    async def check(request: Request) -> Response:
        """Check a map for `sonjit control`, the TOML text that is the body: `{"rules", "pause"}`; nothing is sent.

        Custom gestures that it may name are those of `gesture=NAME` in the address, once for each.
        """
        custom = [checked_name(name) for name in request.query_params.getlist("gesture")[:_MAX_NAMES]]
        return await answer(partial(_checked, custom), request)

    return router


def _json(content: JsonObject) -> Response:
    return Response(json_from(content), media_type="application/json")


def _trained(body: bytes) -> JsonObject:
    recordings = read_recordings(body)
    learned = LearnedGestures.learn(recordings)
    return {
        "names": list(learned.names),
        "examples": [
            sum(len(recording) for recording in recordings if recording.name == name) for name in learned.names
        ],
        "file": base64.b64encode(learned.to_bytes()).decode("ascii"),
    }


def _tested(body: bytes) -> JsonObject:
    tables = confusions(read_recordings(body))
    return {"tables": [{"names": [*names], "counts": cast("Json", counts.tolist())} for names, counts in tables]}


def _checked(custom: Sequence[str], body: bytes) -> JsonObject:
    text = body.decode("utf-8", "replace")
    require_short_map(text)
    read = control.read_map(text, "the map", custom)
    return {"rules": len(read.rules), "pause": read.pause}


def read_gestures(text: object) -> LearnedGestures | None:
    """Return the gestures of a client's file in base64; None for none. Raise RefusedError for invalid files."""
    if text is None:
        return None
    name = "gestures_file"
    try:
        if not isinstance(text, str):
            raise InputError(f"{name}: give the file in base64")
        if len(text) > 4 / 3 * _MAX_GESTURE_BYTES + 4:
            raise InputError(f"{name} has more than {_MAX_GESTURE_BYTES} bytes")
        learned = LearnedGestures.from_bytes(base64.b64decode(text, validate=True), name, _MAX_GESTURE_BYTES)
        _require_short(learned.motions.ways)
    except InputError as error:
        raise RefusedError("bad_option", f"{error}; sonjit gestures train and the page make such files") from None
    except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
        raise RefusedError("bad_option", f"{name} contains no gestures ({error!r:.80})") from None
    return learned


def _require_short(ways: Sequence[NDArray[np.float16]]) -> None:
    """Raise InputError if a step of a hand would be compared with too many steps."""
    longest = max(map(len, ways), default=0)
    if len(ways) * longest > _MAX_STEPS:
        raise InputError(f"{len(ways)} motions of up to {longest} steps are too many: give fewer, or shorter ones")


def read_recordings(body: bytes) -> list[Recording]:
    """Read recordings of hands in the format of stream answers. Raise an error of Sonjit's if they are invalid."""
    try:
        listed: list[Mapping[str, Any]] = load_json(body, "the body")["recordings"]
        if len(listed) > _MAX_RECORDINGS:
            raise RefusedError("too_large", f"{len(listed)} recordings: give at most {_MAX_RECORDINGS}")
        read = [_recording(entry) for entry in listed]
        _require_short([way for recording in read if isinstance(recording, MotionRecording) for way in recording.ways])
        return read
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise RefusedError("bad_option", f"no recordings ({error!r:.80}): give {_EXAMPLE}") from None


def _recording(given: Mapping[str, Any]) -> Recording:
    name = checked_name(given["name"])
    if "frames" not in given:
        if len(given["hands"]) > _MAX_HANDS:
            raise RefusedError("too_large", f"{name}: {len(given['hands'])} hands: give at most {_MAX_HANDS}")
        return GestureRecording.of(name, [_hand(hand) for hand in given["hands"]])
    if len(given["frames"]) > _MAX_FRAMES:
        raise RefusedError("too_large", f"{name}: {len(given['frames'])} frames: give at most {_MAX_FRAMES}")
    frames = (
        Frame.from_results(index, float(frame["time"]), (_hand(hand, int(hand["id"])) for hand in frame["hands"]))
        for index, frame in enumerate(given["frames"])
    )
    return MotionRecording.of(name, frames, _MAX_MOTIONS)


def _hand(given: Mapping[str, Any], id: int | None = None) -> Hand:
    points, metres = (_points(given[name]) for name in ("keypoints", "keypoints3D"))
    if given["handedness"] not in ("Left", "Right"):
        raise ValueError("handedness")
    return Hand(given["handedness"], 1.0, points, metres, id=id)


def _points(given: list[Mapping[str, float]]) -> Float32Array:
    with np.errstate(over="ignore"):  # they are refused below
        points = np.array([[point["x"], point["y"], point["z"]] for point in given], np.float32)
    if points.shape != (classifier.KEYPOINTS, 3) or not np.isfinite(points).all():
        raise ValueError(f"keypoints {points.shape}")
    return points
