"""Networks with their published weights."""

from functools import cache

import pytest

from sonjit._util.errors import SonjitError
from sonjit.weights import find_weight
from sonjit_lab.networks import create_network, network_entry


@pytest.fixture(scope="session")
def published():
    """Return a function that gives a network with its published weights, or skips the test."""

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
    """Return a function that gives the file of a network's published weights, or skips the test."""

    def get(name):
        published(name)
        return find_weight(network_entry(name).weight)

    return get
