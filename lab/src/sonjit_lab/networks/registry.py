"""The base class of networks, and the registry that creates networks by name.

A network is a `Network`: a `torch.nn.Module` whose forward returns a mapping from name to tensor. The module of a
network registers it. Other packages register networks in the same way.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from functools import partial
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sonjit._util.errors import InputError, SonjitError
from sonjit._util.extensions import NETWORKS, Registry, load_extensions
from sonjit.weights import find_weight
from sonjit_lab.networks import checkpoints

_MAX_SHOWN_KEYS = 3
_INITIAL = "backbone_weights"  # option for a file of initial weights, which a checkpoint replaces
T = TypeVar("T")

_MODULES = ("keypoint_detector", "mediapipe_bodies", "mediapipe_faces")
"""Modules of this package that register networks. The others are `network.py` in each folder of `papers`."""

_ENTRIES: Registry[NetworkEntry] = Registry("network", NETWORKS)


class Network(nn.Module):
    """Base class of all networks.

    Attributes:
        name: Name in the registry; set by `create_network`.
        options: Options of `create_network` including defaults, as far as JSON supports them; saved in weight files.
        side: Side of the square input images in pixels; 0 if they have the size in the entry. Weight files contain it.
        specs: Inputs in the entry, from which `inputs` follow.
        maxima: Outputs that are the x, y, z of the maximum of another output (B, N, z, y, x), and the names of those.
        selects: True if the outputs are a selection by score, in which nearly equal scores may exchange entries.
        resnet_prefix: Prefix of the keys of a ResNet, which `load_trunk` loads to start a training.
    """

    maxima: Mapping[str, str] = MappingProxyType({})
    selects: bool = False
    side: int = 0
    resnet_prefix: str = ""
    specs: tuple[InputSpec, ...] = ()

    name: str = "network"
    options: Mapping[str, object] = MappingProxyType({})

    @property
    def saved(self) -> checkpoints.SavedNetwork | None:
        """Name and options for weight files, or None if `create_network` did not make the network."""
        return None if self.name == Network.name else checkpoints.SavedNetwork(self.name, self.options, self.side)

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """Inputs of the forward with the size of images on which the network was trained."""
        return tuple(spec.of_side(self.side) if self.side else spec for spec in self.specs)

    @property
    def device(self) -> torch.device:
        """Device of the weights, on which inputs must be."""
        return next(self.parameters()).device

    def load_official(self, state_dict: Mapping[str, Tensor], strict: bool = True) -> None:
        """Load weights with the names of the official code.

        Args:
            state_dict: Tensors by official key; a leading "module." is dropped.
            strict: True to refuse missing and unexpected keys as well as keys with another shape.

        Raises:
            InputError: Keys do not match. The message names them.
        """
        fit_state_dict(self, self.from_official(state_dict), strict=strict)

    def from_official(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Convert official keys and layouts to those of this module; networks override it if they differ."""
        weights = {key.removeprefix("module."): value for key, value in state_dict.items()}
        is_classifier = bool(self.resnet_prefix) and "conv1.weight" in weights
        return self.from_classifier(weights) if is_classifier else weights

    def from_classifier(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Convert the ResNet of a classifier to the keys of this module."""
        return {self.resnet_prefix + key: value for key, value in weights.items() if not key.startswith("fc.")}

    def load_trunk(self, file: str | Path) -> None:
        """Load only the ResNet from torchvision's classifier, or from an official checkpoint of this network.

        Raises:
            InputError: The file does not contain this ResNet.
        """
        prefix = self.resnet_prefix
        official = checkpoints.without_prefixes(
            checkpoints.load_checkpoint(file), ("conv1.weight", f"{prefix}conv1.weight")
        )
        weights = {key: value for key, value in self.from_official(official).items() if key.startswith(prefix)}
        own_weights = {key: value for key, value in self.state_dict().items() if key.startswith(prefix)}
        expected = {key: value.shape for key, value in own_weights.items() if not key.endswith("_tracked")}
        stored = {key: value.shape for key, value in weights.items() if not key.endswith("_tracked")}
        if stored != expected:
            depth, width = self.options["depth"], self.options["width"]
            raise InputError(
                f"{file} does not fit a residual network with depth={depth} and width={width}; ResNet-50 of "
                "torchvision requires depth=50 and width=64"
            )
        fit_state_dict(self, weights, strict=False)

    def on_full_budget(self, *inputs: Tensor) -> None:
        """Run every layer, as often as it can run for inputs; for counting operations."""
        self(*inputs)

    def load_tflite(self, path: Path) -> None:
        """Load the weights of a published TFLite file; raise InputError if it is of another network."""
        raise InputError(f"{self.name} has no TFLite file: {path.name} cannot be loaded into it")

    if TYPE_CHECKING:

        def __call__(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]: ...  # noqa: ANN401


@dataclass(frozen=True)
class InputSpec:
    """One input tensor of a network.

    Attributes:
        name: Name of the forward's argument.
        shape: Shape without the batch, such as (3, 224, 224).
        low, high: Range of the values; for images, the values of the bytes 0 and 255.
        multiple_of: Number that divides the sides of images that the network accepts.
        least: Shortest side of images that the network accepts, in pixels.
    """

    name: str
    shape: tuple[int, ...]
    low: float = 0.0
    high: float = 1.0
    multiple_of: int = 1
    least: int = 1

    def of_side(self, side: int) -> InputSpec:
        """Return the input for square images of another side. Inputs other than images stay unchanged."""
        return replace(self, shape=(*self.shape[:-2], side, side)) if len(self.shape) > 2 else self

    def example(self, batch: int = 1, seed: int = 0) -> Tensor:
        """Return uniform random values (batch, *shape), which are the same for the same seed."""
        generator = torch.Generator().manual_seed(seed)
        return torch.rand((batch, *self.shape), generator=generator) * (self.high - self.low) + self.low


@dataclass(frozen=True)
class NetworkEntry:
    """Description of a network and the function that builds it.

    Attributes:
        name: Name for `create_network`.
        build: Function that builds the untrained network; its keyword arguments are the network's options.
        summary: Predictions of the network, in one line.
        source: Paper and section, or code that it follows.
        licence: Licence of the published weights.
        inputs: Inputs of the forward.
        weight: Name in the catalogue of published files; None if there is none.
        where: Source of weights that can be downloaded, in words.
        tiny: Options of a small twin for tests.
        tiny_inputs: Inputs of the small twin; empty for the inputs of the network.
        evaluate: Import string of the function that opens it for `sonjit eval`; empty if it is not evaluated by itself.
        is_classifier: Whether it predicts the class of an image.
        uses_windows: Whether it uses the neighbouring frames of a recording.
    """

    name: str
    build: Callable[..., Network]
    summary: str
    source: str
    licence: str
    inputs: tuple[InputSpec, ...]
    weight: str | None = None
    where: str = ""
    tiny: Mapping[str, object] = field(default_factory=dict[str, object])
    tiny_inputs: tuple[InputSpec, ...] = ()
    evaluate: str = ""
    is_classifier: bool = False
    uses_windows: bool = False


def register(entry: NetworkEntry) -> NetworkEntry:
    """Add a network; called in the module that defines it.

    Raises:
        InputError: The name is already registered.
    """
    _ENTRIES.add(entry.name, entry)
    return entry


def list_networks(pattern: str = "*") -> list[str]:
    """Return the names of the networks that match a shell pattern, in alphabetical order."""
    return sorted(name for name in _entries() if fnmatch(name, pattern))


def network_entry(name: str) -> NetworkEntry:
    """Return the entry of a network; raise InputError for an unknown name."""
    return _entries().find(name)


def create_network(name: str, weights: str | Path | None = None, **options: Any) -> Network:  # noqa: ANN401
    """Create a network.

    Args:
        name: Name from `list_networks()`.
        weights: None for random weights; `"published"` for the published file, which `sonjit models pull` downloads;
            `"demo"` for placeholder weights that are drawn from each key's name and always the same; or the path of a
            `.tflite`, `.safetensors` or torch checkpoint, official or own, or the folder of a run. A checkpoint of
            Sonjit contains the options of its network.
        options: Options of the network.

    Raises:
        InputError: The name or an option is unknown, an option is of a wrong type or contradicts
            the checkpoint, or weights are missing or do not match.
    """
    entry = network_entry(name)
    path = checkpoints.weight_file(weights) if weights else Path()
    if saved := checkpoints.saved_network(path):
        if saved.name != name:
            raise InputError(f"{path}: contains weights of {saved.name}, not of {name}")
        if options.get(_INITIAL) is not None:
            raise InputError(f"{path} contains all weights of {name}: omit {_INITIAL}")
        options = saved.merge_options(options, path)
        options.pop(_INITIAL, None)
    network = _build(entry, options)
    defaults = {key: parameter.default for key, parameter in inspect.signature(entry.build).parameters.items()}
    network.name, network.options = name, checkpoints.options_in_json({**defaults, **options, _INITIAL: None})
    if saved and saved.side:
        network.side = saved.side
    is_tiny = bool(entry.tiny_inputs) and entry.tiny.items() <= options.items()
    network.specs = entry.tiny_inputs if is_tiny else entry.inputs
    network.register_forward_pre_hook(partial(check_inputs, specs=network.specs), with_kwargs=True)
    if weights is None:
        return network
    if weights == "demo":
        fit_state_dict(network, checkpoints.placeholder_state_dict(network))
    else:
        if weights == "published":
            path = find_weight(entry.weight or required_checkpoint(name, "published"))
        network.load_tflite(path) if path.suffix == ".tflite" else _load(network, path)
    return network


def check_inputs(
    network: Network, args: Sequence[object], named: Mapping[str, object], *, specs: Sequence[InputSpec]
) -> None:
    """Check types of a forward's inputs, and axes, channels and sides of images; an InputError names the input."""
    given = dict(zip((spec.name for spec in specs), args, strict=False)) | dict(named)
    for spec in specs:
        value = given.get(spec.name)
        shape = spec.shape
        where = f"{network.name}: {spec.name}"
        if value is None and (spec is not specs[0] or spec.name not in given):
            continue
        if not isinstance(value, Tensor):
            raise InputError(f"{where} requires a torch.Tensor, not {type(value).__name__}")
        if spec is specs[0]:
            expected = next((weights.dtype for weights in network.parameters()), value.dtype)
            same = value.dtype == expected or torch.is_autocast_enabled(value.device.type)
            if not (same and value.is_floating_point()):
                numbers = f"floating point numbers {spec.low:g}..{spec.high:g} in {expected}"
                raise InputError(f"{where} requires {numbers}, not {value.dtype}")
        if len(shape) < 3:
            continue
        if value.ndim != len(shape) + 1 or value.shape[-3] != shape[-3]:
            axes = ", ".join(("B", *("T" for _ in shape[:-3]), str(shape[-3]), "H", "W"))
            raise InputError(f"{where} has shape {tuple(value.shape)}; expected ({axes})")
        height, width = value.shape[-2:]
        if min(height, width) < spec.least or height % spec.multiple_of or width % spec.multiple_of:
            multiple = "" if spec.multiple_of == 1 else f", and multiples of {spec.multiple_of}"
            raise InputError(f"{where} are {width} x {height} px; expected sides of at least {spec.least} px{multiple}")


def _entries() -> Registry[NetworkEntry]:
    for name in _MODULES:
        import_module(f"sonjit_lab.networks.{name}")
    for paper in iter_modules(import_module("sonjit_lab.papers").__path__):
        import_module(f"sonjit_lab.papers.{paper.name}.network")
    load_extensions(NETWORKS)
    return _ENTRIES


def _build(entry: NetworkEntry, options: Mapping[str, object]) -> Network:
    names = [name for name in inspect.signature(entry.build).parameters if name not in ("args", "kwargs")]
    unknown = sorted(set(options) - set(names))
    if unknown:
        raise InputError(
            f"{entry.name}: Unknown option {', '.join(map(repr, unknown))}. Choose from {', '.join(names) or 'none'}"
        )
    try:
        return entry.build(**options)
    except (TypeError, ValueError, RuntimeError, OverflowError, ZeroDivisionError, MemoryError, LookupError) as error:
        if isinstance(error, SonjitError) or not options:
            raise
        given = ", ".join(f"{name}={str(value)[:40]}" for name, value in options.items())
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise InputError(f"{entry.name} with {given}: {reason}") from None


def required_checkpoint(name: str, weights: T | None) -> T:
    """Return the checkpoint of a network without published weights, or refuse None and "published" with its origin."""
    if weights is None or str(weights) == "published":
        entry = network_entry(name)
        unpublished = "" if weights is None else "has no published weights. It "
        raise InputError(
            f"{name} {unpublished}requires its checkpoint as --weights FILE ({entry.where or 'train it'}). "
            f"Licence: {entry.licence}. "
            "--weights demo uses placeholder weights"
        )
    return weights


def _load(network: Network, path: Path) -> None:
    """Load a checkpoint with the module's own keys, or else with those of the official code."""
    network_keys = network.state_dict().keys()
    weights = checkpoints.without_prefixes(checkpoints.load_checkpoint(path), network_keys)
    try:
        if weights.keys() == network_keys:
            fit_state_dict(network, weights)
        else:
            network.load_official(weights)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def fit_state_dict(network: nn.Module, state_dict: Mapping[str, Tensor], *, strict: bool = True) -> None:
    """Load weights with the network's own names; without `strict`, keys may be missing or unexpected.

    An InputError names keys that do not match or weights that are not finite. The network is not changed then.
    """
    network_weights = network.state_dict()
    missing = sorted(network_weights.keys() - state_dict.keys())
    unexpected = sorted(state_dict.keys() - network_weights.keys())
    reshaped = [
        f"{key} {tuple(state_dict[key].shape)} instead of {tuple(value.shape)}"
        for key, value in network_weights.items()
        if key in state_dict and state_dict[key].shape != value.shape
    ]
    broken = [key for key in network_weights if key in state_dict and not state_dict[key].isfinite().all()]
    if broken:
        raise InputError(
            f"{len(broken)} of these weights contain NaN or infinity ({_shorten(broken)}); use an earlier checkpoint"
        )
    if reshaped or (strict and (missing or unexpected)):
        misfits = [
            f"{len(keys)} {what} ({_shorten(keys)})"
            for what, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped))
            if keys
        ]
        name = getattr(network, "name", type(network).__name__)
        raise InputError(f"these weights do not fit {name}: keys {'; '.join(misfits)}")
    network.load_state_dict(dict(state_dict), strict=False)


def _shorten(keys: Sequence[str]) -> str:
    """Return the first keys as text."""
    return f"{', '.join(keys[:_MAX_SHOWN_KEYS])}{', …' if len(keys) > _MAX_SHOWN_KEYS else ''}"


@dataclass(frozen=True)
class NetworkFacts:
    """Facts about a network."""

    name: str
    summary: str  # predictions of the network, in one line
    source: str
    parameters: int
    # floating point operations for one image; a multiply-add counts as two. For Mask R-CNN with the maximum number of
    # proposals and instances (1000 and 100), because the actual number depends on the image.
    flops: int
    inputs: tuple[InputSpec, ...]  # names, shapes without the batch, and ranges of the inputs
    licence: str
    weights: str  # path of the weights, or their source in words or as the command that downloads them
    is_local: bool  # True if the weights are on this machine


def describe_network(name: str) -> NetworkFacts:
    """Return the facts about a network without loading its weights."""
    entry = network_entry(name)
    with torch.device("meta"):
        network = entry.build().eval()
    parameters = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    network.requires_grad_(False)  # the counter does not support parameters that are passed between modules
    examples = [torch.empty((1, *spec.shape), device="meta") for spec in entry.inputs]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.on_full_budget(*examples)
    weights, is_local = entry.where or "your own, by path", False
    if entry.weight is not None:
        try:
            weights, is_local = str(find_weight(entry.weight)), True
        except InputError:
            weights = f"sonjit models pull {entry.weight}"
    return NetworkFacts(
        name,
        entry.summary,
        entry.source,
        parameters,
        counter.get_total_flops(),
        entry.inputs,
        entry.licence,
        weights,
        is_local,
    )
