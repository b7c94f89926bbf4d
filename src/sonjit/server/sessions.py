"""Results as JSON text, fast: what `to_dict(full=True)` holds, without a dict per keypoint on the way.

A detector at work for one client: images in, JSON text out, with measures and saliency maps where wanted.
"""

from __future__ import annotations

import base64
import threading
from collections import defaultdict
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np

from sonjit.arrays import Float32Array, Image
from sonjit.detectors import Detector
from sonjit.detectors.kinds import KINDS
from sonjit.detectors.kinds.hands import box_around_hand
from sonjit.explain import HandExplainer, TargetMap, load_hand_explainer
from sonjit.gestures import LearnedGestures
from sonjit.json_text import Json, JsonObject, json_from
from sonjit.results import Frame, Hand, MotionEvent, Points, Result, Value, shortest_floats
from sonjit.runs import Annotator, table_columns
from sonjit.server.options import SessionOptions

_MASK_PX = 512

_RLE = 3  # OpenCV's IMWRITE_PNG_STRATEGY_RLE: of a mask the smallest files in the shortest time


def json_of_all(found: Sequence[Result], members: Sequence[JsonObject] | None) -> str:
    """A JSON list of results, each with the name of its skeleton.

    Args:
        found: what one detector gave.
        members: further ones of each instance in the order of `Frame.instances()`, or None.
    """
    rest = iter(members or ())
    return f"[{','.join(_text(one, rest) for one in found)}]"


def strict_dict(one: Result) -> JsonObject:
    """A result in tfjs-models' shape, bodies with their mask where they have one."""
    shown = one.to_dict()
    for name, (key, _) in one.members.items():
        part: Result | None = getattr(one, name)
        shown[key] = None if part is None else strict_dict(part)
    return shown | _segmentation(one)


def segmentation_dict(mask: Float32Array) -> JsonObject:
    """A mask as plain JSON types: `{"width", "height", "png"}`, an 8-bit grey PNG in base64, 255 for sure.

    Args:
        mask: (H, W) probabilities; made smaller where it is longer than 512 pixels, which is twice what the network
            gives.
    """
    import cv2

    grey = cv2.convertScaleAbs(mask, alpha=255)
    height, width = grey.shape
    scale = _MASK_PX / max(height, width)
    if scale < 1:
        width, height = max(1, round(width * scale)), max(1, round(height * scale))
        grey = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
    png = cv2.imencode(".png", grey, (cv2.IMWRITE_PNG_STRATEGY, _RLE))[1]
    return {"width": width, "height": height, "png": base64.b64encode(png.tobytes()).decode()}


def _text(one: Result, members: Iterator[JsonObject]) -> str:
    """One result as its schema says: keypoints straight as text, the few other members as a dict."""
    if one.members:
        parts: dict[str, Result | None] = {key: getattr(one, name) for name, (key, _) in one.members.items()}
        texts = {"id": json_from(one.id)}
        texts |= {key: "null" if part is None else _text(part, members) for key, part in parts.items()}
        return "{" + ",".join(f'"{key}":{text}' for key, text in texts.items()) + "}"
    skeleton, lists = one.skeleton, ""
    values: JsonObject = {}
    for item in one.schema:
        value = getattr(one, item.name)
        if isinstance(item, Value):
            values |= item.to_dict(value)
        elif value is not None:
            names = skeleton.keypoints if item.named else ("",) * len(value)
            lists += f',"{item.key}":{_points(one, item, value, names)}'
    values |= {"skeleton": skeleton.name} | _segmentation(one) | next(members, {})
    return json_from(values)[:-1] + lists + "}"


def _segmentation(one: Result) -> JsonObject:
    mask: Float32Array | None = getattr(one, "mask", None)
    return {} if mask is None else {"segmentation": segmentation_dict(mask)}


def _points(one: Result, item: Points, points: Float32Array, names: tuple[str, ...]) -> str:
    """A list of points (K, 2 or 3), an object each of its axes, its scores and its name where it has one."""
    axes = item.axes(points, full=True)
    scores = {score.key: array for score in item.scores if (array := getattr(one, score.name)) is not None}
    columns = np.column_stack([points[:, : len(axes)], *scores.values()])
    # Any text of a float32 that NumPy gives is its shortest decimal, and JSON but for NaN and infinity.
    texts: list[str] = columns.astype(np.float32, copy=False).ravel().astype("U").tolist()
    if not np.isfinite(columns).all():
        texts = ["null" if text.lstrip("-") in ("nan", "inf") else text for text in texts]
    return _template((*axes, *scores), names) % tuple(texts)


@lru_cache(maxsize=64)
def _template(keys: tuple[str, ...], names: tuple[str, ...]) -> str:
    numbers = ",".join(f'"{key}":%s' for key in keys)
    members = [f',"name":{json_from(name)}'.replace("%", "%%") if name else "" for name in names]
    return "[" + ",".join("{" + numbers + member + "}" for member in members) + "]"


_GESTURE, _GESTURE_SCORE = "gesture", "gesture_score"


class Session:
    """One detector, with what is added to its results.

    Args:
        options: what it was made of, and what to add.
        detector: of the pool.
        explainers: that make saliency maps.

    Attributes:
        list: name of the list that its results are in.
        hands: of the last image, those of people too.
        motions: of the last image, where hands have their gestures; None elsewhere.
    """

    def __init__(self, options: SessionOptions, detector: Detector[Any], explainers: Explainers) -> None:
        self.detector = detector
        self._explainers = explainers
        self.hands: list[Hand] = []
        self.motions: list[MotionEvent] | None = None
        self.list = KINDS[options.kind].list_name
        self._begin(options, None)

    def reset(self) -> None:
        """Forget every instance."""
        self.detector.reset()
        self._forget()

    def change(self, options: SessionOptions, custom: LearnedGestures | None) -> None:
        """From now on add what options of the same detector ask for, and tell a client's own gestures."""
        if options != self.options or custom is not self._custom:
            self._begin(options, custom)

    def end(self) -> None:
        """Leave the detector without what was the client's own."""
        self.detector.tell_gestures(None)

    def answer(self, rgb: Image, time_s: float | None, *, strict: bool = False) -> str:
        """What is in an image (H, W, 3), as a member of a JSON object: `"hands":[...]`.

        Args:
            rgb: the image.
            time_s: of the frame; None for a still.
            strict: only the members of tfjs-models' shape.
        """
        found = self.detector.detect(rgb, time=time_s)
        self.motions = found.motions if self._gives_motions else None
        self.hands = [part for one in found for part in one.parts if isinstance(part, Hand)]
        if strict:
            return f'"{self.list}":{json_from([strict_dict(one) for one in found])}'
        members = self._annotations(Frame.holding(0, time_s, found)) if self._columns else None
        if self.options.explain != "none":
            maps = self._explainers.maps(rgb, found, self.options)
            members = [one | {"map": json} for one, json in zip(members or [{}] * len(maps), maps, strict=True)]
        return f'"{self.list}":{json_of_all(found, members)}'

    def _annotations(self, frame: Frame) -> list[JsonObject]:
        """Measures of each instance, and the gesture of each hand, as far as they are asked for."""
        if frame.time is None or not frame.time >= self._time_s:  # a clip that begins anew
            self._forget()
        self._time_s = frame.time or 0.0
        rows = self._annotator.annotate(frame).extras or []
        return [_members(row, measured=self.options.measures) for row in rows]

    def _begin(self, options: SessionOptions, custom: LearnedGestures | None) -> None:
        self.options, self._custom = options, custom
        gestures = custom if custom is not None and options.has_hands else options.gestures
        given = {"measures": options.measures, "gestures": gestures is not None}
        self._columns = table_columns(options.name, **given) if any(given.values()) else {}
        self.detector.tell_gestures(gestures)
        self._gives_motions = gestures is not None and not options.detector.static_image
        self._forget()

    def _forget(self) -> None:
        self._annotator, self._time_s = Annotator(self._columns, None), 0.0


def _members(row: Mapping[str, float | str | None], *, measured: bool) -> JsonObject:
    measures: JsonObject = {name: row[name] for name in row if name not in (_GESTURE, _GESTURE_SCORE)}
    members: JsonObject = {"measures": measures} if measured else {}
    if _GESTURE in row:
        name, score = row[_GESTURE], row[_GESTURE_SCORE]
        members["gesture"] = None if name is None else {"name": name, "score": score}
    return members


class Explainers:
    """Lends what makes saliency maps of the hand network; nobody waits for another.

    There come to be as many of each network as are in use at a time, which the workers bound.
    """

    def __init__(self) -> None:
        self._idle: defaultdict[tuple[str, bool], list[HandExplainer]] = defaultdict(list)
        self._lock = threading.Lock()

    def load(self, options: SessionOptions) -> None:
        """Have what a session needs ready for its first image."""
        if options.explain != "none":
            with self.lent(options.detector.model, mirrored=options.detector.mirrored):
                pass

    @contextmanager
    def lent(self, model: str, *, mirrored: bool) -> Generator[HandExplainer]:
        """One for the time of a block, in the thread of the caller; loaded where all are in use."""
        idle = self._idle[model, mirrored]
        with self._lock:
            explainer = idle.pop() if idle else None
        explainer = explainer or load_hand_explainer(model, mirrored=mirrored, threads=1)
        try:
            yield explainer
        finally:
            with self._lock:
                idle.append(explainer)

    def maps(self, rgb: Image, hands: Sequence[Hand], options: SessionOptions) -> list[Json]:
        """The map of each hand as plain JSON types, on the canvas that its keypoints are on.

        Args:
            rgb: (H, W, 3) the image that they were found in.
            hands: as the detector gave them.
            options: of which output, and how the hands were found.
        """
        if not hands:
            return []
        with self.lent(options.detector.model, mirrored=options.detector.mirrored) as explainer:
            return [self._map(explainer, rgb, hand, options) for hand in hands]

    def _map(self, explainer: HandExplainer, rgb: Image, hand: Hand, options: SessionOptions) -> JsonObject:
        points, width = hand.keypoints, rgb.shape[1]
        if options.detector.flip_horizontal:  # back to where the hand is in the image
            points = points * np.array([-1, 1, 1], np.float32) + np.array([width, 0, 0], np.float32)
        (found,) = explainer.explain(rgb, box_around_hand(points), [options.explain])
        return map_dict(found, flipped_in=width if options.detector.flip_horizontal else None)


def map_dict(found: TargetMap, *, flipped_in: int | None = None) -> JsonObject:
    """A map as plain JSON types: its values row by row, from the upper left corner of its box.

    Args:
        found: in the image.
        flipped_in: width of the image in pixels where x is counted from the right.
    """
    box, values = found.box, found.values
    if flipped_in is not None:
        box, values = box._replace(cx=flipped_in - box.cx, rotation=-box.rotation), values[:, ::-1]
    return {
        "of": found.target,
        "value": round(found.value, 4),
        "unit": found.unit,
        "bias": round(found.bias, 4),
        "size": list(values.shape),
        "values": shortest_floats(values.ravel()),
        "box": {name: round(number, 3) for name, number in box._asdict().items()},
    }
