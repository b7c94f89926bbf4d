"""Recipes: each file of ours can begin, and what cannot be is told in one line before any work starts."""

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from sonjit import InputError
from sonjit.training.augment import AugmentationSettings
from sonjit.training.recipes import (
    TrainingRequest,
    list_recipes,
    load_recipe,
    prepare,
    recipe_from_table,
    run_recipe,
    settings_from,
)

RECIPE = """summary = "one"
function = "sonjit.training.images.cam:train_cam"
settings_class = "sonjit.training.images.cam:CamSettings"
data = "nothing"

[settings]
steps = 3

[smoke]
steps = 2
"""


@dataclass(frozen=True)
class Everything:
    count: int = 1
    learning_rate: float = 1.0
    fast: bool = False
    kind: Literal["a", "b"] = "a"
    names: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()
    mix: dict[str, float] = field(default_factory=dict)
    limit: int | None = 5


@pytest.fixture
def recipe(tmp_path):
    def write(text=RECIPE):
        file = tmp_path / "mine.toml"
        file.write_text(text, "utf-8")
        return str(file)

    return write


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_is_whole(name, tmp_path):
    recipe = load_recipe(name)
    assert recipe.summary
    assert recipe.data
    needs = {one: str(tmp_path) if one == "weights" else tmp_path for one in recipe.requires}
    for smoke in (False, True):
        ready = prepare(recipe, TrainingRequest(name, tmp_path, smoke=smoke, **needs))
        assert ready.recipe == name
        for grid in recipe.ablation.values():
            for row in grid.rows:
                small = grid.smoke_settings | row.set | row.smoke_set if smoke else row.set
                given = grid.settings | small | {"seed": grid.seeds[0]}
                prepare(recipe, TrainingRequest(name, tmp_path, smoke=smoke, settings=given, **needs))


def test_typed_settings_come_over_smoke_over_the_recipes_own(recipe, tmp_path):
    read = load_recipe(recipe())
    for request, steps in (
        (TrainingRequest("mine", tmp_path), 3),
        (TrainingRequest("mine", tmp_path, smoke=True), 2),
        (TrainingRequest("mine", tmp_path, smoke=True, settings={"steps": "1"}), "1"),
    ):
        assert prepare(read, request).settings["steps"] == steps


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("summary = ", "not TOML"),
        ("colour = 1\n" + RECIPE, "recipe mine: unknown setting 'colour'; known: name, summary"),
        (RECIPE.replace("data =", "# data ="), "recipe mine: data is missing"),
        (RECIPE.replace("steps = 3", "stepz = 3"), "mine: unknown setting 'stepz'; known: steps"),
        (RECIPE.replace("steps = 3", "steps = 3.5"), "mine: steps=3.5: give a whole number"),
        (RECIPE.replace("steps = 2", "steps = true").replace("[smoke]", "[more]"), "unknown setting 'more'"),
        (RECIPE + "[ablation.a]\ntitle = 'a'\nmetric = 'b'\n", "ablation.a: rows is missing"),
        (
            RECIPE + "[ablation.a]\ntitle = 'a'\nmetric = 'b'\n[[ablation.a.rows]]\nset = {}\n",
            r"ablation.a: rows\[0\]: label is missing",
        ),
        (RECIPE.replace("cam:train_cam", "cam:train_dog"), "sonjit.training.images.cam has no 'train_dog'"),
        (RECIPE.replace("cam:CamSettings", "dog:DogSettings"), "no module sonjit.training.images.dog"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(text, said, recipe, tmp_path):
    with pytest.raises(InputError, match=said) as error:
        run_recipe(TrainingRequest(recipe(text), tmp_path / "run"))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_missing_files_are_told_before_any_work(recipe, tmp_path):
    gone = tmp_path / "gone.pth"
    for given in ({"data": gone}, {"images": gone}, {"weights": str(gone)}):
        with pytest.raises(InputError, match="no such file"):
            run_recipe(TrainingRequest(recipe(), tmp_path / "run", **given))
    with pytest.raises(InputError, match="give --data; it trains on nothing"):
        run_recipe(TrainingRequest(recipe('requires = ["data"]\n' + RECIPE), tmp_path / "run"))
    with pytest.raises(InputError, match="not a folder"):
        run_recipe(TrainingRequest(recipe(), tmp_path / "mine.toml"))
    with pytest.raises(InputError, match="cannot be read"):
        load_recipe(str(tmp_path / "gone.toml"))


def test_unknown_recipes_say_what_is_known(tmp_path):
    with pytest.raises(InputError, match=r"unknown recipe 'feet'; known: .*hand-full"):
        run_recipe(TrainingRequest("feet", tmp_path))


@pytest.mark.parametrize(
    ("name", "typed", "written"),
    [
        ("count", "7", 7),
        ("learning_rate", "1e-4", 1e-4),
        ("fast", "True", True),
        ("kind", "b", "b"),
        ("names", "a, b", ["a", "b"]),
        ("sizes", "1,2", [1, 2]),
        ("mix", "real=0.5,synthetic=0.25", {"real": 0.5, "synthetic": 0.25}),
        ("limit", "none", None),
        ("limit", "3", 3),
    ],
)
def test_typed_and_written_settings_read_the_same(name, typed, written):
    read = settings_from(Everything, {name: typed})
    assert read == settings_from(Everything, {name: written})
    assert getattr(read, name) == (tuple(written) if isinstance(written, list) else written)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"counts": "7"}, "unknown setting 'counts'; known: count, learning_rate"),
        ({"count": "7.5"}, "count=7.5: give a whole number"),
        ({"count": True}, "count=True: give a whole number"),
        ({"learning_rate": "fast"}, "learning_rate=fast: give a number"),
        ({"fast": "perhaps"}, "fast=perhaps: give true or false"),
        ({"kind": "c"}, "kind=c: give a or b"),
        ({"names": [1]}, r"names\[0\]=1: give text"),
        ({"mix": "half"}, "mix=half: give name=value"),
        ({"mix": {"real": "much"}}, "mix.real=much: give a number"),
    ],
)
def test_values_of_another_type_are_refused(given, said):
    with pytest.raises(InputError, match=said):
        settings_from(Everything, given)


@pytest.mark.slow
def test_the_recipes_of_the_documentation_run(tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text("utf-8")
    augmentation, written = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    settings_from(AugmentationSettings, tomllib.loads(augmentation)["settings"]["augmentation"])
    recipe = recipe_from_table(tomllib.loads(written), "gloves")
    prepare(recipe, TrainingRequest("gloves", tmp_path, data=tmp_path))
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    module = "line_of_the_documentation"
    (tmp_path / f"{module}.py").write_text(code, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "line.toml").write_text(
        f'summary = "a"\ndata = "b"\nfunction = "{module}:train_line"\nsettings_class = "{module}:LineSettings"\n'
    )
    results = run_recipe(
        TrainingRequest(str(tmp_path / "line.toml"), tmp_path / "run", settings={"learning_rate": "0.05"})
    )
    assert results["error"] < 0.05
