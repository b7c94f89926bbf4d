"""Train InterNet (recipe `internet`) on images of one or two hands from calibrated cameras.

It is trained on augmented crops of two hands. Losses compare Gaussian volumes around joints, the distance of the roots,
and which hands are present. Source: Moon et al. 2020, InterHand2.6M, section 5.3; numbers as in the released code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from sonjit._util import BoolArray, Float32Array, FloatArray, Image, InputError, RealArray
from sonjit.geometry.boxes import RotatedBox, crop, crop_matrix, points_into_crop
from sonjit_lab.datasets import Instance, Sample
from sonjit_lab.datasets.sample import name_of, ordered_hand
from sonjit_lab.metrics import handedness_hits, mrrpe, two_hand_errors
from sonjit_lab.networks import create_network, modes
from sonjit_lab.papers.interhand import internet
from sonjit_lab.training.augment import UNCHANGED, Augmentation, AugmentationSettings, draw_augmentation
from sonjit_lab.training.building_blocks import export_trained
from sonjit_lab.training.hands.samples import CropSettings, draw_batch, hand_data
from sonjit_lab.training.loop import WEIGHTS, fit
from sonjit_lab.training.recipes import TrainingRequest, settings_from
from sonjit_lab.training.settings import Depth, Width

PEAK, SIGMA_BINS = 255.0, 2.5
_SPACE = internet.HeatmapSpace()
_MM: Final = 1000.0
_MEAN_IMAGES: Final = 500  # maximum number of images for the mean pose


class InterNetTargets(NamedTuple):
    """Ground truth of a batch of crops, in the layout's order of joints."""

    joints: Tensor  # (B, 42, 3) x, y, z in bins
    valid: Tensor  # (B, 42) 1 for joints that are known and in the volume; 0 for all joints of an absent hand
    rel_root: Tensor  # (B, 1) bins from the right root to the left one
    rel_valid: Tensor  # (B, 1) 1 if both roots are known and in range
    hand_type: Tensor  # (B, 2) 1 for a right and a left hand that is present
    hand_type_valid: Tensor  # (B,) 1 if presence is known


def heatmap_from_joints(joints: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Return volumes (B, J, z, y, x) with a Gaussian around joints (B, J, 3), which are the indices x, y, z of bins."""
    axes: list[Tensor] = []
    for axis, count in zip((2, 1, 0), shape, strict=True):
        off = torch.arange(count, dtype=joints.dtype, device=joints.device) - joints[..., axis, None]  # (B, J, count)
        axes.append((-(off**2) / (2 * SIGMA_BINS**2)).exp())
    z, y, x = axes  # a 3D Gaussian is the product of three 1D ones
    return PEAK * z[..., :, None, None] * (y[..., :, None] * x[..., None, :])[..., None, :, :]


def internet_losses(outputs: Mapping[str, Tensor], targets: InterNetTargets) -> dict[str, Tensor]:
    """Return the three losses, means over the batch whose sum is minimised.

    `joints` is the squared difference of the volumes of valid joints, over all joints, `rel_root` a distance in bins,
    and `hand_type` cross-entropy.
    """
    heatmap = outputs["heatmap"]
    off = heatmap - heatmap_from_joints(targets.joints, (heatmap.shape[2], heatmap.shape[3], heatmap.shape[4]))
    joints = (off.square().mean((2, 3, 4)) * targets.valid).mean()
    rel_root = ((outputs["rel_root_depth"] - targets.rel_root).abs() * targets.rel_valid).mean()
    hand = F.binary_cross_entropy_with_logits(outputs["hand_type_logits"], targets.hand_type, reduction="none")
    return {"joints": joints, "rel_root": rel_root, "hand_type": (hand.mean(1) * targets.hand_type_valid).mean()}


@dataclass(frozen=True, eq=False)
class TwoHandImage:
    """One labelled image."""

    rgb: Image  # (H, W, 3) uint8
    box: RotatedBox  # upright box around the hands in pixels
    joints: FloatArray  # (42, 3) x, y in pixels, depth in mm from the camera, in the layout's order
    valid: BoolArray  # (42,) True for known joints
    hand_type: BoolArray  # (2,) True for a right and a left hand that is present
    hand_type_valid: bool = True  # True if presence is known


class TwoHandExample(NamedTuple):
    """One crop and its ground truth; the fields are those of `InterNetTargets` for a single crop."""

    image: Float32Array  # (S, S, 3) in 0..1
    joints: FloatArray
    valid: BoolArray
    rel_root: float
    rel_valid: bool
    hand_type: BoolArray
    hand_type_valid: bool


def mirror_example(image: TwoHandImage) -> TwoHandImage:
    """Return the mirror image with swapped labels of the hands; pixels count from the centre of the first one."""
    last = image.rgb.shape[1] - 1
    joints = np.roll(image.joints, internet.JOINTS, 0)
    joints[:, 0] = last - joints[:, 0]
    return replace(
        image,
        rgb=np.ascontiguousarray(image.rgb[:, ::-1]),
        box=image.box._replace(cx=last - image.box.cx),
        joints=joints,
        valid=np.roll(image.valid, internet.JOINTS),
        hand_type=image.hand_type[::-1].copy(),
    )


def example_from_image(
    labelled: TwoHandImage,
    layout: internet.HandLayout,
    augmentation: Augmentation = UNCHANGED,
    space: internet.HeatmapSpace = _SPACE,
) -> TwoHandExample:
    """Augment an image, crop its hands, and return the crop with its ground truth."""
    if augmentation.mirror:
        labelled = mirror_example(labelled)
    area = internet.area_of_box(augmentation.shifted(labelled.box))
    area = replace(augmentation, shift=(0.0, 0.0)).box(area)
    size = space.size_px
    image = crop(labelled.rgb.astype(np.float32), area, size, size, border="zero")
    image = augmentation.change_colours(image) / np.float32(255)
    joints = labelled.joints.copy()
    joints[:, :2] = points_into_crop(joints[:, :2], area, size)
    usable = labelled.valid.copy()  # together with the root that the depth is relative to
    for side in internet.SIDES:
        usable[layout.joints(side)] &= labelled.valid[layout.root(side)]
    bins, valid, rel_root = targets_from_crop(joints, usable, layout, space)
    both = labelled.hand_type.all() and all(valid[layout.root(hand)] for hand in internet.SIDES)
    return TwoHandExample(
        image=image.astype(np.float32),
        joints=bins,
        valid=valid,
        rel_root=rel_root,
        rel_valid=bool(both) and 0 <= rel_root < space.bins,
        hand_type=labelled.hand_type,
        hand_type_valid=labelled.hand_type_valid,
    )


def targets_from_crop(
    joints: RealArray, valid: BoolArray, layout: internet.HandLayout, space: internet.HeatmapSpace = _SPACE
) -> tuple[FloatArray, BoolArray, float]:
    """Convert joints (42, 3), x, y in pixels of the crop and depth in mm, to x, y, z in bins, depths relative to the
    root.

    Return also which of them are known and in the volume, and the bins from the right root to the left one, maybe out
    of range.
    """
    depth = np.array(joints[:, 2], np.float64)
    right, left = (layout.root(side) for side in internet.SIDES)
    rel_root = space.bins_from_mm(float(depth[left] - depth[right]))
    for side, root in zip(internet.SIDES, (right, left), strict=True):
        depth[layout.joints(side)] -= joints[root, 2]
    bins = np.column_stack([space.bins_from_px(joints[:, :2].astype(np.float64)), space.bins_from_mm(depth)])
    return bins, valid & ((bins >= 0) & (bins < space.bins)).all(1), rel_root


def batch_from_examples(examples: Sequence[TwoHandExample]) -> tuple[torch.Tensor, InterNetTargets]:
    """Return crops (B, 3, S, S) and their ground truth as float32 tensors."""
    columns = (torch.from_numpy(np.stack(column)).float() for column in zip(*examples, strict=True))
    images, joints, valid, rel_root, rel_valid, hand_type, hand_type_valid = columns
    targets = InterNetTargets(joints, valid, rel_root[:, None], rel_valid[:, None], hand_type, hand_type_valid)
    return images.permute(0, 3, 1, 2), targets


@dataclass(frozen=True)
class TrunkSettings(CropSettings):
    """Settings of networks with upsampled maps of a residual network."""

    depth: Depth = 50  # number of layers of the residual network
    width: Width = 64  # channels of its first stage
    channels: Width = 256  # channels of the upsampled maps
    trunk_weights: str = ""  # file of torchvision's ResNet for ImageNet; "" starts with random weights


@dataclass(frozen=True)
class InterNetSettings(TrunkSettings):
    """Settings of the recipe."""

    # order of hands and joints: interhand with both hands in a crop; stb or rhd with one hand in a crop
    layout: Literal["interhand", "stb", "rhd"] = "interhand"
    hidden: Width = 512  # width of the two heads on the mean of the features
    hand_type: bool = True  # True to train the head that predicts which hands are present

    @property
    def space(self) -> internet.HeatmapSpace:
        """The space of the network's bins."""
        return internet.HeatmapSpace(self.side, self.side // 4)


def train_internet(request: TrainingRequest) -> Mapping[str, object]:
    """Train InterNet.

    On held-out images the results are `mpjpe_mm`, joints relative to their hand's root, with the true depth of the
    root; `mean_pose_mpjpe_mm` of the training set's mean pose; `mrrpe_mm`, the left root relative to the right one; and
    `handedness`, the share of images with the correct hands.
    """
    settings = settings_from(InterNetSettings, request.settings)
    torch.manual_seed(settings.seed)
    options = {name: getattr(settings, name) for name in ("layout", "depth", "width", "channels", "hidden")}
    network = create_network("internet", request.weights, **options, bins=settings.space.bins)
    assert isinstance(network, internet.InterNet)
    if settings.trunk_weights:
        network.load_trunk(settings.trunk_weights)
    network.to(request.device).train()
    data = hand_data(request, settings, lambda sample: sample.camera is not None and bool(_hands(sample)))
    make_example = partial(_example, layout=network.layout, space=settings.space, augmentation=settings.augmentation)
    batch = partial(
        draw_batch, samples=data.training, make_example=make_example, join=batch_from_examples, count=settings.batch
    )

    def losses(model: internet.InterNet, batch: tuple[Tensor, InterNetTargets]) -> Mapping[str, Tensor]:
        terms = internet_losses(model(batch[0]), batch[1])
        return terms if settings.hand_type else {name: terms[name] for name in ("joints", "rel_root")}

    metrics = fit(
        request,
        network,
        batch,
        losses,
        settings,
        inputs=data.inputs(request),
        evaluate=lambda model: evaluate(model, data.training, data.held_out, settings),
    )
    counts = {"training_images": len(data.training), "split": data.split.text}
    results: dict[str, object] = {"weights": request.out / WEIGHTS, **counts, **metrics}
    return results | export_trained(network, request)


@dataclass(frozen=True, eq=False)
class LabelledCrop:
    """An input crop of InterNet and the 3D joints of its hands."""

    image: TwoHandImage  # image with the box to crop
    joints_mm: FloatArray  # (42, 3) in the camera frame, in the layout's order; 0 where unknown
    known: BoolArray  # (42,) True for known joints


def crops_from_sample(sample: Sample, layout: internet.HandLayout) -> list[LabelledCrop]:
    """Return the crops of an image, of both hands or of each, around the data set's box or the joints."""
    hands = _hands(sample)
    if layout.both_in_a_crop:
        return [_crop(sample, hands, layout)] if hands else []
    return [_crop(sample, {side: hand}, layout) for side, hand in hands.items()]


def _crop(sample: Sample, hands: Mapping[internet.Side, Instance], layout: internet.HandLayout) -> LabelledCrop:
    joints_mm, labelled = _joints_mm(hands, layout)
    joints = joints_mm.copy()
    for side, instance in hands.items():
        assert instance.keypoints_px is not None
        rows = layout.joints(side)
        joints[rows, :2] = layout.from_mediapipe21(instance.keypoints_px)
        if "wrist" not in layout.skeleton.keypoints and sample.camera is not None:  # the centre in space, not in pixels
            root = layout.root(side)
            joints[root, :2] = sample.camera.project(joints_mm[[root]] / _MM)[0]
    valid = labelled & np.isfinite(joints).all(1)
    joints = np.where(valid[:, None], joints, 0)
    box = internet.box_of_hands(hands.values(), sample.box if layout.both_in_a_crop else None)
    assert box is not None
    hand_type_valid = bool(sample.tags.get("hand_type_valid", True))
    present = np.array([side in hands for side in internet.SIDES])
    return LabelledCrop(
        TwoHandImage(
            rgb=sample.rgb(), box=box, joints=joints, valid=valid, hand_type=present, hand_type_valid=hand_type_valid
        ),
        joints_mm,
        labelled,
    )


def _joints_mm(hands: Mapping[internet.Side, Instance], layout: internet.HandLayout) -> tuple[FloatArray, BoolArray]:
    """Return joints (42, 3) in mm in the camera frame, in the layout's order, and which are known (42,)."""
    joints = np.full((2 * internet.JOINTS, 3), np.nan)
    for side, instance in hands.items():
        assert instance.keypoints_m is not None
        joints[layout.joints(side)] = layout.from_mediapipe21(instance.keypoints_m) * _MM
    labelled = np.asarray(np.isfinite(joints).all(1))
    return np.where(labelled[:, None], joints, 0), labelled


def _hands(sample: Sample) -> dict[internet.Side, Instance]:
    """Return hands with labels of some joints in camera space and in the image; their other joints are NaN."""
    hands: dict[internet.Side, Instance] = {}
    for hand in (ordered_hand(item, name_of(sample)) for item in sample.instances):
        if hand is None or hand.side is None or (pixels := hand.labelled_px) is None:
            continue
        if (metres := hand.labelled_m) is None:
            continue
        if (np.isfinite(pixels).all(1) & np.isfinite(metres).all(1)).any():
            hands[hand.side] = replace(hand, keypoints_px=pixels, keypoints_m=metres)
    return hands


def _example(
    sample: Sample,
    rng: np.random.Generator,
    layout: internet.HandLayout,
    space: internet.HeatmapSpace,
    augmentation: AugmentationSettings,
) -> TwoHandExample | None:
    crops, change = crops_from_sample(sample, layout), draw_augmentation(augmentation, rng)
    if not crops:
        return None
    chosen = crops[int(rng.integers(len(crops)))] if len(crops) > 1 else crops[0]
    return example_from_image(chosen.image, layout, change, space)


@modes.evaluates
def evaluate(
    network: internet.InterNet,
    training: Sequence[Sample],
    held_out: Sequence[Sample],
    settings: InterNetSettings,
) -> dict[str, float]:
    """Return metrics on held-out images; see `train_internet`."""
    layout = internet.LAYOUTS[settings.layout]
    space = settings.space
    side = settings.side
    own_roots = [layout.root(hand) for hand in internet.SIDES]
    rows: list[tuple[FloatArray | BoolArray, ...]] = []
    crops = ((labelled, sample.camera) for sample in held_out for labelled in crops_from_sample(sample, layout))
    for labelled, camera in ((labelled, camera.intrinsics) for labelled, camera in crops if camera is not None):
        area = internet.area_of_box(labelled.image.box)
        image = crop(labelled.image.rgb.astype(np.float32), area, side, side, border="zero") / np.float32(255)
        outputs = network(torch.from_numpy(image).permute(2, 0, 1)[None].to(network.device))
        predicted = internet.two_hands_from_outputs(outputs, crop_matrix(area, side, side)[None], space)
        depths = labelled.joints_mm[None, own_roots, 2]
        # MRRPE measures the left root as predicted relative to the right one.
        relative = np.array([[depths[0, 0], depths[0, 0] + predicted.rel_root_mm[0]]])
        placed = (internet.joints_in_camera(predicted, roots, layout, camera)[0] for roots in (depths, relative))
        score = outputs["hand_type"][0].double().cpu().numpy()
        rows.append((*placed, labelled.joints_mm, labelled.known, score, labelled.image.hand_type))
    if not rows:
        raise InputError("No hand in camera space in the held-out images. Choose another test_split.")
    joints, with_root, truth, valid, scores, present = (np.stack(column) for column in zip(*rows, strict=True))
    mean = _mean_pose(training, layout) + truth[:, _root_of_each(layout)]
    order = [index for side in internet.SIDES for index in range(42)[layout.joints(side)]]  # the right hand first
    roots = (own_roots[0] % internet.JOINTS, internet.JOINTS + own_roots[1] % internet.JOINTS)
    points, is_known = truth[:, order], valid[:, order]
    both = is_known[:, roots].all(1)
    metrics = {
        "mpjpe_mm": float(np.nanmean(two_hand_errors(joints[:, order], points, is_known, roots=roots))),
        "mean_pose_mpjpe_mm": float(np.nanmean(two_hand_errors(mean[:, order], points, is_known, roots=roots))),
        "handedness": float(handedness_hits(scores, present).mean()),
    }
    if both.any():
        metrics["mrrpe_mm"] = mrrpe(with_root[:, order], points, is_known, interacting=both, roots=roots)
    return metrics


def _root_of_each(layout: internet.HandLayout) -> list[int]:
    """Return the (42,) root indices of the hands that a layout's joints belong to."""
    sides = internet.SIDES if layout.first == internet.SIDES[0] else internet.SIDES[::-1]
    return [layout.root(side) for side in sides for _ in range(internet.JOINTS)]


def _mean_pose(samples: Sequence[Sample], layout: internet.HandLayout) -> FloatArray:
    """Return joints (42, 3) in mm relative to their hand's root, averaged over evenly spaced images."""
    total, count = np.zeros((2 * internet.JOINTS, 3)), np.zeros(2 * internet.JOINTS)
    roots = _root_of_each(layout)
    for index in range(0, len(samples), max(len(samples) // _MEAN_IMAGES, 1)):
        joints, labelled = _joints_mm(_hands(samples[index]), layout)
        labelled &= labelled[roots]
        total += np.where(labelled[:, None], joints - joints[roots], 0)
        count += labelled
    return total / np.maximum(count, 1)[:, None]
