"""The error for a name that MediaPipe has and this package does not."""

from __future__ import annotations

from collections.abc import Iterable


def not_covered(module: str, name: str, covered: Iterable[str]) -> AttributeError:
    """An error that names what there is.

    >>> not_covered("solutions", "pose", ["hands"])
    AttributeError("solutions has no 'pose'; covered: hands")
    """
    names = ", ".join(sorted(entry for entry in covered if not entry.startswith("_")))
    return AttributeError(f"{module} has no {name!r}; covered: {names}", name=name)
