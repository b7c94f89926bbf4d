"""Record which tests run which statements, and choose the tests of a mutant by that record.

Each test file runs once with coverage, and its record is kept until the file changes. A record names a statement by its
function and its text, because numbers of lines change with each edit.
"""

import ast
import hashlib
import importlib
import json
import os
import re
import resource
import signal
import sys
import time
import types
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import coverage
import pytest

NEAREST = 10  # number of test files of a module of which the record is needed
TEST_FILES = 4  # maximum number of test files of a mutant
BUDGET_S = 40  # processor time of the tests of a mutant; further tests are left out
MEASURE_S = 900  # processor time of a test file with coverage
START_S, SLOWER = 30, 4  # processor time of the start of tests, and of tests relative to their recorded time
WAITING_S = 400  # limit of the time of a process that waits
DEFINITIONS = 3  # number of constants from one to the next that are followed to the functions that use them
OTHER_FOLDERS = ("browser", "docs", "examples", "page")
SELECTED = "not golden and not browser and not nightly"
PRELOADED = (
    *("numpy", "cv2", "av", "openvino", "hypothesis.strategies", "hypothesis.extra.numpy", "unittest.mock"),
    *("cyclopts", "fastapi", "starlette.testclient", "websockets.sync.client"),
)
"""Libraries that are imported once, before the processes of the tests fork."""
PYTEST = ("-x", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider", "-p", "no:randomly", "-m", SELECTED)
WARNING = "ignore::pytest.PytestAssertRewriteWarning"  # of the preloaded modules
PASSED = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
Key: TypeAlias = str
"""A statement: `FUNCTION|FIRST LINE`."""


class Test(NamedTuple):
    """A test and its processor time in seconds, with its fixtures. Other processes change it little."""

    name: str
    seconds: float


class Records(NamedTuple):
    """By module and statement the tests that run it, and the processor time of each test in seconds."""

    tests: dict[str, dict[Key, set[str]]]
    seconds: dict[str, float]


class _Recorder:
    """Plugin of pytest that names the running test to coverage, and takes its processor time."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self.seconds: dict[str, float] = {}
        self._measured = measured
        self._start_s = 0.0

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Record fixtures under the test that needs them first."""
        self._start_s = _processor_s()
        self._measured.switch_context(item.nodeid)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Take the time of set-up, test and end."""
        self.seconds[nodeid] = _processor_s() - self._start_s


def _processor_s() -> float:
    """Return the processor time of this process and of its children that have ended."""
    return sum(os.times()[:4])


class _Chosen:
    """Plugin of pytest that runs the chosen tests only, in their order, and notes the first failure."""

    def __init__(self, names: Iterable[str]) -> None:
        self.order = {name: number for number, name in enumerate(names)}
        self.failed = ""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave the chosen tests."""
        kept = [item for item in items if item.nodeid in self.order]
        items[:] = sorted(kept, key=lambda item: self.order[item.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a failure."""
        if report.failed:
            self.failed = self.failed or report.nodeid


def test_files(folder: Path) -> list[str]:
    """Return the test files whose tests may notice mutants."""
    files = (path.relative_to(folder) for path in (folder / "tests").rglob("test_*.py"))
    return sorted(file.as_posix() for file in files if not set(file.parts).intersection(OTHER_FOLDERS))


def record(modules: Iterable[str], folder: Path, kept: Path) -> Records:
    """Run the nearest test files of modules that have no record yet in a copy of the project. Return all records."""
    kept.mkdir(parents=True, exist_ok=True)
    found = Records({}, {})
    for file in sorted({file for module in modules for file in by_names(module, folder)[:NEAREST]}):
        digest = hashlib.sha256((folder / file).read_bytes()).hexdigest()
        path = kept / f"{file.replace('/', '.')}.json"
        known: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        if known.get("digest") != digest:
            sys.stderr.write(f"record {file}\n")
            known = {"digest": digest, **_measure(file, folder, kept)}
            path.write_text(json.dumps(known), "utf-8")
        found.seconds.update(known["seconds"])
        names = [*known["seconds"]]
        for module, statements in known["statements"].items():
            of_module = found.tests.setdefault(module, {})
            for key, numbers in statements.items():
                of_module.setdefault(key, set()).update(names[number] for number in numbers)
    return found


def _measure(file: str, folder: Path, kept: Path) -> dict[str, Any]:
    """Return the times of the tests of a file, and which of them run each statement."""
    data, times = kept / "coverage", kept / "times"

    def run() -> int:
        measured = coverage.Coverage(str(data), config_file=False, source=[str(folder / "src" / "sonjit")])
        recorder = _Recorder(measured)
        measured.start()
        code = pytest.main([*PYTEST[1:], "-W", WARNING, file], plugins=[recorder])
        measured.stop()
        measured.save()
        times.write_text(json.dumps(recorder.seconds), "utf-8")
        return int(code)

    for path in (data, times):
        path.unlink(missing_ok=True)
    _forked(run, folder, MEASURE_S)
    if not times.is_file():
        return {"seconds": {}, "statements": {}}
    seconds = json.loads(times.read_text("utf-8"))
    return {"seconds": seconds, "statements": _statements_run(data, folder, [*seconds])}


def _statements_run(data: Path, folder: Path, names: list[str]) -> dict[str, dict[Key, list[int]]]:
    """Return by module and statement the numbers of the tests that run it."""
    found = coverage.CoverageData(str(data))
    found.read()
    numbers = {name: number for number, name in enumerate(names)}
    statements: dict[str, dict[Key, list[int]]] = {}
    for path in found.measured_files():
        keys, of_module = statement_keys(Path(path).read_text("utf-8")), defaultdict[Key, set[int]](set)
        for line, contexts in found.contexts_by_lineno(path).items():
            of_module[keys.get(line, "")].update(numbers[name] for name in contexts if name in numbers)
        relative = Path(path).relative_to(folder).as_posix()
        statements[relative] = {key: sorted(tests) for key, tests in of_module.items() if key and tests}
    return statements


@cache
def statement_keys(source: str) -> dict[int, Key]:
    r"""Return the innermost statement of each line. The lines of a compound statement are those of its head.

    >>> statement_keys("def f(x):\n    if x:\n        return 1")
    {1: '|def f(x):', 2: 'f|if x:', 3: 'f|return 1'}
    """
    texts, keys = source.splitlines(), dict[int, Key]()

    def visit(node: ast.AST, scope: str) -> None:
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
                visit(child, scope)
                continue
            first, last = _head(child)
            keys.update(dict.fromkeys(range(first, last + 1), f"{scope}|{texts[first - 1].strip()}"))
            is_scope = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            visit(child, f"{scope}.{child.name}".lstrip(".") if is_scope else scope)

    visit(ast.parse(source), "")
    return keys


@cache
def lines_in_functions(source: str) -> set[int]:
    r"""Return the lines of the bodies of functions, which do not run at import.

    >>> lines_in_functions("x = 1\ndef f(y=2):\n    return x")
    {3}
    """
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = [node for node in ast.walk(ast.parse(source)) if isinstance(node, functions)]
    return {line for node in found for line in range(node.body[0].lineno, (node.end_lineno or 0) + 1)}


def _head(node: ast.stmt | ast.excepthandler | ast.match_case) -> tuple[int, int]:
    """Return the first and last line of a statement without the statements in it."""
    decorators = getattr(node, "decorator_list", [])
    first = node.pattern.lineno if isinstance(node, ast.match_case) else node.lineno
    first = min([first, *(one.lineno for one in decorators)])
    body = getattr(node, "body", None)
    last = body[0].lineno - 1 if body else getattr(node, "end_lineno", first)
    return first, max(first, last)


def tests_of(path: str, line: int, folder: Path, records: Records) -> list[Test]:
    """Return the tests of a mutant: of the tests that run the changed statement those in the nearest files.

    A constant, a default or a field runs at import, in whichever test needs the module first. Its tests are those that
    run a statement with its name. Where there is none, they are all tests of the nearest files. Short tests are first.
    """
    names = next(filter(None, _tests_by_place(path, line, folder, records)), set[str]())
    near = by_names(path, folder)
    files = sorted({name.partition("::")[0] for name in names}, key=near.index)[:TEST_FILES]
    if not names:
        files = near[:TEST_FILES]
        names = {name for name in records.seconds if name.partition("::")[0] in files}
    found = [Test(name, records.seconds[name]) for name in names if name.partition("::")[0] in files]
    found.sort(key=lambda test: (test.seconds > 1, test.seconds))
    spent, chosen = 0.0, list[Test]()
    for test in found:
        spent += test.seconds
        if spent < BUDGET_S or not chosen:
            chosen.append(test)
    by_file = {test.name.partition("::")[0]: number for number, test in reversed([*enumerate(chosen)])}
    return sorted(chosen, key=lambda test: (test.seconds > 1, by_file[test.name.partition("::")[0]], test.seconds))


def _tests_by_place(path: str, line: int, folder: Path, records: Records) -> Iterator[set[str]]:
    """Yield the tests that run a statement, a function whose head it is, or a use of the name that it defines."""
    source, of_module = (folder / path).read_text("utf-8"), records.tests.get(path, {})
    keys = statement_keys(source)
    key = keys.get(line, "")
    scope, _, text = key.partition("|")
    if line in lines_in_functions(source):
        yield of_module.get(key, set())
    header = re.match(r"(?:async )?def (\w+)", text)
    if header:
        inner = f"{scope}.{header[1]}".lstrip(".")
        yield set[str]().union(
            *(tests for key, tests in of_module.items() if key.startswith((f"{inner}|", f"{inner}.")))
        )
    defined = _defined_at(source, line)
    yield _users(defined, source, of_module)
    others = [other for other in records.tests if other != path and (folder / other).is_file()]  # not deleted since
    yield set[str]().union(
        *(_users(defined, (folder / other).read_text("utf-8"), records.tests[other]) for other in others)
    )


def _defined_at(source: str, line: int) -> set[str]:
    r"""Return the names that a statement outside functions defines, or the function or class of a head.

    >>> _defined_at("@property\nclass A:\n    pass", 1)
    {'A'}
    """
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.stmt) or not _head(node)[0] <= line <= (node.end_lineno or 0):  # with decorators
            continue
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            return {one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)}
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and _head(node)[0] <= line <= _head(node)[1]:
            return {node.name}
    return set()


def _users(names: set[str], source: str, of_module: Mapping[Key, set[str]]) -> set[str]:
    """Return the tests that run a statement with one of some names, also through constants made of them."""
    found, tree = set[str](), ast.parse(source)
    for _ in range(DEFINITIONS):
        if not names or found:
            break
        used = re.compile(rf"\b(?:{'|'.join(map(re.escape, sorted(names)))})\b")
        further, keys, inside = set[str](), statement_keys(source), lines_in_functions(source)
        for number, text in enumerate(source.splitlines(), 1):
            if number in inside and used.search(text):
                found |= of_module.get(keys.get(number, ""), set())
        constants = (node for node in ast.walk(tree) if isinstance(node, ast.Assign | ast.AnnAssign))
        for node in constants:
            if node.lineno not in inside and used.search(ast.unparse(node)):
                further |= _defined_at(source, node.lineno)
        names = further
    return found


@cache
def by_names(name: str, root: Path) -> list[str]:
    """Return the test files, first those that import a module, mention its names, or belong to its package."""
    path = root / name
    dotted = re.compile(re.escape(".".join(Path(name).with_suffix("").parts[1:]).removesuffix(".__init__")) + r"\b")
    package, stem = Path(name).parts[2], path.stem if path.stem != "__init__" else path.parent.name
    tree = ast.parse(path.read_text("utf-8"))
    defined = [one.name.lstrip("_") for one in tree.body if isinstance(one, ast.FunctionDef | ast.ClassDef)]
    methods = [
        one.name for part in tree.body if isinstance(part, ast.ClassDef)
        for one in part.body if isinstance(one, ast.FunctionDef) and not one.name.startswith("_")
    ]  # fmt: skip
    scores: list[tuple[float, str]] = []
    for name in test_files(root):
        file = Path(name)
        text = (root / file).read_text("utf-8")
        words = set(re.findall(r"\w+", text))
        score = sum(name in words for name in {*defined, *methods}) + 2 * (stem in words)
        score += 5 * (file.stem == f"test_{stem}") + 3 * (file.parts[1] == package)
        score += 3 * (dotted.search(text) is not None) + 3 * stem.startswith(file.stem.removeprefix("test_"))
        scores.append((-score, name))
    return [name for _, name in sorted(scores)]


def first_failure(tests: Collection[Test], folder: Path) -> str | None:
    """Run tests in a copy of the project until one fails, and return its name, or None if all pass."""
    result = folder / "failed"
    result.unlink(missing_ok=True)
    files = list(dict.fromkeys(test.name.partition("::")[0] for test in tests))

    def run() -> int:
        chosen = _Chosen(test.name for test in tests)
        code = pytest.main([*PYTEST, "-W", WARNING, *files], plugins=[chosen])
        result.write_text(chosen.failed, "utf-8")
        return int(code)

    code = _forked(run, folder, START_S + SLOWER * sum(test.seconds for test in tests))
    if code in PASSED:
        return None
    name = result.read_text("utf-8") if result.is_file() else ""
    return name or ("a time limit" if code in (None, -signal.SIGXCPU) else "the start of the tests")


def preload() -> None:
    """Import the libraries that most tests need, so that forked processes have them."""
    for name in PRELOADED:
        importlib.import_module(name)


def _forked(run: Callable[[], int], folder: Path, limit_s: float) -> int | None:
    """Call a function in a fork with the modules of a copy of the project. Return its status, or None if late.

    The limit is of the processor time, because other processes slow the tests down.
    """
    process = os.fork()
    if process == 0:
        code = 99
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (round(limit_s), round(limit_s) + 10))
            _enter(folder)
            code = run()
        finally:
            os._exit(code)
    end = time.monotonic() + WAITING_S
    status = None
    while status is None and time.monotonic() < end:
        done, code = os.waitpid(process, os.WNOHANG)
        status = os.waitstatus_to_exitcode(code) if done else None
        if not done:
            time.sleep(0.02)
    with suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)
    if status is None:
        os.waitpid(process, 0)
    return status


def _enter(folder: Path) -> None:
    """Prepare a forked process: folder, output, modules and environment."""
    os.setsid()
    os.chdir(folder)
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, nothing), (1, log), (2, log)):
        os.dup2(source, target)
    sources = [str(folder / name / "src") for name in (".", "lab", "studio")]
    os.environ |= {"PYTHONPATH": os.pathsep.join(sources), "SONJIT_TEST_DATA": str(folder / "none")}
    for name in [name for name in sys.modules if name.partition(".")[0].startswith("sonjit")]:
        del sys.modules[name]
    sys.path[:] = sources + [path for path in sys.path[1:] if "site-packages" in path or "lib" in path]
    sys.modules["__main__"] = types.ModuleType("__main__")
