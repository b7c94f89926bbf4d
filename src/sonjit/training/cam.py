"""A small classifier of left and right hands whose class activation maps say where the hand is.

It learns from crops of a video whose hands are known: each shows one hand with its surroundings, or none. It is never
told where in the crop the hand is; those boxes only judge the maps afterwards.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from sonjit.errors import InputError
from sonjit.networks import InputSpec, create_network
from sonjit.networks.export import ENDINGS, export_network
from sonjit.training.hand_crops import CLASSES, Crop, HandCrops
from sonjit.training.loop import WEIGHTS, LoopOptions, train
from sonjit.training.recipes import settings_from

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from sonjit.networks import Network
    from sonjit.training.recipes import TrainingRequest


@dataclass(frozen=True)
class CamSettings(LoopOptions):
    """How the classifier is trained; the first settings are those of every loop.

    Attributes:
        network: one of `list_networks("cam-*")`.
        pooling: gap or gmp.
        batch: crops in a step.
        size: side of a crop in pixels.
        context: side of a crop as a multiple of the hand's.
        segment: frames of which three parts in four are learnt from and the last is held out.
    """

    steps: int = 200
    rate: float = 2e-3
    network: str = "cam-small"
    pooling: str = "gap"
    batch: int = 32
    size: int = 96
    context: float = 2.0
    segment: int = 60

    def __post_init__(self) -> None:
        """Refuse what gives no crops."""
        super().__post_init__()
        if self.batch < 1 or self.size < 16 or self.segment < 4 or not 1 <= self.context <= 4:
            raise InputError("give batch >= 1, size >= 16, segment >= 4 and context in 1..4")


def train_cam(request: TrainingRequest) -> dict[str, object]:
    """Train on the bundled clip, or on a video (`images`) with its truth (`data`); says how often it is right."""
    settings = settings_from(CamSettings, request.settings)
    with resources.as_file(resources.files("sonjit") / "assets") as assets:
        clip, truth = request.images or assets / "demo.mp4", request.data or assets / "demo.json"
        crops = HandCrops(clip, truth, size=settings.size, context=settings.context, segment=settings.segment)
    network = train_classifier(crops, settings, request)
    test = crops.test()
    told: dict[str, object] = {
        "weights": request.out / WEIGHTS, "accuracy": accuracy(network, test), "held_out_crops": len(test),
    }  # fmt: skip
    if request.export:
        inputs = [InputSpec("images", (3, settings.size, settings.size))]
        file = request.out / f"cam{ENDINGS[request.export]}"
        told["export"] = export_network(network, inputs, file).path
    return told


def train_classifier(crops: HandCrops, settings: CamSettings, request: TrainingRequest | None = None) -> Network:
    """The trained network, in eval mode on the CPU."""
    torch.manual_seed(settings.seed)
    device = request.device if request else "cpu"
    weights = request.weights if request else None
    network = create_network(settings.network, weights, classes=len(CLASSES), pooling=settings.pooling)
    network.to(device).train()

    def batch(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        drawn = crops.draw(rng, settings.batch)
        return images_from(drawn).to(device), torch.tensor([one.label for one in drawn], device=device)

    def losses(network: Network, batch: tuple[Tensor, Tensor]) -> Mapping[str, Tensor]:
        images, labels = batch
        return {"cross_entropy": cross_entropy(network(images)["scores"], labels, label_smoothing=0.05)}

    kept: dict[str, Any] = {**asdict(settings), "classes": CLASSES}
    if request is None:
        train(network, batch, losses, settings)
    else:
        train(network, batch, losses, settings, out=request.out, settings=kept, progress=request.progress)
    return network.cpu().eval()


@torch.inference_mode()
def accuracy(network: Network, crops: Sequence[Crop]) -> float:
    """Share of crops whose class is found, 0..1."""
    right = 0
    for start in range(0, len(crops), 64):
        part = crops[start : start + 64]
        best = network(images_from(part))["scores"].argmax(1)
        right += int((best == torch.tensor([one.label for one in part])).sum())
    return right / len(crops)


def images_from(crops: Sequence[Crop]) -> Tensor:
    """(B, 3, size, size) float32 in 0..1."""
    stacked = np.stack([one.image for one in crops])  # (B, size, size, 3)
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).float() / 255
