"""Which tests run in `make test`, and in which order: the marker `nightly_after` and the stored durations.

`.test_durations` has the processor seconds of each file in `make test` and in `make test-all`, without those below
half a second. `--store-durations` writes it. Processor time includes child processes, such as servers and browsers,
and other programs on the machine change it little.
"""

import json
import os
from collections import Counter
from contextlib import suppress
from pathlib import Path
from time import monotonic

import pytest

STORED = Path(__file__).parents[2] / ".test_durations"
LEAST_S = 0.5
LONGEST = 15  # number of tests in the summary


def pytest_addoption(parser):
    parser.addoption("--store-durations", action="store_true", help=f"write {STORED.name}; needs -m with one level")


def pytest_configure(config):
    if config.getoption("--store-durations") and level_of(config) is None:
        raise pytest.UsageError('--store-durations needs the tests of one level: -m "not nightly" or -m nightly')
    config.pluginmanager.register(Durations(config), "sonjit_durations")


def level_of(config):
    """Return 0 for `make test`, 1 for `make test-all`, None for both."""
    chosen = config.getoption("-m")
    return None if "nightly" not in chosen else int("not nightly" not in chosen)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Mark the further cases of tests as nightly, and put long files first, so that all workers end at once."""
    seen = Counter()
    for item in items:
        mark = item.get_closest_marker("nightly_after")
        if mark and not item.get_closest_marker("nightly"):
            case = item.callspec.params if hasattr(item, "callspec") else {}
            key = (item.path, item.originalname, repr(case.get(mark.kwargs.get("per"))))
            seen[key] += 1
            if seen[key] > mark.args[0]:
                item.add_marker("nightly")
    level, stored = level_of(config), json.loads(STORED.read_text("utf-8")) if STORED.is_file() else {}
    costs = {name: sum(costs) if level is None else costs[level] for name, costs in stored.items()}
    items.sort(key=lambda item: (-costs.get(file_of(item.nodeid), 0), item.path))


def file_of(nodeid):
    return nodeid.partition("::")[0]


class Durations:
    """Processor and wall time of each test with its fixtures, of all workers."""

    def __init__(self, config):
        self._config = config
        self._tests = {}  # (processor seconds, seconds) by test
        self._last = self._total = 0.0

    def pytest_collection_finish(self):
        self._last = self._total = processor_seconds()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        begin = monotonic()
        result = yield
        now = processor_seconds()
        used = max(now - self._last, 0)  # some children take their time with them when they end
        self._tests[item.nodeid] = (used, monotonic() - begin)
        self._total += used
        self._last = now
        return result

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self):
        if hasattr(self._config, "workeroutput"):
            self._config.workeroutput["durations"] = (self._tests, self._total)
        elif self._config.getoption("--store-durations"):
            store(self._tests, level_of(self._config))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node):
        tests, total = getattr(node, "workeroutput", {}).get("durations", ({}, 0))
        self._tests |= tests
        self._total += total

    def pytest_terminal_summary(self, terminalreporter):
        terminalreporter.section(f"{self._total / 60:.1f} minutes of processor time; seconds of it, and in all, of")
        for name, (used, lasted) in sorted(self._tests.items(), key=lambda test: -test[1][0])[:LONGEST]:
            if used > LEAST_S:
                terminalreporter.line(f"{used:6.1f} {lasted:6.1f} {name}")


def store(tests, level):
    """Write the durations of the files that ran in a level."""
    stored = json.loads(STORED.read_text("utf-8")) if STORED.is_file() else {}
    ran = Counter()
    for name, (used, _) in tests.items():
        ran[file_of(name)] += used
    for name, used in ran.items():
        stored.setdefault(name, [0, 0])[level] = round(used, 1)
    kept = {name: costs for name, costs in sorted(stored.items()) if max(costs) >= LEAST_S and Path(name).is_file()}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(costs)}" for name, costs in kept.items())
    STORED.write_text(f"{{\n{lines}\n}}\n", "utf-8")


def processor_seconds(process="self"):
    """Return the processor time of a process and its descendants, with those that have ended."""
    total = 0.0
    with suppress(OSError):  # it has ended
        folder = Path("/proc", process)
        fields = (folder / "stat").read_text("utf-8").rpartition(")")[2].split()
        total = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
        for thread in (folder / "task").iterdir():
            total += sum(map(processor_seconds, (thread / "children").read_text("utf-8").split()))
    return total or sum(os.times()[:4])  # systems without /proc
