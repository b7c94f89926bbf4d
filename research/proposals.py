"""Train the network that proposes people and hands, which continues from a map of the published network for people.

    python research/proposals.py pack PACK.npz [--data ../shared/real]
    python research/proposals.py train PACK.npz WEIGHTS.npz [--without wild3] [--seconds 250]
    python research/proposals.py export PACK.npz WEIGHTS.npz NETWORK.tflite

`pack` writes the photographs with their labels, and the weights of the published network. Labels by eye give the boxes
of `wild`, `wild2` and `wild3`. The complete search gives those of `unlabelled` and the rotations of hands. `train`
needs only PyTorch, NumPy and OpenCV, and a graphics card. It prints how many hands and people of the left-out set are
found in complete images. `export` writes the file that the search reads. The shipped network is trained on all sets.
"""

import argparse
import json
import math
import multiprocessing
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

SETS = ("wild", "wild2", "wild3")
MAX_PX = 640
INPUT_PX, SIDE = 300, 38
CELL = INPUT_PX / SIDE
STEM, TRUNK, TAPS = 21, 58, (46, 57)
"""Operators of the published network up to its map, up to the end of the own trunk, and those that the head reads."""
MAX_HANDS, MAX_PEOPLE = 20, 24
SURE, SURE_PERSON, FAINT_PERSON = 0.75, 0.35, 0.15
"""Minimum scores of hands and people that are labels in `unlabelled`, and of people that do not count."""
GUESSED, PASTED, BATCH, RATE = 0.5, 0.35, 64, 1e-3
"""Weight of labels of the search, share of inputs with a pasted hand, size of a batch, and learning rate."""
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Photograph(NamedTuple):
    """A photograph with its labels, boxes (N, 4) in pixels; those of `no_hands` and `no_people` do not count.

    `hands` has rows of box (4), crop (4): centre, width and rotation; and whether the crop is known.
    """

    set: str
    rgb: np.ndarray
    hands: np.ndarray
    no_hands: np.ndarray
    people: np.ndarray
    no_people: np.ndarray
    has_people: bool


def photographs(data: Path) -> Iterator[Photograph]:
    """Yield all photographs."""
    import sonjit
    from sonjit.detectors.kinds.hands import box_around_hand
    from sonjit.detectors.options import HandOptions
    from sonjit.detectors.search.light import in_good_light
    from sonjit.detectors.search.load import load_network
    from sonjit.geometry.boxes import box_around, box_iou
    from sonjit.geometry.windows import windows
    from sonjit.media import open_source
    from sonjit_lab.datasets import open_dataset

    def made(name: str, rgb: np.ndarray, hands: list[Any], *boxes: Any, has_people: bool) -> Photograph:
        rgb, scale = in_good_light(rgb), min(1, MAX_PX / max(rgb.shape))
        rows: list[Any] = []
        for box, points in hands:
            cx, cy, width, _, rotation = (0.0,) * 5 if points is None else box_around_hand(points)
            rows.append((*np.array((*box, cx, cy, width)) * scale, rotation, points is not None))
        ignored, people, unsure = (np.array(own, float).reshape(-1, 4) * scale for own in boxes)
        small = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        return Photograph(name, small, np.array(rows).reshape(-1, 9), ignored, people, unsure, has_people)

    network = load_network(HandOptions(kind="hands", static_image=True, precision="f32"))
    with sonjit.create_detector(
        "hands", static_image=True, search="thorough", max_instances=20, min_presence_score=0.2, precision="f32"
    ) as detector:
        for name in SETS:
            for sample in open_dataset("photographs", data / name):
                if "hand" not in sample.tags["labelled"]:
                    continue
                labels = [(label, box) for label in sample.instances if (box := label.bounds()) is not None]
                found = [hand.keypoints for hand in detector.detect(sample.rgb())]
                hands: list[Any] = []
                unclear: dict[str, list[Any]] = {"hand": [], "body": [], "face": []}
                for label, box in labels:
                    own = max(found, key=lambda points: box_iou(box_around(points), box), default=None)
                    own = own if own is not None and box_iou(box_around(own), box) > 0.4 else None
                    clear = not label.crowd and label.extra.get("clear", True)
                    if label.kind == "hand" and (clear or (own is not None and not label.crowd)):
                        hands.append((box, own))
                    elif not clear:
                        unclear[label.kind].append(box)
                people = [box for label, box in labels if label.kind == "body" and box not in unclear["body"]]
                has_people = "body" in sample.tags["labelled"]
                yield made(name, sample.rgb(), hands, unclear["hand"], people, unclear["body"], has_people=has_people)
        for frame in open_source(data / "unlabelled"):
            all_hands = detector.detect(frame.rgb)
            hands = [(box_around(hand.keypoints), hand.keypoints) for hand in all_hands if hand.score > SURE]
            ignored = [box_around(hand.keypoints) for hand in all_hands if hand.score <= SURE]
            boxes: list[Any] = []
            for window in (w for parts in (1, 2) for w in windows(*frame.rgb.shape[1::-1], parts, fewer=True)):
                new, _ = network.find(in_good_light(frame.rgb), window, FAINT_PERSON)
                boxes += [person for person in new if all(box_iou(person.box, other.box) < 0.5 for other in boxes)]
            people = [person.box for person in boxes if person.score > SURE_PERSON]
            unsure = [person.box for person in boxes if person.score <= SURE_PERSON]
            yield made("unlabelled", frame.rgb, hands, ignored, people, unsure, has_people=True)


def pack(file: Path, data: Path) -> None:
    """Write the photographs, and the weights of the published network."""
    from sonjit.engines.openvino import read_constants
    from sonjit.engines.tflite import TfliteFile
    from sonjit.weights import find_weight

    quality = [cv2.IMWRITE_JPEG_QUALITY, 85]
    rows = [p._replace(rgb=cv2.imencode(".jpg", p.rgb[..., ::-1], quality)[1]) for p in photographs(data)]
    published = TfliteFile(find_weight("person-detector").read_bytes())
    ends = {o.inputs[0] for o in published.operators if o.kind == "RESHAPE"}  # of boxes and classes
    own = [o for o in published.operators if o.kind in ("CONV_2D", "DEPTHWISE_CONV_2D", "ADD")]
    operators = [o for o in own if o.outputs[0] not in ends][:TRUNK]
    layers = {i: o.inputs for i, o in enumerate(operators) if o.kind != "ADD"}
    constants = read_constants(published, {tensor for inputs in layers.values() for tensor in inputs[1:3]})
    arrays = {f"{'wb'[k]}{i}": constants[inputs[1 + k]] for k in (0, 1) for i, inputs in layers.items()}
    kinds = json.dumps([(o.kind, o.stride[0], o.activation) for o in operators])
    np.savez(
        file, photographs=np.array([(*row, None) for row in rows], object)[:, :-1], operators=np.array(kinds), **arrays
    )  # type: ignore[arg-type]


def to_input(window: tuple[float, ...], turn: float, *, mirrored: bool) -> tuple[np.ndarray, float]:
    """Return the matrix (2, 3) from a photograph to the input that shows a window, and its scale."""
    left, top, right, bottom = window
    scale = INPUT_PX / max(right - left, bottom - top)
    cos, sin = math.cos(turn) * scale, math.sin(turn) * scale
    linear = np.array([[cos, -sin], [sin, cos]])
    linear[0] *= -1 if mirrored else 1
    return np.c_[linear, INPUT_PX / 2 - linear @ [(left + right) / 2, (top + bottom) / 2]], scale


def placed(boxes: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return the upright boxes (N, 4) around boxes of a photograph in the input."""
    x, y = boxes[:, [0, 2, 2, 0]], boxes[:, [1, 1, 3, 3]]
    corners = np.stack([x, y], 2) @ matrix[:, :2].T + matrix[:, 2]
    return np.c_[corners.min(1), corners.max(1)].reshape(-1, 4)


def placed_hands(hands: np.ndarray, matrix: np.ndarray, turn: float, *, mirrored: bool) -> np.ndarray:
    """Return rows of box (4), crop (5): centre, width, sine and cosine of the rotation; whether it is known, and 1."""
    boxes, known = placed(hands, matrix), hands[:, 8:]
    centres = np.where(known, hands[:, 4:6] @ matrix[:, :2].T + matrix[:, 2], (boxes[:, :2] + boxes[:, 2:]) / 2)
    scale = math.sqrt(abs(np.linalg.det(matrix[:, :2])))
    widths = np.where(
        known, hands[:, 6:7] * scale, 1.6 * (boxes[:, 2:] - boxes[:, :2]).max(1, initial=0, keepdims=True)
    )
    turns = (hands[:, 7:8] + turn) * (-1 if mirrored else 1)
    return np.c_[boxes, centres, widths, np.sin(turns) * known, np.cos(turns) * known, known, np.ones(len(hands))]


def shares(boxes: np.ndarray, window: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes (N, 4) clipped to a window, and the shares of their areas in it."""
    clipped = np.c_[np.maximum(boxes[:, :2], window[:2]), np.minimum(boxes[:, 2:], window[2:])]
    inside = (clipped[:, 2:] - clipped[:, :2]).clip(0).prod(1)
    return clipped, inside / (boxes[:, 2:] - boxes[:, :2]).prod(1).clip(1e-6)


def random_window(photo: Photograph, rng: np.random.Generator) -> tuple[float, ...]:
    """Return a window of a photograph, most often near a hand."""
    height, width = photo.rgb.shape[:2]
    longest = max(width, height)
    side, cx, cy = longest * rng.uniform(0.25, 1.05), rng.uniform(0, width), rng.uniform(0, height)
    if len(photo.hands) and rng.random() < 0.6:
        x_min, y_min, x_max, y_max = photo.hands[rng.integers(len(photo.hands)), :4]
        size = max(x_max - x_min, y_max - y_min)
        if rng.random() < 0.5:
            side = float(np.clip(size * rng.uniform(1.5, 12), 0.15 * longest, 1.1 * longest))
        side = max(side, 1.3 * size)
        cx, cy = np.array([x_min + x_max, y_min + y_max]) / 2 + rng.uniform(-0.35, 0.35, 2) * side
    sides = side * np.array([1, rng.uniform(0.6, 1) if rng.random() < 0.4 else 1])
    dx, dy = (sides if rng.random() < 0.5 else sides[::-1]) / 2
    window = max(cx - dx, 0), max(cy - dy, 0), min(cx + dx, width), min(cy + dy, height)
    is_complete = rng.random() < 0.2 or min(window[2] - window[0], window[3] - window[1]) < 32
    return (0, 0, width, height) if is_complete else window


class Sample(NamedTuple):
    """An input of the network: two photographs, matrices and labels; `patch` is centre and radius of the second one."""

    index: int
    matrix: np.ndarray
    window: tuple[float, ...]
    pasted: int
    pasted_matrix: np.ndarray
    patch: tuple[float, float, float]
    hands: np.ndarray
    no_hands: np.ndarray
    people: np.ndarray
    no_people: np.ndarray
    weights: tuple[float, float]


def sample(photos: list[Photograph], choose: Callable[[], int], rng: np.random.Generator) -> Sample:
    """Return a random window of a photograph, often with a hand of another one."""
    index = choose()
    photo = photos[index]
    height, width = photo.rgb.shape[:2]
    window, chance, mirrored = random_window(photo, rng), rng.random(), rng.random() < 0.5
    turn = rng.uniform(-0.5, 0.5) if chance < 0.43 else 0.0
    if chance < 0.08:
        turn += rng.choice([math.pi / 2, -math.pi / 2, math.pi])
    matrix, _ = to_input(window, turn, mirrored=mirrored)
    if turn and rng.random() < 0.5:
        window = 0, 0, width, height  # what is visible
    hands = placed_hands(photo.hands, matrix, turn, mirrored=mirrored)
    _, seen = shares(photo.hands[:, :4], window)
    no_hands = np.r_[placed(photo.no_hands, matrix), hands[(seen > 0.05) & (seen < 0.4), :4]]
    hands = hands[seen >= 0.4]
    people, unsure = (placed(shares(boxes, window)[0], matrix) for boxes in (photo.people, photo.no_people))
    seen, seen_unsure = (shares(boxes, window)[1] for boxes in (photo.people, photo.no_people))
    no_people = np.r_[people[(seen > 0.02) & (seen <= 0.35)], unsure[seen_unsure > 0.02]]
    people, visible = shares(people[seen > 0.35], (0, 0, INPUT_PX, INPUT_PX))
    no_people = np.r_[no_people, people[(visible > 0.02) & (visible <= 0.35)]]
    weight = GUESSED if photo.set == "unlabelled" else 1.0
    weights = weight, weight * (photo.has_people and abs(turn) < 0.3)
    pasted, pasted_matrix, patch = index, matrix, (-1e4, -1e4, 1.0)
    if rng.random() < PASTED and len(photos[other := choose()].hands):
        hand = photos[other].hands[[rng.integers(len(photos[other].hands))]]
        size = float((hand[0, 2:4] - hand[0, :2]).max())
        if size >= 20:
            scale = math.exp(rng.uniform(math.log(12), math.log(min(150, 2.5 * size)))) / size
            turn, mirrored = rng.uniform(-1, 1) * (math.pi if rng.random() < 0.5 else 0.5), rng.random() < 0.5
            middle, at = (hand[0, :2] + hand[0, 2:4]) / 2, rng.uniform(0.1, 0.9, 2) * INPUT_PX
            half = INPUT_PX / scale / 2
            pasted, pasted_matrix = other, to_input((*middle - half, *middle + half), turn, mirrored=mirrored)[0]
            pasted_matrix[:, 2] += at - INPUT_PX / 2
            rows = placed_hands(photos[other].hands, pasted_matrix, turn, mirrored=mirrored)
            radius = 0.72 * scale * size * rng.uniform(0.9, 1.5)
            patch = (*at, radius)
            far, reach = distances(hands, at)
            no_hands = np.r_[no_hands, hands[(far < radius + reach) & (far + 0.6 * reach >= radius), :4]]
            hands = hands[far >= radius + reach]
            far, reach = distances(rows, at)
            no_hands = np.r_[no_hands, rows[(far >= radius / 2) & (far < radius + reach), :4]]
            hands = np.r_[hands, rows[far < radius / 2]]
    people = people[visible > 0.35]
    return Sample(index, matrix, window, pasted, pasted_matrix, patch, hands, no_hands, people, no_people, weights)


def distances(hands: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distances of hands from a point, and half their sizes."""
    centres, sizes = (hands[:, :2] + hands[:, 2:4]) / 2, (hands[:, 2:4] - hands[:, :2]).max(1, initial=0)
    return np.linalg.norm(centres - at, axis=1), sizes / 2


def padded(rows: list[np.ndarray], count: int) -> np.ndarray:
    """Return arrays (N, C) as one array (B, count, C)."""
    result = np.zeros((len(rows), count, rows[0].shape[1]), np.float32)
    for own, values in zip(result, rows, strict=True):
        own[: min(len(values), count)] = values[:count]
    return result


def batches(photos: list[Photograph], chosen: np.ndarray, seed: int) -> Iterator[list[np.ndarray]]:
    """Yield batches of samples, column by column."""
    rng = np.random.default_rng(seed)
    share = np.array([1.0 if photos[i].set == "unlabelled" else 2.5 for i in chosen])
    counts = dict(zip(("hands", "no_hands", "people", "no_people"), (MAX_HANDS,) * 2 + (MAX_PEOPLE,) * 2, strict=True))
    while True:
        order = iter(rng.choice(chosen, 2 * BATCH, p=share / share.sum()).tolist())
        rows = [sample(photos, order.__next__, rng) for _ in range(BATCH)]
        yield [
            padded(column, counts[name])
            if name in counts
            else np.array(column, int if name in ("index", "pasted") else np.float32)
            for name, column in zip(Sample._fields, map(list, zip(*rows, strict=True)), strict=True)
        ]


class Images:
    """All photographs on the device, in three sizes."""

    def __init__(self, photos: list[Photograph]) -> None:
        full = torch.zeros(len(photos), 3, MAX_PX, MAX_PX, dtype=torch.uint8)
        for own, photo in zip(full, photos, strict=True):
            own[:, : photo.rgb.shape[0], : photo.rgb.shape[1]] = torch.from_numpy(photo.rgb).permute(2, 0, 1)
        self.sizes = [full.to(DEVICE)]
        for _ in range(2):
            smaller = [functional.avg_pool2d(part.float(), 2).round().byte() for part in self.sizes[-1].split(64)]
            self.sizes.append(torch.cat(smaller))

    def warped(self, indices: Tensor, matrices: Tensor, windows: Tensor | None = None) -> Tensor:
        """Return inputs (B, 3, INPUT_PX, INPUT_PX), black outside the windows."""
        count = len(indices)
        complete = torch.eye(3, device=DEVICE).repeat(count, 1, 1)
        complete[:, :2] = matrices
        back = torch.linalg.inv(complete)[:, :2]
        y, x = torch.meshgrid(*(torch.arange(INPUT_PX, device=DEVICE) + 0.5,) * 2, indexing="ij")
        points = torch.stack([x, y, torch.ones_like(x)], 2).reshape(-1, 3) @ back.transpose(1, 2)
        points = points.reshape(count, INPUT_PX, INPUT_PX, 2)
        scale, result = torch.det(back[:, :, :2]).abs().sqrt(), torch.empty(count, 3, INPUT_PX, INPUT_PX, device=DEVICE)
        level = (scale >= 1.5).long() + (scale >= 3).long()
        for number, images in enumerate(self.sizes):
            own = (level == number).nonzero()[:, 0]
            if len(own):
                grid = points[own] * 2 / MAX_PX - 1
                result[own] = functional.grid_sample(images[indices[own]].float(), grid, align_corners=False)
        if windows is not None:
            low, high = windows[:, None, None, :2], windows[:, None, None, 2:]
            result *= ((points > low) & (points < high)).all(3)[:, None]
        return result

    def of_batch(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the inputs of a batch: both photographs with changed light, colour and sharpness."""
        images = self.warped(batch["index"], batch["matrix"], batch["window"])
        pasted = self.warped(batch["pasted"], batch["pasted_matrix"])
        cx, cy, radius = (value[:, None, None] for value in batch["patch"].unbind(1))
        at = torch.arange(INPUT_PX, device=DEVICE) + 0.5
        distance = ((at - cx) ** 2 + (at[:, None] - cy) ** 2).sqrt()
        share = ((radius - distance) / (0.12 * radius).clamp(min=1.5)).clamp(0, 1)[:, None]
        images = images * (1 - share) + pasted * share
        visible = images.sum(1, keepdim=True) > 0

        def random(low: float, high: float, often: float = 1.0, channels: int = 1) -> Tensor:
            values = low + (high - low) * torch.rand(len(images), channels, 1, 1, device=DEVICE)
            return values * (torch.rand(len(images), 1, 1, 1, device=DEVICE) < often)

        images = 255 * (images.clamp(min=0) / 255) ** torch.exp(random(-0.55, 0.55, 0.5))
        images = images * (1 + random(-0.35, 0.35, 0.3)) + random(-25, 25, 0.3)
        images = images * (1 + random(-0.18, 0.18, 0.35, 3))
        grey = images.mean(1, keepdim=True)
        images = torch.lerp(images, grey, random(1, 1, 0.08)) + (images - grey) * random(-0.5, 0.5, 0.2)
        images = torch.lerp(
            images, functional.avg_pool2d(functional.pad(images, (1,) * 4, "replicate"), 3, 1), random(0, 1, 0.25)
        )
        small = functional.interpolate(functional.avg_pool2d(images, 2), scale_factor=2, mode="bilinear")
        images = torch.lerp(images, small, random(0, 1, 0.15))
        return (images + random(2, 14, 0.25) * torch.randn_like(images)).clamp(0, 255) * visible


class Published(nn.Module):
    """Operators of the published network."""

    def __init__(self, arrays: Any, first: int, last: int, taps: tuple[int, ...]) -> None:
        super().__init__()
        self.operators, self.taps, self.convolutions = [], taps, nn.ModuleDict()
        for number, (kind, stride, activation) in list(enumerate(json.loads(str(arrays["operators"]))))[first:last]:
            self.operators.append((number, kind == "ADD", bool(activation)))
            if kind != "ADD":
                weight = torch.from_numpy(arrays[f"w{number}"])
                is_depthwise = kind == "DEPTHWISE_CONV_2D"
                weight = weight.permute(3, 0, 1, 2) if is_depthwise else weight.permute(0, 3, 1, 2)
                out, channels, size, _ = weight.shape
                groups = out if is_depthwise else 1
                own = nn.Conv2d(channels * groups, out, size, stride, groups=groups)
                own.weight.data, own.bias.data = weight.contiguous(), torch.from_numpy(arrays[f"b{number}"])
                self.convolutions[str(number)] = own

    def forward(self, values: Tensor) -> list[Tensor]:
        """Return the values after the operators of `taps`."""
        block, found = values, []
        for position, (number, is_sum, is_active) in enumerate(self.operators):
            if is_sum:
                values = block = block + values
            else:
                own = self.convolutions[str(number)]
                size, stride = values.shape[-1], own.stride[0]
                total = max((-(-size // stride) - 1) * stride + own.kernel_size[0] - size, 0)
                values = own(functional.pad(values, (total // 2, total - total // 2) * 2))
                if is_active:
                    values = functional.relu6(values)
                elif position + 1 == len(self.operators) or not self.operators[position + 1][1]:
                    block = values  # the end of a block without a sum
            if number in self.taps:
                found.append(values)
        return found


class Separable(nn.Module):
    """A residual block of a depthwise and a pointwise filter."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.depth = nn.Conv2d(channels, channels, size, padding=size // 2, groups=channels)
        self.point = nn.Conv2d(channels, channels, 1)

    def forward(self, values: Tensor) -> Tensor:
        """Return (N, C, H, W) for the same shape."""
        return functional.relu6(values + self.point(functional.relu6(self.depth(values))))


class Head(nn.Module):
    """Join three maps at the finest side, and predict the values of `PeopleNetwork` for each cell."""

    def __init__(self, channels: int = 64) -> None:
        super().__init__()
        self.mix = nn.ModuleList(nn.Conv2d(own, channels, 1) for own in (32, 96, 160))
        self.low, self.middle = Separable(channels, 3), Separable(channels, 3)
        self.fine, self.drop = nn.ModuleList(Separable(channels, size) for size in (5, 5, 3)), nn.Dropout2d(0.1)
        self.out = nn.Conv2d(channels, 11, 1)
        self.out.bias.data = torch.tensor([-4.0, *(0,) * 5, -4.0, *(0,) * 4])

    def forward(self, fine: Tensor, middle: Tensor, low: Tensor) -> Tensor:
        """Return (N, 11, SIDE, SIDE)."""
        values = self.low(functional.relu6(self.mix[2](low)))
        for mix, block, own in ((self.mix[1], self.middle, middle), (self.mix[0], self.fine[0], fine)):
            larger = functional.interpolate(values, size=own.shape[2:], mode="bilinear")
            values = block(functional.relu6(mix(own) + larger))
        return self.out(self.fine[2](self.fine[1](self.drop(values))))


class Network(nn.Module):
    """The published network up to its map, and the own trunk and head."""

    def __init__(self, arrays: Any) -> None:
        super().__init__()
        self.stem = Published(arrays, 0, STEM, (STEM - 1,)).requires_grad_(False)
        self.trunk, self.head = Published(arrays, STEM, TRUNK, TAPS), Head()

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, 11, SIDE, SIDE) for images (N, 3, INPUT_PX, INPUT_PX)."""
        (fine,) = self.stem(images / 127.5 - 1)
        return self.head(fine, *self.trunk(fine))


def cells_of(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return boxes (B, N, 4) as (4, B, N, 1, 1) in cells, and x and y of the cells (S, S)."""
    y, x = torch.meshgrid(*(torch.arange(SIDE, device=boxes.device) + 0.5,) * 2, indexing="ij")
    return boxes.permute(2, 0, 1)[..., None, None] / CELL, x, y


def loss_of_heat(logits: Tensor, heat: Tensor, weight: Tensor, *, late: bool) -> Tensor:
    """Return the focal loss of Zhou et al. 2019. Late in training, guessed labels are known to be incomplete."""
    p, is_peak = torch.sigmoid(logits.float()).clamp(1e-4, 1 - 1e-4), heat >= 0.999
    if late:
        weight = weight.where((weight != GUESSED) | (p.detach() < 0.4) | (heat > 0.5), 0.0)
    positive = -((1 - p) ** 2 * torch.log(p))[is_peak].sum()
    negative = -(weight * (1 - heat) ** 4 * p**2 * torch.log(1 - p))[~is_peak].sum()
    return (positive + negative) / is_peak.sum().clamp(min=1)


def heat_of(boxes: Tensor, valid: Tensor, width: Tensor, height: Tensor) -> tuple[Tensor, Tensor]:
    """Return the heat (B, S, S) of boxes (4, B, N, 1, 1) in cells, and the index of the box of each cell."""
    x = (torch.arange(SIDE, device=boxes.device) + 0.5)[None, None, None, :]
    y = x.transpose(2, 3)
    cx, cy = (boxes[0] + boxes[2]) / 2, (boxes[1] + boxes[3]) / 2
    heat = torch.exp(-(((x - cx) / width.clamp(min=0.55)) ** 2 + ((y - cy) / height.clamp(min=0.55)) ** 2) / 2)
    at_x, at_y = (at.clamp(0, SIDE - 0.01).floor() for at in (cx, cy))
    heat = torch.where((x.floor() == at_x) & (y.floor() == at_y), 1.0, heat) * valid
    return heat.max(1)


def loss_of_hands(values: Tensor, batch: dict[str, Tensor], *, late: bool) -> Tensor:
    """Return the loss of heat, centre, size and rotation of hands."""
    rows = batch["hands"]
    boxes, x, y = cells_of(rows[..., :4])
    (x_min, y_min, x_max, y_max), size = boxes, (boxes[2:] - boxes[:2]).amax(0)
    cx, cy = (x_min + x_max) / 2, (y_min + y_max) / 2
    shown = (boxes[2:].clamp(max=SIDE) - boxes[:2].clamp(min=0)).clamp(min=0).prod(0)
    near = (torch.stack([cx, cy]) > -1).all(0) & (torch.stack([cx, cy]) < SIDE + 1).all(0) & (size > 0)
    unclear = near & ((size * CELL < 7) | (shown < 0.4 * (boxes[2:] - boxes[:2]).prod(0)))
    inside = (x > x_min) & (x < x_max) & (y > y_min) & (y < y_max) | ((x - cx).abs() < 1) & ((y - cy).abs() < 1)
    (a, b, c, d), _, _ = cells_of(batch["no_hands"])
    ignored = (inside & unclear).any(1) | ((x > a) & (x < c) & (y > b) & (y < d)).any(1)
    heat, which = heat_of(boxes, near & ~unclear, size / 7, size / 7)
    weight = batch["weights"][:, 0, None, None] * ~ignored
    is_hand = heat > 0.5
    weight = torch.where(is_hand, weight.clamp(min=0.5), weight)
    own_x, own_y, width, sine, cosine, known = (
        rows[..., i].gather(1, which.flatten(1)).reshape(heat.shape) for i in range(4, 10)
    )
    counts = is_hand * (0.3 + 0.7 * known)
    target = torch.stack([own_x / CELL - x, own_y / CELL - y], 1)
    offset = functional.smooth_l1_loss(values[:, 1:3].float(), target, reduction="none", beta=0.3).sum(1)
    log_width = torch.log((width / CELL).clamp(min=0.05))
    off_size = functional.smooth_l1_loss(values[:, 3].float(), log_width, reduction="none", beta=0.1)
    direction = functional.normalize(values[:, 4:6].float(), dim=1)
    turn = (1 - (direction * torch.stack([sine, cosine], 1)).sum(1)) * known * is_hand
    at_hands = ((8 * offset / (width / CELL).clamp(min=1) + 4 * off_size) * counts).sum() + 2 * turn.sum()
    return loss_of_heat(values[:, 0], heat, weight, late=late) + at_hands / counts.sum().clamp(min=1)


def loss_of_people(values: Tensor, batch: dict[str, Tensor], *, late: bool) -> Tensor:
    """Return the loss of heat, centre and size of people."""
    boxes, x, y = cells_of(batch["people"])
    (x_min, y_min, x_max, y_max), (width, height) = boxes, boxes[2:] - boxes[:2]
    valid = (width > 0.6) & (height > 0.8)
    heat, which = heat_of(boxes, valid, width / 8, height / 8)
    (a, b, c, d), _, _ = cells_of(batch["no_people"])
    unsure = ((x - (a + c) / 2).abs() < (c - a) / 4 + 0.5) & ((y - (b + d) / 2).abs() < (d - b) / 4 + 0.5) & (c > a)
    small = (x > x_min) & (x < x_max) & (y > y_min) & (y < y_max) & ~valid
    counts = batch["weights"][:, 1, None, None]
    heat = heat * (counts > 0)
    is_person = heat > 0.4
    weight = counts * ~(unsure.any(1) | small.any(1))
    weight = torch.where(is_person, weight.clamp(min=0.5), weight)
    cx, cy, width, height = (
        own[:, :, 0, 0].gather(1, which.flatten(1)).reshape(heat.shape)
        for own in ((x_min + x_max) / 2, (y_min + y_max) / 2, width, height)
    )
    size = torch.stack([width, height], 1).clamp(min=0.3)
    offset = functional.smooth_l1_loss(
        values[:, 7:9].float() / size.clamp(min=1),
        torch.stack([cx - x, cy - y], 1) / size.clamp(min=1),
        reduction="none",
        beta=0.1,
    )
    off_size = functional.smooth_l1_loss(values[:, 9:11].float(), torch.log(size), reduction="none", beta=0.1)
    at_people = 4 * ((offset + off_size).sum(1) * is_person).sum() / is_person.sum().clamp(min=1)
    return loss_of_heat(values[:, 6], heat, weight, late=late) + at_people


@torch.no_grad()
def report(network: Network, photos: list[Photograph], images: Images, left_out: str | None) -> str:
    """Return the share of clear hands and people with a peak near their centre, and the number of other peaks."""
    lines: list[str] = []
    for what, first in (("hands", 0), ("people", 6)):
        found = clear = others = 0
        for index, photo in enumerate(photos):
            if photo.set != (left_out or photo.set) or photo.set == "unlabelled":
                continue
            height, width = photo.rgb.shape[:2]
            matrix, _ = to_input((0, 0, width, height), 0.0, mirrored=False)
            shown = images.warped(
                torch.tensor([index], device=DEVICE), torch.tensor(matrix[None], device=DEVICE).float()
            )
            values = network(shown)[0, first:].float()
            p = torch.sigmoid(values[0])
            peaks = ((p == functional.max_pool2d(p[None], 3, 1, 1)[0]) & (p > 0.2)).nonzero()
            y, x = peaks.T
            centres = ((peaks[:, [1, 0]] + 0.5 + values[1:3, y, x].T) * CELL).cpu().numpy()
            boxes = placed((photo.hands if what == "hands" else photo.people)[:, :4], matrix)
            ignored = placed(photo.no_hands if what == "hands" else photo.no_people, matrix)
            near = [
                [np.abs(centre - (b[:2] + b[2:]) / 2).max() < 0.3 * (b[2:] - b[:2]).max() for centre in centres]
                for b in boxes
            ]
            found, clear = found + sum(map(any, near)), clear + len(boxes)
            own = np.array(near).reshape(len(boxes), len(centres)).any(0)
            unclear = [any((centre > b[:2]).all() and (centre < b[2:]).all() for b in ignored) for centre in centres]
            others += int((~own & ~np.array(unclear, bool)).sum())
        lines.append(f"{found} of {clear} {what}, {others} other peaks")
    return "; ".join(lines)


def train(file: Path, out: Path, left_out: str | None, seconds: float) -> None:
    """Train the network and write its weights, averaged over the last steps."""
    arrays = np.load(file, allow_pickle=True)
    photos = [Photograph(*row) for row in arrays["photographs"]]
    photos = [photo._replace(rgb=cv2.imdecode(photo.rgb, cv2.IMREAD_COLOR)[..., ::-1].copy()) for photo in photos]
    chosen = np.flatnonzero([photo.set != left_out for photo in photos])
    context = multiprocessing.get_context("fork")
    queue: Any = context.Queue(8)

    def feed(seed: int) -> None:
        for batch in batches(photos, chosen, seed):
            queue.put(batch)

    for seed in range(3):
        context.Process(target=feed, args=(seed,), daemon=True).start()
    torch.manual_seed(0)
    images, network = Images(photos), Network(arrays).to(DEVICE)
    groups = [(network.head, RATE, 2e-3), (network.trunk, 0.15 * RATE, 1e-4)]
    optimiser = torch.optim.AdamW([{"params": m.parameters(), "lr": lr, "weight_decay": d} for m, lr, d in groups])
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.995)
    )
    start, step = time.monotonic(), 0
    while (done := (time.monotonic() - start) / seconds) < 1:
        for group, (_, rate, _) in zip(optimiser.param_groups, groups, strict=True):
            group["lr"] = rate * min(1, step / 100) * (0.51 + 0.5 * math.cos(math.pi * done))
        batch = dict(zip(Sample._fields, (torch.from_numpy(own).to(DEVICE) for own in queue.get()), strict=True))
        with torch.autocast(DEVICE, torch.bfloat16):
            values = network(images.of_batch(batch))
        loss = loss_of_hands(values, batch, late=done > 0.25) + 0.7 * loss_of_people(values, batch, late=done > 0.25)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        average.update_parameters(network)
        step += 1
        if step % 500 == 0:
            print(f"{step * BATCH} images, loss {float(loss.detach()):.2f}", flush=True)
    print(f"{left_out or 'all sets'}: {report(average.module.eval(), photos, images, left_out)}", flush=True)
    weights = {name: value.half().cpu().numpy() for name, value in average.module.state_dict().items()}
    np.savez(out, **{name: value for name, value in weights.items() if not name.startswith("stem")})


def export(pack_file: Path, weights: Path, target: Path) -> None:
    """Write the own network with trained weights as a TFLite file."""
    from sonjit.explanations.tflite import Graph

    network = Network(np.load(pack_file, allow_pickle=True))
    trained = {name: torch.from_numpy(values.astype(np.float32)) for name, values in np.load(weights).items()}
    network.load_state_dict(trained, strict=False)
    trunk, head = network.trunk, network.head
    graph = Graph((1, SIDE, SIDE, head.mix[0].in_channels))

    def convolved(values: int, own: nn.Conv2d, *, is_active: bool = False) -> int:
        weights, bias = (tensor.detach().numpy() for tensor in (own.weight, own.bias))
        return graph.convolve(values, weights, bias, own.stride[0], is_active=is_active)

    def separable(values: int, block: Separable) -> int:
        filtered = convolved(values, block.depth, is_active=True)
        return graph.add(values, convolved(filtered, block.point), is_active=True)

    fine = values = block = 0
    taps: list[int] = []
    for position, (number, is_sum, is_active) in enumerate(trunk.operators):
        if is_sum:
            values = block = graph.add(block, values)
        else:
            values = convolved(values, trunk.convolutions[str(number)], is_active=is_active)
            if not is_active and not any(following for _, following, _ in trunk.operators[position + 1 : position + 2]):
                block = values
        taps += [values] if number in TAPS else []
    values = separable(convolved(taps[1], head.mix[2], is_active=True), head.low)
    for mix, block_of, own in ((head.mix[1], head.middle, taps[0]), (head.mix[0], head.fine[0], fine)):
        larger = graph.enlarge(values, graph.shapes[own][1])
        values = separable(graph.add(convolved(own, mix), larger, is_active=True), block_of)
    values = separable(separable(values, head.fine[1]), head.fine[2])
    target.write_bytes(graph.file([convolved(values, head.out)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("pack", "train", "export"))
    parser.add_argument("pack", type=Path)
    parser.add_argument("files", type=Path, nargs="*", help="weights, and the network to export")
    parser.add_argument("--data", type=Path, default=Path("../shared/real"))
    parser.add_argument("--without", choices=SETS)
    parser.add_argument("--seconds", type=float, default=250.0)
    options = parser.parse_args()
    more = {
        "pack": [options.data],
        "train": [*options.files, options.without, options.seconds],
        "export": options.files,
    }
    {"pack": pack, "train": train, "export": export}[options.command](options.pack, *more[options.command])


if __name__ == "__main__":
    main()
