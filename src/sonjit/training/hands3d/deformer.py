"""The recipe `deformer`: Deformer on videos with MANO's parameters, with or without maxMSE and its discriminator.

It is trained on windows: frames around one, with the same hand in all of them and the same augmentation.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call  # pyright: ignore[reportPrivateImportUsage]

from sonjit.arrays import Float32Array, FloatArray
from sonjit.datasets import Instance, Sample
from sonjit.datasets.recordings import frames_around
from sonjit.errors import InputError
from sonjit.geometry.boxes import crop, points_into_crop
from sonjit.meshes.frame_crops import frame_crop
from sonjit.networks import create_network, load_checkpoint
from sonjit.networks.hands3d.deformer import DeformerNetwork, Size, VariantHands, turned_to_camera
from sonjit.networks.hands3d.deformer_stream import GAP, box_around, joints_in_box
from sonjit.networks.hands3d.motion_discriminator import MotionDiscriminator
from sonjit.training.augment import Augmentation, AugmentationSettings, draw_augmentation
from sonjit.training.batches import moved
from sonjit.training.hands.samples import draw_examples, known_hands, refuse_export
from sonjit.training.hands3d.deformer_losses import (
    ADVERSARIAL,
    DeformerTargets,
    deformer_losses,
    discriminator_losses,
    generator_loss,
    motions,
    predicted_hands,
    targets_from_mano,
)
from sonjit.training.hands3d.handoccnet import from_wrist, rotated
from sonjit.training.hands3d.mano_data import (
    ManoSettings,
    aligned_errors,
    area_under_pck,
    mano_data,
    mano_from_setting,
    pose_in_camera,
)
from sonjit.training.loop import WEIGHTS, train
from sonjit.training.losses import maxmse
from sonjit.training.recipes import TrainingRequest, settings_from

_AS_IS = Augmentation()


class Middle(NamedTuple):
    """What is known of a window's middle frame."""

    recording: str
    frame: int
    hidden: float  # share of its keypoints; NaN where the data set does not say


class Window(NamedTuple):
    """One hand in T frames."""

    images: Tensor  # (T, 3, S, S) in 0..1
    boxes: FloatArray  # (T, 4) pixels of these
    pose: FloatArray  # (T, 48) as the network's variant has it
    shape: FloatArray  # (T, 10)
    side: float  # 0 right, 1 left
    joints: Float32Array  # (T, 21, 2) in 0..1 of the box; negative where not to be trained on
    middle: Middle


def window_around(
    samples: Sequence[Sample], index: int, frames: int, stops_at_gap: bool
) -> list[tuple[Sample, Instance]]:
    """A sample and those before and after it, each with the same hand; see `frames_around`."""
    return frames_around(samples, index, frames, GAP, stops_at_gap=stops_at_gap, hand_of=_hand)


def _hand(sample: Sample, like: Instance | None) -> Instance | None:
    """A sample's first hand with MANO's parameters, of the same side as another."""
    hands = [one for one in known_hands(sample) if one.mesh is not None]
    return next((one for one in hands if like is None or one.side == like.side), None)


def window_from_samples(
    window: Sequence[tuple[Sample, Instance]], hands: VariantHands, side: int, change: Augmentation = _AS_IS
) -> Window | None:
    """Crops of a window's frames and their ground truth; None where a hand lies outside its image."""
    rotation, moved_alone = change.rotation_rad, replace(change, rotation_rad=0.0)
    window = change.sequence(window)
    images: list[Tensor] = []
    boxes: list[tuple[float, ...]] = []
    joints: list[Float32Array] = []
    for sample, hand in window:
        assert hand.keypoints_px is not None
        try:
            area = frame_crop(sample, hand.keypoints_px, rotation)
        except InputError:  # the hand has left the image
            return None
        area = moved_alone.box(area)
        image = change.coloured(crop(sample.rgb(), area, side, side, border="zero"))
        points = points_into_crop(hand.keypoints_px, area, side)
        box = box_around(points).clipped(side, side)
        if box.x_max - box.x_min < 1 or box.y_max - box.y_min < 1:
            return None
        images.append(torch.from_numpy(image).permute(2, 0, 1))
        boxes.append(box)
        joints.append(joints_in_box(points, box))
    meshes = [hand.mesh for _, hand in window if hand.mesh is not None]
    return Window(
        torch.stack(images).float() / 255,
        np.array(boxes),
        np.stack([pose_of(sample, hand, hands, rotation) for sample, hand in window]),
        np.stack([mesh.betas for mesh in meshes]),
        float(window[0][1].side == "Left"),
        np.stack(joints),
        _middle(*window[len(window) // 2]),
    )


def _middle(sample: Sample, hand: Instance) -> Middle:
    hidden = math.nan if hand.visible is None else 1 - float(hand.visible.mean())
    return Middle(f"{sample.sequence}/{sample.view}/{hand.side}", sample.frame or 0, hidden)


def pose_of(sample: Sample, hand: Instance, hands: VariantHands, rotation_rad: float = 0.0) -> FloatArray:
    """A pose (48,) as the variant's networks are trained on it, of a hand whose crop was rotated.

    The variant of HO-3D has that set's axes, which are OpenGL's, and poses from the flat hand, whatever set it is
    trained on; that of DexYCB has principal components.

    Raises:
        InputError: the fit is of another kind.
    """
    fit = hand.mesh
    assert fit is not None
    if hands.variant.pca:
        if not fit.pca or fit.frame != "camera":
            raise InputError(f"{sample.dataset} has no principal components in camera space: set variant=ho3d")
        pose, way = fit.pose, 1.0
    elif fit.frame == "opengl" and fit.flat_mean and not fit.pca:
        pose, way = fit.pose, -1.0
    else:
        mano = hands.left if hand.side == "Left" else hands.right
        assert mano is not None
        pose = pose_in_camera(fit, sample.camera, mano, flat_mean=True)
        pose, way = turned_to_camera(torch.tensor(pose)[None], hands.variant)[0].numpy(), -1.0
    return rotated(torch.tensor(pose)[None], way * math.degrees(rotation_rad))[0].numpy()


PALM, FINGERS = (1, 5, 9, 13, 17), (2, 3, 4, 6, 7, 8, 10, 11, 12, 14, 15, 16, 18, 19, 20)
"""MediaPipe's keypoints: where fingers begin, and what they bend; the wrist is the origin."""

_MM = 1000.0


@dataclass(frozen=True)
class DeformerSettings(ManoSettings):
    """Settings of the recipe.

    Attributes:
        mano_left: MANO_LEFT.pkl, or stand-in; "" leaves windows of left hands out.
        variant: whose conventions: ho3d or dexycb.
        size: full, small for a try on a CPU, or tiny for tests.
        trunk_weights: torchvision's ResNet-50 for ImageNet, to begin with; "" initialises it at random.
        maxmse: weigh points by their share of the errors; False counts all alike.
        discriminator: train against the motion discriminator.
        discriminator_channels: of its recurrent states.
        fusion: carry all frames' poses to the middle one by confidence; else that one's own is taken.
    """

    WITHOUT: ClassVar[tuple[str, ...]] = ("mirror",)  # a left hand's components are not a right one's

    mano_left: str = ""
    variant: Literal["ho3d", "dexycb"] = "ho3d"
    size: Literal["full", "small", "tiny"] = "full"
    trunk_weights: str = ""
    maxmse: bool = True
    discriminator: bool = True
    discriminator_channels: int = 1024
    fusion: bool = True


class Batch(NamedTuple):
    """What one step learns from; see `Window`."""

    images: Tensor  # (B, T, 3, S, S)
    boxes: Tensor  # (B, T, 4)
    pose: Tensor  # (B, T, 48)
    shape: Tensor  # (B, T, 10)
    side: Tensor  # (B, T)
    joints2d: Tensor  # (B, T, 21, 2)
    real: Tensor  # (B, T, 46) motions of other windows

    def targets(self, network: DeformerNetwork) -> DeformerTargets:
        """The ground truth, computed where the network is."""
        return targets_from_mano(network, self.pose, self.shape, self.side, self.joints2d)


class AdversarialPair(nn.Module):
    """Deformer and, where there is one, its discriminator, trained in one loop."""

    def __init__(self, deformer: DeformerNetwork, discriminator: MotionDiscriminator | None) -> None:
        super().__init__()
        self.deformer, self.discriminator = deformer, discriminator

    def losses(self, batch: Batch, points_loss: Callable[[Tensor, Tensor], Tensor]) -> dict[str, Tensor]:
        """Both networks' losses in one sum, in which neither has a gradient for the other's weights."""
        outputs = self.deformer(batch.images, batch.boxes, batch.side)
        predicted = predicted_hands(self.deformer, outputs, batch.side)
        losses = deformer_losses(outputs, predicted, batch.targets(self.deformer), points_loss)
        if self.discriminator is None:
            return losses
        fake = motions(batch.side, predicted.own.pose)
        held = {name: value.detach() for name, value in self.discriminator.named_parameters()}
        outputs_for_fake: dict[str, Tensor] = functional_call(self.discriminator, held, (fake,))
        scores = (self.discriminator(motion)["out"] for motion in (batch.real, fake.detach()))
        motion = {"motion": ADVERSARIAL * generator_loss(outputs_for_fake["out"])}
        return losses | motion | discriminator_losses(*scores)


def train_deformer(request: TrainingRequest) -> Mapping[str, object]:
    """The recipe: see the module.

    Returns:
        The weights' path, and on windows held out, of the hand in the middle by MANO, from the wrist: `mpjpe_mm`;
        `mean_pose_mpjpe_mm`, the error of the mean hand of the training set; `palm_mm` and `finger_mm`, MPJPE over the
        keypoints where fingers begin and over those that they bend; `finger_to_palm`, their ratio, 1 where errors are
        even. Procrustes aligned, as published: `pa_mpjpe_mm`, `pa_auc` up to 50 mm, and where the data set says what is
        hidden `pa_25_50_mm`, `pa_50_75_mm` and `pa_75_100_mm`, by the hidden share in per cent. `jerk_mm` is the mean
        third difference of the output's joints over frames that follow each other.

    Raises:
        InputError: no MANO, no data or data without MANO's parameters, or weights that do not fit.
    """
    refuse_export(request)
    settings = settings_from(DeformerSettings, request.settings)
    right = mano_from_setting("deformer", "mano", settings.mano)
    left = mano_from_setting("deformer", "mano_left", settings.mano_left, "left") if settings.mano_left else None
    data = mano_data(request, settings)
    torch.manual_seed(settings.seed)
    network = create_network(
        "deformer", request.weights, mano=right, mano_left=left, variant=settings.variant, size=settings.size,
        fusion=settings.fusion,
    )  # fmt: skip
    discriminator = create_network("motion-discriminator", channels=settings.discriminator_channels)
    assert isinstance(network, DeformerNetwork)
    assert isinstance(discriminator, MotionDiscriminator)
    if settings.trunk_weights:
        network.base_net.load_imagenet(load_checkpoint(Path(settings.trunk_weights)))
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
    metrics = train(
        pair, draw, losses, settings,
        out=request.out, inputs=request.inputs(data.name), progress=request.progress, kept=lambda pair: pair.deformer,
        evaluate=lambda pair: evaluate(pair.deformer, held_out, request.device),
    )  # fmt: skip
    results: dict[str, object] = {"weights": request.out / WEIGHTS, "training_images": len(data.training)}
    return results | metrics | {"mean_pose_mpjpe_mm": mean_pose_error(network, windows, held_out, request.device)}


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows of a data set.

    Attributes:
        samples: of the data set.
        hands: MANO's models, on the CPU.
        size: of the network.
    """

    samples: Sequence[Sample]
    hands: VariantHands
    size: Size

    def at(self, place: int, change: Augmentation = _AS_IS) -> Window | None:
        """The one around a sample, augmented; None where there is none."""
        around = self._around(place)
        return window_from_samples(around, self.hands, self.size.image, change) if around else None

    def motion(self, place: int) -> Tensor | None:
        """How a hand moves over a window, (T, 46); None without one."""
        window = self._around(place)
        if not window:
            return None
        pose = torch.from_numpy(np.stack([pose_of(sample, hand, self.hands) for sample, hand in window]))
        side = torch.full((1, len(window)), float(window[0][1].side == "Left"))
        return motions(side.to(pose), pose[None])[0]

    def in_tens(self, device: str, most: int = 0) -> Generator[tuple[list[Middle], Batch]]:
        """Every window as it is, by tens, with its middle; or at most so many, evenly spread."""
        step = max(len(self.samples) // most, 1) if most else 1
        windows = (one for place in range(0, len(self.samples), step) if (one := self.at(place)) is not None)
        while some := list(islice(windows, 10)):
            yield [one.middle for one in some], moved(_tensors(some, torch.zeros(0)), torch.device(device))

    def _around(self, place: int) -> list[tuple[Sample, Instance]]:
        """The frames around a sample; none where its hand is one that there is no MANO for."""
        window = window_around(self.samples, place, self.size.frames, self.hands.variant.stops_at_gap)
        if window and window[0][1].side == "Left" and self.hands.left is None:
            return []
        return window


def _draw(rng: np.random.Generator, windows: Windows, count: int, augmentation: AugmentationSettings) -> Batch:
    """The batch of a step."""

    def window(place: int, own: np.random.Generator) -> Window | None:
        return windows.at(place, draw_augmentation(augmentation, own))

    places = range(len(windows.samples))
    drawn = draw_examples(places, window, rng, count)
    return _tensors(drawn, torch.stack(draw_examples(places, lambda place, _: windows.motion(place), rng, count)))


def _tensors(windows: Sequence[Window], real: Tensor) -> Batch:
    def stacked(values: Sequence[NDArray[np.generic]]) -> Tensor:
        return torch.from_numpy(np.stack(values)).float()

    pose = stacked([one.pose for one in windows])
    return Batch(
        torch.stack([one.images for one in windows]),
        stacked([one.boxes for one in windows]),
        pose,
        stacked([one.shape for one in windows]),
        torch.tensor([one.side for one in windows])[:, None].expand(-1, pose.shape[1]),
        stacked([one.joints for one in windows]),
        real.float(),
    )


@torch.inference_mode()
def evaluate(network: DeformerNetwork, held_out: Windows, device: str) -> dict[str, float]:
    """Metrics of a network in eval mode on windows held out; see `train_deformer`."""
    middle = network.size.frames // 2
    middles: list[Middle] = []
    found: list[Tensor] = []
    truth: list[Tensor] = []
    for some, batch in held_out.in_tens(device):
        own = predicted_hands(network, network(batch.images, batch.boxes, batch.side), batch.side)
        middles += some
        found.append(from_wrist(own.fused.joints))
        truth.append(from_wrist(batch.targets(network).hands.joints[:, middle]))
    if not found:
        raise InputError("no window with MANO's parameters to evaluate on: give another data set")
    hands, true = torch.cat(found), torch.cat(truth)
    errors = _MM * (hands - true).norm(dim=2)  # (N, 21)
    aligned = aligned_errors(hands, true)
    hidden = torch.tensor([one.hidden for one in middles])
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
        "pa_auc": area_under_pck(aligned),
        **bins,
        "jerk_mm": _MM * _jerk(middles, hands),
    }


def _jerk(middles: Sequence[Middle], hands: Tensor) -> float:
    """Mean third difference of joints (N, 21, 3) over four frames of a recording at equal steps; NaN without any."""
    starts = [
        place
        for place in range(len(middles) - 3)
        if len({one.recording for one in middles[place : place + 4]}) == 1
        and len({after.frame - before.frame for before, after in pairwise(middles[place : place + 4])}) == 1
    ]
    if not starts:
        return math.nan
    return float(torch.stack([hands[place : place + 4].diff(n=3, dim=0).norm(dim=2).mean() for place in starts]).mean())


def mean_pose_error(network: DeformerNetwork, training: Windows, held_out: Windows, device: str) -> float:
    """MPJPE in mm of the mean hand of the training set, on windows held out."""
    middle = network.size.frames // 2
    known, wanted = (
        [from_wrist(batch.targets(network).hands.joints[:, middle]) for _, batch in batches]
        for batches in (training.in_tens(device, most=200), held_out.in_tens(device))
    )
    if not known:
        raise InputError("no window with MANO's parameters to train on: give another data set")
    return _MM * float((torch.cat(known).mean(0) - torch.cat(wanted)).norm(dim=2).mean())
