"""Parts of a search that run ahead on other threads."""

import gc
import threading
import weakref
from types import SimpleNamespace

import pytest

import sonjit
from sonjit.detectors.search import ahead
from sonjit.detectors.search.ahead import Ahead, Helpers, new_helpers
from sonjit.detectors.search.hands import HandNetworks, HandSearch
from sonjit.detectors.search.network import HandBox
from sonjit.engines import EngineOptions
from sonjit.geometry.boxes import RotatedBox

from .test_local import PalmsInWindows
from .test_search import Landmarks, Network, an_image


def test_a_result_is_computed_once_and_by_the_networks_of_the_thread():
    one = Ahead("own", Helpers(lambda: "helper", 2))
    seen = threading.Event()

    def look():
        one.once("a", lambda network: network)
        seen.set()

    one.start([look], single=True)
    assert seen.wait(60)
    assert one.once("a", lambda network: network) == "helper"
    assert one.once("b", lambda network: network) == "own"


def test_a_single_call_is_left_to_the_search():
    one = Ahead("own", Helpers(lambda: pytest.fail("loaded"), 2))
    one.start([lambda: pytest.fail("started")])
    assert one.once("a", lambda network: network) == "own"


def test_an_error_ahead_reaches_the_search():
    def fail(_):
        raise ValueError("no memory")

    one = Ahead("own", Helpers(lambda: "helper", 2))
    seen = threading.Event()

    def look():
        try:
            one.once("a", fail)
        finally:
            seen.set()

    one.start([look], single=True)
    assert seen.wait(60)
    with pytest.raises(ValueError, match="no memory"):
        one.once("a", lambda network: network)


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


@pytest.mark.parametrize(
    ("running", "cpus", "count"),
    [
        ({}, 2, 2), ({}, 3, 3), ({}, 16, 4), ({}, 1, None), ({}, None, None), ({"threads": 3}, 8, 3),
        ({"threads": 8}, 8, 4), ({"threads": 3}, 2, 2), ({"device": "GPU"}, 8, None), ({"shared": True}, 8, None),
    ],
)  # fmt: skip
def test_helpers_are_as_many_as_the_threads_of_a_detector_and_the_cores_at_most_four(monkeypatch, running, cpus, count):
    monkeypatch.setattr("os.cpu_count", lambda: cpus)
    monkeypatch.setattr(ahead, "Helpers", lambda load, count: (load, count))
    given = SimpleNamespace(**{"thread_count": running.get("threads"), "device": "CPU", "shared": False} | running)
    assert new_helpers(SimpleNamespace, given) == (None if count is None else (SimpleNamespace, count))


def test_calls_that_have_not_begun_are_left_out_at_the_end():
    first, go_on, done, helpers = threading.Event(), threading.Event(), [], Helpers(lambda: "helper", 1)
    one = Ahead("own", helpers)

    def wait():
        first.set()
        assert go_on.wait(60)
        done.append("first")

    assert not one.ended
    one.start([wait, lambda: done.append("second")])
    assert first.wait(60)
    one.end()
    go_on.set()
    helpers.submit(lambda: done.append("third")).result(60)
    assert one.ended
    assert done == ["first", "third"]
    helpers.close()
    assert not any(thread.is_alive() for thread in helpers._threads._threads)


def test_a_single_call_starts_on_request_and_none_without_helpers():
    helpers, done = Helpers(lambda: "helper", 1), []
    for calls, single, count in (([1], False, 0), ([2], True, 1), ([3, 4], False, 3), ([], True, 3)):
        Ahead("own", helpers).start([lambda call=call: done.append(call) for call in calls], single=single)
        helpers.submit(lambda: None).result(60)
        assert len(done) == count
    Ahead("own", None).start([lambda: done.append(5)] * 2, single=True)
    helpers.close()
    assert done == [2, 3, 4]


def test_each_thread_loads_its_networks_once():
    loads, both, seen = [], threading.Barrier(2, timeout=60), []
    helpers = Helpers(lambda: loads.append(threading.current_thread().name) or len(loads), 2)

    def look():
        both.wait()
        seen.append(helpers.networks(None))

    for _ in range(3):
        for call in [helpers.submit(look) for _ in range(2)]:
            call.result(60)
    helpers.close()
    assert (len(loads), len(set(loads)), sorted(seen)) == (2, 2, [1, 1, 1, 2, 2, 2])
    assert helpers.networks("own") == "own"


@pytest.mark.slow
@pytest.mark.golden
def test_helpers_do_not_change_results(data, monkeypatch):
    photographs = sorted((data / "real" / "wild3").rglob("*.jpg"))[:60:6]
    if not photographs:
        pytest.skip(f"{data / 'real' / 'wild3'} is not there")
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
@pytest.mark.files("real/wild/stock-group-1.jpg")
def test_a_closed_detector_has_neither_threads_nor_networks(monkeypatch, kind, options, prefix, file):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.delenv("SONJIT_THREADS", raising=False)
    others = threads_named(prefix)
    detector = sonjit.create_detector(kind, **options)
    assert detector.detect(file)
    own = threads_named(prefix) - others
    assert own
    networks = weakref.ref(detector._kind)
    detector.close()
    gc.collect()
    assert not any(thread.is_alive() for thread in own)
    assert networks() is None
