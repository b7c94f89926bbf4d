"""Made instances and their drawings, side by side. As a program it writes the image that the test compares with.

.venv/bin/python -m tests.support.drawings   # after a wanted change; look at the image before it is committed
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from sonjit.geometry.boxes import RotatedBox
from sonjit.media import draw_frame
from sonjit.media.drawing import DrawingStyle
from sonjit.media.drawing.heat_maps import draw_boxes, draw_colour_bar, draw_outline, overlay
from sonjit.media.drawing.instances import draw_tint
from sonjit.media.sources.images import encode_image
from sonjit.results import Body, Face, Frame, Hand, Person, box_around
from sonjit.results.skeletons import load_skeleton

STORED = Path(__file__).parents[1] / "media" / "drawings.png"
HEIGHT, WIDTH = 180, 240
BODY = {  # x to the left side and y, in parts of the height of a person
    "nose": (0, 0.08), "eye": (0.02, 0.06), "ear": (0.05, 0.07), "mouth": (0.015, 0.11), "shoulder": (0.1, 0.2),
    "elbow": (0.16, 0.36), "wrist": (0.2, 0.5), "hip": (0.07, 0.52), "knee": (0.09, 0.75), "ankle": (0.08, 0.96),
    "heel": (0.07, 0.98), "index": (0.12, 0.99),
}  # fmt: skip


def hand(x, y, size, side="Right", **more):
    """Return a hand with spread fingers, nearer at the thumb, with the wrist at x and y."""
    points = [(0.0, 0.0, 0.0)]
    for finger, degrees in enumerate((-60, -20, 0, 20, 40)):
        for joint in range(4):
            reach = 0.35 + 0.2 * joint if finger else 0.2 + 0.15 * joint
            angle = np.radians(degrees)
            points.append((reach * np.sin(angle), -reach * np.cos(angle), 0.15 * finger - 0.3))
    mirror = -1 if side == "Left" else 1
    keypoints = np.array(points, np.float32) * np.float32([mirror * size, size, size]) + np.float32([x, y, 0])
    return Hand(side, 0.9, keypoints, keypoints / 1000, **more)


def face(x, y, size, count=478):
    """Return a face whose points lie on a spiral, with irises on both sides of its middle."""
    k = np.arange(468)
    radius, angle = size * np.sqrt((k + 1) / 469), 2.4 * k
    points = np.stack([x + 0.8 * radius * np.cos(angle), y + radius * np.sin(angle), 0.5 * radius - size / 4], 1)
    ring = size / 8 * np.array([(0, 0), (1, 0), (0, -1), (-1, 0), (0, 1)])
    irises = [(x + side * size / 3 + dx, y - size / 4 + dy, 0) for side in (-1, 1) for dx, dy in ring]
    points = np.vstack([points, irises]) if count == 478 else points[:count]
    points[:, 2] = np.nan if count == 6 else points[:, 2]
    points = points.astype(np.float32)
    return Face(0.8, points, box_around(points) if count > 6 else (x - size, y - size, x + size, y + size / 2))


def body(x, size, *, hidden=(), **more):
    """Return a standing body from the front, from the upper edge of the image on."""
    points, names = np.zeros((33, 3), np.float32), load_skeleton(Body.skeletons[33]).keypoints
    for k, name in enumerate(names):
        words = name.split("_")
        across, down = BODY.get(words[-1], BODY.get(words[1] if len(words) > 1 else "", (0.21, 0.53)))
        down = 0.53 if words[-1] in ("index", "pinky", "thumb") and k < 23 else down
        side = 1 if "left" in words else -1
        points[k] = x + side * across * size, 5 + down * size, (k % 5 - 2) * size / 20
    seen = np.array([0.2 if name in hidden else 0.9 for name in names], np.float32)
    return Body(0.7, points, points, seen, seen, **more)


def background():
    """Return an image with an edge in each direction."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([x // 60 * 60, 255 * (y // 30 % 2), 240 - y // 45 * 60], -1).astype(np.uint8)


def drawings():
    """Return the drawings (N, H, W, 3) of all kinds and styles."""
    grey = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    right, left = hand(60, 160, 140, error_px=np.linspace(2, 12, 21, dtype=np.float32)), hand(180, 150, 60, "Left")
    far = hand(120, 170, 150)
    far.keypoints[8], far.keypoints[12, :2] = np.nan, 2e5
    one, hidden = body(70, 165), body(170, 165, hidden=("left_wrist", "left_elbow", "right_knee", "nose"))
    own = hand(40, 90, 20, id=1), hand(100, 90, 20, "Left", id=1)
    person = Person(one, own[1], own[0], face(70, 20, 14))
    masks = [np.zeros((45, 60), np.float32) for _ in range(2)]
    masks[0][5:40, 5:25], masks[1][10:44, 30:50] = 1, 0.8
    masked = [replace(some, mask=mask) for some, mask in zip((one, hidden), masks, strict=True)]
    frames = [
        (Frame(0, None, [right, left]), {"errors": True}),
        (Frame(0, None, [far]), {"thickness": 2.0, "boxes": True}),
        (Frame(0, None, [right, far]), {"points": False, "colour": "instance", "background": "black"}),
        (Frame(0, None, faces=[face(80, 90, 80), face(200, 50, 30)]), {}),
        (Frame(0, None, faces=[face(70, 70, 60, 468), face(180, 110, 50, 6)]), {"boxes": True}),
        (Frame(0, None, bodies=[one, hidden]), {}),
        (Frame(0, None, people=[person, Person(hidden)]), {"colour": "instance"}),
        (Frame(0, None, bodies=masked), {"colour": "#20c040"}),
        (Frame(0, None, faces=[face(180, 60, 30)], bodies=[one]), {"anonymise": "blur"}),
        (Frame(0, None, faces=[face(180, 60, 30)], bodies=[one]), {"anonymise": "persons"}),
    ]
    drawn = [
        draw_frame(background() if "anonymise" in style else grey, frame, DrawingStyle(labels=False, **style))
        for frame, style in frames
    ]
    drawn += [grey.copy(), background()]
    draw_tint(drawn[-2], masks[0], (200, 40, 80))
    draw_boxes(drawn[-2], true=[(10, 10, 90, 60)], predicted=[(120.5, 30, 200, 170)])
    draw_outline(drawn[-2], RotatedBox(160, 90, 60, 40, 0.5))
    ramp = np.linspace(0, 3, WIDTH * HEIGHT, dtype=np.float32).reshape(HEIGHT, WIDTH)
    ramp[40:60] = np.nan
    drawn[-1] = overlay(drawn[-1], ramp)
    draw_colour_bar(drawn[-1], ramp, (20, 10, 150, 120))
    return np.stack(drawn)


def sheet(images):
    """Join images (N, H, W, 3) in rows of three."""
    return np.vstack([np.hstack(list(images[k : k + 3])) for k in range(0, len(images), 3)])


if __name__ == "__main__":
    STORED.write_bytes(encode_image(sheet(drawings()), ".png"))
