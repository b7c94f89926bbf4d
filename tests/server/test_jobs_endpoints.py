"""Running jobs: events, cancellation, removal, and access."""

import threading
from itertools import pairwise

import pytest
from starlette.testclient import TestClient

from sonjit.server.job_store import JobStore

from ..support.waiting import wait_until  # noqa: TID252  # one polling helper for all packages
from .conftest import end_of, events_of, refusal


@pytest.mark.slow
def test_every_listener_gets_the_events_in_order(ask, media):
    client = ask()
    body = (media / "clip.mp4").read_bytes()
    client.post("/v1/jobs?kind=hands", content=body)
    job_id = client.post("/v1/jobs?kind=hands", content=body).json()["id"]
    heard = [[], []]
    listeners = [threading.Thread(target=lambda mine=mine: mine.extend(events_of(client, job_id))) for mine in heard]
    for listener in listeners:
        listener.start()
    for listener in listeners:
        listener.join(30)
    order = ["waiting", "running", "done"]
    for events in heard:
        states = [order.index(job["state"]) for job in events]
        assert states == sorted(states)
        assert [job["frames"] for job in events] == sorted(job["frames"] for job in events)
        assert events[-1]["state"] == "done"
        assert [bool(job["ended"]) for job in events] == [job["state"] == "done" for job in events]
        assert all(one | {"seconds": 0} != other | {"seconds": 0} for one, other in pairwise(events))


@pytest.mark.slow
def test_a_job_is_cancelled_at_once(ask, place, media, monkeypatch):
    client, cancelled, advance = ask(), threading.Event(), JobStore._advance

    def advance_to_the_third(store, job, progress):
        advance(store, job, progress)
        if job.frames > 2:
            cancelled.wait(20)

    monkeypatch.setattr(JobStore, "_advance", advance_to_the_third)
    job_id = client.post("/v1/jobs?kind=hands", content=(media / "clip.mp4").read_bytes()).json()["id"]
    wait_until(lambda: client.get(f"/v1/jobs/{job_id}").json()["frames"] > 2)
    assert "running" in refusal(client.get(f"/v1/jobs/{job_id}/result.csv"), 409, "conflict")
    assert client.post(f"/v1/jobs/{job_id}/cancel").json()["state"] == "cancelled"
    cancelled.set()
    assert events_of(client, job_id)[-1]["state"] == "cancelled"
    wait_until(lambda: client.get(f"/v1/jobs/{job_id}").json()["repeatable"])
    (folder,) = next(place.iterdir()).iterdir()
    assert [path.name for path in folder.iterdir()] == ["input"]
    assert client.get(f"/v1/jobs/{job_id}").json()["frames"] == 3
    assert "cancelled" in refusal(client.get(f"/v1/jobs/{job_id}/result.csv"), 404, "not_found")


@pytest.mark.slow
def test_jobs_are_listed_and_deleted(ask, place, media):
    client = ask()
    body = (media / "photo.jpg").read_bytes()
    ids = [end_of(client, client.post("/v1/jobs?kind=hands", content=body))["id"] for _ in range(3)]
    assert [job["id"] for job in client.get("/v1/jobs").json()] == ids[::-1]
    assert client.delete(f"/v1/jobs/{ids[1]}").status_code == 204
    assert [job["id"] for job in client.get("/v1/jobs").json()] == [ids[2], ids[0]]
    (root,) = place.iterdir()
    assert len(list(root.iterdir())) == 2
    for call in ("GET", "DELETE"):
        refusal(client.request(call, f"/v1/jobs/{ids[1]}"), 404, "not_found")
    for endpoint in ("events", "result.csv", "drawn.jpg"):
        refusal(client.get(f"/v1/jobs/{ids[1]}/{endpoint}"), 404, "not_found")


@pytest.mark.nightly
@pytest.mark.slow
def test_clients_of_a_server_share_its_jobs(ask, media):
    client = ask()
    answer = client.post("/v1/jobs?kind=hands", content=(media / "photo.jpg").read_bytes())
    assert "set-cookie" not in answer.headers
    job = end_of(client, answer)
    other = TestClient(client.app, "http://127.0.0.1")
    assert other.get("/v1/jobs").json() == [job]
    assert other.get(job["downloads"]["csv"]).status_code == 200
    assert other.delete(f"/v1/jobs/{job['id']}").status_code == 204
    assert client.get("/v1/jobs").json() == []


@pytest.mark.slow
def test_every_endpoint_wants_the_token_where_there_is_one(ask, media):
    client = ask(token="s3cret")
    body = (media / "photo.jpg").read_bytes()
    refusal(client.post("/v1/jobs?kind=hands", content=body), 401, "no_token")
    shown = {"authorization": "Bearer s3cret"}
    endpoint = client.post("/v1/jobs?kind=hands", content=body, headers=shown).headers["location"]
    for path in (endpoint, f"{endpoint}/events", f"{endpoint}/result.csv", f"{endpoint}/drawn.jpg"):
        refusal(client.get(path), 401, "no_token")
    with client.stream("GET", f"{endpoint}/events", headers=shown) as events:
        assert '"state":"done"' in list(events.iter_lines())[-2]
    assert client.get(f"{endpoint}/drawn.jpg", headers=shown).status_code == 200
