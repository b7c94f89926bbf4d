"""Two Ray nodes of one core each on this machine: how much faster two are than one, and what is lost with one of them.

`python benchmarks/cluster.py [--images 300] [--turns 2]` finds hands in stills of the bundled clip into one table: in a
process, then on one node and on two by turns, then on two of which one is killed. Exit status 1 unless all
tables are the same bytes. Both nodes need a free core, or two are no faster than one.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median

import cv2

import sonjit
from sonjit.media import open_source

CLIP = Path(sonjit.__file__).parent / "assets" / "demo.mp4"
ENVIRONMENT = os.environ | {
    "RAY_USAGE_STATS_ENABLED": "0", "SONJIT_THREADS": "1", "PYTHONPATH": str(Path(sonjit.__file__).parents[1]),
}  # fmt: skip
FILES_BEFORE_KILL = 0.3


def write_stills(folder, count):
    """So many frames of the bundled clip as JPEG; it begins again at its end."""
    folder.mkdir(parents=True)
    with open_source(CLIP) as source:
        frames = [rgb for _, _, rgb in source]
    for number in range(count):
        cv2.imwrite(str(folder / f"{number:05d}.jpg"), frames[number % len(frames)][..., ::-1])


@contextmanager
def node(*arguments):
    """`ray start` with one core, until the end of the block; gives its address and a function that kills it."""
    command = [
        sys.executable,
        "-c",
        "from ray.scripts.scripts import main; main()",
        "start",
        "--num-cpus",
        "1",
        "--block",
    ]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [*command, *arguments], env=ENVIRONMENT, stdout=log, stderr=log, start_new_session=True
        )

        def kill():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

        try:
            yield _address(process, log), kill
        finally:
            kill()


def _address(process, log):
    """Where the cluster is, once the node is up."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.2)
        log.seek(0)
        text = log.read()
        if "Ray runtime started" in text and "--block" in text:
            found = re.search(r"--address='([^']+)'", text)
            return found and found.group(1)
    raise SystemExit(f"ray start failed:\n{text[-2000:]}")


def head():
    """The first node."""
    return node("--head", "--port", "0", "--include-dashboard", "false")


def start_run(stills, table, workers="pool"):
    """`sonjit hands` over the stills into one table."""
    command = [sys.executable, "-m", "sonjit", "hands", str(stills), "--save", str(table), "--workers", workers]
    return subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)


def finish(process):
    """The last line of a run that must end well."""
    _, said = process.communicate()
    if process.returncode:
        raise SystemExit(f"exit status {process.returncode}: {said}")
    return said.splitlines()[-1]


def kill_on_the_way(stills, table, address, kill):
    """A run on two nodes, one of which is killed when a part of the files is done; gives its last line."""
    process = start_run(stills, table, f"ray:{address}")
    work, enough = table.with_name(f".{table.name}.work"), FILES_BEFORE_KILL * len(list(stills.iterdir()))
    while process.poll() is None and len(list(work.glob("*.jsonl"))) < enough:
        time.sleep(0.05)
    if process.poll() is not None:
        raise SystemExit(f"the run ended before a node was killed: {process.communicate()[1]}")
    kill()
    return finish(process)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--turns", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        stills = root / "stills"
        write_stills(stills, options.images)
        seconds = {"one process": [], "one node": [], "two nodes": []}

        def timed(name, workers):
            began = time.perf_counter()
            line = finish(start_run(stills, root / f"{name.replace(' ', '-')}.csv", workers))
            seconds[name].append(time.perf_counter() - began)
            print(f"{name}: {seconds[name][-1]:.1f} s; {line}", flush=True)

        with head() as (address, _):
            for _ in range(options.turns):
                timed("one process", "pool")
                timed("one node", f"ray:{address}")
                with node("--address", address):
                    timed("two nodes", f"ray:{address}")
            with node("--address", address) as (_, kill):
                print("one of two killed:", kill_on_the_way(stills, root / "killed.csv", address, kill))
        one, two = median(seconds["one node"]), median(seconds["two nodes"])
        print(f"two nodes are {one / two:.2f}x one; load of the machine {os.getloadavg()[0]:.1f}")
        tables = {path.name: path.read_bytes() for path in root.glob("*.csv")}
        differ = [name for name, data in tables.items() if data != tables["one-process.csv"]]
        print(
            f"differ from one process: {', '.join(differ)}" if differ else f"{len(tables)} tables, all the same bytes"
        )
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
