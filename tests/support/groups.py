"""Photographs of several people with several visible hands."""

import json

import cv2

from sonjit.media import rgb_from

SIDE = 800


def group_photograph(data):
    """Return a labelled photograph (H, W, 3) of several people with hands, reduced to 800 px, or None."""
    folder = data / "real" / "wild"
    if not (folder / "people.json").is_file():
        return None
    hands, people = (json.loads((folder / f"{name}.json").read_text("utf-8")) for name in ("hands", "people"))
    for name, entry in people.items():
        if name[0] == "_" or name not in hands:
            continue
        faces = sum(bool(person["face"] and person["face_clear"] and person["clear"]) for person in entry["people"])
        if 3 <= faces <= 8 and sum(hand["clear"] for hand in hands[name]["hands"]) >= 4:
            rgb = rgb_from(folder / name)
            scale = min(SIDE / max(rgb.shape[:2]), 1.0)
            return cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return None
