"""Print the coverage that `make test` measured, package by package; fail where too little of the code was run.

Needs `.coverage`, newer than the code it was measured on.
"""

import json
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from coverage import Coverage
from coverage.exceptions import NoSource

PACKAGE_PERCENT, FILE_PERCENT = 92, 75
PROJECT = Path(__file__).parents[1]
DATA, CODE = PROJECT / ".coverage", PROJECT / "src" / "sonjit"


def main():
    if not DATA.is_file():
        return print("coverage: not measured; type: make test")
    changed = [path for path in CODE.rglob("*.py") if path.stat().st_mtime > DATA.stat().st_mtime]
    if changed:
        return print(f"coverage: measured before {changed[0].relative_to(PROJECT)} was changed; type: make test")
    files = statements_by_file()
    packages = defaultdict(list)
    for path, counts in files.items():
        packages[path.relative_to(CODE).parts[0]].append(counts)
    for package, counts in sorted(packages.items()):
        print(f"{percent(counts):6.1f} %  {package}")
    total = percent(files.values())
    print(f"{total:6.1f} %  of {sum(count for _, count in files.values())} statements")
    little = {path: percent([counts]) for path, counts in files.items() if percent([counts]) < FILE_PERCENT}
    faults = [
        f"{path.relative_to(PROJECT)}: {value:.1f} %; at least {FILE_PERCENT} %" for path, value in little.items()
    ]
    if total < PACKAGE_PERCENT:
        faults.append(f"sonjit: {total:.1f} %; at least {PACKAGE_PERCENT} %")
    sys.exit("\n".join(f"coverage: {fault}" for fault in faults) or 0)


def statements_by_file():
    """Of each file: how many statements were run, and how many there are."""
    measured = Coverage(data_file=str(DATA), config_file=str(PROJECT / "pyproject.toml"))
    measured.load()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "coverage.json")
        try:
            measured.json_report(outfile=str(report))
        except NoSource as error:
            sys.exit(f"coverage: {error}; type: make test")
        files = json.loads(report.read_text("utf-8"))["files"]
    both = {path: (one["summary"]["covered_lines"], one["summary"]["num_statements"]) for path, one in files.items()}
    return {PROJECT / path: counts for path, counts in both.items()}


def percent(counts):
    counts = list(counts)
    every = sum(count for _, count in counts)
    return 100 * sum(run for run, _ in counts) / every if every else 100.0


if __name__ == "__main__":
    main()
