"""What `sonjit train` can train: one TOML file per recipe, and the settings that `--set key=value` changes.

A recipe names a function from a `TrainingRequest` to what is worth telling at the end; it stands in a file of its own,
which is imported only when it is asked for.
"""

from sonjit.training.recipes.files import Ablation, AblationRow, Recipe, list_recipes, load_recipe, settings_from
from sonjit.training.recipes.run import Progress, TrainingRequest, no_progress, prepare, run_recipe

__all__ = [
    "Ablation",
    "AblationRow",
    "Progress",
    "Recipe",
    "TrainingRequest",
    "list_recipes",
    "load_recipe",
    "no_progress",
    "prepare",
    "run_recipe",
    "settings_from",
]
