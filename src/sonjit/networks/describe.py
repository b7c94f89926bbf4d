"""What a network costs and where its weights are: the facts that `sonjit networks` prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.utils.flop_counter import FlopCounterMode

from sonjit.errors import InputError
from sonjit.networks.mask_rcnn.mask_rcnn import MaskRCNN
from sonjit.networks.registry import network_entry

if TYPE_CHECKING:
    from sonjit.networks.registry import InputSpec, Network, NetworkEntry


@dataclass(frozen=True)
class NetworkFacts:
    """One network.

    Attributes:
        name: under which it is created.
        summary: one line: what it finds.
        source: the paper that it follows.
        parameters: that can be trained.
        flops: of one image, a multiply-add counted as two; of Mask R-CNN with as many proposals and instances as
            there may be (1000 and 100), for what it really costs depends on the image.
        inputs: their names, shapes without the batch, and ranges.
        licence: of the published weights.
        weights: where they can be downloaded, in words or as the command that fetches them.
        here: they are on this machine.
    """

    name: str
    summary: str
    source: str
    parameters: int
    flops: int
    inputs: tuple[InputSpec, ...]
    licence: str
    weights: str
    here: bool


def describe_network(name: str) -> NetworkFacts:
    """The facts of one network by name, worked out without its weights."""
    entry = network_entry(name)
    with torch.device("meta"):
        network = entry.build().eval()
    parameters = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    network.requires_grad_(False)  # the counter stumbles over parameters that are handed from module to module
    weights, here = _weights(entry)
    return NetworkFacts(
        name=name,
        summary=entry.summary,
        source=entry.source,
        parameters=parameters,
        flops=_flops(network, entry.inputs),
        inputs=entry.inputs,
        licence=entry.licence,
        weights=weights,
        here=here,
    )


def _flops(network: Network, inputs: tuple[InputSpec, ...]) -> int:
    """Of one forward pass on shapes alone."""
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
