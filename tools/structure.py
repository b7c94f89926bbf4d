"""Measure how readable the code of `src/sonjit` is, for two versions next to each other.

python tools/structure.py                       # a table of this version
python tools/structure.py --before OTHER/src    # also of another checkout
python tools/structure.py --fragments PATH      # list argument descriptions that depend on the argument name
python tools/structure.py --check               # fail where one of the rules is broken
"""

from __future__ import annotations

import argparse
import ast
import base64
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

PROJECT = Path(__file__).parents[1]
MAXIMUM_FRAGMENTS: Final = 0.03
NO_VERB = re.compile(
    r"[^A-Z]|(A|All|An|As|Both|By|Each|Every|For|Hands|How|If|Images|In|Its|Names|No|Numbers|Of|One|Pixels|Points|Several|The|"
    r"Two|What|Where|Whether|Which|Who)\b"
)
PREPOSITIONS = re.compile(
    r"(about|above|across|after|along|among|around|as|at|before|behind|below|beneath|beside|between|beyond|by|during|for|from|in|"
    r"inside|into|near|of|off|on|onto|out|outside|over|per|since|that|through|to|toward|towards|under|until|up|upon|whether|which|"
    r"who|whose|with|within|without)\b",
    re.IGNORECASE,
)
"""A description that begins with one of these depends on the name that it describes."""
_MEASURE_DEPTH: Final = """
import sys
from sonjit.cli import main
from sonjit.detectors.pipeline import Detector

def detect(self, *arguments, **options):
    frame, depth = sys._getframe(1), 0
    while frame is not None:
        depth += "/sonjit/" in frame.f_code.co_filename
        frame = frame.f_back
    print("depth", depth, flush=True)
    return []

Detector.detect = detect
main(["hands", sys.argv[1], "--save", sys.argv[2]])
"""
_GREY_PNG: Final = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
)
_NO_SUMMARY = re.compile(r"Sources?\b|[*-] |\d+\. |\||>>>|```|    ")
"""A paragraph of one line that begins with one of these is a source, a list, a table or an example."""
_SECTIONS = ("Args:", "Attributes:")
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass
class Counts:
    """Counts over a set of modules."""

    lines: Counter[str] = field(default_factory=Counter[str])
    modules: int = 0
    classes: int = 0
    generics: int = 0
    protocols: int = 0
    inner_imports: int = 0
    late_modules: list[str] = field(default_factory=list[str])
    summary_modules: list[str] = field(default_factory=list[str])
    descriptions: int = 0
    fragments: list[str] = field(default_factory=list[str])
    without_verb: list[str] = field(default_factory=list[str])
    call_depth: int | None = None

    @property
    def total(self) -> int:
        """Return the number of lines."""
        return sum(self.lines.values())


def count(source: Path, root: Path) -> Counts:
    """Count in every module below a folder.

    Args:
        source: Folder or file to count in.
        root: Folder that contains `sonjit`.
    """
    counts = Counts()
    for path in sorted(source.rglob("*.py")) if source.is_dir() else [source]:
        text = path.read_text("utf-8")
        name = path.relative_to(root).as_posix()
        tree = ast.parse(text)
        counts.modules += 1
        counts.lines[_package(name)] += text.count("\n")
        if has_late_constants(tree):
            counts.late_modules.append(name)
        if not has_one_summary(tree):
            counts.summary_modules.append(name)
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                counts.classes += 1
                bases = [ast.unparse(base).partition("[")[0] for base in node.bases]
                counts.generics += any(base in ("Generic", "typing.Generic") for base in bases) or bool(
                    getattr(node, "type_params", None)
                )
                counts.protocols += any(base in ("Protocol", "typing.Protocol") for base in bases)
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                counts.inner_imports += sum(map(_is_own_import, ast.walk(node)))
                if not starts_with_verb(node):
                    counts.without_verb.append(f"{name}:{node.lineno}")
            if isinstance(node, (*_DEFINITIONS, ast.Module)):
                for line, argument, description in descriptions(node):
                    counts.descriptions += 1
                    if is_fragment(description):
                        counts.fragments.append(f"{name}:{line}: {argument}: {description}")
    return counts


def has_late_constants(tree: ast.Module) -> bool:
    """Check whether a module assigns a name after its first function or class."""
    first = next((index for index, node in enumerate(tree.body) if isinstance(node, _DEFINITIONS)), None)
    if first is None:
        return False
    return any(
        isinstance(target, ast.Name) and not target.id.startswith("__")
        for node in tree.body[first:]
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    )


def has_one_summary(tree: ast.Module) -> bool:
    """Check whether a module's docstring begins with its only summary.

    A summary is a paragraph of one line. Lists, examples, tables and sources may be of one line too. A module without
    a docstring passes.
    """
    text = ast.get_docstring(tree)
    if text is None:
        return True
    first, *others = re.split(r"\n\s*\n", text)
    return (
        "\n" not in first
        and first.endswith(".")
        and all("\n" in other or _NO_SUMMARY.match(other) is not None for other in others)
    )


def starts_with_verb(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Check whether a function's docstring starts like a verb. Properties and functions without one pass."""
    text = ast.get_docstring(node)
    if text is None or any(ast.unparse(decorator).endswith("property") for decorator in node.decorator_list):
        return True
    return NO_VERB.match(text) is None


def descriptions(node: ast.AST) -> list[tuple[int, str, str]]:
    """Return the line, name and first line of each described argument and attribute."""
    text = ast.get_docstring(node, clean=False)  # pyright: ignore[reportArgumentType]
    if text is None:
        return []
    start = node.body[0].lineno  # pyright: ignore[reportAttributeAccessIssue]
    found: list[tuple[int, str, str]] = []
    inside = False
    indent = 0
    for offset, line in enumerate(text.splitlines()):
        stripped = line.strip()
        if stripped in _SECTIONS:
            inside, indent = True, len(line) - len(line.lstrip()) + 4
        elif inside and stripped:
            depth = len(line) - len(line.lstrip())
            if depth < indent:
                inside = False
            elif depth == indent and (match := re.match(r"([*`\w, ]+?)(?: \([^)]*\))?:\s*(.*)", stripped)):
                found.append((start + offset, match[1], match[2]))
    return found


def is_fragment(description: str) -> bool:
    """Check whether a description begins with a preposition or a relative pronoun, or is empty."""
    return not description or PREPOSITIONS.match(description) is not None


def table(columns: dict[str, Counts]) -> str:
    """Return a Markdown table with a column per version."""
    packages = sorted({package for counts in columns.values() for package in counts.lines})
    rows = [(f"lines in {package}", [str(c.lines[package]) for c in columns.values()]) for package in packages]
    measures: tuple[tuple[str, Callable[[Counts], str]], ...] = (
        ("lines", lambda c: str(c.total)),
        ("modules", lambda c: str(c.modules)),
        ("classes per 1,000 lines", lambda c: f"{1000 * c.classes / c.total:.1f}"),
        ("Generics and Protocols", lambda c: str(c.generics + c.protocols)),
        ("own imports inside functions per 1,000 lines", lambda c: f"{1000 * c.inner_imports / c.total:.1f}"),
        ("modules with late constants", lambda c: str(len(c.late_modules))),
        ("functions whose docstring does not start with a verb", lambda c: str(len(c.without_verb))),
        ("modules with several summaries", lambda c: str(len(c.summary_modules))),
        ("argument descriptions", lambda c: str(c.descriptions)),
        ("fragments among them", lambda c: f"{len(c.fragments) / max(c.descriptions, 1):.1%}"),
        ("calls from the shell to `Detector.detect`", lambda c: str(c.call_depth or "not measured")),
    )
    rows += [(title, [measure(counts) for counts in columns.values()]) for title, measure in measures]
    head = ["", *columns]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {title} | {' | '.join(values)} |" for title, values in rows)])


def call_depth(source: Path) -> int | None:
    """Return how many of the project's functions are active when `sonjit hands IMAGE` reaches `Detector.detect`.

    Args:
        source: The `src` folder of a checkout.

    Returns:
        The number of functions, or None if the command failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.png"
        image.write_bytes(_GREY_PNG)
        done = subprocess.run(
            [sys.executable, "-c", _MEASURE_DEPTH, str(image), f"{folder}/table.csv"],
            env={**os.environ, "PYTHONPATH": str(source)},
            capture_output=True,
            text=True,
            check=False,
        )
    match = re.search(r"depth (\d+)", done.stdout)
    return int(match[1]) if match else None


def _package(name: str) -> str:
    parts = name.split("/")
    depth = 3 if len(parts) > 3 and parts[1] == "lab" else 2
    return "/".join(parts[1:depth]) if len(parts) > 2 else "top level"


def _is_own_import(node: ast.AST) -> bool:
    return isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "sonjit"


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="The `src` folder of another checkout.")
    parser.add_argument("--fragments", type=Path, help="List the fragments below this path.")
    parser.add_argument("--check", action="store_true", help="Fail where a rule is broken.")
    arguments = parser.parse_args()
    source = PROJECT / "src"
    if arguments.fragments:
        counts = count(arguments.fragments.resolve(), source)
        print(*counts.fragments, sep="\n")
        print(f"{len(counts.fragments)} of {counts.descriptions} descriptions are fragments", file=sys.stderr)
        return
    counts = count(source / "sonjit", source)
    if arguments.check:
        faults = [f"{name}: constants after the first function or class" for name in counts.late_modules]
        faults += [f"{name}: docstring without exactly one summary" for name in counts.summary_modules]
        faults += [f"{place}: docstring that does not start with a verb" for place in counts.without_verb]
        share = len(counts.fragments) / counts.descriptions
        if share > MAXIMUM_FRAGMENTS:
            faults.append(f"{share:.1%} of the argument descriptions are fragments; maximum {MAXIMUM_FRAGMENTS:.0%}")
        sys.exit("\n".join(faults) or 0)
    columns = {"now": (source, counts)}
    if arguments.before:
        before = arguments.before.resolve()
        columns = {"before": (before, count(before / "sonjit", before)), **columns}
    for root, counts in columns.values():
        counts.call_depth = call_depth(root)
    print(table({title: counts for title, (_, counts) in columns.items()}))


if __name__ == "__main__":
    main()
