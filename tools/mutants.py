"""Break one place of the tracker at a time, and report whether the nearby tests notice.

    make mutants                                    # 400 places with a fixed seed, about three hours of one core
    .venv/bin/python tools/mutants.py --count 60 --seed 3 --packages runs media
    .venv/bin/python tools/mutants.py --again       # only the survivors of the last run

Cosmic Ray's operators make the mutants. A sample has each place at most once, with one of its mutants at random. The
tests of a mutant are in four files: the two that mention most names of its module, and the two that run most of the
lines which those leave out. Of these files, the tests that run the changed statement are repeated, short ones first. To
know them, the tests run once with coverage. Tests with reference data, browsers or networks do not run, because public
CI has no reference data. The results are in `mutants.jsonl`, and an interrupted run continues with them. Places in
annotations, assertions and errors are left out.
"""

import argparse
import ast
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast_from_path
from cosmic_ray.mutating import mutate_code
from mutant_tests import (
    PYTEST,
    SELECTED,
    TEST_FILES,
    Lines,
    by_names,
    environment,
    measure,
    nearby_tests,
    read_lines,
    tests_of,
)

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "sonjit"
PACKAGES = ("detectors", "gestures", "geometry", "media", "results", "runs", "server")
RESULTS = ROOT / "mutants.jsonl"
TIMEOUT_S = 600  # of the tests of a mutant on a busy machine. A mutant that takes longer counts as noticed.
ASSERTING = ("strict", "frozen", "slots", "eq", "stacklevel")  # arguments that only detect errors of programmers
STAGES = ("not slow", "slow")
COPIED = (
    "src",
    "lab",
    "studio",
    "tests",
    "docs",
    "tools",
    "examples",
    "benchmarks",
    "web",
    "Makefile",
    "*.py",
    "*.md",
    "*.toml",
    "*.yml",
)


class Mutant(NamedTuple):
    """One change of a file: operator of Cosmic Ray, number of its occurrence in the file, and line."""

    path: str
    operator: str
    occurrence: int
    line: int


class Place(NamedTuple):
    """A position of a file where an operator applies."""

    start: tuple[int, int]
    family: str


def main() -> int:
    """Test a sample of mutants. Return 1 if fewer than the required share is noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--packages", nargs="*", default=PACKAGES, choices=PACKAGES)
    parser.add_argument("--again", action="store_true", help="test the survivors in mutants.jsonl again")
    parser.add_argument("--required", type=float, default=90.0, help="per cent of the mutants that tests must notice")
    options = parser.parse_args()
    known = {Mutant(*line["mutant"]): line for line in read_results()}
    if options.again:
        chosen = [mutant for mutant, line in known.items() if line["noticed_by"] is None]
        known = {}
    else:
        chosen = sample(options.packages, options.count, options.seed)
    with tempfile.TemporaryDirectory(prefix="sonjit-mutants-") as folder:
        copy_project(Path(folder))
        lines = lines_of_tests(Path(folder))
        for number, mutant in enumerate(chosen):
            if mutant not in known:
                known[mutant] = test(mutant, Path(folder), lines.get(mutant.path, {}))
                with RESULTS.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(known[mutant]) + "\n")
            line = known[mutant]
            sys.stderr.write(f"{number + 1}/{len(chosen)} {line['noticed_by'] or 'SURVIVES'}: {line['change']}\n")
    text, share = table([known[mutant] for mutant in chosen])
    sys.stdout.write(text)
    return int(share < options.required)


def read_results() -> list[dict[str, Any]]:
    """Return the results so far; a mutant that was tested again has its newest one."""
    if not RESULTS.is_file():
        return []
    return [json.loads(line) for line in RESULTS.read_text("utf-8").splitlines()]


def sample(packages: list[str], count: int, seed: int) -> list[Mutant]:
    """Return mutants of different places in random order."""
    generator = random.Random(seed)
    places = [
        (path, place, mutants)
        for package in sorted(packages)
        for path in sorted((SOURCE / package).rglob("*.py"))
        for place, mutants in sorted(mutants_of(path).items())
    ]
    generator.shuffle(places)
    chosen: list[Mutant] = []
    for *_, mutants in places:
        generator.shuffle(mutants)
        chosen += next(([mutant] for mutant in mutants if is_valid(mutant)), [])
        if len(chosen) == count:
            break
    return chosen


def is_valid(mutant: Mutant) -> bool:
    """Check whether Cosmic Ray can make the change, and the changed file is Python."""
    try:
        after = mutate_code(
            (ROOT / mutant.path).read_text("utf-8"), plugins.get_operator(mutant.operator)(), mutant.occurrence
        )
        compile(after or "(", mutant.path, "exec")
    except (SyntaxError, AttributeError):  # the latter at exceptions such as `except module.Error`
        return False
    return True


def mutants_of(path: Path) -> dict[Place, list[Mutant]]:
    """Return the mutants of a file by place."""
    found: defaultdict[Place, list[Mutant]] = defaultdict(list)
    nodes, skipped = list(ast_nodes(get_ast_from_path(path))), set(skipped_places(path))
    relative = path.relative_to(ROOT).as_posix()
    for name in sorted(plugins.operator_names()):
        operator = plugins.get_operator(name)
        if operator.arguments() or re.search("_(Is|IsNot)$", name):  # strings and small numbers are the same objects
            continue
        positions = [at for node in nodes for at, _ in operator().mutation_positions(node)]
        for occurrence, at in enumerate(positions):
            if at not in skipped:
                place = Place(at, name.partition("_")[0])
                found[place].append(Mutant(relative, name, occurrence, at[0]))
    return found


def skipped_places(path: Path) -> Iterator[tuple[int, int]]:
    """Yield the positions in annotations, assertions and the like, and in blocks for type checkers."""
    text = path.read_text("utf-8")
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        part = skipped_part(node)
        if part is None:
            continue
        for row in range(part.lineno, part.end_lineno + 1):
            first = part.col_offset if row == part.lineno else 0
            last = part.end_col_offset if row == part.end_lineno else len(lines[row - 1])
            yield from ((row, column) for column in range(first, last + 1))


def skipped_part(node: ast.AST) -> Any:  # noqa: ANN401  # a node with a position
    """Return the part of a node that changes no behaviour of a program without errors, or None."""
    match node:
        case ast.AnnAssign(annotation=part) | ast.arg(annotation=part):
            return part
        case ast.FunctionDef(returns=part) | ast.AsyncFunctionDef(returns=part):
            return part
        case ast.keyword(arg=name) if name in ASSERTING:
            return node
        case ast.Raise() | ast.Assert():
            return node
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return node
        case _:
            return None


def lines_of_tests(folder: Path) -> dict[str, Lines]:
    """Return which tests run the lines of each module, measured in a copy of the project."""
    modules = [path.relative_to(ROOT).as_posix() for name in PACKAGES for path in (SOURCE / name).rglob("*.py")]
    sys.stderr.write("measure which tests run which lines\n")
    measure({file for name in modules for file in by_names(name, folder)[:TEST_FILES]}, folder, folder / "lines")
    return read_lines(folder / "lines")


def test(mutant: Mutant, folder: Path, lines: Lines) -> dict[str, object]:
    """Change a file of the copy, run the nearby tests, and restore it."""
    target = folder / mutant.path
    before = target.read_text("utf-8")
    after = mutate_code(before, plugins.get_operator(mutant.operator)(), mutant.occurrence)
    if after is None:
        raise SystemExit(f"{mutant}: the file has changed; remove {RESULTS.name}")
    nearby = nearby_tests(mutant.path, folder, lines)
    tests = tests_of(mutant.line, before, nearby, lines)
    target.write_text(after, "utf-8")
    try:
        noticed_by = next(filter(None, (run_tests(tests, stage, folder) for stage in STAGES)), None) if tests else None
    finally:
        target.write_text(before, "utf-8")
    if noticed_by is not None and not passes(noticed_by, folder):
        raise SystemExit(f"{noticed_by} fails without a change; repair it first")
    change = f"{mutant.path}:{mutant.line} {changed_lines(before, after)}"
    return {"mutant": mutant, "change": change, "tests": nearby, "noticed_by": noticed_by}


def run_tests(tests: Sequence[str], stage: str, folder: Path) -> str | None:
    """Run the tests of a stage until one fails, and return its name, or None."""
    command = [sys.executable, "-m", "pytest", "-x", *PYTEST, "-m", f"{stage} and {SELECTED}", *tests]
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return "a time limit"
    if done.returncode in (0, 5):  # all passed, none was selected
        return None
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    return failed[1] if failed else "the start of the tests"


@cache
def passes(name: str, folder: Path) -> bool:
    """Check whether a test passes without a change, so that its failure means something."""
    return "/" not in name or all(run_tests([name], stage, folder) is None for stage in STAGES)


def copy_project(folder: Path) -> None:
    """Copy what the tests read."""
    for path in (path for pattern in COPIED for path in ROOT.glob(pattern)):
        if path.is_dir():
            ignored = shutil.ignore_patterns("node_modules", "__pycache__", "dist")
            shutil.copytree(path, folder / path.name, ignore=ignored, symlinks=True)
        else:
            shutil.copy(path, folder / path.name)


def changed_lines(before: str, after: str) -> str:
    """Return the changed line as text: old and new.

    >>> changed_lines("a = 1", "a = 2")
    'a = 1 -> a = 2'
    """
    pairs = zip(before.splitlines(), after.splitlines(), strict=False)
    old, new = next((pair for pair in pairs if pair[0] != pair[1]), ("", ""))
    return f"{old.strip()} -> {new.strip()}"


def table(lines: list[dict[str, object]]) -> tuple[str, float]:
    """Return a Markdown table by package, and the share of noticed mutants in per cent."""
    counts: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for line in lines:
        for name in (str(line["change"]).split("/")[2], "all"):
            counts[name][0] += 1
            counts[name][1] += line["noticed_by"] is not None
    rows = [
        f"| {name} | {tried} | {noticed} | {100 * noticed / tried:.0f} % |"
        for name, (tried, noticed) in sorted(counts.items())
    ]
    tried, noticed = counts["all"]
    return "\n".join(
        ["| package | mutants | noticed | share |", "|---|---:|---:|---:|", *rows]
    ) + "\n", 100 * noticed / max(tried, 1)


if __name__ == "__main__":
    sys.exit(main())
