import json
import os
import shutil
import sqlite3
import threading
import time
from contextlib import closing

import pytest

from sonjit._util.errors import InputError, JobError
from sonjit.server import errors, job_files, job_store, processes
from sonjit.server.job import UploadJob
from sonjit.server.job_rows import DATABASE
from sonjit.server.job_store import JobStore
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
            return {"problems": []}

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


def create(jobs):
    job = UploadJob((("hands", {"model": "full"}),), draw=False)
    jobs.add(job)
    return job


def add(jobs, name="a.mp4"):
    job = create(jobs)
    (job.input_folder / name).write_bytes(b"x")
    jobs.reserve(job, 1)
    jobs.submit(job, job_files.JobInput(job.input_folder / name, name, ".mp4"))
    return job


def test_a_deleted_job_is_gone_whatever_it_was_doing(jobs, runs):
    jobs = jobs()
    running, waiting = add(jobs), add(jobs)
    wait_until(lambda: running.state == "running")
    for job in (running, waiting):
        jobs.delete(jobs.find(job.id))
        with pytest.raises(errors.RefusedError, match="no job"):
            jobs.find(job.id)
    runs.steps.release(9)
    wait_until(lambda: not running.folder.exists() and not waiting.folder.exists())
    assert (jobs.active, jobs.newest_first()) == (0, [])


def test_a_job_that_runs_too_long_fails_with_a_message(jobs, runs):
    job = add(jobs(max_job_minutes=1e-9))
    runs.steps.release(3)
    wait_until(lambda: job.state == "failed" and job.repeatable)
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


def test_a_folder_that_cannot_hold_jobs_is_named(jobs, tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(InputError, match=r"--jobs-folder .*file: File exists; choose another folder"):
        jobs(jobs_folder=tmp_path / "file")


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


def test_as_many_jobs_are_accepted_as_the_limit_until_one_ends(jobs, runs):
    store = jobs(max_jobs=2)
    first, upload = add(store), create(store)
    assert store.active == 2
    assert store.newest_first() == [first]  # an upload is no job yet
    with pytest.raises(errors.RefusedError, match="no job"):
        store.find(upload.id)
    with pytest.raises(errors.RefusedError, match="2 jobs are waiting or running") as refused:
        create(store)
    assert refused.value.code == "busy"
    store.discard(upload)
    with pytest.raises(errors.RefusedError, match="cancelled") as refused:
        store.submit(upload, None)
    assert refused.value.code == "conflict"
    assert store.active == 1
    create(store)


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_only_the_own_account_reads_a_jobs_folder_that_existed(jobs, tmp_path):
    folder = tmp_path / "jobs"
    folder.mkdir(mode=0o755)
    jobs(jobs_folder=folder)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_cancelled_job_keeps_its_input_and_a_deleted_one_nothing(jobs, runs):
    store = jobs()
    running, waiting = add(store), add(store, "b.mp4")
    wait_until(lambda: running.state == "running")
    assert runs.begun == ["a.mp4"]  # one at a time
    store.cancel(waiting)
    assert (waiting.state, waiting.repeatable) == ("cancelled", True)
    store.cancel(running)
    wait_until(lambda: running.repeatable)
    assert [path.name for path in running.folder.iterdir()] == ["input"]
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


def test_a_cancelled_or_failed_job_runs_again_and_a_finished_one_does_not(jobs, runs, tmp_path):
    store = jobs(jobs_folder=tmp_path / "jobs")
    failed = add(store)
    runs.failure = JobError("it is cut")
    runs.steps.release(1)
    wait_until(lambda: failed.repeatable)
    runs.failure = None
    store.close()
    store = jobs(jobs_folder=tmp_path / "jobs")
    again = store.find(failed.id)
    assert (again.state, again.message) == ("failed", "it is cut")
    store.repeat(again)
    runs.steps.release(3)
    wait_until(lambda: again.state == "done" and not again.input_folder.exists())
    assert (again.message, again.frames, again.to_dict()["downloads"] != {}) == (None, 3, True)
    with pytest.raises(errors.RefusedError, match="is done or its files are gone"):
        store.repeat(again)


def test_what_a_user_writes_about_a_job_outlives_the_server(jobs, runs, tmp_path):
    runs.steps.release(3)
    store = jobs(jobs_folder=tmp_path / "jobs")
    job = add(store)
    store.describe(job, {"title": "Anna, week 2", "client": "Anna Müller"})
    wait_until(lambda: job.state == "done" and not job.input_folder.exists())
    store.describe(job, {"note": "무릎"})
    store.close()
    shown = jobs(jobs_folder=tmp_path / "jobs").find(job.id).to_dict()
    assert [shown[name] for name in ("title", "client", "note", "state")] == [
        "Anna, week 2",
        "Anna Müller",
        "무릎",
        "done",
    ]


def test_a_state_follows_only_those_before_it():
    job = UploadJob((("hands", {"model": "full"}),))
    for state in ("waiting", "running", "done"):
        job.move(state)
    with pytest.raises(ValueError, match="done cannot become cancelled"):
        job.move("cancelled")


_FIRST_LAYOUT = """
    CREATE TABLE migrations (version INTEGER PRIMARY KEY, applied TEXT);
    INSERT INTO migrations VALUES (1, '2026-01-01');
    CREATE TABLE jobs (
        number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, folder TEXT NOT NULL UNIQUE,
        state TEXT NOT NULL, draw INTEGER NOT NULL, style TEXT NOT NULL, source TEXT, name TEXT, drawing TEXT,
        frames INTEGER NOT NULL, of INTEGER, instances INTEGER NOT NULL, seconds REAL NOT NULL, message TEXT
    );
    CREATE TABLE detectors (
        job INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE, position INTEGER NOT NULL, kind TEXT NOT NULL,
        options TEXT NOT NULL, PRIMARY KEY (job, position)
    );
    CREATE TABLE problems (
        job INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE, position INTEGER NOT NULL, line TEXT NOT NULL,
        PRIMARY KEY (job, position)
    );
    INSERT INTO jobs VALUES (1, 'one', '0123456789abcdef', 'done', 0, '{}', 'input/a.mp4',
        'a.mp4', '.mp4', 7, 7, 9, 1.5, NULL);
    INSERT INTO jobs VALUES (2, 'two', '0123456789abcde0', 'failed', 1, '{}', 'input/b.mp4',
        'b.mp4', '.mp4', 0, NULL, 0, 0.5, 'it is cut');
    INSERT INTO jobs VALUES (3, 'odd', '0123456789abcde1', 'done', 1, '{}', 'input/c.mp4',
        'c.mp4', '.mp4', 0, NULL, 0, 0.5, NULL);
    INSERT INTO detectors VALUES (1, 0, 'hands', '{"model": "lite"}'), (2, 0, 'hands', '{}'), (3, 0, 'wings', '{}');
    INSERT INTO problems VALUES (1, 0, 'a part was skipped');
"""  # of version 1.0


def test_jobs_of_the_first_database_are_taken_over_and_none_is_lost(jobs, runs, tmp_path, caplog):
    folder = tmp_path / "jobs"
    for name in ("0123456789abcdef", "0123456789abcde1"):
        (folder / name).mkdir(parents=True)
        (folder / name / "result.jsonl").write_text("3")
    summary = {"id": 1, "measure": None, "texts": {"en": "3 squats"}}
    overview = {"ended": "2026-01-01T10:00:00+00:00", "length": 2.5, "summaries": [summary]}
    (folder / "0123456789abcdef" / "overview.json").write_text(json.dumps(overview))
    with closing(sqlite3.connect(folder / DATABASE)) as database:
        database.execute(f"PRAGMA application_id = {0x534A4F42}")
        database.executescript(_FIRST_LAYOUT)
    for _ in range(2):
        store = jobs(jobs_folder=folder)
        failed, done = store.newest_first()
        assert (failed.state, failed.message, failed.repeatable) == ("failed", "it is cut", False)
        shown = done.to_dict()
        expected = {"state": "done", "frames": 7, "instances": 9, "seconds": 1.5, "problems": ["a part was skipped"]}
        assert {name: shown[name] for name in (*expected, *overview)} == expected | overview
        assert dict(done.detectors[0][1])["model"] == "lite"
        assert done.file("result.jsonl").read_text() == "3"
        store.close()
        assert "0123456789abcde1: this job cannot be read" in caplog.text  # a kind of an extension that is absent
        caplog.clear()
        assert (folder / "0123456789abcde1" / "result.jsonl").read_text() == "3"


def folder_names(root):
    return sorted(path.name for path in root.iterdir() if path.is_dir())


def test_jobs_in_a_folder_outlive_the_server(jobs, runs, tmp_path):
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

    after = jobs(jobs_folder=folder)
    seen = after.newest_first()
    assert [job.id for job in seen] == [job.id for job in (waiting, running, failed, done)]
    assert [one.to_dict() for one in seen[2:]] == [one.to_dict() for one in (failed, done)]
    assert (seen[2].state, seen[2].message) == ("failed", "it is cut")
    runs.steps.release(6)
    wait_until(lambda: {job.state for job in seen} == {"done", "failed"})
    assert runs.begun[3:] == ["2.mp4", "3.mp4"]
    for job in seen:
        after.delete(job)
    after.close()
    assert [path.name for path in folder.iterdir()] == [DATABASE]


def test_a_killed_server_leaves_its_jobs_to_the_next(jobs, runs, tmp_path):
    before = jobs(jobs_folder=tmp_path / "jobs")
    job, upload = add(before), create(before)
    (upload.input_folder / "half.mp4").write_bytes(b"x")
    runs.steps.release(1)
    wait_until(lambda: job.frames == 1 and (job.folder / "result.jsonl").exists())
    left = shutil.copytree(tmp_path / "jobs", tmp_path / "left")  # as the disk is at this moment
    runs.steps.release(2)
    wait_until(lambda: job.state == "done")
    after = jobs(jobs_folder=left)
    again = after.find(job.id)
    wait_until(lambda: again.state == "running")
    assert (again.frames, sorted(path.name for path in again.folder.iterdir())) == (0, ["input"])
    assert folder_names(left) == [job.folder.name]  # the upload that was cut is gone
    runs.steps.release(3)
    wait_until(lambda: again.state == "done" and not again.input_folder.exists())
    assert (again.folder / "result.jsonl").read_text() == "3"


def state_of(folder, job):
    with closing(sqlite3.connect(folder / DATABASE)) as database:
        return database.execute("SELECT state FROM jobs WHERE id = ?", (job.id,)).fetchone()


def test_an_interrupted_removal_is_completed_by_the_next_server(jobs, runs, tmp_path):
    folder = tmp_path / "jobs"
    runs.steps.release(6)
    before = jobs(jobs_folder=folder)
    one, other = add(before), add(before)
    wait_until(lambda: other.state == "done" and not other.input_folder.exists())
    before.close()
    with closing(sqlite3.connect(folder / DATABASE)) as database, database:
        database.execute("UPDATE jobs SET state = 'removed' WHERE id = ?", (one.id,))
    after = jobs(jobs_folder=folder)
    assert [job.id for job in after.newest_first()] == [other.id]
    assert folder_names(folder) == [other.folder.name]
    after.close()
    assert state_of(folder, one) is None


def test_a_deleted_job_takes_its_rows_along(jobs, runs, tmp_path):
    runs.steps.release(3)
    store = jobs(jobs_folder=tmp_path / "jobs")
    job = create(store)
    job.problems = ["a part was skipped"]
    (job.input_folder / "a.mp4").write_bytes(b"x")
    store.submit(job, job_files.JobInput(job.input_folder / "a.mp4", "a.mp4", ".mp4"))
    wait_until(lambda: job.state == "done" and not job.input_folder.exists())
    store.close()
    again = jobs(jobs_folder=tmp_path / "jobs")
    (loaded,) = again.newest_first()
    assert (loaded.to_dict(), loaded.detectors, loaded.input) == (job.to_dict(), job.detectors, job.input)
    again.delete(loaded)
    again.close()
    with closing(sqlite3.connect(tmp_path / "jobs" / DATABASE)) as database:
        assert database.execute("SELECT count(*) FROM jobs").fetchone() == (0,)
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_job_that_the_disk_refuses_is_refused_and_leaves_nothing(jobs, runs, tmp_path, full_disk):
    store = jobs(jobs_folder=tmp_path / "jobs")
    with (
        full_disk(1),
        pytest.raises(errors.RefusedError, match=r"cannot take the upload: .*another --jobs-folder") as refused,
    ):
        add(store)
    assert (refused.value.code, store.active, folder_names(tmp_path / "jobs")) == ("failed", 0, [])
    upload = create(store)
    (upload.input_folder / "a.mp4").write_bytes(b"x")
    with full_disk(1), pytest.raises(errors.RefusedError, match="cannot take the upload"):
        store.submit(upload, job_files.JobInput(upload.input_folder / "a.mp4", "a.mp4", ".mp4"))
    store.discard(upload)
    wait_until(lambda: folder_names(tmp_path / "jobs") == [])
    runs.steps.release(3)
    job = add(store)  # there is room again
    wait_until(lambda: job.state == "done")


def test_a_job_whose_end_the_disk_refuses_is_repeated_by_the_next_server(jobs, runs, tmp_path, full_disk, caplog):
    store = jobs(jobs_folder=tmp_path / "jobs")
    job = add(store)
    wait_until(lambda: job.state == "running")
    with full_disk(1):
        runs.steps.release(3)
        wait_until(lambda: DATABASE in caplog.text)
    assert job.state == "done"
    store.close()
    again = jobs(jobs_folder=tmp_path / "jobs").find(job.id)
    runs.steps.release(3)
    wait_until(lambda: again.state == "done" and not again.input_folder.exists())
    assert runs.begun == ["a.mp4"] * 2


def test_finished_jobs_beyond_the_number_to_keep_are_removed_oldest_first(jobs, runs):
    store = jobs(keep_jobs=3)
    runs.steps.release(99)
    made = [add(store) for _ in range(5)]
    wait_until(lambda: made[-1].state == "done" and len(store.newest_first()) == 3)
    assert store.newest_first() == made[:1:-1]
    wait_until(lambda: not made[0].folder.exists() and not made[1].folder.exists())


def test_files_of_others_that_join_a_jobs_folder_stay(jobs, runs, tmp_path, caplog):
    folder = tmp_path / "jobs"
    before = jobs(jobs_folder=folder)
    runs.steps.release(6)
    job, replaced = add(before), add(before)
    wait_until(lambda: replaced.state == "done" and not replaced.input_folder.exists())
    before.close()
    others = [folder / "notes.txt", folder / "holiday" / "photo.jpg", folder / ("a" * 16) / "photo.jpg"]
    elsewhere = tmp_path / "elsewhere" / "photo.jpg"
    for other in (*others, elsewhere):
        other.parent.mkdir(parents=True, exist_ok=True)
        other.write_text("precious")
    shutil.rmtree(replaced.folder)
    replaced.folder.symlink_to(elsewhere.parent)
    after = jobs(jobs_folder=folder)
    assert [one.id for one in after.newest_first()] == [job.id]
    assert [other.read_text() for other in (*others, elsewhere)] == ["precious"] * 4
    assert f"{replaced.folder}: this is not the folder of a job" in caplog.text


def test_two_servers_cannot_use_one_folder(jobs, tmp_path):
    jobs(jobs_folder=tmp_path / "jobs")
    with pytest.raises(
        InputError,
        match=r"^--jobs-folder \S+ is in use by another server: stop it, or give another folder$",
    ):
        jobs(jobs_folder=tmp_path / "jobs")


def test_a_database_of_another_program_or_a_newer_version_is_refused_and_does_not_change(jobs, tmp_path):
    folder = tmp_path / "jobs"
    jobs(jobs_folder=folder).close()
    with closing(sqlite3.connect(folder / DATABASE)) as database, database:
        database.execute("INSERT INTO migrations VALUES (99, 'later')")
    other = tmp_path / "other"
    other.mkdir()
    with closing(sqlite3.connect(other / DATABASE)) as database, database:
        database.execute("CREATE TABLE recipes (name TEXT)")
    text = tmp_path / "text"
    text.mkdir()
    (text / DATABASE).write_text("a cake " * 200)
    for root, says in ((folder, "newer version"), (other, "Sonjit did not create"), (text, "not a database")):
        content = (root / DATABASE).read_bytes()
        with pytest.raises(InputError, match=says):
            jobs(jobs_folder=root)
        assert (root / DATABASE).read_bytes() == content
        assert [path.name for path in root.iterdir()] == [DATABASE]


OLD_RECORD = {
    "id": "1" * 32, "number": 1, "frames": 2, "of": 2, "instances": 1, "message": None, "problems": ["1.png is cut"],
    "disk_bytes": 0, "address": "", "state": "done", "seconds": 1.5, "draw": False, "owner": "0" * 32,
    "is_private": False, "given": {"source": "input", "name": "clip", "drawing": ".mp4"},
    "detectors": [{"kind": "hands", "model": "full"}],
}  # fmt: skip


def test_jobs_of_the_layout_before_the_database_are_taken_over(jobs, runs, tmp_path, caplog):
    root = tmp_path / "jobs"
    waiting = {
        "id": "2" * 32,
        "number": 2,
        "state": "waiting",
        "given": {"source": "input/a.mp4", "name": "a.mp4", "drawing": ".mp4"},
    }
    changes = (
        {},
        waiting,
        {"id": "3" * 32, "number": 3, "state": "uploading"},
        {"id": "4" * 32, "number": 4, "state": "archived"},
    )
    for number, change in enumerate(changes):
        folder = root / (str(number) * 16)
        (folder / "input").mkdir(parents=True)
        (folder / "input" / "a.mp4").write_bytes(b"x")
        (folder / "job.json").write_text(json.dumps(OLD_RECORD | change))
    (root / ("0" * 16) / "result.jsonl").write_text("{}")
    (root / ".sonjit-jobs").write_text("Sonjit stores jobs here")
    store = jobs(jobs_folder=root)
    second, first = store.newest_first()
    assert (first.state, first.frames, first.problems, first.seconds) == ("done", 2, ["1.png is cut"], 1.5)
    runs.steps.release(3)
    wait_until(lambda: second.state == "done" and not second.input_folder.exists())
    assert folder_names(root) == ["0" * 16, "1" * 16, "3" * 16]
    assert "this job cannot be read (Unknown state 'archived')" in caplog.text
    store.close()
    caplog.clear()
    again = jobs(jobs_folder=root)
    assert [job.id for job in again.newest_first()] == ["2" * 32, "1" * 32]
