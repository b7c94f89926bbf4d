"""Import the public names of a package at their first use."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def add_lazy_names(
    package: dict[str, Any],
    homes: Mapping[str, str] | None = None,
    *,
    modules: str = "",
    of: str | None = None,
    refuse: Callable[[str], AttributeError] | None = None,
) -> None:
    """Add names to a package that are imported at their first use. Its `dir` is then its `__all__`.

    By default the names are those that the package imports `as` themselves under `if TYPE_CHECKING:`, which type
    checkers read as well. They become its `__all__`.

    Args:
        package: The `globals()` of the package.
        homes: Names, separated by spaces, by the module that defines them: `.base` in the package, or a full name.
        modules: Names of modules of the package that are public too.
        of: Package that contains the modules; by default the package itself.
        refuse: Function that returns the error for an unknown name.
    """
    module = of or package["__name__"]
    if homes is None:
        home_of = _imports_for_types(package)
        package["__all__"] = sorted(home_of)
    else:
        home_of = {name: home for home, names in homes.items() for name in names.split()}
    modules_of = frozenset(modules.split())

    def load(name: str) -> Any:  # noqa: ANN401  # what a module's __getattr__ gives
        if name in modules_of:
            value = import_module(f"{module}.{name}")
        elif name in home_of:
            value = getattr(import_module(home_of[name], module), name)
        elif refuse is not None:
            raise refuse(name)
        else:
            raise AttributeError(f"module {module!r} has no attribute {name!r}", name=name)
        package[name] = value
        return value

    package["__getattr__"] = load
    package["__dir__"] = lambda: sorted(package["__all__"])


def _imports_for_types(package: Mapping[str, Any]) -> dict[str, str]:
    """Return the module of each name that a package imports `as` itself under `if TYPE_CHECKING:`."""
    source = package["__loader__"].get_source(package["__name__"])
    blocks = (node for node in ast.parse(source).body if isinstance(node, ast.If))
    return {
        name.name: node.module
        for block in blocks
        if ast.unparse(block.test) == "TYPE_CHECKING"
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module is not None
        for name in node.names
        if name.name == name.asname
    }
