"""Run a recipe, once everything that it was given is known to be right."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sonjit.errors import InputError
from sonjit.training.recipes.files import Recipe, load_recipe
from sonjit.training.recipes.settings import settings_from

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sonjit.training.recipes.request import TrainingRequest

_WEIGHT_FILES = (".safetensors", ".pth", ".pt", ".tar", ".pkl", ".tflite", ".task")
"""Endings by which weights are a path and no name."""


def run_recipe(request: TrainingRequest) -> Mapping[str, object]:
    """Train what is asked for.

    Raises:
        InputError: an unknown recipe or setting, or data that cannot be used.
    """
    recipe = load_recipe(request.recipe)
    return _named(recipe, recipe.function)(prepare(recipe, request))


def prepare(recipe: Recipe, request: TrainingRequest) -> TrainingRequest:
    """What the recipe's function is given: its settings, the small size's, then those typed, all known to be right.

    Raises:
        InputError: a setting, path or option that cannot be, before any work starts.
    """
    settings = {**recipe.settings, **(recipe.smoke if request.smoke else {}), **request.settings}
    try:
        settings_from(_named(recipe, recipe.settings_class), settings)
    except InputError as error:
        raise InputError(f"{recipe.name}: {error}") from None
    for option in recipe.requires:
        if getattr(request, option) is None:
            raise InputError(f"{recipe.name}: give --{option}; it learns from {recipe.data}")
    for path in (request.data, request.images):
        if path is not None and not path.exists():
            raise InputError(f"{path}: no such file or folder")
    weights = Path(request.weights or "")
    if (weights.suffix in _WEIGHT_FILES or len(weights.parts) > 1) and not weights.exists():
        raise InputError(f"{request.weights}: no such file")
    if request.out.exists() and not request.out.is_dir():
        raise InputError(f"{request.out}: cannot be written: it is no folder")
    return replace(request, recipe=recipe.name, settings=settings)


def _named(recipe: Recipe, name: str) -> Any:  # noqa: ANN401  # a function or class
    """What a recipe names as `module:name`."""
    module, _, attribute = name.partition(":")
    try:
        found = import_module(module)
    except ModuleNotFoundError as error:
        if error.name and module.startswith(error.name):
            raise InputError(f"recipe {recipe.name}: no module {module}") from None
        raise
    except ValueError:
        raise InputError(f"recipe {recipe.name}: {name!r} is no module:name") from None
    if not hasattr(found, attribute):
        raise InputError(f"recipe {recipe.name}: {module} has no {attribute!r}")
    return getattr(found, attribute)
