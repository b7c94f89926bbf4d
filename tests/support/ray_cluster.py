"""Start the nodes of a Ray cluster on this machine, and run `sonjit hands` on it."""

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import cv2
import psutil

import sonjit
from sonjit.media import open_source
from sonjit.runs.inputs import LOG

from .waiting import wait_until

CLIP = Path(sonjit.__file__).parent / "_util" / "assets" / "demo.mp4"
ENVIRONMENT = os.environ | {
    "RAY_USAGE_STATS_ENABLED": "0", "SONJIT_THREADS": "1", "PYTHONPATH": str(Path(sonjit.__file__).parents[1]),
    "RAY_health_check_period_ms": "500",  # a killed node is noticed early
}  # fmt: skip
STARTS = 3  # Ray's limit of 30 s is too short for a busy machine
READY = "--block"  # part of the last output of a node that runs


def write_stills(folder, count):
    """Write frames of the bundled clip, repeated as necessary, as JPEG files."""
    folder.mkdir(parents=True)
    with open_source(CLIP) as source:
        frames = [rgb for _, _, rgb in source]
    for number in range(count):
        cv2.imwrite(str(folder / f"{number:05d}.jpg"), frames[number % len(frames)][..., ::-1])


class Node:
    """Run `ray start` with one core until the end of the block; `address` is None if it joined another cluster."""

    def __init__(self, *arguments):
        start = ["-c", "from ray.scripts.scripts import main; main()", "start", "--num-cpus", "1", "--block"]
        for _ in range(STARTS):
            self._process = subprocess.Popen(
                [sys.executable, *start, *arguments],
                env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
            output = self._output()
            if READY in output:
                found = re.search(r"--address='([^']+)'", output)
                self.address = found and found.group(1)
                return
            self.kill()
        raise SystemExit(f"ray start failed {STARTS} times:\n{output[-2000:]}")

    def _output(self):
        """Return the output of the node until it runs or has failed."""
        output = ""
        for line in self._process.stdout:
            output += line
            if READY in line:
                break
        return output

    def each_caller(self, act):
        """Suspend or kill, as `psutil.Process.suspend` does, the processes that run calls."""
        for process in psutil.Process(self._process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if process.name().startswith("ray::_"):  # not the agents, which the node waits for
                    act(process)

    def kill(self):
        """Kill all processes of the node at once."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.kill()


def head():
    """Return the first node of a cluster."""
    return Node("--head", "--port", "0", "--include-dashboard", "false")


def start_run(stills, table, workers="pool", program=("-m", "sonjit")):
    """Run `sonjit hands` on the stills, with one table as output."""
    command = [sys.executable, *program, "hands", str(stills), "--save", str(table), "--workers", workers]
    return subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)


def finish(process):
    """Wait for a run that must succeed, and return the last line of its output."""
    _, output = process.communicate()
    if process.returncode:
        raise SystemExit(f"exit status {process.returncode}: {output}")
    return output.splitlines()[-1]


def wait_for_files(process, table, count):
    """Wait until a run has recorded some of its files as finished."""
    log = table.with_name(f".{table.name}.work") / LOG
    wait_until(lambda: process.poll() is not None or (log.exists() and log.read_text().count("\n") >= count))
    if process.poll() is not None:
        raise SystemExit(f"the run ended early: {process.communicate()[1]}")
