"""Raise errors for names of MediaPipe that this package does not cover."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any

from sonjit._util.lazy_names import add_lazy_names


def not_covered(module: str, name: str, covered: Iterable[str]) -> AttributeError:
    """Return an error that lists the available names.

    >>> not_covered("solutions", "pose", ["hands"])
    AttributeError("solutions has no 'pose'; covered: hands")
    """
    names = ", ".join(sorted(entry for entry in covered if not entry.startswith("_")))
    return AttributeError(f"{module} has no {name!r}; covered: {names}", name=name)


def add_covered_names(package: dict[str, Any], homes: Mapping[str, str] | None = None) -> None:
    """Call `add_lazy_names` and let unknown names list the available ones.

    Args:
        package: `globals()` of the package.
        homes: The module that defines each name, as in `add_lazy_names`.
    """

    def refuse(name: str) -> AttributeError:
        return not_covered(package["__name__"], name, package["__all__"])

    add_lazy_names(package, homes, refuse=refuse)


def install_attribute_errors(module: dict[str, Any]) -> None:
    """Make unknown names of a module, given by its `globals()`, list the available ones."""
    module["__getattr__"] = _refusal(module)


def _refusal(module: dict[str, Any]) -> Callable[[str], object]:
    def refuse(name: str) -> object:
        own = (
            key
            for key, value in module.items()
            if not isinstance(value, ModuleType)
            and getattr(value, "__module__", module["__name__"]) == module["__name__"]
        )
        raise not_covered(module["__name__"], name, module.get("__all__", own))

    return refuse
