"""Make the pictures of the documentation that are drawn by Sonjit itself.

python tools/pictures.py                                                    # from the bundled clip
python tools/pictures.py --face FACE.jpg --body BODY.jpg --people GROUP.jpg   # and from photographs of your own

Of photographs only what was found is drawn, on an empty canvas: no pixel of them goes into the documentation.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

import sonjit
from sonjit.documents.plots import INK, line_mark, svg_of
from sonjit.measures import measures
from sonjit.media import draw_frame, open_source, rgb_from
from sonjit.meshes.hand_mesh import Sight
from sonjit.meshes.rigged import RiggedHands
from sonjit.meshes.run import draw_meshes
from sonjit.skeletons import load_skeleton

if TYPE_CHECKING:
    from sonjit.arrays import Image

IMAGES = Path(__file__).parents[1] / "docs" / "images"
CLIP = Path(sonjit.__file__).parent / "assets" / "demo.mp4"
FINGERS = ("#c2571a", "#2f6fde", "#2a8a55", "#8a5bd1", "#b03a6a")
_FRAME = 110
_PAPER = (30, 34, 40)
_HEIGHT = 420


def save(name: str, rgb: Image) -> None:
    """Write one picture."""
    cv2.imwrite(str(IMAGES / name), rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])


def beside(*images: Image) -> Image:
    """Images side by side, of one height."""
    sized = [
        cv2.resize(one, (one.shape[1] * _HEIGHT // one.shape[0], _HEIGHT), interpolation=cv2.INTER_AREA)
        for one in images
    ]
    return np.hstack(sized).astype(np.uint8)


def of_the_clip() -> None:
    """Hands beside their meshes, and a measure over time."""
    with open_source(CLIP) as source:
        frames = [one.rgb for one in source][: _FRAME + 60]
    rgb = frames[_FRAME]
    tracked = list(zip(sonjit.track(CLIP, "hands"), frames, strict=False))
    found, _ = tracked[_FRAME]
    model = RiggedHands(Sight.of(None))
    for frame, image in tracked:
        model.add_frame(frame, image)
    model.finish()
    save("mesh.jpg", beside(draw_frame(rgb, found), draw_meshes(rgb, model.meshes(_FRAME))))
    apart = [
        (hand, (frame.time or 0, 100 * measures(hand)["pinch_index_m"])) for frame, _ in tracked for hand in frame.hands
    ]
    plot(
        "pinch.svg",
        {f"{side} hand": [point for hand, point in apart if hand.side == side] for side in ("Left", "Right")},
        ("seconds", "thumb to index tip, cm"),
    )


def keypoints_of_a_hand() -> None:
    """The 21 keypoints with their numbers and names, on the open hand of the clip's labels."""
    skeleton = load_skeleton("hand_mediapipe21")
    frames = json.loads(CLIP.with_suffix(".json").read_text("utf-8"))["frames"]
    hands = [np.array(hand["xy"]) for frame in frames for hand in frame["hands"]]
    points = max(hands, key=lambda xy: float(np.ptp(xy, axis=0).prod()))
    points = 30 + (points - points.min(0)) * 360 / np.ptp(points, axis=0).max()
    finger = {place: number for number, group in enumerate(skeleton.groups.values()) for place in group}
    marks = [line_mark(*points[a], *points[b], INK, 2) for a, b in skeleton.connections]
    for number, ((x, y), name) in enumerate(zip(points.tolist(), skeleton.keypoints, strict=True)):
        colour = INK if number == 0 else FINGERS[finger[number]]
        marks.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="9" fill="{colour}"/>')
        marks.append(
            f'<text x="{x:.1f}" y="{y + 4:.1f}" font-size="11" text-anchor="middle" fill="#fff">{number}</text>'
        )
        row = 34 + number * 18
        marks.append(f'<circle cx="420" cy="{row - 4}" r="8" fill="{colour}"/>')
        marks.append(f'<text x="420" y="{row}" font-size="10" text-anchor="middle" fill="#fff">{number}</text>')
        marks.append(f'<text x="434" y="{row}" font-size="12" fill="{INK}">{name}</text>')
    text = svg_of(600, 430, marks, "The 21 keypoints of a hand")
    (IMAGES / "hand_keypoints.svg").write_text(text + "\n", "utf-8")


def weights_of_maxmse() -> None:
    """What a point counts in maxMSE over its error, with 20 other points of one error each."""
    import torch

    from sonjit.training.losses import maxmse_weights

    errors = torch.linspace(0, 40, 81)
    lines: dict[str, list[tuple[float, float]]] = {}
    for others in (5.0, 10.0, 20.0):
        points = torch.zeros(len(errors), 21, 3)
        points[:, :, 0] = others
        points[:, 0, 0] = errors
        weights = 100 * maxmse_weights(points, torch.zeros_like(points))[:, 0]
        lines[f"others {others:g} mm off"] = list(zip(errors.tolist(), weights.tolist(), strict=True))
    lines["MSE"] = [(0.0, 100 / 21), (40.0, 100 / 21)]
    plot("maxmse.svg", lines, ("error of a point, mm", "its weight, %"))


def plot(name: str, lines: dict[str, list[tuple[float, float]]], axes_of: tuple[str, str]) -> None:
    """Lines over one axis, each from 0."""
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


def on_paper(photograph: Path, kind: str, **options: int) -> Image:
    """What is found in a photograph, on an empty canvas of its size."""
    rgb = rgb_from(photograph)
    with sonjit.create_detector(kind, static_image=True, **options) as detector:
        found = detector.detect(rgb)
    boxes = np.array([part.box for one in found for part in one.parts])
    room = 0.15 * max(boxes[:, 2:].max(0) - boxes[:, :2].min(0))
    left, top = np.maximum(boxes[:, :2].min(0) - room, 0).astype(int)
    right, bottom = (boxes[:, 2:].max(0) + room).astype(int)
    return sonjit.draw(np.full_like(rgb, _PAPER), found, labels=False)[top:bottom, left:right]


def main() -> None:
    """Make them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("face", "body", "people"):
        parser.add_argument(f"--{name}", type=Path)
    given = parser.parse_args()
    keypoints_of_a_hand()
    weights_of_maxmse()
    of_the_clip()
    if given.face:
        save("face.jpg", beside(on_paper(given.face, "face")))
    if given.body:
        save("body.jpg", beside(on_paper(given.body, "body")))
    if given.people:
        save("people.jpg", beside(on_paper(given.people, "holistic", max_instances=12)))


if __name__ == "__main__":
    main()
