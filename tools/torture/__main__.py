"""Stress Sonjit: damaged files, runs that are killed, stopped or refused, long streams, and clients that vanish.

    make torture                                   # 28 minutes on two cores
    .venv/bin/python tools/torture --minutes 60 --seed 7 --only images kill-hands
    .venv/bin/python tools/torture --tries 10000 --only tflite onnx
    make torture SAVE=night.json                   # saves machine, command and results

Prints the failures of each test when it ends, and a table of all tests at the end.
"""

import argparse
import json
import math
import os
import shlex
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import damage
import kills
import life
import troubles
from rows import Row

from sonjit.engines.devices import Machine, describe_machine

LONGEST, STREAM_MINUTES = "life-stream", 8  # a test that ends after a number of frames, and about its time
GROUPS = {
    "damaged files": damage.TESTS,
    "killed and stopped commands": kills.TESTS,
    "full disks, permissions, clocks, pipes": troubles.TESTS,
    "long streams and vanishing clients": life.TESTS,
}
TESTS = {name: test for tests in GROUPS.values() for name, test in tests.items()}


def main() -> int:
    """Run all tests, each for an equal share of the time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, help="minutes of all tests; default 28, or no limit with --tries")
    parser.add_argument("--tries", type=int, help="maximum number of tries of each test")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2, help="number of tests at a time")
    parser.add_argument("--only", nargs="*", choices=list(TESTS), default=list(TESTS))
    parser.add_argument("--save", type=Path, help="file of machine, command and results, .json")
    options = parser.parse_args()
    machine = describe_machine()
    minutes = options.minutes or (math.inf if options.tries else 28)
    rows = [Row(name, options.seed, max_tries=options.tries or math.inf) for name in options.only]
    rows.sort(key=lambda row: row.name != LONGEST)
    share_s = 60 * (minutes - STREAM_MINUTES / options.workers) * min(options.workers, len(rows)) / len(rows)
    os.environ.setdefault("SONJIT_THREADS", "1")
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # commands would inherit that nohup ignores it
    with tempfile.TemporaryDirectory(prefix="sonjit-torture-") as work, ThreadPoolExecutor(options.workers) as pool:
        os.environ["TMPDIR"] = tempfile.tempdir = work

        def run(row: Row) -> None:
            folder = Path(work) / row.name
            folder.mkdir()
            begun_s = time.monotonic()
            row.until_s = begun_s + share_s
            try:
                TESTS[row.name](row, folder)
            except Exception as error:  # a failure of one test must not hide the others
                row.fail(repr(error)[:500])
            seconds = time.monotonic() - begun_s
            lines = [f"{row.tried} tried in {seconds:.0f} s, {len(row.failures)} failures", *row.notes, *row.failures]
            sys.stderr.writelines(f"{row.name}: {line}\n" for line in lines)

        list(pool.map(run, rows))
    sys.stdout.write("| test | tried | failures |\n|---|---:|---:|\n")
    for row in rows:
        sys.stdout.write(f"| {row.name} | {row.tried} | {len(row.failures)} |\n")
    if options.save:
        save(options.save, machine, rows)
    return 1 if any(row.failures for row in rows) else 0


def save(path: Path, machine: Machine, rows: list[Row]) -> None:
    """Write machine, command, and the number of tries and failures of each test."""
    group_of = {name: group for group, tests in GROUPS.items() for name in tests}
    tests = [
        {"group": group_of[row.name], "name": row.name, "tried": row.tried, "failures": len(row.failures)}
        for row in sorted(rows, key=lambda row: list(TESTS).index(row.name))
    ]
    command = shlex.join(["python", "tools/torture", *sys.argv[1:]])
    text = json.dumps({"machine": machine, "command": command, "tests": tests}, indent=2)
    path.write_text(f"{text}\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
