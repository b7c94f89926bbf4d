import json
import os
import shutil
import threading
import time

import pytest

from sonjit._util.errors import InputError, JobError
from sonjit.server import errors, job_files, job_store, processes
from sonjit.server.job_store import MARKER, JobStore, UploadJob
from sonjit.server.settings import Settings

from ..support.waiting import wait_until  # noqa: TID252  # one polling helper for all packages


@pytest.fixture
def runs(monkeypatch):
    """Replace the detector. `runs.steps` releases one of three images of a job; `runs.begun` lists running jobs."""

    class Runs:
        begun: list[str] = []  # noqa: RUF012
        steps = threading.Semaphore(0)
        failure: Exception | None = None

        def work(self, process, given, folder, so_far):
            self.begun.append(given.name)
            so_far({"of": 3})
            for count in range(1, 4):
                end_s = time.monotonic() + 60
                while not self.steps.acquire(timeout=0.01):
                    if process.is_killed or time.monotonic() > end_s:
                        raise processes.CrashError("ended its process")
                if self.failure is not None:
                    raise self.failure
                (folder / "result.jsonl").write_text(str(count))
                so_far({"frames": count, "instances": 0})
            return []

    made = Runs()
    made.begun = []

    class Process:
        is_killed = False

        def __init__(self, max_pixels, more_bytes, folder):
            pass

        def call(self, _, kinds, given, folder, drawing, detectors, style, *, seconds, report_progress):
            if seconds < 1e-3:
                raise processes.TooSlowError
            return made.work(self, given, folder, report_progress)

        def kill(self):
            self.is_killed = True

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(job_store, "Worker", Process)
    yield made
    made.steps.release(1000)


@pytest.fixture
def jobs(runs):
    """Return a function that gives a queue, which is closed after the test."""
    made = []

    def get(**settings):
        made.append(JobStore(Settings(**settings)))
        return made[-1]

    yield get
    runs.steps.release(1000)
    for one in made:
        one.close()


OWNER = "0" * 32


def create(jobs, address="10.0.0.1", **more):
    job = UploadJob((("hands", {"model": "full"}),), OWNER, draw=False, address=address, **more)
    jobs.add(job)
    return job


def add(jobs, name="a.mp4", address="10.0.0.1"):
    job = create(jobs, address)
    (job.input_folder / name).write_bytes(b"x")
    jobs.reserve(job, 1)
    jobs.submit(job, job_files.JobInput(job.input_folder / name, name, ".mp4"))
    return job


def test_a_deleted_job_is_gone_whatever_it_was_doing(jobs, runs):
    jobs = jobs()
    running, waiting = add(jobs), add(jobs)
    wait_until(lambda: running.state == "running")
    for job in (running, waiting):
        jobs.delete(jobs.find(job.id, ""))
        with pytest.raises(errors.RefusedError, match="no job"):
            jobs.find(job.id, OWNER)
    runs.steps.release(9)
    wait_until(lambda: not running.folder.exists() and not waiting.folder.exists())
    assert (jobs.active, jobs.newest_first()) == (0, [])


def test_a_job_that_runs_too_long_fails_with_a_message(jobs, runs):
    job = add(jobs(max_job_minutes=1e-9))
    runs.steps.release(3)
    wait_until(lambda: job.state == "failed" and not job.folder.exists())
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
        (ZeroDivisionError("x"), "the server failed (ZeroDivisionError). See its output for details"),
    ],
)
def test_a_failure_is_one_line_that_names_no_place_on_the_server(jobs, runs, failure, says):
    job = add(jobs())
    wait_until(lambda: job.state == "running")
    runs.failure = type(failure)(str(failure).format(input=job.input.source, folder=job.folder))
    runs.steps.release(1)
    wait_until(lambda: job.state == "failed")
    assert job.message == says


def test_closing_stops_everything_and_leaves_nothing(jobs, runs):
    jobs = jobs()
    running, waiting = add(jobs), add(jobs)
    wait_until(lambda: running.state == "running")
    root = running.folder.parent
    if os.name == "posix":
        assert root.stat().st_mode & 0o77 == 0
    late = create(jobs)
    jobs.close()
    with pytest.raises(errors.RefusedError, match="stopping"):
        jobs.submit(late, running.input)
    jobs.discard(late)
    assert (running.state, waiting.state) == ("cancelled", "cancelled")
    assert not root.exists()
    with pytest.raises(errors.RefusedError, match="stopping"):
        create(jobs)
    jobs.close()


def test_a_record_that_the_disk_refuses_costs_no_job(jobs, runs, tmp_path, full_disk, caplog):
    jobs = jobs(jobs_folder=tmp_path / "jobs")
    with full_disk(1):  # the upload has one byte
        job = add(jobs)
    assert "job.json failed: File too large" in caplog.text
    runs.steps.release(3)
    wait_until(lambda: job.state == "done")


def test_a_folder_that_cannot_hold_jobs_is_named(jobs, tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(InputError, match=r"--jobs-folder .*file: File exists; choose another folder"):
        jobs(jobs_folder=tmp_path / "file")


def test_jobs_in_a_folder_outlive_the_server(jobs, runs, tmp_path, caplog):
    folder = tmp_path / "jobs"
    before = jobs(jobs_folder=folder)
    done, failed, running, waiting = (add(before, f"{number}.mp4") for number in range(4))
    runs.steps.release(3)
    wait_until(lambda: runs.begun[-1:] == ["1.mp4"])
    runs.failure = JobError("it is cut")
    runs.steps.release(1)
    wait_until(lambda: runs.begun[-1:] == ["2.mp4"])
    runs.failure = None
    before.close()
    assert (running.state, waiting.state, runs.begun) == ("waiting", "waiting", ["0.mp4", "1.mp4", "2.mp4"])
    damaged = folder / ("d" * 16)
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
    wait_until(lambda: {job.state for job in seen} == {"done", "failed"})
    assert runs.begun[3:] == ["2.mp4", "3.mp4"]
    for job in seen:
        after.delete(job)
    assert [path.name for path in folder.iterdir()] == [MARKER]


def test_a_killed_server_leaves_its_jobs_to_the_next(jobs, runs, tmp_path):
    before = jobs(jobs_folder=tmp_path / "jobs")
    job = add(before)
    runs.steps.release(1)
    wait_until(lambda: job.frames == 1)
    left = tmp_path / "left"
    shutil.copytree(tmp_path / "jobs", left)  # as the disk is at this moment
    runs.steps.release(2)
    wait_until(lambda: job.state == "done")
    after = jobs(jobs_folder=left)
    runs.steps.release(3)
    wait_until(lambda: after.find(job.id, OWNER).state == "done")
    assert {path.name for path in after.find(job.id, OWNER).folder.iterdir()} >= {"job.json", "result.jsonl"}


def test_who_sends_many_jobs_pushes_out_none_but_their_own(jobs, runs):
    jobs = jobs(keep_jobs=3)
    runs.steps.release(99)
    quiet = add(jobs, address="10.0.0.2")
    busy = [add(jobs) for _ in range(6)]
    wait_until(lambda: busy[-1].state == "done" and len(jobs.newest_first()) == 3)
    assert jobs.newest_first() == [busy[5], busy[4], quiet]


def test_the_disk_has_a_quota_for_all_jobs(jobs, runs):
    jobs = jobs(max_disk_mb=0.01)
    runs.steps.release(3)
    old = add(jobs)
    wait_until(lambda: old.state == "done")
    upload = create(jobs)
    jobs.reserve(upload, 9_988)
    assert jobs.newest_first() == [old]
    jobs.reserve(upload, 12)
    assert jobs.newest_first() == []
    wait_until(lambda: not old.folder.exists())
    with pytest.raises(errors.RefusedError, match="--max-disk-mb") as refused:
        jobs.reserve(upload, 1)
    assert refused.value.code == "busy"
    jobs.discard(upload)
    jobs.reserve(create(jobs), 10_000)


def test_a_folder_with_files_of_others_is_refused_and_does_not_change(jobs, tmp_path):
    chapter = tmp_path / "thesis" / "chapter1" / "text.md"
    chapter.parent.mkdir(parents=True)
    chapter.write_text("precious")
    with pytest.raises(InputError, match=r"files that Sonjit did not create\. Choose a new or empty folder\.$"):
        jobs(jobs_folder=tmp_path)
    assert chapter.read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["thesis"]


def test_files_of_others_that_join_a_jobs_folder_stay(jobs, runs, tmp_path, caplog):
    folder = tmp_path / "jobs"
    before = jobs(jobs_folder=folder)
    runs.steps.release(3)
    job = add(before)
    wait_until(lambda: job.state == "done")
    unfinished = create(before)
    (unfinished.input_folder / "a.mp4").write_bytes(b"x")
    before.close()
    others = [folder / "notes.txt", folder / "holiday" / "photo.jpg", folder / ("a" * 16) / "photo.jpg"]
    others += [folder / ("b" * 16) / "input" / "mine.mp4"]
    for other in others:
        other.parent.mkdir(parents=True, exist_ok=True)
        other.write_text("precious")
    elsewhere = tmp_path / "elsewhere" / "photo.jpg"
    elsewhere.parent.mkdir()
    elsewhere.write_text("precious")
    (folder / ("c" * 16)).symlink_to(elsewhere.parent)
    (folder / ("e" * 16) / "input").mkdir(parents=True)  # what a server leaves that was killed at this moment
    after = jobs(jobs_folder=folder)
    assert [one.id for one in after.newest_first()] == [job.id]
    assert [other.read_text() for other in (*others, elsewhere)] == ["precious"] * 5
    assert not unfinished.folder.exists()
    assert not (folder / ("e" * 16)).exists()
    assert "Sonjit does not change it" in caplog.text


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such locks")
def test_a_folder_in_use_by_another_server_is_refused(jobs, tmp_path):
    jobs(jobs_folder=tmp_path / "jobs")
    with pytest.raises(InputError, match="in use by another process"):
        jobs(jobs_folder=tmp_path / "jobs")


def test_a_clock_that_steps_back_keeps_the_order_of_jobs(jobs, runs, tmp_path):
    before, ids = jobs(jobs_folder=tmp_path / "jobs"), []
    for time_ns in (1800, 1700, 1700, 0):
        job = create(before, number=time_ns)
        (job.input_folder / "a.mp4").write_bytes(b"x")
        before.submit(job, job_files.JobInput(job.input_folder / "a.mp4", "a.mp4", ".mp4"))
        ids.append(job.id)
    before.close()
    assert [job.id for job in jobs(jobs_folder=tmp_path / "jobs").newest_first(OWNER)] == ids[::-1]


def test_a_job_that_starts_again_has_only_its_input(jobs, runs, tmp_path):
    store = jobs(jobs_folder=tmp_path / "jobs")
    job = add(store)
    wait_until(lambda: job.state == "running")
    job.save()
    left = shutil.copytree(job.folder, tmp_path / "left")
    (left / "result.jsonl").write_text("half")
    (left / "drawn").mkdir()
    (left / "drawn" / "1.png").write_text("half")
    again = job_store.load_job(left)
    assert (again.state, again.frames, again.instances) == ("waiting", 0, 0)
    assert sorted(path.name for path in left.iterdir()) == sorted([job_store.INPUT, job_store.RECORD])
    assert again.input.source.read_bytes() == b"x"


def test_as_many_jobs_are_accepted_as_the_limit_until_one_ends(jobs, runs):
    store = jobs(max_jobs=2)
    first, upload = add(store), create(store)
    assert store.active == 2
    assert store.newest_first() == [first]  # an upload is no job yet
    with pytest.raises(errors.RefusedError, match="no job"):
        store.find(upload.id, OWNER)
    with pytest.raises(errors.RefusedError, match="2 jobs are waiting or running") as refused:
        create(store)
    assert refused.value.code == "busy"
    store.discard(upload)
    with pytest.raises(errors.RefusedError, match="cancelled") as refused:
        store.submit(upload, None)
    assert refused.value.code == "conflict"
    assert store.active == 1
    create(store)


@pytest.mark.parametrize(("is_private", "is_found"), [(True, False), (False, True)])
def test_a_private_job_belongs_to_its_owner(jobs, runs, is_private, is_found):
    store = jobs()
    job = add(store)
    job.is_private = is_private
    assert store.find(job.id, OWNER) is job
    assert store.newest_first("other") == []
    if is_found:
        assert store.find(job.id, "other") is job
    else:
        with pytest.raises(errors.RefusedError, match="no job"):
            store.find(job.id, "other")


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_only_the_own_account_reads_a_jobs_folder_that_existed(jobs, tmp_path):
    folder = tmp_path / "jobs"
    folder.mkdir(mode=0o755)
    jobs(jobs_folder=folder)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_jobs_that_cannot_be_read_are_named_and_stay(jobs, runs, tmp_path, caplog):
    folder = tmp_path / "deep" / "jobs"
    store = jobs(jobs_folder=folder)
    if os.name == "posix":
        assert folder.stat().st_mode & 0o777 == 0o700
    runs.steps.release(3)
    job = add(store)
    wait_until(lambda: job.state == "done")
    wait_until(lambda: not job.input_folder.exists())
    store.close()
    record = json.loads((job.folder / "job.json").read_text())
    damaged = {
        "1" * 16: "{",
        "2" * 16: "{}",
        "3" * 16: "[]",
        "4" * 16: json.dumps(record | {"detectors": [{"kind": "tails"}]}),
        "5" * 16: json.dumps(record | {"state": "dreaming"}),
        "6" * 16: None,
    }
    for name, text in damaged.items():
        (folder / name).mkdir()
        if text is None:
            (folder / name / "job.json").mkdir()
        else:
            (folder / name / "job.json").write_text(text)
    others = [folder / ".a", folder / ("a" * 15), folder / ("a" * 17), folder / ("b" * 16)]
    others[0].write_text("x")
    others[1].mkdir()
    others[2].mkdir()
    others[3].write_text("x")
    assert [one.id for one in jobs(jobs_folder=folder).newest_first()] == [job.id]
    assert caplog.text.count("this job cannot be read") == len(damaged)
    for other in others:
        assert f"{other}: this is not a job. Sonjit does not change it." in caplog.text
        assert other.exists()
    assert caplog.text.count("this is not a job") == len(others)


def test_a_cancelled_or_deleted_job_leaves_no_files(jobs, runs):
    store = jobs()
    running, waiting = add(store), add(store, "b.mp4")
    wait_until(lambda: running.state == "running")
    assert runs.begun == ["a.mp4"]  # one at a time
    store.cancel(waiting)
    assert (waiting.state, waiting.folder.exists()) == ("cancelled", False)
    store.cancel(running)
    wait_until(lambda: not running.folder.exists())
    store.cancel(running)
    assert store.newest_first() == [waiting, running]
    runs.steps.release(3)
    done = add(store)
    wait_until(lambda: done.state == "done" and not done.input_folder.exists())
    store.cancel(done)
    assert (done.state, done.folder.exists()) == ("done", True)
    store.delete(done)
    assert not done.folder.exists()
    store.delete(done)
    assert runs.begun == ["a.mp4", "a.mp4"]


def test_a_crash_is_named_and_progress_stays(jobs, runs):
    job = add(jobs())
    runs.steps.release(2)
    wait_until(lambda: job.frames == 2)
    runs.failure = processes.CrashError("ended its process")
    runs.steps.release(1)
    wait_until(lambda: job.state == "failed")
    assert job.message == "a.mp4 cannot be read: it ended its process; export it again"
    assert (job.frames, job.of, job.instances) == (2, 3, 0)
