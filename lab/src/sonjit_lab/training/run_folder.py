"""A run's folder (settings, log, and the checkpoint from which it continues) and the loggers that copy its log."""

import json
import logging
import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NotRequired, Protocol, TypeAlias, TypedDict, cast

import torch

from sonjit._util import Image, InputError, JobError, SonjitError, check_memory, extras, files, json_text, version
from sonjit.media.sources.images import encode_image

TENSORBOARD = "tensorboard"  # subfolder of TensorBoard's files

LoggerFactory: TypeAlias = Callable[[Path, Mapping[str, object], int], "RunLogger"]
"""Function that returns a logger for a run's folder, its settings, and the number of finished steps."""
_LOG = logging.getLogger(__name__)
_LIBRARIES = ("torch", "torchvision", "timm", "numpy", "opencv-python-headless")
_REMOVED = {"initialise": "own"}  # settings of earlier versions, with the value that trains as this version does
ENVIRONMENT = "environment"  # key of how a run was started, which does not identify the run
CHECKPOINT, LOG, SETTINGS = "checkpoint.pt", "log.jsonl", "settings.json"
"""File names in a run's folder."""
IMAGES = "images"  # subfolder of pictures, whose file names are captions in the report
BEST = "best.safetensors"  # weights with the best evaluation so far
HELD_OUT = "held_out.json"  # file of the first held-out metric before and after the training
RESULT = "result.json"  # file of a recipe's results and the settings that it ran with


class RunLogger(Protocol):
    """Receiver of a run's log."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Record the values of a step, such as `losses/total`, `learning_rate` and `evaluation/error_px`."""
        ...

    def image(self, step: int, name: str, rgb: Image) -> None:
        """Record an image (H, W, 3) uint8."""
        ...

    def close(self) -> None:
        """Flush and close the tracker at the end of the run."""
        ...


class TensorBoardLogger:
    """Writer of TensorBoard's files in the subfolder `tensorboard`; later records of an interrupted run are hidden."""

    def __init__(self, folder: Path, settings: Mapping[str, object], done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(folder / TENSORBOARD, purge_step=done + 1 if done else None)
        if not done:
            self._writer.add_text("settings", "\n".join(f"    {name}: {value}" for name, value in settings.items()))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def image(self, step: int, name: str, rgb: Image) -> None:
        self._writer.add_image(name, rgb, step, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()


def logger_factories(names: Sequence[str]) -> list[LoggerFactory]:
    """Return the functions that open the loggers of a run."""
    factories: list[LoggerFactory] = []
    for name in names:
        module, colon, function = name.partition(":")
        if colon:
            try:
                factories.append(cast("LoggerFactory", getattr(import_module(module), function)))
            except (ImportError, AttributeError, ValueError) as error:
                raise InputError(f"loggers={name}: {error}") from None
        elif name == "tensorboard":
            extras.require(name, f"loggers={name}")
            factories.append(TensorBoardLogger)
        else:
            raise InputError(f"Unknown logger {name!r}. Choose tensorboard, or a function as module:function")
    return factories


def flat_values(groups: Mapping[str, object]) -> Iterator[tuple[str, float]]:
    """Yield the numbers of nested mappings by path.

    >>> dict(flat_values({"losses": {"total": 2.0}, "learning_rate": 0.1}))
    {'losses/total': 2.0, 'learning_rate': 0.1}
    """
    for name, value in groups.items():
        if isinstance(value, Mapping):
            for inner, number in flat_values(cast("Mapping[str, object]", value)):
                yield f"{name}/{inner}", number
        elif isinstance(value, int | float):
            yield name, float(value)


class LogRow(TypedDict):
    """One step, which is a line of the log."""

    step: int  # number of the step, from 1
    losses: Mapping[str, float]  # losses by name, before the step
    learning_rate: float  # learning rate of the step
    gradient_norm: float  # gradient norm before clipping
    seconds: float  # duration of the step
    waited_seconds: float  # part of the duration in which the step waited for its batches
    images: NotRequired[int]  # number of images in the step, where the recipe has the setting `batch`
    layer_gradients: NotRequired[Mapping[str, float]]  # root mean square of the gradient by layer, in some steps
    evaluation: NotRequired[Mapping[str, float]]  # metrics by name, in some steps
    evaluation_before: NotRequired[Mapping[str, float]]  # metrics by name before the training, in the first step


class RunState(TypedDict):
    """A checkpoint."""

    step: int  # number of finished steps
    stopped: bool  # True if the run ended before its last step because it did not improve
    best: float | None  # first metric of the best evaluation so far
    waited: int  # number of evaluations since the best one
    evaluation: dict[str, float]  # last evaluation
    # state dicts by name: network, optimizer, and the moving average if there is one
    parts: Mapping[str, dict[str, Any]]


class RunFolder:
    """A run's folder with its loggers; files are replaced atomically and stay complete if the process is killed."""

    def __init__(self, folder: Path, settings: Mapping[str, object], *, loggers: Sequence[str] = ()) -> None:
        self.folder = folder
        self._settings = settings
        self._factories = dict(zip(loggers, logger_factories(loggers), strict=True))
        self._loggers: list[RunLogger] = []
        settings_json = json_text.json_from({**settings, ENVIRONMENT: environment()}, 2, sort_keys=True) + "\n"
        try:
            file = folder / SETTINGS
            if file.exists():
                _check_same_run(file, json.loads(settings_json))
            else:
                files.write_text(file, settings_json)
        except OSError as error:
            raise InputError(f"{folder}: not writable: {error.strerror}") from None

    def restore(self) -> RunState | None:
        """Return the last checkpoint, if there is one, remove later rows from the log, and open the loggers."""
        file, log = self.folder / CHECKPOINT, self.folder / LOG
        state: RunState | None = None
        lines: list[str] = []
        if file.exists():
            try:
                state = torch.load(file, map_location="cpu", weights_only=True)
                assert state is not None
                lines = log.read_text("utf-8").splitlines(keepends=True)[: int(state["step"])]
            except Exception as error:  # damaged files raise arbitrary exceptions in torch.load
                check_memory(error)
                raise InputError(f"{file}: damaged checkpoint ({type(error).__name__}); remove it to restart") from None
        files.write_text(log, "".join(lines))
        for name, factory in self._factories.items():
            try:
                self._loggers.append(factory(self.folder, self._settings, len(lines)))
            except Exception as error:  # each tracker has its own exceptions
                if isinstance(error, SonjitError) or ":" in name:  # a function of the user's own needs its traceback
                    raise
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0].partition(". ")[0][:300]
                raise JobError(f"loggers={name} cannot start: {reason}") from None
        return state

    def log(self, row: LogRow) -> None:
        """Append a row to the log."""
        with (self.folder / LOG).open("a", encoding="utf-8") as file:
            file.write(json_text.json_from(row, spaced=True) + "\n")
        for logger in self._loggers:
            if before := row.get("evaluation_before"):
                logger.log(0, dict(flat_values({"evaluation": before})))
            values = {name: value for name, value in row.items() if name not in ("step", "evaluation_before")}
            logger.log(row["step"], dict(flat_values(values)))

    def save_pictures(self, step: int, pictures: Mapping[str, Image]) -> None:
        """Write the report's RGB pictures (H, W, 3) by caption, and send them to the loggers."""
        for caption, rgb in pictures.items():
            files.write_bytes(self.folder / IMAGES / f"{caption}.png", encode_image(rgb, ".png"))
            for logger in self._loggers:
                logger.image(step, caption, rgb)

    def save_held_out(self, metrics: Mapping[str, float], *, higher_is_better: bool) -> None:
        """Write the first metric before and after the training."""
        with (self.folder / LOG).open(encoding="utf-8") as file:
            before: Mapping[str, float] = json.loads(file.readline() or "{}").get("evaluation_before", {})
        name, after = next(iter(metrics.items()))
        change = {"metric": name, "before": before.get(name), "after": after, "higher_is_better": higher_is_better}
        files.write_text(self.folder / HELD_OUT, json_text.json_from(change, 2) + "\n")

    def close(self) -> None:
        """Close the loggers."""
        for logger in self._loggers:
            logger.close()

    def save(self, state: RunState) -> None:
        """Write a checkpoint; the previous one stays until this one is complete."""
        file = self.folder / CHECKPOINT
        with files.atomic_file(file) as draft:
            try:
                torch.save(dict(state), draft)
            except RuntimeError as error:  # for example a full disk
                check_memory(error)
                raise JobError(f"writing {file} failed: {error}") from None


def environment() -> dict[str, object]:
    """Return the command of this process, the versions of Python and the libraries, and the platform."""
    return {"command": sys.argv, "versions": version.installed_versions(_LIBRARIES), "platform": platform.platform()}


def differing(before: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """Return the names whose values differ, sorted. A file or folder may have moved if its hash is the same.

    >>> differing({"data": "a", "data_sha256": "1", "seed": 0}, {"data": "b", "data_sha256": "1", "seed": 1})
    ['seed']
    """

    def is_moved(name: str) -> bool:
        key = f"{name}_sha256"
        return before.get(key) is not None and before.get(key) == now.get(key)

    return sorted(name for name in {*before, *now} if before.get(name) != now.get(name) and not is_moved(name))


def _check_same_run(file: Path, settings: dict[str, Any]) -> None:
    """Compare the settings of a run with those in its folder; warn if only its libraries have changed."""
    try:
        before = json.loads(file.read_text("utf-8"))
        versions = before.pop(ENVIRONMENT)["versions"]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{file}: damaged, or of another version of Sonjit. Choose another folder.") from None
    now = settings.pop(ENVIRONMENT)["versions"]
    before = {name: value for name, value in before.items() if (name, value) not in _REMOVED.items()}
    if differ := differing(before, settings):
        raise InputError(
            f"{file.parent}: contains a run with other settings ({SETTINGS}: {', '.join(differ)}). "
            "Choose another folder."
        )
    if changed := [
        f"{name} {versions.get(name)} is now {now.get(name)}" for name in now if versions.get(name) != now[name]
    ]:
        _LOG.warning("%s: %s; the continued run may differ in rounding", file.parent, ", ".join(changed))
