"""Print the coverage that `make coverage` measured, package by package; fail where too little of the code was run.

Of the packages that must lose nothing, the lines that raise or handle an error are counted by themselves.

Needs `.coverage`, newer than the code it was measured on.
"""

import ast
import json
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from coverage import Coverage
from coverage.exceptions import NoSource

PACKAGE_PERCENT, FILE_PERCENT, ERROR_PERCENT = 92, 75, 95
CAREFUL = ("runs", "media", "server")
PROJECT = Path(__file__).parents[1]
DATA, CODE = PROJECT / ".coverage", PROJECT / "src" / "sonjit"


def main():
    if not DATA.is_file():
        return print("coverage: not measured; type: make coverage")
    changed = [path for path in CODE.rglob("*.py") if path.stat().st_mtime > DATA.stat().st_mtime]
    if changed:
        return print(f"coverage: measured before {changed[0].relative_to(PROJECT)} was changed; type: make coverage")
    lines = lines_by_file()
    files = {path: (len(run), len(run) + len(missed)) for path, (run, missed) in lines.items()}
    packages, errors = defaultdict(list), defaultdict(list)
    for path, counts in files.items():
        package = path.relative_to(CODE).parts[0]
        packages[package].append(counts)
        if package in CAREFUL:
            (run, missed), expected = lines[path], error_lines(path)
            errors[package].append((len(run & expected), len((run | missed) & expected)))
            if "--errors" in sys.argv:
                print(*(f"{path.relative_to(PROJECT)}:{line}" for line in sorted(missed & expected)), sep="\n")
    for package, counts in sorted(packages.items()):
        print(f"{percent(counts):6.1f} %  {package}")
    for package, counts in sorted(errors.items()):
        print(f"{percent(counts):6.1f} %  {package}, lines of errors")
    total = percent(files.values())
    print(f"{total:6.1f} %  of {sum(count for _, count in files.values())} statements")
    little = {path: percent([counts]) for path, counts in files.items() if percent([counts]) < FILE_PERCENT}
    faults = [
        f"{path.relative_to(PROJECT)}: {value:.1f} %; at least {FILE_PERCENT} %" for path, value in little.items()
    ]
    if total < PACKAGE_PERCENT:
        faults.append(f"sonjit: {total:.1f} %; at least {PACKAGE_PERCENT} %")
    faults += [
        f"{package}, lines of errors: {percent(counts):.1f} %; at least {ERROR_PERCENT} %"
        for package, counts in errors.items()
        if percent(counts) < ERROR_PERCENT
    ]
    sys.exit("\n".join(f"coverage: {fault}" for fault in faults) or 0)


def error_lines(path):
    """Return the numbers of the lines that raise or handle an error."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Raise):
            found.add(node.lineno)
        elif isinstance(node, ast.ExceptHandler):
            found |= {inner.lineno for inner in ast.walk(node) if isinstance(inner, ast.stmt)}
    return found


def lines_by_file():
    """Return by file the numbers of executed lines and of missed lines."""
    measured = Coverage(data_file=str(DATA), config_file=str(PROJECT / "pyproject.toml"))
    measured.load()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "coverage.json")
        try:
            measured.json_report(outfile=str(report))
        except NoSource as error:
            sys.exit(f"coverage: {error}; type: make coverage")
        files = json.loads(report.read_text("utf-8"))["files"]
    return {PROJECT / path: (set(file["executed_lines"]), set(file["missing_lines"])) for path, file in files.items()}


def percent(counts):
    counts = list(counts)
    every = sum(count for _, count in counts)
    return 100 * sum(run for run, _ in counts) / every if every else 100.0


if __name__ == "__main__":
    main()
