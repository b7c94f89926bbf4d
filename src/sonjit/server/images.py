"""Decode the images of clients, and the endpoints `POST /v1/{kind}`, which detect instances in one image."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
from fastapi import APIRouter
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response

from sonjit._util.arrays import Image
from sonjit._util.errors import SonjitError
from sonjit._util.json_text import json_from
from sonjit.detectors.kinds import KINDS
from sonjit.detectors.option import Option
from sonjit.media.sources.images import SNIFF_BYTES, image_format, image_size
from sonjit.server.decoding import Decoders
from sonjit.server.detector_pool import require_weights
from sonjit.server.errors import RefusedError
from sonjit.server.middleware import limited
from sonjit.server.options import (
    BINARY,
    SessionOptions,
    known_options,
    query_parameters,
    read_options,
    read_value,
    single_values,
    upload_body,
)
from sonjit.server.schemas import image_answer, responses
from sonjit.server.service import Service
from sonjit.server.sessions import Session

_FULL = Option(
    "Add id, depth and box to tfjs-models' members; implied by options whose results these members do not contain.",
    name="full",
    type="boolean",
    default=False,
)
_FULL_ADDS = "id, depth, box and skeleton"
_IMPLY_FULL = ("blendshapes", "transform", "distance")
"""Options of detectors whose results only a full answer contains. Refined keypoints also belong to them."""


def decode_upload(data: bytes, max_pixels: int, decoders: Decoders) -> Image:
    """Decode an image to (H, W, 3) uint8 RGB, upright. Its size is checked before it is decoded.

    Raises:
        RefusedError: The bytes are not an image, are damaged or have too many pixels.
    """
    if not data:
        raise RefusedError("bad_image", "no image came: send the bytes of a JPEG, PNG or WebP file")
    known_format = image_format(data[:SNIFF_BYTES])
    size = image_size(data, known_format)
    if size is None:
        reason = f"a damaged {known_format} image" if known_format else "not an image of a known format"
        raise RefusedError("bad_image", f"{len(data)} bytes are {reason}: send a complete JPEG, PNG or WebP file")
    check_pixels(*size, max_pixels)
    try:
        return decoders.decode(data)
    except SonjitError as error:
        raise RefusedError("bad_image", str(error)) from error


def raw_image(data: memoryview, width: int, height: int, channels: int, max_pixels: int) -> Image:
    """Return rows of RGB or RGBA bytes as (H, W, 3) uint8 RGB. Raise RefusedError if size and bytes do not match."""
    if not width or not height or len(data) != width * height * channels:
        raise RefusedError(
            "bad_image", f"{len(data)} bytes are not {width} x {height} pixels of {channels} bytes: send complete rows"
        )
    check_pixels(width, height, max_pixels)
    pixels = np.frombuffer(data, np.uint8).reshape(height, width, channels)
    if channels == 3:
        return pixels
    import cv2

    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB), np.uint8)


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Raise RefusedError if an image has too many pixels."""
    if width * height > max_pixels:
        raise RefusedError(
            "too_many_pixels",
            f"the image has {width} x {height} pixels, more than {max_pixels / 1e6:g} million: "
            "send a smaller one or raise --max-megapixels",
        )


def image_router(service: Service) -> APIRouter:
    """Return the endpoints for single images, one for each kind of detector."""
    router = APIRouter(prefix="/v1", tags=["images"])
    for kind in KINDS:
        router.add_api_route(
            f"/{kind}",
            _endpoint(service, kind),
            methods=["POST"],
            summary=f"{kind.capitalize()} in one image",
            operation_id=f"detect_{kind}",
            openapi_extra={
                "parameters": query_parameters((*known_options(kind).values(), _FULL)),
                "requestBody": upload_body(BINARY),
                "responses": responses(image_answer(kind), f"The detected instances; full=true adds {_FULL_ADDS}."),
            },
        )
    return router


def _endpoint(service: Service, kind: str) -> Callable[[Request], Awaitable[Response]]:
    async def detect(request: Request) -> Response:
        query: dict[str, object] = {**single_values(request.query_params)}
        full = read_value(_FULL, query.pop("full", False))
        options = SessionOptions.from_values(kind, read_options(kind, query), still=True)
        require_weights(kind, options.detector.model)
        with service.image_bytes.body() as take:
            data = await _read_image(limited(request, service.settings.max_body_bytes, "--max-body-mb", take))
            with service.image():
                strict = not (full or _implies_full(options))
                return Response(await _answer(service, options, data, strict=strict), media_type="application/json")

    return detect


def _implies_full(options: SessionOptions) -> bool:
    """Check whether the members of tfjs-models lack results of the options."""
    detector = options.detector
    return (
        options.measures
        or options.explain != "none"
        or getattr(detector, "keypoints", None) == "refined"
        or any(getattr(detector, name, False) for name in _IMPLY_FULL)
    )


async def _read_image(request: Request) -> bytes:
    """Return the body, or the only file of a form."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        return await request.body()
    async with request.form(max_files=1, max_fields=8) as form:
        files = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
        if not files:
            raise RefusedError("bad_image", "the form has no file: send the image as a file, or as the request body")
        return await files[0].read()


async def _answer(service: Service, options: SessionOptions, data: bytes, *, strict: bool) -> str:
    detector = await service.detectors.take_async(options)

    def detect() -> str:
        session = Session(options, detector, service.explainers)
        rgb = decode_upload(data, service.settings.max_pixels, service.decoders)
        head = {"width": rgb.shape[1], "height": rgb.shape[0], "model": options.name}
        return f"{json_from(head)[:-1]},{session.answer(rgb, None, strict=strict)}}}"

    # Shielded: the detector of a client that leaves must finish before another client gets it.
    detecting = asyncio.ensure_future(service.stills.run(detect))
    detecting.add_done_callback(lambda _: service.detectors.give_back(options, detector))
    return await asyncio.shield(detecting)
