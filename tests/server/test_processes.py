"""Child processes: a crash costs one image or one job, and no process remains. Worker threads: tasks of a client."""

import gc
import importlib
import os
import signal
import subprocess
import sys
import wave
import weakref

import cv2
import numpy as np
import pytest

from sonjit._util import errors, extensions
from sonjit.server import job_store
from sonjit.server.job_files import NETWORK_BYTES, JobInput, open_video, run_detectors
from sonjit.server.processes import CrashError, Decoders, TooSlowError, Worker

from .conftest import end_of, jpeg_of, refusal

pytestmark = pytest.mark.slow
HANDS = (("hands", {"model": "lite", "max_instances": 2}),)
IMAGE = np.random.default_rng(5).integers(0, 255, (30, 40, 3), np.uint8)
PNG = cv2.imencode(".png", IMAGE[..., ::-1])[1].tobytes()
FAULTY = """
import os, time
import numpy as np
from sonjit.media.sources.images import decode_image

def decode(data, name):
    if data.endswith(b"crash"):
        os.abort()
    if data.endswith(b"hang"):
        time.sleep(1000)
    if data.endswith(b"large"):
        return np.zeros((101, 100, 3), np.uint8)
    os.write(1, b"noise of a library")
    return decode_image(data, name)
"""
UNCLOSED = """
import os, signal, sys
from pathlib import Path
from sonjit.server.job_files import NETWORK_BYTES, open_video
from sonjit.server.processes import CrashError, Decoders, Worker
if __name__ == "__main__":
    decoders, worker = Decoders(10_000), Worker(10_000, NETWORK_BYTES)
    shape = decoders.decode(bytes.fromhex(sys.stdin.read())).shape
    print(shape, worker.call(open_video, Path(sys.argv[1])), flush=True)
"""
KILLS_ITSELF = "    os.kill(os.getpid(), signal.SIGKILL)\n"


@pytest.fixture
def faulty(tmp_path, monkeypatch):
    """Return a function that gives decoders that crash or hang at images with certain endings."""
    (tmp_path / "faulty_decoder.py").write_text(FAULTY, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    decode = importlib.import_module("faulty_decoder").decode
    made = []

    def get(max_pixels=10_000, **limits):
        made.append(Decoders(max_pixels, decode=decode, **limits))
        return made[-1]

    yield get
    for one in made:
        one.close()
    del sys.modules["faulty_decoder"]


def test_a_crash_costs_one_image_and_no_request_after_it(weights, ask, faulty, photo):
    client = ask()
    decoders = client.app.state.service.decoders = faulty(photo.size)
    for ending in (b"", b"crash", b""):
        response = client.post("/v1/hands", content=jpeg_of(photo) + ending)
        if ending:
            assert f"it ended its process (status {-signal.SIGABRT})" in refusal(response, 422, "bad_image")
            assert not decoders.idle[0].process.is_alive()
        else:
            assert response.json()["hands"]
    (worker,) = decoders.idle
    client.app.state.service._close()
    assert not worker.process.is_alive()


def test_an_image_has_a_time_limit_and_the_next_gets_a_new_process(faulty):
    decoders = faulty(seconds=2)
    with pytest.raises(errors.InputError, match=f"the image of {len(PNG) + 4} bytes takes more than 2 s"):
        decoders.decode(PNG + b"hang")
    assert not decoders.idle[0].process.is_alive()
    assert np.array_equal(decoders.decode(PNG), IMAGE)


@pytest.mark.nightly
def test_a_process_that_starts_too_slowly_is_no_fault_of_the_image(weights, ask, media):
    client, image = ask(), (media / "photo.jpg").read_bytes()
    service = client.app.state.service
    service.decoders = Decoders(10_000_000, start_s=0.001)
    message = refusal(client.post("/v1/hands", content=image), 503, "busy")
    assert message.startswith("a process of the server did not start within 0.001 s: ")
    service.decoders.close()


@pytest.mark.nightly_after(1)
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize(("end", "status"), [(KILLS_ITSELF, -9), ("", 0)])
def test_processes_end_with_a_server_that_is_killed_or_does_not_close_them(media, tmp_path, end, status):
    (tmp_path / "server.py").write_text(UNCLOSED + end, "utf-8")
    command = [sys.executable, str(tmp_path / "server.py"), str(media / "clip.mp4")]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    # It returns once standard error is closed, which the child processes hold as well.
    ended = subprocess.run(command, input=PNG.hex(), capture_output=True, text=True, env=env, timeout=300, check=False)
    assert ended.returncode == status, ended.stderr
    assert ended.stdout.startswith(str(IMAGE.shape))


def test_a_closed_process_leaves_nothing_to_do_at_the_exit():
    worker = Worker(10_000)
    assert worker.call(len, "ab") == 2
    process = weakref.ref(worker.process)
    worker.close()
    del worker
    gc.collect()
    assert process() is None


def test_it_opens_videos_and_gives_the_reason_of_a_failure(media, tmp_path):
    (tmp_path / "text.mp4").write_text("hello " * 99)
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 8, "NONE", ""))
        sound.writeframes(bytes(16))
    with Worker(10_000, NETWORK_BYTES) as worker:
        assert worker.call(open_video, media / "clip.mp4") == list(cv2.imread(str(media / "photo.jpg")).shape[1::-1])
        with pytest.raises(errors.InputError, match=r"text.mp4 is neither"):
            worker.call(open_video, tmp_path / "text.mp4")
        with pytest.raises(errors.InputError, match=r"sound.wav contains no video stream"):
            worker.call(open_video, tmp_path / "sound.wav")


@pytest.mark.skipif(not hasattr(signal, "SIGSEGV"), reason="needs SIGSEGV")
def test_a_crash_costs_one_job_and_no_job_after_it(ask, media, monkeypatch):
    client, advance = ask(), job_store.JobStore._advance

    def crash(store, job, progress):
        if job.frames > 2:
            os.kill(job.worker.process.pid, signal.SIGSEGV)
        advance(store, job, progress)

    body = (media / "clip.mp4").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(job_store.JobStore, "_advance", crash)
        job = end_of(client, client.post("/v1/jobs?kind=hands&model=lite&name=clip.mp4", content=body))
    assert job["state"] == "failed"
    assert job["message"].startswith(f"clip.mp4 cannot be read: it ended its process (status {-11})")
    assert end_of(client, client.post("/v1/jobs?kind=hands&model=lite&draw=false", content=body))["state"] == "done"


def test_a_job_has_so_much_time(media, tmp_path, weights):
    def run(worker, path, ending, seconds):
        given = JobInput(path, path.name, ending)
        call = (run_detectors, extensions.LoadedExtensions.snapshot(), given, tmp_path, None, HANDS, {})
        worker.call(*call, seconds=seconds, report_progress=lambda _: None)

    with Worker(10_000, NETWORK_BYTES) as worker, pytest.raises(TooSlowError):
        run(worker, media / "clip.mp4", ".mp4", 0.01)


@pytest.mark.nightly_after(1)
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such limit")
@pytest.mark.parametrize(("more_bytes", "too_many"), [(0, 10**9), (NETWORK_BYTES, 10**10)])
def test_a_process_has_so_much_memory(more_bytes, too_many):
    with Worker(10_000, more_bytes) as worker:
        with pytest.raises(errors.InputError, match="too much memory"):
            worker.call(bytearray, too_many)
        assert worker.call(len, bytes(10**7)) == 10**7


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no such signals")
def test_a_process_ignores_the_stops_of_its_server():
    """Terminals and service managers send them to all processes of the server."""
    with Worker(10_000) as worker:
        process = worker.call(os.getpid)
        for stop in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(process, stop)
            assert worker.call(os.getpid) == process


LYING = """
import gc
from multiprocessing.connection import Connection

def lie(*parts):
    (pipe,) = [one for one in gc.get_objects() if isinstance(one, Connection) and not one.closed and one.writable]
    for part in parts:
        pipe.send_bytes(part)
"""


@pytest.mark.skipif(os.name == "nt", reason="the connections of Windows have another type")
def test_answers_of_a_process_that_do_not_fit_are_not_trusted(tmp_path, monkeypatch):
    (tmp_path / "lying.py").write_text(LYING, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    lie = importlib.import_module("lying").lie
    answers = [[b'{"shape": [30, 40]}', bytes(3601)], [b'{"shape": [30, 40]}', bytes(3599)]]
    answers += [[b'{"shape": [1000, 1000]}'], [b"[]"], [b"not JSON"], [b"\x80\x04N."]]
    with Worker(10_000) as worker:
        for parts in answers:
            with pytest.raises(CrashError):
                worker.call(lie, *parts)
        assert worker.call(abs, -1) == 1  # by a new process
    del sys.modules["lying"]
