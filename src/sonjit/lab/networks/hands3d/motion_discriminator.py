"""The discriminator of hand motions that Deformer is trained against."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sonjit._util.errors import InputError
from sonjit.lab.networks.registry import InputSpec, Network, NetworkEntry, register

MOTION = 46
"""Size of a motion's frame: the side, 0 for right and 1 for left, and the 45 numbers of MANO's fingers."""
_FRAMES = 7


class TimeAttention(nn.Module):
    """Weights of the frames from three layers on each, with the published initial weights."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            nn.Linear(channels, channels), nn.Tanh(), nn.Dropout(0.2),
            nn.Linear(channels, channels), nn.Tanh(), nn.Dropout(0.2),
            nn.Linear(channels, 1), nn.Tanh(), nn.Dropout(0.2),
        )  # fmt: skip
        for layer in self.attention:
            if isinstance(layer, nn.Linear):
                nn.init.uniform_(layer.weight, -0.1, 0.1)
                nn.init.constant_(layer.bias, 0.01)

    def forward(self, states: Tensor) -> Tensor:
        """Map states (B, T, C) to weights (B, T) of sum 1."""
        return self.attention(states).squeeze(2).softmax(1)


class MotionDiscriminator(Network):
    """Discriminate motions of real hands from those of a network.

    Args:
        channels: Channels of the recurrent layers' states.

    Source: Fu et al. 2023, Deformer, section 3.5; Kocabas et al. 2020, VIBE, section 3.2.
    """

    def __init__(self, channels: int = 1024) -> None:
        super().__init__()
        self.gru = nn.GRU(MOTION, channels, 2, batch_first=True)
        self.attention = TimeAttention(channels)
        self.fc = nn.Linear(channels, 1)

    def forward(self, motions: Tensor) -> dict[str, Tensor]:
        """Score motions.

        Args:
            motions: (B, T, 46) side, and the fingers' numbers in the convention of Deformer's variant.

        Returns:
            `out` (B, 1): near 1 for real motions and near 0 for others, but not bounded; `attention` (B, T): weight of
            each frame; `pooled` (B, 1024): pooled states.
        """
        if motions.ndim != 3 or motions.shape[2] != MOTION or not motions.shape[1]:
            raise InputError(f"{self.name}: motions have shape {tuple(motions.shape)}; expected (B, T, {MOTION})")
        states: Tensor = self.gru(motions)[0]
        shares = self.attention(states)
        pooled = torch.einsum("bt,btc->bc", shares, states)
        return {"out": self.fc(pooled), "attention": shares, "pooled": pooled}


register(
    NetworkEntry(
        name="motion-discriminator",
        build=MotionDiscriminator,
        summary="discriminates motions of real hands from a network's; used only in Deformer's training",
        source="Fu et al. 2023, Deformer, section 3.5",
        licence="no weights were published",
        inputs=(InputSpec("motions", (_FRAMES, MOTION), -1.0, 1.0),),
        where="train it with Deformer",
        tiny={"channels": 16},
    )
)
