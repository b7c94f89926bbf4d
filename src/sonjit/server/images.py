"""Decode images of clients, detect instances in them, and the endpoints `POST /v1/{kind}` for one image."""

import base64
from collections.abc import Awaitable, Callable, Mapping
from itertools import chain
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from sonjit._util import Float32Array, Image, InputError, JsonObject, SonjitError, json_from
from sonjit._util.settings import Option
from sonjit.detectors import Detector
from sonjit.detectors.kinds import KINDS, hands
from sonjit.detectors.options import HandOptions
from sonjit.explanations import hand_saliency, imagenet
from sonjit.gestures import LearnedGestures
from sonjit.gestures.classifier import hands_of
from sonjit.media.sources.headers import SNIFF_BYTES, image_format
from sonjit.media.sources.images import encode_image, image_size
from sonjit.results import Event, Hand, MotionEvent, Result, in_image
from sonjit.results.schema import results_to_json, shortest_floats
from sonjit.runs import Session, annotate, table_columns
from sonjit.server import options as client_options
from sonjit.server.errors import RefusedError, refusal_from
from sonjit.server.forms import FIELD, Form, Receive, is_form
from sonjit.server.kinds import ClassesAnswer, image_answer, responses, upload_body
from sonjit.server.options import SessionOptions
from sonjit.server.processes import Decoders
from sonjit.server.service import Service, require_weights

_FULL = Option(
    "Add id, depth and box to tfjs-models' members; implied by options whose results these members do not contain.",
    name="full",
    type="boolean",
    default=False,
)
_MAX_MASK_PX = 512  # longer side of a mask for clients, twice that of the network's output
_GESTURE, _GESTURE_SCORE = "gesture", "gesture_score"


class ClientDetector:
    """A detector of the pool that works for one client."""

    def __init__(self, options: SessionOptions, detector: Detector[Any]) -> None:
        self.detector = detector
        self._session = Session([detector])
        self._ended: list[Event] = []  # events that a reset has ended, for the next answer
        self.hands: list[Hand] = []  # of the last image, including those of people
        self.motions: list[MotionEvent] | None = None  # of the last image; None if gestures are not classified
        self.events: list[Event] = []  # gestures and motions that begin or end in the last image
        self.hidden = 0  # number of instances found in the last image beyond `max_instances`
        self._list = KINDS[options.kind].list_name
        self._configure(options, None)

    def reset(self) -> None:
        """Forget all tracked instances."""
        self._ended += self._session.finish()[1]
        self.detector.reset()

    def finish(self) -> tuple[list[MotionEvent], list[Event]]:
        """Return the motions and events that end with the stream, and those that a reset has ended."""
        motions, events = self._session.finish()
        ended = [*self._ended, *events]
        self._ended.clear()
        return motions, ended

    def change(self, options: SessionOptions, custom: LearnedGestures | None) -> None:
        """Apply options that need no other detector, and the client's own gestures."""
        if options != self.options or custom is not self._custom:
            self._configure(options, custom)

    def end(self) -> None:
        """Remove the client's gestures from the detector."""
        self.detector.set_gestures(None)

    def answer(self, rgb: Image, time_s: float | None, *, strict: bool = False) -> str:
        """Detect instances in an image (H, W, 3) and return them as a member of a JSON object: `"hands":[...]`."""
        try:
            frame = self._session.frame(rgb, 0, time_s)
        except InputError as error:
            raise RefusedError("bad_image", str(error)) from None
        results = frame.results(self._list)
        self.motions = frame.motions if self._has_motions else None
        self.events = [*self._ended, *frame.events]
        self._ended.clear()
        self.hidden = self._session.hidden
        parts = [part for result in results for part in result.parts]
        self.hands = hands_of(results)
        masks = [getattr(part, "mask", None) for part in parts]
        cut: list[JsonObject] = [{} if mask is None else {"segmentation": mask_to_dict(mask)} for mask in masks]
        members = [cut]
        if not strict:
            if time_s is not None:
                members.append([_published(part) for part in parts])
            if self._columns:
                rows = annotate(frame, self._columns).extras or []
                members.append([_annotation(row, with_measures=self.options.measures) for row in rows])
            if explainer := explainer_of(self.options):
                members.append([{"map": _explain(explainer, rgb, hand, self.options)} for hand in self.hands])
        additions = [dict(chain(*map(dict.items, fields))) for fields in zip(*members, strict=True)]
        return f'"{self._list}":{results_to_json(results, additions, full=not strict)}'

    def _configure(self, options: SessionOptions, custom: LearnedGestures | None) -> None:
        self.options, self._custom = options, custom
        gestures = custom if custom is not None and options.has_hands else options.gestures
        measures, has_gestures = options.measures, gestures is not None
        columns = table_columns(options.name, measures=measures, gestures=has_gestures)
        self._columns = columns if measures or has_gestures else {}
        self.detector.set_gestures(gestures)
        self._has_motions = gestures is not None and not options.detector.static_image


def _published(part: Result) -> JsonObject:
    """Return the published keypoints of a hand with refined ones, by which pages record custom gestures."""
    if not isinstance(part, Hand) or part.published is None:
        return {}
    lists = zip(("keypoints", "keypoints3D"), part.published, strict=True)
    return {
        "published": {
            name: [dict(zip("xyz", row, strict=True)) for row in shortest_floats(points)] for name, points in lists
        }
    }


def mask_to_dict(mask: Float32Array) -> JsonObject:
    """Return a mask as plain JSON types: `{"width", "height", "png"}`, an 8-bit grey PNG in base64.

    `mask`: (H, W) probabilities. A mask longer than 512 pixels is scaled down.
    """
    import cv2

    grey = np.asarray(cv2.convertScaleAbs(mask, alpha=255), np.uint8)
    height, width = grey.shape
    scale = _MAX_MASK_PX / max(height, width)
    if scale < 1:
        width, height = max(1, round(width * scale)), max(1, round(height * scale))
        grey = np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    # run-length encoding gives the smallest files of masks in the shortest time
    png = encode_image(grey, ".png", (cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE))
    return {"width": width, "height": height, "png": base64.b64encode(png).decode()}


def _annotation(row: Mapping[str, float | str | None], *, with_measures: bool) -> JsonObject:
    measures: JsonObject = {name: row[name] for name in row if name not in (_GESTURE, _GESTURE_SCORE)}
    members: JsonObject = {"measures": measures} if with_measures else {}
    if _GESTURE in row:
        name, score = row[_GESTURE], row[_GESTURE_SCORE]
        members["gesture"] = None if name is None else {"name": name, "score": score}
    return members


def explainer_of(options: SessionOptions) -> hand_saliency.HandExplainer | None:
    """Return the network that makes the saliency maps of hands, loaded by the first call; None for no maps."""
    detector = options.detector
    if options.explain == "none" or not isinstance(detector, HandOptions):
        return None
    return hand_saliency.cached_explainer(detector.model, mirrored=detector.mirrored, threads=1)


def _explain(explainer: hand_saliency.HandExplainer, rgb: Image, hand: Hand, options: SessionOptions) -> JsonObject:
    box = hands.box_around_hand(in_image(hand, rgb.shape[1]).keypoints)
    (explained,) = explainer.explain(rgb, box, [options.explain])
    return map_to_dict(explained, flipped_width=rgb.shape[1] if hand.is_flipped else None)


def map_to_dict(explained: hand_saliency.TargetMap, *, flipped_width: int | None) -> JsonObject:
    """Return a map as plain JSON types, with its values row by row from the upper left corner of its box."""
    box, values = explained.box, explained.values
    if flipped_width is not None:
        box, values = box._replace(cx=flipped_width - box.cx, rotation=-box.rotation), values[:, ::-1]
    return {
        "of": explained.target,
        "value": round(explained.value, 4),
        "unit": explained.unit,
        "bias": round(explained.bias, 4),
        "size": list(values.shape),
        "values": shortest_floats(values.ravel()),
        "box": {name: round(number, 3) for name, number in box._asdict().items()},
    }


def decode_upload(data: bytes, max_pixels: int, decoders: Decoders) -> Image:
    """Decode an image to (H, W, 3) uint8 RGB, upright. Its size is checked before it is decoded."""
    if not data:
        raise RefusedError("bad_image", "no image came: send the bytes of a JPEG, PNG or WebP file")
    known_format = image_format(data[:SNIFF_BYTES])
    size = image_size(data)
    if size is None:
        reason = f"a damaged {known_format} image" if known_format else "not an image of a known format"
        raise RefusedError("bad_image", f"{len(data)} bytes are {reason}: send a complete JPEG, PNG or WebP file")
    client_options.check_pixels(*size, max_pixels)
    try:
        return decoders.decode(data)
    except SonjitError as error:
        raise refusal_from(error, "bad_image") from error


def raw_image(data: memoryview, width: int, height: int, channels: int, max_pixels: int) -> Image:
    """Return rows of RGB or RGBA bytes as (H, W, 3) uint8 RGB. Raise RefusedError if size and bytes do not match."""
    if not width or not height or len(data) != width * height * channels:
        raise RefusedError(
            "bad_image", f"{len(data)} bytes are not {width} x {height} pixels of {channels} bytes: send complete rows"
        )
    client_options.check_pixels(width, height, max_pixels)
    pixels = np.frombuffer(data, np.uint8).reshape(height, width, channels)
    if channels == 3:
        return pixels
    import cv2

    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB), np.uint8)


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
            responses=responses(image_answer(kind), "The instances; full=true adds id, depth, box and skeleton."),
            openapi_extra={
                "parameters": client_options.query_parameters((*client_options.known_options(kind).values(), _FULL)),
                "requestBody": upload_body(),
            },
        )

    described = responses(ClassesAnswer, "The classes with their maps.")

    @router.post("/classes", tags=["server"], responses=described, openapi_extra={"requestBody": upload_body()})
    async def classes(request: Request, top: Annotated[int, Query(ge=1, le=1000)] = 5) -> Response:
        """Return the most probable classes of ImageNet in one image, each with its class activation map."""

        def explain(data: bytes) -> str:
            rgb = decode_upload(data, service.settings.max_pixels, service.decoders)
            try:
                class_maps = imagenet.explain(rgb, top=top)
            except SonjitError as error:
                raise RefusedError("missing_weights", str(error)) from None
            rows = [
                {
                    "name": class_map.name,
                    "label": class_map.label,
                    "probability": class_map.probability,
                    "box": class_map.box,
                    "size": list(class_map.values.shape),
                    "values": shortest_floats(class_map.values.ravel()),
                }
                for class_map in class_maps
            ]
            return json_from({"width": rgb.shape[1], "height": rgb.shape[0], "classes": rows})

        with service.body(request) as body:
            data = await _read_image(body)
            async with service.image():
                answer = await service.run(lambda: explain(data))
                return Response(answer, media_type="application/json")

    return router


def _endpoint(service: Service, kind: str) -> Callable[[Request], Awaitable[Response]]:
    async def detect(request: Request) -> Response:
        values = client_options.read_options(
            kind, client_options.single_values(request.query_params), more=(_FULL,), is_query=True
        )
        full = values.pop("full", False)
        options = SessionOptions.from_values(kind, values, still=True)
        require_weights(kind, options.detector.model)
        strict = not full and not any(
            option.needs_full and values.get(name, option.default) != option.default
            for name, option in client_options.known_options(kind).items()
        )

        def answer(data: bytes, detector: Detector[Any]) -> str:
            of_client = ClientDetector(options, detector)
            rgb = decode_upload(data, service.settings.max_pixels, service.decoders)
            member = of_client.answer(rgb, None, strict=strict)
            head = {"width": rgb.shape[1], "height": rgb.shape[0], "model": options.name}
            head |= {"hidden": of_client.hidden} if of_client.hidden else {}
            return f"{json_from(head)[:-1]},{member}}}"

        with service.body(request) as body:
            data = await _read_image(body)
            async with service.image(), service.detector(options) as detector:
                answered = await service.run(lambda: answer(data, detector))
                return Response(answered, media_type="application/json")

    return detect


async def _read_image(request: Request) -> bytes:
    """Return the body, or the only file of a form."""
    content_type = request.headers.get("content-type", "")
    if not is_form(content_type):
        return await request.body()
    images: list[bytearray] = []

    def begin(field: str, file_name: str | None) -> Receive | None:
        if file_name is None:
            if field == FIELD:
                raise InputError(f"the part {FIELD!r} of the form has no file name: send the image as a file")
            return None
        if images:
            raise InputError("the form has more than one file: send each image by itself, or several as a job")
        images.append(bytearray())
        return images[0].extend

    try:
        form = Form(content_type, begin)
        async for data in request.stream():
            form.feed(data)
        form.finish()
    except InputError as error:
        raise RefusedError("bad_image", str(error)) from None
    if not images:
        raise RefusedError("bad_image", "the form has no file: send the image as a file, or as the request body")
    return bytes(images[0])
