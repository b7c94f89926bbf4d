"""Networks with their published weights."""

from functools import cache

import pytest

from sonjit.errors import SonjitError
from sonjit.networks import create_network, network_entry
from sonjit.networks.export import export_network
from sonjit.weights import find_weight


@pytest.fixture(scope="session")
def published():
    """`published(name)`: a network with its published weights, made once; skips where they are absent."""

    @cache
    def make(name):
        return create_network(name, "published").eval()

    def get(name):
        try:
            return make(name)
        except SonjitError as error:
            pytest.skip(f"{str(error).partition(';')[0]}; type: sonjit models pull")

    return get


@pytest.fixture(scope="session")
def weight_file(published):
    """`weight_file(name)`: where a network's published weights are; skips where they are absent."""

    def get(name):
        published(name)
        return find_weight(network_entry(name).weight)

    return get


@pytest.fixture(scope="session")
def exported_twin(tmp_path_factory):
    """`exported_twin(name)`: the tiny twin of a network as an ONNX file, alone in its folder; written once."""

    @cache
    def write(name):
        entry = network_entry(name)
        network = create_network(name, "demo", **entry.tiny).train()
        exported = export_network(
            network, entry.tiny_inputs or entry.inputs, tmp_path_factory.mktemp(name) / "net.onnx"
        )
        assert network.training
        return exported

    return write
