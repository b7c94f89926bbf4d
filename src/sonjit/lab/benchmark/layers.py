"""Measure the layers of a detector's networks, to see which operations take the time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sonjit.detectors.create import create_detector
from sonjit.engines import Precision, profiled_networks
from sonjit.lab.benchmark.cases import Case, check_media, open_media
from sonjit.lab.benchmark.worker import engines_of

if TYPE_CHECKING:
    from rich.console import Group

    from sonjit.engines.openvino import OpenVinoEngine

_FRAMES = 10
"""Frames that the detector processes first, so that each network has a real input."""
_RUNS = 20
"""Runs of each network per turn."""


class LayerGroup(NamedTuple):
    """Layers with the same operation and kernel.

    Attributes:
        operation: Operation, such as "Convolution".
        kernel: Kernel of OpenVINO with its instruction set and number format.
        layers: Number of layers.
        ms: Sum of the shortest times of these layers, wall time in milliseconds.
    """

    operation: str
    kernel: str
    layers: int
    ms: float


class NetworkLayers(NamedTuple):
    """Time of a network by its layers.

    Attributes:
        network: File name of the network without its ending.
        precision: Number format in which the network runs.
        groups: Groups of layers, the slowest first.
    """

    network: str
    precision: str
    groups: list[LayerGroup]

    @property
    def ms(self) -> float:
        """Return the time of all layers in milliseconds."""
        return sum(group.ms for group in self.groups)


def measure_layers(
    cases: Iterable[Case],
    *,
    media: Mapping[str, str | Path],
    precision: Precision = "auto",
    threads: int | None = None,
    repeat: int = 1,
) -> list[NetworkLayers]:
    """Measure every network of the cases' detectors on its last input.

    Args:
        cases: Cases whose kinds and models are measured.
        media: Video or image by the `subject` of a case. Hands use the bundled clip by default.
        precision: Precision of the networks, see `create_detector`.
        threads: Threads of the networks, see `create_detector`.
        repeat: Turns of 20 runs per network.

    Returns:
        Each network once, in the order of the cases.

    Raises:
        InputError: A case has no medium, or a video or weight file is missing.
    """
    measured: dict[tuple[str, str], NetworkLayers] = {}
    models = {(case.kind, case.model): case for case in cases}
    for case in models.values():
        check_media(case, media)
        with (
            open_media(media.get(case.subject)) as source,
            profiled_networks(),
            closing(
                create_detector(case.kind, model=case.model, search="fast", precision=precision, threads=threads)
            ) as detector,
        ):
            for frame in islice(source, _FRAMES):
                detector.detect(frame.rgb, time=frame.time)
            for engine in engines_of(detector):
                key = engine.name, engine.precision
                if key not in measured:
                    measured[key] = _measure(engine, repeat * _RUNS)
    return list(measured.values())


def _measure(engine: OpenVinoEngine, runs: int) -> NetworkLayers:
    times: defaultdict[tuple[str, str, str], list[float]] = defaultdict(list)
    for _ in range(runs):
        engine.run()
        for layer in engine.layer_times():
            times[layer.operation, layer.kernel, layer.name].append(layer.ms)
    sums: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for (operation, kernel, _), values in times.items():
        sums[operation, kernel].append(min(values))
    groups = [LayerGroup(*key, len(values), sum(values)) for key, values in sums.items()]
    return NetworkLayers(engine.name, engine.precision, sorted(groups, key=lambda group: -group.ms))


def draw_layers(networks: Iterable[NetworkLayers]) -> Group:
    """Return a table per network, for a terminal."""
    from rich.console import Group
    from rich.table import Table

    tables: list[Table] = []
    for network in networks:
        title = f"{network.network}, {network.precision}, {network.ms:.2f} ms"
        table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
        for heading in ("operation", "kernel"):
            table.add_column(heading)
        for heading in ("layers", "ms", "share"):
            table.add_column(heading, justify="right")
        for group in network.groups:
            share = f"{group.ms / network.ms:.0%}" if network.ms else "-"
            table.add_row(group.operation, group.kernel, str(group.layers), f"{group.ms:.2f}", share)
        tables.append(table)
    return Group(*tables)
