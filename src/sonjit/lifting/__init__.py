"""Detected hands in camera space: InterNet for their joints, RootNet or their size for the depth, a camera."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sonjit.errors import InputError
from sonjit.geometry.cameras import ASSUMED_VIEW_DEG, Intrinsics

if TYPE_CHECKING:
    from sonjit.lifting.lifter import Lifter

__all__ = ["Lift", "create_lifter"]

NETWORKS = ("internet",)


@dataclass(frozen=True)
class Lift:
    """What to lift hands with; can be sent to another process.

    Attributes:
        network: of `NETWORKS`.
        weights: its checkpoint, or an .xml or .onnx that `sonjit export` made of it; "demo" for placeholder
            weights.
        root_weights: RootNet's checkpoint; None reads depths from the size of the hands.
        layout: the data set of the checkpoint, interhand, stb or rhd, where that does not say it itself.
        root_input_scale: of RootNet's checkpoint, 255 or 1, where that does not say it itself; see `RootNet`.
        camera: of all images; None assumes one for each.
        mirrored: the images are selfie views.
        device: see `torch_device`; exported networks run on the CPU.
        box: x, y, width, height around the hands of one person in every image: InterNet alone says which hands are
            there, whatever a detector finds.
    """

    network: str = "internet"
    weights: str | None = None
    root_weights: str | None = None
    layout: str | None = None
    root_input_scale: float | None = None
    camera: Intrinsics | None = None
    mirrored: bool = False
    device: str = "cpu"
    box: tuple[float, float, float, float] | None = None

    def __post_init__(self) -> None:
        """Refuse what is unknown, and say where to get weights."""
        if self.network not in NETWORKS:
            raise InputError(f"unknown network to lift with {self.network!r}; known: {', '.join(NETWORKS)}")
        if self.weights is None:
            from sonjit.networks import network_entry

            entry = network_entry(self.network)
            raise InputError(
                f"--lift {self.network} needs its weights, --lift-weights FILE: {entry.where} ({entry.licence}), "
                "or a checkpoint of your own; demo tries it out with placeholder weights"
            )
        if self.root_input_scale is not None and self.root_weights is None:
            raise InputError(f"--root-input-scale {self.root_input_scale:g}: only with --root-weights")
        if self.box is not None and not (all(map(math.isfinite, self.box)) and min(self.box[2:]) > 0):
            raise InputError(f"--lift-box {','.join(map('{:g}'.format, self.box))}: width and height must be above 0")

    @property
    def notes(self) -> list[str]:
        """Assumptions, one line each."""
        notes: list[str] = []
        if self.camera is None:
            notes.append(
                f"camera assumed: {ASSUMED_VIEW_DEG} degrees across the longer side of each image, looking through "
                "its middle; distances are as good as that: give --camera fx,fy,cx,cy in pixels"
            )
        if self.root_weights is None and self.box is not None:
            notes.append("distance from the size of a usual hand, 90 mm from the wrist to the middle finger's knuckle")
        elif self.root_weights is None:
            notes.append(
                "distance from the hands' size as the detector has it, a usual hand's; give --root-weights for RootNet"
            )
        else:
            notes.append(
                "distance by RootNet's release for bodies with a hand's box of 300 mm: its form for hands was never "
                "published"
            )
        return notes


def create_lifter(lift: Lift) -> Lifter:
    """Load the networks.

    Raises:
        InputError: weights that are missing or do not fit.
        MissingExtraError: PyTorch is not installed.
    """
    from sonjit.engines.devices import torch_device
    from sonjit.lifting.lifter import EXPORTED, Lifter, load_internet, load_rootnet

    assert lift.weights is not None
    weights, device = Path(lift.weights), torch_device(lift.device)
    if weights.suffix in EXPORTED and device.type != "cpu":
        raise InputError(f"--lift-device {lift.device}: {weights.name} runs on the CPU; give its checkpoint instead")
    internet = load_internet(lift.weights, lift.layout)
    rootnet = None if lift.root_weights is None else load_rootnet(lift.root_weights, lift.root_input_scale)
    return Lifter(internet, rootnet, camera=lift.camera, mirrored=lift.mirrored, device=device, box=lift.box)
