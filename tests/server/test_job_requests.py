"""Requests about jobs, whose detectors are of the test: creation, owners, events, downloads, and refusals."""

import json
import os
import threading
from dataclasses import asdict
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from starlette.responses import FileResponse
from starlette.testclient import TestClient

from sonjit._util.errors import JobError
from sonjit.media import DrawingStyle
from sonjit.server import job_store, jobs
from sonjit.server.app import create_app
from sonjit.server.errors import RefusedError
from sonjit.server.job_files import JobInput
from sonjit.server.job_store import JobStore, UploadJob
from sonjit.server.settings import Settings

from .conftest import end_of, refusal

PNG = cv2.imencode(".png", np.zeros((2, 3, 3), np.uint8))[1].tobytes()
HANDS = (("hands", {"model": "full"}),)
OWNER = "0" * 32


class Running:
    """Process of a job that waits for the gate of the test, and writes a result."""

    gate = threading.Event()

    def __init__(self, *_):
        self.ended = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def kill(self):
        self.ended = True

    def call(self, _, kinds, given, folder, drawing, detectors, style, *, seconds, report_progress):
        while not self.gate.wait(0.005):
            if self.ended:
                raise JobError("stopped")
        report_progress({"of": 1, "frames": 1, "instances": 2})
        (folder / "result.jsonl").write_text("{}")
        if drawing is not None:
            drawing.write_bytes(b"0123456789")
        return []


@pytest.fixture
def connect(monkeypatch):
    """Return a function that gives the client of a new server, whose jobs end at once unless `gate` is cleared."""
    monkeypatch.setattr(job_store, "Worker", Running)
    monkeypatch.setattr(jobs.service, "require_weights", lambda *_: None)
    Running.gate.set()
    clients = []

    def get(**settings):
        app = create_app(Settings(workers=1, **settings))
        clients.append(TestClient(app, "http://127.0.0.1", raise_server_exceptions=False).__enter__())
        return clients[-1]

    yield get
    Running.gate.set()
    for client in clients:
        client.__exit__(None, None, None)


def store_of(client):
    return client.app.state.service.jobs


def post(client, query="kind=hands", content=PNG, **more):
    return client.post(f"/v1/jobs?{query}", content=content, **more)


def test_a_job_has_the_settings_of_its_request(connect):
    client = connect()
    style = json.dumps(asdict(DrawingStyle(thickness=3)))
    created = post(client, "kind=face&max_instances=3&name=my.png")
    client.post("/v1/jobs", params={"kind": "hands", "draw": "false", "style": style}, content=PNG)
    second, first = store_of(client).newest_first()
    assert created.headers["location"] == f"/v1/jobs/{first.id}"
    assert (first.detectors, first.draw, first.style, first.input.name, first.address) == (
        (("face", {"model": "attention", "max_instances": 3}),),
        True,
        {},
        "my.png",
        "testclient",
    )
    assert (second.draw, second.style["thickness"], second.input.name) == (False, 3, "upload")
    ended = end_of(client, created)
    assert (ended["state"], ended["frames"], ended["of"], ended["instances"]) == ("done", 1, 1, 2)


def test_the_schema_has_the_status_of_a_created_and_a_deleted_job(connect):
    paths = connect().get("/openapi.json").json()["paths"]
    created, deleted = paths["/v1/jobs"]["post"], paths["/v1/jobs/{job_id}"]["delete"]
    assert (list(created["responses"]), min(deleted["responses"])) == (["202", "4XX"], "204")
    assert [one["required"] for one in created["parameters"]] == [False] * len(created["parameters"])


def test_a_client_with_a_cookie_owns_its_jobs(connect):
    client = connect()
    open_job = end_of(client, post(client))
    cookie = post(client).headers["set-cookie"]
    secret = client.cookies["sonjit_jobs"]
    assert len(secret) == 32
    assert all(part in cookie for part in ("HttpOnly", "Max-Age=34560000", "Path=/v1/jobs", "SameSite=strict"))
    own = store_of(client).newest_first(secret)
    assert [(job.owner, job.is_private) for job in own] == [(secret, True), (secret, False)]
    client.cookies.clear()
    assert client.get(f"/v1/jobs/{open_job['id']}").status_code == 200
    refusal(client.get(f"/v1/jobs/{own[0].id}"), 404, "not_found")
    assert client.get("/v1/jobs").json() == []
    other = client.cookies["sonjit_jobs"]
    assert (len(other), other == secret) == (32, False)
    job = post(client).json()
    (mine,) = store_of(client).newest_first(other)
    assert (mine.id, mine.is_private, client.cookies["sonjit_jobs"]) == (job["id"], True, other)
    assert [one["id"] for one in client.get("/v1/jobs").json()] == [job["id"]]
    for broken in ("0" * 31, "0" * 33, "g" * 32):
        client.cookies.clear()
        assert client.get("/v1/jobs", headers={"cookie": f"sonjit_jobs={broken}"}).json() == []
        assert client.cookies["sonjit_jobs"] != broken


def test_jobs_are_cancelled_and_deleted(connect):
    client = connect()
    Running.gate.clear()
    first, second = post(client).json()["id"], post(client).json()["id"]
    assert "is waiting: wait until it is done" in refusal(client.get(f"/v1/jobs/{second}/result.csv"), 409, "conflict")
    assert client.post(f"/v1/jobs/{first}/cancel").json()["state"] == "cancelled"
    assert client.delete(f"/v1/jobs/{second}").status_code == 204
    assert [job["id"] for job in client.get("/v1/jobs").json()] == [first]
    assert "it was cancelled" in refusal(client.get(f"/v1/jobs/{first}/result.csv"), 404, "not_found")
    refusal(client.delete(f"/v1/jobs/{second}"), 404, "not_found")


@pytest.mark.parametrize(("count", "status", "code"), [(10_000, 422, "bad_image"), (10_001, 413, "too_large")])
def test_an_upload_has_so_many_bytes_and_only_one_of_unknown_length_ends_the_connection(connect, count, status, code):
    client = connect(max_job_mb=0.01)
    stated, chunked = post(client, content=b"x" * count), post(client, content=iter([b"x" * count]))
    for answer in (stated, chunked):
        refusal(answer, status, code)
    assert "connection" not in stated.headers
    assert (chunked.headers.get("connection") == "close") == (code == "too_large")
    assert store_of(client).active == 0


@pytest.mark.parametrize("is_kept", [True, False])
def test_uploads_of_a_jobs_folder_are_complete_after_a_power_cut(connect, tmp_path, monkeypatch, is_kept):
    synced = []
    monkeypatch.setattr("sonjit._util.files.os.fsync", lambda number: synced.append(os.fstat(number).st_size))
    client = connect(jobs_folder=tmp_path / "jobs" if is_kept else None)
    assert post(client, content=PNG).status_code == 202
    assert (len(PNG) in synced) == is_kept


def test_so_many_jobs_wait_and_refused_ones_leave_nothing(connect):
    client = connect(max_jobs=2)
    Running.gate.clear()
    assert [post(client).status_code for _ in range(3)] == [202, 202, 503]
    assert store_of(client).active == 2


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (OSError(28, "No space left"), "failed", "the server's disk cannot take the upload: No space left; make room"),
        (JobError("it is cut"), "bad_image", "it is cut"),
        (RefusedError("busy", "wait"), "busy", "wait"),
    ],
)
def test_an_upload_that_fails_is_named_and_removed(connect, monkeypatch, error, code, says):
    client = connect()

    def fail(*_):
        raise error

    monkeypatch.setattr(jobs.Upload, "feed", fail)
    answer = post(client)
    assert answer.json()["error"]["code"] == code
    assert says in answer.json()["error"]["message"]
    assert store_of(client).active == 0


def test_the_weights_of_all_detectors_are_required(connect, monkeypatch):
    asked = []
    monkeypatch.setattr(jobs.service, "require_weights", lambda *arguments: asked.append(arguments))
    client = connect()
    kinds = json.dumps([{"kind": "hands", "model": "lite"}, {"kind": "body"}])
    job = client.post("/v1/jobs", params={"detectors": kinds}, content=PNG).json()
    assert (job["kind"], job["model"]) == ("hands+body", "hands-lite+body-full")
    assert asked == [("hands", "lite"), ("body", "full")]


WRONG = (
    ({"kind": "hands", "style": '{"z": 1, "%s": 2, "thickness": 2}' % ("x" * 60)}, f"Unknown setting '{'x' * 40}'"),
    ({"kind": "hands", "style": '{"thickness": "2"}'}, "style: thickness: Input should be a valid"),
    ({"kind": "hands", "style": '{"thickness": 2'}, "style: "),
    ({"kind": "hands", "style": "3"}, "style: Input should be an object"),
    ({"kind": "hands", "draw": "3"}, "draw='3': give true or false"),
    ({"detectors": '[{"kind": "hands"}]', "zz": "1", "x" * 70: "1"}, f"'{'x' * 60}' does not apply together"),
    ({"detectors": "[" * 9_999}, "detectors: give a list"),
    ({"detectors": '[{"kind": "hands", "max_instances": "3"}]'}, "max_instances='3'"),
    ({"kind": "hands", "explain": "presence"}, "'explain' of a job of hands"),
)


def test_a_wrong_request_is_refused_before_its_body_is_read(connect, monkeypatch):
    monkeypatch.setattr(JobStore, "add", lambda *_: pytest.fail("added"))
    client = connect()
    for query, says in WRONG:
        assert says in refusal(client.post("/v1/jobs", params=query, content=PNG), 400, "bad_option")


@pytest.fixture
def ended(connect, monkeypatch, tmp_path):
    """Return the client of a server with one job, and that job, which is done."""
    job = UploadJob(HANDS, OWNER, id="7", state="done")
    job.folder, job.input = tmp_path, JobInput(tmp_path / "a.mov", "my clip.mov", ".mp4")
    (tmp_path / "drawn.mp4").write_bytes(b"0123456789")
    client = connect()
    monkeypatch.setattr(store_of(client), "find", lambda job_id, owner: job)
    return client, job


def test_downloads_are_named_after_their_input(ended, monkeypatch):
    client, job = ended
    monkeypatch.setattr(UploadJob, "files", ["result.csv", "result.instances.csv", "motions.csv", "drawn.mp4"])
    for name in ("result.csv", "result.instances.csv", "motions.csv"):
        (job.folder / name).write_text("a,b")
    shown = {
        "result.csv": "my%20clip.csv",
        "result.instances.csv": "my%20clip.instances.csv",
        "motions.csv": "my%20clip.motions.csv",
        "drawn.mp4": "my%20clip-drawn.mp4",
    }
    for name, wanted in shown.items():
        answer = client.get(f"/v1/jobs/7/{name}")
        assert answer.headers["content-disposition"] == f"attachment; filename*=utf-8''{wanted}"
        assert answer.content == (job.folder / name).read_bytes()
    assert client.get("/v1/jobs/7/drawn.mp4", headers={"range": "bytes=2-4"}).content == b"234"


def test_a_file_that_a_job_does_not_have_is_named(ended):
    client, job = ended
    for name in ("a", "result.mp3", "z" * 50):
        message = refusal(client.get(f"/v1/jobs/7/{name}"), 404, "not_found")
        assert message.startswith(f"job 7 has no '{name[:40]}'. Choose from result.")
    (job.folder / "drawn.mp4").unlink()
    assert "has no 'drawn.mp4'" in refusal(client.get("/v1/jobs/7/drawn.mp4"), 404, "not_found")
    job.problems = ["first", "drawn.mp4 cannot be drawn"]
    assert refusal(client.get("/v1/jobs/7/drawn.mp4"), 404, "not_found") == "drawn.mp4 cannot be drawn"
    for name in ("a", "z"):
        assert "has no" in refusal(client.get(f"/v1/jobs/7/{name}"), 404, "not_found")
    job.draw = False
    assert "has no 'drawn.mp4'" in refusal(client.get("/v1/jobs/7/drawn.mp4"), 404, "not_found")


def test_only_a_finished_job_has_files(ended):
    client, job = ended
    job.message = "broken"
    for job.state in ("waiting", "running"):
        message = refusal(client.get("/v1/jobs/7/result.csv"), 409, "conflict")
        assert message == f"job 7 is {job.state}: wait until it is done"
    for job.state, says in (("cancelled", "was cancelled"), ("failed", "failed: broken")):
        message = refusal(client.get("/v1/jobs/7/result.csv"), 404, "not_found")
        assert message == f"job 7 has no results: it {says}"


@pytest.mark.parametrize("error", [JobError("no pyarrow"), OSError("disk")])
def test_a_file_that_cannot_be_written_is_an_error_unless_its_job_was_deleted(ended, monkeypatch, error):
    client, job = ended

    def fail(*_):
        raise error

    monkeypatch.setattr(UploadJob, "file", fail)
    message = refusal(client.get("/v1/jobs/7/result.csv"), 500, "failed")
    assert message == (
        "no pyarrow" if isinstance(error, JobError) else "the server failed (OSError). See its output for details"
    )
    found = [job]

    def find_once(job_id, owner):
        if not found:
            raise RefusedError("not_found", "deleted")
        return found.pop()

    monkeypatch.setattr(store_of(client), "find", find_once)
    assert refusal(client.get("/v1/jobs/7/result.csv"), 404, "not_found") == "deleted"


@pytest.mark.parametrize("headers", [{}, {"range": "bytes=5-9"}])
def test_a_file_that_is_removed_before_it_is_opened_is_an_error(ended, monkeypatch, headers):
    client, job = ended
    start = FileResponse.__call__

    async def remove_first(response, *connection):
        (job.folder / "drawn.mp4").unlink()
        await start(response, *connection)

    monkeypatch.setattr(FileResponse, "__call__", remove_first)
    refusal(client.get("/v1/jobs/7/drawn.mp4", headers=headers), 404, "not_found")


def heard(client):
    """Return the states and numbers of frames of events, and comments."""
    with client.stream("GET", "/v1/jobs/7/events") as stream:
        assert stream.headers["cache-control"] == "no-store"
        lines = [line for line in stream.iter_lines() if line]
    events = [json.loads(line[6:]) if line.startswith("data: ") else line for line in lines]
    return [one if isinstance(one, str) else (one["state"], one["frames"]) for one in events]


@pytest.mark.parametrize("end", ["done", "failed", "cancelled", "suspended"])
def test_events_report_each_change_and_keep_a_connection_alive(ended, monkeypatch, end):
    client, job = ended
    job.state, job.started_s = "running", 0.0
    now, waits, asked = [100.0], iter([0, 15.0, 0.25, 15.0, 0, 0.25, 15.0, 9.0, 0]), []

    async def sleep(seconds):
        asked.append(seconds)
        now[0] += next(waits)
        job.frames = 1 if len(asked) > 4 else 0
        if len(asked) == 9:
            job.state, job.is_suspended = ("running", True) if end == "suspended" else (end, False)

    clock = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr(jobs, "time", clock)
    monkeypatch.setattr(jobs, "asyncio", SimpleNamespace(sleep=sleep))
    alive = ": still here"
    last = [] if end == "suspended" else [(end, 1)]
    assert heard(client) == [("running", 0), alive, ("running", 1), alive, *last]
    assert asked == [0.1] * 9
