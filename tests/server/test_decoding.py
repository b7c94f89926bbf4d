"""Decoder processes: a crash costs one image, and no process remains."""

import importlib
import io
import os
import signal
import struct
import subprocess
import sys
from unittest.mock import Mock

import cv2
import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.media.sources.images import decode_image
from sonjit.server.decoding import Decoders, answer_requests, read_answer
from sonjit.server.processes import start

from .conftest import jpeg_of, refusal

IMAGE = np.random.default_rng(5).integers(0, 255, (30, 40, 3), np.uint8)
PNG = cv2.imencode(".png", IMAGE[..., ::-1])[1].tobytes()

FAULTY = """
import os, time
from sonjit.media.sources.images import decode_image

def decode(data, name):
    if data.endswith(b"crash"):
        os.abort()
    if data.endswith(b"hang"):
        time.sleep(1000)
    os.write(1, b"noise of a library")
    return decode_image(data, name)
"""

KILLED = """
import os, signal, sys
from sonjit.server.decoding import Decoders
decoders = Decoders(10_000)
print(decoders.decode(bytes.fromhex(sys.stdin.read())).shape, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


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


def process_of(decoders):
    """Return the only process, which is idle."""
    (process,) = decoders.idle
    return process


@pytest.mark.slow
def test_a_crash_costs_one_image_and_no_request_after_it(weights, ask, faulty, photo):
    client = ask()
    decoders = client.app.state.service.decoders = faulty(photo.size)
    for ending in (b"", b"crash", b""):
        response = client.post("/v1/hands", content=jpeg_of(photo) + ending)
        if ending:
            assert "ended its decoder" in refusal(response, 422, "bad_image")
            assert decoders.idle == []
        else:
            assert response.json()["hands"]
    process = process_of(decoders)
    assert process.poll() is None
    client.app.state.service._close()
    assert process.returncode is not None


@pytest.mark.slow
def test_an_image_has_a_time_limit_and_the_next_gets_a_new_process(faulty):
    decoders = faulty(seconds=1)
    with pytest.raises(InputError, match=f"the image of {len(PNG) + 4} bytes takes more than 1 s"):
        decoders.decode(PNG + b"hang")
    assert decoders.idle == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such limit")
def test_an_image_has_so_much_memory():
    decoders = Decoders(100_000_000, memory_bytes=50_000_000)
    try:
        with pytest.raises(InputError, match=r"[Mm]emory|allocate"):
            decoders.decode(cv2.imencode(".png", np.zeros((6000, 6000, 3), np.uint8))[1].tobytes())
        assert np.array_equal(decoders.decode(PNG), IMAGE)
    finally:
        decoders.close()


@pytest.mark.slow
def test_a_process_that_somebody_ended_is_replaced(decoders):
    assert np.array_equal(decoders.decode(PNG), IMAGE)
    process = process_of(decoders)
    process.kill()
    process.wait()
    assert np.array_equal(decoders.decode(PNG), IMAGE)
    assert process_of(decoders).pid != process.pid


@pytest.mark.slow
def test_more_pixels_than_the_limit_are_refused(decoders):
    large = cv2.imencode(".png", np.zeros((101, 100, 3), np.uint8))[1].tobytes()
    with pytest.raises(InputError, match="cannot be decoded"):
        decoders.decode(large)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_processes_end_with_a_server_that_is_killed():
    command = [sys.executable, "-c", KILLED]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    # It returns once standard error is closed, which the decoder process holds as well.
    ended = subprocess.run(command, input=PNG.hex(), capture_output=True, text=True, env=env, timeout=300, check=False)
    assert (ended.returncode, ended.stdout.strip(), ended.stderr) == (-signal.SIGKILL, str(IMAGE.shape), "")


@pytest.mark.parametrize(
    "answer", [b"", struct.pack("<II", 0, 9) + b"cut", struct.pack("<II", 101, 100), struct.pack("<II", 9, 9) + b"cut"]
)
def test_truncated_and_oversized_answers_are_discarded(answer):
    with pytest.raises(EOFError):
        read_answer(io.BytesIO(answer), 10_000)


@pytest.mark.slow
def test_a_process_that_decodes_while_the_server_stops_ends_after_its_image(monkeypatch):
    decoders, processes = Decoders(10_000), []

    def read_and_stop(answers, max_pixels):
        answer = read_answer(answers, max_pixels)
        decoders.close()
        return answer

    def start_and_note(*arguments, **environment):
        processes.append(start(*arguments, **environment))
        return processes[-1]

    monkeypatch.setattr("sonjit.server.decoding.start", start_and_note)
    monkeypatch.setattr("sonjit.server.decoding.read_answer", read_and_stop)
    assert np.array_equal(decoders.decode(PNG), IMAGE)
    (process,) = processes
    assert process.returncode is not None
    assert decoders.idle == []


@pytest.mark.slow
def test_a_server_short_of_memory_ends_the_decoder_that_it_cannot_read(decoders, monkeypatch):
    assert np.array_equal(decoders.decode(PNG), IMAGE)
    process = process_of(decoders)
    with monkeypatch.context() as patch:
        patch.setattr("sonjit.server.decoding.np.empty", Mock(side_effect=MemoryError))
        with pytest.raises(MemoryError):
            decoders.decode(PNG)
    assert process.returncode is not None
    assert np.array_equal(decoders.decode(PNG), IMAGE)


@pytest.mark.slow
def test_a_request_that_a_killed_server_left_half_ends_its_decoder():
    process = start("sonjit.server.decoding", "sonjit.media.sources.images:decode_image", "30", "1000000000")
    out, _ = process.communicate(struct.pack("<Q", len(PNG)) + PNG[:9], timeout=60)
    assert (process.returncode, out) == (1, b"")


def test_requests_are_answered_until_there_are_no_more():
    def decode(data, name):
        if data == b"huge":
            raise MemoryError
        return decode_image(data, name)

    requests = io.BytesIO(b"".join(len(data).to_bytes(8, "little") + data for data in (PNG, b"text", b"huge")))
    answers = io.BytesIO()
    answer_requests(requests, answers, decode, 1000)
    height, width = np.frombuffer(answers.getvalue()[:8], np.uint32)
    assert (height, width) == IMAGE.shape[:2]
    assert answers.getvalue()[8 : 8 + IMAGE.size] == IMAGE.tobytes()
    messages = answers.getvalue()[8 + IMAGE.size :]
    assert b"the image of 4 bytes contains text" in messages
    assert b"the image of 4 bytes needs too much memory" in messages
    with pytest.raises(EOFError):
        answer_requests(io.BytesIO((9).to_bytes(8, "little") + b"cut"), answers, decode, 1000)
