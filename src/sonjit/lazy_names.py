"""Names of a package that are imported, with the module that holds them, when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def add_lazy_names(
    package: dict[str, Any],
    homes: Mapping[str, str],
    *,
    modules: str = "",
    of: str | None = None,
    refuse: Callable[[str], AttributeError] | None = None,
) -> None:
    """Give a package names that are not imported yet. Its `dir` is then its `__all__`.

    Args:
        package: its `globals()`.
        homes: the names, with spaces between, by the module that holds them: `.base` below the package, or another
            by its whole name.
        modules: names of modules of the package that are such names themselves.
        of: the package whose modules these are; itself by default.
        refuse: the error for an unknown name.
    """
    place = of or package["__name__"]
    home_of = {name: home for home, names in homes.items() for name in names.split()}
    modules_of = frozenset(modules.split())

    def load(name: str) -> Any:  # noqa: ANN401  # what a module's __getattr__ gives
        if name in modules_of:
            value = import_module(f"{place}.{name}")
        elif name in home_of:
            value = getattr(import_module(home_of[name], place), name)
        elif refuse is not None:
            raise refuse(name)
        else:
            raise AttributeError(f"module {place!r} has no attribute {name!r}", name=name)
        package[name] = value
        return value

    package["__getattr__"] = load
    package["__dir__"] = lambda: sorted(package["__all__"])
