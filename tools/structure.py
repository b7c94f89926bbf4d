"""Measure how readable the structure and the guides of the project are, and keep them within `limits.json`.

python tools/structure.py            # print each measure next to its limit
python tools/structure.py --check    # fail where a measure is outside its limit

import-linter checks who may import whom, and that there are no circles; see `pyproject.toml`.
"""

import ast
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).parents[1]
LIMITS: Final = Path(__file__).with_name("limits.json")
PACKAGES: Final = {"tracker": "src/sonjit", "lab": "lab/src/sonjit_lab", "studio": "studio/src/sonjit_studio"}
PAGES: Final = (
    "web/src/**/*.ts",
    "web/src/**/*.tsx",
    "web/*.js",
    "src/sonjit/server/page/**/*.html",
    "src/sonjit/server/page/**/*.css",
)
GUIDES: Final = PROJECT / "docs"
NO_GUIDES: Final = {"cards", "ko"}
"""Folders of `docs` that are generated or translated."""
TABLES: Final = {"measured.md", "students.md"}
"""Pages of `docs` with generated tables: measurements, and settings of published systems."""
MAX_FUNCTION: Final = 80  # lines
MIN_FUNCTION: Final = 9  # lines from which a private function with one call is worth its name
MAX_PARAMETERS: Final = 10
MAX_FILE: Final = 900  # lines
MAX_WIDTH: Final = 120  # characters of a line of TypeScript
MANY_PARAMETERS: Final = ("cli/", "commands.py", "camera_commands.py", "networks/", "papers/")
GENERATED: Final = ("web/src/data.ts", "web/src/option-types.ts", "web/src/drawing-style.ts")
ARRAYS: Final = re.compile(r"(Float32|Float|Int|Bool|Index|Real)Array|NDArray|\bImage\b|\bTensor\b|ArrayLike")
SHAPE: Final = re.compile(
    r"\((?:\.\.\., ?)?(?:[nhm]\b|[A-Z][A-Za-z']*|\d+|\.\.\.)(?: [-+*x] \w+)?(?:, ?[^()]{1,12})*,?\)"
)
NO_ARRAYS: Final = ("Callable[", "Mapping[str, Tensor]")
UNIT: Final = re.compile(
    r"\bpx\b|pixel|metre|millimetre|\bmm\b|\brad\b|radian|degree|second|\b0\.\.1\b|0 to 1|0 to 255|uint8|RGB|"
    r"fraction|share|normalised|logit|probabilit|score|bool|mask|True|index|indices|ids?\b|unit|per cent|count|"
    r"number|label|class|image|hand lengths?"
)


def modules(package: str) -> Iterator[tuple[str, str, ast.Module]]:
    """Yield path, text and syntax tree of each module of a package."""
    folder = PROJECT / PACKAGES[package]
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text("utf-8")
        yield path.relative_to(folder).as_posix(), text, ast.parse(text)


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function and method of a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def public_functions(body: list[ast.stmt]) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield the functions of a module and the methods of its classes that have public names."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield node


def late_statements(tree: ast.Module) -> int:
    """Count constants and imports between the functions and classes of a module. Records at its end name them."""
    places = [isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) for node in tree.body]
    first = places.index(True) if True in places else len(places)
    last = len(places) - places[::-1].index(True) if True in places else 0
    kinds = ast.Assign | ast.AnnAssign | ast.Import | ast.ImportFrom
    return sum(isinstance(node, kinds) for node in tree.body[first:last])


def lines_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the number of lines of the body of a function, without its docstring."""
    statements = node.body
    if isinstance(statements[0], ast.Expr) and isinstance(statements[0].value, ast.Constant):
        statements = statements[1:]
    return (node.end_lineno or 0) - statements[0].lineno + 1 if statements else 0


def fragments(tree: ast.Module) -> int:
    """Count the short private functions of a module that have one call. Most are read more easily in their caller."""
    uses = Counter(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
    return sum(
        node.name.startswith("_") and uses[node.name] == 1 and lines_of(node) < MIN_FUNCTION
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def parameters_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the number of parameters of a function without `self`."""
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return len([argument for argument in arguments if argument.arg not in ("self", "cls")])


def takes_arrays(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Check whether a function has a parameter that is an array; functions of arrays and state dicts are none."""
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    texts = (ast.unparse(argument.annotation) for argument in arguments if argument.annotation)
    return any(ARRAYS.search(text) for text in texts if not text.startswith(NO_ARRAYS))


def inherits_docstring(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Check whether the documentation of a method is that of the method that it overrides."""
    is_override = any(ast.unparse(decorator) == "override" for decorator in node.decorator_list)
    return is_override and ast.get_docstring(node) is None


def measure() -> dict[str, float]:
    """Return every measure by its name."""
    measures: dict[str, float] = {f"lines of Python, {name}": 0 for name in PACKAGES}
    names = (
        "constants and imports between functions and classes",
        f"functions over {MAX_FUNCTION} lines",
        f"private functions with one call and at most {MIN_FUNCTION - 1} lines",
        f"functions over {MAX_PARAMETERS} parameters",
        f"files over {MAX_FILE} lines",
        "fmt: skip",
        "dict[str, Any]",
        f"lines of TypeScript and pages over {MAX_WIDTH} characters",
    )
    measures |= dict.fromkeys(names, 0)
    late, long, short, many, large, skipped, untyped, wide = names
    imports = arrays = shapes = units = 0
    for package in PACKAGES:
        for name, text, tree in modules(package):
            lines = text.count("\n")
            measures[f"lines of Python, {package}"] += lines
            measures[late] += late_statements(tree)
            measures[short] += fragments(tree)
            measures[large] += lines > MAX_FILE
            measures[skipped] += text.count("# fmt: skip")
            measures[untyped] += text.count("dict[str, Any]")
            imports += sum(
                (node.end_lineno or 0) - node.lineno + 1
                for node in ast.walk(tree)
                if isinstance(node, ast.Import | ast.ImportFrom)
            )
            may_have_many = any(part in name for part in MANY_PARAMETERS)
            for function in functions(tree):
                measures[long] += lines_of(function) > MAX_FUNCTION
                measures[many] += parameters_of(function) > MAX_PARAMETERS and not may_have_many
            for function in public_functions(tree.body):
                if takes_arrays(function) and not inherits_docstring(function):
                    docstring = ast.get_docstring(function) or ""
                    arrays += 1
                    shapes += bool(SHAPE.search(docstring))
                    units += bool(UNIT.search(docstring))
    total = sum(measures[f"lines of Python, {name}"] for name in PACKAGES)
    pages = {path for pattern in PAGES for path in PROJECT.glob(pattern)}
    for path in pages - {PROJECT / name for name in GENERATED}:
        measures[wide] += sum(len(line) > MAX_WIDTH for line in path.read_text("utf-8").splitlines())
    measures["import lines, per cent"] = round(100 * imports / total, 1)
    measures["public functions on arrays that state a shape, per cent"] = round(100 * shapes / arrays)
    measures["public functions on arrays that state a unit, per cent"] = round(100 * units / arrays)
    guides = [path for path in GUIDES.rglob("*.md") if path.parent.name not in NO_GUIDES and path.name not in TABLES]
    texts = [path.read_text("utf-8") for path in guides]
    lengths = [len(re.findall(r"\S*\w\S*", sentence)) for text in texts for sentence in sentences(text)]
    measures["words of guides, tutorials and reference"] = sum(len(text.split()) for text in texts)
    measures["mean words of their sentences"] = round(sum(lengths) / len(lengths), 1)
    return measures


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a page, without code, tables, headings and images. A list item begins a sentence."""
    text = re.sub(r"```.*?```|<!--.*?-->|^::: .*?(?=\n\n|\Z)", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^ *([|#!<]|    ).*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"`[^`]*`|\[([^\]]*)\]\([^)]*\)", lambda match: match[1] or "x", text)
    for part in re.split(r"\n\s*\n|\n(?=\s*(?:[*-]|\d+\.) )|(?<=[.!?])\s+", text):
        if re.search(r"\w", part):
            yield part


def main(option: str = "") -> str:
    """Print the table, or return what is outside its limit."""
    measures, limits = measure(), json.loads(LIMITS.read_text("utf-8"))
    outside: list[str] = []
    for name, value in measures.items():
        maximum, minimum = limits["at most"].get(name), limits["at least"].get(name)
        if maximum is not None and value > maximum:
            outside.append(f"{name}: {value:g}, at most {maximum:g}")
        if minimum is not None and value < minimum:
            outside.append(f"{name}: {value:g}, at least {minimum:g}")
    if option == "--check":
        return "\n".join(outside)
    rows = [
        f"| {name} | {value:,g} | {limits['at most'].get(name, limits['at least'].get(name, ''))} |"
        for name, value in measures.items()
    ]
    print("| measure | now | limit |\n|---|---:|---:|")
    print("\n".join(rows))
    return ""


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) or 0)
