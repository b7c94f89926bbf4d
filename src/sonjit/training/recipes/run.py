"""Run a recipe, once everything that it was given has been checked."""

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
        device: of torch, e.g. `cpu` or `cuda`.
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

    with processes(checked.device) as device, TemporaryDirectory() as elsewhere:
        if rank():  # only the first process' files are kept
            function(replace(checked, device=device, out=Path(elsewhere)))
            return {}
        try:
            results: Mapping[str, object] = function(replace(checked, device=device))
            _save_results(checked, results)
        finally:
            if checked.out.is_dir():
                save_run_report(checked.out, f"{recipe.name}: {recipe.summary}")
    return results


def _save_results(request: TrainingRequest, results: Mapping[str, object]) -> None:
    from sonjit.training.run_folder import RESULT

    text = json.dumps({"settings": request.settings, "results": results}, indent=2, default=str)
    write_text(request.out / RESULT, text + "\n", of_run=True)


def prepare(recipe: Recipe, request: TrainingRequest) -> TrainingRequest:
    """The request with all settings: the recipe's, those of its small size, then those typed; everything is checked.

    Raises:
        InputError: a setting, path or option that cannot be used, before any work starts.
    """
    settings = {**recipe.settings, **(recipe.smoke if request.smoke else {}), **request.settings}
    try:
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
            f"--device {name}: PyTorch sees {torch.cuda.device_count()} GPUs; give cpu, or fix the GPU's driver"
        )


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
