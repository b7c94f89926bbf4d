"""Networks with their published weights."""

from functools import cache

import pytest

from sonjit._util.errors import SonjitError
from sonjit.lab.networks import create_network, network_entry
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
