"""Networks for saliency maps: they are reused and closed with the server."""

import asyncio
import threading

import pytest

from sonjit.server import service
from sonjit.server.service import ExplainerPool, Service
from sonjit.server.settings import Settings


@pytest.fixture
def loaded(monkeypatch):
    """Return every network that a pool has loaded."""
    networks = []

    def load(model, *, mirrored, threads):
        networks.append((model, mirrored, object()))
        return networks[-1]

    monkeypatch.setattr(service, "load_hand_explainer", load)
    return networks


def test_networks_that_are_idle_are_used_again(loaded):
    pool = ExplainerPool()
    for mirrored in (False, True, False):
        with pool.borrow("lite", mirrored=mirrored) as first, pool.borrow("lite", mirrored=mirrored) as second:
            assert first is not second
    assert [one[:2] for one in loaded] == [("lite", False)] * 2 + [("lite", True)] * 2


def test_a_network_in_use_at_the_end_is_not_kept(loaded):
    server = Service(Settings(workers=1))
    borrowed, stopped = threading.Event(), threading.Event()

    def use():
        with server.explainers.borrow("lite", mirrored=False):
            borrowed.set()
            stopped.wait()

    thread = threading.Thread(target=use)
    thread.start()
    borrowed.wait()
    asyncio.run(server.stop())
    stopped.set()
    thread.join()
    with server.explainers.borrow("lite", mirrored=False):
        assert len(loaded) == 2
