"""Deformer from videos with MANO's parameters, with or without maxMSE and its motion discriminator."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.func import functional_call  # pyright: ignore[reportPrivateImportUsage]

from sonjit.errors import InputError
from sonjit.networks import create_network, save_checkpoint
from sonjit.networks.deformer import DeformerNetwork
from sonjit.networks.motion_discriminator import MotionDiscriminator
from sonjit.training.deformer import (
    DeformerTargets,
    deformer_losses,
    draw_window_augmentation,
    maxmse,
    predicted_hands,
    targets_from_mano,
)
from sonjit.training.deformer_windows import Window, pose_of, window_around, window_from_samples
from sonjit.training.hand_samples import drawn, refuse_export
from sonjit.training.handoccnet_recipe import fill_trunk, from_wrist
from sonjit.training.loop import train
from sonjit.training.mano_fits import ManoSettings, mano_data, mano_from_setting
from sonjit.training.motion_adversary import ADVERSARIAL, discriminator_losses, generator_loss, motions
from sonjit.training.recipes import settings_from

if TYPE_CHECKING:
    from sonjit.datasets import Instance, Sample
    from sonjit.training.recipes import TrainingRequest

WEIGHTS = "deformer.safetensors"
"""The trained network alone; `weights.safetensors` beside it holds the discriminator too."""
PALM, FINGERS = (1, 5, 9, 13, 17), (2, 3, 4, 6, 7, 8, 10, 11, 12, 14, 15, 16, 18, 19, 20)
"""MediaPipe's keypoints: where fingers begin, and what they bend; the wrist is the origin."""
_MM = 1000.0


@dataclass(frozen=True)
class DeformerSettings(ManoSettings):
    """How Deformer is made and trained; the first are those of all recipes on MANO.

    Attributes:
        mano_left: MANO_LEFT.pkl, or stand-in; "" leaves windows of left hands out.
        variant: whose conventions: ho3d or dexycb.
        size: full, small for a try on a CPU, or tiny for tests.
        trunk_weights: torchvision's ResNet-50 for ImageNet, to begin with; "" begins with random numbers.
        maxmse: weigh points by their share of the errors; False counts all alike.
        discriminator: learn against the motion discriminator.
        discriminator_channels: of its recurrent states.
        vary: shift, scale, turn and light each window anew.
    """

    mano_left: str = ""
    variant: Literal["ho3d", "dexycb"] = "ho3d"
    size: Literal["full", "small", "tiny"] = "full"
    trunk_weights: str = ""
    maxmse: bool = True
    discriminator: bool = True
    discriminator_channels: int = 1024
    vary: bool = True


class Batch(NamedTuple):
    """What one step learns from."""

    images: Tensor  # (B, T, 3, S, S)
    boxes: Tensor  # (B, T, 4)
    targets: DeformerTargets
    real: Tensor  # (B, T, 46) motions of other windows


class Players(nn.Module):
    """Deformer and, where it is learned against, its discriminator: what one loop trains."""

    def __init__(self, deformer: DeformerNetwork, discriminator: MotionDiscriminator | None) -> None:
        super().__init__()
        self.deformer, self.discriminator = deformer, discriminator

    def losses(self, batch: Batch, points_loss: Callable[[Tensor, Tensor], Tensor]) -> dict[str, Tensor]:
        """Both networks' losses in one sum, in which neither moves the other's weights."""
        outputs = self.deformer(batch.images, batch.boxes, batch.targets.side)
        predicted = predicted_hands(self.deformer, outputs, batch.targets.side)
        losses = deformer_losses(outputs, predicted, batch.targets, points_loss)
        if self.discriminator is None:
            return losses
        fake = motions(batch.targets.side, predicted.own.pose)
        held = {name: value.detach() for name, value in self.discriminator.named_parameters()}
        judged: dict[str, Tensor] = functional_call(self.discriminator, held, (fake,))
        judgements = (self.discriminator(motion)["out"] for motion in (batch.real, fake.detach()))
        motion = {"motion": ADVERSARIAL * generator_loss(judged["out"])}
        return losses | motion | discriminator_losses(*judgements)


def train_deformer(request: TrainingRequest) -> Mapping[str, object]:
    """The recipe: see the module.

    Returns:
        The weights' path, and on windows held out, of the hand in the middle by MANO, from the wrist: `mpjpe_mm`;
        `mean_pose_mpjpe_mm`, what the mean hand of the windows learnt from has in its place; `palm_mm` and `finger_mm`,
        the same over where fingers begin and over what they bend; `finger_to_palm`, their ratio, 1 where errors are
        even; `jerk_mm`, the mean third difference of joints along the frames of a window.

    Raises:
        InputError: no MANO, no data or data without MANO's parameters, or weights that do not fit.
    """
    refuse_export(request)
    settings = settings_from(DeformerSettings, request.settings)
    right = mano_from_setting("deformer", "mano", settings.mano)
    left = mano_from_setting("deformer", "mano_left", settings.mano_left, "left") if settings.mano_left else None
    data = mano_data(request, settings)
    torch.manual_seed(settings.seed)
    options: dict[str, Any] = {"mano": right, "mano_left": left, "variant": settings.variant, "size": settings.size}
    network = create_network("deformer", request.weights, **options)
    judge_ = create_network("motion-discriminator", channels=settings.discriminator_channels)
    assert isinstance(network, DeformerNetwork)
    assert isinstance(judge_, MotionDiscriminator)
    if settings.trunk_weights:
        fill_trunk(network.base_net, Path(settings.trunk_weights))
    if not settings.discriminator:
        others = {
            part: factor for part, factor in settings.rate_factors.items() if not part.startswith("discriminator")
        }
        settings = replace(settings, rate_factors=others)
    players = Players(network, judge_ if settings.discriminator else None).to(request.device).train()
    points_loss = maxmse if settings.maxmse else F.mse_loss

    def window(place: int, rng: np.random.Generator) -> Window | None:
        around = _around(data.learnt, place, network)
        change = draw_window_augmentation(rng) if settings.vary else None
        return window_from_samples(around, network.hands, network.size.image, change) if around else None

    def batch(rng: np.random.Generator) -> Batch:
        places = range(len(data.learnt))
        windows = drawn(places, window, rng, settings.batch, settings.workers)
        real = drawn(places, lambda place, _: _motion(data.learnt, place, network), rng, settings.batch, 1)
        return _tensors(windows, torch.stack(real).float(), network, request.device)

    said: dict[str, Any] = {**asdict(settings), "recipe": request.recipe, "data": data.name, "weights": request.weights}
    train(
        players,
        batch,
        lambda model, batch: model.losses(batch, points_loss),
        settings,
        out=request.out,
        settings=said,
        progress=request.progress,
    )
    save_checkpoint(network, request.out / WEIGHTS)
    told: dict[str, object] = {"weights": request.out / WEIGHTS, "learnt_from": len(data.learnt)}
    return told | judge(network, data.learnt, data.judged, request.device)


def _around(samples: Sequence[Sample], place: int, network: DeformerNetwork) -> list[tuple[Sample, Instance]]:
    """The frames around a sample; none where its hand is one that the network has no MANO for."""
    window = window_around(samples, place, network.size.frames, network.hands.variant.stops_at_gap)
    if window and window[0][1].side == "Left" and network.hands.left is None:
        return []
    return window


def _motion(samples: Sequence[Sample], place: int, network: DeformerNetwork) -> Tensor | None:
    """How a hand of the data set moves over a window, (T, 46); None without one."""
    window = _around(samples, place, network)
    if not window:
        return None
    pose = torch.from_numpy(np.stack([pose_of(sample, hand, network.hands) for sample, hand in window]))
    side = torch.full((1, len(window)), float(window[0][1].side == "Left"))
    return motions(side.to(pose), pose[None])[0]


def _tensors(windows: Sequence[Window], real: Tensor, network: DeformerNetwork, device: str) -> Batch:
    def stacked(values: Sequence[np.ndarray[Any, Any]]) -> Tensor:
        return torch.from_numpy(np.stack(values)).float().to(device)

    pose, shape = stacked([one.pose for one in windows]), stacked([one.shape for one in windows])
    side = torch.tensor([one.side for one in windows], device=device)[:, None].expand(-1, pose.shape[1])
    targets = targets_from_mano(network, pose, shape, side, stacked([one.joints for one in windows]))
    images = torch.stack([one.images for one in windows]).to(device)
    return Batch(images, stacked([one.boxes for one in windows]), targets, real.to(device))


@torch.inference_mode()
def judge(
    network: DeformerNetwork, learnt: Sequence[Sample], judged: Sequence[Sample], device: str
) -> dict[str, float]:
    """Figures on windows held out; see `train_deformer`."""
    network.to(device).eval()
    middle = network.size.frames // 2
    found: list[Tensor] = []
    truth: list[Tensor] = []
    jerks: list[Tensor] = []
    for batch in _windows_in_tens(judged, network, device):
        outputs = network(batch.images, batch.boxes, batch.targets.side)
        own = predicted_hands(network, outputs, batch.targets.side)
        found.append(from_wrist(own.fused.joints))
        truth.append(from_wrist(batch.targets.hands.joints[:, middle]))
        jerks.append(from_wrist(own.own.joints).diff(n=3, dim=1).norm(dim=3).flatten())
    some = [learnt[place] for place in range(0, len(learnt), max(len(learnt) // 200, 1))]
    known = [batch.targets.hands.joints[:, middle] for batch in _windows_in_tens(some, network, device)]
    if not truth or not known:
        raise InputError("no window with MANO's parameters among what is learnt from or held out: give another set")
    wanted, mean = torch.cat(truth), from_wrist(torch.cat(known)).mean(0)
    errors = _MM * (torch.cat(found) - wanted).norm(dim=2)  # (N, 21)
    palm, fingers = float(errors[:, PALM].mean()), float(errors[:, FINGERS].mean())
    return {
        "mpjpe_mm": float(errors.mean()),
        "mean_pose_mpjpe_mm": _MM * float((mean - wanted).norm(dim=2).mean()),
        "palm_mm": palm,
        "finger_mm": fingers,
        "finger_to_palm": fingers / palm,
        "jerk_mm": _MM * float(torch.cat(jerks).mean()),
    }


def _windows_in_tens(samples: Sequence[Sample], network: DeformerNetwork, device: str) -> Generator[Batch]:
    """Every window as it is, by tens."""
    for start in range(0, len(samples), 10):
        windows: list[Window] = []
        for place in range(start, min(start + 10, len(samples))):
            around = _around(samples, place, network)
            one = window_from_samples(around, network.hands, network.size.image, None) if around else None
            windows += [] if one is None else [one]
        if windows:
            yield _tensors(windows, torch.zeros(0), network, device)
