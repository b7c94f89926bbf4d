"""Make the pictures of the documentation that are drawn by Sonjit itself.

python tools/pictures.py                                                    # from the bundled clip
python tools/pictures.py --face FACE.jpg --body BODY.jpg --people GROUP.jpg   # and from photographs of your own

Of photographs only what was found is drawn, on an empty canvas: no pixel of them goes into the documentation.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

import sonjit
from sonjit.measures import measures
from sonjit.media import draw_frame, open_source, rgb_from
from sonjit.meshes.hand_mesh import Sight
from sonjit.meshes.rigged import RiggedHands
from sonjit.meshes.run import draw_meshes

if TYPE_CHECKING:
    from sonjit.arrays import Image

IMAGES = Path(__file__).parents[1] / "docs" / "images"
CLIP = Path(sonjit.__file__).parent / "assets" / "demo.mp4"
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
    )


def plot(name: str, lines: dict[str, list[tuple[float, float]]]) -> None:
    """Centimetres over seconds."""
    import matplotlib as mpl

    mpl.use("agg")
    mpl.rcParams["svg.hashsalt"] = name
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 2.6), layout="constrained")
    for label, points in lines.items():
        axes.plot(*zip(*points, strict=True), label=label, linewidth=1.5)
    axes.set(xlabel="seconds", ylabel="thumb to index tip, cm", ylim=(0, None))
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
    of_the_clip()
    if given.face:
        save("face.jpg", beside(on_paper(given.face, "face")))
    if given.body:
        save("body.jpg", beside(on_paper(given.body, "body")))
    if given.people:
        save("people.jpg", beside(on_paper(given.people, "holistic", max_instances=12)))


if __name__ == "__main__":
    main()
