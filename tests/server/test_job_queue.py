import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from sonjit.errors import InputError, JobError
from sonjit.server import job as job_module
from sonjit.server.errors import RefusedError
from sonjit.server.job import INPUT, UploadJob
from sonjit.server.job_process import TooSlowError
from sonjit.server.job_queue import Jobs
from sonjit.server.settings import Settings
from sonjit.server.uploads import JobInput


@pytest.fixture
def runs(monkeypatch):
    """Instead of a detector: `runs.steps` lets a job go on by one image, of three; `runs.begun` names them."""

    class Runs:
        begun: list[str] = []  # noqa: RUF012
        steps = threading.Semaphore(0)
        failure: Exception | None = None

        def work(self, process, name, request, so_far):
            self.begun.append(name)
            so_far({"of": 3})
            for count in range(1, 4):
                while not self.steps.acquire(timeout=0.01):
                    if process.is_killed:
                        raise JobError("it ended the process")
                if self.failure is not None:
                    raise self.failure
                Path(request["save"]).write_text(str(count))
                so_far({"frames": count, "instances": 0})
            return []

    made = Runs()
    made.begun = []

    class Process:
        is_killed = False

        def __init__(self, max_pixels, folder):
            pass

        def work(self, name, request, seconds, so_far):
            if seconds < 1e-3:
                raise TooSlowError
            return made.work(self, name, request, so_far)

        def kill(self):
            self.is_killed = True

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(job_module, "JobProcess", Process)
    yield made
    made.steps.release(1000)


@pytest.fixture
def jobs(runs):
    """`jobs(**settings)`: a queue, closed at the end."""
    made = []

    def get(**settings):
        made.append(Jobs(Settings(**settings)))
        return made[-1]

    yield get
    runs.steps.release(1000)
    for one in made:
        one.close()


OWNER = "0" * 32


def add(jobs, name="a.mp4", address="10.0.0.1"):
    with jobs.place() as (folder, _):
        (folder / INPUT / name).write_bytes(b"x")
        job = UploadJob(
            folder,
            JobInput(folder / INPUT / name, name, ".mp4"),
            (("hands", {"model": "full"}),),
            False,
            jobs.settings.max_job_minutes,
            jobs.settings.max_pixels,
            OWNER,
            address=address,
        )
        jobs.add(job)
    return job


def wait_for(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_jobs_run_one_after_the_other_in_their_order(jobs, runs):
    jobs = jobs()
    first, second = add(jobs, "1.mp4"), add(jobs, "2.mp4")
    wait_for(lambda: first.state == "running")
    assert (second.state, runs.begun) == ("waiting", ["1.mp4"])
    assert [job.id for job in jobs.newest_first()] == [second.id, first.id]
    runs.steps.release(6)
    wait_for(lambda: second.state == "done")
    assert (first.state, runs.begun, jobs.active) == ("done", ["1.mp4", "2.mp4"], 0)


def test_only_what_was_made_is_kept(jobs, runs):
    job = add(jobs())
    runs.steps.release(3)
    wait_for(lambda: job.state == "done" and not (job.folder / INPUT).exists())
    assert [file.name for file in job.folder.iterdir()] == ["result.jsonl"]


def test_progress_and_time(jobs, runs):
    job = add(jobs())
    assert job.to_dict()["downloads"] == {}
    runs.steps.release(2)
    wait_for(lambda: job.frames == 2)
    said = job.to_dict()
    assert (said["state"], said["frames"], said["of"]) == ("running", 2, 3)
    assert said["seconds"] >= 0
    runs.steps.release(1)
    wait_for(lambda: job.state == "done")
    assert job.to_dict()["seconds"] == job.to_dict()["seconds"]
    assert set(job.to_dict()["downloads"]) == {"json", "jsonl", "csv", "parquet"}


def test_a_cancelled_job_stops_at_once_and_leaves_no_file(jobs, runs):
    jobs = jobs()
    running, waiting, next_one = add(jobs), add(jobs), add(jobs)
    runs.steps.release(1)
    wait_for(lambda: running.frames == 1)
    waiting.cancel()
    assert (waiting.state, waiting.folder.exists()) == ("cancelled", False)
    running.cancel()
    assert running.state == "cancelled"
    wait_for(lambda: not running.folder.exists())
    assert running.frames == 1
    runs.steps.release(3)
    wait_for(lambda: next_one.state == "done")
    next_one.cancel()  # too late: nothing happens
    assert next_one.state == "done"
    assert len(runs.begun) == 2


def test_a_deleted_job_is_gone_whatever_it_was_doing(jobs, runs):
    jobs = jobs()
    running, waiting = add(jobs), add(jobs)
    wait_for(lambda: running.state == "running")
    for job in (running, waiting):
        jobs.delete(jobs.find(job.id, ""))
        with pytest.raises(RefusedError, match="no job"):
            jobs.find(job.id, OWNER)
    runs.steps.release(9)
    wait_for(lambda: not running.folder.exists() and not waiting.folder.exists())
    assert (jobs.active, jobs.newest_first()) == (0, [])


def test_only_so_many_may_wait_uploads_among_them(jobs):
    jobs = jobs(max_jobs=2)
    add(jobs)
    with jobs.place(), pytest.raises(RefusedError, match="2 jobs") as refused, jobs.place():
        pass
    assert refused.value.code == "busy"
    add(jobs)


def test_an_upload_that_fails_gives_its_place_back(jobs):
    jobs = jobs(max_jobs=1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), jobs.place() as (folder, _):
            raise ZeroDivisionError
        assert not folder.exists()


def test_younger_results_push_out_the_oldest(jobs, runs):
    jobs = jobs(keep_jobs=2)
    runs.steps.release(99)
    made = []
    for _ in range(5):
        job = add(jobs)
        made.append(job)
        wait_for(lambda job=job: job.state == "done")
    wait_for(lambda: len(jobs.newest_first()) == 2)
    assert jobs.newest_first() == made[:2:-1]
    wait_for(lambda: [job.folder.exists() for job in made] == [False] * 3 + [True] * 2)


def test_a_job_that_runs_too_long_fails_and_says_so(jobs, runs):
    job = add(jobs(max_job_minutes=1e-9))
    runs.steps.release(3)
    wait_for(lambda: job.state == "failed" and not job.folder.exists())
    assert "--max-job-minutes" in job.message
    assert job.to_dict()["downloads"] == {}


@pytest.mark.parametrize(
    ("failure", "says"),
    [
        (JobError("{input} is cut"), "a.mp4 is cut"),
        (
            JobError("{folder}/input: none can be read; first: {folder}/input/1.jpg"),
            "a.mp4: none can be read; first: 1.jpg",
        ),
        (JobError("writing {folder}/drawn.mp4 failed: No space left"), "writing drawn.mp4 failed: No space left"),
        (ZeroDivisionError("x"), "the server failed (ZeroDivisionError); its own output says more"),
    ],
)
def test_a_failure_is_one_line_that_names_no_place_on_the_server(jobs, runs, failure, says):
    job = add(jobs())
    wait_for(lambda: job.state == "running")
    runs.failure = type(failure)(str(failure).format(input=job.given.source, folder=job.folder))
    runs.steps.release(1)
    wait_for(lambda: job.state == "failed")
    assert job.message == says


def test_closing_stops_everything_and_leaves_nothing(jobs, runs):
    jobs = jobs()
    running, waiting = add(jobs), add(jobs)
    wait_for(lambda: running.state == "running")
    root = running.folder.parent
    if os.name == "posix":
        assert root.stat().st_mode & 0o77 == 0
    with jobs.place() as (uploading, _):
        jobs.close()
        late = UploadJob(uploading, running.given, running.detectors, False, 60, 10)
        with pytest.raises(RefusedError, match="stopping"):
            jobs.add(late)
    assert (running.state, waiting.state) == ("cancelled", "cancelled")
    assert not root.exists()
    with pytest.raises(RefusedError, match="stopping"), jobs.place():
        pass
    jobs.close()


def test_a_disk_that_refuses_is_named(jobs, monkeypatch):
    def refuse(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sonjit.server.job_queue.WorkFolder", refuse)
    with pytest.raises(RefusedError, match="No space left on device") as refused, jobs().place():
        pass
    assert refused.value.code == "failed"


def test_a_record_that_the_disk_refuses_costs_no_job(jobs, runs, tmp_path, full_disk, caplog):
    jobs = jobs(jobs_folder=tmp_path / "jobs")
    with full_disk(1):  # what is sent is as long
        job = add(jobs)
    assert "job.json failed: File too large" in caplog.text
    runs.steps.release(3)
    wait_for(lambda: job.state == "done")


def test_a_folder_that_cannot_hold_jobs_is_named(jobs, tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(InputError, match=r"--jobs-folder .*file: File exists; choose another folder"):
        jobs(jobs_folder=tmp_path / "file")


def test_jobs_in_a_folder_outlive_the_server(jobs, runs, tmp_path, caplog):
    folder = tmp_path / "jobs"
    before = jobs(jobs_folder=folder)
    done, failed, running, waiting = (add(before, f"{number}.mp4") for number in range(4))
    runs.steps.release(3)
    wait_for(lambda: runs.begun[-1:] == ["1.mp4"])
    runs.failure = JobError("it is cut")
    runs.steps.release(1)
    wait_for(lambda: runs.begun[-1:] == ["2.mp4"])
    runs.failure = None
    before.close()
    assert (running.state, waiting.state, runs.begun) == ("waiting", "waiting", ["0.mp4", "1.mp4", "2.mp4"])
    (folder / "an upload that never ended" / INPUT).mkdir(parents=True)
    damaged = tmp_path / "jobs" / "damaged"
    damaged.mkdir()
    (damaged / "job.json").write_text('{"id": ')

    after = jobs(jobs_folder=folder)
    assert f"{damaged}: this job cannot be read" in caplog.text
    shutil.rmtree(damaged)
    seen = after.newest_first(OWNER)
    assert [job.id for job in seen] == [job.id for job in (waiting, running, failed, done)]
    assert [one.to_dict() for one in seen[2:]] == [one.to_dict() for one in (failed, done)]
    assert (seen[2].state, seen[2].message) == ("failed", "it is cut")
    runs.steps.release(6)
    wait_for(lambda: {job.state for job in seen} == {"done", "failed"})
    assert runs.begun[3:] == ["2.mp4", "3.mp4"]
    for job in seen:
        after.delete(job)
    assert list(folder.iterdir()) == []


def test_a_killed_server_leaves_its_jobs_to_the_next(jobs, runs, tmp_path):
    before = jobs(jobs_folder=tmp_path / "jobs")
    job = add(before)
    runs.steps.release(1)
    wait_for(lambda: job.frames == 1)
    left = tmp_path / "left"
    shutil.copytree(tmp_path / "jobs", left)  # as the disk is at this moment
    runs.steps.release(2)
    wait_for(lambda: job.state == "done")
    after = jobs(jobs_folder=left)
    runs.steps.release(3)
    wait_for(lambda: after.find(job.id, OWNER).state == "done")
    assert {path.name for path in after.find(job.id, OWNER).folder.iterdir()} >= {"job.json", "result.jsonl"}


def test_who_sends_many_jobs_pushes_out_none_but_their_own(jobs, runs):
    jobs = jobs(keep_jobs=3)
    runs.steps.release(99)
    quiet = add(jobs, address="10.0.0.2")
    busy = [add(jobs) for _ in range(6)]
    wait_for(lambda: busy[-1].state == "done" and len(jobs.newest_first()) == 3)
    assert jobs.newest_first() == [busy[5], busy[4], quiet]


def test_the_disk_has_a_quota_for_all_jobs(jobs, runs):
    jobs = jobs(max_disk_mb=0.01)
    runs.steps.release(3)
    old = add(jobs)
    wait_for(lambda: old.state == "done")
    with jobs.place() as (_, take):
        take(9_990)
        assert jobs.newest_first() == [old]
        take(10)
        assert jobs.newest_first() == []
        assert not old.folder.exists()
        with pytest.raises(RefusedError, match="--max-disk-mb") as refused:
            take(1)
    assert refused.value.code == "busy"
    with jobs.place() as (_, take):
        take(10_000)
