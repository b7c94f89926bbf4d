"""Train the head that proposes hands on the maps of the network for people.

    python benchmarks/hand_proposals.py features FOLDER [--data ../shared/real]
    python benchmarks/hand_proposals.py train FOLDER HEAD.npz [--without wild3] [--epochs 9]

`features` writes the maps of windows of photographs, with boxes of hands. Labels by eye give the boxes of `wild`,
`wild2` and `wild3`, and the complete search gives those of `unlabelled` and all rotations. `train` fits the head. With
`--without`, it leaves a set out, and prints how many of its hands the head finds in complete images. The shipped head
is trained on all sets.
"""

from __future__ import annotations

import argparse
import math
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional

import sonjit
from sonjit.detectors.kinds.hands import box_around_hand
from sonjit.detectors.options import HandOptions
from sonjit.detectors.search.geometry import windows
from sonjit.detectors.search.light import in_good_light
from sonjit.detectors.search.load import load_network
from sonjit.detectors.search.network import INPUT_PX, TAPS
from sonjit.geometry.boxes import box_around, box_iou
from sonjit.lab.datasets import open_dataset
from sonjit.media import open_source

SETS = ("wild", "wild2", "wild3")
AUGMENTED = {"unlabelled": 9, "wild": 18, "wild2": 18, "wild3": 18}
"""Number of random windows of each photograph."""
CHANNELS, SIDE = 48, TAPS[0]
CELL_PX = INPUT_PX / SIDE
MIN_HAND_PX, MIN_VISIBLE = 7.0, 0.4
"""Size of the smallest hand in the input, and visible share of a hand, that count."""
SURE, DOUBTFUL = 0.75, 0.3
"""Minimum scores of found hands that are labels in `unlabelled`, and whose keypoints label the rotation of a hand."""


class Target(NamedTuple):
    """A hand in the input: its upright box, whether its rotation is known, and its crop."""

    box: tuple[float, float, float, float]
    is_rotation_known: bool
    crop: tuple[float, float, float, float, float]  # centre, width, sine and cosine of the rotation


class Photograph(NamedTuple):
    """A photograph with the boxes and keypoints of its hands, and boxes that do not count."""

    name: str
    rgb: np.ndarray
    hands: list[tuple[tuple[float, ...], np.ndarray | None]]
    ignored: list[tuple[float, ...]]


def photographs(data: Path) -> Iterator[Photograph]:
    """Yield all photographs. The complete search finds the keypoints."""
    with sonjit.create_detector(
        "hands", static_image=True, search="thorough", max_instances=20, min_presence_score=0.2, precision="f32"
    ) as detector:
        for name in SETS:
            for sample in open_dataset("photographs", data / name):
                if "hand" not in sample.tags["labelled"]:
                    continue
                rgb = sample.rgb()
                found = [hand.keypoints for hand in detector.detect(rgb) if hand.score > DOUBTFUL]
                hands, ignored = [], []
                for label in sample.instances:
                    box = label.bounds()
                    if label.kind != "hand" or box is None:
                        continue
                    own = max(found, key=lambda points: box_iou(box_around(points), box), default=None)
                    own = own if own is not None and box_iou(box_around(own), box) > 0.4 else None
                    if not label.crowd and (label.extra.get("clear", True) or own is not None):
                        hands.append((box, own))
                    else:
                        ignored.append(box)
                yield Photograph(name, in_good_light(rgb), hands, ignored)
        for frame in open_source(data / "unlabelled"):
            hands = detector.detect(frame.rgb)
            sure = [(box_around(hand.keypoints), hand.keypoints) for hand in hands if hand.score > SURE]
            ignored = [box_around(hand.keypoints) for hand in hands if hand.score <= SURE]
            yield Photograph("unlabelled", in_good_light(frame.rgb), sure, ignored)


def views(photograph: Photograph, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield the kind of view, the input (300, 300, 3), and the matrix (2, 3) from the photograph to it."""
    height, width = photograph.rgb.shape[:2]
    yield "complete", *view(photograph.rgb, (0, 0, width, height))
    if photograph.name != "unlabelled":
        for window in windows(width, height, 2, fewer=True):
            yield "half", *view(photograph.rgb, tuple(window))
    longest = max(width, height)
    for _ in range(AUGMENTED[photograph.name]):
        side, cx, cy = longest * rng.uniform(0.25, 1.05), rng.uniform(0, width), rng.uniform(0, height)
        if photograph.hands and rng.random() < 0.6:
            x_min, y_min, x_max, y_max = photograph.hands[rng.integers(len(photograph.hands))][0]
            size = max(x_max - x_min, y_max - y_min)
            side = max(side, 1.3 * size)
            if rng.random() < 0.5:
                side = float(np.clip(size * rng.uniform(1.5, 12), 0.15 * longest, 1.1 * longest))
            cx, cy = (
                (x_min + x_max) / 2 + rng.uniform(-0.35, 0.35) * side,
                (y_min + y_max) / 2 + rng.uniform(-0.35, 0.35) * side,
            )
        left, top = max(cx - side / 2, 0), max(cy - side / 2, 0)
        right, bottom = min(cx + side / 2, width), min(cy + side / 2, height)
        if min(right - left, bottom - top) >= 40:
            turn = rng.uniform(-0.5, 0.5) if rng.random() < 0.3 else 0.0
            image, matrix = view(photograph.rgb, (left, top, right, bottom), turn, mirrored=rng.random() < 0.5)
            yield "augmented", jittered(image, rng), matrix


def view(
    rgb: np.ndarray, window: tuple[float, ...], turn: float = 0.0, *, mirrored: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return a window as input of the network, and the matrix (2, 3) from the photograph to it."""
    left, top, right, bottom = window
    scale, middle = INPUT_PX / max(right - left, bottom - top), INPUT_PX / 2
    cos, sin = math.cos(turn) * scale, math.sin(turn) * scale
    linear = np.array([[cos, -sin], [sin, cos]])
    linear[0] *= -1 if mirrored else 1
    matrix = np.c_[linear, middle - linear @ [(left + right) / 2, (top + bottom) / 2]]
    source, to_source = rgb, np.ones(2)
    if scale < 0.5:  # warping samples four pixels, so that smaller images would alias
        source = cv2.resize(rgb, None, fx=2 * scale, fy=2 * scale, interpolation=cv2.INTER_AREA)
        to_source = np.array(rgb.shape[1::-1]) / source.shape[1::-1]
    own = np.c_[matrix[:, :2] * to_source, matrix[:, 2]]
    image = cv2.warpAffine(source, own, (INPUT_PX, INPUT_PX), flags=cv2.INTER_LINEAR)
    if turn == 0:  # black around the window, as in the search
        half = np.array([right - left, bottom - top]) * scale / 2
        (x_min, y_min), (x_max, y_max) = (np.round(middle + sign * half).astype(int).clip(0) for sign in (-1, 1))
        masked = np.zeros_like(image)
        masked[y_min:y_max, x_min:x_max] = image[y_min:y_max, x_min:x_max]
        image = masked
    return image, matrix


def jittered(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return an image with another brightness, colour and sharpness."""
    values = 255 * (image / 255.0) ** (rng.uniform(0.6, 1.7) if rng.random() < 0.5 else 1.0)
    if rng.random() < 0.4:
        values = values * rng.uniform(0.7, 1.3) + rng.uniform(-20, 20)
    if rng.random() < 0.3:
        values = values * rng.uniform(0.85, 1.15, 3)
    result = values.clip(0, 255).astype(np.uint8)
    if rng.random() < 0.08:
        result = cv2.cvtColor(cv2.cvtColor(result, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.GaussianBlur(result, (0, 0), rng.uniform(0.4, 1.6)) if rng.random() < 0.25 else result


def target(matrix: np.ndarray, box: tuple[float, ...], keypoints: np.ndarray | None) -> Target:
    """Return a hand in the input. Without keypoints, its crop is an upright square."""
    x_min, y_min, x_max, y_max = box
    corners = (
        np.array([[x_min, y_min], [x_max, y_min], [x_max, y_max], [x_min, y_max]]) @ matrix[:, :2].T + matrix[:, 2]
    )
    low, high = corners.min(0), corners.max(0)
    upright = (*low.tolist(), *high.tolist())
    if keypoints is None:
        return Target(upright, False, (*((low + high) / 2).tolist(), 1.6 * float(max(high - low)), 0.0, 0.0))
    crop = box_around_hand(np.c_[keypoints[:, :2] @ matrix[:, :2].T + matrix[:, 2], np.zeros(len(keypoints))])
    return Target(upright, True, (crop.cx, crop.cy, crop.width, math.sin(crop.rotation), math.cos(crop.rotation)))


def write_features(folder: Path, data: Path) -> None:
    """Write the maps of all views, their hands, and the boxes that do not count."""
    rng = np.random.default_rng(0)
    options = HandOptions(kind="hands", static_image=True, precision="f32", threads=2)
    engine = load_network(options, TAPS)._engine
    maps: list[list[np.ndarray]] = [[] for _ in TAPS]
    rows: list[tuple[str, str, list[Target], np.ndarray]] = []
    for photograph in photographs(data):
        for kind, image, matrix in views(photograph, rng):
            engine.input[0] = image
            for own, values in zip(maps, engine.run()[2:], strict=True):
                own.append(values[0].astype(np.float16))
            hands = [target(matrix, box, keypoints) for box, keypoints in photograph.hands]
            ignored = np.array([target(matrix, box, None).box for box in photograph.ignored]).reshape(-1, 4)
            rows.append((photograph.name, kind, hands, ignored))
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "maps.npz", *map(np.array, maps))
    (folder / "rows.pickle").write_bytes(pickle.dumps(rows))


class Head(nn.Module):
    """Mix the maps at the finest side, filter twice, and predict per cell; see `network._hand_map`."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.ModuleList(nn.Conv2d(channels, CHANNELS, 1) for channels in (32, 96, 160))
        self.depth = nn.ModuleList(
            nn.Conv2d(CHANNELS, CHANNELS, size, padding=size // 2, groups=CHANNELS) for size in (3, 5)
        )
        self.point = nn.ModuleList(nn.Conv2d(CHANNELS, CHANNELS, 1) for _ in range(2))
        self.out = nn.Conv2d(CHANNELS, 6, 1)
        self.drop = nn.Dropout2d(0.1)
        nn.init.constant_(self.out.bias, 0.0)
        self.out.bias.data[0] = -4.0

    def forward(self, maps: list[torch.Tensor]) -> torch.Tensor:
        """Return (N, 6, 38, 38) from maps (N, C, side, side)."""
        mixed = [functional.interpolate(mix(x), size=(SIDE, SIDE)) for mix, x in zip(self.mix, maps, strict=True)]
        hidden = self.drop(functional.relu6(sum(mixed)))
        for depth, point in zip(self.depth, self.point, strict=True):
            hidden = functional.relu6(hidden + point(depth(hidden)))
        return self.out(hidden)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that the search reads."""
        named = {name: conv.weight[:, :, 0, 0] for name, conv in zip("abc", self.mix, strict=True)}
        named["bias"] = sum(conv.bias for conv in self.mix)  # type: ignore[assignment]
        for index, (depth, point) in enumerate(zip(self.depth, self.point, strict=True), 1):
            named |= {f"depth{index}": depth.weight[:, 0], f"point{index}": point.weight[:, :, 0, 0]}
            named[f"offset{index}"] = point.weight[:, :, 0, 0] @ depth.bias + point.bias
        named |= {"out": self.out.weight[:, :, 0, 0], "out_bias": self.out.bias}
        return {name: values.detach().numpy().astype(np.float16) for name, values in named.items()}


def maps_of_truth(name: str, hands: list[Target], ignored: np.ndarray) -> np.ndarray:
    """Return (9, 38, 38): heat, its weight, the five values of the crop, their weight, and that of the rotation."""
    y, x = np.meshgrid(np.arange(SIDE) + 0.5, np.arange(SIDE) + 0.5, indexing="ij")
    truth = np.zeros((9, SIDE, SIDE), np.float32)
    truth[1] = 0.5 if name == "unlabelled" else 1.0
    inside = lambda box: (x > box[0]) & (x < box[2]) & (y > box[1]) & (y < box[3])  # noqa: E731
    for box in ignored / CELL_PX:
        truth[1][inside(box)] = 0
    for hand in hands:
        x_min, y_min, x_max, y_max = hand.box
        cx, cy, size = (x_min + x_max) / 2 / CELL_PX, (y_min + y_max) / 2 / CELL_PX, max(x_max - x_min, y_max - y_min)
        shown = max(min(x_max, INPUT_PX) - max(x_min, 0), 0) * max(min(y_max, INPUT_PX) - max(y_min, 0), 0)
        if not (-1 < cx < SIDE + 1 and -1 < cy < SIDE + 1):
            continue
        if size < MIN_HAND_PX or shown < MIN_VISIBLE * (x_max - x_min) * (y_max - y_min):
            truth[1][inside(np.array(hand.box) / CELL_PX) | ((abs(x - cx) < 1) & (abs(y - cy) < 1))] = 0
            continue
        heat = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * max(size / CELL_PX / 7, 0.55) ** 2))
        heat[min(max(int(cy), 0), SIDE - 1), min(max(int(cx), 0), SIDE - 1)] = 1
        near = heat > 0.5
        truth[0] = np.maximum(truth[0], heat)
        truth[1][near] = np.maximum(truth[1][near], 0.5)
        crop_x, crop_y, width, sine, cosine = hand.crop
        values = (crop_x / CELL_PX - x, crop_y / CELL_PX - y, math.log(width / CELL_PX), sine, cosine)
        for index, value in enumerate(values):
            truth[2 + index][near] = value[near] if isinstance(value, np.ndarray) else value
        truth[7][near], truth[8][near] = (1.0 if hand.is_rotation_known else 0.3), hand.is_rotation_known
    return truth


def loss_of(values: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Return the focal loss of the heat (Zhou et al. 2019) plus the losses of crop and rotation at the hands."""
    heat, weight, crop, counts, turns = truth[:, 0], truth[:, 1], truth[:, 2:7], truth[:, 7], truth[:, 8]
    p, peak = torch.sigmoid(values[:, 0]).clamp(1e-4, 1 - 1e-4), heat >= 0.999
    positive = -((1 - p) ** 2 * torch.log(p))[peak].sum()
    negative = -(weight * (1 - heat) ** 4 * p**2 * torch.log(1 - p))[~peak].sum()
    offset = functional.smooth_l1_loss(values[:, 1:3], crop[:, :2], reduction="none", beta=0.3).sum(1)
    size = functional.smooth_l1_loss(values[:, 3], crop[:, 2], reduction="none", beta=0.1)
    direction = functional.normalize(values[:, 4:6], dim=1)
    turn = (1 - (direction * crop[:, 3:]).sum(1)) * turns
    at_hands = ((8 * offset / torch.exp(crop[:, 2]).clamp(min=1) + 4 * size) * counts).sum() + 2 * turn.sum()
    return (positive + negative) / peak.sum().clamp(min=1) + at_hands / counts.sum().clamp(min=1)


def train(folder: Path, out: Path, without: str | None, epochs: int) -> None:
    """Train the head and write it."""
    torch.manual_seed(0)
    rows = pickle.loads((folder / "rows.pickle").read_bytes())
    maps = [torch.from_numpy(values) for values in np.load(folder / "maps.npz").values()]
    truth = torch.from_numpy(np.stack([maps_of_truth(name, hands, ignored) for name, _, hands, ignored in rows]))
    chosen = np.flatnonzero([name != without for name, *_ in rows])
    head, batch = Head(), 48
    optimiser = torch.optim.AdamW(head.parameters(), lr=3e-3, weight_decay=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=epochs * (len(chosen) // batch))
    for epoch in range(epochs):
        order = np.random.default_rng(epoch).permutation(chosen)
        losses: list[float] = []
        for start in range(0, len(order) - batch + 1, batch):
            part = torch.from_numpy(np.sort(order[start : start + batch]))
            loss = loss_of(head([values[part].float() for values in maps]), truth[part])
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(head.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            losses.append(float(loss))
        print(f"epoch {epoch + 1} of {epochs}: loss {np.mean(losses):.3f}", flush=True)
    np.savez_compressed(out, **head.arrays())
    head.eval()
    tested = [i for i, (name, kind, *_) in enumerate(rows) if kind == "complete" and name == (without or name)]
    for least in (0.1, 0.2, 0.3):
        found = hands = proposals = 0
        for index in tested:
            with torch.no_grad():
                values = head([own[index : index + 1].float() for own in maps])[0]
            p = torch.sigmoid(values[0])
            peaks = ((p == functional.max_pool2d(p[None, None], 3, 1, 1)[0, 0]) & (p > least)).nonzero().tolist()
            centres = [((x + 0.5 + float(values[1, y, x])) * CELL_PX, (y + 0.5 + float(values[2, y, x])) * CELL_PX)
                       for y, x in peaks]  # fmt: skip
            own = [hand.crop for hand in rows[index][2] if max(np.diff(np.reshape(hand.box, (2, 2)), axis=0)[0]) >= 8]
            found += sum(any(math.dist(crop[:2], centre) < 0.3 * crop[2] for centre in centres) for crop in own)
            hands, proposals = hands + len(own), proposals + len(peaks)
        name = without or "all sets"
        print(f"{name}, score {least}: {found} of {hands} hands, {proposals} proposals in {len(tested)} images")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("features", "train"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("head", type=Path, nargs="?", help="file to write")
    parser.add_argument("--data", type=Path, default=Path("../shared/real"))
    parser.add_argument("--without", choices=SETS)
    parser.add_argument("--epochs", type=int, default=9)
    options = parser.parse_args()
    if options.command == "features":
        write_features(options.folder, options.data)
    else:
        train(options.folder, options.head, options.without, options.epochs)


if __name__ == "__main__":
    main()
