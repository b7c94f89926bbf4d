"""Train masks of hands, held objects and arms (recipe `hand-masks`) on rendered hands.

The trunk is the published hand network, frozen. The pyramid on it learns from the instance masks of `sonjit synth
--masks`. Each hand is cut out as the detector cuts it out, in a larger box.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the field's name

from sonjit._util import BoolArray, Float32Array, Image, InputError
from sonjit._util.settings import Range
from sonjit.geometry.boxes import crop, crop_matrix
from sonjit.media.drawing.instances import PERSON_COLOURS, draw_tint
from sonjit_lab.datasets import Instance, Sample, open_dataset
from sonjit_lab.datasets.sample import name_of, ordered_hand
from sonjit_lab.datasets.splits import hold_out, identities
from sonjit_lab.networks.modes import evaluates
from sonjit_lab.networks.registry import create_network
from sonjit_lab.papers.mediapipe_hands.network import MASK_STRIDE, PARTS, HandMaskNetwork, wide_box
from sonjit_lab.training.augment import UNCHANGED, Augmentation, AugmentedSettings, draw_augmentation
from sonjit_lab.training.batches import epoch_indices
from sonjit_lab.training.building_blocks import MAX_CROPS, evenly_spaced, export_trained
from sonjit_lab.training.hands.samples import report_split
from sonjit_lab.training.loop import WEIGHTS, fit
from sonjit_lab.training.recipes import TrainingRequest, settings_from
from sonjit_lab.training.settings import Count, ImageBatch, Steps, WideWidth

_INSTANCES = "masks/instances.json"
_REACH_PX = 5  # distance of an object from the hand, in pixels of the masks' crop, at which it is still held
_MAX_EVALUATED = 200
_PICTURE = "masks of hand, object and arm: labels on the left, predictions on the right"
_COLUMNS = 8


@dataclass(frozen=True)
class HandMaskSettings(AugmentedSettings):
    """Settings of the recipe."""

    steps: Steps = 2000
    learning_rate: float = 3e-3
    warmup: Count = 20
    freeze: tuple[str, ...] = ("hand",)  # prefixes of weights that are not trained; the default is the trunk
    trunk: str = "full"  # hand network whose trunk is used: `full` or `lite`
    channels: WideWidth = 48  # channels of the pyramid
    # group normalisation needs more than one pixel
    size: Annotated[int, Range(64, 4096, step=32)] = 160  # side of the crops in pixels, a multiple of 32 from 64
    batch: ImageBatch = 16  # number of hands in a step
    # share of the images to evaluate on: those of some subjects, else of some recordings, else the last ones
    held_out: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.held_out < 1:
            raise InputError(f"held_out={self.held_out}: must be above 0 and below 1")


class MaskedHand(NamedTuple):
    """One hand of an image."""

    sample: Sample  # image with the hands' keypoints
    hand: int  # index of the hand in it
    others: tuple[Instance, ...]  # instances of the image's other parts: arms and objects


class MaskBatch(NamedTuple):
    """Crops and their ground truth."""

    images: Tensor  # (B, 3, S, S) RGB in 0..1
    masks: Tensor  # (B, 3, S / 4, S / 4) share of each pixel that belongs to hand, object and arm
    inside: Tensor  # (B, 1, S / 4, S / 4) share of each pixel that is inside the image


def train_hand_masks(request: TrainingRequest) -> Mapping[str, object]:
    """Train the masks; the results are "weights", the numbers of hands, and `evaluate` of the held-out hands."""
    settings = settings_from(HandMaskSettings, request.settings)
    assert request.data is not None
    hands = read_hands(request.data)
    training, held_out = split_hands(hands, settings.held_out)
    split = report_split([hand.sample for hand in training], [hand.sample for hand in held_out])
    if not training or not held_out:
        raise InputError(f"{request.data} contains hands in one image; training requires at least 2 images")
    torch.manual_seed(settings.seed)
    network = create_network(
        "hand-masks", request.weights, trunk=settings.trunk, channels=settings.channels, size=settings.size
    )
    assert isinstance(network, HandMaskNetwork)
    if request.weights is None:
        network.start_from_published()
    metrics = fit(
        request,
        network.to(request.device),
        partial(draw_batch, hands=training, settings=settings),
        losses,
        settings,
        inputs=request.inputs() | split.inputs(),
        higher_is_better=True,
        evaluate=partial(evaluate, hands=held_out[:_MAX_EVALUATED], batch=settings.batch),
        pictures=partial(pictures, hands=evenly_spaced(held_out, MAX_CROPS)),
    )
    counts = {"hands": len(training), "held_out": len(held_out), "split": split.text}
    results: dict[str, object] = {"weights": request.out / WEIGHTS, **counts, **metrics}
    return results | export_trained(network, request)


def read_hands(folder: Path) -> list[MaskedHand]:
    """Return all hands of a folder of `sonjit synth --masks`, or of all such folders in it, in image order."""
    files = (folder / _INSTANCES, *sorted(folder.glob(f"*/{_INSTANCES}")))
    folders = [file.parents[1] for file in files if file.is_file()]
    if not folders:
        raise InputError(f"{folder} contains no {_INSTANCES}. Render it with sonjit synth --masks")

    def path_of(sample: Sample) -> Path:
        assert isinstance(sample.image, Path)
        return sample.image.resolve()

    hands: list[MaskedHand] = []
    for part in folders:
        instances = open_dataset("folder", part / _INSTANCES, images=str(part / "images"))
        instances_by_image = {path_of(sample): sample.instances for sample in instances}
        hands += [
            MaskedHand(
                sample,
                index,
                tuple(item for item in instances_by_image.get(path_of(sample), ()) if item.kind == "object"),
            )
            for sample in open_dataset("folder", part)
            for index, instance in enumerate(ordered_hand(item, name_of(sample)) for item in sample.instances)
            if instance and instance.keypoints_px is not None and np.isfinite(instance.keypoints_px).all()
        ]
    if not hands:
        raise InputError(f"{folder} contains no hand")
    return hands


def split_hands(hands: Sequence[MaskedHand], held_out: float) -> tuple[list[MaskedHand], list[MaskedHand]]:
    """Return the hands for training and about a share to evaluate on, see `hold_out`. An image is on one side."""
    (chosen,) = hold_out([identities([hand.sample for hand in hands])], held_out)
    rest = np.setdiff1d(np.arange(len(hands)), chosen)
    return [hands[number] for number in rest], [hands[number] for number in chosen]


def draw_batch(rng: np.random.Generator, hands: Sequence[MaskedHand], settings: HandMaskSettings) -> MaskBatch:
    """Return augmented crops of a step."""
    chosen = [hands[int(index)] for index in epoch_indices(rng, len(hands), settings.batch)]
    return to_batch([cut_hand(hand, settings.size, draw_augmentation(settings.augmentation, rng)) for hand in chosen])


def to_batch(crops: Sequence[tuple[Image, Float32Array]]) -> MaskBatch:
    """Convert crops (S, S, 3) and their masks (4, S, S), hand, object, arm and inside, to tensors."""
    images = torch.from_numpy(np.stack([image for image, _ in crops]))
    masks = torch.from_numpy(np.stack([mask for _, mask in crops]))
    parts, inside = masks[:, : len(PARTS)], masks[:, len(PARTS) :]
    return MaskBatch(images.permute(0, 3, 1, 2) / 255, parts, inside)


def cut_hand(hand: MaskedHand, size: int, change: Augmentation = UNCHANGED) -> tuple[Image, Float32Array]:
    """Return a hand's crop (S, S, 3), and (4, S / 4, S / 4): masks of hand, held object and arm, and of the image."""
    rgb, instance = hand.sample.rgb(), hand.sample.instances[hand.hand]
    ordered, hand_mask = ordered_hand(instance), instance.mask()
    assert ordered is not None
    points = ordered.keypoints_px
    assert points is not None
    if hand_mask is None:
        raise InputError(f"{hand.sample.id}: a hand has no mask; render it with sonjit synth --masks")
    wrist, box = points[0], change.box(wide_box(points))
    matrix, flags = crop_matrix(box, size, size), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP

    def cut(mask: BoolArray) -> Image:
        """Return a mask's crop (S, S), 0 to 255, with 0 outside the image."""
        return np.asarray(cv2.warpAffine(mask.astype(np.uint8) * 255, matrix, (size, size), flags=flags), np.uint8)

    def distance(mask: BoolArray) -> float:
        """Return the distance of the wrist from a mask in pixels; infinite for an empty mask."""
        rows, columns = np.nonzero(mask)
        return float(np.hypot(columns - wrist[0], rows - wrist[1]).min()) if len(rows) else float("inf")

    masks = [(part.category, mask) for part in hand.others if (mask := part.mask()) is not None]
    arm = min((mask for kind, mask in masks if kind == "arm"), key=distance, default=np.zeros_like(hand_mask))
    own_part, arm_part, image_part = (cut(mask) for mask in (hand_mask, arm, np.ones_like(hand_mask)))
    near = cv2.dilate(own_part, np.ones((2 * _REACH_PX + 1, 2 * _REACH_PX + 1), np.uint8)) > 0
    held = np.zeros_like(own_part)
    for part in (cut(mask) for kind, mask in masks if kind == "object"):
        if (part[near] > 0).any():
            held = np.maximum(held, part)
    small_size = size // MASK_STRIDE, size // MASK_STRIDE
    mirrored_masks = (change.mirrored(mask) for mask in (own_part, held, arm_part, image_part))
    small = [cv2.resize(mask, small_size, interpolation=cv2.INTER_AREA) for mask in mirrored_masks]
    image = change.image(np.asarray(crop(rgb, box, size, size), np.uint8))
    return image, np.stack(small).astype(np.float32) / np.float32(255)


def losses(network: HandMaskNetwork, batch: MaskBatch) -> Mapping[str, Tensor]:
    """Return the cross-entropy and the Dice loss of the masks inside the image."""
    outputs = network(batch.images)
    logits, shown = outputs["masks"], batch.inside
    entropy = F.binary_cross_entropy_with_logits(logits, batch.masks, reduction="none")
    probable = logits.sigmoid() * shown
    truth = batch.masks * shown
    dice = 1 - (2 * (probable * truth).sum((2, 3)) + 1) / ((probable + truth).sum((2, 3)) + 1)
    visible = (truth.sum((2, 3)) > 0).float()  # (B, 3): the loss of an absent part would teach that there is none
    return {
        "masks": (entropy * shown).sum() / (shown.sum() * len(PARTS)).clamp(min=1),
        "dice": 0.3 * (dice * visible).sum() / visible.sum().clamp(min=1),
    }


@evaluates
def pictures(network: HandMaskNetwork, hands: Sequence[MaskedHand]) -> dict[str, Image]:
    """Return the crops of hands with their masks: true ones on the left, predicted ones on the right."""
    crops = [cut_hand(hand, network.size) for hand in hands]
    probabilities = network(to_batch(crops).images.to(network.device))["masks"].sigmoid().float().cpu().numpy()
    cells: list[Image] = []
    for (image, truth), probable in zip(crops, probabilities, strict=True):
        cells += [_tinted(image, truth[: len(PARTS)]), _tinted(image, probable)]
    columns = min(len(cells), _COLUMNS)
    blank = np.zeros_like(cells[0])
    rows = [[*cells[start : start + columns], *[blank] * columns][:columns] for start in range(0, len(cells), columns)]
    return {_PICTURE: np.concatenate([np.concatenate(row, 1) for row in rows])}


def _tinted(rgb: Image, masks: Float32Array) -> Image:
    """Return a crop (S, S, 3) with the masks (3, h, w) of its parts in their colours."""
    cell = np.ascontiguousarray(rgb).copy()
    for mask, colour in zip(masks, PERSON_COLOURS[: len(PARTS)], strict=True):
        draw_tint(cell, mask, colour)
    return cell


@evaluates
def evaluate(network: HandMaskNetwork, hands: Sequence[MaskedHand], batch: int) -> dict[str, float]:
    """Return the mean IoU of the masks of each part where it is visible."""
    overlaps: dict[str, list[float]] = {part: [] for part in PARTS}
    for start in range(0, len(hands), batch):
        values = to_batch([cut_hand(hand, network.size) for hand in hands[start : start + batch]])
        outputs = network(values.images.to(network.device))
        predicted, truth = outputs["masks"].cpu() > 0, values.masks >= 0.5
        for index, part in enumerate(PARTS):
            both = (predicted[:, index] & truth[:, index]).sum((1, 2))
            either = (predicted[:, index] | truth[:, index]).sum((1, 2))
            visible = truth[:, index].any(2).any(1)
            overlaps[part] += (both / either.clamp(min=1))[visible].tolist()
    return {f"{part}_iou": float(np.mean(values)) for part, values in overlaps.items() if values}
