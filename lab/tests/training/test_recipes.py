"""Recipes: every shipped file starts, and errors are reported in one line before any work."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import ClassVar, Literal, get_args, get_origin, get_type_hints

import pytest

from sonjit import InputError
from sonjit_lab.training import augment, recipes

RECIPE = """summary = "one"
function = "sonjit_lab.papers.cam.recipe:train_cam"
settings_class = "sonjit_lab.papers.cam.recipe:CamSettings"
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


@pytest.mark.parametrize("name", recipes.list_recipes())
def test_every_recipe_is_complete(name, tmp_path):
    recipe = recipes.load_recipe(name)
    assert recipe.summary
    assert recipe.data
    needs = {name: str(tmp_path) if name == "weights" else tmp_path for name in recipe.requires}
    for smoke in (False, True):
        ready = recipes.prepare(recipe, recipes.TrainingRequest(name, tmp_path, smoke=smoke, **needs))
        assert ready.recipe == name
        for grid in recipe.ablation.values():
            for row in grid.rows:
                small = grid.smoke_settings | row.set | row.smoke_set if smoke else row.set
                given = grid.settings | small | {"seed": grid.seeds[0]}
                recipes.prepare(recipe, recipes.TrainingRequest(name, tmp_path, smoke=smoke, settings=given, **needs))


def numbers(settings_class, given, prefix=""):
    """Return the names of all numeric settings, with an index for those that have several values."""
    for key, kind in get_type_hints(settings_class).items():
        kinds = [one for one in get_args(kind) if is_dataclass(one)] or [kind]
        if is_dataclass(kinds[0]) and (kinds[0] is kind or key in given):
            yield from numbers(kinds[0], {}, f"{prefix}{key}.")
        elif {int, float} & {kind, *get_args(kind)} and get_origin(kind) is not ClassVar:
            yield prefix + key, "name=" if get_origin(kind) is Mapping else ""


@pytest.mark.parametrize("value", [f"1{18 * '0'}", "-1", "nan", "-inf", "inf", "9" * 5000, "-0.5x"])
@pytest.mark.parametrize("name", recipes.list_recipes())
def test_every_number_has_a_range(name, value):
    """Check bounds, because a batch of 10^9 images would exhaust the memory."""
    recipe = recipes.load_recipe(name)
    settings_class = recipes.import_object(recipe.settings_class, name)
    names = dict(numbers(settings_class, recipe.settings))
    assert len(names) >= 18
    for key, prefix in names.items():
        if key.endswith("clip_norm") and value in ("inf", "9" * 5000):
            continue  # inf disables clipping
        if value[0] == "1" and key.endswith(("learning_rate", "clip_norm", "seed", "learning_rate_factors", "mix")):
            continue  # large, but not expensive
        with pytest.raises(InputError) as caught:
            recipes.settings_from(settings_class, recipes.merge_settings(recipe.settings, {key: prefix + value}))
        assert "\n" not in str(caught.value)


def test_typed_settings_override_smoke_settings_which_override_the_recipe(recipe, tmp_path):
    read = recipes.load_recipe(recipe())
    for request, steps in (
        (recipes.TrainingRequest("mine", tmp_path), 3),
        (recipes.TrainingRequest("mine", tmp_path, smoke=True), 2),
        (recipes.TrainingRequest("mine", tmp_path, smoke=True, settings={"steps": "1"}), "1"),
    ):
        assert recipes.prepare(read, request).settings["steps"] == steps


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("summary = ", "not TOML"),
        ("colour = 1\n" + RECIPE, "recipe mine: Unknown setting 'colour'. Choose from name, summary"),
        (RECIPE.replace("data =", "# data ="), "recipe mine: data is missing"),
        (RECIPE.replace("steps = 3", "stepz = 3"), "mine: Unknown setting 'stepz'. Choose from steps"),
        (RECIPE.replace("steps = 3", "steps = 3.5"), "mine: steps=3.5: must be an integer"),
        (RECIPE.replace("steps = 2", "steps = true").replace("[smoke]", "[more]"), "Unknown setting 'more'"),
        (RECIPE + "[ablation.a]\ntitle = 'a'\nmetric = 'b'\n", "ablation.a: rows is missing"),
        (
            RECIPE + "[ablation.a]\ntitle = 'a'\nmetric = 'b'\n[[ablation.a.rows]]\nset = {}\n",
            r"ablation.a: rows\[0\]: label is missing",
        ),
        (RECIPE.replace("train_cam", "train_dog"), "sonjit_lab.papers.cam.recipe has no 'train_dog'"),
        (RECIPE.replace("cam.recipe:CamSettings", "dog:DogSettings"), "no module sonjit_lab.papers.dog"),
    ],
)
def test_errors_in_a_file_are_reported(text, message, recipe, tmp_path):
    with pytest.raises(InputError, match=message) as error:
        recipes.run_recipe(recipes.TrainingRequest(recipe(text), tmp_path / "run"))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("key", "name", "message"),
    [
        ("function", "posix:system", "'posix:system' must name a module of sonjit or of a registered extension"),
        ("function", "evil:train", "'evil:train' must name a module of sonjit or of a registered extension"),
        ("function", "sonjitevil:x", "must name a module of sonjit"),
        ("function", "sonjit_lab.training.recipes:import_module", "sonjit_lab.training.recipes has no 'import_module'"),
        ("function", "sonjit.cli:main", "sonjit.cli:main must be a function of a TrainingRequest"),
        ("function", "sonjit_lab.training.recipes:Recipe", "must be a function of a TrainingRequest"),
        ("settings_class", "os:system", "'os:system' must name a module of sonjit"),
        ("settings_class", "sonjit_lab.papers.cam.recipe:train_cam", "train_cam must be a dataclass"),
    ],
)
def test_a_recipe_reaches_only_code_of_sonjit_and_of_extensions(key, name, message, recipe, tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n", "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    text = re.sub(f"^{key} = .*$", f"{key} = {name!r}", RECIPE, flags=re.MULTILINE)
    with pytest.raises(InputError, match=re.escape(message)) as error:
        recipes.run_recipe(recipes.TrainingRequest(recipe(text), tmp_path / "run"))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "text",
    [
        '[settings]\nloggers = ["evil:run"]\n',
        '[settings]\nloggers = "evil:run"\n',
        '[smoke]\nloggers = ["evil:run"]\n',
    ],
)
def test_a_recipe_sets_no_logger_of_other_code(text, tmp_path, monkeypatch):
    marker = tmp_path / "imported"
    (tmp_path / "evil.py").write_text(f"from pathlib import Path\nPath({str(marker)!r}).touch()\nrun = print\n")
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "own.toml"
    file.write_text(f'base = "cam"\n{text}')
    request = recipes.TrainingRequest(str(file), tmp_path / "run")
    with pytest.raises(InputError, match=r"loggers: 'evil:run' must name a module of sonjit"):
        recipes.prepare(recipes.load_recipe(str(file)), request)
    assert not marker.exists()


def test_a_recipe_may_name_a_module_of_an_extension(recipe, tmp_path, monkeypatch):
    (tmp_path / "kind_of_mine.py").write_text("def train_mine(request):\n    return {'error': 0.5}\n", "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    text = RECIPE.replace("sonjit_lab.papers.cam.recipe:train_cam", "kind_of_mine:train_mine")
    monkeypatch.setenv("SONJIT_EXTENSIONS", "another, kind_of_mine.kinds")
    assert recipes.run_recipe(recipes.TrainingRequest(recipe(text), tmp_path / "run")) == {"error": 0.5}


def test_missing_files_are_reported_before_any_work(recipe, tmp_path):
    gone = tmp_path / "gone.pth"
    for given in ({"data": gone}, {"images": gone}, {"weights": str(gone)}):
        with pytest.raises(InputError, match="no such file"):
            recipes.run_recipe(recipes.TrainingRequest(recipe(), tmp_path / "run", **given))
    with pytest.raises(InputError, match="mine requires --data; it trains on nothing"):
        recipes.run_recipe(recipes.TrainingRequest(recipe('requires = ["data"]\n' + RECIPE), tmp_path / "run"))
    with pytest.raises(InputError, match="not a folder"):
        recipes.run_recipe(recipes.TrainingRequest(recipe(), tmp_path / "mine.toml"))
    with pytest.raises(InputError, match="cannot be read"):
        recipes.load_recipe(str(tmp_path / "gone.toml"))
    with pytest.raises(InputError, match=r"Unknown recipe 'feet'. Choose from .*hand-full"):
        recipes.run_recipe(recipes.TrainingRequest("feet", tmp_path))


@pytest.mark.parametrize(
    ("name", "typed", "written"),
    [
        ("count", "7", 7), ("learning_rate", "1e-4", 1e-4), ("fast", "True", True), ("kind", "b", "b"),
        ("names", "a, b", ["a", "b"]), ("sizes", "1,2", [1, 2]),
        ("mix", "real=0.5,synthetic=0.25", {"real": 0.5, "synthetic": 0.25}), ("limit", "none", None),
        ("limit", "3", 3),
    ],
)  # fmt: skip
def test_typed_and_written_settings_read_the_same(name, typed, written):
    read = recipes.settings_from(Everything, {name: typed})
    assert read == recipes.settings_from(Everything, {name: written})
    assert getattr(read, name) == (tuple(written) if isinstance(written, list) else written)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"counts": "7"}, "Unknown setting 'counts'. Choose from count, learning_rate"),
        ({"count": "7.5"}, "count=7.5: must be an integer"),
        ({"learning_rate": "fast"}, "learning_rate=fast: must be a number"),
        ({"kind": "c"}, "Unknown kind 'c'. Choose from a, b"),
        ({"names": [1]}, r"names\[0\]=1: must be text"),
        ({"mix": "half"}, "mix=half: must be pairs name=value"),
        ({"mix": {"real": "much"}}, "mix.real=much: must be a number"),
    ],
)
def test_values_of_another_type_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        recipes.settings_from(Everything, given)


@pytest.mark.nightly
@pytest.mark.slow
def test_the_recipes_of_the_documentation_run(tmp_path, monkeypatch):
    page = (Path(__file__).parents[3] / "docs" / "training.md").read_text("utf-8")
    augmentation, written = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    recipes.settings_from(augment.AugmentationSettings, tomllib.loads(augmentation)["settings"]["augmentation"])
    recipe = recipes.recipe_from_table(tomllib.loads(written), "gloves")
    recipes.prepare(recipe, recipes.TrainingRequest("gloves", tmp_path, data=tmp_path))
    code = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[-1]
    module = "line_of_the_documentation"
    (tmp_path / f"{module}.py").write_text(code, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("SONJIT_EXTENSIONS", module)
    (tmp_path / "line.toml").write_text(
        f'summary = "a"\ndata = "b"\nfunction = "{module}:train_line"\nsettings_class = "{module}:LineSettings"\n'
    )
    results = recipes.run_recipe(
        recipes.TrainingRequest(str(tmp_path / "line.toml"), tmp_path / "run", settings={"learning_rate": "0.05"})
    )
    assert results["error"] < 0.05


def test_a_recipe_changes_a_few_settings_of_its_base(tmp_path):
    (tmp_path / "mine.toml").write_text(
        'base = "hand-full"\nsummary = "gloves"\n[settings]\nsteps = 7\n[settings.augmentation]\nmirror = 0.0\n'
    )
    (tmp_path / "longer.toml").write_text('base = "mine.toml"\n[settings]\nsteps = 9\n')
    base, mine, longer = (
        recipes.load_recipe(name) for name in ("hand-full", str(tmp_path / "mine.toml"), str(tmp_path / "longer.toml"))
    )
    assert (mine.name, mine.summary, mine.function) == ("mine", "gloves", base.function)
    assert mine.settings["workers"] == base.settings["workers"]
    assert mine.settings["augmentation"] == {**base.settings["augmentation"], "mirror": 0.0}
    assert (mine.settings["steps"], longer.settings["steps"]) == (7, 9)
    assert longer.summary == "gloves"
    assert list(mine.ablation) == list(base.ablation)


@pytest.mark.parametrize(
    ("base", "message"), [("hand-ful", "Unknown base 'hand-ful'. Choose from"), ("self.toml", "leads back to itself")]
)
def test_a_base_that_cannot_be_used_is_refused(base, message, tmp_path):
    (tmp_path / "self.toml").write_text(f'base = "{base}"\n')
    with pytest.raises(InputError, match=message):
        recipes.load_recipe(str(tmp_path / "self.toml"))
