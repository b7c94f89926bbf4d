"""Fine-tune networks for 8-bit inference: a copy with the engine's roundings imitates the network in f32.

The layers of the copy round inputs and weights as `sonjit.engines.int8` does, in f32 arithmetic. Gradients pass through
the roundings unchanged (straight-through estimator, Bengio et al. 2013, Estimating or Propagating Gradients Through
Stochastic Neurons). The copy imitates all outputs and the output of each layer, on random views of crops without labels
(distillation, Hinton et al. 2015; hints, Romero et al. 2015).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sonjit._util.errors import InputError
from sonjit.engines.int8 import Landmarks, Rounding
from sonjit.engines.precision import source_hash
from sonjit.geometry.boxes import RotatedBox, crop
from sonjit.lab.networks import Network, create_network, list_networks, network_entry
from sonjit.lab.training.augment import AugmentationSettings, draw_augmentation
from sonjit.lab.training.loop import TrainingSettings, train
from sonjit.lab.training.recipes import Progress, no_progress

_VIEWS = AugmentationSettings(
    rotation_deg=30.0, scale=(0.8, 1.25), shift=0.12, brightness=0.3, contrast=0.2, saturation=0.3
)

_BATCH = 6

_SHOWN = 0.8  # share of the views with a detected hand or face, if the crops allow it

_LEARNING_RATE = 4e-3  # learning rate in steps of a filter's rounding

_OUTPUT_WEIGHT = 5.0  # weight of an output's mean error in its standard deviations, relative to an error of a pixel

_LAYER_WEIGHT = 20.0
"""Weight of the layers' mean squared error relative to its initial value; gradients then have similar lengths."""

_MEASURED_CROPS = 24  # number of crops on which the layers' initial errors are measured

_MIN_DEVIATIONS = 0.1, 1e-6
"""Minimum standard deviations of presence and side, which are equal on many crops, and of other outputs."""


@dataclass(frozen=True)
class FineTuning:
    """Fine-tuning of a network to its rounding."""

    steps: int  # number of optimizer steps, with 6 views each
    seed: int = 0  # seed of the views
    # folder with a subfolder for each run, in which an interrupted run continues; None saves nothing
    folder: Path | None = None
    progress: Progress = no_progress  # callback that runs after each step

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"steps={self.steps}: must be at least 1")

    def published(
        self,
        name: str,
        path: Path,
        landmarks: Landmarks,
        images: Sequence[NDArray[np.uint8]],
        roundings: Sequence[Rounding],
    ) -> list[Rounding]:
        """Fine-tune a published network; the name of its run contains a hash of all inputs.

        `images`: (1, H, W, 3) training images; `roundings`: roundings of the layers in f32.
        """
        network = create_network(next(entry for entry in list_networks() if network_entry(entry).weight == name))
        network.load_tflite(path)
        inputs = hashlib.sha256(source_hash(path).encode())
        for image in images:
            inputs.update(image.tobytes())
        for rounding in roundings:
            inputs.update(rounding.sizes.tobytes() + rounding.means.tobytes() + bytes([rounding.largest]))
        identity = f"{name}-{inputs.hexdigest()[:12]}-{self.steps}-{self.seed}"
        return self(network, landmarks, images, roundings, out=self.folder and self.folder / identity)

    def __call__(
        self,
        network: Network,
        landmarks: Landmarks,
        images: Sequence[NDArray[np.uint8]],
        roundings: Sequence[Rounding],
        *,
        out: Path | None = None,
    ) -> list[Rounding]:
        """Fine-tune a network to the rounding of its layers.

        `network`: network in f32; it is not changed; `images`: (1, H, W, 3) training images.

        Returns:
            The tuned layers in the order of the roundings.
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
    """Return a trainable copy of a network that has the outputs of its int8 form.

    Returns:
        The copy in eval mode, and its rounded layers in the order of the roundings.
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
    """Return a key that is equal for the same weights in any layout."""
    return np.sort(filters, axis=None).tobytes()


class RoundedLayer(nn.Module):
    """A convolution or linear layer that has the outputs of its int8 form.

    Its parameters are the weights in steps of their rounding, and an addition to the bias in such steps of the widest
    input channel, so that one learning rate fits all filters.
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
        """Return the outputs of the rounded layer."""
        lowest, highest = (-128, 127) if self._rounding.signed else (0, 255)
        sizes = self.sizes.view(-1, *[1] * (values.ndim - 2))
        values = _Round.apply(values, highest / sizes, sizes / highest, lowest, highest)
        factors, scaled = self._factors(), self.weight * self.steps
        with torch.no_grad():
            step, largest = self._step(scaled), self._rounding.largest
            rounding_error = (scaled - (scaled / step).round().clamp(-largest, largest) * step) / factors
            bias = (rounding_error * self._along_inputs(self.means)).flatten(1).sum(1)
        if self._layer.bias is not None:
            bias = bias + self._layer.bias
        arguments = {"weight": scaled / factors - rounding_error, "bias": bias + self._bias_change()}
        return torch.func.functional_call(self._layer, arguments, values)

    def tuned(self) -> Rounding:
        """Return the rounding with the current weights."""
        with torch.no_grad():
            filters = (self.weight * self.steps / self._factors()).numpy()
            added = self._bias_change().numpy()
        original = self._rounding.filters
        if filters.ndim == 2 and original.shape != filters.shape:
            filters = filters.T
        return replace(self._rounding, filters=np.ascontiguousarray(filters).reshape(original.shape), added=added)

    def _step(self, scaled: Tensor) -> Tensor:
        """Return the rounding step of each filter, (N, 1, ...)."""
        step = scaled.abs().amax(tuple(range(1, scaled.ndim)), keepdim=True) / self._rounding.largest
        return torch.where(step == 0, 1, step)

    def _bias_change(self) -> Tensor:
        """Return the addition to the bias (N,)."""
        return self.added * self.steps.flatten() * self.sizes.max()

    def _factors(self) -> Tensor:
        """Return the factors of the weights before rounding."""
        return self._along_inputs(self.sizes / self.sizes.max())

    def _along_inputs(self, numbers: Tensor) -> Tensor:
        """Reshape values of the input channels (C,) so that they multiply the weights."""
        if isinstance(self._layer, nn.Linear):
            return numbers
        by_group = numbers.view(self._layer.groups, 1, -1, 1, 1)
        each = by_group.expand(-1, self._layer.out_channels // self._layer.groups, -1, -1, -1)
        return each.flatten(0, 1)  # (N, C / groups, 1, 1)


class _Round(torch.autograd.Function):
    """Round values to steps within limits; the gradient passes unchanged."""

    @staticmethod
    def forward(ctx: object, values: Tensor, per_unit: Tensor, step: Tensor, lowest: int, highest: int) -> Tensor:
        return (values * per_unit).round_().clamp_(lowest, highest).mul_(step)

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return gradients[0], None, None, None, None


class _Views:
    """Random views of crops, and the errors of a rounded copy on them."""

    def __init__(
        self, teacher: Network, student: Network, landmarks: Landmarks, images: Sequence[NDArray[np.uint8]]
    ) -> None:
        self._teacher, self._landmarks = teacher, landmarks
        names = [name for name, layer in student.named_modules() if isinstance(layer, RoundedLayer)]
        self._expected, self._predicted = (_record(network, names) for network in (teacher, student))
        self._images = [image[0] for image in images]
        with torch.no_grad():
            outputs = [teacher(_values(image)) for image in images]
        shown = torch.cat([self._has_presence(values) for values in outputs])
        self._deviations: dict[str, float] = {}
        for name in outputs[0]:
            own = torch.cat([values[name] for values in outputs[:64]]).flatten(1)
            deviation = (own - own.mean(0)).square().mean().sqrt().item()
            self._deviations[name] = max(deviation, _MIN_DEVIATIONS[own.shape[1] > 1])
        self._sides = shown.nonzero().flatten().tolist(), (~shown).nonzero().flatten().tolist()
        measured = images[:: max(1, len(images) // _MEASURED_CROPS)][:_MEASURED_CROPS]
        with torch.no_grad():
            errors = [self._run_both(student, _values(image))[2] for image in measured]
        self._errors_before = torch.stack(errors).mean(0).clamp(min=1e-12)

    def draw(self, rng: np.random.Generator) -> Tensor:
        """Return views (B, 3, H, W) in 0..1."""
        return torch.stack([self._view(rng) for _ in range(_BATCH)]).contiguous(memory_format=torch.channels_last)

    def losses(self, student: nn.Module, views: Tensor) -> Mapping[str, Tensor]:
        """Return the mean distance of the keypoints in pixels, and the errors of the outputs and the layers."""
        expected, predicted, errors = self._run_both(student, views)
        name, step = self._keypoints(expected), self._landmarks.step
        distances = (predicted[name] - expected[name]).unflatten(1, (-1, step))[..., :2]  # (B, K, 2)
        pixels = (distances.square().sum(-1) + 1e-4).sqrt().mean(1)
        parts = [
            (predicted[output] - expected[output]).abs().mean() / deviation
            for output, deviation in self._deviations.items()
        ]
        shown = self._has_presence(expected).float()
        return {
            "px": (pixels * shown).sum() / shown.sum().clamp(min=1),
            "outputs": _OUTPUT_WEIGHT * torch.stack(parts).sum(),
            "layers": _LAYER_WEIGHT * (errors / self._errors_before).mean(),
        }

    def _run_both(self, student: nn.Module, views: Tensor) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor], Tensor]:
        """Return the outputs of both networks and the mean squared error of each rounded layer (L,)."""
        with torch.no_grad():
            expected = self._teacher(views)
        predicted = student(views)
        pairs = [(self._predicted[name], values) for name, values in self._expected.items()]
        return expected, predicted, torch.stack([(values - target).square().mean() for values, target in pairs])

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

    def _has_presence(self, outputs: Mapping[str, Tensor]) -> Tensor:
        """Return a mask (B,) of views with presence."""
        presence = next(values for values in outputs.values() if values[0].numel() == 1)
        return presence.flatten() > self._landmarks.least_presence


def _record(network: nn.Module, names: Sequence[str]) -> dict[str, Tensor]:
    """Record the outputs of layers by name whenever the network runs."""
    recorded: dict[str, Tensor] = {}

    def record(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        def store(layer: nn.Module, values: object, output: Tensor) -> None:
            recorded[name] = output

        return store

    for name in names:
        network.get_submodule(name).register_forward_hook(record(name))
    return recorded


def _values(images: NDArray[np.uint8]) -> Tensor:
    """Convert images (B, H, W, 3) to (B, 3, H, W) in 0..1."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
