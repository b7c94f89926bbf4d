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
    refuse: Callable[[str], AttributeError] | None = None,
) -> None:
    """Add names to a package that are imported at their first use. Its `dir` is then its `__all__`.

    Type checkers read the same names from imports under `if TYPE_CHECKING:`.

    Args:
        package: The `globals()` of the package.
        homes: Module that defines one or more names, which are separated by spaces. The package itself is the home of
            its modules. Default: as the imports for type checkers say, which requires the source file of the package.
        refuse: Function that returns the error for an unknown name.
    """
    own = package["__name__"]
    given = _imports_for_types(package) if homes is None else homes
    home_of = {name: module for names, module in given.items() for name in names.split()}
    package["__all__"] = sorted({*package.get("__all__", ()), *home_of})

    def load(name: str) -> Any:  # noqa: ANN401  # what a module's __getattr__ gives
        if name not in home_of:
            raise refuse(name) if refuse else AttributeError(f"module {own!r} has no attribute {name!r}", name=name)
        home = import_module(home_of[name])
        value = import_module(f"{home_of[name]}.{name}") if vars(home) is package else getattr(home, name)
        package[name] = value
        return value

    package["__getattr__"] = load
    package["__dir__"] = lambda: sorted(package["__all__"])


def _imports_for_types(package: Mapping[str, Any]) -> dict[str, str]:
    """Return the module of each name that a package imports with `as` under `if TYPE_CHECKING:`."""
    blocks = (node for node in ast.parse(package["__loader__"].get_source(package["__name__"])).body)
    return {
        name.asname: node.module if name.name == name.asname else package["__name__"]
        for block in blocks
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module is not None
        for name in node.names
        if name.asname is not None
    }
