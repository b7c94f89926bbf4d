"""Stress Sonjit with damaged files, runs that are killed or stopped at random moments, and long-running servers.

    make torture                                   # ten minutes
    .venv/bin/python tools/torture --minutes 60 --seed 7 --only images kill-hands
    .venv/bin/python tools/torture --minutes 600 --only life-frames life-images life-jobs
    .venv/bin/python tools/torture --tries 10000 --only tflite onnx

Prints the failures of each test when it ends, and a table of all tests at the end.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import time
from pathlib import Path

import damage
import kills
import life
from rows import Row


def main() -> int:
    """Run all tests, each for an equal share of the time."""
    tests = {**damage.TESTS, **kills.TESTS, **life.TESTS}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--minutes", type=float, help="approximate minutes of all tests together; default 10, or no limit with --tries"
    )
    parser.add_argument("--tries", type=int, help="maximum number of tries of each test")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", choices=list(tests), default=list(tests))
    options = parser.parse_args()
    minutes = options.minutes or (math.inf if options.tries else 10)
    rows = [Row(name, options.seed, max_tries=options.tries or math.inf) for name in options.only]
    with tempfile.TemporaryDirectory(prefix="sonjit-torture-") as work:
        os.environ["TMPDIR"] = tempfile.tempdir = work
        for row in rows:
            folder = Path(work) / row.name
            folder.mkdir()
            row.until_s = time.monotonic() + 60 * minutes / len(rows)
            tests[row.name](row, folder)
            sys.stderr.write(f"{row.name}: {row.tried} tried, {len(row.failures)} failures\n")
            sys.stderr.writelines(f"{row.name}: {failure}\n" for failure in row.failures)
    sys.stdout.write("| test | tried | failures |\n|---|---|---|\n")
    for row in rows:
        sys.stdout.write(f"| {row.name} | {row.tried} | {len(row.failures)} |\n")
    return 1 if any(row.failures for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
