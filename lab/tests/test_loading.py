"""Public functions that load a file or a name: every wrong one is refused in one line."""

import importlib
import pkgutil
from inspect import signature

import pytest

import sonjit
import sonjit_lab
from sonjit import SonjitError
from sonjit_lab.evaluation.protocols import load_protocol
from sonjit_lab.training.recipes import load_recipe

PACKAGES = [
    item.name
    for package in (sonjit, sonjit_lab)
    for item in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if item.ispkg and "._" not in item.name
]
ENDINGS = (".safetensors", ".pt", ".pkl", ".npz", ".npy", ".json", ".toml", ".onnx", ".tflite", ".csv", ".parquet", "")


def loaders():
    """Public functions `load_*` with an argument by their full name."""
    found = {}
    for package in PACKAGES:
        module = importlib.import_module(package)
        names = [name for name in getattr(module, "__all__", ()) if name.startswith("load_")]
        found |= {f"{package}.{name}": getattr(module, name) for name in names}
    return {name: load for name, load in found.items() if signature(load).parameters}


LOADERS = loaders()
assert {"sonjit_lab.networks.load_checkpoint", "sonjit_lab.hand_models.load_mano"} < LOADERS.keys()


def wrong_values(folder):
    """Paths and names that nothing can load."""
    (folder / "folder").mkdir()
    values = [folder / "missing", folder / "folder", "no-such-name"]
    for ending in ENDINGS:
        for stem, content in (("empty", b""), ("text", b"no such format\n"), ("zeros", bytes(64)), ("list", b"[1, 2]")):
            path = folder / f"{stem}{ending}"
            path.write_bytes(content)
            values.append(path)
    return values


@pytest.mark.parametrize("name", LOADERS)
def test_what_cannot_be_loaded_is_refused_in_one_line(name, tmp_path):
    for value in wrong_values(tmp_path):
        for wrong in (value, str(value)):
            with pytest.raises(SonjitError) as error:
                LOADERS[name](wrong)
            assert "\n" not in str(error.value), wrong


@pytest.mark.parametrize("load", [load_protocol, load_recipe])
def test_what_nests_without_end_is_refused_in_a_line_that_names_it(tmp_path, load):
    file = tmp_path / "own.toml"
    file.write_text("a = " + "[" * 100_000)
    with pytest.raises(SonjitError, match=r"own\.toml"):
        load(str(file))
