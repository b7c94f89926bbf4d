"""SECURITY.md lists every call that removes, renames or replaces a file, so that new ones are reviewed."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PACKAGE = PROJECT / "src" / "sonjit"
SECTION = (PROJECT / "SECURITY.md").read_text().partition("## Removed files")[2].partition("\n## ")[0]
METHODS = {"rmtree", "unlink", "rmdir", "removedirs", "rename", "renames", "truncate", "ftruncate"}
TEMPORARY = {"TemporaryDirectory", "NamedTemporaryFile", "TemporaryFile", "SpooledTemporaryFile", "mkdtemp", "mkstemp"}
OF_MODULES = {"os.remove", "os.replace", "shutil.move"}


def removals(source):
    """Count the calls that remove, rename or replace files, and temporary files, by the function or class."""
    counts = Counter()

    def visit(node, scope):
        for child in ast.iter_child_nodes(node):
            is_scope = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            if isinstance(child, ast.Attribute | ast.Name):
                name = child.attr if isinstance(child, ast.Attribute) else child.id
                full = ast.unparse(child)
                counts[scope] += name in METHODS | TEMPORARY or full in OF_MODULES
            elif isinstance(child, ast.Call) and isinstance(child.func, ast.Attribute):
                counts[scope] += is_path_replaced(child)
            visit(child, f"{scope}.{child.name}".lstrip(".") if is_scope else scope)

    visit(ast.parse(source), "")
    return +counts


def is_path_replaced(call):
    """Check whether a call is `Path.replace`, with one argument. Those of texts have two; OpenVINO's are of outputs."""
    if call.func.attr != "replace" or len(call.args) != 1 or call.keywords or isinstance(call.args[0], ast.Starred):
        return False
    return not re.search(r"\boutput\(0\)$", ast.unparse(call.func.value))


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("shutil.rmtree(folder)", 1),
        ("file.unlink(missing_ok=True)", 1),
        ("cleaner.submit(shutil.rmtree, folder)", 1),
        ("os.remove(name)", 1),
        ("items.remove(name)", 0),
        ("draft.replace(path)", 1),
        ("os.replace(draft, path)", 1),
        ("text.replace('a', 'b')", 0),
        ("node.output(0).replace(other.output(0))", 0),
        ("with TemporaryDirectory() as folder: pass", 1),
    ],
)
def test_removals_are_found(line, count):
    assert sum(removals(f"def function():\n    {line}\n").values()) == count


def test_the_page_lists_every_removal():
    found = {
        f"{path.relative_to(PACKAGE).as_posix()}::{scope}": count
        for path in PACKAGE.rglob("*.py")
        for scope, count in removals(path.read_text()).items()
    }
    listed = re.findall(r"`([\w/]+\.py::[\w.]+)`", SECTION)
    assert sorted(listed) == sorted(found)
    assert f"{sum(found.values())} calls in {len(found)} functions" in SECTION
