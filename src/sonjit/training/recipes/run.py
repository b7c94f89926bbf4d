"""Run a recipe, once everything that it was given is known to be right.

What a recipe is asked to do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeAlias

from sonjit.errors import InputError
from sonjit.files import write_text
from sonjit.training.recipes.files import Recipe, load_recipe, settings_from

if TYPE_CHECKING:
    from sonjit.networks.export import Format

_WEIGHT_FILES = (".safetensors", ".pth", ".pt", ".tar", ".pkl", ".tflite", ".task")
"""Endings by which weights are a path and no name."""


def run_recipe(request: TrainingRequest) -> Mapping[str, object]:
    """Train what is asked for.

    Returns:
        What the recipe tells; nothing where torchrun started several processes and this is not the first.

    Raises:
        InputError: an unknown recipe or setting, or data that cannot be used.
    """
    recipe = load_recipe(request.recipe)
    function, ready = _named(recipe, recipe.function), prepare(recipe, request)
    from sonjit.training.distributed import processes, rank
    from sonjit.training.report import save_run_report

    with processes(ready.device) as device, TemporaryDirectory() as elsewhere:
        if rank():  # only the first process' files are kept
            function(replace(ready, device=device, out=Path(elsewhere)))
            return {}
        try:
            told: Mapping[str, object] = function(replace(ready, device=device))
            _save_result(ready, told)
        finally:
            if ready.out.is_dir():
                save_run_report(ready.out, f"{recipe.name}: {recipe.summary}")
    return told


def _save_result(request: TrainingRequest, told: Mapping[str, object]) -> None:
    from sonjit.training.run_folder import RESULT

    text = json.dumps({"settings": request.settings, "told": told}, indent=2, default=str)
    write_text(request.out / RESULT, text + "\n", of_run=True)


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
    _check_device(request.device)
    return replace(request, recipe=recipe.name, settings=settings)


def _check_device(name: str) -> None:
    import torch

    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"--device {name}: give cpu, cuda or cuda:1") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"--device {name}: PyTorch sees {torch.cuda.device_count()} GPUs; give cpu, or mend its driver"
        )


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


Progress: TypeAlias = Callable[[int, int, Mapping[str, float]], None]
"""Told after each step: how many are done, of how many, and the losses."""


def no_progress(done: int, steps: int, losses: Mapping[str, float]) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class TrainingRequest:
    """What a recipe is asked to do.

    Attributes:
        recipe: its name, or the path of its TOML file.
        out: folder of the run; a run that was stopped goes on where it stopped.
        data: annotations, where the recipe takes any.
        images: the folder or video that the annotations speak of.
        weights: to begin with; None for the recipe's own.
        device: of torch, e.g. `cpu` or `cuda`.
        settings: the recipe's own: as typed, `{"steps": "200"}`, or of their own type, `{"steps": 200}`.
        progress: told after each step.
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
