"""A table format and a type of event are one module and one line: without both, everything else works."""

import json
import os
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

PACKAGE = Path(str(files("sonjit")))
ASSETS = PACKAGE / "_util" / "assets"


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """Return a function that runs Python with a copy of the package."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(PACKAGE, folder / "sonjit", ignore=shutil.ignore_patterns("__pycache__"))

    def run(*arguments):
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        return subprocess.run(
            [sys.executable, *map(str, arguments)], capture_output=True, text=True, env=environment, check=False
        )

    run.package = folder / "sonjit"
    return run


def take_away(package, module, registry, line):
    """Remove a module, and the one line that names it."""
    (package / module).unlink()
    text = (package / registry).read_text("utf-8")
    lines = [one for one in text.splitlines(keepends=True) if line not in one]
    assert len(lines) == text.count("\n") - 1
    (package / registry).write_text("".join(lines), "utf-8")


def test_a_format_and_an_event_are_taken_away(weights, copy, tmp_path):
    take_away(copy.package, "media/tables/rerun_files.py", "media/tables/__init__.py", ".rerun_files:")
    take_away(copy.package, "runs/events/motion.py", "runs/events/__init__.py", "events.motion:")
    helped = copy("-m", "sonjit", "hands", "--help")
    assert (helped.returncode, ".rrd" in helped.stdout, ".vrma" in helped.stdout) == (0, False, True)
    saved = [word for ending in ("csv", "jsonl", "bvh") for word in ("--save", tmp_path / f"t.{ending}")]
    videos = ("holistic", ASSETS / "squats.mp4", "--limit", 3, "--search", "fast", "--gestures", "canned")
    done = copy("-m", "sonjit", *videos, *saved)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} >= {"t.csv", "t.events.csv", "t.jsonl", "t.bvh"}
    refused = copy("-m", "sonjit", *videos, "--save", tmp_path / "t.rrd")
    assert (refused.returncode, "Unknown ending '.rrd'" in refused.stderr) == (2, True)
    asked = "import json; from sonjit.server.job import downloads_answer; print(json.dumps(downloads_answer()))"
    names = [item["name"] for item in json.loads(copy("-c", asked).stdout)]
    assert ("rrd" in names, "glb" in names, "xlsx" in names) == (False, True, True)
    events = "from sonjit.runs.events import EVENTS; print(*EVENTS)"
    assert copy("-c", events).stdout.split() == ["gesture", "measure", "repetition"]
