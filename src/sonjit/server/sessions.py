"""Detectors that work for one client: images in, JSON text out, with measures, masks and saliency maps."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

from sonjit._util.arrays import Float32Array, Image
from sonjit._util.json_text import JsonObject
from sonjit.detectors import Detector
from sonjit.detectors.kinds import KINDS
from sonjit.gestures import LearnedGestures
from sonjit.media.sources.images import encode_image
from sonjit.results import Event, Frame, Hand, MotionEvent, Result
from sonjit.results.result_json import results_to_json
from sonjit.results.schema import shortest_floats
from sonjit.runs import EventTracker, annotate, table_columns
from sonjit.server.options import SessionOptions
from sonjit.server.saliency import ExplainerPool

_MAX_MASK_PX = 512
"""Longer side of a mask for clients, twice that of the network's output."""
_GESTURE, _GESTURE_SCORE = "gesture", "gesture_score"


class Session:
    """A detector of the pool that works for one client.

    Args:
        options: Options of the detector, and what to add to its results.
        detector: Detector of the pool.
        explainers: Networks for saliency maps.

    Attributes:
        list: Name of the list of results in an answer.
        hands: Hands of the last image, including those of people.
        motions: Motions of the last image; None if the detector classifies no gestures.
        events: Gestures and motions that begin or end in the last image.
        hidden: Number of instances found in the last image beyond `max_instances`.
    """

    def __init__(self, options: SessionOptions, detector: Detector[Any], explainers: ExplainerPool) -> None:
        self.detector = detector
        self._explainers = explainers
        self.hands: list[Hand] = []
        self.motions: list[MotionEvent] | None = None
        self.events: list[Event] = []
        self._event_tracker = EventTracker()
        self.hidden = 0
        self.list = KINDS[options.kind].list_name
        self._configure(options, None)

    def reset(self) -> None:
        """Forget all tracked instances."""
        self.detector.reset()
        self._event_tracker.finish()

    def change(self, options: SessionOptions, custom: LearnedGestures | None) -> None:
        """Apply options that need no other detector, and the client's own gestures."""
        if options != self.options or custom is not self._custom:
            self._configure(options, custom)

    def end(self) -> None:
        """Remove the client's gestures from the detector."""
        self.detector.set_gestures(None)

    def answer(self, rgb: Image, time_s: float | None, *, strict: bool = False) -> str:
        """Detect instances in an image and return them as a member of a JSON object: `"hands":[...]`.

        Args:
            rgb: (H, W, 3) image.
            time_s: Time of the frame in seconds; None for a still image.
            strict: If True, write only the members of tfjs-models.
        """
        found = self.detector.detect(rgb, time=time_s)
        self.motions = found.motions if self._has_motions else None
        frame = Frame.from_results(0, time_s, found)
        frame.motions = found.motions
        self.events = self._event_tracker(frame) if self._has_motions else []
        self.hidden = found.total - len(found)
        parts = [part for result in found for part in result.parts]
        self.hands = [part for part in parts if isinstance(part, Hand)]
        masks = [getattr(part, "mask", None) for part in parts]
        additions: list[JsonObject] = [{} if mask is None else {"segmentation": mask_to_dict(mask)} for mask in masks]
        if not strict:
            if time_s is not None:
                additions = [{**addition, **_published(part)} for addition, part in zip(additions, parts, strict=True)]
            if self._columns:
                rows = self._annotations(frame)
                additions = [addition | row for addition, row in zip(additions, rows, strict=True)]
            if self.options.explain != "none":
                maps = self._explainers.maps(rgb, found, self.options)
                additions = [{**addition, "map": map_} for addition, map_ in zip(additions, maps, strict=True)]
        return f'"{self.list}":{results_to_json(found, additions, full=not strict)}'

    def _annotations(self, frame: Frame) -> list[JsonObject]:
        """Return the measures and gestures of each part."""
        rows = annotate(frame, self._columns).extras or []
        return [_annotation(row, with_measures=self.options.measures) for row in rows]

    def _configure(self, options: SessionOptions, custom: LearnedGestures | None) -> None:
        self.options, self._custom = options, custom
        gestures = custom if custom is not None and options.has_hands else options.gestures
        wanted = {"measures": options.measures, "gestures": gestures is not None}
        self._columns = table_columns(options.name, **wanted) if any(wanted.values()) else {}
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

    Args:
        mask: (H, W) probabilities. A mask longer than 512 pixels is scaled down.
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
