"""Break one place of the tracker at a time, and report whether the nearby tests notice.

    make mutants                                    # 400 places with a fixed seed, about three hours of one core
    .venv/bin/python tools/mutants.py --count 60 --seed 3 --packages runs media
    .venv/bin/python tools/mutants.py --again       # only the survivors of the last run
    .venv/bin/python tools/mutants.py --save benchmarks/results/mutants.json

Cosmic Ray's operators make the mutants. A sample has each place at most once, with one of its mutants at random. The
tests of a mutant are those that run the changed statement, in at most four test files, the nearest by the names in
them, and for at most 40 seconds of processor time. Each test file runs once with coverage to know them; its record is
kept in `.mutants` until the file changes. Tests with reference data, browsers or networks do not run, because public CI
has no reference data. The results are in `mutants.jsonl`, and an interrupted run continues with them. Places in
annotations, assertions and errors are left out.
"""

import argparse
import ast
import hashlib
import json
import os
import random
import re
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast_from_path
from cosmic_ray.mutating import mutate_code
from mutant_tests import Records, Test, first_failure, preload, record, tests_of

from sonjit.engines.devices import describe_machine

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "sonjit"
PACKAGES = ("detectors", "gestures", "geometry", "media", "results", "runs", "server")
RESULTS = ROOT / "mutants.jsonl"
RECORDS = ROOT / ".mutants"
ASSERTING = ("strict", "frozen", "slots", "eq", "stacklevel")  # arguments that only detect errors of programmers
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
    parser.add_argument("--again", action="store_true", help="test the survivors of the results again")
    parser.add_argument("--required", type=float, default=90.0, help="per cent of the mutants that tests must notice")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file that an interrupted run continues, .jsonl")
    parser.add_argument("--save", type=Path, help="file of machine, command and numbers by package, .json")
    options = parser.parse_args()
    machine = describe_machine()
    known = {Mutant(*line["mutant"]): line for line in read_results(options.results)}
    if options.again:
        chosen = iter([mutant for mutant, line in known.items() if line["noticed_by"] is None])
        known = {}
    else:
        chosen = islice(sample(options.packages, options.seed), options.count)
    with tempfile.TemporaryDirectory(prefix="sonjit-mutants-") as name:
        folder = Path(name)
        copy_project(folder)
        preload()
        modules = [path.relative_to(ROOT).as_posix() for name in PACKAGES for path in (SOURCE / name).rglob("*.py")]
        trial = Trial(folder, record(modules, folder, RECORDS))
        lines: list[dict[str, Any]] = []
        for mutant in chosen:
            if mutant not in known:
                known[mutant] = trial.test(mutant)
                with options.results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(known[mutant]) + "\n")
            lines.append(known[mutant])
            sys.stderr.write(f"{len(lines)} {lines[-1]['noticed_by'] or 'SURVIVES'}: {lines[-1]['change']}\n")
    counts = count(lines)
    sys.stdout.write(table(counts))
    if options.save:
        command = f"python tools/mutants.py --count {len(lines)} --seed {options.seed}"
        text = json.dumps({"machine": machine, "command": command, "packages": counts}, indent=2)
        options.save.write_text(f"{text}\n", "utf-8")
    noticed, tried = counts["all"]
    return int(100 * noticed / max(tried, 1) < options.required)


class Trial:
    """A copy of the project in which mutants are tested."""

    def __init__(self, folder: Path, records: Records) -> None:
        self._folder = folder
        self._records = records
        self._passes: dict[str, bool] = {}

    def test(self, mutant: Mutant) -> dict[str, Any]:
        """Change a file of the copy, run the nearby tests, and restore it."""
        target = self._folder / mutant.path
        before = target.read_text("utf-8")
        after = mutate_code(before, plugins.get_operator(mutant.operator)(), mutant.occurrence)
        if after is None:
            raise SystemExit(f"{mutant}: the file has changed; remove the file of results")
        tests = tests_of(mutant.path, mutant.line, self._folder, self._records)
        noticed_by = self._noticed_by(tests, target, before, after)
        files = sorted({test.name.partition("::")[0] for test in tests})
        change = f"{mutant.path}:{mutant.line} {changed_lines(before, after)}"
        return {"mutant": mutant, "change": change, "tests": files, "noticed_by": noticed_by}

    def _noticed_by(self, tests: list[Test], target: Path, before: str, after: str) -> str | None:
        """Return the first test that fails with a change only."""
        while True:
            tests = [test for test in tests if self._passes.get(test.name, True)]
            if not tests:
                return None
            self._write(target, after)
            failed = first_failure(tests, self._folder)
            self._write(target, before)
            if failed is None or "/" not in failed:
                return failed
            if failed not in self._passes:
                again = Test(failed, self._records.seconds[failed])
                self._passes[failed] = first_failure([again], self._folder) is None
            if self._passes[failed]:
                return failed
            sys.stderr.write(f"{failed} fails without a change\n")

    def _write(self, path: Path, text: str) -> None:
        """Write a file with a time of its own, because Python takes bytecode of the same time and size as valid."""
        time = path.stat().st_mtime
        path.write_text(text, "utf-8")
        os.utime(path, (time + 2, time + 2))


def read_results(path: Path) -> list[dict[str, Any]]:
    """Return the results so far; a mutant that was tested again has its newest one."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.is_file() else []


def sample(packages: Sequence[str], seed: int) -> Iterator[Mutant]:
    """Yield mutants of different places in random order."""
    generator = random.Random(seed)
    places = [
        (path, place, mutants)
        for package in sorted(packages)
        for path in sorted((SOURCE / package).rglob("*.py"))
        for place, mutants in kept_mutants_of(path)
    ]
    generator.shuffle(places)
    for *_, mutants in places:
        generator.shuffle(mutants)
        yield from next(([mutant] for mutant in mutants if is_valid(mutant)), [])


def is_valid(mutant: Mutant) -> bool:
    """Check whether Cosmic Ray can make the change, and the changed file is Python."""
    before = (ROOT / mutant.path).read_text("utf-8")
    try:
        after = mutate_code(before, plugins.get_operator(mutant.operator)(), mutant.occurrence)
        compile(after or "(", mutant.path, "exec")
    except (SyntaxError, AttributeError):  # the latter at exceptions such as `except module.Error`
        return False
    return not re.search(
        r" /,( |$)", changed_lines(before, after or "")
    )  # the star of keyword arguments is no operator


def kept_mutants_of(path: Path) -> list[tuple[Place, list[Mutant]]]:
    """Return the mutants of a file by place in order. They are kept, because Cosmic Ray takes seconds to find them."""
    relative, digest = path.relative_to(ROOT).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()
    kept = RECORDS / f"{relative.replace('/', '.')}.json"
    known: dict[str, Any] = json.loads(kept.read_text("utf-8")) if kept.is_file() else {}
    if known.get("digest") != digest:
        known = {"digest": digest, "places": sorted(mutants_of(path).items())}
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(json.dumps(known), "utf-8")
    return [
        (Place((start[0], start[1]), family), [Mutant(*mutant) for mutant in mutants])
        for (start, family), mutants in known["places"]
    ]


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


def count(lines: list[dict[str, Any]]) -> dict[str, list[int]]:
    """Return how many mutants of each package and of all are noticed, and how many were tried."""
    counts: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for line in lines:
        for name in (str(line["change"]).split("/")[2], "all"):
            counts[name][0] += line["noticed_by"] is not None
            counts[name][1] += 1
    return {name: counts[name] for name in sorted(counts, key=lambda name: (name == "all", name))}


def table(counts: dict[str, list[int]]) -> str:
    """Return a Markdown table by package."""
    rows = [f"| {name} | {tried} | {found} | {100 * found / tried:.0f} % |" for name, (found, tried) in counts.items()]
    return "\n".join(["| package | mutants | noticed | share |", "|---|---:|---:|---:|", *rows]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
