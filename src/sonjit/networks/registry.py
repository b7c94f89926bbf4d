"""Which networks there are: one record each, made by `@register` in the network's own file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sonjit.errors import InputError
from sonjit.networks.base import seeded_state_dict
from sonjit.networks.checkpoints import fit_state_dict, load_checkpoint

if TYPE_CHECKING:
    from torch import Tensor

    from sonjit.networks.base import Network

_FILES: tuple[str, ...] = (
    "cam.cam",
    "hands3d.deformer",
    "hands3d.handoccnet",
    "hands3d.internet",
    "hands3d.motion_discriminator",
    "hands3d.rootnet",
    "keypoints.keypoint_heatmaps",
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

    def example(self, batch: int = 1, seed: int = 0) -> Tensor:
        """Uniform random values (batch, *shape), the same for the same seed."""
        generator = torch.Generator().manual_seed(seed)
        return torch.rand((batch, *self.shape), generator=generator) * (self.high - self.low) + self.low


@dataclass(frozen=True)
class NetworkEntry:
    """What is known of one network.

    Attributes:
        name: under which `create_network` makes it.
        build: makes it, untrained; its keyword arguments are the network's options.
        summary: one line: what it finds.
        source: paper and section, or the code that it follows.
        licence: of the published weights.
        inputs: what its forward takes.
        weight: name in the catalogue of published files, or None where nothing can be fetched.
        where: where weights are to be had, in words.
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
    tiny: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tiny_inputs: tuple[InputSpec, ...] = ()


_ENTRIES: dict[str, NetworkEntry] = {}


def register(entry: NetworkEntry) -> NetworkEntry:
    """Add a network; called where it is defined."""
    if entry.name in _ENTRIES:
        raise ValueError(f"network {entry.name} is registered twice")
    _ENTRIES[entry.name] = entry
    return entry


def list_networks(pattern: str = "*") -> list[str]:
    """Names of the networks that match a shell pattern, in alphabetical order."""
    return sorted(name for name in _entries() if fnmatch(name, pattern))


def network_entry(name: str) -> NetworkEntry:
    """What is known of one network; InputError for an unknown name."""
    entries = _entries()
    if name not in entries:
        raise InputError(f"unknown network {name!r}; known: {', '.join(sorted(entries))}")
    return entries[name]


def create_network(name: str, weights: str | Path | None = None, **options: Any) -> Network:  # noqa: ANN401
    """Make a network.

    Args:
        name: one of `list_networks()`.
        weights: None: freshly initialised; `"published"`: the published file, fetched before by `sonjit models pull`;
            `"demo"`: numbers drawn from each key's name, the same everywhere, to try things out (its answers mean
            nothing); or a path to a `.tflite`, `.safetensors` or torch checkpoint, official or own.
        options: of the network; unknown ones are refused with the list of known ones.

    Raises:
        InputError: an unknown name or option, or weights that are missing or do not fit.
    """
    entry = network_entry(name)
    network = _build(entry, options)
    network.name = name
    if weights is None:
        return network
    if weights == "demo":
        fit_state_dict(network, seeded_state_dict(network))
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


def _entries() -> dict[str, NetworkEntry]:
    for file in _FILES:
        import_module(f"sonjit.networks.{file}")
    return _ENTRIES


def _build(entry: NetworkEntry, options: Mapping[str, Any]) -> Network:
    import inspect

    known = [name for name in inspect.signature(entry.build).parameters if name not in ("args", "kwargs")]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise InputError(
            f"{entry.name}: unknown option {', '.join(map(repr, unknown))}; known: {', '.join(known) or 'none'}"
        )
    return entry.build(**options)


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
