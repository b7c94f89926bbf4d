"""Networks that learn to bear int8: a copy that is rounded as the engine rounds it imitates the network in f32.

The copy's layers read what `sonjit.engines.int8` makes of a value and weigh it with what it makes of their weights, in
f32 arithmetic; gradients pass through the roundings as if they were not there (straight-through estimator, Bengio et
al. 2013, Estimating or Propagating Gradients Through Stochastic Neurons). What is imitated are all outputs, on random
views of crops without labels (distillation, Hinton et al. 2015).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sonjit.engines.int8 import Landmarks, Rounding, Tuned
from sonjit.engines.promise import source_hash
from sonjit.errors import InputError
from sonjit.networks import Network, create_network, list_networks, network_entry
from sonjit.training.augment import AugmentationOptions, Labelled, augment, draw_augmentation
from sonjit.training.loop import TrainingSettings, train
from sonjit.training.recipes import Progress, no_progress

_VIEWS = AugmentationOptions(
    rotation_rad=0.5, scale=(0.8, 1.25), shift=0.12, brightness=0.3, contrast=0.2, saturation=0.3, hue=0.0
)

_BATCH = 6

_SHOWN = 0.8
"""Share of the views that show what the network looks for, where the crops allow it."""

_LEARNING_RATE = 5e-5
"""Of a weight as large as its layer's are in the root mean square."""

_LEAST_FACTOR = 1e-6

_OTHERS = 5.0
"""Weight of an output's mean error, in standard deviations of what it is on the crops, against a pixel."""

_LEAST_DEVIATION = 0.1
"""Of presence and side, which are the same on many crops."""


@dataclass(frozen=True)
class FineTuning:
    """How a network is fine-tuned to its rounding.

    Attributes:
        steps: of the optimizer, with 6 views each.
        seed: of the views.
        folder: holds a folder for each run, in which one that was stopped goes on; None keeps nothing.
        progress: called after each step.
    """

    steps: int
    seed: int = 0
    folder: Path | None = None
    progress: Progress = no_progress

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if self.steps < 1:
            raise InputError(f"{self.steps} steps: give at least 1")

    def published(
        self,
        name: str,
        path: Path,
        landmarks: Landmarks,
        images: Sequence[NDArray[np.uint8]],
        roundings: Sequence[Rounding],
    ) -> list[Tuned]:
        """Fine-tune a published network; its run is told apart by all that it depends on.

        Args:
            name: of its file in the catalogue.
            path: of that file.
            landmarks: where its keypoints are.
            images: (1, H, W, 3) each, that it may see.
            roundings: of layers in f32.
        """
        network = create_network(next(one for one in list_networks() if network_entry(one).weight == name))
        network.load_tflite(path)
        seen = hashlib.sha256(source_hash(path).encode())
        for image in images:
            seen.update(image.tobytes())
        for one in roundings:
            seen.update(one.sizes.tobytes() + one.means.tobytes() + bytes([one.largest]))
        identity = f"{name}-{seen.hexdigest()[:12]}-{self.steps}-{self.seed}"
        return self(network, landmarks, images, roundings, out=self.folder and self.folder / identity)

    def __call__(
        self,
        network: Network,
        landmarks: Landmarks,
        images: Sequence[NDArray[np.uint8]],
        roundings: Sequence[Rounding],
        *,
        out: Path | None = None,
    ) -> list[Tuned]:
        """Fine-tune a network to the rounding of its layers.

        Args:
            network: in f32; it is left as it is.
            landmarks: where its keypoints are.
            images: (1, H, W, 3) each, that it may see.
            roundings: of layers, whose weights are the network's own.
            out: the run's folder.

        Returns:
            As many as roundings, in their order.

        Raises:
            InputError: a rounding is of a layer that the network does not have.
        """
        teacher = network.eval().requires_grad_(False)
        student, layers = rounded_copy(teacher, roundings)
        views = _Views(teacher, landmarks, images)
        factors = {
            name: max(weight.detach().square().mean().sqrt().item(), _LEAST_FACTOR)
            for name, weight in student.named_parameters()
        }
        settings = TrainingSettings(
            steps=self.steps, seed=self.seed, learning_rate=_LEARNING_RATE, learning_rate_factors=factors,
            optimizer="adam", weight_decay=0.0, warmup=min(20, self.steps // 5), clip_norm=float("inf"), save_every=25,
        )  # fmt: skip
        train(student, views.draw, views.losses, settings, out=out, progress=self.progress)
        return [layer.tuned() for layer in layers]


def rounded_copy(network: Network, roundings: Sequence[Rounding]) -> tuple[Network, list[RoundedLayer]]:
    """A copy of a network that gives what its int8 form gives, and can be trained.

    Args:
        network: whose layers have the weights of the roundings.
        roundings: of some of them.

    Returns:
        The copy in eval mode, and its rounded layers in the order of the roundings.

    Raises:
        InputError: a rounding is of a layer that the network does not have.
    """
    copy = deepcopy(network).eval().requires_grad_(True)
    own = {
        _key(layer.weight.detach().numpy()): name
        for name, layer in copy.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    }
    layers: list[RoundedLayer] = []
    for number, rounding in enumerate(roundings):
        name = own.get(_key(rounding.filters))
        if name is None:
            raise InputError(f"rounding {number}: no layer of the network has its weights {rounding.filters.shape}")
        layer = copy.get_submodule(name)
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        layers.append(RoundedLayer(layer, rounding))
        copy.set_submodule(name, layers[-1])
    return copy, layers


def _key(filters: NDArray[np.float32]) -> bytes:
    """The same for the same weights in any layout."""
    return np.sort(filters, axis=None).tobytes()


class RoundedLayer(nn.Module):
    """A convolution or linear layer that computes as its int8 form does.

    Args:
        layer: it is trained.
        rounding: of it.
    """

    sizes: Tensor
    means: Tensor

    def __init__(self, layer: nn.Conv2d | nn.Linear, rounding: Rounding) -> None:
        super().__init__()
        self.layer = layer
        self._rounding = rounding
        self._bias = 0.0 if layer.bias is None else layer.bias.detach().clone().numpy()
        self.register_buffer("sizes", torch.from_numpy(rounding.sizes), persistent=False)
        self.register_buffer("means", torch.from_numpy(rounding.means), persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        """As the layer."""
        lowest, highest = (-128, 127) if self._rounding.signed else (0, 255)
        sizes = self.sizes.view(-1, *[1] * (values.ndim - 2))
        values = _Round.apply(values, highest / sizes, sizes / highest, lowest, highest)
        weight, largest = self.layer.weight, self._rounding.largest
        factors = self._along_inputs(self.sizes / self.sizes.max())
        scaled = (weight * factors).detach()
        step = scaled.abs().amax(tuple(range(1, weight.ndim)), keepdim=True) / largest
        step = torch.where(step == 0, 1, step)
        lost = (scaled - (scaled / step).round().clamp(-largest, largest) * step) / factors  # by rounding
        bias = (lost * self._along_inputs(self.means)).flatten(1).sum(1)
        if self.layer.bias is not None:
            bias = bias + self.layer.bias
        return torch.func.functional_call(self.layer, {"weight": weight - lost, "bias": bias}, values)

    def tuned(self) -> Tuned:
        """Its weights now."""
        filters, given = self.layer.weight.detach().numpy(), self._rounding.filters
        if filters.ndim == 2 and given.shape != filters.shape:
            filters = filters.T
        bias = 0.0 if self.layer.bias is None else self.layer.bias.detach().numpy()
        added = np.broadcast_to(np.asarray(bias - self._bias, np.float32), self.layer.weight.shape[:1])
        return Tuned(np.ascontiguousarray(filters).reshape(given.shape), added)

    def _along_inputs(self, numbers: Tensor) -> Tensor:
        """Numbers of the channels that it reads (C,), to multiply its weights with."""
        if isinstance(self.layer, nn.Linear):
            return numbers
        by_group = numbers.view(self.layer.groups, 1, -1, 1, 1)
        each = by_group.expand(-1, self.layer.out_channels // self.layer.groups, -1, -1, -1)
        return each.flatten(0, 1)  # (N, C / groups, 1, 1)


class _Round(torch.autograd.Function):
    """Values in whole steps within limits; the gradient passes as if they had not been rounded."""

    @staticmethod
    def forward(ctx: object, values: Tensor, per_unit: Tensor, step: Tensor, lowest: int, highest: int) -> Tensor:
        return (values * per_unit).round_().clamp_(lowest, highest).mul_(step)

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return gradients[0], None, None, None, None


class _Views:
    """Random views of crops, and how far from a network another one is on them."""

    def __init__(self, teacher: Network, landmarks: Landmarks, images: Sequence[NDArray[np.uint8]]) -> None:
        self._teacher, self._landmarks = teacher, landmarks
        self._crops = torch.from_numpy(np.concatenate(images)).permute(0, 3, 1, 2)  # (N, 3, H, W)
        with torch.no_grad():
            answers = [teacher(_values(crop[None])) for crop in self._crops]
        shown = torch.cat([self._shown(one) for one in answers])
        self._deviations = {name: _deviation([one[name] for one in answers]) for name in answers[0]}
        self._sides = shown.nonzero().flatten().tolist(), (~shown).nonzero().flatten().tolist()

    def draw(self, rng: np.random.Generator) -> Tensor:
        """(B, 3, H, W) in 0..1."""
        return torch.stack([self._view(rng) for _ in range(_BATCH)]).contiguous(memory_format=torch.channels_last)

    def losses(self, student: nn.Module, views: Tensor) -> Mapping[str, Tensor]:
        """Mean distance of the keypoints in pixels where something is shown, and what the outputs differ by."""
        with torch.no_grad():
            wanted: Mapping[str, Tensor] = self._teacher(views)
        given: Mapping[str, Tensor] = student(views)
        name, step = self._keypoints(wanted), self._landmarks.step
        away = (given[name] - wanted[name]).unflatten(1, (-1, step))[..., :2]  # (B, K, 2)
        pixels = (away.square().sum(-1) + 1e-4).sqrt().mean(1)
        parts = [(given[one] - wanted[one]).abs().mean() / most for one, most in self._deviations.items()]
        shown = self._shown(wanted).float()
        return {
            "px": (pixels * shown).sum() / shown.sum().clamp(min=1),
            "outputs": _OTHERS * torch.stack(parts).sum(),
        }

    def _view(self, rng: np.random.Generator) -> Tensor:
        shown, others = self._sides
        side = shown if shown and (not others or rng.random() < _SHOWN) else others
        crop = self._crops[side[int(rng.integers(len(side)))]]
        none = torch.zeros(0, 0, 2)
        labelled = Labelled(_values(crop), none, torch.zeros(0, 0, dtype=torch.bool), torch.zeros(0, 4))
        return augment(labelled, draw_augmentation(_VIEWS, rng)).image

    def _keypoints(self, outputs: Mapping[str, Tensor]) -> str:
        return next(name for name, values in outputs.items() if values[0].numel() == self._landmarks.size)

    def _shown(self, outputs: Mapping[str, Tensor]) -> Tensor:
        """(B,) bool."""
        presence = next(values for values in outputs.values() if values[0].numel() == 1)
        return presence.flatten() > self._landmarks.least_presence


def _deviation(answers: Sequence[Tensor]) -> float:
    """Of an output's numbers from their own means."""
    values = torch.cat(list(answers[:64])).flatten(1)
    least = _LEAST_DEVIATION if values.shape[1] == 1 else _LEAST_FACTOR
    return max((values - values.mean(0)).square().mean().sqrt().item(), least)


def _values(crops: Tensor) -> Tensor:
    return crops.float() / 255
