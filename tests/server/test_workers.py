"""Workers alternate between queues, and stop without leftovers."""

import asyncio
import threading

import pytest

from sonjit.server.workers import Workers


@pytest.fixture
def workers():
    workers = Workers(1)
    yield workers
    workers.close()


def test_results_and_errors_are_returned(workers):
    async def go():
        queue = workers.new_queue()
        assert await queue.run(lambda: 7) == 7
        with pytest.raises(ZeroDivisionError):
            await queue.run(lambda: 1 // 0)

    asyncio.run(go())


def test_queues_take_turns_however_much_one_of_them_queues(workers):
    order, started, gate = [], threading.Event(), threading.Event()

    async def go():
        busy, others = workers.new_queue(), [workers.new_queue() for _ in range(3)]
        blocking = asyncio.ensure_future(busy.run(lambda: started.set() or gate.wait()))
        await asyncio.to_thread(started.wait)
        work = [busy.run(lambda: order.append("busy")) for _ in range(20)]
        work += [queue.run(lambda name=name: order.append(name)) for name, queue in enumerate(others)]
        tasks = [asyncio.ensure_future(one) for one in work]
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(blocking, *tasks)

    asyncio.run(go())
    assert order[:4] == ["busy", 0, 1, 2]
    assert order[4:] == ["busy"] * 19


def test_closing_a_queue_drops_what_waits_and_waits_for_what_runs(workers):
    started, gate, done = threading.Event(), threading.Event(), []

    def work():
        started.set()
        gate.wait()
        done.append("running")

    async def go():
        queue = workers.new_queue()
        running = asyncio.ensure_future(queue.run(work))
        waiting = asyncio.ensure_future(queue.run(lambda: done.append("waiting")))
        await asyncio.to_thread(started.wait)
        closing = asyncio.ensure_future(queue.close())
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
        queue = workers.new_queue()
        workers.close()
        with pytest.raises(asyncio.CancelledError):
            await queue.run(lambda: None)

    asyncio.run(go())
    assert not any(thread.is_alive() for thread in workers._threads)
