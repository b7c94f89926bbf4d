"""The app and its server: limits of the protocols, addresses, projects, origins, and a port that cannot be used."""

import socket

import pytest
from fastapi import APIRouter
from starlette.testclient import TestClient

from sonjit._util.errors import InputError, JobError
from sonjit.server.app import ProjectRoutes, create_app, serve
from sonjit.server.settings import Settings

HERE = "http://127.0.0.1"


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def test_nothing_is_measured_for_others():
    made = create_app()
    measured = ("tracing", "metrics", "logs", "auto_configure")
    assert [made._telemetry[name] for name in measured] == [False] * 4  # its library has no other way to ask
    assert (made.docs_url, made.redoc_url) == (None, None)


def test_the_schema_has_the_status_of_each_answer():
    paths = create_app().openapi()["paths"]
    statuses = {(path, method): min(one["responses"]) for path, own in paths.items() for method, one in own.items()}
    others = {key: status for key, status in statuses.items() if status != "200"}
    empty = {("/v1/token", "post"), ("/v1/jobs/check", "post"), ("/v1/jobs/{job_id}", "delete")}
    assert others == dict.fromkeys(empty, "204") | {("/v1/jobs", "post"): "202"}


@pytest.mark.parametrize("annotates", [True, False])
def test_a_project_is_opened_for_the_service_and_closed_with_it(annotates):
    router, opened, closed = APIRouter(), [], []
    router.add_api_route("/v1/project", lambda: "project")

    def open_project(service):
        opened.append(service)
        return ProjectRoutes(router, lambda: closed.append(service._is_stopped))

    made = create_app(Settings(workers=2), open_project if annotates else None)
    with TestClient(made, HERE) as client:
        assert client.get("/v1/kinds").json()["annotates"] == annotates
        assert client.get("/v1/project").status_code == (200 if annotates else 404)
        health = client.get("/healthz").json()
        assert (health["status"], health["clients"], health["jobs"]) == ("ok", 0, 0)
        assert (opened, closed) == ([made.state.service] if annotates else [], [])
    assert closed == [True] * annotates


def test_a_page_of_an_allowed_origin_may_call_from_the_internet():
    friend = "https://friend.example"
    client = TestClient(create_app(Settings(allow_origins=(friend,))), HERE)
    asked = {
        "origin": friend,
        "access-control-request-method": "DELETE",
        "access-control-request-private-network": "true",
    }
    answer = client.options("/v1/jobs", headers=asked | {"access-control-request-headers": "authorization"})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-private-network"] == "true"
    asked["access-control-request-method"] = "PUT"
    assert client.options("/v1/jobs", headers=asked).status_code == 400
    assert "access-control-allow-origin" not in TestClient(create_app(), HERE).get("/healthz").headers


@pytest.mark.parametrize(
    ("port", "error", "says"),
    [
        (-1, InputError, "--port -1: give a number from 0 to 65535"),
        (65_536, InputError, "--port 65536: give a number from 0 to 65535"),
        (0, JobError, "192.0.2.1 is not an address of this machine: give another --host"),
        (65_535, JobError, "192.0.2.1 is not an address of this machine: give another --host"),
    ],
)
def test_a_port_that_cannot_be_used_is_named(port, error, says):
    with pytest.raises(error, match=says):
        serve(Settings(host="192.0.2.1", token="t"), port)  # an address for documentation


def test_a_port_that_others_use_is_named(listener):
    port = listener.getsockname()[1]
    with pytest.raises(JobError, match=f"port {port} of 127.0.0.1 is taken"):
        serve(Settings(), port)
