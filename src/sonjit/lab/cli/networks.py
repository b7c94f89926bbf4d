"""`sonjit networks` lists the networks with their cost and weights; `sonjit export` writes one for other runtimes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from sonjit._util.errors import InputError
from sonjit._util.json_text import json_from
from sonjit._util.key_values import json_values

if TYPE_CHECKING:
    from sonjit.lab.networks.facts import NetworkFacts
    from sonjit.lab.networks.registry import InputSpec


def networks(pattern: str = "*", /, *, as_json: Annotated[bool, Parameter(name="--json", negative="")] = False) -> None:
    """List the networks with size, work, input, licence and weights.

    `sonjit networks "hand-*"` shows those of the hand. The work of one image is in millions of floating point
    operations, a multiply-add counted as two; "?" where it depends on what is in the image.

    Args:
        pattern: Pattern of names with * and ?.
        as_json: Print a JSON array instead, including paper and summary.
    """
    from sonjit.lab.networks import list_networks
    from sonjit.lab.networks.facts import describe_network

    names = list_networks(pattern)
    if not names:
        raise InputError(f"No network matches {pattern!r}. Choose from {', '.join(list_networks())}")
    facts = [describe_network(name) for name in names]
    if as_json:
        sys.stdout.write(json_from([_to_dict(network) for network in facts], 2) + "\n")
        return
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 200)  # a pipe has no width: leave no name cut off
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("name", "parameters", "MFLOP", "input", "licence", "weights"):
        number = heading in ("parameters", "MFLOP")
        table.add_column(heading, justify="right" if number else "left", no_wrap=heading == "name")
    for network in facts:
        inputs = ", ".join(_format_input(spec) for spec in network.inputs)
        weights = "here" if network.is_local else network.weights
        work = f"{network.flops / 1e6:.0f}"
        table.add_row(network.name, f"{network.parameters:,}", work, inputs, network.licence, weights)
    console.print(table)


def _format_input(spec: InputSpec) -> str:
    return f"{' x '.join(map(str, spec.shape))} in {spec.low:g}..{spec.high:g}"


def _to_dict(network: NetworkFacts) -> dict[str, object]:
    return {
        "name": network.name,
        "summary": network.summary,
        "source": network.source,
        "parameters": network.parameters,
        "flops": network.flops,
        "inputs": [
            {"name": spec.name, "shape": list(spec.shape), "range": [spec.low, spec.high]} for spec in network.inputs
        ],
        "licence": network.licence,
        "weights": network.weights,
        "here": network.is_local,
    }


def export(
    name: str,
    /,
    *,
    out: str,
    weights: str | None = None,
    to: Literal["onnx", "openvino", "tflite"] | None = None,
    dynamic_batch: Annotated[bool, Parameter(negative="")] = False,
    settings: Annotated[tuple[str, ...], Parameter(name="--set")] = (),
) -> None:
    """Write a network as ONNX, OpenVINO IR or TFLite, and report the difference from PyTorch.

    `sonjit export hand-full --weights runs/thumb/weights.safetensors --set keypoints=22 --out hand.onnx` writes a
    network for `sonjit hands photo.jpg --landmark-model hand.onnx`.

    Args:
        name: Name of the network, from `sonjit networks`.
        out: File to write: .onnx, .tflite, or .xml with a .bin file.
        weights: published, demo, or the path of a .safetensors, .pt or .tflite file. Default: published.
        to: Format. Default: the format of the file ending.
        dynamic_batch: Accept batches of any size.
        settings: Option of the network, e.g. keypoints=22. Can be repeated.
    """
    from sonjit.lab.networks import create_network, network_entry
    from sonjit.lab.networks.export import export_network

    entry = network_entry(name)
    if weights is None and entry.weight is None:
        raise InputError(f"{name} has no published weights: give --weights ({entry.where or 'a checkpoint'})")
    network = create_network(name, weights or "published", **json_values(settings))
    inputs = [spec.of_side(network.side) if network.side else spec for spec in entry.inputs]
    exported = export_network(network, inputs, Path(out), to=to, dynamic_batch=dynamic_batch)
    differences = ", ".join(f"{output} {value:.1e}" for output, value in exported.differences.items())
    sys.stdout.write(
        f"{exported.path}: {exported.size / 1e6:.1f} MB; "
        f"largest difference from PyTorch, as part of each output's range: {differences}\n"
    )
