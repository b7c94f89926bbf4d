"""Recipes as files: what is trained, with which settings, from what data, and which grids are worth running."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sonjit.errors import InputError
from sonjit.training.recipes.settings import settings_from

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable


@dataclass(frozen=True)
class AblationRow:
    """One line of a grid.

    Attributes:
        label: for people.
        set: settings that make this row what it is.
        smoke_set: the same at the small size, over these.
        published: the figure of the published table; None without one.
    """

    label: str
    set: Mapping[str, Any] = field(default_factory=dict[str, Any])
    smoke_set: Mapping[str, Any] = field(default_factory=dict[str, Any])
    published: float | None = None


@dataclass(frozen=True)
class Ablation:
    """A grid: each row trained with each seed.

    Attributes:
        title: for people.
        figure: key of what the recipe's function returns.
        rows: in the order of the published table.
        higher_is_better: of the figure.
        seeds: put into the setting `seed`.
        unit: of the figure; "" without one.
        also: keys of other things that it returns and that the table shows, such as parameters.
        source: of the published figures.
        notes: what one has to know to read the table, such as what the data stand for.
        settings: of all rows.
        smoke_settings: of all rows at the smoke size, over these.
    """

    title: str
    figure: str
    rows: tuple[AblationRow, ...]
    higher_is_better: bool = True
    seeds: tuple[int, ...] = (0, 1, 2)
    unit: str = ""
    also: tuple[str, ...] = ()
    source: str = ""
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    smoke_settings: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Recipe:
    """One thing to train.

    Attributes:
        name: of its file.
        summary: one line.
        function: where it stands, `module:function`; it takes a `TrainingRequest` and gives a mapping of what is worth
            telling, such as `{"weights": path, "error_px": 0.8}`.
        settings_class: where the dataclass of its settings stands, `module:class`.
        data: what it learns from, and what the data stand for.
        licence: of data and weights, where there is something to know.
        requires: options without which it cannot begin.
        settings: of the real size, where they differ from the dataclass.
        smoke: settings of the small size, over the others.
        ablation: grids by name.
    """

    name: str
    summary: str
    function: str
    settings_class: str
    data: str
    licence: str = ""
    requires: tuple[Literal["data", "images", "weights"], ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    smoke: Mapping[str, Any] = field(default_factory=dict[str, Any])
    ablation: Mapping[str, Ablation] = field(default_factory=dict[str, Ablation])


def list_recipes() -> list[str]:
    """Names of all recipes, in order."""
    return sorted(file.name.removesuffix(".toml") for file in _folder().iterdir() if file.name.endswith(".toml"))


def load_recipe(name: str) -> Recipe:
    """One recipe.

    Args:
        name: of Sonjit's own, or the path of a TOML file.

    Raises:
        InputError: an unknown name, or a file that is no recipe; the line names the key.
    """
    file: Traversable = Path(name)
    if not name.endswith(".toml"):
        if name not in (known := list_recipes()):
            raise InputError(f"unknown recipe {name!r}; known: {', '.join(known)}, or the path of a TOML file")
        file = _folder() / f"{name}.toml"
    try:
        table = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{name}: not TOML: {error}") from None
    return recipe_from_table(table, Path(name).stem if name.endswith(".toml") else name)


def recipe_from_table(table: Mapping[str, Any], name: str) -> Recipe:
    """A recipe out of what TOML holds.

    Raises:
        InputError: an unknown or missing key, or a value of another type.
    """
    try:
        return settings_from(Recipe, {**table, "name": name})
    except InputError as error:
        raise InputError(f"recipe {name}: {error}") from None


def _folder() -> Traversable:
    return resources.files("sonjit.training") / "recipes"
