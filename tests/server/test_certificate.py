"""Certificates that change while a server runs."""

import ssl

import pytest

from sonjit.server import app, settings

from ..support.waiting import wait_until  # noqa: TID252  # one polling helper for all packages


@pytest.fixture
def pems(tmp_path, monkeypatch):
    """Return two certificates of this machine, each with its key. A running server checks its certificate at once."""
    monkeypatch.setattr(app, "_RENEW_S", 0)
    contents = []
    for name in ("first", "second"):
        monkeypatch.setenv("SONJIT_HOME", str(tmp_path / name))
        contents.append(settings.machine_certificate([]).read_bytes())
    return contents


def served_by(server):
    return der(ssl.get_server_certificate(("127.0.0.1", server.port)).encode())


def der(pem):
    """Return the first certificate of a PEM file as DER."""
    first, end, _ = pem.decode().partition("-----END CERTIFICATE-----\n")
    return ssl.PEM_cert_to_DER_cert(first + end)


def test_a_running_server_loads_a_changed_certificate_and_no_damaged_one(listen, pems, tmp_path, caplog):
    path = tmp_path / "mine.pem"
    path.write_bytes(pems[0])
    server = listen(tls_cert=path, tls_key=path)
    assert served_by(server) == der(pems[0])
    path.write_bytes(b"damaged")
    wait_until(lambda: "the certificate was not loaded again" in caplog.text)
    assert served_by(server) == der(pems[0])
    path.write_bytes(pems[1])
    wait_until(lambda: served_by(server) == der(pems[1]))
