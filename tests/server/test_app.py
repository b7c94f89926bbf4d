"""The app and its server: limits of the protocols, addresses, projects, origins, and a port that cannot be used."""

import asyncio
import socket
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from fastapi import APIRouter
from starlette.testclient import TestClient

from sonjit._util.errors import InputError, JobError
from sonjit.server import app, settings
from sonjit.server.app import ProjectRoutes, create_app, make_server, serve
from sonjit.server.settings import Settings, fingerprint, own_certificate

HERE = "http://127.0.0.1"


@pytest.fixture
def certificate(tmp_path, monkeypatch):
    monkeypatch.setenv("SONJIT_HOME", str(tmp_path))
    return own_certificate([])


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def test_the_protocols_have_the_limits_of_the_settings(listener):
    config = make_server(Settings(max_body_mb=3), listener).config
    assert (config.ws_max_size, config.h11_max_incomplete_event_size) == (3_000_024, 65_536)
    assert (config.timeout_notify, config.timeout_graceful_shutdown) == (3600, 2)
    flags = ("ws_per_message_deflate", "access_log", "server_header", "proxy_headers")
    assert [getattr(config, name) for name in flags] == [False] * 4
    assert make_server(Settings(), listener, verbose=True).config.access_log


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="needs Linux")
@pytest.mark.parametrize(("minutes", "wait_ms"), [(0.5, 30_000), (1e-9, 1), (1e9, 10**9), (2, 120_000)])
def test_a_connection_whose_client_reads_nothing_ends_after_the_idle_time(listener, minutes, wait_ms):
    make_server(Settings(idle_minutes=minutes), listener)
    assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == wait_ms


def test_only_a_server_with_tls_renews_its_certificate(listener, certificate, monkeypatch):
    renewed = []
    monkeypatch.setattr(app, "renew_certificate", lambda *arguments: renewed.append(arguments))
    for own in (Settings(), Settings(tls_cert=certificate, tls_key=certificate)):
        config = make_server(own, listener).config
        config.ssl = None
        asyncio.run(config.callback_notify())
    assert renewed == []
    config.ssl = "context"
    asyncio.run(config.callback_notify())
    assert renewed == [("context", certificate, certificate)]


def test_nothing_is_measured_for_others():
    made = create_app()
    measured = ("tracing", "metrics", "logs", "auto_configure")
    assert [made._telemetry[name] for name in measured] == [False] * 4  # its library has no other way to ask
    assert (made.docs_url, made.redoc_url) == (None, None)


def test_the_schema_has_the_status_of_each_answer():
    paths = create_app().openapi()["paths"]
    statuses = {(path, method): min(one["responses"]) for path, own in paths.items() for method, one in own.items()}
    others = {key: status for key, status in statuses.items() if status != "200"}
    assert others == {("/v1/token", "post"): "204", ("/v1/jobs", "post"): "202", ("/v1/jobs/{job_id}", "delete"): "204"}


def test_addresses_for_other_devices_have_a_qr_code(certificate, monkeypatch):
    found = ["10.0.0.7", "x" * 3000]
    monkeypatch.setattr(settings, "addresses_of_machine", lambda *, ipv6: found)
    own = {"host": "0.0.0.0", "token": "t"}
    shown = {"authorization": "Bearer t"}
    for tls in ({}, {"tls_cert": certificate, "tls_key": certificate}):
        answer = TestClient(create_app(Settings(**own, **tls)), f"{HERE}:80").get("/v1/addresses", headers=shown).json()
        scheme = "https" if tls else "http"
        assert [one["url"] for one in answer["addresses"]] == [f"{scheme}://{name}:80/#token=t" for name in found]
        assert [str(one["qr"])[:19] for one in answer["addresses"]] == ["data:image/svg+xml;", "None"]
        assert (answer["https"], answer["fingerprint"]) == (bool(tls), fingerprint(certificate) if tls else None)


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


def test_a_host_or_port_that_others_use_is_named(listener, monkeypatch):
    port = listener.getsockname()[1]
    with pytest.raises(JobError, match=f"port {port} of 127.0.0.1 is taken"):
        serve(Settings(), port)
    monkeypatch.setattr(app.socket, "getaddrinfo", Mock(side_effect=OSError))
    with pytest.raises(InputError, match=r"--host 127.0.0.1: no address is known for it"):
        serve(Settings(), 0)


@pytest.mark.parametrize("options", [{}, {"verbose": True}])
def test_it_serves_at_the_printed_address_until_ctrl_c(monkeypatch, options):
    served, printed = [], []

    async def run(server, sockets):
        served.append((server.config.access_log, sockets[0].getsockname()[1]))
        raise KeyboardInterrupt

    monkeypatch.setattr(app.uvicorn.Server, "serve", run)
    serve(Settings(), 0, started=printed.extend, **options)
    ((verbose, port),) = served
    assert (verbose, printed) == (bool(options), [f"{HERE}:{port}/"])


def test_a_server_that_stops_ends_its_service_first(listener, monkeypatch):
    ended = []
    server = make_server(Settings(), listener)

    async def stop():
        ended.append("service")

    async def shutdown(_, sockets=None):
        ended.append(sockets)

    server.config.app.state.service = SimpleNamespace(stop=stop)
    monkeypatch.setattr(app.uvicorn.Server, "shutdown", shutdown)
    asyncio.run(server.shutdown(["socket"]))
    assert ended == ["service", ["socket"]]
