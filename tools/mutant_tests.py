"""Choose the tests of a mutant: four nearby files, and of them the tests that run the changed statement.

The tests run once with coverage, which records the test that runs each line. This module is also the plugin of pytest
that names the running test.
"""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TypeAlias

import coverage
import pytest

TEST_FILES = 4  # maximum number of test files of a mutant
NAMED_FILES = 2  # number of those that are chosen by the names in them; the others by the lines that they run
OTHER_FOLDERS = ("browser", "docs", "examples")
SELECTED = "not golden and not browser and not network"
Lines: TypeAlias = dict[int, set[str]]
"""By the number of a line, the tests that run it: `FILE::TEST`, `FILE` for fixtures, or nothing for imports."""


def name_test(name: str) -> None:
    """Record what runs next under the name of a test."""
    current = coverage.Coverage.current()
    if current is not None:
        current.switch_context(name)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Record fixtures under the name of the file, because later tests use the same ones."""
    name_test(item.nodeid.partition("::")[0])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Record a test."""
    name_test(item.nodeid)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Record the end of fixtures under the name of the file."""
    name_test(item.nodeid.partition("::")[0])


def measure(files: Iterable[str], folder: Path, data: Path) -> None:
    """Run test files of a copy of the project, and write the lines that each test runs to a file of coverage."""
    command = [sys.executable, "-m", "coverage", "run", f"--rcfile={os.devnull}", f"--data-file={data}"]
    command += [f"--source={folder / 'src' / 'sonjit'}", "-m", "pytest", "-p", "mutant_tests", *PYTEST, "-m", SELECTED]
    subprocess.run([*command, *sorted(files)], cwd=folder, env=environment(folder), check=False, capture_output=True)


PYTEST = ("-q", "--no-header", "--tb=no", "-p", "no:cacheprovider", "-p", "no:randomly")


def environment(folder: Path) -> dict[str, str]:
    """Return the environment in which the tests of a copy of the project run."""
    paths = os.pathsep.join(str(folder / name / "src") for name in (".", "lab", "studio"))
    return os.environ | {
        "PYTHONPATH": f"{paths}{os.pathsep}{Path(__file__).parent}",
        "SONJIT_TEST_DATA": str(folder / "none"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def read_lines(data: Path) -> dict[str, Lines]:
    """Return the lines of each module, `src/sonjit/...`, with the tests that run them."""
    found = coverage.CoverageData(str(data))
    found.read()
    if not found.measured_files():
        raise SystemExit("the tests did not run with coverage")
    return {
        "src/sonjit/" + path.rpartition("/src/sonjit/")[2]: {
            line: set(names) for line, names in found.contexts_by_lineno(path).items()
        }
        for path in found.measured_files()
    }


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
    for file in sorted((root / "tests").rglob("test_*.py")):
        folder = file.relative_to(root).parts[1]
        if folder in OTHER_FOLDERS:
            continue
        text = file.read_text("utf-8")
        words = set(re.findall(r"\w+", text))
        score = sum(name in words for name in {*defined, *methods}) + 2 * (stem in words)
        score += 5 * (file.stem == f"test_{stem}") + 3 * (folder == package)
        score += 3 * (dotted.search(text) is not None) + 3 * stem.startswith(file.stem.removeprefix("test_"))
        scores.append((-score, file.relative_to(root).as_posix()))
    return [name for _, name in sorted(scores)]


def nearby_tests(name: str, root: Path, lines: Lines) -> list[str]:
    """Return the test files of a module: two by their names, and two that run most of the lines left out by those."""
    named = by_names(name, root)
    chosen = named[:NAMED_FILES]
    files_of = [{test.partition("::")[0] for test in tests} for tests in lines.values() if "" not in tests]
    while len(chosen) < TEST_FILES:
        left = [files for files in files_of if files.isdisjoint(chosen)]
        chosen.append(max((one for one in named if one not in chosen), key=lambda one: sum(one in f for f in left)))
    return chosen


def tests_of(line: int, source: str, nearby: list[str], lines: Lines) -> list[str]:
    """Return the tests in nearby files that run the statement of a line, or complete files; none if no test runs it."""
    tests = set[str]().union(*(lines.get(number, ()) for number in statement_lines(line, source)))
    if "" in tests:
        return nearby
    files = tests.intersection(nearby)
    return sorted(files | {test for test in tests if (file := test.partition("::")[0]) in nearby and file not in files})


def statement_lines(line: int, source: str) -> range:
    """Return the lines of the innermost statement around a line, without the statements that it contains."""
    around = [
        node for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.stmt | ast.ExceptHandler) and node.lineno <= line <= (node.end_lineno or 0)
    ]  # fmt: skip
    if not around:
        return range(line, line + 1)
    node = max(around, key=lambda node: node.lineno)
    body = getattr(node, "body", None)
    end = max(node.lineno, body[0].lineno - 1) if body else node.end_lineno or line
    return range(node.lineno, end + 1) if line <= end else range(line, line + 1)
