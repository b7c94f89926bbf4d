"""What is known by name, and what other packages add to it.

An installed package names, in an entry point of the group `sonjit.extensions`, a module whose import registers what it
adds, or a function that does. The command line, the server and worker processes import it when they start, other
programs when a name is unknown. What must import PyTorch to register (networks) goes into the group `sonjit.networks`,
which is imported when networks are asked for.
"""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from sonjit.errors import InputError, JobError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Value = TypeVar("Value")

EXTENSIONS: Final = "sonjit.extensions"
NETWORKS: Final = "sonjit.networks"

_lock = threading.RLock()  # an extension may look up names while it is imported
_loaded: dict[str, list[Extension]] = {}
_modules: dict[str, None] = {}


class Registry(dict[str, Value]):
    """What is known by name; an unknown name is looked for in the installed extensions.

    Attributes:
        what: one entry is called in messages.
        group: of the entry points that add to it.
    """

    def __init__(self, what: str, group: str = EXTENSIONS) -> None:
        super().__init__()
        self.what, self.group = what, group

    def add(self, name: str, value: Value, *, replace: bool = False) -> Value:
        """Make a value known; to be called by the function with which other modules register.

        Raises:
            InputError: the name is taken, and `replace` is not set.
        """
        if name in self and not replace:
            raise InputError(f"{self.what} {name!r} is there already; give yours a name of its own")
        self[name] = value
        module = sys._getframe(2).f_globals.get("__name__", "__main__")  # pyright: ignore[reportPrivateUsage]
        if module.partition(".")[0] != "sonjit":
            _modules[module] = None
        return value

    def has(self, name: str) -> bool:
        """Whether the name is known, here or in an installed extension."""
        if name not in self:
            load_extensions(self.group)
        return name in self

    def find(self, name: str) -> Value:
        """The value of a name; InputError with the list of known names where there is none."""
        if not self.has(name):
            raise InputError(f"unknown {self.what} {name!r}; known: {', '.join(sorted(self))}{extension_problems()}")
        return self[name]


@dataclass(frozen=True)
class Extension:
    """An installed extension.

    Attributes:
        name: of its entry point.
        package: that brings it, with its version.
        place: what is imported, "module" or "module:function".
        problem: why it could not be loaded and what to do, in one line; None where it was.
    """

    name: str
    package: str
    place: str
    problem: str | None = None


def load_extensions(*groups: str) -> list[Extension]:
    """Load the installed extensions of these groups, each once; one that fails leaves the others as they are.

    Args:
        groups: of entry points; by default `sonjit.extensions`.
    """
    with _lock:
        for group in groups or (EXTENSIONS,):
            if group not in _loaded:
                _loaded[group] = found = []
                found += [_load(point) for point in _entry_points(group)]
        return [one for group in groups or (EXTENSIONS,) for one in _loaded[group]]


def extension_problems() -> str:
    """What could not be loaded, to be appended to a message about an unknown name; empty where all was."""
    return "".join(f"; {one.problem}" for found in _loaded.values() for one in found if one.problem)


def _entry_points(group: str) -> list[EntryPoint]:
    from importlib.metadata import entry_points  # slow to import

    return sorted(set(entry_points(group=group)), key=lambda one: one.name)


def _load(point: EntryPoint) -> Extension:
    package = f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"
    before = dict(_modules)
    try:
        loaded = point.load()
        if callable(loaded):
            loaded()
    except Exception as error:
        _modules.clear()
        _modules.update(before)  # workers must not stumble over what it registered before it failed
        problem = (
            f"extension {point.name!r} of {package} is left out: {point.value} fails with {_in_one_line(error)}; "
            f"update it or pip uninstall {point.dist.name if point.dist else 'it'}"
        )
        return Extension(point.name, package, point.value, problem)
    return Extension(point.name, package, point.value)


def _in_one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _has_file(module: str) -> bool:
    """Whether a module comes from a file: not typed in, nor read from standard input."""
    file = getattr(sys.modules[module], "__file__", None)
    return file is not None and Path(file).is_file()


@dataclass(frozen=True)
class Known:
    """What a process knows beyond this package, in a form that another process can load.

    Attributes:
        groups: whose extensions are loaded.
        modules: that registered something.
    """

    groups: tuple[str, ...]
    modules: tuple[str, ...]

    @classmethod
    def here(cls, *, shares_main: bool) -> Known:
        """Of this process.

        Args:
            shares_main: worker processes run the program's file too, without what is under `__name__ == "__main__"`.

        Raises:
            InputError: the program itself registered something, and workers do not run it.
        """
        modules = tuple(module for module in _modules if module != "__main__")
        if "__main__" in _modules and not (shares_main and _has_file("__main__")):
            raise InputError(
                "several processes: they do not know what __main__ registered; register it in a module and import that"
            )
        return cls(tuple(_loaded), modules)

    def load(self) -> None:
        """Know the same in this process.

        Raises:
            JobError: a module cannot be imported here.
        """
        load_extensions(*self.groups)
        for module in self.modules:
            try:
                import_module(module)
            except Exception as error:
                raise JobError(
                    f"a worker process cannot import {module}, which registers what the job may need "
                    f"({_in_one_line(error)}): put it where workers find it, on PYTHONPATH or installed"
                ) from None
