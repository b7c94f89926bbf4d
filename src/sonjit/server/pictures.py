"""`POST /v1/{kind}`: what is in one picture."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response

from sonjit.detectors.create import KINDS
from sonjit.media.json_tables import json_from
from sonjit.server.available import require_weights
from sonjit.server.bodies import limited
from sonjit.server.errors import RefusedError
from sonjit.server.images import decode_picture
from sonjit.server.looking import Looker
from sonjit.server.options import Spec, known_options, read_options, read_value, single_values

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sonjit.server.service import Service

_FULL = {
    "type": "boolean",
    "description": "id, depth and box beside tfjs-models' members; measures and maps bring it",
}


def picture_router(service: Service) -> APIRouter:
    """The doors of single pictures, one for each kind."""
    router = APIRouter(prefix="/v1", tags=["pictures"])
    for kind in KINDS:
        router.add_api_route(
            f"/{kind}",
            _door(service, kind),
            methods=["POST"],
            summary=f"{kind.capitalize()} in one picture",
            operation_id=f"detect_{kind}",
            openapi_extra={"parameters": _parameters(kind), "requestBody": _BODY},
        )
    return router


def _door(service: Service, kind: str) -> Callable[[Request], Awaitable[Response]]:
    async def look(request: Request) -> Response:
        query: dict[str, Any] = dict(single_values(request.query_params))
        full = read_value("full", query.pop("full", False), _FULL)
        spec = Spec.filled(kind, read_options(kind, query), still=True)
        require_weights(spec.kind, spec.model)
        with service.room.body() as take:
            data = await _read_picture(limited(request, service.settings.max_body_bytes, "--max-body-mb", take))
            with service.picture():
                strict = not (full or spec.measures or spec.explain != "none")
                return Response(await _answer(service, spec, data, strict=strict), media_type="application/json")

    return look


async def _read_picture(request: Request) -> bytes:
    """The body itself, or the one file of a form."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        return await request.body()
    async with request.form(max_files=1, max_fields=8) as form:
        files = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
        if not files:
            raise RefusedError("bad_image", "the form holds no file: send the picture as a file, or as the body itself")
        return await files[0].read()


async def _answer(service: Service, spec: Spec, data: bytes, *, strict: bool) -> str:
    detector = await asyncio.to_thread(service.stock.take, spec)
    looker = Looker(spec, detector, service.explainers)

    def work() -> str:
        rgb = decode_picture(data, service.settings.max_pixels)
        head = {"width": rgb.shape[1], "height": rgb.shape[0], "model": spec.name}
        return f"{json_from(head)[:-1]},{looker.look(rgb, None, strict=strict)}}}"

    # Shielded: a client that leaves must not have its detector given to the next one while it is still at work.
    looking = asyncio.ensure_future(service.stills.run(work))
    looking.add_done_callback(lambda _: service.stock.give_back(spec, detector))
    return await asyncio.shield(looking)


_BODY = {
    "required": True,
    "content": {
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        "multipart/form-data": {
            "schema": {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
        },
    },
}


def _parameters(kind: str) -> list[dict[str, Any]]:
    """The query's parameters, for the description of the doors."""
    schemas = known_options(kind) | {"full": _FULL}
    return [{"name": name, "in": "query", "required": False, "schema": schema} for name, schema in schemas.items()]
