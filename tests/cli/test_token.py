"""The log of a service does not show the token of a server."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

WAIT_S = 120


@pytest.mark.nightly_after(1)
@pytest.mark.slow
@pytest.mark.parametrize("option", ["--token", "--token-file", "SONJIT_TOKEN"])
def test_a_token_that_other_accounts_do_not_see_is_in_no_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    file = tmp_path / "token"
    file.write_text("open-sesame\n")
    words = {"--token": ["--token", "open-sesame"], "--token-file": ["--token-file", str(file)]}.get(option, [])
    if not words:
        monkeypatch.setenv("SONJIT_TOKEN", "open-sesame")
    command = [sys.executable, "-m", "sonjit", "serve", "--port", "0", "--temporary", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            rest = "" if option == "--token" else process.stdout.readline()
            assert process.stdout.readline() == "results end with this server\n"
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=WAIT_S)
        finally:
            process.kill()
    assert line.startswith("serving at http://127.0.0.1:")
    assert ("open-sesame" in line + rest) == (option == "--token")
    assert ("the page asks for the token" in rest) == (option != "--token")
