"""`sonjit serve`: one line with the address, a quiet end, and one line for what cannot be."""

import shutil
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request

import pytest
from websockets.sync.client import connect

from sonjit.cli import main
from sonjit.cli.serve import tell_address
from sonjit.server import run
from sonjit.server.run import page_addresses
from sonjit.server.settings import Settings


@pytest.fixture
def taken():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def start(*options):
    command = [sys.executable, "-m", "sonjit", "serve", "--port", "0", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_is_and_stops_without_a_word(signal_):
    with start("--token", "a&b") as process:
        line = process.stdout.readline()
        address = line.split()[-1]
        assert line.startswith("serving at http://127.0.0.1:")
        assert address.endswith("/?token=a%26b")
        with urllib.request.urlopen(address.replace("/?", "/healthz?")) as response:
            assert response.status == 200
        process.send_signal(signal_)
        rest, complaints = process.communicate(timeout=30)
    assert (rest, complaints) == ("", "")
    assert process.returncode in (0, -signal.SIGTERM)


def test_on_all_addresses_it_says_where_other_devices_find_it(monkeypatch, capsys):
    settings = Settings(host="0.0.0.0", token="a&b")
    local, *others = page_addresses(settings, 80)
    assert local == "http://127.0.0.1:80/?token=a%26b"
    assert not any("127.0.0.1" in one or "0.0.0.0" in one for one in others)
    monkeypatch.setattr(run, "_addresses_of_machine", lambda *, ipv6: ["192.168.1.5", *["fd00::5"] * ipv6])
    tell_address(open_page=False, page="annotate/")(page_addresses(settings, 80))
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == [
        "serving at http://127.0.0.1:80/annotate/?token=a%26b",
        "for other devices: http://192.168.1.5:80/annotate/?token=a%26b",
    ]
    assert "--tls-cert" in said[2]
    every = page_addresses(Settings(host="::", token="x"), 80)
    assert every == [f"http://{host}:80/?token=x" for host in ("[::1]", "192.168.1.5", "[fd00::5]")]


@pytest.mark.slow
def test_https_with_a_certificate(tmp_path, capsys):
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost")
    subprocess.run([openssl, *make, "-keyout", key, "-out", cert], check=True, capture_output=True)
    with start("--tls-cert", str(cert), "--tls-key", str(key)) as process:
        address = process.stdout.readline().split()[-1]
        assert address.startswith("https://127.0.0.1:")
        trusting = ssl.create_default_context(cafile=str(cert))
        trusting.check_hostname = False
        with urllib.request.urlopen(f"{address}healthz", context=trusting) as response:
            assert response.status == 200
        with connect(address.replace("https", "wss") + "v1/stream", ssl=trusting) as stream:
            stream.send('{"type": "configure", "detectors": []}')
            assert "ready" in stream.recv(timeout=20)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert main(["serve", "--tls-cert", str(key), "--tls-key", str(cert)]) == 2
    assert "do not make a certificate" in capsys.readouterr().err


def test_a_port_that_is_taken(taken, capsys):
    assert main(["serve", "--port", str(taken)]) == 1
    assert (
        capsys.readouterr().err
        == f"sonjit: port {taken} of 127.0.0.1 is taken: stop what uses it, or give another --port\n"
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--host", "0.0.0.0"], "--token"),
        (["--port", "70000"], "--port 70000"),
        (["--port", "-1"], "--port"),
        (["--host", "no.such.host.invalid", "--token", "x"], "--host no.such.host.invalid"),
        (["--max-clients", "0"], "--max-clients 0"),
        (["--workers", "-3"], "--workers -3"),
        (["--tls-cert", "cert.pem"], "--tls-key"),
        (["--tls-cert", "no.pem", "--tls-key", "no.pem"], "no.pem"),
        (["--allow-origin", "*"], "--allow-origin *"),
    ],
)
def test_wrong_calls_are_one_line(options, said, capsys):
    assert main(["serve", *options]) == 2
    complaint = capsys.readouterr().err
    assert said in complaint
    assert complaint.count("\n") == 1


def test_help_tells_every_limit_of_the_settings(capsys):
    from dataclasses import fields

    from sonjit.server.settings import Settings, option_name

    main(["serve", "--help"])
    told = capsys.readouterr().out
    names = {option_name(one.name) for one in fields(Settings)} - {"--allow-origins"} | {"--allow-origin"}
    assert not [name for name in names if name not in told]
