"""What every network is, and the registry that makes networks by name.

A network is a `Network`: a `torch.nn.Module` whose forward gives a mapping from name to tensor. The module of a network
registers it; networks outside this package register in the same way.
"""

from __future__ import annotations

import inspect
import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from functools import cache
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from sonjit.arrays import Float32Array
from sonjit.errors import InputError
from sonjit.extensions import NETWORKS, Registry, load_extensions
from sonjit.networks.checkpoints import SavedNetwork, load_checkpoint, options_in_json, saved_network

_MODULES: tuple[str, ...] = (
    "cam",
    "hands3d.deformer",
    "hands3d.handoccnet",
    "hands3d.internet",
    "hands3d.motion_discriminator",
    "hands3d.rootnet",
    "keypoint_detector",
    "mask_rcnn.mask_rcnn",
    "mediapipe.face_attention",
    "mediapipe.face_detection",
    "mediapipe.face_landmark",
    "mediapipe.hand_landmark",
    "mediapipe.iris_landmark",
    "mediapipe.palm_detection",
    "mediapipe.pose_detection",
    "mediapipe.pose_landmark",
    "mediapipe.selfie_segmentation",
)
"""The modules of this package that register networks."""
_SHOWN_KEYS = 3


class Network(nn.Module):
    """Base of all networks.

    Attributes:
        name: under which it is registered; set by `create_network`.
        options: with which it was made, defaults too, as far as JSON holds them; likewise. They stand in its files.
        side: of the square images that it takes, in pixels; 0 where they have the size that the entry says.
    """

    side: int = 0

    name: str = "network"
    options: Mapping[str, object] = MappingProxyType({})

    @property
    def saved(self) -> SavedNetwork | None:
        """What its files say of it; None where `create_network` did not make it."""
        return None if self.name == Network.name else SavedNetwork(self.name, self.options)

    @property
    def device(self) -> torch.device:
        """Where its weights are, and its inputs must be."""
        return next(self.parameters()).device

    def load_official(self, state_dict: Mapping[str, Tensor], strict: bool = True) -> None:
        """Take over weights under the names of the official code.

        Args:
            state_dict: official key -> tensor; a leading "module." is dropped.
            strict: refuse missing and unexpected keys too, not only those of another shape.

        Raises:
            InputError: naming the keys that do not fit and the network that they would.
        """
        fit_state_dict(self, self.from_official(state_dict), strict=strict)

    def from_official(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Official keys and layouts as this module's own; what differs by network is overridden there."""
        return {key.removeprefix("module."): value for key, value in state_dict.items()}

    def load_tflite(self, path: Path) -> None:
        """Take over the weights of a published TFLite file.

        Raises:
            InputError: there is no such file for this network, or it is for another one.
        """
        raise InputError(f"{self.name} has no TFLite form: {path.name} cannot be loaded into it")

    if TYPE_CHECKING:

        def __call__(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]: ...  # noqa: ANN401


@dataclass(frozen=True)
class InputSpec:
    """One tensor that a network takes.

    Attributes:
        name: of the forward's argument.
        shape: without the batch, e.g. (3, 224, 224).
        low, high: between which its values lie; for images, what the bytes 0 and 255 become.
    """

    name: str
    shape: tuple[int, ...]
    low: float = 0.0
    high: float = 1.0

    def of_side(self, side: int) -> InputSpec:
        """The same for square images of another side; what is no image stays."""
        return replace(self, shape=(*self.shape[:-2], side, side)) if len(self.shape) > 2 else self

    def example(self, batch: int = 1, seed: int = 0) -> Tensor:
        """Uniform random values (batch, *shape), the same for the same seed."""
        generator = torch.Generator().manual_seed(seed)
        return torch.rand((batch, *self.shape), generator=generator) * (self.high - self.low) + self.low


@dataclass(frozen=True)
class NetworkEntry:
    """The facts of one network, and how it is made.

    Attributes:
        name: under which `create_network` makes it.
        build: makes it, untrained; its keyword arguments are the network's options.
        summary: one line: what it predicts.
        source: paper and section, or the code that it follows.
        licence: of the published weights.
        inputs: what its forward takes.
        weight: name in the catalogue of published files, or None where nothing can be fetched.
        where: where weights can be downloaded, in words.
        tiny: options and inputs of a small twin for tests; the entry's own inputs where a network needs no twin.
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


_ENTRIES: Registry[NetworkEntry] = Registry("network", NETWORKS)


def register(entry: NetworkEntry) -> NetworkEntry:
    """Add a network; called where it is defined.

    Raises:
        InputError: the name is taken.
    """
    return _ENTRIES.add(entry.name, entry)


def list_networks(pattern: str = "*") -> list[str]:
    """Names of the networks that match a shell pattern, in alphabetical order."""
    return sorted(name for name in _entries() if fnmatch(name, pattern))


def network_entry(name: str) -> NetworkEntry:
    """The entry of one network; InputError for an unknown name."""
    return _entries().find(name)


def create_network(name: str, weights: str | Path | None = None, **options: Any) -> Network:  # noqa: ANN401
    """Make a network.

    Args:
        name: one of `list_networks()`.
        weights: None: freshly initialised; `"published"`: the published file, fetched before by `sonjit models pull`;
            `"demo"`: placeholder weights drawn from each key's name, the same everywhere, to try things out; or a
            path to a `.tflite`, `.safetensors` or torch checkpoint, official or own. A checkpoint of Sonjit's holds the
            options of its network, which need not be given then.
        options: of the network; unknown ones are refused with the list of known ones.

    Raises:
        InputError: an unknown name or option, an option that contradicts the checkpoint's, or weights that are missing,
            of another network, or do not fit.
    """
    entry = network_entry(name)
    path = Path(weights or "")
    if saved := saved_network(path):
        if saved.name != name:
            raise InputError(f"{path}: holds weights of {saved.name}, not of {name}")
        options = saved.agreed(options, path)
    network = _build(entry, options)
    network.name, network.options = name, _all_options(entry, options)
    if weights is None:
        return network
    if weights == "demo":
        fit_state_dict(network, placeholder_state_dict(network))
    elif weights == "published":
        network.load_tflite(_published(entry))
    elif Path(weights).suffix == ".tflite":
        network.load_tflite(Path(weights))
    else:
        _load(network, Path(weights))
    return network


def network_like(state_dict: Mapping[str, Tensor]) -> str | None:
    """The network whose keys and shapes these are for the most part; None where none comes near."""
    given = {(key, tuple(value.shape)) for key, value in state_dict.items()}
    best, most = None, 0.5
    for name in _entries():
        own = _keys_and_shapes(name)
        share = len(own & given) / max(len(own | given), 1)
        if share > most:
            best, most = name, share
    return best


@cache
def _keys_and_shapes(name: str) -> frozenset[tuple[str, tuple[int, ...]]]:
    """Of a network's weights; nothing for one that needs options."""
    try:
        with torch.device("meta"):
            network = _ENTRIES[name].build()
    except (InputError, TypeError, RuntimeError, NotImplementedError):
        return frozenset()
    return frozenset((key, tuple(value.shape)) for key, value in network.state_dict().items())


def _entries() -> Registry[NetworkEntry]:
    for file in _MODULES:
        import_module(f"sonjit.networks.{file}")
    load_extensions(NETWORKS)
    return _ENTRIES


def _build(entry: NetworkEntry, options: Mapping[str, object]) -> Network:
    known = [name for name in inspect.signature(entry.build).parameters if name not in ("args", "kwargs")]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise InputError(
            f"{entry.name}: unknown option {', '.join(map(repr, unknown))}; known: {', '.join(known) or 'none'}"
        )
    return entry.build(**options)


def _all_options(entry: NetworkEntry, options: Mapping[str, object]) -> dict[str, object]:
    """What a network is made with, defaults too, as far as JSON holds it."""
    defaults = {name: one.default for name, one in inspect.signature(entry.build).parameters.items()}
    return options_in_json({**defaults, **options})


def _published(entry: NetworkEntry) -> Path:
    from sonjit.weights import find_weight

    if entry.weight is None:
        where = entry.where or "train it, or give a checkpoint's path"
        raise InputError(f"{entry.name} has no published weights that may be fetched: {where}")
    return find_weight(entry.weight)


def _load(network: Network, path: Path) -> None:
    """Own checkpoints have the module's own keys; everything else is taken for the official code's."""
    weights = load_checkpoint(path)
    try:
        if weights.keys() == network.state_dict().keys():
            fit_state_dict(network, weights)
        else:
            network.load_official(weights)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def fit_state_dict(network: nn.Module, state_dict: Mapping[str, Tensor], *, strict: bool = True) -> None:
    """Load weights into a network, or report what does not fit.

    Args:
        network: whose weights are replaced; it is left as it was where they do not fit.
        state_dict: in the network's own names.
        strict: refuse missing and unexpected keys too, not only those of another shape.

    Raises:
        InputError: naming missing, unexpected and differently shaped keys, and which network they fit best; or
            weights that are not finite.
    """
    own = network.state_dict()
    missing = sorted(own.keys() - state_dict.keys())
    unexpected = sorted(state_dict.keys() - own.keys())
    reshaped = [
        f"{key} {tuple(state_dict[key].shape)} instead of {tuple(value.shape)}"
        for key, value in own.items()
        if key in state_dict and state_dict[key].shape != value.shape
    ]
    broken = [key for key in own if key in state_dict and not state_dict[key].isfinite().all()]
    if broken:
        shown = f"{', '.join(broken[:_SHOWN_KEYS])}{', …' if len(broken) > _SHOWN_KEYS else ''}"
        raise InputError(f"{len(broken)} of these weights hold NaN or infinity ({shown}): take an earlier checkpoint")
    if reshaped or (strict and (missing or unexpected)):
        misfits = [
            f"{len(keys)} {what} ({', '.join(keys[:_SHOWN_KEYS])}{', …' if len(keys) > _SHOWN_KEYS else ''})"
            for what, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped))
            if keys
        ]
        like = network_like(state_dict)
        name = getattr(network, "name", type(network).__name__)
        hint = f"; they fit {like}" if like and like != name else ""
        raise InputError(f"these weights do not fit {name}: keys {'; '.join(misfits)}{hint}")
    network.load_state_dict(dict(state_dict), strict=False)


def placeholder_state_dict(network: nn.Module) -> dict[str, Tensor]:
    """Placeholder weights: a state_dict with one generator per key, seeded by its name's CRC-32.

    Scales of norms lie in 0.8..1.2, running variances in 0.5..1.5, weights have He's deviation; counters are zero.
    """
    return {
        key: torch.from_numpy(seeded_values(key, tuple(value.shape))).to(value.dtype)
        if value.is_floating_point()
        else torch.zeros_like(value, device="cpu")
        for key, value in network.state_dict().items()
    }


def seeded_values(key: str, shape: tuple[int, ...]) -> Float32Array:
    """The values of one entry of a state_dict.

    >>> [f"{value:.2f}" for value in seeded_values("layer.weight", (2, 3)).flat]
    ['0.11', '-0.12', '-0.07', '0.95', '-1.48', '0.17']
    """
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    if key.endswith("running_var"):
        values = rng.uniform(0.5, 1.5, shape)
    elif key.endswith("running_mean"):
        values = rng.normal(0, 0.1, shape)
    elif len(shape) == 1 and key.endswith("weight"):
        values = rng.uniform(0.8, 1.2, shape)
    elif len(shape) <= 1:
        values = rng.normal(0, 0.02, shape)
    else:
        values = rng.normal(0, math.sqrt(2 / max(math.prod(shape[1:]), 1)), shape)
    return values.astype(np.float32)
