"""Lift detected hands to camera space. InterNet gives the joints, and RootNet or the size of the hand the depth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sonjit._util import InputError
from sonjit.runs.task import Lift

if TYPE_CHECKING:
    from sonjit_lab.papers.interhand.lifter import Lifter

__all__ = ["Lift", "create_lifter"]


def create_lifter(lift: Lift) -> Lifter:
    """Load the networks.

    Raises:
        InputError: The weights are missing or do not fit.
        MissingExtraError: PyTorch is not installed.
    """
    from sonjit.engines.devices import torch_device
    from sonjit_lab.papers.interhand.lifter import EXPORTED, Lifter, load_internet, load_rootnet

    assert lift.weights is not None
    weights, device = Path(lift.weights), torch_device(lift.device)
    if weights.suffix in EXPORTED and device.type != "cpu":
        raise InputError(f"--lift-device {lift.device}: {weights.name} runs only on the CPU. Use its checkpoint")
    internet = load_internet(lift.weights, lift.layout)
    rootnet = None if lift.root_weights is None else load_rootnet(lift.root_weights, lift.root_input_scale)
    return Lifter(internet, rootnet, camera=lift.camera, mirrored=lift.mirrored, device=device, box=lift.box)
