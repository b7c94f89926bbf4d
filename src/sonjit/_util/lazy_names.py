"""Import the public names of a package, and slow modules, at their first use."""

import re
from collections.abc import Callable
from importlib import import_module
from typing import Any

_NAME = re.compile(r"^from (\S+) import (\w+) as \2$", re.MULTILINE)


def names_from_stub(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return `__getattr__`, `__dir__` and `__all__` of a package whose public names are listed in `__init__.pyi`.

    A name is imported at its first use. Type checkers read the same list. `file` is the package's `__file__`.

    >>> from sonjit import runs
    >>> names_from_stub("sonjit.runs", runs.__file__)[2][0]
    'AngleLimits'
    """
    with open(f"{file.removesuffix('.py')}.pyi", encoding="utf-8") as stub:  # noqa: PTH123  # pathlib is slow to import
        modules = {name: module for module, name in _NAME.findall(stub.read())}

    def load(name: str) -> Any:  # noqa: ANN401  # what a module's __getattr__ gives
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name)
        value = getattr(import_module(modules[name]), name)
        setattr(import_module(package), name, value)
        return value

    return load, lambda: sorted(modules), sorted(modules)


class LazyModule:
    """Module that is imported when one of its names is first used. Type checkers read a real import."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # what the module contains
        value = getattr(import_module(self._name), name)
        setattr(self, name, value)
        return value
