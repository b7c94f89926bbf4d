"""Weight files: read without running any code in them, written with the network and the options that they are of."""

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

from sonjit.errors import InputError, JobError
from sonjit.files import atomic_file, write_text

T = TypeVar("T")
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


DESCRIPTION = "network.json"
"""Beside the weights of a run: what is needed to make its network again."""


def save_description(folder: Path, description: Mapping[str, object]) -> None:
    """Write beside the weights what `load_description` reads.

    Raises:
        JobError: the disk refuses.
    """
    write_text(folder / DESCRIPTION, json.dumps(description, indent=2) + "\n")


def load_description(folder: Path, recipe: str, read: Callable[[Any], T]) -> T:
    """What a function reads out of the description beside a run's weights.

    Raises:
        InputError: the folder has no description, or that of another network.
    """
    file = folder / DESCRIPTION
    try:
        return read(json.loads(file.read_text("utf-8")))
    except InputError:
        raise
    except OSError:
        raise InputError(f"{folder} is not a run of sonjit train {recipe}: it holds no {DESCRIPTION}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} does not describe a network ({error}); train it again") from None


METADATA = "sonjit"
"""Under which a file of weights says of which network they are, with which options."""


class SavedNetwork(NamedTuple):
    """Which network a checkpoint is of.

    Attributes:
        name: under which it is registered.
        options: with which `create_network` made it, in JSON's types.
    """

    name: str
    options: Mapping[str, object]

    def to_json(self) -> str:
        """The text that stands in files."""
        return json.dumps({"network": self.name, "options": dict(self.options)}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, path: Path) -> SavedNetwork:
        """What `to_json` wrote; InputError for anything else."""
        try:
            data = json.loads(text)
            return cls(str(data["network"]), dict(data["options"]))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: what it says of its network cannot be read ({error})") from None

    def agreed(self, options: Mapping[str, object], path: Path) -> dict[str, object]:
        """Its options and those that are asked for, which must not contradict them; None asks for nothing.

        Raises:
            InputError: naming what the file was written with.
        """
        asked = {name: value for name, value in options.items() if value is not None}
        for name, value in asked.items():
            if name in self.options and _in_json(value) and _plain(value) != self.options[name]:
                raise InputError(f"{path} was written with {name}={self.options[name]!r}, not {value!r}; leave it out")
        return {**self.options, **asked}


def saved_network(path: Path) -> SavedNetwork | None:
    """What a checkpoint says of its network; None for one that Sonjit has not written.

    Raises:
        InputError: it says something that cannot be read.
    """
    if path.suffix != ".safetensors" or not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(METADATA)
    except (SafetensorError, OSError):
        return None  # whoever reads the weights says what is wrong
    return None if text is None else SavedNetwork.from_json(text, path)


def options_in_json(options: Mapping[str, object]) -> dict[str, object]:
    """Of options, those that JSON holds and that say something, as it gives them back."""
    return {name: _plain(value) for name, value in options.items() if value is not None and _in_json(value)}


def _in_json(value: object) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def _plain(value: object) -> object:
    """As JSON gives it back."""
    return json.loads(json.dumps(value))


def need_option(weights: str, name: str, said: object, how: str) -> None:
    """Refuse a checkpoint that does not say, and of which nobody says, what cannot be read off its weights.

    Args:
        weights: its file; what is no file is refused where it is read.
        name: of the option.
        said: what the caller says, None for nothing.
        how: what to give, and what it means.

    Raises:
        InputError: naming file, option and what to give.
    """
    path = Path(weights)
    if said is None and path.is_file() and name not in (saved.options if (saved := saved_network(path)) else ()):
        raise InputError(f"{weights} does not say its {name.replace('_', ' ')}: give {how}")


def save_checkpoint(network: nn.Module, path: Path) -> None:
    """Write a network's weights as safetensors, and with which options `create_network` makes it again.

    Raises:
        InputError: another ending.
        JobError: the disk refuses.
    """
    if path.suffix != ".safetensors":
        raise InputError(f"{path}: checkpoints are written as .safetensors")
    weights = {key: value.detach().contiguous().cpu() for key, value in network.state_dict().items()}
    saved: SavedNetwork | None = getattr(network, "saved", None)
    about = None if saved is None else {METADATA: saved.to_json()}
    with atomic_file(path) as draft:
        try:
            save_file(weights, draft, about)
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
