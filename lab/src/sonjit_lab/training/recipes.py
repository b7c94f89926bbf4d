"""Find, check and run the recipes of `sonjit train`.

A recipe names a function that takes a `TrainingRequest` and returns a mapping of results, and a dataclass of settings.
The settings are the defaults of the dataclass, what the recipe changes, and `--set key=value`. The module of the
function is imported only when the recipe runs, and may belong to another package. Recipes of users are TOML files.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from functools import cache
from importlib import import_module
from inspect import Parameter, isfunction, signature
from pathlib import Path
from pkgutil import iter_modules
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, TypeVar, cast

from sonjit._util import InputError, JobError, SonjitError, is_out_of_memory, json_from, require
from sonjit._util.data_files import read_json, read_toml_table
from sonjit._util.extensions import VARIABLE, extension_packages
from sonjit._util.files import sha256_of_file, sha256_of_folder, sole_writer, write_text
from sonjit._util.settings import read_settings
from sonjit.engines.devices import torch_device

if TYPE_CHECKING:
    from sonjit_lab.networks.export import Format


S = TypeVar("S")
Progress: TypeAlias = Callable[[int, int, Mapping[str, float]], None]
"""Callback that runs after each step, with the numbers of finished and of all steps, and with values by name."""
_EXPORTERS = {"onnx": ("onnx", "onnxscript"), "openvino": ("onnx", "onnxscript"), "tflite": ("litert_torch",)}
"""Modules that write each format."""
_WEIGHT_FILES = (".safetensors", ".pth", ".pt", ".tar", ".pkl", ".tflite", ".task")
"""File endings that make a weights argument a path; other values are names."""


@dataclass(frozen=True)
class AblationRow:
    """One row of a grid."""

    label: str  # label in the table
    set: Mapping[str, object] = field(default_factory=dict[str, object])  # settings of this row
    # settings of this row at the smoke size, which override `set`
    smoke_set: Mapping[str, object] = field(default_factory=dict[str, object])
    published: float | None = None  # value of the metric in the published table; None without one


@dataclass(frozen=True)
class Ablation:
    """A grid of runs: each row is trained with each seed."""

    title: str  # title of the table
    metric: str  # key in the recipe's results
    rows: tuple[AblationRow, ...]  # rows in the order of the published table
    higher_is_better: bool = True  # True if a higher metric is better
    seeds: tuple[int, ...] = (0, 1, 2)  # values of the setting `seed`
    unit: str = ""  # unit of the metric; "" without one
    also: tuple[str, ...] = ()  # keys of other results in the table, such as parameters
    source: str = ""  # source of the published values
    notes: tuple[str, ...] = ()  # notes on the table, such as which data replace the published ones
    settings: Mapping[str, object] = field(default_factory=dict[str, object])  # settings of all rows
    # settings of all rows at the smoke size, which override `settings`
    smoke_settings: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True)
class Recipe:
    """A training that `sonjit train` runs.

    Attributes:
        name: Name for `sonjit train`; of a TOML file its own name.
        summary: Summary in one line.
        function: Training function as `module:function`. It takes a `TrainingRequest` and returns the results, such as
            `{"weights": path, "error_px": 0.8}`.
        settings_class: Dataclass of the settings as `module:class`.
        data: Description of the training data, and of the published data that they replace.
        licence: Notes on the licence of data and weights.
        requires: Options that are required.
        modules: Optional modules that the training imports, such as faster_coco_eval.
        exports: True if the trained network can be exported for other runtimes.
        settings: Settings of the full size that differ from the defaults of the dataclass.
        smoke: Settings of the smoke size, which override `settings`.
        published: Settings of fine-tuning with `--weights published`, which override both.
        ablation: Grids by name.
    """

    name: str
    summary: str
    function: str
    settings_class: str
    data: str
    licence: str = ""
    requires: tuple[Literal["data", "images", "weights"], ...] = ()
    modules: tuple[str, ...] = ()
    exports: bool = True
    settings: Mapping[str, object] = field(default_factory=dict[str, object])
    smoke: Mapping[str, object] = field(default_factory=dict[str, object])
    published: Mapping[str, object] = field(default_factory=dict[str, object])
    ablation: Mapping[str, Ablation] = field(default_factory=dict[str, Ablation])


@cache
def _recipes() -> Mapping[str, Recipe]:
    papers = iter_modules(import_module("sonjit_lab.papers").__path__)
    names = ("training.own_recipes", *(f"papers.{paper.name}.recipes" for paper in papers))
    modules = (import_module(f"sonjit_lab.{name}") for name in names)
    return {recipe.name: recipe for module in modules for recipe in module.RECIPES}


def list_recipes() -> list[str]:
    """Return the names of all recipes, sorted."""
    return sorted(_recipes())


def load_recipe(name: str) -> Recipe:
    """Read a recipe.

    Args:
        name: Name of a recipe of Sonjit, or path of a TOML file.

    Raises:
        InputError: The name is unknown or the file is not a recipe. The message names the key.
    """
    if not name.endswith(".toml"):
        if name not in _recipes():
            names = ", ".join(list_recipes())
            raise InputError(f"Unknown recipe {name!r}. Choose from {names}, or the path of a TOML file")
        return _recipes()[name]
    file = Path(name)
    return recipe_from_table(_merge_base(read_toml_table(file), file), file.stem)


def _merge_base(table: Mapping[str, object], file: Path, visited: tuple[str, ...] = ()) -> Mapping[str, object]:
    """Merge the table of a recipe into the table of its base. Tables are merged, other values are replaced."""
    if "base" not in table:
        return table
    name = str(table["base"])
    if name in visited:
        raise InputError(f"{file}: base={name} leads back to itself")
    if name.endswith(".toml"):
        path = file.parent / name
        base = _merge_base(read_toml_table(path), path, (*visited, name))
    elif name in _recipes():
        base = _table_of(_recipes()[name])
    else:
        names = ", ".join(list_recipes())
        raise InputError(f"{file}: Unknown base {name!r}. Choose from {names}, or the path of a TOML file")
    return _merge_tables(base, {key: value for key, value in table.items() if key != "base"})


def _table_of(recipe: Recipe) -> dict[str, object]:
    """Return a recipe as the table of a TOML file, which has neither its name nor values that are None."""

    def plain(value: object) -> object:
        if isinstance(value, Mapping):
            items = cast("Mapping[str, object]", value).items()
            return {key: plain(item) for key, item in items if item is not None}
        if isinstance(value, list | tuple):
            return [plain(item) for item in cast("Sequence[object]", value)]
        return value

    table = cast("dict[str, object]", plain(asdict(recipe)))
    del table["name"]
    return table


def _merge_tables(base: Mapping[str, object], overrides: Mapping[str, object]) -> dict[str, object]:
    table = dict(base)
    for key, value in overrides.items():
        before = table.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            value = _merge_tables(cast("Mapping[str, object]", before), cast("Mapping[str, object]", value))
        table[key] = value
    return table


def recipe_from_table(table: Mapping[str, object], name: str) -> Recipe:
    """Return the recipe of a TOML table, or refuse a wrong key or value."""
    try:
        return settings_from(Recipe, {**table, "name": name})
    except InputError as error:
        raise InputError(f"recipe {name}: {error}") from None


def settings_from(settings_class: type[S], values: Mapping[str, object]) -> S:
    """Return a recipe's settings, see `read_settings`.

    Args:
        settings_class: Dataclass of the settings.
        values: Settings by name, as typed on the command line or as TOML has them.

    Raises:
        InputError: A setting is unknown or missing, or a value has another type.
    """
    return read_settings(settings_class, values, "setting")


def merge_settings(*layers: Mapping[str, object]) -> dict[str, object]:
    """Merge settings; later layers override earlier ones, and `table.key` changes one key of a table.

    >>> merge_settings({"steps": 9, "augmentation": {"mirror": 0.5, "shift": 0.1}}, {"augmentation.mirror": "0"})
    {'steps': 9, 'augmentation': {'mirror': '0', 'shift': 0.1}}

    Raises:
        InputError: `table` is not a table.
    """
    settings: dict[str, object] = {}
    for name, value in (pair for layer in layers for pair in layer.items()):
        table, dot, key = name.partition(".")
        if not dot:
            settings[name] = value
            continue
        before = settings.get(table, {})
        if not isinstance(before, Mapping):
            raise InputError(f"{name}={value}: {table} is not a table")
        settings[table] = {**before, key: value}
    return settings


def no_progress(done: int, steps: int, losses: Mapping[str, float]) -> None:
    """Show nothing."""


@dataclass(frozen=True)
class TrainingRequest:
    """Arguments of a recipe's function.

    Attributes:
        recipe: Name of the recipe, or path of its TOML file.
        out: Folder of the run; an interrupted run continues in it.
        data: Annotations, if the recipe uses any.
        images: Folder or video that the annotations refer to.
        weights: Initial weights; None for the recipe's default.
        device: Device name, see `torch_device`.
        settings: Recipe settings, as typed (`{"steps": "200"}`) or with their own type (`{"steps": 200}`).
        progress: Callback that runs after each step.
        export: Format in which the trained network is exported in addition, if the recipe supports it.
        smoke: True for the smoke size, which takes minutes on a CPU.
        require_better: True to refuse a training without a held-out metric before and after it.
        plan: Number of examples in a batch of a training that is only planned; 0 to train.
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
    require_better: bool = False
    plan: int = 0

    def inputs(self, data: str | None = None) -> dict[str, object]:
        """Return the inputs that identify a run in addition to its settings, with hashes of its files.

        A run whose files moved stays the same, if their hashes do.

        Args:
            data: Description of the data. Default: their path.
        """
        files = {"data": self.data, "images": self.images, "weights": Path(self.weights or "published")}
        texts = ((name, value) for name, value in self.settings.items() if isinstance(value, str))
        files |= {name: Path(value) for name, value in texts if value.endswith(_WEIGHT_FILES)}
        hashes = {
            f"{name}_sha256": sha256_of_folder(path, without=self.out) if path.is_dir() else sha256_of_file(path)
            for name, path in files.items()
            if path is not None and path.exists()
        }
        return {"recipe": self.recipe, "data": data or str(self.data), "weights": self.weights, **hashes}


def run_recipe(request: TrainingRequest) -> Mapping[str, object]:
    """Train a recipe's network.

    Returns:
        The recipe's results.

    Raises:
        InputError: The recipe or a setting is unknown, or the data cannot be used.
    """
    recipe = load_recipe(request.recipe)
    function = import_object(recipe.function, f"recipe {recipe.name}")
    parameters = list(signature(function).parameters.values()) if isfunction(function) else []
    if not parameters or parameters[0].annotation not in (Parameter.empty, "TrainingRequest", TrainingRequest):
        raise InputError(f"recipe {recipe.name}: {recipe.function} must be a function of a TrainingRequest")
    checked = prepare(recipe, request)
    from sonjit_lab.training.report import save_run_report
    from sonjit_lab.training.run_folder import RESULT

    inputs = checked.inputs()
    with sole_writer(checked.out):
        try:
            with _memory_errors():
                results: Mapping[str, object] = function(checked)
            saved = {"settings": checked.settings, "inputs": inputs, "results": results}
            write_text(checked.out / RESULT, json_from(saved, 2, default=str) + "\n")
        finally:
            if any(checked.out.iterdir()):
                save_run_report(checked.out, f"{recipe.name}: {recipe.summary}")
    return results


def plan_recipe(request: TrainingRequest) -> str:
    """Return steps, hours by GPU, memory and disk of a training as text, from one small step on the given data.

    Raises:
        InputError: The recipe or a setting is unknown, the data cannot be used, or the recipe has no training loop.
    """
    from sonjit_lab.training.plan import PLANNED_BATCH, Plan

    recipe = load_recipe(request.recipe)
    function = import_object(recipe.function, f"recipe {recipe.name}")
    checked = prepare(recipe, request)
    settings = settings_from(import_object(recipe.settings_class, recipe.name), checked.settings)
    batch = int(getattr(settings, "batch", 1))
    small = {**checked.settings, "batch": min(batch, PLANNED_BATCH)} if hasattr(settings, "batch") else checked.settings
    with TemporaryDirectory() as folder, _memory_errors():
        try:
            function(replace(checked, settings=small, plan=batch, out=Path(folder), export=None))
        except Plan as plan:
            return str(plan)
    raise InputError(f"--plan does not apply to {recipe.name}")


class HeldOutChange(NamedTuple):
    """Metric on held-out data before and after a training."""

    metric: str  # name of the metric
    before: float | None  # value before the first step; None if it was not measured
    after: float | None  # value after the last step
    higher_is_better: bool  # True if a higher value is better

    @property
    def is_better(self) -> bool:
        """True if the training made the metric better."""
        if self.before is None or self.after is None:
            return False
        return self.after > self.before if self.higher_is_better else self.after < self.before

    def __str__(self) -> str:
        """Return the change in one line."""
        before, after = ("unknown" if value is None else f"{value:.4g}" for value in (self.before, self.after))
        verdict = "better" if self.is_better else "not compared" if None in self[1:3] else "not better"
        return f"held-out {self.metric}: {before} before, {after} after ({verdict})"


def held_out_change(folder: Path) -> HeldOutChange | None:
    """Return the change that a finished run made, or None if it was not evaluated on held-out data."""
    file = folder / "held_out.json"
    return HeldOutChange(**read_json(file)) if file.is_file() else None


@contextmanager
def _memory_errors() -> Generator[None]:
    """Turn an allocation that fails, on the CPU or a GPU, into a JobError."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, SonjitError) or not is_out_of_memory(error):
            raise
        raise JobError("the memory is too small for this training: set a smaller batch, network or input") from None


def prepare(recipe: Recipe, request: TrainingRequest) -> TrainingRequest:
    """Return the request with all settings: the recipe's, those of the smoke size, and the typed ones, all checked."""
    try:
        published = recipe.published if request.weights == "published" else {}
        smoke = recipe.smoke if request.smoke else {}
        settings = merge_settings(recipe.settings, smoke, published, request.settings)
        settings_class = import_object(recipe.settings_class, f"recipe {recipe.name}")
        if not (isinstance(settings_class, type) and is_dataclass(settings_class)):
            raise InputError(f"{recipe.settings_class} must be a dataclass")
        checked = settings_from(settings_class, settings)
    except InputError as error:
        raise InputError(f"{recipe.name}: {error}") from None
    for option in recipe.requires:
        if getattr(request, option) is None:
            raise InputError(f"{recipe.name} requires --{option}; it trains on {recipe.data}")
    for path in (request.data, request.images):
        if path is not None and not path.exists():
            raise InputError(f"{path}: no such file or folder")
    weights = Path(request.weights or "")
    if (weights.suffix in _WEIGHT_FILES or len(weights.parts) > 1) and not weights.exists():
        raise InputError(f"{request.weights}: no such file")
    if request.out.exists() and not request.out.is_dir():
        raise InputError(f"{request.out}: not a folder. Choose another --out")
    if request.export is not None and not recipe.exports:
        raise InputError(f"--export does not apply to {recipe.name}, which writes no network for other runtimes")
    for module in _EXPORTERS.get(request.export or "", ()):
        require(module, f"export to {request.export}")
    for module in recipe.modules:
        require(module, f"sonjit train {recipe.name}")
    _check_own_loggers(recipe)
    if loggers := getattr(checked, "loggers", ()):
        from sonjit_lab.training.run_folder import logger_factories

        logger_factories(loggers)
    device = str(torch_device(request.device))
    return replace(request, recipe=recipe.name, settings=settings, device=device)


def _check_own_loggers(recipe: Recipe) -> None:
    """Refuse loggers of other code that the recipe itself sets; typed settings may name any function."""
    settings_tables: list[Mapping[str, object]] = [recipe.settings, recipe.smoke, recipe.published]
    for grid in recipe.ablation.values():
        settings_tables += [grid.settings, grid.smoke_settings]
        settings_tables += [values for row in grid.rows for values in (row.set, row.smoke_set)]
    for settings in settings_tables:
        loggers = settings.get("loggers", ())
        names = loggers.split(",") if isinstance(loggers, str) else cast("Sequence[object]", loggers)
        for name in map(str, names):
            if ":" in name:
                import_object(name.strip(), f"recipe {recipe.name}: loggers")


def import_object(name: str, named_by: str) -> Any:  # noqa: ANN401  # a function or class
    """Import a function or class of Sonjit or of a registered extension; `named_by` names it in messages.

    A recipe is data that others may have written. It reaches no other code.
    """
    module, _, attribute = name.partition(":")
    if not _is_allowed(module):
        raise InputError(
            f"{named_by}: {name!r} must name a module of sonjit or of a registered extension. "
            f"Add a module of your own to {VARIABLE}"
        )
    try:
        imported = import_module(module)
    except ModuleNotFoundError as error:
        if error.name and module.startswith(error.name):
            raise InputError(f"{named_by}: no module {module}") from None
        raise
    value = getattr(imported, attribute, None)
    if value is None or not _is_allowed(str(getattr(value, "__module__", ""))):  # a module also contains its imports
        raise InputError(f"{named_by}: {module} has no {attribute!r}")
    return value


def _is_allowed(module: str) -> bool:
    package, *submodules = module.split(".")
    return all(submodules) and package in {"sonjit", *extension_packages()}
