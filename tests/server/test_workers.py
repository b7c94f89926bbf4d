"""Workers take turns between lanes, and leave nothing behind."""

import asyncio
import threading

import pytest

from sonjit.server.detector_pool import Workers


@pytest.fixture
def workers():
    workers = Workers(1)
    yield workers
    workers.close()


def test_results_and_errors_come_back(workers):
    async def go():
        lane = workers.lane()
        assert await lane.run(lambda: 7) == 7
        with pytest.raises(ZeroDivisionError):
            await lane.run(lambda: 1 // 0)

    asyncio.run(go())


def test_lanes_take_turns_however_much_one_of_them_queues(workers):
    order, started, gate = [], threading.Event(), threading.Event()

    async def go():
        busy, others = workers.lane(), [workers.lane() for _ in range(3)]
        held = asyncio.ensure_future(busy.run(lambda: started.set() or gate.wait()))
        await asyncio.to_thread(started.wait)
        work = [busy.run(lambda: order.append("busy")) for _ in range(20)]
        work += [lane.run(lambda name=name: order.append(name)) for name, lane in enumerate(others)]
        tasks = [asyncio.ensure_future(one) for one in work]
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(held, *tasks)

    asyncio.run(go())
    assert order[:4] == ["busy", 0, 1, 2]
    assert order[4:] == ["busy"] * 19


def test_closing_a_lane_drops_what_waits_and_waits_for_what_runs(workers):
    started, gate, done = threading.Event(), threading.Event(), []

    def work():
        started.set()
        gate.wait()
        done.append("running")

    async def go():
        lane = workers.lane()
        running = asyncio.ensure_future(lane.run(work))
        waiting = asyncio.ensure_future(lane.run(lambda: done.append("waiting")))
        await asyncio.to_thread(started.wait)
        closing = asyncio.ensure_future(lane.close())
        await asyncio.sleep(0.01)
        assert not closing.done()
        gate.set()
        await closing
        await running
        assert waiting.cancelled() or isinstance(waiting.exception(), asyncio.CancelledError)

    asyncio.run(go())
    assert done == ["running"]


def test_closed_workers_cancels(workers):
    async def go():
        lane = workers.lane()
        workers.close()
        with pytest.raises(asyncio.CancelledError):
            await lane.run(lambda: None)

    asyncio.run(go())
    assert not any(thread.is_alive() for thread in workers._threads)
