"""Offline mode: hand detection contacts no host, starts no process and writes nothing to the home folder."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from sonjit.weights.catalog import models_folder

WATCH = """
import json, os, sys

seen = {"connections": [], "processes": [], "loaded": []}
CONNECT = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"}
START = {"subprocess.Popen", "os.posix_spawn", "os.fork", "os.forkpty", "os.exec", "os.system", "os.spawn"}


def watch(event, args):  # every way out of the interpreter raises an audit event, whoever takes it
    if event in CONNECT:
        seen["connections"].append(f"{event} {args!r}")
    elif event in START:
        seen["processes"].append(f"{event} {args!r}")


sys.addaudithook(watch)
if os.name == "posix":  # multiprocessing starts its children below the events
    import _posixsubprocess

    def noted(*arguments, plain=_posixsubprocess.fork_exec):
        seen["processes"].append("fork_exec")
        return plain(*arguments)

    _posixsubprocess.fork_exec = noted
"""
FIND = """
import numpy, sonjit
with sonjit.create_detector() as detector:
    hands = detector.detect(numpy.load(sys.argv[1]))
    seen["hands"] = len(hands)
seen["loaded"] = sorted(n for n, m in sys.modules.items() if n.startswith("openvino_telemetry") and m is not None)
"""
COMMAND = """
import contextlib, io
from sonjit.cli import main
with contextlib.redirect_stderr(io.StringIO()):
    seen["status"] = main(sys.argv[1:])
"""
TRY_ALL = """
import multiprocessing, socket, subprocess
try:
    socket.create_connection(("127.0.0.1", 9), timeout=1)
except OSError:
    pass
subprocess.run([sys.executable, "-c", ""], check=True)
before = len(seen["processes"])
child = multiprocessing.get_context("spawn").Process(target=int)
child.start()
child.join()
seen["spawned"] = len(seen["processes"]) - before
"""
TELL = "\nprint(json.dumps(seen))\n"


@pytest.fixture
def watched(tmp_path):
    """Run code in a new interpreter and home; return the accessed resources, and the files in its home."""
    home = tmp_path / "home"
    home.mkdir()

    def run(code, *arguments, sonjit_home=None):
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT")}
        environment = kept | {"HOME": str(home), "USERPROFILE": str(home)}
        if sonjit_home is not None:
            environment["SONJIT_HOME"] = str(sonjit_home)
        command = [sys.executable, "-W", "error", "-c", WATCH + code + TELL, *map(str, arguments)]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return json.loads(done.stdout), sorted(str(path.relative_to(home)) for path in home.rglob("*"))

    return run


@pytest.fixture
def own_home(tmp_path, weights, need):
    """Return a SONJIT_HOME that contains only the networks."""
    need("person-detector", "body-full", "face-full")
    models = tmp_path / "sonjit" / "models"
    models.mkdir(parents=True)
    for path in models_folder().glob("*.*"):
        (models / path.name).symlink_to(path)
    return models.parent


def test_the_watch_sees_what_it_is_for(watched):
    seen, _ = watched(TRY_ALL)
    assert seen["connections"]
    assert seen["processes"]
    assert seen["spawned"]


@pytest.mark.slow
def test_finding_hands_reaches_for_nothing(watched, own_home, photo, tmp_path):
    np.save(tmp_path / "photo.npy", photo)
    seen, left_behind = watched(FIND, tmp_path / "photo.npy", sonjit_home=own_home)
    assert seen == {"connections": [], "processes": [], "loaded": [], "hands": seen["hands"]}
    assert seen["hands"] > 0
    assert left_behind == []


@pytest.mark.slow
def test_the_command_line_reaches_for_nothing(watched, own_home, demo_clip, tmp_path):
    arguments = ["hands", demo_clip[0], "--limit", "5", "--save", tmp_path / "o.json", "--draw", tmp_path / "o.mp4"]
    seen, left_behind = watched(COMMAND, *arguments, sonjit_home=own_home)
    assert seen == {"connections": [], "processes": [], "loaded": [], "status": 0}
    assert left_behind == []
    assert (tmp_path / "o.json").is_file()
