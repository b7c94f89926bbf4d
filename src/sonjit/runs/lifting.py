"""Settings for lifting hands into the space of a camera. `sonjit.lab.lifting` has the networks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sonjit._util.errors import InputError
from sonjit._util.optional import load_function
from sonjit.geometry.cameras import ASSUMED_VIEW_DEG, Intrinsics

if TYPE_CHECKING:
    from collections.abc import Callable

    from sonjit._util.arrays import Image
    from sonjit.results import Frame

NETWORKS = ("internet",)


@dataclass(frozen=True)
class Lift:
    """Settings for lifting hands.

    Attributes:
        network: Name in `NETWORKS`.
        weights: Checkpoint, or its .xml or .onnx by `sonjit export`, or "demo" for placeholder weights.
        root_weights: Checkpoint of RootNet; None estimates the distance from the size of the hands.
        layout: Data set of the checkpoint, interhand, stb or rhd, if the checkpoint does not contain it.
        root_input_scale: Input scale 255 or 1 of RootNet's checkpoint, if that does not contain it; see `RootNet`.
        camera: Camera of all images; None assumes one for each image.
        mirrored: Treat the images as selfie views.
        device: Device, see `torch_device`. Exported networks run on the CPU.
        box: Box (x, y, width, height) around the hands of one person in every image. InterNet then decides which hands
            are visible, whatever a detector finds.
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
        """Check the settings."""
        if self.network not in NETWORKS:
            raise InputError(f"unknown lifting network {self.network!r}. Choose from {', '.join(NETWORKS)}")
        if self.weights is None:
            entry = load_function("network_entry")(self.network)
            raise InputError(
                f"--lift {self.network} needs its weights, --lift-weights FILE: {entry.where} ({entry.licence}), "
                "or a checkpoint of your own; or use demo for placeholder weights"
            )
        if self.root_input_scale is not None and self.root_weights is None:
            raise InputError("--root-input-scale requires --root-weights")
        if self.box is not None and not (all(map(math.isfinite, self.box)) and min(self.box[2:]) > 0):
            raise InputError(f"--lift-box {','.join(map('{:g}'.format, self.box))}: width and height must be above 0")

    @property
    def notes(self) -> list[str]:
        """Assumptions to print, one line each."""
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


def create_lifter(lift: Lift) -> Callable[[Image, Frame], None]:
    """Load the networks and return a function that lifts the hands of a frame into the space of its camera.

    Raises:
        InputError: Weights are missing or do not fit.
        MissingExtraError: PyTorch is not installed.
    """
    return load_function("create_lifter")(lift).lift_frame
