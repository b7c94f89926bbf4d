"""Make the pictures of the documentation with Sonjit.

python tools/pictures.py                                                    # from the bundled clip
python tools/pictures.py --face FACE.jpg --body BODY.jpg --people PEOPLE.jpg

The other pictures of docs/images were drawn once.
Detections in photographs are drawn on an empty canvas, so the documentation contains no pixel of them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image as Pillow

import sonjit
from sonjit.detectors import KindName
from sonjit.media import draw_frame, open_source, rgb_from
from sonjit.results.measures import measures
from sonjit_lab.hand_models import hand_mesh
from sonjit_lab.meshes import run
from sonjit_lab.training.alphabets import POSES, load_alphabet

if TYPE_CHECKING:
    from sonjit._util.arrays import Image

IMAGES = Path(__file__).parents[1] / "docs" / "images"
CLIP = Path(sonjit.__file__).parent / "_util" / "assets" / "demo.mp4"
_FRAME = 110
_CELL = 150
_PLAIN_HAND: dict[str, object] = {
    "hands": 1, "side": "right", "looseness": 0, "yaw_deg": 0, "pitch_deg": 0, "bend_deg": 0, "distance": 0.6,
    "view_deg": 40, "glove": "none", "sleeve": "shirt", "held": "none", "occluders": 0, "cut": 0, "background": "plain",
    "motion_blur": 0, "defocus": 0, "noise": 0, "low_light": 0, "infrared": "false", "exposure": 0,
    "vignette": 0, "compression": 0,
}  # fmt: skip
"""Factors of `sonjit synth` for a hand that is plainly visible."""
_CLIP_FRAMES = 240
_PAPER = (30, 34, 40)
_HEIGHT = 420


def save(name: str, rgb: Image) -> None:
    """Write a picture."""
    cv2.imwrite(str(IMAGES / name), rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])


def side_by_side(*images: Image) -> Image:
    """Place images side by side at the same height."""
    sized = [
        cv2.resize(image, (image.shape[1] * _HEIGHT // image.shape[0], _HEIGHT), interpolation=cv2.INTER_AREA)
        for image in images
    ]
    return np.hstack(sized).astype(np.uint8)


def draw_hands() -> None:
    """Draw hands with their meshes, and a measure over time."""
    with open_source(CLIP) as source:
        frames = [one.rgb for one in source][: _FRAME + 60]
    rgb = frames[_FRAME]
    tracked = list(zip(sonjit.track(CLIP, "hands"), frames, strict=False))
    found, _ = tracked[_FRAME]
    model = hand_mesh.RiggedHands(hand_mesh.Sight.of(None))
    for frame, image in tracked:
        model.add_frame(frame, image)
    model.finish()
    save("mesh.jpg", side_by_side(draw_frame(rgb, found), run.draw_meshes(rgb, model.meshes(_FRAME))))
    apart = [
        (hand, (frame.time or 0, 100 * measures(hand)["pinch_index_m"])) for frame, _ in tracked for hand in frame.hands
    ]
    plot(
        "pinch.svg",
        {f"{side} hand": [point for hand, point in apart if hand.side == side] for side in ("Left", "Right")},
        ("seconds", "thumb to index tip, cm"),
    )


def moving_clip() -> None:
    """Draw hands and gestures in every third frame of the bundled clip."""
    drawn = [
        cv2.resize(frame.draw(), (400, 300), interpolation=cv2.INTER_AREA).astype(np.uint8)
        for frame in sonjit.track(CLIP, "hands", gestures="canned")
    ]
    first, *rest = [Pillow.fromarray(rgb) for rgb in drawn[:_CLIP_FRAMES:3]]
    first.save(IMAGES / "demo.webp", save_all=True, append_images=rest, duration=100, loop=0, quality=50, method=6)


def _rendered_hand(folder: Path, detector: sonjit.Detector[sonjit.Hand], **factors: object) -> Image:
    """Render one hand in front of a plain background, draw its keypoints, and crop the image around it.

    Args:
        folder: New folder for the rendered image.
        detector: Detector of hands.
        factors: Factors of `sonjit synth` that replace those of `_PLAIN_HAND`.
    """
    settings = _PLAIN_HAND | factors
    pinned = [argument for name, value in settings.items() for argument in ("--set", f"{name}={value}")]
    command = ["sonjit", "synth", folder, "--count", "1", "--seed", "11", "--size", "640x640", *pinned]
    subprocess.run(command, check=True, capture_output=True)
    (file,) = (folder / "images").rglob("*.*g")
    left, top, width, height = json.loads((folder / "coco.json").read_text("utf-8"))["annotations"][0]["bbox"]
    side = round(1.4 * max(width, height))
    rgb = rgb_from(file)
    drawn = sonjit.draw(rgb, detector.detect(rgb), labels=False)
    patch = cv2.getRectSubPix(drawn, (side, side), (left + width / 2, top + height / 2))
    return cv2.resize(patch, (_CELL, _CELL), interpolation=cv2.INTER_AREA).astype(np.uint8)


def sheet_of_poses(name: str, poses: list[tuple[str, str, int]], columns: int) -> None:
    """Draw rendered hands in a grid, each with its detected keypoints and its name.

    Args:
        name: File name of the picture.
        poses: Name, pose of `sonjit synth` and rotation in the image in degrees of each hand.
        columns: Number of hands per row.
    """
    cells: list[Image] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        sonjit.create_detector("hands", static_image=True, max_instances=1) as detector,
    ):
        for number, (title, pose, roll_deg) in enumerate(poses):
            tone = 1 + 7 * number % 10
            factors = {"gesture": pose, "roll_deg": roll_deg, "tone": tone, "person": 40 + number}
            cell = _rendered_hand(Path(folder, title), detector, **factors)
            bar = np.full((20, _CELL, 3), _PAPER, np.uint8)
            cv2.putText(bar, title, (6, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (240, 240, 240), 1, cv2.LINE_AA)
            cells.append(np.vstack([bar, cell]).astype(np.uint8))
    cells += [np.full_like(cells[0], _PAPER)] * (-len(cells) % columns)
    rows = [np.hstack(cells[start : start + columns]) for start in range(0, len(cells), columns)]
    save(name, np.vstack(rows).astype(np.uint8))


def gesture_sheets() -> None:
    """Draw the built-in gestures and the static letters of finger spelling."""
    directed = {
        "Pointing": (("Up", 0), ("Right", 90), ("Down", 180), ("Left", -90)),
        "Thumb": (("Up", -90), ("Down", 90)),
    }
    gestures: list[tuple[str, str, int]] = []
    for shape, poses in POSES.items():
        for direction, roll_deg in directed.get(shape, (("", 0),)):
            gestures.append((f"{shape}_{direction}".rstrip("_"), poses[0], roll_deg))
    sheet_of_poses("gestures.jpg", gestures, 5)
    letters = [(name, poses[0], 0) for name, poses in load_alphabet("asl").poses.items() if len(name) == 1]
    sheet_of_poses("letters.jpg", letters, 6)


def plot(name: str, lines: dict[str, list[tuple[float, float]]], axes_of: tuple[str, str]) -> None:
    """Plot lines over a common axis from 0."""
    import matplotlib as mpl

    mpl.use("agg")
    mpl.rcParams["svg.hashsalt"] = name
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 2.6), layout="constrained")
    for label, points in lines.items():
        axes.plot(*zip(*points, strict=True), label=label, linewidth=1.5)
    axes.set(xlabel=axes_of[0], ylabel=axes_of[1], ylim=(0, None))
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(IMAGES / name, metadata={"Date": None})


def draw_detections(photograph: Path, kind: str, **options: int) -> Image:
    """Draw the detections in a photograph on an empty canvas."""
    rgb = rgb_from(photograph)
    with sonjit.create_detector(KindName(kind), static_image=True, **options) as detector:
        found = detector.detect(rgb)
    boxes = np.array([part.box for one in found for part in one.parts])
    room = 0.15 * max(boxes[:, 2:].max(0) - boxes[:, :2].min(0))
    left, top = np.maximum(boxes[:, :2].min(0) - room, 0).astype(int).tolist()
    right, bottom = (boxes[:, 2:].max(0) + room).astype(int).tolist()
    return sonjit.draw(np.full_like(rgb, _PAPER), found, labels=False)[top:bottom, left:right]


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("face", "body", "people"):
        parser.add_argument(f"--{name}", type=Path)
    given = parser.parse_args()
    draw_hands()
    moving_clip()
    gesture_sheets()
    if given.face:
        save("face.jpg", side_by_side(draw_detections(given.face, "face")))
    if given.body:
        save("body.jpg", side_by_side(draw_detections(given.body, "body")))
    if given.people:
        save("people.jpg", side_by_side(draw_detections(given.people, "holistic", max_instances=12)))


if __name__ == "__main__":
    main()
