"""Loggers that copy a run's log to TensorBoard, Weights & Biases, MLflow or a tracker of your own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, TypeAlias, cast

from sonjit._util.arrays import Image
from sonjit._util.errors import InputError
from sonjit._util.extras import require

TENSORBOARD = "tensorboard"
"""Subfolder of TensorBoard's files."""


LoggerFactory: TypeAlias = Callable[[Path, Mapping[str, object], int], "RunLogger"]
"""Function that returns a logger for a run's folder, its settings, and the number of finished steps."""


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
    """Writer of TensorBoard's files in the subfolder `tensorboard` of a run.

    Args:
        folder: Folder of the run.
        settings: Settings of the run; recorded as text.
        done: Number of finished steps. Later records of an interrupted run are hidden.
    """

    def __init__(self, folder: Path, settings: Mapping[str, object], done: int) -> None:
        require("tensorboard", "loggers=tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(folder / TENSORBOARD, purge_step=done + 1 if done else None)
        if not done:
            self._writer.add_text("settings", "\n".join(f"    {name}: {value}" for name, value in settings.items()))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Record the values of a step as scalars."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def image(self, step: int, name: str, rgb: Image) -> None:
        """Record an image."""
        self._writer.add_image(name, rgb, step, dataformats="HWC")

    def close(self) -> None:
        """Flush and close the files."""
        self._writer.close()


class WandbLogger:
    """Run of Weights & Biases, named like the run's folder.

    The project, the mode (online, offline) and the account come from the variables of wandb, such as `WANDB_PROJECT`
    and `WANDB_MODE`.

    Args:
        folder: Folder of the run; the files of wandb are written into it.
        settings: Settings of the run.
        done: Number of finished steps; a continued run resumes its records.
    """

    def __init__(self, folder: Path, settings: Mapping[str, object], done: int) -> None:
        require("wandb", "loggers=wandb")
        wandb: Any = import_module("wandb")
        id_file = folder / "wandb-run-id"
        known = id_file.read_text("utf-8") if done and id_file.exists() else None
        self._wandb = wandb
        self._run = wandb.init(
            dir=str(folder), name=folder.resolve().name, config=dict(settings), id=known, resume="allow"
        )
        id_file.write_text(self._run.id, "utf-8")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Record the values of a step."""
        self._run.log(dict(values), step=step)

    def image(self, step: int, name: str, rgb: Image) -> None:
        """Record an image."""
        self._run.log({name: self._wandb.Image(rgb)}, step=step)

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()


class MlflowLogger:
    """Run of MLflow, named like the run's folder.

    The server and the experiment come from the variables of MLflow, such as `MLFLOW_TRACKING_URI`. Without one, MLflow
    writes into the current folder.

    Args:
        folder: Folder of the run.
        settings: Settings of the run, recorded as parameters.
        done: Number of finished steps; a continued run resumes its records.
    """

    def __init__(self, folder: Path, settings: Mapping[str, object], done: int) -> None:
        require("mlflow", "loggers=mlflow")
        mlflow: Any = import_module("mlflow")
        id_file = folder / "mlflow-run-id"
        known = id_file.read_text("utf-8") if done and id_file.exists() else None
        self._client = mlflow.MlflowClient()
        active = mlflow.start_run(run_id=known, run_name=None if known else folder.resolve().name)
        self._id: str = active.info.run_id
        mlflow.end_run("RUNNING")
        id_file.write_text(self._id, "utf-8")
        if not known:
            for name, value in settings.items():
                self._client.log_param(self._id, name, str(value)[:500])

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Record the values of a step as metrics."""
        for name, value in values.items():
            self._client.log_metric(self._id, name, value, step=step)

    def image(self, step: int, name: str, rgb: Image) -> None:
        """Record an image as an artifact."""
        self._client.log_image(self._id, rgb, f"{name}-{step}.png")

    def close(self) -> None:
        """Mark the run as finished."""
        self._client.set_terminated(self._id)


def logger_factories(names: Sequence[str]) -> list[LoggerFactory]:
    """Return the functions that open the loggers of a run.

    Args:
        names: `tensorboard`, `wandb`, `mlflow`, or a function of your own as `module:function`, a `LoggerFactory`.

    Raises:
        InputError: A name is unknown, or its module or function is missing.
        MissingExtraError: A tracker is not installed.
    """
    own: dict[str, LoggerFactory] = {"tensorboard": TensorBoardLogger, "wandb": WandbLogger, "mlflow": MlflowLogger}
    factories: list[LoggerFactory] = []
    for name in names:
        module, colon, function = name.partition(":")
        if colon:
            try:
                factories.append(cast("LoggerFactory", getattr(import_module(module), function)))
            except (ImportError, AttributeError, ValueError) as error:
                raise InputError(f"loggers={name}: {error}") from None
        elif name in own:
            require(name, f"loggers={name}")
            factories.append(own[name])
        else:
            known = ", ".join(own)
            raise InputError(f"Unknown logger {name!r}. Choose from {known}, or a function as module:function")
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
