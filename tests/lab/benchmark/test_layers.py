"""Layers of networks: measurement, display, and errors of options."""

import io

import pytest
from rich.console import Console

from sonjit._util.errors import InputError
from sonjit.cli import main
from sonjit.engines import EngineOptions, profiled_networks
from sonjit.engines.openvino import OpenVinoEngine
from sonjit.lab.benchmark import CASES, measure_layers
from sonjit.lab.benchmark.run import LayerGroup, NetworkLayers, draw_layers
from sonjit.weights import find_weight

LITE = next(case for case in CASES if (case.kind, case.model) == ("hands", "lite"))


@pytest.fixture
def lite_file():
    try:
        return [find_weight(name) for name in LITE.weights][-1]
    except InputError as error:
        pytest.skip(f"{error}; run: sonjit models pull")


@pytest.mark.slow
def test_each_network_of_the_cases_is_measured_once(lite_file):
    networks = measure_layers([LITE, LITE], media={}, precision="f32", threads=1)
    assert [network.network for network in networks] == ["palm_detection_lite", lite_file.stem]
    for network in networks:
        assert network.precision == "f32"
        assert sum(group.layers for group in network.groups if group.operation == "Convolution") >= 30
        assert [group.ms for group in network.groups] == sorted((group.ms for group in network.groups), reverse=True)
        assert 0 < network.groups[0].ms < network.ms


def test_only_profiled_networks_have_layer_times(lite_file):
    with profiled_networks():
        profiled = EngineOptions(precision="f32", threads=1)
    plain = EngineOptions(precision="f32", threads=1)
    counts: list[int] = []
    for options in (profiled, plain):
        engine = OpenVinoEngine(lite_file, options, (0.0, 1.0))
        engine.run()
        counts.append(len(engine.layer_times()))
    assert counts[0] > 30
    assert counts[1] == 0


def test_table_shows_the_share_of_each_group():
    groups = [LayerGroup("Convolution", "fast_f32", 3, 3.0), LayerGroup("MaxPool", "plain_f32", 1, 1.0)]
    console = Console(file=io.StringIO(), width=120)
    console.print(draw_layers([NetworkLayers("palm", "f32", groups)]))
    title, _, first, second = [line.split() for line in console.file.getvalue().splitlines() if line.strip()]
    assert title == ["palm,", "f32,", "4.00", "ms"]
    assert first == ["Convolution", "fast_f32", "3", "3.00", "75%"]
    assert second == ["MaxPool", "plain_f32", "1", "1.00", "25%"]


@pytest.mark.parametrize(
    ("options", "refused"),
    [
        (["--peer", "python3"], "--peer"),
        (["--save", "bench.json"], "--save"),
        (["--peer-api", "tasks"], "--peer-api tasks"),
        (["--repeat", "0"], "--repeat 0"),
    ],
)
def test_options_without_effect_on_layers_are_refused(capsys, options, refused):
    assert main(["bench", "--layers", *options]) == 2
    error = capsys.readouterr().err
    assert refused in error
    assert error.count("\n") == 1
