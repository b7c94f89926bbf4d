"""Job processes: a crash costs one job, and no process remains."""

import io
import json
import os
import signal
import subprocess
import sys
import wave

import cv2
import pytest

from sonjit._util.errors import InputError, JobError
from sonjit.server import job_process
from sonjit.server.job_process import JobInput, JobProcess, TooSlowError, answer_requests, request_for
from sonjit.server.job_store import JobStore
from sonjit.server.processes import start

from .conftest import end_of, refusal

HANDS = (("hands", {"model": "lite", "max_instances": 2}),)

KILLED = """
import os, signal, sys
from pathlib import Path
from sonjit.server.job_process import JobProcess
print(JobProcess(10_000).video_pixels(Path(sys.argv[1])), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def answers_to(*requests):
    """Return the output of the program, run in this process."""
    answers = io.BytesIO()
    answer_requests([json.dumps(request).encode() for request in requests], answers)
    return [json.loads(line) for line in answers.getvalue().splitlines()]


def test_it_opens_videos_and_gives_the_reason_of_a_failure(media, tmp_path):
    (tmp_path / "text.mp4").write_text("hello " * 99)
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 8, "NONE", ""))
        sound.writeframes(bytes(16))
    named = (media / "clip.mp4", tmp_path / "text.mp4", tmp_path / "sound.wav")
    opened, text, silent = answers_to(*({"open": str(path)} for path in named))
    with job_process.open_container(media / "clip.mp4", "clip") as container:
        stream = job_process.video_stream(container)
        assert opened == {"end": {"pixels": stream.width * stream.height}}
    assert text["error"].startswith("text.mp4 is neither")
    assert silent["error"] == "sound.wav contains no video stream"


@pytest.mark.slow
def test_it_works_on_a_folder_and_gathers_its_drawings(weights, media, tmp_path):
    request = request_for(tmp_path, JobInput(media / "shots", "shots", ".zip"), HANDS, tmp_path / "drawn.zip")
    *so_far, last = answers_to({"work": request})
    assert so_far[0] == {"of": 4}
    assert [progress["frames"] for progress in so_far[1:]] == [1, 2, 3]
    (problem,) = last["end"]["problems"]
    assert "11.jpg" in problem
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drawn.zip", "result.jsonl"]


def test_what_fails_is_an_answer_and_the_next_is_taken(tmp_path):
    request = request_for(tmp_path, JobInput(tmp_path / "none.mp4", "none.mp4", ".mp4"), HANDS, None)
    first, second = answers_to({"work": {**request, "detectors": [{"kind": "feet"}]}}, {"open": str(tmp_path / "no")})
    assert "feet" in first["error"]
    assert "no is neither" in second["error"]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGSEGV"), reason="needs SIGSEGV")
def test_a_crash_costs_one_job_and_no_job_after_it(endpoints, media, monkeypatch):
    client, advance = endpoints(), JobStore._advance

    def crash(store, job, progress):
        if job.frames > 2:
            os.kill(job.process._process.pid, signal.SIGSEGV)
        advance(store, job, progress)

    body = (media / "clip.mp4").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(JobStore, "_advance", crash)
        job = end_of(client, client.post("/v1/jobs?kind=hands&model=lite&name=clip.mp4", content=body))
    assert job["state"] == "failed"
    assert job["message"].startswith(f"clip.mp4 cannot be read: it ended the process that read it (status {-11})")
    assert end_of(client, client.post("/v1/jobs?kind=hands&model=lite&draw=false", content=body))["state"] == "done"


@pytest.mark.slow
def test_a_file_that_ends_its_process_or_takes_too_long_is_no_video(endpoints, media, monkeypatch, tmp_path):
    monkeypatch.setattr(job_process, "_INSPECTION_S", 0.001)
    message = refusal(
        endpoints().post("/v1/jobs?kind=hands", content=(media / "clip.mp4").read_bytes()), 422, "bad_image"
    )
    assert "upload takes more than 0.001 s to open" in message
    monkeypatch.setattr(job_process, "_INSPECTION_S", 30)
    with JobProcess(10_000, tmp_path) as process, monkeypatch.context() as patch:
        patch.setattr(job_process, "start", start_and_kill)
        with pytest.raises(InputError, match=r"clip.mp4 cannot be read: it ended the process"):
            process.video_pixels(media / "clip.mp4")
        patch.undo()
        assert process.video_pixels(media / "clip.mp4") > 0  # in a new process
        process.kill()
        with pytest.raises(InputError, match=r"clip.mp4 was stopped"):
            process.video_pixels(media / "clip.mp4")


def start_and_kill(*arguments, **environment):
    process = start(*arguments, **environment)
    process.kill()
    return process


@pytest.mark.slow
def test_a_job_has_so_much_time_and_so_much_memory(media, tmp_path, monkeypatch, weights):
    request = request_for(tmp_path, JobInput(media / "clip.mp4", "clip.mp4", ".mp4"), HANDS, None)
    with JobProcess(10_000) as process, pytest.raises(TooSlowError):
        process.work("clip.mp4", request, 0.01, lambda _: None)
    if sys.platform != "linux":
        return
    monkeypatch.setattr(job_process, "_NETWORK_BYTES", 0)
    monkeypatch.setattr(job_process, "OTHER_BYTES", 1_000_000)
    cv2.imwrite(str(tmp_path / "large.png"), cv2.resize(cv2.imread(str(media / "photo.jpg")), (6000, 6000)))
    request = request_for(tmp_path, JobInput(tmp_path / "large.png", "large.png", ".jpg"), HANDS, None)
    with JobProcess(10_000) as process, pytest.raises(JobError):
        process.work("large.png", request, 600, lambda _: None)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_processes_end_with_a_server_that_is_killed(media):
    command = [sys.executable, "-c", KILLED, str(media / "clip.mp4")]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    # It returns once standard error is closed, which the process of the job holds as well.
    ended = subprocess.run(command, capture_output=True, text=True, env=env, timeout=300, check=False)
    assert (ended.returncode, int(ended.stdout) > 0, ended.stderr) == (-signal.SIGKILL, True, "")
