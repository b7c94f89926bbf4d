"""The search near loose boxes of hands."""

import json
import math

import cv2
import numpy as np
import pytest

import sonjit
from sonjit.detectors.kinds.hands import box_around_hand, load_hands
from sonjit.detectors.options import HandOptions
from sonjit.detectors.search.geometry import PRESENT
from sonjit.detectors.search.hands import HandSearch
from sonjit.geometry.boxes import RotatedBox, box_around, box_iou, size_of


def near(rgb, box, palms, hands, skips=lambda _: False):
    return HandSearch(rgb, palms, hands).crops_near(box, skips)


MOST_AWAY = 0.15  # maximum mean distance of the keypoints, in sizes of the hand
HANDS = 30
DISPLACED = 3  # boxes of each hand: a few boxes more or less do not decide


def recognised_hands(data, hands, count):
    """Return photographs (H, W, 3) and keypoints (21, 3) of labelled hands that the landmark network recognises."""
    folder = data / "real" / "wild"
    if not (folder / "hands.json").is_file():
        pytest.skip(f"no labelled photographs in {folder}")
    labels = json.loads((folder / "hands.json").read_text("utf-8"))
    found = []
    with sonjit.create_detector(
        "hands", static_image=True, max_instances=20, search="fast", precision="f32"
    ) as detector:
        for name in sorted(name for name in labels if name[0] != "_"):
            rgb = np.ascontiguousarray(cv2.imread(str(folder / name))[..., ::-1])
            boxes = [tuple(label["box"]) for label in labels[name]["hands"] if label["clear"]]
            for hand in detector.detect(rgb):
                label = max(boxes, key=lambda box: box_iou(box_around(hand.keypoints), box), default=(0, 0, 0, 0))
                seen = hands.observe(rgb, box_around_hand(hand.keypoints))
                if box_iou(box_around(seen.keypoints), label) > 0.5 and seen.score > 0.9:
                    found.append((rgb, seen.keypoints))
            if len(found) >= count:
                break
    return found


def displaced(crop, size, rng):
    """Return a box up to half a hand away, in any rotation, and 0.6 to 1.7 times as large as a crop."""
    away = 0.5 * math.sqrt(rng.random()) * size
    angle, rotation = rng.uniform(-math.pi, math.pi, 2).tolist()
    side = crop.width * math.exp(rng.uniform(math.log(0.6), math.log(1.7)))
    return RotatedBox(crop.cx + away * math.cos(angle), crop.cy + away * math.sin(angle), side, side, rotation)


@pytest.mark.nightly
@pytest.mark.golden
@pytest.mark.slow
def test_nine_of_ten_recognised_hands_are_found_from_loose_boxes(data):
    """The keypoints near a displaced crop must be those of the crop itself, which fit the labelled box."""
    hands = load_hands(HandOptions(kind="hands", static_image=True, precision="f32"))
    rng = np.random.default_rng(0)
    results = []
    for rgb, keypoints in recognised_hands(data, hands, HANDS) * DISPLACED:
        size = size_of(keypoints[:, :2])
        box = displaced(box_around_hand(keypoints), size, rng)
        crops = near(rgb, box, hands.palms, hands)
        seen = [each for crop in crops if (each := hands.observe(rgb, crop.box)).score > PRESENT]
        away = (np.linalg.norm(each.keypoints[:, :2] - keypoints[:, :2], axis=1).mean() / size for each in seen)
        results.append(any(distance < MOST_AWAY for distance in away))
    assert len(results) >= HANDS * DISPLACED
    assert np.mean(results) >= 0.9
