"""Read weight files without running code in them, and write them with the name and options of their network."""

import json
import logging
import math
import pickle
import re
import warnings
import zlib
from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sonjit._util import Float32Array, InputError, JobError, check_memory, data_files, files, json_from

T = TypeVar("T")
_LOG = logging.getLogger(__name__)
_ENDINGS = (".safetensors", ".pt", ".pth", ".tar", ".bin", ".ckpt")
_AVERAGED = ("state_dict_ema", "model_ema", "params_ema", "ema", "ema_model")
_WRAPPERS = (
    *_AVERAGED,
    "state_dict",
    "model_state_dict",
    "model",
    "network",
    "net",
    "params",
    "weights",
    "generator",
    "module",
    "model_state",
    "ema_state_dict",
)
"""Keys of the weights in checkpoints, in order. Averages come first, as in timm and BasicSR. MMEngine's `state_dict` is
the average, and its `ema_state_dict` is not.
"""
_MAX_DEPTH = 4  # number of nested mappings to search, because a damaged one can contain itself
_PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "net.")
"""Prefixes that parallel training, torch.compile, Lightning and training scripts add to every key."""

WEIGHTS = "weights.safetensors"  # file of the weights in a run's folder
DESCRIPTION = "network.json"  # file with the description of a run's network, in the folder of its weights
METADATA = "sonjit"  # metadata key of a weight file for the name and options of its network


def weight_file(path: str | Path) -> Path:
    """Return the weights in the folder of a run of `sonjit train`, or the path of another file as it is."""
    path = Path(path)
    if not path.is_dir():
        return path
    if not (path / WEIGHTS).is_file():
        raise InputError(f"{path}: this folder has no {WEIGHTS}; give a run of sonjit train, or a file")
    return path / WEIGHTS


def load_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """Return the weights in a checkpoint file, or in the folder of a run, by name, on the CPU.

    Supported are safetensors and the files of `torch.save` (old and new format), also with an optimizer's state. Only
    tensors and plain containers are read: a pickle that would call anything is refused and not run. Values that are not
    tensors, such as a training script's arguments, are ignored. Averaged weights (EMA) are preferred; a warning in the
    log states the choice.

    Raises:
        InputError: The file is missing, damaged, of an unknown format, or would run code.
    """
    path = weight_file(path)
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint")
    if path.suffix not in _ENDINGS:
        endings = ", ".join(_ENDINGS)
        raise InputError(f"{path}: Unknown file ending {path.suffix!r} of a checkpoint. Choose from {endings}")
    try:
        loaded: Any = load_file(path) if path.suffix == ".safetensors" else _load_pickle(path)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: not loaded, because it is damaged or contains more than tensors ({_refusal(error)}). "
            "Copy it again, or save only its state_dict, as safetensors."
        ) from None
    except Exception as error:  # damaged files raise arbitrary errors in torch.load
        check_memory(error)
        if "TorchScript" in str(error):
            raise InputError(f"{path} is a program of TorchScript, not weights; save its state_dict") from None
        raise InputError(f"{path}: damaged checkpoint ({_first_sentence(error)}); copy it again") from None
    weights = _find_weights(loaded, path)
    if weights is None:
        raise InputError(f"{path}: contains no weights by name; save a state_dict")
    return weights


def save_description(folder: Path, description: Mapping[str, object]) -> None:
    """Write a description for `load_description` into the folder of the weights."""
    data_files.write_json(folder / DESCRIPTION, description, indent=2)


def load_description(folder: Path, recipe: str, read: Callable[[Any], T]) -> T:
    """Read the description in a run's folder and convert it with a function."""
    file = folder / DESCRIPTION
    if not file.is_file():
        raise InputError(f"{folder} is not a run of sonjit train {recipe}: {DESCRIPTION} is missing")
    try:
        return read(data_files.read_json(file))
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise InputError(f"{file} does not describe a network ({error}); train it again") from None


class SavedNetwork(NamedTuple):
    """Name of a checkpoint's network in the registry, and its options of `create_network` as JSON values."""

    name: str
    options: Mapping[str, object]
    side: int = 0  # side of the square images of its training, in pixels; 0 for that in its entry

    def to_json(self) -> str:
        """Return the text in weight files."""
        side = {"side": self.side} if self.side else {}
        return json_from({"network": self.name, "options": dict(self.options), **side}, spaced=True, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, path: Path) -> "SavedNetwork":
        """Parse the text of `to_json`; raise InputError for other texts."""
        try:
            data = json.loads(text)
            return cls(str(data["network"]), dict(data["options"]), int(data.get("side", 0)))
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise InputError(f"{path}: the description of its network is not readable ({error})") from None

    def merge_options(self, options: Mapping[str, object], path: Path) -> dict[str, object]:
        """Merge the saved options with requested ones, which must not contradict them; None requests nothing."""
        requested = {name: value for name, value in options.items() if value is not None}
        for name, value in requested.items():
            if name in self.options and _is_json(value) and _round_trip(value) != self.options[name]:
                raise InputError(f"{path} was written with {name}={self.options[name]!r}, not {value!r}")
        return {**self.options, **requested}


def saved_network(path: Path) -> SavedNetwork | None:
    """Return the name and options of a checkpoint's network, or None if Sonjit did not write the checkpoint."""
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
    """Refuse a checkpoint without an option that its weights do not determine, if the caller does not set it."""
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
    with files.atomic_file(path) as draft:
        mode = draft.stat().st_mode  # save_file replaces the draft by a file that only its owner can read
        try:
            save_file(weights, draft, metadata)
        except SafetensorError as error:
            raise JobError(f"writing {path} failed: {_first_sentence(error)}") from None
        draft.chmod(mode)


class _Ignored:
    """Placeholder for a harmless object that is not a tensor; nothing of it is kept."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


_HARMLESS: tuple[tuple[Callable[..., object], str], ...] = (
    (lambda *_: {}, "collections.defaultdict"),
    (lambda *_: [], "collections.deque"),
    *(
        (_Ignored, f"numpy.{core}.{name}")
        for core in ("core", "_core")
        for name in ("multiarray.scalar", "multiarray._reconstruct", "numeric._frombuffer")
    ),
    *((_Ignored, f"numpy.{name}") for name in ("dtype", "ndarray")),
    *(
        (_Ignored, f"{module}.{name}")
        for module in ("pathlib", "pathlib._local")
        for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
    ),
    *((_Ignored, f"datetime.{name}") for name in ("date", "datetime", "timedelta", "timezone")),
    *(
        (_Ignored, f"builtins.{name}")
        for name in ("bool", "complex", "dict", "float", "frozenset", "int", "list", "range", "slice", "str", "tuple")
    ),
    *((_Ignored, name) for name in ("argparse.Namespace", "types.SimpleNamespace")),
)
"""Placeholders for objects that training scripts save next to weights, by the name in the pickle."""


def _load_pickle(path: Path) -> Any:  # noqa: ANN401  # any saved value
    with warnings.catch_warnings(), torch.serialization.safe_globals(list(_HARMLESS)):
        warnings.simplefilter("ignore")  # warnings about old formats
        return torch.load(path, map_location="cpu", weights_only=True)


def _find_weights(loaded: Any, path: Path, depth: int = _MAX_DEPTH) -> dict[str, Tensor] | None:  # noqa: ANN401
    """Return the mapping from name to tensor in a loaded file, without other values, or None."""
    if not depth or not isinstance(loaded, Mapping):
        return None
    inner = {name: weights for name in _WRAPPERS if (weights := _find_weights(loaded.get(name), path, depth - 1))}
    if inner:
        usual = next((len(inner[name]) for name in inner if name not in _AVERAGED), 0)  # an average may lack buffers
        chosen = next(name for name in inner if name not in _AVERAGED or len(inner[name]) >= usual)
        if len(inner) > 1:
            _LOG.warning("%s contains the weights %s: %s is read", path, ", ".join(inner), chosen)
        return inner[chosen]
    tensors = {key: value for key, value in loaded.items() if isinstance(key, str) and isinstance(value, Tensor)}
    return tensors or None


def without_prefixes(weights: Mapping[str, Tensor], network_keys: Container[str]) -> dict[str, Tensor]:
    """Return weights without prefixes if no key of the network is among them; keys without the prefix are left out."""
    remaining = {key: value for key, value in weights.items() if key != "n_averaged"}  # a counter of averaged networks
    while remaining and not any(key in network_keys for key in remaining):
        prefix = next((prefix for prefix in _PREFIXES if any(key.startswith(prefix) for key in remaining)), None)
        if prefix is None:
            break
        remaining = {key.removeprefix(prefix): value for key, value in remaining.items() if key.startswith(prefix)}
    return remaining


def _refusal(error: pickle.UnpicklingError) -> str:
    """Return what torch refused to read, without its advice to read it unsafely."""
    text = str(error)
    if refused := re.search(r"GLOBAL ([\w.]+) was not an allowed global", text):
        return f"it contains {refused[1]}, which is neither a tensor nor a plain value"
    advice = "Weights only load failed", "Please file an issue", "Check the documentation", "(1)", "(2)"
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith(advice)]
    return _first_sentence(ValueError(lines[0] if lines else "not a pickle of tensors"))


def _first_sentence(error: Exception) -> str:
    """Return the first sentence of an error message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].partition(". ")[0].rstrip(".")[:200]


def placeholder_state_dict(network: nn.Module) -> dict[str, Tensor]:
    """Return placeholder weights: a state_dict with one generator per key, whose seed is the CRC-32 of the key.

    Scales of norms are in 0.8..1.2, running variances in 0.5..1.5, weights have He's deviation; counters are zero.
    """
    return {
        key: torch.from_numpy(seeded_values(key, tuple(value.shape))).to(value.dtype)
        if value.is_floating_point()
        else torch.zeros_like(value, device="cpu")
        for key, value in network.state_dict().items()
    }


def seeded_values(key: str, shape: tuple[int, ...]) -> Float32Array:
    """Return the values of one entry of a state_dict.

    >>> [f"{value:.2f}" for value in seeded_values("layer.weight", (2, 3)).flat]
    ['0.11', '-0.12', '-0.07', '0.95', '-1.48', '0.17']
    """
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    if key.endswith("running_var"):
        values = rng.uniform(0.5, 1.5, shape)
    elif key.endswith("running_mean"):
        values = rng.normal(0, 0.1, shape)
    elif len(shape) == 1 and key.endswith("weight"):
        values = rng.uniform(0.8, 1.2, shape)
    elif len(shape) <= 1:
        values = rng.normal(0, 0.02, shape)
    else:
        values = rng.normal(0, math.sqrt(2 / max(math.prod(shape[1:]), 1)), shape)
    return values.astype(np.float32)
