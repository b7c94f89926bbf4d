"""Keep the size of the project below its ceilings.

python tools/structure.py            # print lines, files and imports next to their ceilings
python tools/structure.py --check    # fail where a count is above its ceiling
python tools/structure.py --lower    # lower each ceiling to the present count
"""

import ast
import json
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[1]
PACKAGE = PROJECT / "src/sonjit"
CEILINGS = Path(__file__).with_name("ceilings.json")
IMPORTS = "src/sonjit: import lines, per cent"
OUTSIDE = {
    "web/src": ("web/src/**/*.ts",),
    "page of the server": ("src/sonjit/server/**/*.js",),
    "tests": ("tests/**/*.py", "tests/**/*.ts", "tests/**/*.js"),
    "benchmarks and tools": ("benchmarks/**/*.py", "tools/**/*.py"),
}


def part_of(path: Path) -> str:
    """Return the row of the table that a module of the package counts for."""
    name = path.relative_to(PACKAGE).as_posix()
    parts = [part for part in ("lab", "studio", "detectors/search") if name.startswith(f"{part}/")]
    return f"src/sonjit/{parts[0]}" if parts else "src/sonjit: the tracker"


def count() -> dict[str, float]:
    """Count the lines of each part of the project, and the files and imports of `src/sonjit`."""
    counts: dict[str, float] = {}
    total = imports = files = 0
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text("utf-8")
        lines = text.count("\n")
        counts[part_of(path)] = counts.get(part_of(path), 0) + lines
        total, files = total + lines, files + 1
        imports += sum(
            (node.end_lineno or node.lineno) - node.lineno + 1
            for node in ast.walk(ast.parse(text))
            if isinstance(node, (ast.Import, ast.ImportFrom))
        )
    counts |= {"src/sonjit: all lines": total, "src/sonjit: files": files, IMPORTS: round(100 * imports / total, 2)}
    for name, patterns in OUTSIDE.items():
        paths = {path for pattern in patterns for path in PROJECT.glob(pattern) if "node_modules" not in path.parts}
        counts[name] = sum(path.read_text("utf-8").count("\n") for path in paths)
    return counts


def main(option: str = "") -> str:
    """Print the table, check it, or lower the ceilings; return what is above its ceiling."""
    counts = count()
    ceilings: dict[str, float] = json.loads(CEILINGS.read_text("utf-8"))
    above = [
        f"{name}: {n:,}, ceiling {ceilings.get(name, 0):,}" for name, n in counts.items() if n > ceilings.get(name, 0)
    ]
    if option == "--lower" and not above:
        CEILINGS.write_text(json.dumps(counts, indent=2) + "\n", "utf-8")
    if not option:
        print("| part | now | ceiling |\n|---|---:|---:|")
        print("\n".join(f"| {name} | {n:,} | {ceilings.get(name, 0):,} |" for name, n in counts.items()))
    return "\n".join(above) if option else ""


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) or 0)
