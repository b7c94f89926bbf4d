"""Parts of a search that run ahead on other threads."""

import gc
import threading
import weakref
from types import SimpleNamespace

import pytest

import sonjit
from sonjit.detectors.search.ahead import Ahead, Helpers, new_helpers
from sonjit.detectors.search.hands import HandNetworks, HandSearch
from sonjit.detectors.search.network import HandBox
from sonjit.engines import EngineOptions
from sonjit.geometry.boxes import RotatedBox

from .test_local import PalmsInWindows
from .test_search import Landmarks, Network, an_image


def test_a_result_is_computed_once_and_by_the_networks_of_the_thread():
    ahead = Ahead("own", Helpers(lambda: "helper", 2))
    seen = threading.Event()

    def look():
        ahead.once("a", lambda network: network)
        seen.set()

    ahead.start([look], single=True)
    assert seen.wait(60)
    assert ahead.once("a", lambda network: network) == "helper"
    assert ahead.once("b", lambda network: network) == "own"


def test_a_single_call_is_left_to_the_search():
    ahead = Ahead("own", Helpers(lambda: pytest.fail("loaded"), 2))
    ahead.start([lambda: pytest.fail("started")])
    assert ahead.once("a", lambda network: network) == "own"


def test_an_error_ahead_reaches_the_search():
    def fail(_):
        raise ValueError("no memory")

    ahead = Ahead("own", Helpers(lambda: "helper", 2))
    seen = threading.Event()

    def look():
        try:
            ahead.once("a", fail)
        finally:
            seen.set()

    ahead.start([look], single=True)
    assert seen.wait(60)
    with pytest.raises(ValueError, match="no memory"):
        ahead.once("a", lambda network: network)


def test_helpers_observe_crops_near_several_boxes_with_the_same_result_until_the_search_ends():
    network = Network(HandBox(0.2, RotatedBox(140, 110, 50, 50, 0)), HandBox(0.2, RotatedBox(40, 40, 50, 50, 0)))
    threads: set[str] = set()

    class Watched(Landmarks):
        def observe(self, rgb, box):
            threads.add(threading.current_thread().name)
            return super().observe(rgb, box)

    helpers = Helpers(lambda: HandNetworks(PalmsInWindows(), Watched(0.9)), 2)
    own = PalmsInWindows(), Landmarks(0.9), lambda: network, lambda: None
    search = HandSearch(an_image(), *own, helpers=helpers)
    expecting = HandSearch(an_image(), *own)
    found, expected = ([each.proposal.box for each in one.search()] for one in (search, expecting))
    assert found == expected
    assert found
    assert threads
    assert all(name.startswith("sonjit-ahead") for name in threads)
    assert search._ahead.ended


@pytest.mark.parametrize(("running", "helps"), [({}, True), ({"threads": 1}, False), ({"shared": True}, False)])
def test_detectors_on_one_core_or_with_shared_networks_have_no_helpers(monkeypatch, running, helps):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.delenv("SONJIT_THREADS", raising=False)
    assert (new_helpers(SimpleNamespace, EngineOptions(**running)) is not None) is helps


@pytest.mark.slow
@pytest.mark.golden
def test_helpers_do_not_change_results(data, monkeypatch):
    photographs = sorted((data / "real" / "wild3").rglob("*.jpg"))[:60:6]
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    with sonjit.create_detector("hands", static_image=True) as several:
        together = [several.detect(path) for path in photographs]
    with sonjit.create_detector("hands", static_image=True, threads=1) as one:
        assert [one.detect(path) for path in photographs] == together
    assert any(together)


def threads_named(prefix):
    return {thread for thread in threading.enumerate() if thread.name.startswith(prefix)}


@pytest.mark.slow
@pytest.mark.golden
@pytest.mark.parametrize(
    ("kind", "options", "prefix"),
    [("hands", {"static_image": True}, "sonjit-ahead"), ("holistic", {}, "sonjit-face")],
)
def test_a_closed_detector_has_neither_threads_nor_networks(data, monkeypatch, kind, options, prefix):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.delenv("SONJIT_THREADS", raising=False)
    others = threads_named(prefix)
    detector = sonjit.create_detector(kind, **options)
    assert detector.detect(sorted((data / "real" / "wild").glob("stock-group-*.jpg"))[0])
    own = threads_named(prefix) - others
    assert own
    networks = weakref.ref(detector._kind)
    detector.close()
    gc.collect()
    assert not any(thread.is_alive() for thread in own)
    assert networks() is None
