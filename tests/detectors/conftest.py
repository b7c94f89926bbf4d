"""Runs of the reference programs over images and videos, and Sonjit's results for the same frames."""

import json
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest

from sonjit.engines import openvino
from sonjit.geometry.boxes import RotatedBox, iou

BF16_STEP = 3
"""Frames from one comparison of bf16 with f32 to the next."""
FRAMES = 32
"""Number of frames of a golden that are compared: they have every step of a track, and later ones repeat them."""


class Pair(NamedTuple):
    """Frame with the reference results, Sonjit's results, and Sonjit's results in the reference boxes or None."""

    expected: list[dict]
    free: list
    forced: list | None
    forced_bf16: list | None


class Replay(NamedTuple):
    golden: dict
    synthetic: bool
    size: tuple[int, int]
    pairs: list[Pair]


def keypoint_distances(hand, instance):
    """Return the distances (21,) in pixels between a hand and a golden instance."""
    return np.linalg.norm(hand.keypoints[:, :2] - np.array(instance["keypoints"])[:, :2], axis=1)


def is_inside(points, size):
    """Check whether all points (K, 2) lie within an image of that size."""
    return bool(((points >= 0) & (points <= size)).all())


def matched(hands, instances):
    """Return pairs (hand, instance) with the nearest hand of each golden instance, each hand once, best first."""
    pairs = [(keypoint_distances(h, e).mean(), i, j) for i, h in enumerate(hands) for j, e in enumerate(instances)]
    taken = []
    for _, i, j in sorted(pairs):
        if not any(i == k or j == m for k, m in taken):
            taken.append((i, j))
    return [(hands[i], instances[j]) for i, j in taken]


def has_bf16():
    """Check whether this CPU supports bf16."""
    return openvino.has_bf16()


def boxes_from(rows, width, height):
    """Return a RotatedBox in pixels for each golden box (cx, cy, w, h, rotation), which is relative to the image."""
    return [RotatedBox(cx * width, cy * height, w * width, h * height, turn) for cx, cy, w, h, turn in rows or []]


@pytest.fixture(scope="session")
def replay(golden_frames, hands):
    """Return a function that runs a detector over a golden's images and caches the pairs."""

    @cache
    def run(file):
        golden = json.loads(file.read_text("utf-8"))
        config = golden["config"]
        options = {
            "model": ("lite", "full")[config["model_complexity"]],
            "max_instances": config["max_num_hands"],
            "mirrored": True,  # the goldens' labels take every image for a selfie view
            "search_interval": 1,
        }
        by_index = {frame["frame"]: frame for frame in golden["frames"][:FRAMES]}
        synthetic, images = golden_frames(file, golden)
        free = hands(**options, precision="f32", static_image=config["static_image_mode"])
        exact = hands(**options, precision="f32", static_image=True)
        rough = hands(**options, precision="bf16", static_image=True) if has_bf16() else None
        pairs, size = [], None
        for index, rgb in enumerate(images):
            size = rgb.shape[1::-1]
            seen = free.detect(rgb)
            if index in by_index:
                boxes = _carried_boxes(by_index.get(index - 1), by_index[index], *size)
                forced = exact.detect(rgb, boxes=boxes) if boxes else None
                is_turn = boxes and rough and index % BF16_STEP == 0
                pairs.append(
                    Pair(
                        by_index[index]["instances"], seen, forced, rough.detect(rgb, boxes=boxes) if is_turn else None
                    )
                )
            if index == max(by_index):
                break
        return Replay(golden, synthetic, size, pairs)

    return run


def _carried_boxes(before, now, width, height):
    """Return the boxes of the reference if all are propagated from the previous frame."""
    carried = boxes_from((before or {}).get("rois_next"), width, height)
    found = boxes_from(now.get("rois_from_palm"), width, height)
    return carried if all(any(iou(new, old) > 0.5 for old in carried) for new in found) else []
