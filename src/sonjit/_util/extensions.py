"""Registries, and the extensions that fill them.

An extension is a module whose import registers something, or a function that does. Sonjit has three ways to find
extensions:

* Entry points of the group `sonjit.extensions` of installed packages. Those of the group `sonjit.networks` may import
  PyTorch, and are loaded when networks are requested.
* Modules and files in the environment variable `SONJIT_EXTENSIONS`, separated by commas.
* Modules that a program passes to `load_extension`.

The command line, the server and worker processes load all of them at start. Other programs load the first two when a
name is unknown.
"""

import os
import threading
from collections import UserDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from sonjit._util.errors import InputError, JobError, already_registered, unknown_name
from sonjit._util.extras import MissingPackageError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Value = TypeVar("Value")
EXTENSIONS: Final = "sonjit.extensions"
NETWORKS: Final = "sonjit.networks"
VARIABLE: Final = "SONJIT_EXTENSIONS"
_FILE_ENDING: Final = ".toml"  # of the files that describe networks
_lock = threading.RLock()  # an extension may look up names while it is imported
_loaded: "dict[str, list[Extension]]" = {}
_modules: dict[str, Callable[[str], ModuleType]] = {}
_file_loaders: dict[str, Callable[[str], ModuleType]] = {}  # by the ending of their files


def resolved(value: Value | str) -> Value:
    """Return a value. An import string such as `"json:dumps"` is replaced by the object that it names."""
    return cast("Value", resolve_name(value)) if isinstance(value, str) else value


class Registry(UserDict[str, Value]):
    """Values by name, called `what` in messages; unknown names are searched in the extensions of a group.

    A value may be an import string. Its module is imported when the value is first used.
    """

    def __init__(self, what: str, group: str = EXTENSIONS, values: Mapping[str, Value | str] | None = None) -> None:
        super().__init__()
        self.what, self.group = what, group
        self.data |= cast("Mapping[str, Value]", values or {})

    def __getitem__(self, name: str) -> Value:
        """Return a value, imported if it is an import string."""
        self.data[name] = value = resolved(self.data[name])
        return value

    def add(self, name: str, value: Value | str, *, replace: bool = False) -> None:
        """Register a value, or an import string."""
        if name in self and not replace:
            raise InputError(already_registered(self.what, name))
        self[name] = cast("Value", value)

    def has(self, name: str) -> bool:
        """Check whether the name is registered, here or by an extension."""
        if name not in self:
            load_extensions(self.group)
        return name in self

    def find(self, name: str) -> Value:
        """Return the value of a name."""
        if not self.has(name):
            raise InputError(unknown_name(self.what, name, sorted(self)) + extension_problems())
        return self[name]


FUNCTIONS: Final[Registry[Callable[..., Any]]] = Registry("function")
"""Functions of other distributions that the tracker calls by name, such as those that require PyTorch."""


def find_function(name: str, purpose: str) -> Callable[..., Any]:
    """Return a function of the lab.

    Raise MissingPackageError with the purpose if no installed extension has added it to `FUNCTIONS`.
    """
    if not FUNCTIONS.has(name):
        raise MissingPackageError(purpose, "sonjit-lab")
    return FUNCTIONS[name]


@dataclass(frozen=True)
class Extension:
    """An extension that was found."""

    name: str  # name of the entry point, or of the module
    package: str  # name and version of the package, or the environment variable
    target: str  # imported object, "module" or "module:function"
    problem: str | None = None  # reason why it could not be loaded, and the remedy, in one line. None if it was loaded.


def add_file_loader(load: Callable[[str], ModuleType]) -> None:
    """Load extensions that are TOML files with a function."""
    _file_loaders[_FILE_ENDING] = load


def load_extension(module: str) -> ModuleType:
    """Import a module that registers something, here and in every worker process of this program.

    Example:
        >>> import sonjit
        >>> sonjit.load_extension("fractions").__name__  # a module of your own
        'fractions'

    Args:
        module: Name of a module that this program and its workers can import, or path of a TOML file that describes a
            network of your own.

    Raise InputError if the module cannot be imported, or the file is missing or wrong.
    """
    file_loader = _file_loaders.get(Path(module).suffix)
    if file_loader is not None:
        return _import_extension(str(Path(module).absolute()), file_loader)
    return _import_extension(module, import_module)


def _import_extension(name: str, load: Callable[[str], ModuleType]) -> ModuleType:
    try:
        loaded = load(name)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"extension {name} cannot be imported ({_in_one_line(error)})") from error
    _modules[name] = load
    return loaded


def load_extensions(*groups: str) -> list[Extension]:
    """Load the extensions of these groups once, by default the main one. One that fails affects no other."""
    with _lock:
        for group in groups or (EXTENSIONS,):
            if group not in _loaded:
                _loaded[group] = extensions = []
                extensions += [_load_entry_point(point) for point in _entry_points(group)]
            if group == EXTENSIONS:
                _load_listed(_loaded[group])
        return [extension for group in groups or (EXTENSIONS,) for extension in _loaded[group]]


def _load_listed(loaded: list[Extension]) -> None:
    """Add the extensions of the environment variable. Files wait until the package that loads them is imported."""
    for name in _listed():
        extension = Extension(name, VARIABLE, name)
        load = _file_loaders.get(Path(name).suffix, import_module)
        waits = name.endswith(_FILE_ENDING) and load is import_module
        if not waits and all(earlier.target != name or earlier.package != VARIABLE for earlier in loaded):
            loaded.append(_loaded_by(partial(load, name), extension, f"change {VARIABLE}"))


def extension_packages() -> frozenset[str]:
    """Return the top-level packages of all extensions that the user installed, listed or loaded, without an import."""
    declared = [point.module for group in (EXTENSIONS, NETWORKS) for point in _entry_points(group)]
    return frozenset(name.partition(".")[0] for name in (*declared, *_listed(), *_modules))


def _listed() -> list[str]:
    """Return the modules that the environment variable names."""
    return [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]


def extension_problems() -> str:
    """Return the problems of extensions as further sentences of an error message about an unknown name."""
    problems = (extension.problem for extensions in _loaded.values() for extension in extensions)
    return "".join(f" {problem[0].upper()}{problem[1:]}." for problem in problems if problem)


def _entry_points(group: str) -> "list[EntryPoint]":
    from importlib.metadata import entry_points  # slow to import

    return sorted({*entry_points(group=group)}, key=lambda point: point.name)


def _load_entry_point(point: "EntryPoint") -> Extension:
    name, version = (point.dist.name, point.dist.version) if point.dist else ("an unknown package", "")
    extension = Extension(point.name, f"{name} {version}".rstrip(), point.value)
    return _loaded_by(point.load, extension, f"update it or pip uninstall {name}")


def _loaded_by(load: Callable[[], object], extension: Extension, remedy: str) -> Extension:
    try:
        loaded = load()
        if callable(loaded):
            loaded()
    except Exception as error:
        problem = (
            f"extension {extension.name!r} of {extension.package} is left out: {extension.target} fails with "
            f"{_in_one_line(error)}; {remedy}"
        )
        return Extension(extension.name, extension.package, extension.target, problem)
    return extension


def _in_one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


@dataclass(frozen=True)
class LoadedExtensions:
    """Groups of entry points and modules that a process loaded, in a form that another process can load."""

    groups: tuple[str, ...]
    modules: tuple[tuple[str, Callable[[str], ModuleType]], ...]  # names, and the functions that load them

    @classmethod
    def snapshot(cls) -> "LoadedExtensions":
        """Return the extensions of this process."""
        return cls(tuple(_loaded), tuple(_modules.items()))

    def load(self) -> None:
        """Load the same extensions in this process. A module that cannot be imported is a JobError."""
        load_extensions(*self.groups)
        for name, load in self.modules:
            try:
                _import_extension(name, load)
            except InputError as error:
                raise JobError(
                    f"a worker process failed: {error}; put the module on PYTHONPATH or install it"
                ) from None
