"""Custom gestures and control maps of clients: recordings are trained and tested, maps are checked; nothing is kept."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from sonjit.arrays import Float32Array
from sonjit.errors import InputError
from sonjit.gestures import GESTURES, MOTIONS, GestureRecording, LearnedGestures
from sonjit.gestures.features import KEYPOINTS
from sonjit.gestures.learned import confusion
from sonjit.gestures.rules import ACTIONS, PLACES, read_map
from sonjit.json_text import Json, JsonObject, json_from
from sonjit.measures import MEASURE_NAMES
from sonjit.results import Hand
from sonjit.server.errors import RefusedError, refusal_from
from sonjit.server.middleware import limited
from sonjit.server.service import Service

_MOST_RECORDINGS, _MOST_HANDS = 64, 200
_EXAMPLE = '{"recordings": [{"name": "claw", "hands": [{"handedness", "keypoints", "keypoints3D"}, …]}, …]}'


def gesture_router(service: Service) -> APIRouter:
    """`/v1/gestures` and `/v1/control`."""
    router = APIRouter(prefix="/v1", tags=["gestures"])

    async def body_of(request: Request) -> bytes:
        with service.image_bytes.body() as take:
            return await limited(request, service.settings.max_body_bytes, "--max-body-mb", take).body()

    @router.post("/gestures/train")
    async def train(request: Request) -> Response:
        """Train custom gestures: `{"names", "file"}`, the file of `sonjit gestures train` in base64."""
        return await _answer(_trained, await body_of(request))

    @router.post("/gestures/test")
    async def test(request: Request) -> Response:
        """Test each recording by the others: `{"names", "counts"}`, a row for each gesture, none in the last column."""
        return await _answer(_tested, await body_of(request))

    @router.get("/control")
    def known() -> Response:
        """What rules of a map may name."""
        names: JsonObject = {
            "gestures": list(GESTURES),
            "motions": list(MOTIONS),
            "measures": [*PLACES, *MEASURE_NAMES[Hand.kind]],
            "actions": dict(ACTIONS),
        }
        return _json(names)

    @router.post("/control")
    async def check(request: Request) -> Response:
        """Check a map for `sonjit control`, the TOML text that is the body: `{"rules", "pause"}`; nothing is sent."""
        return await _answer(_checked, await body_of(request))

    return router


async def _answer(work: Callable[[bytes], JsonObject], body: bytes) -> Response:
    try:
        return _json(await run_in_threadpool(work, body))
    except InputError as error:
        raise refusal_from(error, "bad_option") from None


def _json(content: JsonObject) -> Response:
    return Response(json_from(content), media_type="application/json")


def _trained(body: bytes) -> JsonObject:
    learned = LearnedGestures.learn(read_recordings(body))
    return {"names": list(learned.names), "file": base64.b64encode(learned.to_bytes()).decode("ascii")}


def _tested(body: bytes) -> JsonObject:
    names, counts = confusion(read_recordings(body))
    return {"names": list(names), "counts": cast("Json", counts.tolist())}


def _checked(body: bytes) -> JsonObject:
    rules, pause = read_map(body.decode("utf-8", "replace"), "the map")
    return {"rules": len(rules), "pause": pause}


def read_recordings(body: bytes) -> list[GestureRecording]:
    """Recordings of held gestures, of hands as streams answer them; RefusedError where they are none."""
    try:
        listed: list[Mapping[str, Any]] = json.loads(body)["recordings"]
        if len(listed) > _MOST_RECORDINGS or max((len(one["hands"]) for one in listed), default=0) > _MOST_HANDS:
            most = f"at most {_MOST_RECORDINGS} recordings of {_MOST_HANDS} hands"
            raise RefusedError("too_large", f"more hands than are trained on: give {most}")
        return [GestureRecording.of(_name(one["name"]), [_hand(hand) for hand in one["hands"]]) for one in listed]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RefusedError("bad_option", f"no recordings ({error!r:.80}): give {_EXAMPLE}") from None


def _name(name: object) -> str:
    if not isinstance(name, str) or not 0 < len(name) <= 40 or not name.isprintable():
        raise RefusedError("bad_option", f"name={name!r:.60}: name a gesture by 1 to 40 characters")
    return name


def _hand(given: Mapping[str, Any]) -> Hand:
    points, metres = (_points(given[name]) for name in ("keypoints", "keypoints3D"))
    if given["handedness"] not in ("Left", "Right"):
        raise ValueError("handedness")
    return Hand(given["handedness"], 1.0, points, metres)


def _points(given: list[Mapping[str, float]]) -> Float32Array:
    points = np.array([[one["x"], one["y"], one["z"]] for one in given], np.float32)
    if points.shape != (KEYPOINTS, 3) or not np.isfinite(points).all():
        raise ValueError(f"keypoints {points.shape}")
    return points
