"""Detectors that share networks: loaded once, released with the last user, and with unchanged results."""

import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from sonjit import create_detector
from sonjit._util.errors import InputError
from sonjit.engines import EngineOptions, load_ahead, load_engine, shared_networks
from sonjit.engines import openvino as engine
from sonjit.server.options import SessionOptions
from sonjit.server.service import DetectorPool


@pytest.fixture
def loads(monkeypatch):
    """Return the names of loaded networks."""
    names, load = [], engine._load

    def count(network):
        names.append(network.path.name)
        return load(network)

    monkeypatch.setattr(engine, "_load", count)
    return names


def shared(path, **options):
    with shared_networks():
        return load_engine(path, EngineOptions(**options))


@pytest.mark.slow
def test_an_unused_network_is_freed(weights, loads):
    path = weights["hand-lite"]
    one = shared(path)
    del one
    gc.collect()
    shared(path)
    assert len(loads) == 2


def test_clients_of_a_server_share_their_networks(weights, loads):
    fast = {"model": "lite", "search": "fast"}  # nothing loads in the background
    pool, options = DetectorPool(2), SessionOptions.from_values("hands", fast, still=False)
    with pool.take(options), pool.take(options):
        pass
    assert "palm_detection_lite.tflite" in loads
    assert sorted(loads) == sorted(set(loads))


@pytest.mark.slow
def test_eight_threads_on_shared_networks_give_what_one_gives(weights, demo_clip, loads):
    frames = demo_clip[1][100:130]

    def run(_):
        with shared_networks():
            detector = create_detector("hands", model="lite", max_instances=1)
        with detector:
            return [detector.detect(rgb) for rgb in frames]

    separate = run(0)
    assert any(separate)
    loads.clear()
    with shared_networks(), create_detector("hands", model="lite"), ThreadPoolExecutor(8) as pool:
        for together in pool.map(run, range(8)):
            assert together == separate
    assert sorted(loads) == sorted(set(loads))


@pytest.mark.nightly_after(1)
@pytest.mark.slow
@pytest.mark.parametrize("search", ["fast", "auto"])
def test_a_batch_of_stills_on_one_network_gives_what_they_give_one_after_the_other(weights, demo_clip, loads, search):
    stills = demo_clip[1][::90]
    with create_detector("hands", model="lite", static_image=True, search=search, threads=3) as detector:
        separate = [detector.detect(rgb) for rgb in stills]
        loads.clear()
        assert any(separate)
        assert detector.detect_batch(stills) == separate
        with pytest.raises(InputError, match="nothing"):
            detector.detect_batch([*stills, "nothing.png"])
        assert detector.detect_batch(stills[::-1]) == separate[::-1]
        assert len(loads) == len(set(loads))  # at most once for all three threads; a search shares some before
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("sonjit-batch")]


def test_networks_load_ahead_with_the_settings_of_the_caller():
    inside = threading.Event()

    def load():
        assert inside.wait(60)
        return threading.current_thread(), EngineOptions().shared

    with shared_networks():
        loading = load_ahead(load)
    inside.set()
    thread, is_shared = loading.result()
    assert thread is not threading.current_thread()
    assert is_shared
    thread.join(60)
    assert not thread.is_alive()


def test_an_error_of_loading_ahead_is_raised_at_each_use():
    def fail():
        raise InputError("no such file")

    loading = load_ahead(fail)
    for _ in range(2):
        with pytest.raises(InputError, match="no such file"):
            loading.result()
