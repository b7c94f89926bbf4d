"""What `sonjit train` can train: one TOML file per recipe, and the settings that `--set key=value` changes.

A recipe names a function from a `TrainingRequest` to a mapping of results. The function's module is imported only when
the recipe is run, and may lie outside this package.

A recipe's settings are a dataclass, filled from the TOML file and from what was typed.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from importlib import import_module, resources
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

from sonjit.engines.devices import torch_device
from sonjit.errors import InputError
from sonjit.files import WorkFolder, sole_writer, write_text

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from sonjit.networks.export import Format


@dataclass(frozen=True)
class AblationRow:
    """One line of a grid.

    Attributes:
        label: for people.
        set: settings that make this row what it is.
        smoke_set: the same at the small size, over these.
        published: value of the metric in the published table; None without one.
    """

    label: str
    set: Mapping[str, object] = field(default_factory=dict[str, object])
    smoke_set: Mapping[str, object] = field(default_factory=dict[str, object])
    published: float | None = None


@dataclass(frozen=True)
class Ablation:
    """A grid: each row trained with each seed.

    Attributes:
        title: for people.
        metric: key of the recipe's results.
        rows: in the order of the published table.
        higher_is_better: of the metric.
        seeds: put into the setting `seed`.
        unit: of the metric; "" without one.
        also: keys of other results that the table shows, such as parameters.
        source: of the published values.
        notes: what one has to know to read the table, such as what data stand in for the published ones.
        settings: of all rows.
        smoke_settings: of all rows at the smoke size, over these.
    """

    title: str
    metric: str
    rows: tuple[AblationRow, ...]
    higher_is_better: bool = True
    seeds: tuple[int, ...] = (0, 1, 2)
    unit: str = ""
    also: tuple[str, ...] = ()
    source: str = ""
    notes: tuple[str, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict[str, object])
    smoke_settings: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True)
class Recipe:
    """One thing to train.

    Attributes:
        name: of its file.
        summary: one line.
        function: where it is, `module:function`; it takes a `TrainingRequest` and returns the results, a
            mapping such as `{"weights": path, "error_px": 0.8}`.
        settings_class: where the dataclass of its settings is, `module:class`.
        data: what it trains on, and what the data stand in for.
        licence: of data and weights, where there is something to know.
        requires: options that have to be given.
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
    settings: Mapping[str, object] = field(default_factory=dict[str, object])
    smoke: Mapping[str, object] = field(default_factory=dict[str, object])
    ablation: Mapping[str, Ablation] = field(default_factory=dict[str, Ablation])


def list_recipes() -> list[str]:
    """Names of all recipes, in order."""
    return sorted(file.name.removesuffix(".toml") for file in _folder().iterdir() if file.name.endswith(".toml"))


def load_recipe(name: str) -> Recipe:
    """One recipe.

    Args:
        name: of Sonjit's own, or the path of a TOML file.

    Raises:
        InputError: an unknown name, or a file that is not a recipe; the line names the key.
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
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{name}: not TOML: {error}") from None
    return recipe_from_table(table, Path(name).stem if name.endswith(".toml") else name)


def recipe_from_table(table: Mapping[str, object], name: str) -> Recipe:
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


S = TypeVar("S")


def settings_from(kind: type[S], given: Mapping[str, object]) -> S:
    """A recipe's settings.

    Args:
        kind: a dataclass of int, float, bool, str, Literal, `tuple[T, ...]`, `Mapping[str, T]`, `T | None`, and of such
            dataclasses.
        given: by name, as typed (`"200"`, `"a,b"`, `"real=0.5,synthetic=0.5"`, `"none"`) or as TOML has it; none of
            a dataclass is its defaults.

    Raises:
        InputError: an unknown or missing key, or a value of another type.
    """
    hints: dict[str, Any] = get_type_hints(kind)
    items = fields(kind)  # pyright: ignore[reportArgumentType]
    known = [item.name for item in items]
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise InputError(f"unknown setting {', '.join(map(repr, unknown))}; known: {', '.join(known)}")
    for item in items:
        if item.name not in given and item.default is MISSING and item.default_factory is MISSING:
            raise InputError(f"{item.name} is missing")
    return kind(**{name: _value(name, value, hints[name]) for name, value in given.items()})


def merged(*layers: Mapping[str, object]) -> dict[str, object]:
    """Settings over settings; `table.key` changes one key of a table.

    >>> merged({"steps": 9, "augmentation": {"mirror": 0.5, "shift": 0.1}}, {"augmentation.mirror": "0"})
    {'steps': 9, 'augmentation': {'mirror': '0', 'shift': 0.1}}

    Raises:
        InputError: what the key is to be changed of is no table.
    """
    settings: dict[str, object] = {}
    for name, value in (pair for layer in layers for pair in layer.items()):
        table, dot, key = name.partition(".")
        if not dot:
            settings[name] = value
            continue
        before = settings.get(table, {})
        if not isinstance(before, Mapping):
            raise InputError(f"{name}={value}: {table} is no table")
        settings[table] = {**before, key: value}
    return settings


def _value(name: str, given: object, kind: Any) -> object:  # noqa: ANN401  # a type
    origin, inner = get_origin(kind), get_args(kind)
    if kind is object:
        return given
    if is_dataclass(kind):
        return _inner(name, given, kind)
    if origin in (Union, UnionType):
        if given is None or (isinstance(given, str) and given.lower() == "none"):
            return None
        return _value(name, given, next(one for one in inner if one is not NoneType))
    if origin is Literal:
        return _choice(name, given, inner)
    if origin is tuple:
        return tuple(_value(f"{name}[{at}]", one, inner[0]) for at, one in enumerate(_items(given)))
    if origin is not None and issubclass(origin, Mapping):
        return {key: _value(f"{name}.{key}", one, inner[1]) for key, one in _pairs(name, given)}
    return _plain(name, given, kind)


def _inner(name: str, given: object, kind: Any) -> object:  # noqa: ANN401  # a type
    if isinstance(given, str) and given.lower() == "none":
        return kind()
    if not isinstance(given, Mapping):
        raise InputError(f"{name}={given}: give a table, {name}.KEY=VALUE, or none")
    try:
        return settings_from(kind, given)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def _choice(name: str, given: object, choices: Sequence[object]) -> object:
    for one in choices:
        if str(one) == str(given):
            return one
    raise InputError(f"{name}={given}: give {', '.join(map(str, choices[:-1]))} or {choices[-1]}")


def _items(given: object) -> Sequence[object]:
    if isinstance(given, str):
        return [part.strip() for part in given.split(",") if part.strip()]
    return list(given) if isinstance(given, list | tuple) else [given]


def _pairs(name: str, given: object) -> list[tuple[str, object]]:
    if isinstance(given, Mapping):
        return list(given.items())
    pairs = [str(one).partition("=") for one in _items(given)]
    if any(not equals for _, equals, _ in pairs):
        raise InputError(f"{name}={given}: give name=value, with commas between")
    return [(key.strip(), value.strip()) for key, _, value in pairs]


def _plain(name: str, given: object, kind: Any) -> object:  # noqa: ANN401  # a type
    """One bool, int, float or str; text is parsed, and a value of TOML must have the right type."""
    asked = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[kind]
    wrong = InputError(f"{name}={given}: give {asked}")
    if kind is bool:
        text = str(given).lower()
        if text not in ("true", "false"):
            raise wrong
        return text == "true"
    if kind is str:
        if not isinstance(given, str):
            raise wrong
        return given
    if (
        isinstance(given, bool)
        or not isinstance(given, str | int | float)
        or (kind is int and isinstance(given, float))
    ):
        raise wrong
    try:
        return kind(given)
    except ValueError:
        raise wrong from None


Progress: TypeAlias = Callable[[int, int, Mapping[str, float]], None]
"""Called after each step: how many are done, of how many, and the losses."""

_WEIGHT_FILES = (".safetensors", ".pth", ".pt", ".tar", ".pkl", ".tflite", ".task")
"""Endings by which weights are a path and not a name."""


def no_progress(done: int, steps: int, losses: Mapping[str, float]) -> None:
    """Show nothing."""


@dataclass(frozen=True)
class TrainingRequest:
    """What a recipe's function is called with.

    Attributes:
        recipe: its name, or the path of its TOML file.
        out: folder of the run; a run that was stopped continues there.
        data: annotations, where the recipe takes any.
        images: the folder or video that the annotations refer to.
        weights: to begin with; None for the recipe's own.
        device: see `torch_device`.
        settings: the recipe's own: as typed, `{"steps": "200"}`, or of their own type, `{"steps": 200}`.
        progress: called after each step.
        export: also write the trained network for another runtime, where the recipe can.
        smoke: at the small size, which ends in minutes on a CPU.
    """

    recipe: str
    out: Path
    data: Path | None = None
    images: Path | None = None
    weights: str | None = None
    device: str = "cpu"
    settings: Mapping[str, object] = field(default_factory=dict[str, object])
    progress: Progress = no_progress
    export: Format | None = None
    smoke: bool = False

    def inputs(self, data: str | None = None) -> dict[str, object]:
        """What identifies a run beside its settings, as the training loop takes it; `data` describes them."""
        return {"recipe": self.recipe, "data": data or str(self.data), "weights": self.weights}


def run_recipe(request: TrainingRequest) -> Mapping[str, object]:
    """Train.

    Returns:
        The recipe's results; nothing where torchrun started several processes and this is not the first.

    Raises:
        InputError: an unknown recipe or setting, or data that cannot be used.
    """
    recipe = load_recipe(request.recipe)
    function, checked = _imported(recipe, recipe.function), prepare(recipe, request)
    from sonjit.training.distributed import processes, rank
    from sonjit.training.run_folder import save_run_report

    with processes(checked.device) as device, WorkFolder() as elsewhere:
        if rank():  # only the first process' files are kept
            function(replace(checked, device=device, out=Path(elsewhere)))
            return {}
        with sole_writer(checked.out):
            try:
                results: Mapping[str, object] = function(replace(checked, device=device))
                _save_results(checked, results)
            finally:
                if any(checked.out.iterdir()):
                    save_run_report(checked.out, f"{recipe.name}: {recipe.summary}")
    return results


def _save_results(request: TrainingRequest, results: Mapping[str, object]) -> None:
    from sonjit.training.run_folder import RESULT

    text = json.dumps({"settings": request.settings, "results": results}, indent=2, default=str)
    write_text(request.out / RESULT, text + "\n")


def prepare(recipe: Recipe, request: TrainingRequest) -> TrainingRequest:
    """The request with all settings: the recipe's, those of its small size, then those typed; everything is checked.

    Raises:
        InputError: a setting, path or option that cannot be used, before any work starts.
    """
    try:
        settings = merged(recipe.settings, recipe.smoke if request.smoke else {}, request.settings)
        settings_from(_imported(recipe, recipe.settings_class), settings)
    except InputError as error:
        raise InputError(f"{recipe.name}: {error}") from None
    for option in recipe.requires:
        if getattr(request, option) is None:
            raise InputError(f"{recipe.name}: give --{option}; it trains on {recipe.data}")
    for path in (request.data, request.images):
        if path is not None and not path.exists():
            raise InputError(f"{path}: no such file or folder")
    weights = Path(request.weights or "")
    if (weights.suffix in _WEIGHT_FILES or len(weights.parts) > 1) and not weights.exists():
        raise InputError(f"{request.weights}: no such file")
    if request.out.exists() and not request.out.is_dir():
        raise InputError(f"{request.out}: not a folder; give another --out")
    device = str(torch_device(request.device))
    return replace(request, recipe=recipe.name, settings=settings, device=device)


def _imported(recipe: Recipe, name: str) -> Any:  # noqa: ANN401  # a function or class
    """What a recipe names as `module:name`."""
    module, _, attribute = name.partition(":")
    try:
        found = import_module(module)
    except ModuleNotFoundError as error:
        if error.name and module.startswith(error.name):
            raise InputError(f"recipe {recipe.name}: no module {module}") from None
        raise
    except ValueError:
        raise InputError(f"recipe {recipe.name}: {name!r} is not of the form module:name") from None
    if not hasattr(found, attribute):
        raise InputError(f"recipe {recipe.name}: {module} has no {attribute!r}")
    return getattr(found, attribute)
