"""Make the pictures of the documentation with Sonjit.

python tools/pictures.py                                                    # from the bundled clip
python tools/pictures.py --face FACE.jpg --body BODY.jpg --people PEOPLE.jpg --group GROUP.jpg
python tools/pictures.py --skeleton HAND.glb                                  # from annotate export --as skeleton

Detections in photographs are drawn on an empty canvas, so the documentation contains no pixel of them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image as Pillow

import sonjit
from sonjit._util.glb import Glb
from sonjit.geometry.rotations import matrix_from_quaternion_wxyz
from sonjit.lab.documents import INK, line_mark, svg_of
from sonjit.lab.meshes.hand_mesh import RiggedHands, Sight
from sonjit.lab.meshes.run import draw_meshes
from sonjit.lab.training.alphabets import POSES, load_alphabet
from sonjit.media import draw_frame, open_source, rgb_from
from sonjit.results.measures import measures
from sonjit.results.skeletons import load_skeleton

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sonjit._util.arrays import FloatArray, Image

IMAGES = Path(__file__).parents[1] / "docs" / "images"
CLIP = Path(sonjit.__file__).parent / "_util" / "assets" / "demo.mp4"
FINGERS = ("#c2571a", "#2f6fde", "#2a8a55", "#8a5bd1", "#b03a6a")
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
_KEYS = {"Victory": "right", "Pointing_Up": "up", "Closed_Fist": "space", "Open_Palm": "p", "Drag": "d"}
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
    model = RiggedHands(Sight.of(None))
    for frame, image in tracked:
        model.add_frame(frame, image)
    model.finish()
    save("mesh.jpg", side_by_side(draw_frame(rgb, found), draw_meshes(rgb, model.meshes(_FRAME))))
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
    save_animation("demo.webp", drawn[:_CLIP_FRAMES:3], 10)


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


def keypoints_of_a_hand() -> None:
    """Draw the 21 keypoints of an open hand with their indices and names."""
    skeleton = load_skeleton("hand_mediapipe21")
    frames = json.loads(CLIP.with_suffix(".json").read_text("utf-8"))["frames"]
    hands = [np.array(hand["xy"]) for frame in frames for hand in frame["hands"]]
    points = max(hands, key=lambda xy: float(np.ptp(xy, axis=0).prod()))
    points = 30 + (points - points.min(0)) * 360 / np.ptp(points, axis=0).max()
    finger = {place: number for number, group in enumerate(skeleton.groups.values()) for place in group}
    marks = [line_mark(*points[a], *points[b], colour=INK, width=2) for a, b in skeleton.connections]
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


def draw_detections(photograph: Path, kind: str, **options: int) -> Image:
    """Draw the detections in a photograph on an empty canvas."""
    rgb = rgb_from(photograph)
    with sonjit.create_detector(kind, static_image=True, **options) as detector:
        found = detector.detect(rgb)
    left, top, right, bottom = _bounds(found)
    return sonjit.draw(np.full_like(rgb, _PAPER), found, labels=False)[top:bottom, left:right]


def _bounds(found: Sequence[sonjit.Body | sonjit.Face | sonjit.Hand | sonjit.Person]) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of all detections, with a margin."""
    boxes = np.array([part.box for one in found for part in one.parts])
    room = 0.15 * max(boxes[:, 2:].max(0) - boxes[:, :2].min(0))
    left, top = np.maximum(boxes[:, :2].min(0) - room, 0).astype(int).tolist()
    right, bottom = (boxes[:, 2:].max(0) + room).astype(int).tolist()
    return left, top, right, bottom


def searches(photograph: Path) -> None:
    """Draw the bodies in a photograph of a group, with the fast and the default search."""
    rgb = rgb_from(photograph)
    pictures: list[Image] = []
    left = top = 0
    right, bottom = rgb.shape[1], rgb.shape[0]
    for search in ("auto", "fast"):
        with sonjit.create_detector("body", static_image=True, max_instances=20, search=search) as detector:
            found = detector.detect(rgb)
        if search == "auto":
            left, top, right, bottom = _bounds(found)
        drawn = sonjit.draw(np.full_like(rgb, _PAPER), found, labels=False)[top:bottom, left:right]
        drawn = side_by_side(drawn)
        title = f'search="{search}": {len(found)} detected'
        cv2.putText(drawn, title, (12, 28), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (240, 240, 240), 1, cv2.LINE_AA)
        pictures.append(drawn)
    save("search.jpg", side_by_side(*pictures[::-1]))


def draw_measures() -> None:
    """Draw the curl of each finger of the bundled clip as a bar."""
    fingers = ("thumb", "index", "middle", "ring", "pinky")
    images: list[Image] = []
    for frame in itertools.islice(sonjit.track(CLIP, "hands"), 0, 180, 3):
        drawn = cv2.resize(frame.draw(), (400, 300), interpolation=cv2.INTER_AREA)
        panel = np.full((300, 220, 3), _PAPER, np.uint8)
        for place, hand in enumerate(sorted(frame.hands, key=lambda hand: hand.box[0])[:2]):
            row = measures(hand)
            for number, finger in enumerate(fingers):
                y = 34 + 140 * place + 22 * number
                cv2.putText(panel, finger, (8, y), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (220, 220, 220), 1, cv2.LINE_AA)
                cv2.rectangle(panel, (70, y - 10), (210, y), (70, 76, 84), -1)
                end = 70 + round(140 * float(np.nan_to_num(row[f"{finger}_curl"])))
                cv2.rectangle(panel, (70, y - 10), (end, y), (80, 190, 150), -1)
        images.append(np.hstack([drawn, panel]).astype(np.uint8))
    save_animation("measures.webp", images, 10)


def draw_control() -> None:
    """Draw the latest commands of a control map on the bundled clip, as `sonjit control --dry-run` prints them."""
    with tempfile.TemporaryDirectory() as folder:
        rules = Path(folder, "map.toml")
        rules.write_text("".join(f'[[rule]]\non = "{on}"\nkey = "{key}"\n' for on, key in _KEYS.items()), "utf-8")
        command = ["sonjit", "control", rules, CLIP, "--dry-run"]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    commands = [json.loads(line) for line in printed.splitlines()]
    images: list[Image] = []
    for frame in itertools.islice(sonjit.track(CLIP, "hands", gestures="canned"), 0, _CLIP_FRAMES, 3):
        panel = np.full((300, 220, 3), _PAPER, np.uint8)
        seconds = frame.time or 0
        for number, sent in enumerate([command for command in commands if command["time"] <= seconds][-6:]):
            shade = (120, 230, 180) if seconds - sent["time"] < 1 else (150, 156, 164)
            text = f"{sent['time']:4.1f} s  {sent['name']}: {sent['key']}"
            cv2.putText(panel, text, (8, 40 + 40 * number), cv2.FONT_HERSHEY_SIMPLEX, 0.45, shade, 1, cv2.LINE_AA)
        drawn = cv2.resize(frame.draw(), (400, 300), interpolation=cv2.INTER_AREA)
        images.append(np.hstack([drawn, panel]).astype(np.uint8))
    save_animation("control.webp", images, 10)


def animate_character(photograph: Path) -> None:
    """Animate the character of the person in a photograph with a swinging camera."""
    rgb = rgb_from(photograph)
    with tempfile.TemporaryDirectory() as folder:
        clip, character = Path(folder, "still.avi"), Path(folder, "still.glb")
        video = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"MJPG"), _RATE, rgb.shape[1::-1])
        for _ in range(round(_LOOP_S * _RATE)):
            video.write(rgb[..., ::-1])
        video.release()
        subprocess.run(["sonjit", "holistic", clip, "--save", character], check=True, capture_output=True)
        animate_skeleton(character, "character.webp", np.eye(3))


_TURN_DEG = 35.0
_LOOP_S = 6.0
_RATE = 12.5
_SIZE = 300
_UPRIGHT = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]])  # the recorded hand entered from the right


def animate_skeleton(file: Path, name: str, upright: FloatArray) -> None:
    """Animate a .glb file of bones with a swinging camera.

    Args:
        file: File of `sonjit annotate export --as skeleton`, or a character.
        name: File name of the picture.
        upright: (3, 3) rotation that turns the skeleton upright.
    """
    glb = Glb(file)
    ends = [float(glb.array(sampler["input"])[-1]) for sampler in glb.document["animations"][0]["samplers"]]
    times = np.arange(0, max(ends), 1 / _RATE)
    frames = [_triangles(glb, time) for time in times]
    frames, times = zip(
        *((frame, time) for frame, time in zip(frames, times, strict=True) if len(frame[0])), strict=True
    )
    middles = np.array([points.reshape(-1, 3).mean(0) for points, _ in frames])
    middles = cv2.GaussianBlur(middles, (1, 2 * int(_RATE) + 1), 0, borderType=cv2.BORDER_REPLICATE)
    far = [np.abs(points - middle).max() for (points, _), middle in zip(frames, middles, strict=True)]
    reach = float(np.quantile(far, 0.95))
    images: list[Image] = []
    for time, (points, colours), middle in zip(times, frames, middles, strict=True):
        angle = np.deg2rad(_TURN_DEG) * np.sin(2 * np.pi * time / _LOOP_S)
        turn, _ = cv2.Rodrigues(np.array([0, angle, 0]))
        images.append(_painted((points - middle) @ turn.T @ upright.T / reach, colours))
    save_animation(name, images, _RATE)


def _triangles(glb: Glb, time: float) -> tuple[FloatArray, FloatArray]:
    """Return corners (F, 3, 3) in glTF's world at a time of the first animation, and colours (F, 3), 0..1."""
    document = glb.document
    nodes = [dict(node) for node in document["nodes"]]
    animation = document["animations"][0]
    for channel in animation["channels"]:
        sampler, target = animation["samplers"][channel["sampler"]], channel["target"]
        clock, values = glb.array(sampler["input"]), glb.array(sampler["output"])
        after = int(np.clip(np.searchsorted(clock, time, "right"), 1, max(len(clock) - 1, 1)))
        before = after - 1
        if sampler.get("interpolation") == "STEP" or len(clock) == 1:
            value = values[max(int(np.searchsorted(clock, time, "right")) - 1, 0)]
        else:
            share = float(np.clip((time - clock[before]) / (clock[after] - clock[before]), 0, 1))
            value = (1 - share) * values[before] + share * values[after]
        nodes[target["node"]][target["path"]] = value / np.linalg.norm(value) if target["path"] == "rotation" else value
    worlds: dict[int, FloatArray] = {}

    def walk(number: int, above: FloatArray) -> None:
        node, own = nodes[number], np.eye(4)
        x, y, z, w = node.get("rotation", (0, 0, 0, 1))
        own[:3, :3] = matrix_from_quaternion_wxyz(np.array([w, x, y, z])) * np.array(node.get("scale", (1, 1, 1)))
        own[:3, 3] = node.get("translation", (0, 0, 0))
        worlds[number] = above @ own
        for child in node.get("children", ()):
            walk(child, worlds[number])

    for root in document["scenes"][0]["nodes"]:
        walk(root, np.eye(4))
    corners: list[FloatArray] = []
    colours: list[FloatArray] = []
    for number, world in worlds.items():
        if "mesh" not in nodes[number] or abs(world[:3, :3]).max() < 1e-6:  # unknown bones have scale 0
            continue
        part = document["meshes"][nodes[number]["mesh"]]["primitives"][0]
        vertices = np.pad(glb.array(part["attributes"]["POSITION"]), ((0, 0), (0, 1)), constant_values=1)
        if "skin" in nodes[number]:
            skin = document["skins"][nodes[number]["skin"]]
            inverse = glb.array(skin["inverseBindMatrices"])
            moved = np.array([worlds[joint] for joint in skin["joints"]]) @ inverse
            weights = glb.array(part["attributes"]["WEIGHTS_0"])
            blended = np.einsum("vk,vkij->vij", weights, moved[glb.array(part["attributes"]["JOINTS_0"])])
            vertices = np.einsum("vij,vj->vi", blended, vertices)
        else:
            vertices = vertices @ world.T
        corners.append(vertices[:, :3][glb.array(part["indices"]).reshape(-1, 3)])
        material = document["materials"][part["material"]]["pbrMetallicRoughness"]
        colours.append(np.tile(material["baseColorFactor"][:3], (len(corners[-1]), 1)))
    return np.concatenate([np.zeros((0, 3, 3)), *corners]), np.concatenate([np.zeros((0, 3)), *colours])


def _painted(corners: FloatArray, colours: FloatArray) -> Image:
    """Draw triangles (F, 3, 3) within -1..1, x right, y up, z towards the viewer, the farthest first."""
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
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("face", "body", "people", "group"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--skeleton", type=Path)
    given = parser.parse_args()
    keypoints_of_a_hand()
    weights_of_maxmse()
    draw_hands()
    moving_clip()
    draw_measures()
    draw_control()
    gesture_sheets()
    if given.skeleton:
        animate_skeleton(given.skeleton, "hand_in_space.webp", _UPRIGHT)
    if given.face:
        save("face.jpg", side_by_side(draw_detections(given.face, "face")))
    if given.body:
        save("body.jpg", side_by_side(draw_detections(given.body, "body")))
        animate_character(given.body)
    if given.people:
        save("people.jpg", side_by_side(draw_detections(given.people, "holistic", max_instances=12)))
    if given.group:
        searches(given.group)


if __name__ == "__main__":
    main()
