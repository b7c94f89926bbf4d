"""The networks as PyTorch modules: one network, one file; a registry; published weights and official checkpoints load.

Needs the extra `train`. A network is a `Network`: float32 images (B, 3, H, W) in, a mapping from name to tensor out.
"""

from __future__ import annotations

from sonjit.extras import needed_for

with needed_for("sonjit.networks"):
    from sonjit.networks.base import Network
    from sonjit.networks.checkpoints import load_checkpoint, save_checkpoint
    from sonjit.networks.registry import InputSpec, NetworkEntry, create_network, list_networks, network_entry, register

__all__ = [
    "InputSpec",
    "Network",
    "NetworkEntry",
    "create_network",
    "list_networks",
    "load_checkpoint",
    "network_entry",
    "register",
    "save_checkpoint",
]
