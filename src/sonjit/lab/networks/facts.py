"""Costs, licences and weights of networks, which `sonjit networks` prints."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from sonjit._util.errors import InputError
from sonjit.lab.networks.mask_rcnn.mask_rcnn import MaskRCNN
from sonjit.lab.networks.registry import InputSpec, Network, NetworkEntry, network_entry


@dataclass(frozen=True)
class NetworkFacts:
    """Facts about a network.

    Attributes:
        name: Name in the registry.
        summary: Predictions of the network, in one line.
        source: Paper that it follows.
        parameters: Number of trainable parameters.
        flops: Floating point operations for one image; a multiply-add counts as two. For Mask R-CNN with the maximum
            number of proposals and instances (1000 and 100), because the actual number depends on the image.
        inputs: Names, shapes without the batch, and ranges of the inputs.
        licence: Licence of the published weights.
        weights: Path of the weights, or their source in words or as the command that downloads them.
        is_local: True if the weights are on this machine.
    """

    name: str
    summary: str
    source: str
    parameters: int
    flops: int
    inputs: tuple[InputSpec, ...]
    licence: str
    weights: str
    is_local: bool


def describe_network(name: str) -> NetworkFacts:
    """Return the facts about a network without loading its weights."""
    entry = network_entry(name)
    with torch.device("meta"):
        network = entry.build().eval()
    parameters = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    network.requires_grad_(False)  # the counter does not support parameters that are passed between modules
    weights, is_local = _weights(entry)
    return NetworkFacts(
        name=name,
        summary=entry.summary,
        source=entry.source,
        parameters=parameters,
        flops=_flops(network, entry.inputs),
        inputs=entry.inputs,
        licence=entry.licence,
        weights=weights,
        is_local=is_local,
    )


def _flops(network: Network, inputs: tuple[InputSpec, ...]) -> int:
    """Return the operations of one forward pass without values."""
    examples = [torch.empty((1, *spec.shape), device="meta") for spec in inputs]
    work = network.on_full_budget if isinstance(network, MaskRCNN) else network
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        work(*examples)
    return counter.get_total_flops()


def _weights(entry: NetworkEntry) -> tuple[str, bool]:
    from sonjit.weights import find_weight

    if entry.weight is None:
        return entry.where or "your own, by path", False
    try:
        return str(find_weight(entry.weight)), True
    except InputError:
        return f"sonjit models pull {entry.weight}", False
