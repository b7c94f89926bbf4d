"""The error for a name that MediaPipe has and this package does not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import ModuleType


def not_covered(module: str, name: str, covered: Iterable[str]) -> AttributeError:
    """An error that names what there is.

    >>> not_covered("solutions", "pose", ["hands"])
    AttributeError("solutions has no 'pose'; covered: hands")
    """
    names = ", ".join(sorted(entry for entry in covered if not entry.startswith("_")))
    return AttributeError(f"{module} has no {name!r}; covered: {names}", name=name)


def name_what_is_covered(*modules: ModuleType) -> None:
    """Let modules that do not do so themselves say what there is, when a name is asked for that is not."""
    for module in modules:
        if "__getattr__" not in vars(module):
            vars(module)["__getattr__"] = _refusal(module)


def _refusal(module: ModuleType) -> Callable[[str], object]:
    def refuse(name: str) -> object:
        own = (
            key
            for key, value in vars(module).items()
            if not isinstance(value, ModuleType) and getattr(value, "__module__", module.__name__) == module.__name__
        )
        raise not_covered(module.__name__, name, vars(module).get("__all__", own))

    return refuse
