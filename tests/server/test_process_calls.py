"""Calls of child processes with a process and a pipe of the test: limits, progress, answers, and failures."""

import json
from multiprocessing import ProcessError
from types import SimpleNamespace

import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.server import processes
from sonjit.server.processes import CrashError, Decoders, TooSlowError, Worker


class Pipe:
    """Our end of a pipe. An answer is JSON, bytes of pixels, an error to raise, or None for silence."""

    def __init__(self, answers):
        self.answers, self.sent, self.waits, self.limits, self.closed = list(answers), [], [], [], 0

    def send(self, call):
        if isinstance(self.answers[0], TypeError):
            raise self.answers.pop(0)
        self.sent.append(call)

    def poll(self, seconds):
        self.waits.append(seconds)
        return self.answers[0] is not None

    def recv_bytes(self, limit):
        self.limits.append(limit)
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return json.dumps(answer).encode()

    def recv_bytes_into(self, buffer):
        data = self.answers.pop(0)
        if len(data) > len(buffer):
            raise ProcessError
        buffer[: len(data)] = data
        return len(data)

    def close(self):
        self.closed += 1


class Spawn:
    """Processes of the test, each with the next answers."""

    def __init__(self):
        self.scripts, self.made = [], []

    def Pipe(self):  # noqa: N802  # the name of multiprocessing
        return Pipe(self.scripts.pop(0)), SimpleNamespace(close=lambda: None)

    def Process(self, *, target, args, daemon):  # noqa: N802
        process = SimpleNamespace(args=args, daemon=daemon, calls=[], alive=False, exitcode=-9)
        process.start = lambda: setattr(process, "alive", True)
        process.is_alive = lambda: process.alive
        process.kill = lambda: (process.calls.append("kill"), setattr(process, "alive", False))
        process.join = lambda *seconds: process.calls.append(("join", *seconds))
        self.made.append(process)
        return process


BEGINS, DONE = {"begins": True}, {"result": 3}


@pytest.fixture
def spawn(monkeypatch):
    """Return a function that sets the answers of the next processes, and gives the processes."""
    spawn = Spawn()
    monkeypatch.setattr(processes, "_SPAWN", spawn)
    monkeypatch.setattr(processes, "time", SimpleNamespace(monotonic=lambda: 50.0))

    def answer(*scripts):
        spawn.scripts += scripts
        return spawn.made

    return answer


def test_a_process_has_memory_for_its_pixels_and_serves_call_after_call(spawn, tmp_path):
    made = spawn([BEGINS, DONE, BEGINS, {"result": [4]}])
    worker = Worker(1000, 7, tmp_path)
    assert (worker.call(abs, 1), worker.call(max, 1, 2, seconds=2.5)) == (3, [4])
    (process,) = made
    pipe = worker._pipe
    assert (process.args[1:], process.daemon) == ((256_048_007, tmp_path), True)
    assert pipe.sent == [(abs, (1,), False), (max, (1, 2), False)]
    assert pipe.waits == [300.0, 1e6, 300.0, 2.5]
    assert set(pipe.limits) == {100_000_000}
    worker.close()
    worker.close()
    assert (process.calls, process.alive) == (["kill", ("join",)] * 2, False)
    assert Worker(1000)._setup == (256_048_000, None)


def test_progress_is_reported_if_it_is_asked_for(spawn):
    seen = []
    spawn([BEGINS, {"progress": 1}, {"progress": {"frames": 2}}, DONE, BEGINS, {"progress": 3}, DONE])
    worker = Worker(1000)
    assert worker.call(abs, report_progress=seen.append) == 3
    assert worker.call(abs) == 3
    assert (seen, [call[2] for call in worker._pipe.sent]) == ([1, {"frames": 2}], [True, False])


def test_a_silent_process_is_ended_and_replaced(spawn):
    made = spawn([BEGINS, {"progress": 1}, None], [BEGINS, DONE])
    worker = Worker(1000)
    with pytest.raises(TooSlowError, match=r"^takes more than 2\.5 s$"):
        worker.call(abs, seconds=2.5)
    assert made[0].calls == ["kill", ("join",)]
    assert (worker.call(abs), len(made)) == (3, 2)


@pytest.mark.parametrize("error", [EOFError(), OSError(), ValueError(), KeyError(), TypeError()])
def test_a_process_that_ends_is_named_with_its_status_and_replaced(spawn, error):
    made = spawn([error], [BEGINS, DONE])
    worker = Worker(1000)
    with pytest.raises(CrashError, match=r"^ended its process \(status -9\)$"):
        worker.call(abs)
    assert made[0].calls == [("join", 1), "kill", ("join",)]
    assert worker.call(abs) == 3


def test_an_interrupt_ends_the_process(spawn):
    (made,) = [spawn([BEGINS, KeyboardInterrupt()])]
    with pytest.raises(KeyboardInterrupt):
        Worker(1000).call(abs)
    assert made[0].calls == ["kill", ("join",)]


def test_an_error_of_the_function_leaves_the_process(spawn):
    made = spawn([BEGINS, {"error": "it is cut"}, BEGINS, DONE])
    worker = Worker(1000)
    with pytest.raises(InputError, match=r"^it is cut$"):
        worker.call(abs)
    assert (worker.call(abs), len(made), made[0].calls) == (3, 1, [])


def test_a_worker_that_was_stopped_refuses_calls(spawn):
    made = spawn([BEGINS, DONE])
    worker, idle = Worker(1000), Worker(1000)
    worker.call(abs)
    for one in (worker, idle):
        one.kill()
        with pytest.raises(CrashError, match=r"^was stopped$"):
            one.call(abs)
    assert (len(made), made[0].calls) == (1, ["kill"])
    idle.close()


@pytest.mark.parametrize(
    ("shape", "count", "is_taken"),
    [
        ([2, 3], 18, True),
        ([3, 2], 18, True),
        ([1, 1], 3, True),
        ([1, 7], 21, False),
        ([0, 3], 0, False),
        ([-1, -2], 6, False),
        ([2, 3], 17, False),
        ([2, 3], 19, False),
        ([2, "3"], 18, False),
        ([2, 3, 3], 18, False),
    ],
)
def test_an_image_has_the_pixels_that_were_announced(spawn, shape, count, is_taken):
    pixels = bytes(range(count))
    spawn([BEGINS, {"shape": shape}, pixels])
    worker = Worker(6)
    if is_taken:
        assert np.array_equal(worker.call(abs), np.frombuffer(pixels, np.uint8).reshape(*shape, 3))
    else:
        with pytest.raises(CrashError):
            worker.call(abs)


@pytest.mark.parametrize("answer", [3, [], {}, {"other": 1}, "begins"])
def test_other_answers_are_not_trusted(spawn, answer):
    spawn([BEGINS, answer])
    with pytest.raises(CrashError):
        Worker(6).call(abs)


PIXEL = [{"shape": [1, 1]}, b"abc"]


def test_decoders_use_the_last_idle_process_and_end_all(spawn):
    made = spawn([BEGINS, *PIXEL, BEGINS, *PIXEL])
    decoders = Decoders(6)
    for _ in range(2):
        assert decoders.decode(b"jpeg").tobytes() == b"abc"
    (worker,) = decoders.idle
    assert (len(made), worker._pipe.waits) == (1, [300.0, 30.0] * 2)
    assert worker._pipe.sent == [(processes.decode_image, (b"jpeg", "the image of 4 bytes"), False)] * 2
    decoders.idle.append(Worker(6))
    decoders.close()
    decoders.close()
    assert made[0].calls == ["kill", ("join",)] * 2


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ([BEGINS, {"error": "damaged"}], "^damaged$"),
        ([BEGINS, None], r"^the image of 4 bytes takes more than 1\.5 s to decode; export it again$"),
        (
            [EOFError()],
            r"^the image of 4 bytes cannot be decoded: it ended its process \(status -9\); export it again$",
        ),
    ],
)
def test_an_image_that_is_not_decoded_is_named_and_its_process_kept(spawn, script, says):
    spawn(script)
    decoders = Decoders(6, seconds=1.5)
    with pytest.raises(InputError, match=says):
        decoders.decode(b"jpeg")
    assert len(decoders.idle) == 1
