"""Make the pictures of the documentation that are drawn by Sonjit itself.

python tools/pictures.py                                                    # from the bundled clip
python tools/pictures.py --face FACE.jpg --body BODY.jpg --people GROUP.jpg   # and from your photographs
python tools/pictures.py --skeleton HAND.glb                                  # and of annotate export --as skeleton

Detections in photographs are drawn on an empty canvas, so the documentation contains no pixel of them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image as Pillow

import sonjit
from sonjit._util.glb import Glb
from sonjit.geometry.rotations import matrix_from_quaternion_wxyz
from sonjit.lab.documents.plots import INK, line_mark, svg_of
from sonjit.lab.meshes.hand_mesh import Sight
from sonjit.lab.meshes.rigged import RiggedHands
from sonjit.lab.meshes.run import draw_meshes
from sonjit.media import draw_frame, open_source, rgb_from
from sonjit.results.measures import measures
from sonjit.results.skeletons import load_skeleton

if TYPE_CHECKING:
    from sonjit._util.arrays import FloatArray, Image

IMAGES = Path(__file__).parents[1] / "docs" / "images"
CLIP = Path(sonjit.__file__).parent / "_util" / "assets" / "demo.mp4"
FINGERS = ("#c2571a", "#2f6fde", "#2a8a55", "#8a5bd1", "#b03a6a")
_FRAME = 110
_CLIP_FRAMES = 240
_PAPER = (30, 34, 40)
_HEIGHT = 420


def save(name: str, rgb: Image) -> None:
    """Write a picture."""
    cv2.imwrite(str(IMAGES / name), rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])


def save_animation(name: str, images: list[Image], rate: float) -> None:
    """Write an animated WebP with `rate` images per second, which repeats."""
    first, *rest = [Pillow.fromarray(rgb) for rgb in images]
    first.save(
        IMAGES / name, save_all=True, append_images=rest, duration=round(1000 / rate), loop=0, quality=50, method=6
    )


def beside(*images: Image) -> Image:
    """Place images side by side at the same height."""
    sized = [
        cv2.resize(one, (one.shape[1] * _HEIGHT // one.shape[0], _HEIGHT), interpolation=cv2.INTER_AREA)
        for one in images
    ]
    return np.hstack(sized).astype(np.uint8)


def of_the_clip() -> None:
    """Draw hands with their meshes, and a measure over time."""
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


def moving_clip() -> None:
    """The bundled clip with hands and gestures drawn, in a third of its frames."""
    drawn = [
        cv2.resize(frame.draw(), (400, 300), interpolation=cv2.INTER_AREA).astype(np.uint8)
        for frame in sonjit.track(CLIP, "hands", gestures="canned")
    ]
    save_animation("demo.webp", drawn[:_CLIP_FRAMES:3], 10)


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
    """Plot the weight of a point in maxMSE over its error, with 20 other points of a fixed error."""
    import torch

    from sonjit.lab.training.losses import maxmse_weights

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


_TURN_DEG = 35.0
_LOOP_S = 6.0
_RATE = 12.5
_SIZE = 300
_UPRIGHT = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]])  # the recorded hand came from the right


def skeleton_that_moves(file: Path) -> None:
    """Animate a file of `sonjit annotate export --as skeleton` with a camera that swings to and fro."""
    glb = Glb(file)
    ends = [float(glb.array(sampler["input"])[-1]) for sampler in glb.document["animations"][0]["samplers"]]
    times = np.arange(0, max(ends), 1 / _RATE)
    frames = [_triangles(glb, time) for time in times]
    frames, times = zip(*((one, time) for one, time in zip(frames, times, strict=True) if len(one[0])), strict=True)
    middles = np.array([points.reshape(-1, 3).mean(0) for points, _ in frames])
    middles = cv2.GaussianBlur(middles, (1, 2 * int(_RATE) + 1), 0, borderType=cv2.BORDER_REPLICATE)
    far = [np.abs(points - middle).max() for (points, _), middle in zip(frames, middles, strict=True)]
    reach = float(np.quantile(far, 0.95))
    images: list[Image] = []
    for time, (points, colours), middle in zip(times, frames, middles, strict=True):
        angle = np.deg2rad(_TURN_DEG) * np.sin(2 * np.pi * time / _LOOP_S)
        turn, _ = cv2.Rodrigues(np.array([0, angle, 0]))
        images.append(_painted((points - middle) @ turn.T @ _UPRIGHT.T / reach, colours))
    save_animation("hand_in_space.webp", images, _RATE)


def _triangles(glb: Glb, time: float) -> tuple[FloatArray, FloatArray]:
    """Corners (F, 3, 3) in glTF's world at a time of the first animation, and colours (F, 3), 0..1."""
    document = glb.document
    nodes = [dict(node) for node in document["nodes"]]
    animation = document["animations"][0]
    for channel in animation["channels"]:
        sampler, target = animation["samplers"][channel["sampler"]], channel["target"]
        clock, values = glb.array(sampler["input"]), glb.array(sampler["output"])
        after = int(np.clip(np.searchsorted(clock, time, "right"), 1, max(len(clock) - 1, 1)))
        before = after - 1
        if sampler["interpolation"] == "STEP" or len(clock) == 1:
            value = values[max(int(np.searchsorted(clock, time, "right")) - 1, 0)]
        else:
            share = float(np.clip((time - clock[before]) / (clock[after] - clock[before]), 0, 1))
            value = (1 - share) * values[before] + share * values[after]
        nodes[target["node"]][target["path"]] = value / np.linalg.norm(value) if target["path"] == "rotation" else value
    corners: list[FloatArray] = []
    colours: list[FloatArray] = []

    def walk(number: int, above: FloatArray) -> None:
        node, own = nodes[number], np.eye(4)
        x, y, z, w = node.get("rotation", (0, 0, 0, 1))
        own[:3, :3] = matrix_from_quaternion_wxyz(np.array([w, x, y, z])) * np.array(node.get("scale", (1, 1, 1)))
        own[:3, 3] = node.get("translation", (0, 0, 0))
        own = above @ own
        if "mesh" in node and abs(own[:3, :3]).max() > 1e-6:  # unknown bones have scale 0
            part = document["meshes"][node["mesh"]]["primitives"][0]
            vertices = glb.array(part["attributes"]["POSITION"]) @ own[:3, :3].T + own[:3, 3]
            corners.append(vertices[glb.array(part["indices"]).reshape(-1, 3)])
            material = document["materials"][part["material"]]["pbrMetallicRoughness"]
            colours.append(np.tile(material["baseColorFactor"][:3], (len(corners[-1]), 1)))
        for child in node.get("children", ()):
            walk(child, own)

    for root in document["scenes"][0]["nodes"]:
        walk(root, np.eye(4))
    return np.concatenate([np.zeros((0, 3, 3)), *corners]), np.concatenate([np.zeros((0, 3)), *colours])


def _painted(corners: FloatArray, colours: FloatArray) -> Image:
    """Triangles (F, 3, 3) within -1..1, x right, y up, z towards the viewer, the farthest first."""
    image = np.full((2 * _SIZE, 2 * _SIZE, 3), _PAPER, np.uint8)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    light = np.array([0.4, 0.6, 0.7]) / np.linalg.norm([0.4, 0.6, 0.7])
    shade = 0.35 + 0.65 * np.maximum(normals @ light, 0)
    srgb = np.clip(255 * (colours * shade[:, None]) ** (1 / 2.2), 0, 255)
    pixels = np.round((corners[..., :2] * [1, -1] * 0.95 + 1) * _SIZE * 16).astype(np.int32)
    facing = np.flatnonzero(normals[:, 2] > 0)
    for number in facing[np.argsort(corners[facing, :, 2].mean(1))]:
        cv2.fillConvexPoly(image, pixels[number], srgb[number].tolist(), cv2.LINE_AA, 4)
    return cv2.resize(image, (_SIZE, _SIZE), interpolation=cv2.INTER_AREA).astype(np.uint8)


def main() -> None:
    """Make them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("face", "body", "people"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--skeleton", type=Path)
    given = parser.parse_args()
    keypoints_of_a_hand()
    weights_of_maxmse()
    of_the_clip()
    moving_clip()
    if given.skeleton:
        skeleton_that_moves(given.skeleton)
    if given.face:
        save("face.jpg", beside(on_paper(given.face, "face")))
    if given.body:
        save("body.jpg", beside(on_paper(given.body, "body")))
    if given.people:
        save("people.jpg", beside(on_paper(given.people, "holistic", max_instances=12)))


if __name__ == "__main__":
    main()
