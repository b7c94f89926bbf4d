"""The recipe `cam`: a small classifier of left and right hands whose class activation maps say where the hand is.

It learns from crops of a video whose hands are known: each shows one hand with its surroundings, or none. It is never
told where in the crop the hand is; those boxes only evaluate the maps afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from sonjit.arrays import FloatArray, Image
from sonjit.errors import InputError
from sonjit.geometry.boxes import RotatedBox, crop, points_into_crop
from sonjit.media import open_source
from sonjit.networks import Network, create_network
from sonjit.results import Box
from sonjit.training.hands.samples import exported
from sonjit.training.loop import WEIGHTS, TrainingSettings, train
from sonjit.training.recipes import TrainingRequest, settings_from


@dataclass(frozen=True)
class CamSettings(TrainingSettings):
    """Settings of the recipe.

    Attributes:
        network: one of `list_networks("cam-*")`.
        pooling: gap or gmp.
        batch: crops in a step.
        size: side of a crop in pixels.
        context: side of a crop as a multiple of the hand's.
        segment: frames of which the first three quarters are for training and the last one is held out.
    """

    steps: int = 200
    learning_rate: float = 2e-3
    network: str = "cam-small"
    pooling: str = "gap"
    batch: int = 32
    size: int = 96
    context: float = 2.0
    segment: int = 60

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        super().__post_init__()
        if self.batch < 1 or self.size < 16 or self.segment < 4 or not 1 <= self.context <= 4:
            raise InputError("give batch >= 1, size >= 16, segment >= 4 and context in 1..4")


def train_cam(request: TrainingRequest) -> dict[str, object]:
    """Train on the bundled clip, or on a video (`images`) with its truth (`data`); gives the share of right classes."""
    settings = settings_from(CamSettings, request.settings)
    with resources.as_file(resources.files("sonjit") / "assets") as assets:
        clip, truth = request.images or assets / "demo.mp4", request.data or assets / "demo.json"
        crops = HandCrops(clip, truth, size=settings.size, context=settings.context, segment=settings.segment)
    network = train_classifier(crops, settings, request)
    test = crops.test()
    results: dict[str, object] = {
        "weights": request.out / WEIGHTS, "accuracy": accuracy(network, test), "held_out_crops": len(test),
    }  # fmt: skip
    results |= exported(network, "cam", settings.size, request)
    return results


def train_classifier(crops: HandCrops, settings: CamSettings, request: TrainingRequest | None = None) -> Network:
    """The trained network, in eval mode on the CPU."""
    torch.manual_seed(settings.seed)
    device = request.device if request else "cpu"
    weights = request.weights if request else None
    network = create_network(settings.network, weights, classes=len(CLASSES), pooling=settings.pooling)
    network.to(device).train()

    def losses(network: Network, batch: tuple[Tensor, Tensor]) -> Mapping[str, Tensor]:
        images, labels = batch
        return {"cross_entropy": cross_entropy(network(images)["scores"], labels, label_smoothing=0.05)}

    batch = partial(draw_batch, crops=crops, count=settings.batch)
    if request is None:
        train(network, batch, losses, settings)
    else:
        test = crops.test()
        train(
            network, batch, losses, settings, out=request.out, inputs={"classes": CLASSES}, progress=request.progress,
            evaluate=lambda model: {"accuracy": accuracy(model, test, device)}, higher_is_better=True,
        )  # fmt: skip
    return network.cpu().eval()


def draw_batch(rng: np.random.Generator, crops: HandCrops, count: int) -> tuple[Tensor, Tensor]:
    """Crops (B, 3, size, size) and their classes (B,)."""
    drawn = crops.draw(rng, count)
    return images_from(drawn), torch.tensor([one.label for one in drawn])


@torch.inference_mode()
def accuracy(network: Network, crops: Sequence[Crop], device: str = "cpu") -> float:
    """Share of crops whose class is found, 0..1."""
    right = 0
    for start in range(0, len(crops), 64):
        part = crops[start : start + 64]
        best = network(images_from(part).to(device))["scores"].argmax(1).cpu()
        right += int((best == torch.tensor([one.label for one in part])).sum())
    return right / len(crops)


def images_from(crops: Sequence[Crop]) -> Tensor:
    """(B, 3, size, size) float32 in 0..1."""
    stacked = np.stack([one.image for one in crops])  # (B, size, size, 3)
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).float() / 255


CLASSES = ("Left", "Right", "none")
_LONG_SIDE_PX = 320  # of the frames that are kept: crops are smaller still
_TRIES = 10  # places for a held-out crop before it is given up, where the other hand is near
_MARGIN = 0.12  # skin reaches beyond the keypoints by this share of the hand's size


@dataclass(frozen=True, eq=False)
class Crop:
    """One example.

    Attributes:
        image: (size, size, 3) uint8.
        label: index into `CLASSES`.
        box: the hand's in pixels of the crop; None without a hand.
    """

    image: Image
    label: int
    box: Box | None


class HandCrops:
    """Crops of a clip whose hands are known.

    Args:
        clip: a video.
        truth: JSON with "frames", each with "index" and "hands" of "handedness" and "xy", (21, 2) in pixels.
        size: side of a crop in pixels.
        context: side of a crop as a multiple of the hand's.
        segment: frames of which the first three quarters are for training and the last one is held out.
    """

    def __init__(self, clip: Path, truth: Path, *, size: int = 96, context: float = 2.0, segment: int = 60) -> None:
        self._size, self._context = size, context
        try:
            frames = json.loads(truth.read_text("utf-8"))["frames"]
            hands = {
                int(frame["index"]): [
                    (CLASSES.index(hand["handedness"]), np.array(hand["xy"], float)) for hand in frame["hands"]
                ]
                for frame in frames
            }
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{truth}: no frames with hands of handedness and xy in it ({error})") from None
        self._images: dict[int, NDArray[np.uint8]] = {}
        self._hands: dict[int, list[tuple[int, FloatArray]]] = {}
        with open_source(clip) as source:
            for frame in source:
                if frame.index in hands:
                    image, scale = _shrunk(frame.rgb)
                    self._images[frame.index] = image
                    self._hands[frame.index] = [(label, xy * scale) for label, xy in hands[frame.index]]
        quarter = segment * 3 // 4
        self.training = [index for index in sorted(self._images) if index % segment < quarter]
        self.held_out = [index for index in sorted(self._images) if index % segment >= quarter]
        if not self.training or not self.held_out:
            raise InputError(f"{clip} is too short for segments of {segment} frames; set a smaller one")

    def draw(self, rng: np.random.Generator, count: int) -> list[Crop]:
        """Crops of the training set: any place, size, tilt and side, in other light."""
        crops: list[Crop] = []
        while len(crops) < count:
            index = int(rng.choice(self.training))
            hands = self._hands[index]
            which = int(rng.integers(len(hands) + 1)) if hands else 0  # the last is no hand
            found = self._crop(index, which, rng, context=float(rng.uniform(0.8, 1.2)), tilt=0.35)
            if found is not None:
                found = _mirrored(found) if rng.random() < 0.5 else found
                light = rng.uniform(0.75, 1.25, 3) * rng.uniform(0.8, 1.2)
                crops.append(Crop(np.clip(found.image * light, 0, 255).astype(np.uint8), found.label, found.box))
        return crops

    def test(self, *, none: bool = False) -> list[Crop]:
        """Every hand of the held-out frames, and the same mirrored; with `none`, as many crops without a hand."""
        crops: list[Crop] = []
        for index in self.held_out:
            for which in range(len(self._hands[index])):
                number = len(self._hands[index]) if none else which
                tries = (
                    self._crop(index, number, np.random.default_rng((index, which, one)), context=1.0, tilt=0.0)
                    for one in range(_TRIES)
                )
                found = next((one for one in tries if one is not None), None)
                crops += [] if found is None else [found, _mirrored(found)]
        return crops

    def _crop(self, index: int, which: int, rng: np.random.Generator, *, context: float, tilt: float) -> Crop | None:
        """One hand of a frame or, beyond the last, none.

        None where the hand has left the image, or another one reaches into the crop.
        """
        rgb, hands, size = self._images[index], self._hands[index], self._size
        height, width = rgb.shape[:2]
        _, points = hands[min(which, len(hands) - 1)] if hands else (0, np.array([[0.0, 0.0], [width / 4, width / 4]]))
        box = _around(points)
        hand = max(box[2] - box[0], box[3] - box[1])
        side = self._context * context * hand
        if which < len(hands):
            free = max(side - 1.2 * hand, 0) / 2
            cx, cy = (np.array(box).reshape(2, 2).mean(0) + rng.uniform(-free, free, 2)).tolist()
        else:
            cx, cy = rng.uniform(0, width), rng.uniform(0, height)
        area = RotatedBox(cx, cy, side, side, float(rng.uniform(-tilt, tilt)))
        for number, (_, xy) in enumerate(hands):
            x_min, y_min, x_max, y_max = _around(points_into_crop(xy, area, size))
            if number != which and x_max > 0 and y_max > 0 and x_min < size and y_min < size:
                return None
        image = crop(rgb, area, size, size)
        if which >= len(hands):
            return Crop(image, CLASSES.index("none"), None)
        label, xy = hands[which]
        if not ((xy >= 0) & (xy < (width, height))).all():
            return None
        x_min, y_min, x_max, y_max = np.clip(_around(points_into_crop(xy, area, size)), 0, size).tolist()
        return Crop(image, label, (x_min, y_min, x_max, y_max))


def _shrunk(rgb: Image) -> tuple[NDArray[np.uint8], float]:
    """A frame of at most `_LONG_SIDE_PX`, and by what its coordinates shrink."""
    import cv2

    scale = min(_LONG_SIDE_PX / max(rgb.shape[:2]), 1.0)
    size = round(rgb.shape[1] * scale), round(rgb.shape[0] * scale)
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8), scale


def _mirrored(one: Crop) -> Crop:
    """The mirror image, which shows the other hand."""
    box = one.box
    if box is not None:
        size = one.image.shape[1]
        box = size - box[2], box[1], size - box[0], box[3]
    label = {"Left": "Right", "Right": "Left"}.get(CLASSES[one.label], CLASSES[one.label])
    return Crop(np.ascontiguousarray(one.image[:, ::-1]), CLASSES.index(label), box)


def _around(points: FloatArray) -> Box:
    """Box around a hand's keypoints (K, 2) with the skin about them."""
    low, high = points.min(0), points.max(0)
    margin = _MARGIN * float((high - low).max())
    x_min, y_min, x_max, y_max = *(low - margin).tolist(), *(high + margin).tolist()
    return x_min, y_min, x_max, y_max
