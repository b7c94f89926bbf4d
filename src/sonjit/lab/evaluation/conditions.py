"""Conditions of an instance's image, measured in the image or read from its labels."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from sonjit.lab.datasets import Instance, Sample
    from sonjit.results import Box

CONDITIONS = {
    "size": "size, longest side",
    "view": "view",
    "light": "light, median luma 0 to 255",
    "colour": "colour",
    "sharpness": "sharpness, variance of the Laplacian at 128 px",
    "people": "people in the image",
    "subset": "the data set's own subsets",
    "skin": "skin, as named or by its individual typology angle in the image",
    "note": "what the label notes",
}
"""Conditions by which recall is reported, and their measurement."""

_SIZES = (32, 64, 128, 256, 512)
_DARK, _BRIGHT = 64, 160
_GREY_CHROMA = 4.0
"""Mean CIELAB chroma below which an image counts as grey."""
_SHARPNESS_PX, _BLURRED = 128, 100.0
_TONES = ((41, "41° and more, light"), (28, "28 to 41°, intermediate"), (10, "10 to 28°, tan"))
_DARKEST_TONE = "under 10°, brown or dark"
"""Classes of the individual typology angle (Chardon, Cretois, Hourseau 1991)."""
_SKIN_SHARE = 0.3
_MIN_LUMA = 60
"""Minimum median luma for an estimate of skin tone. Below it, the tone is that of the light."""
_NOTES = {
    "gloves": r"\bgloves?\b",
    "rings": r"\brings?\b",
    "glasses": r"glasses",
    "blurred": r"blur|focus",
    "poor light": r"\b(dark|dim|backlit|over-lit|low contrast|shade)",
    "cut by the edge": r"\bcut by|outside the picture",
    "partly hidden": r"hidden|merge|behind|\bunder\b|clasped|neighbour",
    "borderline": r"borderline|unsure|uncertain",
    "render": r"\bCGI\b",
}
_ATTRIBUTES = ("pose", "expression", "illumination", "make_up", "occlusion", "blur")
"""Attributes of WFLW's faces; a face with an attribute belongs to the test subset of that name."""
_TAGS = {
    "gloves": "glove",
    "rings": "rings",
    "held object": "held",
    "partly hidden": "occluders",
    "poor light": "low_light",
    "blurred": "motion_blur",
    "infrared": "infrared",
}
"""Factors of rendered images with the same meaning."""


def image_conditions(sample: Sample, rgb: NDArray[np.uint8]) -> dict[str, str]:
    """Return whether an image is in colour or grey, and the number of labelled people."""
    import cv2

    small = cv2.resize(rgb, (64, 64), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    known = {"colour": "grey" if np.linalg.norm(lab[..., 1:], axis=2).mean() < _GREY_CHROMA else "colour"}
    people = sum(instance.kind == "body" and not instance.crowd for instance in sample.instances)
    if subset := sample.tags.get("subset"):
        known["subset"] = str(subset)
    if people:
        known["people"] = "1" if people == 1 else "2 to 4" if people < 5 else "5 or more"
    return known


def instance_conditions(instance: Instance, box: Box, sample: Sample, rgb: NDArray[np.uint8]) -> dict[str, str]:
    """Return the conditions of one instance in its box of the image (H, W, 3)."""
    import cv2

    x_min, y_min, x_max, y_max = (round(edge) for edge in box)
    top, left = (min(max(edge, 0), side - 1) for edge, side in zip((y_min, x_min), rgb.shape[:2], strict=True))
    cut = rgb[top : max(y_max, top + 1), left : max(x_max, left + 1)]
    luma = cv2.cvtColor(np.ascontiguousarray(cut), cv2.COLOR_RGB2GRAY)
    known = {"size": size_class(max(box[2] - box[0], box[3] - box[1]))}
    if subsets := [name for name in _ATTRIBUTES if instance.extra.get(name) == 1]:
        known["subset"] = "; ".join(subsets)
    if view := instance.extra.get("view"):
        known["view"] = str(view)
    middle = float(np.median(luma))
    known["light"] = (
        f"under {_DARK}, dark" if middle < _DARK else f"{_BRIGHT} and more, bright" if middle >= _BRIGHT
        else f"{_DARK} to {_BRIGHT}"
    )  # fmt: skip
    scale = _SHARPNESS_PX / max(luma.shape)
    scaled = cv2.resize(luma, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    blurred = cv2.Laplacian(scaled, cv2.CV_64F).var() < _BLURRED
    known["sharpness"] = f"under {_BLURRED:g}, blurred" if blurred else f"{_BLURRED:g} and more, sharp"
    if skin := _skin(instance, cut, rgb):
        known["skin"] = skin
    if notes := _notes(str(instance.extra.get("note", "")), sample.tags):
        known["note"] = "; ".join(notes)
    return known


def size_class(longest_px: float) -> str:
    """Return the class of a longest side in pixels."""
    above = [edge for edge in _SIZES if longest_px >= edge]
    if not above:
        return f"under {_SIZES[0]} px"
    return f"{above[-1]} px and more" if above[-1] == _SIZES[-1] else f"{above[-1]} to {_SIZES[len(above)]} px"


def class_order(name: str) -> tuple[bool, float, str]:
    """Return a key that sorts classes: those under a number first, then by their first number, then by name."""
    first = re.search(r"\d+", name)
    return not name.startswith("under"), float(first[0]) if first else 0.0, name


def individual_typology_angle(rgb: NDArray[np.uint8]) -> float | None:
    """Return arctan((L* - 50) / b*) in degrees, for the median colour of skin in the middle of a box (H, W, 3).

    The result is None if less than a third of the middle has the chroma of skin (Chai and Ngan 1999). It describes the
    image, including light and white balance, and not the person.

    >>> round(individual_typology_angle(np.full((8, 8, 3), (224, 172, 140), np.uint8)))
    46
    """
    import cv2

    height, width = rgb.shape[:2]
    middle = np.ascontiguousarray(rgb[height // 4 : height - height // 4, width // 4 : width - width // 4])
    _, red, blue = np.moveaxis(cv2.cvtColor(middle, cv2.COLOR_RGB2YCrCb), 2, 0)
    skin = (red >= 133) & (red <= 173) & (blue >= 77) & (blue <= 127)
    if skin.mean() < _SKIN_SHARE:
        return None
    lab = cv2.cvtColor(middle.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[skin]
    lightness, _, yellow = np.median(lab, axis=0).tolist()
    return float(np.degrees(np.arctan2(lightness - 50, max(yellow, 1e-3))))


def _skin(instance: Instance, cut: NDArray[np.uint8], rgb: NDArray[np.uint8]) -> str | None:
    """Return the skin tone of the label or the render, or else an estimate if the light permits one."""
    group: Mapping[str, Any] = instance.extra.get("group") or {}
    if named := instance.extra.get("skin") or group.get("skin_tone"):
        return f"tone {named}"
    if instance.kind == "body" or np.median(rgb) < _MIN_LUMA:
        return None
    angle = individual_typology_angle(cut)
    if angle is None:
        return None
    return next((name for least, name in _TONES if angle >= least), _DARKEST_TONE)


def _notes(note: str, tags: Mapping[str, Any]) -> list[str]:
    from_note = [name for name, words in _NOTES.items() if re.search(words, note)]
    from_tags = [name for name, key in _TAGS.items() if tags.get(key) not in (None, 0, "none")]  # False is 0
    return list(dict.fromkeys([*from_note, *from_tags]))
