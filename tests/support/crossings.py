"""People cut out of photographs who cross in front of each other, with the truth of their positions."""

import math
from itertools import permutations

import cv2
import numpy as np

from sonjit import create_detector
from sonjit.media import rgb_from

CROSSING = 960, 540
"""Size in pixels of the clips in which two people cross."""
PERSON_PX = 460
CROSSING_S = 3.0
TORSO = [0, 11, 12, 23, 24]
"""Indices of nose, shoulders and hips in the keypoints of a body."""
AT_PLACE, APART = 0.15, 0.3
"""Maximum mean distance of these keypoints to those of the same person, and minimum distance of separate people, in
heights of a person."""


def cut_out(image):
    """Return colours and opacity (H, W, 4) of the person in an image."""
    rgb = rgb_from(str(image))
    with create_detector("body", static_image=True, segmentation=True, max_instances=1) as detector:
        found = detector.detect(rgb)
    _, labels, stats, _ = cv2.connectedComponentsWithStats((found[0].mask > 0.5).astype(np.uint8))
    person = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    x, y, width, height = stats[person, :4]
    opacity = cv2.GaussianBlur((labels == person).astype(np.uint8) * 255, (5, 5), 0)
    cut = np.dstack([rgb, opacity])[y : y + height, x : x + width]
    return cv2.resize(cut, (round(PERSON_PX * width / height), PERSON_PX), interpolation=cv2.INTER_AREA)


def backdrop():
    """Return a fixed background of soft colour patches."""
    patches = np.random.default_rng(0).integers(60, 190, (9, 16, 3)).astype(np.uint8)
    return cv2.resize(patches, CROSSING, interpolation=cv2.INTER_CUBIC)


def paste(image, person, x):
    """Paste a person into an image, centred at x, and return the opaque pixels (H, W)."""
    place, width = x - person.shape[1] / 2, person.shape[1] + 1
    left = math.floor(place)
    moved = cv2.warpAffine(person, np.float32([[1, 0, place - left], [0, 1, 0]]), (width, PERSON_PX))
    first, last = max(left, 0), min(left + width, CROSSING[0])
    moved = moved[:, first - left : last - left]
    part = np.s_[CROSSING[1] - PERSON_PX :, first:last]
    opacity = moved[..., 3:] / np.float32(255)
    image[part] = image[part] * (1 - opacity) + moved[..., :3] * opacity
    opaque = np.zeros(image.shape[:2], bool)
    opaque[part] = moved[..., 3] > 127
    return opaque


def crossing(behind, front, fps):
    """Return frames (seconds, RGB) of two crossing people, their positions and the visible share of the rear one."""
    count, frames, truth = round(CROSSING_S * fps), [], []
    for number in range(count):
        along = 0.2 + 0.6 * number / (count - 1)
        image, places = backdrop(), (CROSSING[0] * along, CROSSING[0] * (1 - along))
        hind, fore = paste(image, behind, places[0]), paste(image, front, places[1])
        frames.append((number / fps, image))
        truth.append((places, (hind & ~fore).sum() / hind.sum()))
    return frames, truth


def keypoints_of_person(person):
    """Return nose, shoulders and hips (5, 2) of a single person, relative to the centre of the cut-out."""
    image = backdrop()
    paste(image, person, CROSSING[0] / 2)
    with create_detector("body", static_image=True, max_instances=1) as detector:
        (found,) = detector.detect(image)
    return found.keypoints[TORSO, :2] - (CROSSING[0] / 2, 0)


def describe_crossing(found, truth, single):
    """Return the delay of the first detections, misses of half-visible people, wrong IDs, and false detections."""
    ids, late, missed, wrong, false = [None, None], 0, 0, 0, 0
    for results, (places, seen) in zip(found, truth, strict=True):
        expected = [body + np.array([x, 0]) for body, x in zip(single, places, strict=True)]
        bodies = [result.keypoints[TORSO, :2] for result in results]
        away = [
            [np.linalg.norm(found_body - body, axis=1).mean() / PERSON_PX for found_body in bodies] for body in expected
        ]
        false += sum(bool(min(row[i] for row in away) > AT_PLACE) for i in range(len(bodies)))
        apart = np.linalg.norm(expected[0] - expected[1], axis=1).mean() > APART * PERSON_PX
        for person, row in enumerate(away):
            if not row or min(row) > AT_PLACE:
                late += ids[person] is None
                missed += ids[person] is not None and bool(person == 1 or seen > 0.5)
            elif apart:
                id = results[int(np.argmin(row))].id
                ids[person] = ids[person] or id
                wrong += id != ids[person]
    return {"frames": len(found), "late": late, "missed": missed, "wrong id": wrong, "false": false}


def cross_people(images, fps):
    """Yield the figures of every ordered pair of people."""
    people = {image.stem: cut_out(image) for image in images}
    single = {name: keypoints_of_person(person) for name, person in people.items()}
    for behind, front in permutations(people, 2):
        frames, truth = crossing(people[behind], people[front], fps)
        with create_detector("body", max_instances=2) as detector:
            found = [detector.detect(rgb, time=now) for now, rgb in frames]
        yield describe_crossing(found, truth, (single[behind], single[front]))
