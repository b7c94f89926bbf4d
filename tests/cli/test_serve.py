"""`sonjit serve`: one line with the address, a clean exit, and one line for each error."""

import hashlib
import json
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import cv2
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from sonjit.cli.serve import address_printer
from sonjit.server import settings as server_settings
from sonjit.server.settings import Settings, fingerprint, machine_certificate, page_addresses, qr_lines
from sonjit.weights import find_weight

WAIT_S = 120
"""Time limit of each step on a busy machine."""


@pytest.fixture
def taken():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@contextmanager
def start(*options):
    command = [sys.executable, "-m", "sonjit", "serve", "--port", "0", "--temporary", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()  # has no effect on a process that ended; after a failure, nothing else would end it


@pytest.mark.nightly_after(1)
@pytest.mark.slow
@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_its_address_and_stops_silently(signal_):
    with start("--token", "a&b") as process:
        line = process.stdout.readline()
        assert process.stdout.readline() == "results end with this server\n"
        address = line.split()[-1]
        assert line.startswith("serving at http://127.0.0.1:")
        assert address.endswith("/#token=a%26b")
        host, shown = address.removeprefix("http://").partition("/")[0], {"authorization": "Bearer a&b"}
        with connect(f"ws://{host}/v1/stream", additional_headers=shown, open_timeout=WAIT_S) as stream:
            stream.send('{"type": "configure", "detectors": []}')
            assert "ready" in stream.recv(timeout=WAIT_S)
            process.send_signal(signal_)
            with pytest.raises(ConnectionClosed) as closed:
                stream.recv(timeout=WAIT_S)
        rest, complaints = process.communicate(timeout=WAIT_S)
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1001, "the server stops")
    assert (rest, complaints) == ("", "")
    assert process.returncode in (0, -signal.SIGTERM)


@pytest.mark.slow
def test_the_token_of_a_file_or_a_variable_is_not_in_the_list_of_processes(tmp_path, monkeypatch):
    file = tmp_path / "token"
    file.write_text("from file\n")
    monkeypatch.setenv("SONJIT_TOKEN", "from variable")
    for options, token in (((), "from variable"), (("--token-file", str(file)), "from file")):
        with start(*options) as process:
            address = process.stdout.readline().split()[-1].partition("#")[0]
            for shown, status in ((token, 200), ("other", 401)):
                request = urllib.request.Request(f"{address}healthz", headers={"authorization": f"Bearer {shown}"})
                try:
                    answered = urllib.request.urlopen(request).status
                except urllib.error.HTTPError as error:
                    answered = error.code
                assert answered == status
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=WAIT_S)


def test_a_token_that_cannot_be_read_is_refused(tmp_path, sonjit):
    for name, content in (("missing", None), ("empty", b"\n"), ("two", b"a\nb\n"), ("binary", b"\xff\xfe")):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        status, _, (line,) = sonjit("serve", "--token-file", tmp_path / name)
        assert (status, f"--token-file {tmp_path / name}: " in line) == (2, True)
    (tmp_path / "good").write_text("a")
    status, _, (line,) = sonjit("serve", "--token-file", tmp_path / "good", "--token", "b")
    assert (status, "cannot be combined" in line) == (2, True)


def test_on_all_addresses_it_prints_addresses_for_other_devices(monkeypatch, capsys):
    settings = Settings(host="0.0.0.0", token="a&b")
    local, *others = page_addresses(settings, 80)
    assert local == "http://127.0.0.1:80/#token=a%26b"
    assert not any("127.0.0.1" in one or "0.0.0.0" in one for one in others)
    monkeypatch.setattr(server_settings, "addresses_of_machine", lambda *, ipv6: ["192.168.1.5", *["fd00::5"] * ipv6])
    address_printer(open_page=False, page="annotate/")(page_addresses(settings, 80))
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        "serving at http://127.0.0.1:80/annotate/#token=a%26b",
        "for other devices: http://192.168.1.5:80/annotate/#token=a%26b",
    ]
    assert "--tls" in lines[2]
    every = page_addresses(Settings(host="::", token="x"), 80)
    assert every == [f"http://{host}:80/#token=x" for host in ("[::1]", "192.168.1.5", "[fd00::5]")]


@pytest.mark.slow
def test_https_with_a_certificate(tmp_path, sonjit):
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost")
    subprocess.run([openssl, *make, "-keyout", key, "-out", cert], check=True, capture_output=True)
    with start("--cert", str(cert), "--key", str(key)) as process:
        address = process.stdout.readline().split()[-1]
        assert address.startswith("https://127.0.0.1:")
        trusting = ssl.create_default_context(cafile=str(cert))
        trusting.check_hostname = False
        with urllib.request.urlopen(f"{address}healthz", context=trusting) as response:
            assert response.status == 200
        with connect(address.replace("https", "wss") + "v1/stream", ssl=trusting, open_timeout=WAIT_S) as stream:
            stream.send('{"type": "configure", "detectors": []}')
            assert "ready" in stream.recv(timeout=WAIT_S)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=WAIT_S)
    status, _, (line,) = sonjit("serve", "--cert", key, "--key", cert)
    assert (status, "do not make a certificate" in line) == (2, True)


def test_a_self_signed_certificate_is_created_once(tmp_path, monkeypatch):
    monkeypatch.setenv("SONJIT_HOME", str(tmp_path))
    path = machine_certificate(["192.168.1.5"])
    made = path.read_bytes()
    assert path.stat().st_mode & 0o077 == 0
    names = subject_names(path)
    assert {"localhost", "127.0.0.1", "::1", "192.168.1.5"} <= names
    assert machine_certificate(["192.168.1.5"]) == path
    assert path.read_bytes() == made
    machine_certificate(["fd00::5"])
    assert subject_names(path) == names | {"fd00::5"}
    der = ssl.PEM_cert_to_DER_cert("".join(path.read_text().partition("-----END CERTIFICATE-----")[:2]))
    assert fingerprint(path).replace(":", "").lower() == hashlib.sha256(der).hexdigest()
    path.write_bytes(b"damaged")
    Settings(tls_cert=machine_certificate([]), tls_key=path)


def subject_names(path):
    names = x509.load_pem_x509_certificate(path.read_bytes()).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    return {str(name.value) for name in names.value}


def reissued(pem, first, last):
    """Return a certificate for the same key that is valid between two days from now."""
    key, name = serialization.load_pem_private_key(pem, None), x509.load_pem_x509_certificate(pem).subject
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(datetime.now(UTC) + timedelta(days=first))
    builder = builder.not_valid_after(datetime.now(UTC) + timedelta(days=last))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def locked(pem):
    """Return the key of a PEM file with a password."""
    encryption = serialization.BestAvailableEncryption(b"secret")
    key = serialization.load_pem_private_key(pem, None)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


@pytest.mark.parametrize(
    ("cert", "key", "message"),
    [
        (lambda pem, _: reissued(pem, -3, -1), lambda pem, _: pem, "ended on"),
        (lambda pem, _: reissued(pem, 1, 3), lambda pem, _: pem, "begins on"),
        (lambda pem, _: pem, lambda _, other: other, "the key is not the certificate's"),
        (lambda pem, _: pem, lambda pem, _: locked(pem), "without a password"),  # and without a prompt
    ],
)
def test_an_unusable_certificate_or_key_is_refused(cert, key, message, tmp_path, monkeypatch, sonjit):
    pems = []
    for name in ("one", "other"):
        monkeypatch.setenv("SONJIT_HOME", str(tmp_path / name))
        pems.append(machine_certificate([]).read_bytes())
    (tmp_path / "cert.pem").write_bytes(cert(*pems))
    (tmp_path / "key.pem").write_bytes(key(*pems))
    status, _, (line,) = sonjit("serve", "--cert", tmp_path / "cert.pem", "--key", tmp_path / "key.pem")
    assert (status, message in line) == (2, True)


@pytest.mark.nightly
@pytest.mark.slow
def test_https_with_its_own_certificate(tmp_path, monkeypatch):
    monkeypatch.setenv("SONJIT_HOME", str(tmp_path))
    with start("--tls") as process:
        address = process.stdout.readline().split()[-1]
        path = process.stdout.readline().split()[-1]
        fingerprint = process.stdout.readline().split()[-1]
        trusting = ssl.create_default_context(cafile=path)  # its names are checked
        with urllib.request.urlopen(f"{address}v1/addresses", context=trusting) as response:
            answer = json.load(response)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=WAIT_S)
    assert answer == {"https": True, "addresses": [], "fingerprint": fingerprint}


def test_the_qr_code_contains_the_address():
    address = "https://192.168.1.5:8765/#token=s%26cret"
    lines = qr_lines(address)
    halves = [[(letter in " ▄", letter in " ▀") for letter in line] for line in lines]
    dark = np.array(halves).transpose(0, 2, 1).reshape(2 * len(lines), len(lines[0]))
    image = np.kron(np.where(dark, 0, 255).astype(np.uint8), np.ones((8, 8), np.uint8))
    assert (
        cv2.QRCodeDetector().detectAndDecode(cv2.copyMakeBorder(image, *[40] * 4, cv2.BORDER_CONSTANT, value=255))[0]
        == address
    )
    assert qr_lines("x" * 3000) == []


def test_a_port_that_is_taken(taken, sonjit):
    line = f"sonjit: port {taken} of 127.0.0.1 is taken: stop what uses it, or give another --port"
    assert sonjit("serve", "--port", taken) == (1, "", [line])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--host 0.0.0.0", "--token"), ("--port 70000", "--port 70000"), ("--port -1", "--port"),
        ("--host no.such.host.invalid --token x", "--host no.such.host.invalid"),
        ("--max-clients 0", "--max-clients 0"), ("--workers -3", "--workers -3"), ("--cert cert.pem", "--key"),
        ("--tls --key key.pem", "--cert"), ("--cert no.pem --key no.pem", "no.pem"),
        ("--allow-origin *", "--allow-origin *"),
    ],
)  # fmt: skip
def test_wrong_calls_are_one_line(options, message, sonjit):
    status, _, (line,) = sonjit("serve", *options.split())
    assert (status, message in line) == (2, True)


@pytest.fixture
def engine(tmp_path, weights):
    """Return a fake module with the networks of one model."""
    folder = tmp_path / "engine"
    (folder / "models").mkdir(parents=True)
    (folder / "sonjit-web.js").write_text("export {};")
    for name in ("palm-lite", "hand-lite"):
        (folder / "models" / find_weight(name).name).symlink_to(find_weight(name))
    return folder


def test_the_folder_contains_all_files_of_its_index_and_the_installed_models(tmp_path, engine, sonjit):
    out = tmp_path / "app"
    status, output, _ = sonjit("page", out, "--engine", engine)
    assert status == 0
    assert str(out) in output
    assert "searched fast for hands: without pose_landmark_full.tflite, " in output
    files = json.loads((out / "files.json").read_text())["files"]
    assert [name for name in files if not (out / name).exists()] == []
    kinds = json.loads((out / "kinds.json").read_text())["kinds"]
    assert {name: kind["models"] for name, kind in kinds.items()} == {"hands": ["lite"]}
    assert 'data-computes="here"' in (out / "index.html").read_text()
    assert (out / "engine/models/hand_landmark_lite.tflite").stat().st_size > 1_000_000


def test_errors_of_writing_are_one_line(tmp_path, engine, sonjit):
    (tmp_path / "file").write_text("")
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "bare" / "models").mkdir(parents=True)
    (tmp_path / "bare" / "sonjit-web.js").write_text("")
    for out, place, message in (
        (engine, engine, "not empty"),
        (tmp_path / "file", engine, "file"),
        (tmp_path / "file" / "app", engine, "file"),
        (empty, empty, "make web"),
        (empty, tmp_path / "bare", "no networks"),
    ):
        status, _, (line,) = sonjit("page", out, "--engine", place)
        assert (status, message in line) == (2, True)
    assert list(empty.iterdir()) == []
