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
from sonjit.detectors.search.network import HandBox
from sonjit.geometry.boxes import RotatedBox, box_around, box_iou, size_of

from .test_search import Landmarks, Network, Palms, an_image


def near(rgb, box, palms, hands, skips=lambda _: False):
    return HandSearch(rgb, palms, hands).crops_near(box, skips)


@pytest.mark.parametrize(("presence", "skipped", "count"), [(0.9, False, 1), (0.2, False, 0), (0.9, True, 0)])
def test_crops_are_those_of_the_keypoints_of_recognised_hands(presence, skipped, count):
    hands = Landmarks(presence)
    crops = [*near(an_image(), RotatedBox(60, 60, 50, 50, 0.2), Palms(), hands, lambda _: skipped)]
    assert len(crops) == count
    assert all(crop.box == box_around_hand(hands.observe(an_image(), None).keypoints) for crop in crops)


def test_a_box_outside_the_image_has_no_crops():
    assert not [*near(an_image(), RotatedBox(-900, 60, 50, 50, 0), Palms(), Landmarks(0.9))]


class PalmsInWindows(Palms):
    """Palm detector that finds a palm in windows only."""

    def find_from(self, rgb, *min_scores):
        found = super().find_from(rgb, *min_scores)
        return [[] for _ in min_scores] if rgb.shape == an_image().shape else found


@pytest.mark.parametrize(("score", "count"), [(0.2, 1), (0.1, 0)])
def test_the_search_looks_near_doubtful_hands_of_the_network(score, count):
    network = Network(HandBox(score, RotatedBox(140, 110, 50, 50, 0)))
    search = HandSearch(an_image(), PalmsInWindows(), Landmarks(0.9), lambda: network, lambda: None)
    assert [candidate.proposal.source for candidate in search.search()] == ["closer"] * count


def test_the_search_does_not_look_near_certain_hands():
    class NoWindows(Palms):
        def find(self, rgb, min_score):
            raise AssertionError("a window is searched")

    hands = Landmarks(0.999)
    crop = box_around_hand(hands.observe(an_image(), None).keypoints)
    network = Network(HandBox(0.2, crop))
    search = HandSearch(an_image(), NoWindows(), hands, lambda: network, lambda: None)
    assert len(search.search()) == 1


MOST_AWAY = 0.15  # maximum mean distance of the keypoints, in sizes of the hand
DISPLACED = 3  # boxes of each hand: a few boxes more or less do not decide


def recognised_hands(data, hands, count):
    """Return photographs (H, W, 3) and keypoints (21, 3) of labelled hands that the landmark network recognises."""
    folder = data / "real" / "wild"
    if not (folder / "hands.json").is_file():
        pytest.skip(f"no labelled photographs in {folder}")
    labels = json.loads((folder / "hands.json").read_text("utf-8"))
    found = []
    with sonjit.create_detector("hands", static_image=True, max_instances=20, precision="f32") as detector:
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


@pytest.mark.golden
@pytest.mark.slow
def test_nine_of_ten_recognised_hands_are_found_from_loose_boxes(data):
    """The keypoints near a displaced crop must be those of the crop itself, which fit the labelled box."""
    hands = load_hands(HandOptions(kind="hands", static_image=True, precision="f32"))
    rng = np.random.default_rng(0)
    results = []
    for rgb, keypoints in recognised_hands(data, hands, 60) * DISPLACED:
        size = size_of(keypoints[:, :2])
        box = displaced(box_around_hand(keypoints), size, rng)
        crops = near(rgb, box, hands.palms, hands)
        seen = [each for crop in crops if (each := hands.observe(rgb, crop.box)).score > PRESENT]
        away = (np.linalg.norm(each.keypoints[:, :2] - keypoints[:, :2], axis=1).mean() / size for each in seen)
        results.append(any(distance < MOST_AWAY for distance in away))
    assert len(results) >= 60 * DISPLACED
    assert np.mean(results) >= 0.9
