"""Run tests many times in random order, on an idle and on a busy machine, and print each test that failed.

    make repeat RUNS=10
    .venv/bin/python tools/repeat_tests.py --runs 4 tests/geometry tests/server -- -m "not slow"

Every run has a seed for the order of the tests and for Hypothesis. Every second run shares the processor with busy
processes. `--seeds 7 --load 0` repeats one run.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).parents[1]
SEED, RECORD = "SONJIT_REPEAT_SEED", "SONJIT_REPEAT_RECORD"
TEST_STATUSES = (0, 1)  # status of pytest: all tests passed, some failed


def main() -> int:
    """Run the tests and print the failures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="*", help="seeds of the runs; default: 1, 2, ...")
    parser.add_argument(
        "--load", type=int, default=2 * (os.cpu_count() or 1), help="busy processes of every second run"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes of pytest")
    parser.add_argument("paths", nargs="*", default=["tests"])
    own, pytest_arguments = split_arguments(sys.argv[1:])
    options = parser.parse_args(own)
    if options.workers > 1:
        pytest_arguments += ["-n", str(options.workers), "--dist", "loadfile"]
    failures: dict[str, list[str]] = {}
    seeds = options.seeds or range(1, options.runs + 1)
    for number, seed in enumerate(seeds):
        load = options.load if number % 2 or options.seeds else 0
        failed = run(seed, load, [*options.paths, *pytest_arguments])
        sys.stdout.write(f"seed {seed}, {load} busy processes: {len(failed)} failed\n")
        sys.stdout.flush()
        for name in failed:
            failures.setdefault(name, []).append(f"{seed}{' busy' if load else ''}")
    sys.stdout.write(table(failures, len(seeds)))
    return 1 if failures else 0


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the arguments before and after `--`.

    >>> split_arguments(["--runs", "2", "--", "-x"])
    (['--runs', '2'], ['-x'])
    """
    given = list(arguments)
    position = given.index("--") if "--" in given else len(given)
    return given[:position], given[position + 1 :]


def run(seed: int, load: int, arguments: Sequence[str]) -> list[str]:
    """Run pytest once and return the names of the tests that failed.

    Args:
        seed: Seed of the order and of Hypothesis.
        load: Number of busy processes.
        arguments: Arguments of pytest.
    """
    with tempfile.TemporaryDirectory(prefix="sonjit-repeat-") as folder, busy(load):
        record = Path(folder) / "failed.jsonl"
        record.touch()
        outer = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            [
                sys.executable, "-m", "pytest", "-q", "--no-header", "--tb=short",
                "-p", Path(__file__).stem, f"--hypothesis-seed={seed}", *arguments,
            ],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            env=outer | {SEED: str(seed), RECORD: str(record), "PYTHONPATH": path},
        )  # fmt: skip
        failed = list(dict.fromkeys(json.loads(line) for line in record.read_text("utf-8").splitlines()))
    if failed or done.returncode not in TEST_STATUSES:
        sys.stdout.write(done.stdout)
    if done.returncode not in TEST_STATUSES or (done.returncode == 1 and not failed):
        failed.append(f"pytest ended with status {done.returncode}")
    return failed


@contextmanager
def busy(count: int) -> Generator[None]:
    """Keep processes busy during the block."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: sum(range(10**6))"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def table(failures: dict[str, list[str]], runs: int) -> str:
    """Return the failures as a Markdown table.

    >>> print(table({"test_a": ["2 busy"]}, 4))
    | test | failed | seeds |
    |---|---|---|
    | test_a | 1 of 4 | 2 busy |
    <BLANKLINE>
    """
    if not failures:
        return f"no test failed in {runs} runs\n"
    lines = [f"| {name} | {len(seeds)} of {runs} | {', '.join(seeds)} |" for name, seeds in sorted(failures.items())]
    return "\n".join(["| test | failed | seeds |", "|---|---|---|", *lines]) + "\n"


# The functions below are a plugin that pytest loads in each run.


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Let Hypothesis use the seed of the run. The project's profile always uses the same seed."""
    hypothesis.settings.register_profile("repeat", hypothesis.settings(), derandomize=False)
    hypothesis.settings.load_profile("repeat")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Shuffle the files, and the tests of each file."""
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    generator = random.Random(int(os.environ[SEED]))
    shuffled = list(files.values())
    generator.shuffle(shuffled)
    for tests in shuffled:
        generator.shuffle(tests)
    items[:] = [item for tests in shuffled for item in tests]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Record a failed test, including tests whose fixture failed."""
    if report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        add_failure(report.nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Record a file that cannot be collected."""
    if report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        add_failure(report.nodeid)


def add_failure(name: str) -> None:
    """Append the name of a test to the record of the run."""
    with Path(os.environ[RECORD]).open("a", encoding="utf-8") as file:
        file.write(json.dumps(name) + "\n")


if __name__ == "__main__":
    sys.exit(main())
