"""The parts of a server: threads, turns of single images, bodies in memory, detectors, and the end."""

import asyncio
import threading
from types import SimpleNamespace

import pytest
from starlette.requests import Request

from sonjit._util.errors import InputError
from sonjit.server import service
from sonjit.server.errors import RefusedError
from sonjit.server.options import SessionOptions
from sonjit.server.service import DetectorPool, Service, missing_weights, require_weights
from sonjit.server.settings import Settings


@pytest.mark.parametrize(
    ("workers", "cores", "threads", "turns"),
    [(None, 5, 5, 4), (None, 1, 1, 1), (None, None, 1, 1), (3, 5, 3, 2), (2, None, 2, 1)],
)
def test_one_thread_for_each_core_works_and_one_is_left_for_streams(monkeypatch, workers, cores, threads, turns):
    monkeypatch.setattr(service.os, "cpu_count", lambda: cores)
    made = Service(Settings(workers=workers))
    assert made.threads.total_tokens == threads

    async def count_turns():
        begun, enough = [], asyncio.Event()

        async def work():
            async with made.image():
                begun.append(1)
                await enough.wait()

        tasks = [asyncio.create_task(work()) for _ in range(8)]
        await asyncio.sleep(0.01)
        at_once = len(begun)
        enough.set()
        await asyncio.gather(*tasks)
        return at_once, len(begun)

    assert asyncio.run(count_turns()) == (turns, 8)


def test_so_many_single_images_wait():
    made = Service(Settings(workers=4, max_clients=2))

    async def images():
        for _ in range(2):  # a turn that ends leaves its place
            async with made.image(), made.image():
                with pytest.raises(RefusedError, match=r"2 images are at work: .*--max-clients") as refused:
                    async with made.image():
                        pass
        return refused.value.code

    assert asyncio.run(images()) == "busy"


def request_of(*pieces):
    pieces = list(pieces)

    async def receive():
        body = pieces.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(pieces)}

    return Request({"type": "http", "headers": []}, receive)


def test_bodies_in_memory_are_counted_until_their_block_ends():
    made = Service(Settings(max_clients=2, max_body_mb=0.000_01))  # 10 bytes
    limit = 20

    async def read(*pieces):
        with made.body(request_of(*pieces)) as body:
            return await body.body(), made.body_bytes

    assert (made.body_bytes, made.settings.max_body_bytes) == (0, 10)
    assert asyncio.run(read(b"abc", b"de")) == (b"abcde", 5)
    assert made.body_bytes == 0
    made.body_bytes = limit - 4
    assert asyncio.run(read(b"abc", b"d")) == (b"abcd", limit)
    for pieces in ((b"abc", b"de"), (b"abcde",)):
        with pytest.raises(RefusedError, match="coming in already") as refused:
            asyncio.run(read(*pieces))
        assert (refused.value.code, made.body_bytes) == ("busy", limit - 4)
    made.body_bytes = 0
    with pytest.raises(RefusedError, match="--max-body-mb"):
        asyncio.run(read(b"x" * 11))
    assert made.body_bytes == 0


def test_the_size_of_bodies_in_a_message_is_in_megabytes():
    made = Service(Settings(max_clients=1, max_body_mb=2))
    made.body_bytes = 1_600_000

    async def read():
        with made.body(request_of(b"x" * 500_000)) as body:
            await body.body()

    with pytest.raises(RefusedError, match=r"^2 MB of images are coming in already"):
        asyncio.run(read())


def test_a_server_that_stops_closes_its_streams_waits_for_its_threads_and_stops_once(monkeypatch):
    made, done, closed = Service(Settings(workers=2)), [], []
    for name in ("jobs", "decoders", "detectors"):
        monkeypatch.setattr(made, name, SimpleNamespace(close=lambda name=name: closed.append((name, len(done)))))

    async def stop_stream():
        closed.append("stream")

    async def run():
        release = threading.Event()

        def work():
            release.wait(20)
            done.append(1)

        made.streams[work] = stop_stream
        tasks = [asyncio.create_task(made.run(work)) for _ in range(2)]
        await asyncio.sleep(0.01)
        stopping = asyncio.create_task(made.stop())
        await asyncio.sleep(0.01)
        assert closed == ["stream"]
        release.set()
        await asyncio.gather(*tasks, stopping)
        await made.stop()

    asyncio.run(run())
    assert closed == ["stream", ("jobs", 2), ("decoders", 2), ("detectors", 2)]


class Idle:
    closes = resets = 0

    def reset(self):
        self.resets += 1

    def close(self):
        self.closes += 1


HANDS, LITE, FACE = (
    SessionOptions.from_values(kind, {"model": model}, still=False)
    for kind, model in (("hands", "full"), ("hands", "lite"), ("face", "box"))
)


@pytest.fixture
def made(monkeypatch):
    """Replace the weights and the detectors, and return the options with which detectors were made."""
    made = []

    def make(options):
        made.append(options)
        if options.max_instances == 9:
            raise InputError("nine is too many")
        return Idle()

    monkeypatch.setattr(service, "has_weight", lambda _: True)
    monkeypatch.setattr(service.create, "detector_from", make)
    return made


def test_a_pool_makes_a_detector_where_none_is_idle_and_keeps_the_newest(made):
    pool = DetectorPool(2)
    assert (pool.in_use, pool.has(HANDS)) == (0, False)
    first, second = pool.take(HANDS), pool.take(HANDS)
    assert (first is second, pool.in_use, [options.shared for options in made]) == (False, 2, [True, True])
    pool.give_back(HANDS, first)
    pool.give_back(HANDS, second)
    assert (pool.in_use, pool.has(HANDS), first.closes, second.closes) == (0, True, 1, 0)
    assert (pool.take(HANDS) is second, pool.has(HANDS), len(made)) == (True, False, 2)
    others = [pool.take(LITE), pool.take(FACE)]
    for options, detector in zip((HANDS, LITE, FACE), (second, *others), strict=True):
        pool.give_back(options, detector)
    assert [pool.has(options) for options in (HANDS, LITE, FACE)] == [False, True, True]
    assert [detector.closes for detector in (second, *others)] == [1, 0, 0]
    late = pool.take(HANDS)
    pool.close()
    pool.give_back(HANDS, late)
    assert ([detector.closes for detector in (*others, late)], pool.in_use) == ([1, 1, 1], 0)
    assert (second.resets, late.resets) == (2, 1)


def test_a_detector_that_cannot_be_made_is_refused_and_not_counted(made, monkeypatch):
    pool = DetectorPool(2)
    with pytest.raises(RefusedError, match=r"^hands-full: nine is too many$") as refused:
        pool.take(SessionOptions.from_values("hands", {"max_instances": 9}, still=False))
    assert (refused.value.code, pool.in_use) == ("bad_option", 0)
    monkeypatch.setattr(service, "has_weight", lambda _: False)
    with pytest.raises(RefusedError, match="sonjit models pull hands"):
        pool.take(HANDS)
    assert pool.in_use == 0


def test_a_detector_returns_to_its_pool_however_its_block_ends(made):
    server = Service(Settings(workers=1))

    async def fail():
        async with server.detector(HANDS):
            assert server.detectors.in_use == 1
            raise ValueError("failed")

    with pytest.raises(ValueError, match="failed"):
        asyncio.run(fail())
    assert (server.detectors.in_use, server.detectors.has(HANDS)) == (0, True)


def test_missing_weights_are_those_of_the_model_and_its_search(monkeypatch):
    monkeypatch.setattr(service, "has_weight", lambda _: True)
    assert missing_weights("hands", "full") == []
    require_weights("hands", "full")
    monkeypatch.setattr(service, "has_weight", lambda name: name != "hand-full")
    assert missing_weights("hands", "full") == ["hand-full"]
    assert missing_weights("hands", "lite") == []
    with pytest.raises(
        RefusedError, match=r"hands-full needs weights .* \(hand-full\); type: sonjit models pull"
    ) as refused:
        require_weights("hands", "full")
    assert refused.value.code == "missing_weights"
