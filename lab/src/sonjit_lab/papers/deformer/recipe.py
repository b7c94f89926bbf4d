"""Train Deformer (recipe `deformer`) on videos with MANO parameters, with optional maxMSE and discriminator.

A training example is a window of consecutive frames around one frame. All frames of a window have the same hand and the
same augmentation. Sources of the losses: Fu et al. 2023, Deformer, sections 3.4, 3.5 and 4, and the released code; Mao
et al. 2017, Least Squares Generative Adversarial Networks. Terms that the released code disables by default (smoothness
in time, and regularisers whose weights it reads but does not use) are not included.
"""

import copy
import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice, pairwise
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call  # pyright: ignore[reportPrivateImportUsage]

from sonjit._util import Float32Array, FloatArray, InputError
from sonjit.geometry.boxes import crop, points_into_crop
from sonjit_lab.datasets import Instance, Sample
from sonjit_lab.datasets.sample import fit_with_mean, frames_around
from sonjit_lab.hand_models.mano import matrix_from_axis_angle
from sonjit_lab.networks import create_network, load_checkpoint, modes
from sonjit_lab.networks.checkpoints import without_prefixes
from sonjit_lab.papers.deformer.layers import DeformerSize, MotionDiscriminator
from sonjit_lab.papers.deformer.meshes import frame_crop
from sonjit_lab.papers.deformer.network import (
    GAP,
    DeformerNetwork,
    VariantHands,
    box_around,
    joints_in_box,
    rotate_to_camera,
)
from sonjit_lab.papers.handoccnet import recipe as handoccnet
from sonjit_lab.papers.handoccnet.network import rotations_from_6d
from sonjit_lab.training import building_blocks
from sonjit_lab.training.augment import UNCHANGED, Augmentation, AugmentationSettings, draw_augmentation
from sonjit_lab.training.batches import to_device
from sonjit_lab.training.hands.samples import draw_examples
from sonjit_lab.training.loop import WEIGHTS, fit
from sonjit_lab.training.losses import maxmse
from sonjit_lab.training.recipes import TrainingRequest, settings_from
from sonjit_lab.training.settings import Width

ADVERSARIAL = 10.0  # weight of the discriminator's output in Deformer's losses
PALM, FINGERS = (1, 5, 9, 13, 17), (2, 3, 4, 6, 7, 8, 10, 11, 12, 14, 15, 16, 18, 19, 20)
"""Indices of MediaPipe's keypoints at the base of the fingers, and of the others; the wrist is the origin."""
_MM = 1000.0


class HandGeometry(NamedTuple):
    """Hands of all frames of windows (B, T) or of their middle frames (B); metres in MANO's axes."""

    vertices: Tensor  # (..., 778, 3)
    joints: Tensor  # (..., 21, 3)
    rotations: Tensor  # (..., 16, 3, 3)
    pose: Tensor  # (..., 48)


class DeformerTargets(NamedTuple):
    """Ground truth of a batch of windows."""

    hands: HandGeometry  # (B, T)
    shape: Tensor  # (B, T, 10)
    side: Tensor  # (B, T), 0 for right and 1 for left
    joints2d: Tensor  # (B, T, 21, 2) in 0..1 of the hand's box; negative values are not trained


def targets_from_mano(
    network: DeformerNetwork, pose: Tensor, shape: Tensor, side: Tensor, joints2d: Tensor
) -> DeformerTargets:
    """Compute the ground truth from MANO parameters in the convention of the network's variant.

    Windows of T frames have axis-angle poses (B, T, 48) in radians, shapes (B, T, 10), sides (B, T), and joints (B, T,
    21, 2) in 0..1 of the hand's box.
    """
    windows = pose.shape[:2]
    with torch.no_grad():
        meshes = network.hands(pose.flatten(0, 1), shape.flatten(0, 1), side.flatten())
        vertices, joints = (points.unflatten(0, windows) for points in meshes)
        rotations = matrix_from_axis_angle(pose.unflatten(2, (-1, 3)))
    return DeformerTargets(HandGeometry(vertices, joints, rotations, pose), shape, side, joints2d)


class PredictedHands(NamedTuple):
    """Predictions that the losses compare with the ground truth."""

    current: HandGeometry  # (B, T): hands of the frames
    next: HandGeometry  # (B, T): hands of the next frames, from each frame's forward motion
    before: HandGeometry  # (B, T): hands of the previous frames, from each frame's backward motion
    fused: HandGeometry  # (B)


def predicted_hands(network: DeformerNetwork, outputs: Mapping[str, Tensor], side: Tensor) -> PredictedHands:
    """Compute all predicted hands from the network's outputs, with one shape for each window.

    `side` is (B, T), with 0 for right and 1 for left; lengths of the hands are in metres.
    """
    frames = side.shape[1]
    current, forward, backward = (outputs[name] for name in ("pose6d", "fw6d", "bw6d"))
    rotations, pose = rotations_from_6d(torch.cat([current, current + forward, current + backward]))
    rotations = torch.cat([rotations, outputs["mano_pose"]])
    pose = torch.cat([pose, outputs["mano_pose_aa"]])
    shape = outputs["mano_shape"]
    shapes = torch.cat([shape.repeat_interleave(frames, 0).repeat(3, 1), shape])
    vertices, joints = network.hands(pose, shapes, torch.cat([side.flatten().repeat(3), side[:, 0]]))
    hands = (values.split([len(current)] * 3 + [len(shape)]) for values in (vertices, joints, rotations, pose))
    current_hands, onward, backwards, fused = (HandGeometry(*part) for part in zip(*hands, strict=True))
    return PredictedHands(_windows(current_hands, frames), _windows(onward, frames), _windows(backwards, frames), fused)


def deformer_losses(
    outputs: Mapping[str, Tensor],
    predicted: PredictedHands,
    targets: DeformerTargets,
    points_loss: Callable[[Tensor, Tensor], Tensor],
) -> dict[str, Tensor]:
    """Return the published losses times their weights, by name; their sum is minimised."""
    windows, frames = targets.side.shape
    truth = targets.hands
    after = slice(1, None)
    before = slice(None, -1)
    joints2d = outputs["joints2d"].unflatten(0, (windows, frames))
    inside = targets.joints2d > 0  # the hand's box
    shapes = outputs["mano_shape"][:, None].expand_as(targets.shape)
    onward = _hand_losses(_part(predicted.next, before), _part(truth, after), points_loss)
    backward = _hand_losses(_part(predicted.before, after), _part(truth, before), points_loss)
    middle = HandGeometry(*(values[:, frames // 2] for values in truth))
    fused = _hand_losses(predicted.fused, middle, points_loss)
    return {
        **_hand_losses(predicted.current, truth, points_loss),
        "shape": 0.1 * F.mse_loss(shapes, targets.shape),
        "joints2d": 100 * ((joints2d - targets.joints2d).square() * inside).sum() / inside.sum().clamp(min=1),
        **{f"moved_{name}": onward[name] + backward[name] for name in onward},
        **{f"fused_{name}": loss for name, loss in fused.items()},
    }


def motions(side: Tensor, pose: Tensor) -> Tensor:
    """Return inputs (B, T, 46) of the discriminator from sides (B, T) and poses (B, T, 48) in radians.

    Rotations of the wrist are left out.
    """
    return torch.cat([side[..., None], pose[..., 3:]], -1)


def generator_loss(fake: Tensor) -> Tensor:
    """Return the squared distance of scores (B, 1) of predicted motions from the score of real ones."""
    return (fake - 1).square().sum() / len(fake)


def discriminator_losses(real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    """Return the squared distances of scores (B, 1) from 1 for real and from 0 for predicted motions."""
    return {"real": (real - 1).square().sum() / len(real), "fake": fake.square().sum() / len(fake)}


def _hand_losses(
    predicted: HandGeometry, truth: HandGeometry, points_loss: Callable[[Tensor, Tensor], Tensor]
) -> dict[str, Tensor]:
    return {
        "vertices": 1e4 * points_loss(predicted.vertices, truth.vertices),
        "joints": 1e4 * points_loss(predicted.joints, truth.joints),
        "pose": 10 * F.mse_loss(predicted.rotations, truth.rotations),
    }


def _windows(hands: HandGeometry, frames: int) -> HandGeometry:
    return HandGeometry(*(values.unflatten(0, (-1, frames)) for values in hands))


def _part(hands: HandGeometry, frames: slice) -> HandGeometry:
    return HandGeometry(*(values[:, frames] for values in hands))


class Middle(NamedTuple):
    """The middle frame of a window."""

    recording: str
    frame: int
    hidden: float  # share of hidden keypoints; NaN if the data set does not label it


class Window(NamedTuple):
    """One hand in T frames."""

    images: Tensor  # (T, 3, S, S) in 0..1
    boxes: FloatArray  # (T, 4) pixels of the images
    pose: FloatArray  # (T, 48) in the convention of the network's variant
    shape: FloatArray  # (T, 10)
    side: float  # 0 right, 1 left
    joints: Float32Array  # (T, 21, 2) in 0..1 of the box; negative values are not trained
    middle: Middle


def window_around(
    samples: Sequence[Sample], index: int, frames: int, *, stops_at_gap: bool
) -> list[tuple[Sample, Instance]]:
    """Return a sample and those before and after it, each with the same hand; see `frames_around`."""
    return frames_around(samples, index, frames, GAP, stops_at_gap=stops_at_gap, hand_of=_hand)


def _hand(sample: Sample, like: Instance | None) -> Instance | None:
    """Return a sample's first hand with MANO parameters, of the same side as `like`."""
    return next((hand for hand in handoccnet.fitted_hands(sample) if like is None or hand.side == like.side), None)


def window_from_samples(
    window: Sequence[tuple[Sample, Instance]], hands: VariantHands, side: int, change: Augmentation
) -> Window | None:
    """Return crops of a window's frames and their ground truth, or None if a hand is outside its image."""
    rotation, without_rotation = change.rotation_rad, replace(change, rotation_rad=0.0)
    window = change.sequence(window)
    images: list[Tensor] = []
    boxes: list[tuple[float, ...]] = []
    joints: list[Float32Array] = []
    for sample, hand in window:
        assert hand.keypoints_px is not None
        try:
            area = frame_crop(sample, hand.keypoints_px, rotation)
        except InputError:  # the hand is outside the image
            return None
        area = without_rotation.box(area)
        image = change.change_colours(crop(sample.rgb(), area, side, side, border="zero"))
        points = points_into_crop(hand.keypoints_px, area, side)
        box = box_around(points).clip(side, side)
        if box.x_max - box.x_min < 1 or box.y_max - box.y_min < 1:
            return None
        images.append(torch.from_numpy(image).permute(2, 0, 1))
        boxes.append(box)
        joints.append(joints_in_box(points, box))
    sample, hand = window[len(window) // 2]
    hidden = math.nan if hand.visible is None else 1 - float(hand.visible.mean())
    return Window(
        images=torch.stack(images).float() / 255,
        boxes=np.array(boxes),
        pose=np.stack([pose_of(sample, hand, hands, rotation) for sample, hand in window]),
        shape=np.stack([_shape_of(hand, hands) for _, hand in window]),
        side=float(window[0][1].side == "Left"),
        joints=np.stack(joints),
        middle=Middle(f"{sample.sequence}/{sample.view}/{hand.side}", sample.frame or 0, hidden),
    )


def _shape_of(hand: Instance, hands: VariantHands) -> FloatArray:
    """Return a shape (10,) in the convention of the network's left hand."""
    assert hand.mesh is not None
    betas, mano = hand.mesh.betas, hands.left
    if hand.side != "Left" or mano is None or mano.left_shapes in (None, hand.mesh.left_shapes):
        return betas
    return mano.nearest_shape(torch.tensor(betas[None]).to(mano.blend_shapes))[0].double().cpu().numpy()


def pose_of(sample: Sample, hand: Instance, hands: VariantHands, rotation_rad: float = 0.0) -> FloatArray:
    """Return a pose (48,) in the convention of the variant's networks, of a hand whose crop was rotated.

    The HO-3D variant has the OpenGL axes of that set, and poses relative to the flat hand, on all data sets. The
    DexYCB variant has principal components.
    """
    assert hand.mesh is not None
    fit, mano = hand.mesh, hands.left if hand.side == "Left" else hands.right
    if mano is not None:
        fit = fit_with_mean(hand, sample.camera, mano)
    if hands.variant.pca:
        if not fit.pca or fit.frame != "camera":
            raise InputError(f"{sample.dataset}: variant=dexycb requires principal components; set variant=ho3d")
        pose, direction = fit.pose, 1.0
    elif fit.frame == "opengl" and fit.flat_mean and not fit.pca:
        pose, direction = fit.pose, -1.0
    else:
        assert mano is not None
        pose = handoccnet.pose_in_camera(fit, sample.camera, mano, flat_mean=True)
        pose, direction = rotate_to_camera(torch.tensor(pose)[None], hands.variant)[0].numpy(), -1.0
    return handoccnet.rotate_poses(torch.tensor(pose)[None], direction * math.degrees(rotation_rad))[0].numpy()


@dataclass(frozen=True)
class DeformerSettings(handoccnet.ManoSettings):
    """Settings of the recipe."""

    UNSUPPORTED: ClassVar[tuple[str, ...]] = ("mirror",)  # a left hand's components are not a right one's

    mano_left: str = ""  # MANO_LEFT.pkl, or stand-in; "" excludes windows of left hands
    variant: Literal["ho3d", "dexycb"] = "ho3d"  # conventions of the outputs: ho3d or dexycb
    size: Literal["full", "small", "tiny"] = "full"  # network size: full, small for a trial on a CPU, or tiny for tests
    trunk_weights: str = ""  # file of torchvision's ResNet-50 for ImageNet; "" starts with random weights
    maxmse: bool = True  # True to weight points by their share of the errors; False weights all points equally
    discriminator: bool = True  # True to train against the motion discriminator
    discriminator_channels: Width = 1024  # channels of the discriminator's recurrent states
    fusion: bool = True  # True to fuse the poses of all frames by confidence; False takes the pose of the middle frame


class Batch(NamedTuple):
    """The batch of a step; see `Window`."""

    images: Tensor  # (B, T, 3, S, S)
    boxes: Tensor  # (B, T, 4)
    pose: Tensor  # (B, T, 48)
    shape: Tensor  # (B, T, 10)
    side: Tensor  # (B, T)
    joints2d: Tensor  # (B, T, 21, 2)
    real: Tensor  # (B, T, 46) motions of other windows, as real examples for the discriminator

    def targets(self, network: DeformerNetwork) -> DeformerTargets:
        """Compute the ground truth on the device of the network."""
        return targets_from_mano(network, self.pose, self.shape, self.side, self.joints2d)


class AdversarialPair(nn.Module):
    """Deformer and, optionally, its discriminator, trained in one loop."""

    def __init__(self, deformer: DeformerNetwork, discriminator: MotionDiscriminator | None) -> None:
        super().__init__()
        self.deformer, self.discriminator = deformer, discriminator

    def losses(self, batch: Batch, points_loss: Callable[[Tensor, Tensor], Tensor]) -> dict[str, Tensor]:
        """Return the losses of both networks; neither has a gradient for the other's weights."""
        outputs = self.deformer(batch.images, batch.boxes, batch.side)
        predicted = predicted_hands(self.deformer, outputs, batch.side)
        losses = deformer_losses(outputs, predicted, batch.targets(self.deformer), points_loss)
        if self.discriminator is None:
            return losses
        fake = motions(batch.side, predicted.current.pose)
        frozen = {name: value.detach() for name, value in self.discriminator.named_parameters()}
        outputs_for_fake: dict[str, Tensor] = functional_call(self.discriminator, frozen, (fake,))
        scores = (self.discriminator(motion)["out"] for motion in (batch.real, fake.detach()))
        motion = {"motion": ADVERSARIAL * generator_loss(outputs_for_fake["out"])}
        return losses | motion | discriminator_losses(*scores)


def train_deformer(request: TrainingRequest) -> Mapping[str, object]:
    """Train Deformer.

    Returns:
        "weights", and metrics on held-out windows, for the middle frame's hand by MANO, relative to the wrist:
        `mpjpe_mm`; `mean_pose_mpjpe_mm`, the error of the training set's mean hand; `palm_mm` and `finger_mm`, MPJPE
        over the keypoints at the base of the fingers and over the others; `finger_to_palm`, their ratio, 1 for evenly
        distributed errors. Procrustes aligned, as published: `pa_mpjpe_mm`, `pa_auc` up to 50 mm, and for data sets
        with labels of hidden keypoints `pa_25_50_mm`, `pa_50_75_mm` and `pa_75_100_mm`, by the hidden share in per
        cent. `jerk_mm` is the mean third difference of the predicted joints over consecutive frames.
    """
    settings = settings_from(DeformerSettings, request.settings)
    right = handoccnet.mano_from_setting("deformer", "mano", settings.mano)
    left = (
        handoccnet.mano_from_setting("deformer", "mano_left", settings.mano_left, "left")
        if settings.mano_left
        else None
    )
    data = handoccnet.mano_data(request, settings)
    torch.manual_seed(settings.seed)
    network = create_network(
        "deformer",
        request.weights,
        mano=right,
        mano_left=left,
        variant=settings.variant,
        size=settings.size,
        fusion=settings.fusion,
    )
    discriminator = create_network("motion-discriminator", channels=settings.discriminator_channels)
    assert isinstance(network, DeformerNetwork)
    assert isinstance(discriminator, MotionDiscriminator)
    if settings.trunk_weights:
        network.base_net.load_imagenet(without_prefixes(load_checkpoint(settings.trunk_weights), ("conv1.weight",)))
    if not settings.discriminator:
        factors = settings.learning_rate_factors
        others = {part: factor for part, factor in factors.items() if not part.startswith("discriminator")}
        settings = replace(settings, learning_rate_factors=others)
    windows = Windows(data.training, copy.deepcopy(network.hands), network.size)
    held_out = replace(windows, samples=data.held_out)
    pair = AdversarialPair(network, discriminator if settings.discriminator else None).to(request.device).train()
    points_loss = maxmse if settings.maxmse else F.mse_loss

    def losses(model: AdversarialPair, batch: Batch) -> dict[str, Tensor]:
        return model.losses(batch, points_loss)

    draw = partial(_draw, windows=windows, count=settings.batch, augmentation=settings.augmentation)
    metrics = fit(
        request,
        pair,
        draw,
        losses,
        settings,
        inputs=data.inputs(request),
        saved_module=lambda pair: pair.deformer,
        evaluate=lambda pair: evaluate(pair.deformer, held_out),
    )
    counts = {"training_images": len(data.training), "split": data.split.text}
    results: dict[str, object] = {"weights": request.out / WEIGHTS, **counts, **metrics}
    results["mean_pose_mpjpe_mm"] = mean_pose_error(network, windows, held_out)
    return results | building_blocks.export_trained(network, request)


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows of a data set."""

    samples: Sequence[Sample]  # samples of the data set
    hands: VariantHands  # MANO's models, on the CPU
    size: DeformerSize  # network size

    def window(self, index: int, change: Augmentation = UNCHANGED) -> Window | None:
        """Return the window around a sample, augmented, or None if there is none."""
        around = self._around(index)
        return window_from_samples(around, self.hands, self.size.image, change) if around else None

    def motion(self, index: int) -> Tensor | None:
        """Return the motion (T, 46) of a hand over a window, or None if there is no window."""
        window = self._around(index)
        if not window:
            return None
        pose = torch.from_numpy(np.stack([pose_of(sample, hand, self.hands) for sample, hand in window]))
        side = torch.full((1, len(window)), float(window[0][1].side == "Left"))
        return motions(side.to(pose), pose[None])[0]

    def batches(self, device: torch.device, maximum: int = 0) -> Generator[tuple[list[Middle], Batch]]:
        """Yield all windows, or at most `maximum` evenly spaced ones, in batches of ten with their middle frames."""
        step = max(len(self.samples) // maximum, 1) if maximum else 1
        indices = range(0, len(self.samples), step)
        windows = (window for index in indices if (window := self.window(index)) is not None)
        while chunk := list(islice(windows, 10)):
            yield [window.middle for window in chunk], to_device(_tensors(chunk, torch.zeros(0)), device)

    def _around(self, index: int) -> list[tuple[Sample, Instance]]:
        """Return the frames around a sample, or an empty list if there is no MANO model for its hand."""
        window = window_around(self.samples, index, self.size.frames, stops_at_gap=self.hands.variant.stops_at_gap)
        if window and window[0][1].side == "Left" and self.hands.left is None:
            return []
        return window


def _draw(rng: np.random.Generator, windows: Windows, count: int, augmentation: AugmentationSettings) -> Batch:
    """Return the batch of a step."""

    def window(index: int, generator: np.random.Generator) -> Window | None:
        return windows.window(index, draw_augmentation(augmentation, generator))

    indices = range(len(windows.samples))
    drawn = draw_examples(indices, window, rng, count)
    (others,) = rng.spawn(1)
    return _tensors(drawn, torch.stack(draw_examples(indices, lambda index, _: windows.motion(index), others, count)))


def _tensors(windows: Sequence[Window], real: Tensor) -> Batch:
    def stacked(values: Sequence[NDArray[np.generic]]) -> Tensor:
        return torch.from_numpy(np.stack(values)).float()

    pose = stacked([window.pose for window in windows])
    return Batch(
        images=torch.stack([window.images for window in windows]),
        boxes=stacked([window.boxes for window in windows]),
        pose=pose,
        shape=stacked([window.shape for window in windows]),
        side=torch.tensor([window.side for window in windows])[:, None].expand(-1, pose.shape[1]),
        joints2d=stacked([window.joints for window in windows]),
        real=real.float(),
    )


@modes.evaluates
def evaluate(network: DeformerNetwork, held_out: Windows) -> dict[str, float]:
    """Return metrics of a network in eval mode on held-out windows; see `train_deformer`."""
    middle = network.size.frames // 2
    middles: list[Middle] = []
    rows: list[tuple[Tensor, ...]] = []
    for chunk, batch in held_out.batches(network.device):
        predicted = predicted_hands(network, network(batch.images, batch.boxes, batch.side), batch.side)
        middles += chunk
        rows.append((predicted.fused.joints, batch.targets(network).hands.joints[:, middle]))
    if not rows:
        raise InputError("No window with MANO parameters to evaluate on. Choose another data set.")
    hands, true = (handoccnet.from_wrist(torch.cat(column)) for column in zip(*rows, strict=True))
    errors = _MM * (hands - true).norm(dim=2)  # (N, 21)
    aligned = handoccnet.aligned_errors(hands, true)
    hidden = torch.tensor([item.hidden for item in middles])
    bins = {
        f"pa_{low}_{high}_mm": float(aligned[inside].mean())
        for low, high in ((25, 50), (50, 75), (75, 100))
        if (inside := (hidden >= low / 100) & ((hidden < high / 100) | (high == 100))).any()
    }
    palm, fingers = float(errors[:, PALM].mean()), float(errors[:, FINGERS].mean())
    return {
        "mpjpe_mm": float(errors.mean()),
        "palm_mm": palm,
        "finger_mm": fingers,
        "finger_to_palm": fingers / palm,
        "pa_mpjpe_mm": float(aligned.mean()),
        "pa_auc": handoccnet.area_under_pck(aligned),
        **bins,
        "jerk_mm": _MM * _jerk(middles, hands),
    }


def _jerk(middles: Sequence[Middle], hands: Tensor) -> float:
    """Return the mean third difference of joints (N, 21, 3) over four evenly spaced frames of a recording, or NaN."""
    starts = [
        start
        for start in range(len(middles) - 3)
        if len({middle.recording for middle in middles[start : start + 4]}) == 1
        and len({after.frame - before.frame for before, after in pairwise(middles[start : start + 4])}) == 1
    ]
    if not starts:
        return math.nan
    return float(torch.stack([hands[start : start + 4].diff(n=3, dim=0).norm(dim=2).mean() for start in starts]).mean())


def mean_pose_error(network: DeformerNetwork, training: Windows, held_out: Windows) -> float:
    """Return the MPJPE in mm of the training set's mean hand on held-out windows."""
    middle = network.size.frames // 2
    training_joints, truth = (
        [handoccnet.from_wrist(batch.targets(network).hands.joints[:, middle]) for _, batch in batches]
        for batches in (training.batches(network.device, maximum=200), held_out.batches(network.device))
    )
    if not training_joints:
        raise InputError("No window with MANO parameters to train on. Choose another data set.")
    return _MM * float((torch.cat(training_joints).mean(0) - torch.cat(truth)).norm(dim=2).mean())
