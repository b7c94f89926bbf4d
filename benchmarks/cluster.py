"""Measure the speed of two Ray nodes of one core each against one node, and the loss when a node is killed.

`python benchmarks/cluster.py [--images 300] [--turns 2]` finds hands in stills of the bundled clip into one table: in a
process, on one node and on two nodes alternately, and on two nodes of which one is killed. The exit status is 1 if the
tables differ. Each node needs a free core.
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
from contextlib import suppress
from pathlib import Path
from statistics import median

import cv2
import psutil

import sonjit
from sonjit.media import open_source

CLIP = Path(sonjit.__file__).parent / "_util" / "assets" / "demo.mp4"
ENVIRONMENT = os.environ | {
    "RAY_USAGE_STATS_ENABLED": "0", "SONJIT_THREADS": "1", "PYTHONPATH": str(Path(sonjit.__file__).parents[1]),
}  # fmt: skip
FILES_BEFORE_KILL = 0.3
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
    """Run `ray start` with one core until the end of the block.

    Attributes:
        address: Address of the cluster, or None if the node joined another cluster.
    """

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

    def processor_s(self):
        """Return the processor time of the node's running processes in seconds."""
        total = 0.0
        for process in [psutil.Process(self._process.pid), *psutil.Process(self._process.pid).children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                total += sum(process.cpu_times()[:2])
        return total

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


def start_run(stills, table, workers="pool"):
    """Run `sonjit hands` on the stills, with one table as output."""
    command = [sys.executable, "-m", "sonjit", "hands", str(stills), "--save", str(table), "--workers", workers]
    return subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)


def finish(process):
    """Wait for a run that must succeed, and return the last line of its output."""
    _, output = process.communicate()
    if process.returncode:
        raise SystemExit(f"exit status {process.returncode}: {output}")
    return output.splitlines()[-1]


def kill_during_run(stills, table, address, node):
    """Run on two nodes, kill one when some files are finished, and return the last line of output."""
    process = start_run(stills, table, f"ray:{address}")
    work, enough = table.with_name(f".{table.name}.work"), FILES_BEFORE_KILL * len(list(stills.iterdir()))
    while process.poll() is None and len(list(work.glob("*.jsonl"))) < enough:
        time.sleep(0.05)
    if process.poll() is not None:
        raise SystemExit(f"the run ended before a node was killed: {process.communicate()[1]}")
    node.kill()
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
        processor = {"one node": [], "two nodes": []}

        def timed(name, workers, *nodes):
            before, began = [node.processor_s() for node in nodes], time.perf_counter()
            process = start_run(stills, root / f"{name.replace(' ', '-')}.csv", workers)
            spent = [0.0] * len(nodes)
            while process.poll() is None:  # workers end with the run, and their unfinished files are repeated
                now = [node.processor_s() - start for node, start in zip(nodes, before, strict=True)]
                spent = list(map(max, spent, now))
                time.sleep(0.05)
            line = finish(process)
            seconds[name].append(time.perf_counter() - began)
            if nodes:
                processor[name].append(sum(spent))
            shown = ", ".join(f"{seconds_of_node:.1f}" for seconds_of_node in spent)
            print(f"{name}: {seconds[name][-1]:.1f} s, processor s of the nodes: {shown or '-'}; {line}", flush=True)

        with head() as first:
            workers = f"ray:{first.address}"
            for _ in range(options.turns):
                timed("one process", "pool")
                timed("one node", workers, first)
                with Node("--address", first.address) as second:
                    timed("two nodes", workers, first, second)
            with Node("--address", first.address) as second:
                print("one of two nodes killed:", kill_during_run(stills, root / "killed.csv", first.address, second))
        single, two = median(seconds["one node"]), median(seconds["two nodes"])
        print(f"two nodes are {single / two:.2f}x as fast as one; load of the machine {os.getloadavg()[0]:.1f}")
        single, two = median(processor["one node"]), median(processor["two nodes"])
        print(f"{2 * single / two:.2f}x by processor time, as on machines with a free core for each node")
        tables = {path.name: path.read_bytes() for path in root.glob("*.csv")}
        differ = [name for name, data in tables.items() if data != tables["one-process.csv"]]
        print(f"differ from one process: {', '.join(differ)}" if differ else f"{len(tables)} identical tables")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
