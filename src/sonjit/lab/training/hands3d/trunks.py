"""Load pretrained trunks of networks for hands in space."""

from __future__ import annotations

from pathlib import Path

from sonjit.lab.networks import load_checkpoint
from sonjit.lab.networks.hands3d.internet import InterNet
from sonjit.lab.networks.hands3d.rootnet import RootNet


def prepare_for_training(network: InterNet | RootNet, trunk_weights: str, device: str) -> None:
    """Load the weights of a trunk, move a network to a device and set it to train mode.

    Args:
        network: Network, changed in place.
        trunk_weights: File of torchvision's ResNet for ImageNet; "" keeps the network's own weights.
        device: Device for the training.
    """
    if trunk_weights:
        network.load_official(load_checkpoint(Path(trunk_weights)), strict=False)
    network.to(device).train()
