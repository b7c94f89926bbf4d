"""Attack Sonjit on purpose: damaged files, and runs that are killed or stopped at random moments.

    make torture                                   # ten minutes
    .venv/bin/python tools/torture --minutes 60 --seed 7 --only images kill-hands

Prints a line for each failure as soon as a test is over, and at the end a table: test | tried | failures.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import damage
import kills
from rows import Row


def main() -> int:
    """Try everything for a share of the time each."""
    tests = {**damage.TESTS, **kills.TESTS}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="of all tests together, roughly")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", choices=list(tests), default=list(tests))
    given = parser.parse_args()
    rows = [Row(name, given.seed) for name in given.only]
    with tempfile.TemporaryDirectory(prefix="sonjit-torture-") as work:
        os.environ["TMPDIR"] = tempfile.tempdir = work
        for row in rows:
            folder = Path(work) / row.name
            folder.mkdir()
            row.until_s = time.monotonic() + 60 * given.minutes / len(rows)
            tests[row.name](row, folder)
            sys.stderr.write(f"{row.name}: {row.tried} tried, {len(row.failures)} failures\n")
            sys.stderr.writelines(f"{row.name}: {failure}\n" for failure in row.failures)
    sys.stdout.write("| test | tried | failures |\n|---|---|---|\n")
    for row in rows:
        sys.stdout.write(f"| {row.name} | {row.tried} | {len(row.failures)} |\n")
    return 1 if any(row.failures for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
