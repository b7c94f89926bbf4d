"""Checkpoint files in and out, without running any code in them."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from sonjit.errors import InputError, JobError
from sonjit.files import atomic_file

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

_ENDINGS = (".safetensors", ".pt", ".pth", ".tar", ".bin", ".ckpt")
_WRAPPERS = ("state_dict", "model_state_dict", "model", "network", "net", "params", "weights")
"""Under which training scripts keep the weights beside optimizer and epoch."""


def load_checkpoint(path: Path) -> dict[str, Tensor]:
    """The weights in a checkpoint file, by name, on the CPU.

    Reads safetensors and the files of `torch.save` (old and new format); weights that are beside an optimizer's state
    are found. Only tensors and plain containers are read: a pickle that would call anything is refused, and not run.

    Raises:
        InputError: the file is missing, damaged, of unknown kind, or would run code.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint")
    if path.suffix not in _ENDINGS:
        raise InputError(f"{path}: unknown ending {path.suffix!r} of a checkpoint; known: {', '.join(_ENDINGS)}")
    try:
        loaded: Any = load_file(path) if path.suffix == ".safetensors" else _load_pickle(path)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: not loaded, for it holds more than tensors, or is damaged ({_refusal(error)}); "
            "copy it again, or save its state_dict alone, as safetensors"
        ) from None
    except Exception as error:  # torch's reader fails in any way on what is damaged
        raise InputError(f"{path}: a damaged checkpoint ({_first_line(error)}); copy it again") from None
    weights = _weights_in(loaded)
    if weights is None:
        raise InputError(f"{path}: no weights by name in it; save a state_dict")
    return weights


def save_checkpoint(network: nn.Module, path: Path) -> None:
    """Write a network's weights as safetensors.

    Raises:
        InputError: another ending, or a folder that is missing.
        JobError: the disk refuses.
    """
    if path.suffix != ".safetensors":
        raise InputError(f"{path}: checkpoints are written as .safetensors")
    with atomic_file(path) as draft:
        try:
            save_file({key: value.detach().contiguous().cpu() for key, value in network.state_dict().items()}, draft)
        except SafetensorError as error:
            raise JobError(f"writing {path} failed: {_first_line(error)}") from None


def _load_pickle(path: Path) -> Any:  # noqa: ANN401  # whatever was saved
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of formats that torch reads but would rather not
        return torch.load(path, map_location="cpu", weights_only=True)


def _weights_in(loaded: Any) -> dict[str, Tensor] | None:  # noqa: ANN401
    """The mapping from name to tensor in what was saved, unwrapped."""
    if not isinstance(loaded, Mapping):
        return None
    if loaded and all(isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in loaded.items()):
        return dict(loaded)
    inner = next((loaded[name] for name in _WRAPPERS if isinstance(loaded.get(name), Mapping)), None)
    return None if inner is None else _weights_in(inner)


def _refusal(error: pickle.UnpicklingError) -> str:
    """What torch would not read, without its advice to read it unsafely all the same."""
    advice = "Weights only load failed", "Please file an issue", "Check the documentation"
    lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith(advice)]
    return _first_line(ValueError(lines[0] if lines else "not a pickle of tensors"))


def _first_line(error: Exception) -> str:
    """Its first sentence."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].partition(". ")[0].rstrip(".")[:200]
