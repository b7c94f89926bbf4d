"""Train RootNet (recipe `rootnet`) to predict the depth of the wrist in images from calibrated cameras.

Source of the loss: Moon et al. 2019, Camera Distance-aware Top-down Approach, section 5.3.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sonjit._util import Float32Array, FloatArray, InputError
from sonjit._util.settings import Range
from sonjit.geometry.boxes import RotatedBox, crop, points_into_crop
from sonjit_lab.datasets import Instance, Sample
from sonjit_lab.datasets.sample import name_of, ordered_hand
from sonjit_lab.networks import create_network, modes
from sonjit_lab.papers.interhand import internet, rootnet
from sonjit_lab.papers.interhand.internet_recipe import TrunkSettings
from sonjit_lab.training.augment import UNCHANGED, Augmentation, AugmentationSettings, draw_augmentation
from sonjit_lab.training.building_blocks import export_trained
from sonjit_lab.training.hands.samples import draw_batch, hand_data
from sonjit_lab.training.loop import WEIGHTS, fit
from sonjit_lab.training.losses import PointLoss, point_loss
from sonjit_lab.training.recipes import TrainingRequest, settings_from

_MM = 1000.0
_CELL_PX = 4  # side of a cell of the map in pixels of the crop
_UNIT = 64.0  # cells or mm in which losses compare roots; a power of two, so that l1 is as published


@dataclass(frozen=True)
class RootNetSettings(TrunkSettings):
    """Settings of the recipe."""

    UNSUPPORTED: ClassVar[tuple[str, ...]] = ("scale", "reverse")  # the depth follows from a hand's size

    # loss of the root: `l1`, `l2`, `smooth-l1`, `wing` or `distance`, in units of 64 cells of the map or 64 mm
    loss: PointLoss = "l1"
    # value of white before ImageNet's mean is subtracted: 1, or 255 as in the release for bodies
    input_scale: Annotated[float, Range(1, 255)] = 1.0


class RootExample(NamedTuple):
    """One hand's crop and its ground truth."""

    image: Float32Array  # (S, S, 3) in 0..1
    at_box_mm: float  # depth at which a hand of standard size fills the box
    coord: FloatArray  # (3,) x, y in cells, depth in mm
    in_crop: bool  # True if the root is in the crop


def train_rootnet(request: TrainingRequest) -> Mapping[str, object]:
    """Train RootNet.

    On held-out hands the results are `depth_error_mm`, the mean error of the wrist's depth, and `by_size_error_mm`, the
    error with the training set's mean hand size for every hand.
    """
    settings = settings_from(RootNetSettings, request.settings)
    torch.manual_seed(settings.seed)
    options = {name: getattr(settings, name) for name in ("input_scale", "depth", "width", "channels", "side")}
    network = create_network("rootnet", request.weights, **options)
    assert isinstance(network, rootnet.RootNet)
    if settings.trunk_weights:
        network.load_trunk(settings.trunk_weights)
    network.to(request.device).train()
    data = hand_data(request, settings, lambda sample: bool(rooted_hands(sample)))
    make_example = partial(example_from_sample, side=settings.side, augmentation=settings.augmentation)
    batch = partial(draw_batch, samples=data.training, make_example=make_example, join=_tensors, count=settings.batch)

    def losses(model: rootnet.RootNet, batch: list[Tensor]) -> Mapping[str, Tensor]:
        images, at_box, coord, visible = batch
        outputs = model(model.normalise_crops(images), at_box)
        return rootnet_losses(outputs, coord, visible, settings.loss)

    metrics = fit(
        request,
        network,
        batch,
        losses,
        settings,
        inputs=data.inputs(request),
        evaluate=partial(evaluate, held_out=data.held_out, side=settings.side),
    )
    counts = {"training_images": len(data.training), "split": data.split.text}
    results: dict[str, object] = {"weights": request.out / WEIGHTS, **counts, **metrics}
    results["by_size_error_mm"] = error_by_size(data.training, data.held_out, settings.side)
    return results | export_trained(network, request)


def rooted_hands(sample: Sample) -> list[Instance]:
    """Return the hands before a calibrated camera whose wrist is known in the image and in space, as in the release.

    Their other keypoints may be missing. A hand has a box, or two keypoints that span one.
    """
    if sample.camera is None:
        return []
    hands = (ordered_hand(hand, name_of(sample)) for hand in sample.instances)
    return [
        hand
        for hand in hands
        if hand is not None
        and all(points is not None and np.isfinite(points[0]).all() for points in (hand.keypoints_px, hand.keypoints_m))
        and (area := _box_of(hand)) is not None
        and min(area.width, area.height) > 0
    ]


def _box_of(hand: Instance) -> RotatedBox | None:
    """Return the box of a hand: around all its joints, or its labelled one if some joints are missing."""
    points = hand.keypoints_px
    is_complete = points is not None and bool(np.isfinite(points).all())
    return internet.box_of_hands([replace(hand, box=None) if is_complete else hand])


def example_from_sample(
    sample: Sample, rng: np.random.Generator, side: int, augmentation: AugmentationSettings
) -> RootExample | None:
    """Return one hand of an image, augmented, or None if no hand is known in camera space."""
    if not (hands := rooted_hands(sample)):
        return None
    hand = hands[int(rng.integers(len(hands)))]
    return example_from_hand(sample, hand, side, draw_augmentation(augmentation, rng))


def example_from_hand(sample: Sample, hand: Instance, side: int, change: Augmentation = UNCHANGED) -> RootExample:
    """Return one hand as input of the network; its scale stays, because the depth depends on it."""
    assert hand.keypoints_px is not None
    assert hand.keypoints_m is not None
    assert sample.camera is not None
    box = _box_of(hand)
    assert box is not None
    area = change.box(internet.area_of_box(box))
    image = change.image(crop(sample.rgb().astype(np.float32), area, side, side, border="zero")) / np.float32(255)
    root = change.points(points_into_crop(hand.keypoints_px[:1], area, side), side)[0]
    camera = sample.camera.intrinsics
    return RootExample(
        image,
        rootnet.depth_of_box((area.width, area.height), (camera.fx, camera.fy)),
        np.array([*(root / _CELL_PX), hand.keypoints_m[0, 2] * _MM]),
        bool(((root >= 0) & (root < side)).all()),
    )


def _tensors(examples: Sequence[RootExample]) -> list[Tensor]:
    """Return crops (B, 3, S, S), depths of a standard hand (B, 1), roots (B, 3) and whether they are in the crop."""
    columns = [np.stack([np.asarray(value, np.float32) for value in column]) for column in zip(*examples, strict=True)]
    image, at_box, coord, visible = (torch.from_numpy(column) for column in columns)
    return [image.permute(0, 3, 1, 2), at_box[:, None], coord, visible]


@modes.evaluates
def evaluate(network: rootnet.RootNet, held_out: Sequence[Sample], side: int) -> dict[str, float]:
    """Return the error of the wrist's depth on held-out hands; see `train_rootnet`."""
    examples = [example for sample in held_out for example in _examples(sample, side)]
    errors_mm: list[float] = []
    for start in range(0, len(examples), 32):
        images, at_box, coord, _ = (values.to(network.device) for values in _tensors(examples[start : start + 32]))
        depths = network(network.normalise_crops(images), at_box)["coord"][:, 2]
        errors_mm += (depths - coord[:, 2]).abs().tolist()
    if not errors_mm:
        raise InputError("No hand in camera space to evaluate on. Choose another split.")
    return {"depth_error_mm": float(np.mean(errors_mm))}


def error_by_size(training: Sequence[Sample], held_out: Sequence[Sample], side: int) -> float:
    """Return the error in mm on held-out hands if every hand has the training set's mean size."""
    chosen = [training[index] for index in range(0, len(training), max(len(training) // 500, 1))]
    training_examples = [example for sample in chosen for example in _examples(sample, side)]
    examples = [example for sample in held_out for example in _examples(sample, side)]
    if not training_examples:
        raise InputError("No hand in camera space to train on. Choose another split.")
    ratio = np.mean([example.coord[2] / example.at_box_mm for example in training_examples])
    return float(np.mean([abs(ratio * example.at_box_mm - example.coord[2]) for example in examples]))


def _examples(sample: Sample, side: int) -> list[RootExample]:
    return [example_from_hand(sample, hand, side) for hand in rooted_hands(sample)]


def rootnet_losses(outputs: Mapping[str, Tensor], coord: Tensor, visible: Tensor, loss: PointLoss) -> dict[str, Tensor]:
    """Return the loss of the predicted root, `root`: mean over the three axes and the batch, in 64 cells or mm as unit.

    Roots (B, 3) are x, y in cells of the map and the depth in mm. `visible` (B,) is 1 for roots in the crop.
    """
    error_of = point_loss(loss)
    offsets = (outputs["coord"] - coord) / _UNIT
    in_image, in_depth = _UNIT * error_of(offsets[:, :2]), _UNIT * error_of(offsets[:, 2:])  # (B,)
    return {"root": ((2 * in_image + in_depth) * visible / 3).mean()}
