"""Deformer against its motion discriminator: each learns from the other, in turns.

Source: Fu et al. 2023, Deformer, section 3.5; Mao et al. 2017, Least Squares Generative Adversarial Networks.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from sonjit.errors import JobError
from sonjit.training.hands3d.deformer_losses import RATE, WEIGHT_DECAY, deformer_losses, predicted_hands, rate_of_epoch

if TYPE_CHECKING:
    from torch import Tensor

    from sonjit.networks.hands3d.deformer import DeformerNetwork
    from sonjit.networks.hands3d.motion_discriminator import MotionDiscriminator
    from sonjit.training.hands3d.deformer_losses import DeformerTargets

DISCRIMINATOR_RATE = 1e-3
ADVERSARIAL = 10.0
"""Weight of what the discriminator says among Deformer's losses."""


def motions(side: Tensor, pose: Tensor) -> Tensor:
    """What the discriminator judges, (B, T, 46), of sides (B, T) and poses (B, T, 48): the wrist's turn is left out."""
    return torch.cat([side[..., None], pose[..., 3:]], -1)


def generator_loss(fake: Tensor) -> Tensor:
    """How far judgements (B, 1) of a network's motions are from those of real ones."""
    return (fake - 1).square().sum() / len(fake)


def discriminator_losses(real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    """How far judgements (B, 1) are from 1 for real motions and from 0 for a network's."""
    return {"real": (real - 1).square().sum() / len(real), "fake": fake.square().sum() / len(fake)}


class AdversarialTraining:
    """A step of Deformer, then one of its discriminator, and so on.

    Args:
        network: in the mode and on the device in which it is to be trained.
        discriminator: likewise.
        rate: of the network's AdamW, at first.
        discriminator_rate: of the discriminator's.
    """

    def __init__(
        self,
        network: DeformerNetwork,
        discriminator: MotionDiscriminator,
        rate: float = RATE,
        discriminator_rate: float = DISCRIMINATOR_RATE,
    ) -> None:
        self._network, self._discriminator = network, discriminator
        self._rates = rate, discriminator_rate
        self._optimizers = tuple(
            torch.optim.AdamW(each.parameters(), lr=its_rate, weight_decay=WEIGHT_DECAY)
            for each, its_rate in zip((network, discriminator), self._rates, strict=True)
        )

    def begin_epoch(self, epoch: int) -> None:
        """Set both rates for an epoch, from 0."""
        for optimizer, rate in zip(self._optimizers, self._rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate_of_epoch(epoch, rate)

    def step(self, images: Tensor, hand_boxes: Tensor, targets: DeformerTargets, real: Tensor) -> dict[str, float]:
        """Both learn from a batch once.

        Args:
            images: (B, T, 3, 512, 512), as the network takes them.
            hand_boxes: (B, T, 4).
            targets: the truth of these.
            real: (N, T, 46) `motions` of other windows of the data set.

        Returns:
            The losses before the step, by name: the network's own, `motion`, and the discriminator's `real` and `fake`.

        Raises:
            JobError: a loss is no number any more.
        """
        outputs = self._network(images, hand_boxes, targets.side)
        predicted = predicted_hands(self._network, outputs, targets.side)
        fake = motions(targets.side, predicted.own.pose)
        judged = self._discriminator(fake)["out"]
        losses = {**deformer_losses(outputs, predicted, targets), "motion": ADVERSARIAL * generator_loss(judged)}
        told = self._learn(0, losses)
        # The discriminator's own gradients from above are dropped here, and the network gets none from below.
        judgements = (self._discriminator(motion)["out"] for motion in (real, fake.detach()))
        return told | self._learn(1, discriminator_losses(*judgements))

    def _learn(self, which: int, losses: dict[str, Tensor]) -> dict[str, float]:
        total = torch.stack(list(losses.values())).sum()
        if not math.isfinite(total.item()):
            raise JobError(f"the loss is {total.item()}; try a smaller rate than {self._rates[which]:g}")
        self._optimizers[which].zero_grad(set_to_none=True)
        total.backward()
        self._optimizers[which].step()
        return {name: loss.item() for name, loss in losses.items()}
