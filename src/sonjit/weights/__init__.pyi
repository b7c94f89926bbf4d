"""Public names of `sonjit.weights`. `names_from_stub` reads this file."""

from sonjit.weights.bundles import TaskBundle as TaskBundle
from sonjit.weights.bundles import add_bundle as add_bundle
from sonjit.weights.bundles import has_bundle as has_bundle
from sonjit.weights.bundles import list_bundles as list_bundles
from sonjit.weights.bundles import load_bundle as load_bundle
from sonjit.weights.catalog import Weight as Weight
from sonjit.weights.catalog import cache_folder as cache_folder
from sonjit.weights.catalog import find_weight as find_weight
from sonjit.weights.catalog import load_catalog as load_catalog
from sonjit.weights.catalog import load_groups as load_groups
from sonjit.weights.catalog import models_folder as models_folder
from sonjit.weights.catalog import select_weights as select_weights
from sonjit.weights.catalog import verify_weights as verify_weights
from sonjit.weights.pull import pull_weights as pull_weights
