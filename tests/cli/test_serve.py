"""`sonjit serve`: one line with the address, a quiet end, and one line for what cannot be."""

import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from sonjit.cli import main


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
