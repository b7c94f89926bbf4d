"""Import the public names of a package at their first use."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any


def add_lazy_names(package: dict[str, Any], homes: Mapping[str, str]) -> None:
    """Add names to a package, by its `globals()`, that are imported at their first use. Its `dir` is its `__all__`.

    Type checkers read the same names from imports under `if TYPE_CHECKING:`. `homes` maps one or more names, which are
    separated by spaces, to the module that defines them.
    """
    own = package["__name__"]
    home_of = {name: module for names, module in homes.items() for name in names.split()}
    package["__all__"] = sorted({*package.get("__all__", ()), *home_of})

    def load(name: str) -> Any:  # noqa: ANN401  # what a module's __getattr__ gives
        if name not in home_of:
            raise AttributeError(f"module {own!r} has no attribute {name!r}", name=name)
        package[name] = value = getattr(import_module(home_of[name]), name)
        return value

    package["__getattr__"] = load
    package["__dir__"] = lambda: sorted(package["__all__"])


class LazyModule:
    """Module that is imported when one of its names is first used. Type checkers read a real import."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # what the module contains
        value = getattr(import_module(self._name), name)
        setattr(self, name, value)
        return value
