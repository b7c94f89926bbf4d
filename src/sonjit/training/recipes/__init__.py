"""What `sonjit train` can train: one TOML file per recipe, and the settings that `--set key=value` changes.

A recipe names a function from a `TrainingRequest` to a mapping of results. The function's module is imported only when
the recipe is run, and may lie outside this package.
"""

from sonjit.training.recipes.recipe import (
    Ablation,
    AblationRow,
    Progress,
    Recipe,
    TrainingRequest,
    list_recipes,
    load_recipe,
    no_progress,
    prepare,
    run_recipe,
    settings_from,
)

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
