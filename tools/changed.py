"""Print the test files and folders that the changes since a commit can reach, for `make test-changed`.

python tools/changed.py --base main

A changed module reaches the packages that import it, also by other modules; layers and import rules keep these few.
What is no module reaches the folder of its tests, and what configures everything reaches all tests. The lab and the
studio are each tested as a whole.
"""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
SOURCES = {"src": "tests", "lab/src": "lab/tests", "studio/src": "studio/tests"}
PROJECTS = ("sonjit", "sonjit_lab", "sonjit_studio")
EVERYTHING = ("tests", "lab/tests", "studio/tests", *SOURCES)
OF_MODULES = ("tests/test_public.py", "tests/test_offline.py", "tests/extensions", "tests/examples", "tests/docs")
"""Tests of the tracker as a whole."""
PAGES = ("tests/browser", "tests/spec", "tests/server/page", "tests/**/test_*_in_pages.py")
FOLDERS: dict[str, tuple[str, ...]] = {
    "pyproject.toml": EVERYTHING,
    "conftest.py": EVERYTHING,
    "tests/support/": EVERYTHING,
    "tests/stored/": ("tests",),
    "tests/goldens/": ("tests/detectors", "tests/browser"),
    "src/sonjit/server/page/": PAGES,
    "src/sonjit/spec/": ("tests/spec", "tests/gestures", "tests/browser"),
    "web/": PAGES,
    "docs/": ("tests/docs",),
    "README.md": ("tests/docs",),
    "CONTRIBUTING.md": ("tests/docs",),
    "mkdocs.yml": ("tests/docs",),
    "examples/": ("tests/examples", "tests/docs"),
    "benchmarks/": ("tests/benchmarks",),
    "packaging/": ("tests/test_release.py",),
    "Makefile": ("tests/docs", "tests/test_release.py"),
}
"""Tests by the start of the path of a changed file that is no module of its own; the longest start counts."""


def main() -> None:
    """Print the paths in one line, for pytest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="main", help="commit from which the changes begin")
    reached = {path for file in changed(parser.parse_args().base) for path in reached_by(file)}
    there = {str(path.relative_to(ROOT)) for pattern in reached for path in ROOT.glob(pattern)}
    print(*sorted(path for path in there if not any(path.startswith(f"{other}/") for other in there)))


def changed(base: str) -> list[str]:
    """Return the files that differ from the last commit in common with `base`, also those that are not committed."""
    tracked = _git("diff", "--name-only", "--no-renames", "--merge-base", base)
    return tracked + _git("ls-files", "--others", "--exclude-standard")


def reached_by(file: str) -> Iterable[str]:
    """Return the paths of tests, with wildcards, that a changed file can reach."""
    path = Path(file)
    if "tests" in path.parts[:2] and path.suffix == ".py" and not file.startswith("tests/support/"):
        return [file if path.name.startswith("test_") else str(path.parent)]
    starts = [start for start in FOLDERS if file.startswith(start)]
    if starts:
        return FOLDERS[max(starts, key=len)]
    for source in SOURCES:
        if file.startswith(f"{source}/"):
            return set(_of_module(path.relative_to(source)))
    return EVERYTHING if path.name in ("pyproject.toml", "conftest.py") else ()


def _of_module(path: Path) -> Iterator[str]:
    """Yield the tests of the packages that import a file of the sources, or the package that it lies in."""
    name = stated = ".".join(path.with_suffix("").parts)
    graph = _graph()
    while name not in graph.modules:  # a package, a data file, or a module that was removed
        name = name.rpartition(".")[0]
    modules = set[str]() if name == stated else set(graph.find_descendants(name))
    todo = {name, *modules}
    while todo:  # a package also gives names of its modules, which it imports at their first use
        modules.add(module := todo.pop())
        todo |= {module.rpartition(".")[0] or module, *graph.find_modules_that_directly_import(module)} - modules
    for project, source in zip(PROJECTS, SOURCES, strict=True):
        packages = {module.split(".")[1] for module in modules if module.startswith(f"{project}.")}
        if project != "sonjit" and packages:
            yield from (source, SOURCES[source])
        elif project == "sonjit":
            yield from (f"src/sonjit/{package}*" for package in packages)
            yield from (f"tests/{package.lstrip('_')}" for package in packages)
    if path.parts[0] == "sonjit":
        yield from OF_MODULES
    if any(module.startswith(("sonjit.server", "sonjit_studio")) for module in modules):
        yield "tests/browser"


@cache
def _graph() -> grimp.ImportGraph:
    return grimp.build_graph(
        *PROJECTS, cache_dir=str(ROOT / ".import_linter_cache"), exclude_type_checking_imports=True
    )


def _git(*arguments: str) -> list[str]:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()


if __name__ == "__main__":
    main()
