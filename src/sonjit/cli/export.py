"""`sonjit export`: a network as a file for other runtimes, or for Sonjit's own detectors."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter


def export(
    name: str,
    /,
    *,
    out: str,
    weights: str | None = None,
    to: Literal["onnx", "openvino"] | None = None,
    dynamic_batch: Annotated[bool, Parameter(negative="")] = False,
    settings: Annotated[tuple[str, ...], Parameter(name="--set")] = (),
) -> None:
    """Write a network as ONNX or OpenVINO IR, and say how far it is from PyTorch.

    `sonjit export hand-full --weights runs/thumb/weights.safetensors --set keypoints=22 --out hand.onnx` makes what
    `sonjit hands photo.jpg --landmark-model hand.onnx` runs.

    Args:
        name: Of the network, from `sonjit networks`.
        out: File to write: .onnx, or .xml with its .bin beside.
        weights: published, demo, or a path: .safetensors, .pt or .tflite; the published ones by default.
        to: The format; by default that of the file's ending.
        dynamic_batch: Take batches of any size.
        settings: Option of the network, e.g. keypoints=22; may be given several times.
    """
    from sonjit.errors import InputError
    from sonjit.networks import create_network, network_entry
    from sonjit.networks.export import export_network

    entry = network_entry(name)
    if weights is None and entry.weight is None:
        raise InputError(f"{name} has no published weights: give --weights ({entry.where or 'a checkpoint'})")
    network = create_network(name, weights or "published", **_options(settings))
    exported = export_network(network, entry.inputs, Path(out), to=to, dynamic_batch=dynamic_batch)
    differences = ", ".join(f"{output} {value:.1e}" for output, value in exported.differences.items())
    sys.stdout.write(
        f"{exported.path}: {exported.size / 1e6:.1f} MB; "
        f"largest difference from PyTorch, as part of each output's range: {differences}\n"
    )


def _options(settings: tuple[str, ...]) -> dict[str, Any]:
    """`key=value` with numbers, true and false as such."""
    from sonjit.errors import InputError

    options: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise InputError(f"--set {setting}: give key=value")
        try:
            options[key] = json.loads(text)
        except ValueError:
            options[key] = text
    return options
