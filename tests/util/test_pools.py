import os
import signal
import subprocess
import sys
import threading

import pytest

from sonjit._util.errors import InputError, JobError
from sonjit._util.extras import MissingExtraError
from sonjit._util.pools import check_workers, run_calls


def fail(kind, *arguments):
    raise kind(*arguments)


def test_a_pool_gives_what_this_process_gives():
    calls = [(k, 2) for k in range(5)]
    here = list(run_calls(pow, calls))
    assert here == [(0, 0), (1, 1), (2, 4), (3, 9), (4, 16)]
    assert sorted(run_calls(pow, calls, jobs=2)) == here


def test_threads_run_calls_at_once_and_give_each_result():
    both = threading.Barrier(2, timeout=60)

    def meet(number):
        both.wait()
        return number

    assert sorted(run_calls(meet, [(k,) for k in range(6)], threads=2)) == [(k, k) for k in range(6)]
    with pytest.raises(InputError, match="wrong"):
        list(run_calls(fail, [(InputError, "wrong")] * 20, threads=2))


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="Windows sends no SIGINT to one thread")
def test_an_interrupt_of_threads_finishes_the_calls_under_way_and_starts_no_more():
    started, found, ending = list[int](), list[int](), threading.Event()

    def interrupt(number, frame):
        threading.Timer(0.2, ending.set).start()
        signal.default_int_handler(number, frame)

    def call(number):
        started.append(number)
        if number == 4:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        if number >= 4:
            ending.wait(60)
        return number

    def collect():
        for number, _ in run_calls(call, [(k,) for k in range(1000)], threads=2):
            found.append(number)

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            collect()
    finally:
        signal.signal(signal.SIGINT, before)
    assert sorted(found) == sorted(started)
    assert len(started) <= 6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        ((InputError, "a.png"), InputError),
        ((JobError, "a.png"), JobError),
        ((MissingExtraError, "a.png", "heic"), JobError),
    ],
)
def test_an_error_crosses_from_a_worker(raised, kind):
    with pytest.raises(kind, match=r"a\.png"):
        list(run_calls(fail, [raised, raised], jobs=2))


def test_a_worker_ended_from_outside_is_one_line():
    with pytest.raises(JobError, match="fewer --jobs"):
        list(run_calls(os._exit, [(1,), (1,)], jobs=2))


CRASHING = """
import os, signal, sys
from pathlib import Path
from sonjit._util.pools import run_calls

def crash(number, folder, always):
    attempts = Path(folder, f"{number}")
    with attempts.open("a") as file:
        file.write("x")
    if number == 3 and (always or len(attempts.read_text()) == 1):
        os.kill(os.getpid(), getattr(signal, sys.argv[2]))
    return number

if __name__ == "__main__":
    calls = [(number, sys.argv[1], len(sys.argv) > 3) for number in range(12)]
    try:
        print(sorted(result for _, result in run_calls(crash, calls, jobs=2)))
    except Exception as error:
        print(type(error).__name__, error)
"""


@pytest.mark.nightly_after(1)
@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows processes do not end by signals")
@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["SIGSEGV"], str(list(range(12)))),
        (["SIGABRT", "always"], "JobError a worker process crashed (SIGABRT) in a call that was retried"),
        (["SIGKILL"], "JobError a worker process was ended from outside (out of memory?)"),
    ],
)
def test_calls_of_a_crashed_worker_are_retried_once(tmp_path, arguments, printed):
    script = tmp_path / "script.py"
    script.write_text(CRASHING)
    (folder := tmp_path / "attempts").mkdir()
    command = [sys.executable, script, folder, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout.startswith(printed), done.stderr
    assert len((folder / "3").read_text()) == 1 + (arguments[0] != "SIGKILL")


@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP"])
def test_workers_leave_the_interrupt_and_the_closed_terminal_to_the_parent(name):
    number = getattr(signal, name, None) or pytest.skip("Windows has no SIGHUP")
    assert {result for _, result in run_calls(signal.getsignal, [(number,)] * 2, jobs=2)} == {signal.SIG_IGN}


STOPPED = """
import signal, time
from sonjit._util.pools import run_calls

def stop(number, frame):
    raise KeyboardInterrupt

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    try:
        for number, _ in run_calls(time.sleep, [(0.1,)] * 200, jobs=2):
            print(number, flush=True)
    except KeyboardInterrupt:
        print("stopped")
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGTERM to a group")
def test_a_signal_that_also_ends_the_workers_ends_the_run(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(STOPPED)
    process = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    process.stdout.readline()
    os.killpg(process.pid, signal.SIGTERM)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0
    assert output.endswith("stopped\n")  # on the line of a number, if the signal came before its end
    assert "Traceback" not in errors


def test_no_process_is_refused():
    with pytest.raises(InputError, match="--jobs 0: give at least 1"):
        list(run_calls(pow, [(1, 2)], jobs=0))


def test_a_missing_ray_is_reported_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install .*\[ray\]"):
        list(run_calls(pow, [(1, 2)], workers="ray"))


@pytest.mark.parametrize("workers", ["frog", "pool:2", "ray:", "rays"])
def test_unknown_workers_are_refused(workers):
    with pytest.raises(InputError, match=f"--workers {workers}: give pool, ray, or ray:ADDRESS"):
        check_workers(workers, 1)


WITH_WORKERS = """
import os, signal, sys
from multiprocessing import resource_tracker
number = getattr(signal, sys.argv[1])
if __name__ == "__mp_main__":  # a worker that starts
    os.kill(os.getpid(), number)  # as a terminal does
from sonjit._util.pools import run_calls
if __name__ == "__main__":
    results = []
    for _, result in run_calls(abs, [(-1,), (-2,)], jobs=2):
        os.kill(resource_tracker._resource_tracker._pid, number)
        results.append(result)
    print(sorted(results))
"""


@pytest.mark.nightly_after(1)
@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows sends no signals to one process")
@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP"])
def test_signals_of_a_terminal_do_not_reach_processes_that_start(tmp_path, name):
    script = tmp_path / "script.py"
    script.write_text(WITH_WORKERS)
    done = subprocess.run([sys.executable, script, name], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[1, 2]\n", "")
