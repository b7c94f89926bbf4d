"""Certificates that change while a server runs."""

import ssl
from datetime import datetime, timedelta

import pytest

from sonjit.server import certificate
from sonjit.server.certificate import own_certificate

from ..support.waiting import wait_until  # noqa: TID252  # one polling helper for all packages


@pytest.fixture
def pems(tmp_path, monkeypatch):
    """Return two certificates of this machine, each with its key."""
    contents = []
    for name in ("first", "second"):
        monkeypatch.setenv("SONJIT_HOME", str(tmp_path / name))
        contents.append(own_certificate([]).read_bytes())
    return contents


def test_a_running_server_loads_a_changed_certificate(listen, pems, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(certificate, "_CHECK_S", 0.01)
    path = tmp_path / "mine.pem"
    path.write_bytes(pems[0])
    server = listen(tls_cert=path, tls_key=path)
    assert served_by(server) == der(pems[0])
    path.write_bytes(b"damaged")
    wait_until(lambda: "not loaded again" in caplog.text)
    assert served_by(server) == der(pems[0])
    path.write_bytes(pems[1])
    wait_until(lambda: served_by(server) == der(pems[1]))


def test_a_running_server_renews_its_own_certificate(listen, tmp_path, monkeypatch):
    monkeypatch.setenv("SONJIT_HOME", str(tmp_path))
    monkeypatch.setattr(certificate, "_CHECK_S", 0.01)
    path = own_certificate([])
    first = der(path.read_bytes())
    server = listen(tls_cert=path, tls_key=path)
    monkeypatch.setattr(certificate, "_RENEW", certificate._VALID)  # every certificate expires soon
    wait_until(lambda: served_by(server) != first)


def test_a_certificate_that_expires_while_a_server_runs_is_reported_once(listen, pems, tmp_path, monkeypatch, caplog):
    class Clock(datetime):
        passed = timedelta(0)
        checks = 0

        @classmethod
        def now(cls, tz=None):
            cls.checks += 1
            return datetime.now(tz) + cls.passed

    monkeypatch.setattr(certificate, "_CHECK_S", 0.01)
    monkeypatch.setattr(certificate, "datetime", Clock)
    path = tmp_path / "mine.pem"
    path.write_bytes(pems[0])
    server = listen(tls_cert=path, tls_key=path)
    assert served_by(server) == der(pems[0])
    Clock.passed = timedelta(days=900)
    wait_until(lambda: "mine.pem ended on" in caplog.text)
    served_by(server)
    path.write_bytes(pems[1] + b"\n")
    wait_until(lambda: "not loaded again" in caplog.text)
    assert caplog.text.count("mine.pem ended on") - caplog.text.count("not loaded again") == 1


def served_by(server):
    return der(ssl.get_server_certificate(("127.0.0.1", server.port)).encode())


def der(pem):
    return ssl.PEM_cert_to_DER_cert(pem.decode().partition("-----BEGIN PRIVATE")[0])
