"""The recipe `rootnet`: RootNet on images of hands in front of a calibrated camera, for the depth of the wrist.

Source of the loss: Moon et al. 2019, Camera Distance-aware Top-down Approach, section 5.3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sonjit.arrays import Float32Array, FloatArray
from sonjit.datasets import Instance, Sample
from sonjit.errors import InputError
from sonjit.geometry.boxes import crop, points_into_crop
from sonjit.networks import create_network, load_checkpoint
from sonjit.networks.hands3d.internet import area_of_box, box_of_joints
from sonjit.networks.hands3d.rootnet import RootNet, depth_of_box
from sonjit.training.augment import Augmentation, AugmentationSettings, draw_augmentation
from sonjit.training.hands.samples import CropSettings, ExampleBatches, hand_data, known_hands, refuse_export
from sonjit.training.loop import WEIGHTS, train
from sonjit.training.recipes import TrainingRequest, settings_from

_MM = 1000.0
_CELL_PX = 4  # of the crop for each cell of the map
_AS_IS = Augmentation()


@dataclass(frozen=True)
class RootNetSettings(CropSettings):
    """Settings of the recipe.

    Attributes:
        depth: layers of the residual network.
        width: channels of its first stage.
        channels: of the maps that are enlarged.
        trunk_weights: torchvision's ResNet for ImageNet, to begin with; "" initialises it at random.
        input_scale: what white is before ImageNet's mean is taken off: 1, or 255 as in the release for bodies.
    """

    WITHOUT: ClassVar[tuple[str, ...]] = ("scale", "reverse")  # the depth follows from a hand's size

    depth: int = 50
    width: int = 64
    channels: int = 256
    trunk_weights: str = ""
    input_scale: float = 1.0


class RootExample(NamedTuple):
    """One hand's crop and its ground truth."""

    image: Float32Array  # (S, S, 3) in 0..1
    at_box_mm: float  # the depth at which the box measures a hand's
    coord: FloatArray  # (3,) x, y in cells, depth in mm
    seen: bool  # the root lies in the crop


def train_rootnet(request: TrainingRequest) -> Mapping[str, object]:
    """The recipe: see the module.

    Returns:
        The weights' path, and on hands held out `depth_error_mm`, the mean of the wrist's depth, and
        `by_size_error_mm`, that of taking every hand for one of the training set's mean size.

    Raises:
        InputError: data without hands before a camera, or weights that do not fit.
    """
    refuse_export(request)
    settings = settings_from(RootNetSettings, request.settings)
    torch.manual_seed(settings.seed)
    options = {name: getattr(settings, name) for name in ("input_scale", "depth", "width", "channels", "side")}
    network = create_network("rootnet", request.weights, **options)
    assert isinstance(network, RootNet)
    if settings.trunk_weights:
        network.load_official(load_checkpoint(Path(settings.trunk_weights)), strict=False)
    network.to(request.device).train()
    data = hand_data(request, settings, lambda sample: sample.camera is not None and bool(known_hands(sample)))
    make = partial(example_from_sample, side=settings.side, augmentation=settings.augmentation)

    batch = ExampleBatches(data.training, make, _tensors, settings.batch)

    def losses(model: RootNet, batch: list[Tensor]) -> Mapping[str, Tensor]:
        images, at_box, coord, seen = batch
        return rootnet_losses(model(model.normalised(images), at_box), coord, seen, torch.ones_like(seen))

    metrics = train(
        network, batch, losses, settings, out=request.out, inputs=request.inputs(data.name), progress=request.progress,
        evaluate=partial(evaluate, held_out=data.held_out, side=settings.side, device=request.device),
    )  # fmt: skip
    results: dict[str, object] = {"weights": request.out / WEIGHTS, "training_images": len(data.training)}
    return results | metrics | {"by_size_error_mm": error_by_size(data.training, data.held_out, settings.side)}


def example_from_sample(
    sample: Sample, rng: np.random.Generator, side: int, augmentation: AugmentationSettings
) -> RootExample | None:
    """One hand of an image, augmented; None where none is known in camera space."""
    hands = known_hands(sample)
    if not hands or sample.camera is None:
        return None
    hand = hands[int(rng.integers(len(hands)))]
    return example_from_hand(sample, hand, side, draw_augmentation(augmentation, rng))


def example_from_hand(sample: Sample, hand: Instance, side: int, change: Augmentation = _AS_IS) -> RootExample:
    """One hand as the network sees it; its scale is kept, since the depth follows from it."""
    assert hand.keypoints_px is not None
    assert hand.keypoints_m is not None
    assert sample.camera is not None
    area = change.box(area_of_box(box_of_joints(hand.keypoints_px)))
    image = change.image(crop(sample.rgb().astype(np.float32), area, side, side, border="zero")) / np.float32(255)
    root = change.points(points_into_crop(hand.keypoints_px[:1], area, side), side)[0]
    camera = sample.camera.intrinsics
    return RootExample(
        image,
        depth_of_box((area.width, area.height), (camera.fx, camera.fy)),
        np.array([*(root / _CELL_PX), hand.keypoints_m[0, 2] * _MM]),
        bool(((root >= 0) & (root < side)).all()),
    )


def _tensors(examples: Sequence[RootExample]) -> list[Tensor]:
    """Crops (B, 3, S, S), depths at which their boxes measure a hand's (B, 1), roots (B, 3), whether they are seen."""
    columns = [np.stack([np.asarray(value, np.float32) for value in column]) for column in zip(*examples, strict=True)]
    image, at_box, coord, seen = (torch.from_numpy(column) for column in columns)
    return [image.permute(0, 3, 1, 2), at_box[:, None], coord, seen]


@torch.inference_mode()
def evaluate(network: RootNet, held_out: Sequence[Sample], side: int, device: str) -> dict[str, float]:
    """The wrist's depth on hands held out; see `train_rootnet`."""
    wanted = [example for sample in held_out for example in _examples(sample, side)]
    off: list[float] = []
    for start in range(0, len(wanted), 32):
        images, at_box, coord, _ = (values.to(device) for values in _tensors(wanted[start : start + 32]))
        found = network(network.normalised(images), at_box)["coord"][:, 2]
        off += (found - coord[:, 2]).abs().tolist()
    if not off:
        raise InputError("no hand in front of a camera to evaluate on: give another split")
    return {"depth_error_mm": float(np.mean(off))}


def error_by_size(training: Sequence[Sample], held_out: Sequence[Sample], side: int) -> float:
    """Of taking every hand held out for one of the training set's mean size, in mm."""
    some = [training[index] for index in range(0, len(training), max(len(training) // 500, 1))]
    known = [one for sample in some for one in _examples(sample, side)]
    wanted = [one for sample in held_out for one in _examples(sample, side)]
    if not known:
        raise InputError("no hand in front of a camera to train on: give another split")
    share = np.mean([one.coord[2] / one.at_box_mm for one in known])
    return float(np.mean([abs(share * one.at_box_mm - one.coord[2]) for one in wanted]))


def _examples(sample: Sample, side: int) -> list[RootExample]:
    return [] if sample.camera is None else [example_from_hand(sample, hand, side) for hand in known_hands(sample)]


def rootnet_losses(
    outputs: Mapping[str, Tensor], coord: Tensor, visible: Tensor, has_depth: Tensor
) -> dict[str, Tensor]:
    """The loss: the distance of the predicted root from the true one.

    Args:
        outputs: of RootNet.
        coord: (B, 3) x, y in cells of the map, depth in mm.
        visible: (B,) 1 where the root is known and in the crop.
        has_depth: (B,) 1 where its depth is known; images with 2D labels alone have none.

    Returns:
        `root`: the mean of the three axes' distances, over the batch.
    """
    off = (outputs["coord"] - coord).abs() * visible[:, None]
    return {"root": ((off[:, 0] + off[:, 1] + off[:, 2] * has_depth) / 3).mean()}
