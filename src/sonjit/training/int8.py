"""Networks that learn to bear int8: a copy that is rounded as the engine rounds it imitates the network in f32.

The copy's layers read what `sonjit.engines.int8` makes of a value and weigh it with what it makes of their weights, in
f32 arithmetic; gradients pass through the roundings as if they were not there (straight-through estimator, Bengio et
al. 2013, Estimating or Propagating Gradients Through Stochastic Neurons). What is imitated are all outputs and what
each layer gives, on random views of crops without labels (distillation, Hinton et al. 2015; hints, Romero et al. 2015).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
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
from sonjit.geometry.boxes import RotatedBox, crop
from sonjit.networks import Network, create_network, list_networks, network_entry
from sonjit.training.augment import AugmentationSettings, draw_augmentation
from sonjit.training.loop import TrainingSettings, train
from sonjit.training.recipes import Progress, no_progress

_VIEWS = AugmentationSettings(
    rotation_deg=30.0, scale=(0.8, 1.25), shift=0.12, brightness=0.3, contrast=0.2, saturation=0.3
)

_BATCH = 6

_SHOWN = 0.8
"""Share of the views that show what the network looks for, where the crops allow it."""

_LEARNING_RATE = 4e-3
"""In steps of a filter's rounding."""

_OTHERS = 5.0
"""Weight of an output's mean error, in standard deviations of what it is on the crops, against a pixel."""

_LAYERS = 20.0
"""Weight of the layers' mean squared error, as a share of what it is before; gradients are then as long."""

_MEASURED = 24
"""Crops on which the layers' errors before are measured."""

_LEAST_DEVIATIONS = 0.1, 1e-6
"""Of presence and side, which are the same on many crops; of other outputs."""


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
        student, layers = rounded_copy(network, roundings)
        views = _Views(deepcopy(network).eval().requires_grad_(False), student, landmarks, images)
        settings = TrainingSettings(
            steps=self.steps, seed=self.seed, learning_rate=_LEARNING_RATE, optimizer="adam",
            weight_decay=0.0, warmup=min(20, self.steps // 5), clip_norm=float("inf"), save_every=25,
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
    copy = deepcopy(network).eval().requires_grad_(False)
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

    Its parameters are the weights in steps of their rounding, and what is added to the bias in such steps of the widest
    channel that it reads, so that one learning rate serves all filters.

    Args:
        layer: whose weights it begins with.
        rounding: of it.
    """

    sizes: Tensor
    means: Tensor
    steps: Tensor

    def __init__(self, layer: nn.Conv2d | nn.Linear, rounding: Rounding) -> None:
        super().__init__()
        self._layer = layer
        self._rounding = rounding
        self.register_buffer("sizes", torch.from_numpy(rounding.sizes), persistent=False)
        self.register_buffer("means", torch.from_numpy(rounding.means), persistent=False)
        weight = layer.weight.detach()
        self.register_buffer("steps", self._step(weight * self._factors()), persistent=False)
        self.weight = nn.Parameter(weight * self._factors() / self.steps)
        self.added = nn.Parameter(torch.zeros(weight.shape[0]))

    def forward(self, values: Tensor) -> Tensor:
        """As the layer."""
        lowest, highest = (-128, 127) if self._rounding.signed else (0, 255)
        sizes = self.sizes.view(-1, *[1] * (values.ndim - 2))
        values = _Round.apply(values, highest / sizes, sizes / highest, lowest, highest)
        factors, scaled = self._factors(), self.weight * self.steps
        with torch.no_grad():
            step, largest = self._step(scaled), self._rounding.largest
            lost = (scaled - (scaled / step).round().clamp(-largest, largest) * step) / factors  # by rounding
            bias = (lost * self._along_inputs(self.means)).flatten(1).sum(1)
        if self._layer.bias is not None:
            bias = bias + self._layer.bias
        given = {"weight": scaled / factors - lost, "bias": bias + self._added()}
        return torch.func.functional_call(self._layer, given, values)

    def tuned(self) -> Tuned:
        """Its weights now."""
        with torch.no_grad():
            filters = (self.weight * self.steps / self._factors()).numpy()
            added = self._added().numpy()
        given = self._rounding.filters
        if filters.ndim == 2 and given.shape != filters.shape:
            filters = filters.T
        return Tuned(np.ascontiguousarray(filters).reshape(given.shape), added)

    def _step(self, scaled: Tensor) -> Tensor:
        """Of each filter, (N, 1, ...)."""
        step = scaled.abs().amax(tuple(range(1, scaled.ndim)), keepdim=True) / self._rounding.largest
        return torch.where(step == 0, 1, step)

    def _added(self) -> Tensor:
        """To the bias (N,)."""
        return self.added * self.steps.flatten() * self.sizes.max()

    def _factors(self) -> Tensor:
        """What the weights are multiplied with before they are rounded."""
        return self._along_inputs(self.sizes / self.sizes.max())

    def _along_inputs(self, numbers: Tensor) -> Tensor:
        """Numbers of the channels that it reads (C,), to multiply its weights with."""
        if isinstance(self._layer, nn.Linear):
            return numbers
        by_group = numbers.view(self._layer.groups, 1, -1, 1, 1)
        each = by_group.expand(-1, self._layer.out_channels // self._layer.groups, -1, -1, -1)
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
    """Random views of crops, and how far from a network its rounded copy is on them."""

    def __init__(
        self, teacher: Network, student: Network, landmarks: Landmarks, images: Sequence[NDArray[np.uint8]]
    ) -> None:
        self._teacher, self._landmarks = teacher, landmarks
        names = [name for name, layer in student.named_modules() if isinstance(layer, RoundedLayer)]
        self._wanted, self._given = (_record(network, names) for network in (teacher, student))
        self._images = [image[0] for image in images]
        with torch.no_grad():
            answers = [teacher(_values(image)) for image in images]
        shown = torch.cat([self._shown(one) for one in answers])
        self._deviations = {name: _deviation([one[name] for one in answers]) for name in answers[0]}
        self._sides = shown.nonzero().flatten().tolist(), (~shown).nonzero().flatten().tolist()
        few = images[:: max(1, len(images) // _MEASURED)][:_MEASURED]
        with torch.no_grad():
            errors = [self._run_both(student, _values(image))[2] for image in few]
        self._errors_before = torch.stack(errors).mean(0).clamp(min=1e-12)

    def draw(self, rng: np.random.Generator) -> Tensor:
        """(B, 3, H, W) in 0..1."""
        return torch.stack([self._view(rng) for _ in range(_BATCH)]).contiguous(memory_format=torch.channels_last)

    def losses(self, student: nn.Module, views: Tensor) -> Mapping[str, Tensor]:
        """Mean distance of the keypoints in pixels where something is shown, and what the outputs differ by."""
        wanted, given, errors = self._run_both(student, views)
        name, step = self._keypoints(wanted), self._landmarks.step
        away = (given[name] - wanted[name]).unflatten(1, (-1, step))[..., :2]  # (B, K, 2)
        pixels = (away.square().sum(-1) + 1e-4).sqrt().mean(1)
        parts = [(given[one] - wanted[one]).abs().mean() / most for one, most in self._deviations.items()]
        shown = self._shown(wanted).float()
        return {
            "px": (pixels * shown).sum() / shown.sum().clamp(min=1),
            "outputs": _OTHERS * torch.stack(parts).sum(),
            "layers": _LAYERS * (errors / self._errors_before).mean(),
        }

    def _run_both(self, student: nn.Module, views: Tensor) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor], Tensor]:
        """The outputs of both, and the mean squared error of each rounded layer (L,)."""
        with torch.no_grad():
            wanted = self._teacher(views)
        given = student(views)
        pairs = [(self._given[name], values) for name, values in self._wanted.items()]
        return wanted, given, torch.stack([(mine - theirs).square().mean() for mine, theirs in pairs])

    def _view(self, rng: np.random.Generator) -> Tensor:
        shown, others = self._sides
        side = shown if shown and (not others or rng.random() < _SHOWN) else others
        image = self._images[side[int(rng.integers(len(side)))]]
        height, width = image.shape[:2]
        change = draw_augmentation(_VIEWS, rng)
        view = crop(image, change.box(RotatedBox(width / 2, height / 2, width, height)), width, height)
        return _values(change.image(view)[None])[0]

    def _keypoints(self, outputs: Mapping[str, Tensor]) -> str:
        return next(name for name, values in outputs.items() if values[0].numel() == self._landmarks.size)

    def _shown(self, outputs: Mapping[str, Tensor]) -> Tensor:
        """(B,) bool."""
        presence = next(values for values in outputs.values() if values[0].numel() == 1)
        return presence.flatten() > self._landmarks.least_presence


def _record(network: nn.Module, names: Sequence[str]) -> dict[str, Tensor]:
    """What layers give whenever the network runs, by name."""
    given: dict[str, Tensor] = {}

    def record(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        def keep(layer: nn.Module, values: object, output: Tensor) -> None:
            del layer, values
            given[name] = output

        return keep

    for name in names:
        network.get_submodule(name).register_forward_hook(record(name))
    return given


def _deviation(answers: Sequence[Tensor]) -> float:
    """Of an output's numbers from their own means."""
    values = torch.cat(list(answers[:64])).flatten(1)
    least = _LEAST_DEVIATIONS[values.shape[1] > 1]
    return max((values - values.mean(0)).square().mean().sqrt().item(), least)


def _values(images: NDArray[np.uint8]) -> Tensor:
    """(B, 3, H, W) in 0..1, of (B, H, W, 3)."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
