"""Read weight files without running code in them, and write them with the name and options of their network."""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sonjit._util.data_files import read_json, write_json
from sonjit._util.errors import InputError, JobError, check_memory
from sonjit._util.files import atomic_file
from sonjit._util.json_text import json_from

T = TypeVar("T")
_ENDINGS = (".safetensors", ".pt", ".pth", ".tar", ".bin", ".ckpt")
_WRAPPERS = ("state_dict", "model_state_dict", "model", "network", "net", "params", "weights")
"""Keys of the weights in checkpoints that also contain the optimizer and epoch."""


DESCRIPTION = "network.json"
"""File with the description of a run's network, in the folder of its weights."""
METADATA = "sonjit"
"""Metadata key of a weight file for the name and options of its network."""


def load_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """Return the weights in a checkpoint file by name, on the CPU.

    Supported are safetensors and the files of `torch.save` (old and new format), also with an optimizer's state. Only
    tensors and plain containers are read: a pickle that would call anything is refused and not run.

    Raises:
        InputError: The file is missing, damaged, of an unknown format, or would run code.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint")
    if path.suffix not in _ENDINGS:
        known = ", ".join(_ENDINGS)
        raise InputError(f"{path}: Unknown file ending {path.suffix!r} of a checkpoint. Choose from {known}")
    try:
        loaded: Any = load_file(path) if path.suffix == ".safetensors" else _load_pickle(path)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: not loaded, because it is damaged or contains more than tensors ({_refusal(error)}). "
            "Copy it again, or save only its state_dict, as safetensors."
        ) from None
    except Exception as error:  # damaged files raise arbitrary errors in torch.load
        check_memory(error)
        raise InputError(f"{path}: damaged checkpoint ({_first_sentence(error)}); copy it again") from None
    weights = _find_weights(loaded)
    if weights is None:
        raise InputError(f"{path}: contains no weights by name; save a state_dict")
    return weights


def save_description(folder: Path, description: Mapping[str, object]) -> None:
    """Write a description for `load_description` into the folder of the weights.

    Raises:
        JobError: The file cannot be written.
    """
    write_json(folder / DESCRIPTION, description, indent=2)


def load_description(folder: Path, recipe: str, read: Callable[[Any], T]) -> T:
    """Read the description in a run's folder and convert it with a function.

    Raises:
        InputError: The folder has no description, or that of another network.
    """
    file = folder / DESCRIPTION
    if not file.is_file():
        raise InputError(f"{folder} is not a run of sonjit train {recipe}: {DESCRIPTION} is missing")
    try:
        return read(read_json(file))
    except InputError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} does not describe a network ({error}); train it again") from None


class SavedNetwork(NamedTuple):
    """Name and options of a checkpoint's network.

    Attributes:
        name: Name in the registry.
        options: Options of `create_network` as JSON values.
    """

    name: str
    options: Mapping[str, object]

    def to_json(self) -> str:
        """Return the text in weight files."""
        return json_from({"network": self.name, "options": dict(self.options)}, spaced=True, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, path: Path) -> SavedNetwork:
        """Parse the text of `to_json`; raise InputError for other texts."""
        try:
            data = json.loads(text)
            return cls(str(data["network"]), dict(data["options"]))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: the description of its network is not readable ({error})") from None

    def merge_options(self, options: Mapping[str, object], path: Path) -> dict[str, object]:
        """Merge the saved options with requested ones, which must not contradict them; None requests nothing.

        Raises:
            InputError: An option contradicts that of the file.
        """
        requested = {name: value for name, value in options.items() if value is not None}
        for name, value in requested.items():
            if name in self.options and _is_json(value) and _round_trip(value) != self.options[name]:
                raise InputError(f"{path} was written with {name}={self.options[name]!r}, not {value!r}")
        return {**self.options, **requested}


def saved_network(path: Path) -> SavedNetwork | None:
    """Return the name and options of a checkpoint's network, or None if Sonjit did not write the checkpoint.

    Raises:
        InputError: The description in the checkpoint is not readable.
    """
    if path.suffix != ".safetensors" or not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(METADATA)
    except (SafetensorError, OSError):
        return None  # the reader of the weights reports the error
    return None if text is None else SavedNetwork.from_json(text, path)


def options_in_json(options: Mapping[str, object]) -> dict[str, object]:
    """Return the options that are not None and that JSON supports, as JSON values."""
    return {name: _round_trip(value) for name, value in options.items() if value is not None and _is_json(value)}


def _is_json(value: object) -> bool:
    try:
        json_from(value, spaced=True)
    except (TypeError, ValueError):
        return False
    return True


def _round_trip(value: object) -> object:
    """Return a value as JSON reads it back."""
    return json.loads(json_from(value, spaced=True))


def require_option(weights: str, name: str, value: object, advice: str) -> None:
    """Refuse a checkpoint without an option that its weights do not determine, if the caller does not set it.

    Args:
        weights: Path of the checkpoint; other values are checked by the reader.
        name: Name of the option.
        value: Value of the caller; None if it is not set.
        advice: Values of the option and their meaning.

    Raises:
        InputError: Neither the checkpoint nor the caller sets the option.
    """
    path = Path(weights)
    if value is None and path.is_file() and name not in (saved.options if (saved := saved_network(path)) else ()):
        raise InputError(f"{weights} does not define its {name.replace('_', ' ')}; set {advice}")


def save_checkpoint(network: nn.Module, path: Path) -> None:
    """Write a network's weights as safetensors, with the name and options for `create_network`.

    Raises:
        InputError: The path has another ending.
        JobError: The file cannot be written.
    """
    if path.suffix != ".safetensors":
        raise InputError(f"{path}: checkpoints must end with .safetensors")
    weights = {key: value.detach().contiguous().cpu() for key, value in network.state_dict().items()}
    saved: SavedNetwork | None = getattr(network, "saved", None)
    metadata = None if saved is None else {METADATA: saved.to_json()}
    with atomic_file(path) as draft:
        mode = draft.stat().st_mode  # save_file replaces the draft by a file that only its owner can read
        try:
            save_file(weights, draft, metadata)
        except SafetensorError as error:
            raise JobError(f"writing {path} failed: {_first_sentence(error)}") from None
        draft.chmod(mode)


def _load_pickle(path: Path) -> Any:  # noqa: ANN401  # any saved value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings about old formats
        return torch.load(path, map_location="cpu", weights_only=True)


def _find_weights(loaded: Any) -> dict[str, Tensor] | None:  # noqa: ANN401
    """Return the mapping from name to tensor in a loaded file, or None."""
    if not isinstance(loaded, Mapping):
        return None
    if loaded and all(isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in loaded.items()):
        return dict(loaded)
    inner = next((loaded[name] for name in _WRAPPERS if isinstance(loaded.get(name), Mapping)), None)
    return None if inner is None else _find_weights(inner)


def _refusal(error: pickle.UnpicklingError) -> str:
    """Return what torch refused to read, without its advice to read it unsafely."""
    advice = "Weights only load failed", "Please file an issue", "Check the documentation"
    lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith(advice)]
    return _first_sentence(ValueError(lines[0] if lines else "not a pickle of tensors"))


def _first_sentence(error: Exception) -> str:
    """Return the first sentence of an error message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].partition(". ")[0].rstrip(".")[:200]
