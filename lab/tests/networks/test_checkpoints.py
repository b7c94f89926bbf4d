"""Checkpoint files: accepted and refused content, and no execution of code."""

import argparse
import pickle
import warnings
import zipfile
from collections import Counter, defaultdict, deque
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sonjit import InputError
from sonjit.cli import main
from sonjit_lab.networks import create_network, load_checkpoint, network_entry, save_checkpoint

WEIGHTS = {"layer.weight": torch.arange(6.0).reshape(2, 3), "layer.bias": torch.zeros(2)}


class Malice:
    """Object that writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def tiny():
    return create_network("hand-full", "demo", **network_entry("hand-full").tiny)


@pytest.mark.parametrize("wrap", [lambda weights: weights, lambda weights: {"epoch": 1, "model": weights}])
@pytest.mark.parametrize("ending", [".pt", ".pth", ".tar", ".bin", ".ckpt"])
@pytest.mark.parametrize("new_format", [True, False])
def test_weights_are_found_in_what_training_scripts_save(wrap, ending, new_format, tmp_path):
    path = tmp_path / f"net{ending}"
    torch.save(wrap(WEIGHTS), path, _use_new_zipfile_serialization=new_format)
    loaded = load_checkpoint(path)
    assert loaded.keys() == WEIGHTS.keys()
    assert all(torch.equal(value, WEIGHTS[key]) for key, value in loaded.items())


@pytest.mark.parametrize(
    "more",
    [
        {"best": np.float64(0.5), "epoch": np.int64(3), "done": np.bool_(True)},
        {"history": np.arange(3.0), "names": np.array(["a"]), "all": frozenset([1j])},
        {"args": argparse.Namespace(lr=1e-4, out=Path("runs"), sizes=[1, (2, 3)])},
        {"log": defaultdict(list, loss=[1.0]), "seen": {1, 2}, "counts": Counter("ab"), "last": deque([1])},
        {"when": datetime(2026, 1, 2, tzinfo=UTC), "settings": SimpleNamespace(a=1), "type": torch.float16},
    ],
)
@pytest.mark.parametrize("new_format", [True, False])
def test_harmless_values_next_to_weights_are_ignored(more, new_format, tmp_path):
    for content in ({"state_dict": WEIGHTS, **more}, {**WEIGHTS, **more}):
        torch.save(content, tmp_path / "net.pth", _use_new_zipfile_serialization=new_format)
        loaded = load_checkpoint(tmp_path / "net.pth")
        assert loaded.keys() == WEIGHTS.keys()
        assert all(torch.equal(value, WEIGHTS[key]) for key, value in loaded.items())


EMA = {key: value + 1 for key, value in WEIGHTS.items()}


@pytest.mark.parametrize(
    ("content", "read"),
    [
        ({"state_dict": WEIGHTS, "state_dict_ema": EMA}, "state_dict_ema"), ({"state_dict": EMA, "ema": {}}, ""),
        ({"model": WEIGHTS, "ema": {"module": EMA, "updates": 3}}, "ema"), ({"params_ema": EMA}, ""),
        ({"state_dict": EMA, "ema_state_dict": WEIGHTS}, "state_dict"),
        ({"state_dict": EMA, "model_ema": {"layer.weight": torch.zeros(2, 3)}}, "state_dict"),  # without the buffers
    ],
)  # fmt: skip
def test_averaged_weights_are_preferred_as_in_reference_projects(content, read, tmp_path, caplog):
    torch.save(content, tmp_path / "net.pth")
    loaded = load_checkpoint(tmp_path / "net.pth")
    assert all(torch.equal(value, EMA[key]) for key, value in loaded.items())
    assert loaded.keys() == EMA.keys()
    assert caplog.messages[-1:] == [m for m in caplog.messages if m.endswith(f": {read} is read")]
    assert bool(caplog.messages) == bool(read)


class Unknown:
    """Class of a training script."""


@pytest.mark.parametrize("value", [Unknown(), torch.nn.Linear(1, 1), print], ids=["object", "module", "function"])
def test_the_message_names_what_is_refused(value, tmp_path):
    torch.save({"state_dict": WEIGHTS, "more": value}, tmp_path / "net.pth")
    name = f"{(value if callable(value) and not isinstance(value, torch.nn.Module) else type(value)).__name__}"
    with pytest.raises(InputError, match=rf"it contains [\w.]*{name}, which is neither a tensor nor") as caught:
        load_checkpoint(tmp_path / "net.pth")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda weights: {f"_orig_mod.{key}": value for key, value in weights.items()},
        lambda weights: {f"module._orig_mod.{key}": value for key, value in weights.items()},
        lambda weights: {"state_dict": {f"model.{k}": v for k, v in weights.items()} | {"loss.scale": torch.ones(1)}},
        lambda weights: {"model_ema": {"n_averaged": torch.tensor(3)} | {f"module.{k}": v for k, v in weights.items()}},
        lambda weights: {"generator": weights, "optimizer": {"state": {}}},
    ],
)
def test_prefixes_and_wrappers_of_other_programs_are_removed(wrap, tmp_path):
    network = tiny()
    torch.save(wrap(network.state_dict()), tmp_path / "net.pth")
    again = create_network("hand-full", tmp_path / "net.pth", **network_entry("hand-full").tiny)
    own = network.state_dict()
    assert all(torch.equal(value, own[key]) for key, value in again.state_dict().items())


@pytest.mark.parametrize("how", ["zip", "legacy", "pickle", "nested"])
def test_a_pickle_that_would_write_a_file_never_runs(how, tmp_path):
    written, path = tmp_path / "written", tmp_path / "net.pt"
    harm = Malice(written)
    if how == "pickle":
        path.write_bytes(pickle.dumps({"state_dict": harm}))
    else:
        content = {"state_dict": {**WEIGHTS, "layer.more": harm}} if how == "nested" else harm
        torch.save(content, path, _use_new_zipfile_serialization=how != "legacy")
    with pytest.raises(InputError, match="not loaded, because it is damaged or contains more than tensors") as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert not written.exists()
    with pytest.raises(InputError):
        create_network("hand-full", path)
    assert not written.exists()


@pytest.mark.parametrize("ending", [".safetensors", ".pt"])
@pytest.mark.parametrize("kept", [0, 7, 100, 0.5, 0.99])
def test_cut_off_files_are_refused_in_one_line(ending, kept, tmp_path):
    network, path = tiny(), tmp_path / f"net{ending}"
    if ending == ".pt":
        torch.save(network.state_dict(), path)
    else:
        save_checkpoint(network, path)
    data = path.read_bytes()
    path.write_bytes(data[: kept if isinstance(kept, int) else int(kept * len(data))])
    with pytest.raises(InputError, match=str(path)) as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=200), st.sampled_from([".pt", ".safetensors", ".bin"]))
def test_any_bytes_are_weights_or_an_input_error(tmp_path_factory, data, ending):
    path = tmp_path_factory.getbasetemp() / f"any{ending}"
    path.write_bytes(data)
    with pytest.raises(InputError):
        load_checkpoint(path)


def test_other_contents_are_refused(tmp_path):
    for name, content in {"list": [1, 2], "words": {"a": "b"}, "nothing": {}, "numbers": {"model": {"a": 1}}}.items():
        torch.save(content, tmp_path / f"{name}.pt")
        with pytest.raises(InputError, match="no weights by name"):
            load_checkpoint(tmp_path / f"{name}.pt")
    with zipfile.ZipFile(tmp_path / "archive.pt", "w") as archive:
        archive.writestr("words.txt", "no checkpoint")
    with pytest.raises(InputError, match="damaged"):
        load_checkpoint(tmp_path / "archive.pt")
    with warnings.catch_warnings(action="ignore"):
        torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), tmp_path / "program.pt")
    with pytest.raises(InputError, match="is a program of TorchScript, not weights"):
        load_checkpoint(tmp_path / "program.pt")
    with pytest.raises(InputError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "absent.pt")
    (tmp_path / "net.onnx").write_bytes(b"x")
    with pytest.raises(InputError, match=r"Unknown file ending '.onnx'"):
        load_checkpoint(tmp_path / "net.onnx")


@pytest.mark.slow
def test_a_mapping_that_contains_itself_is_refused(tmp_path):
    loop = {}
    loop["model"] = loop
    torch.save(loop, tmp_path / "loop.pt")
    with pytest.raises(InputError, match=r"loop\.pt: contains no weights by name"):
        load_checkpoint(tmp_path / "loop.pt")


def test_wrong_weights_change_nothing_and_are_named(tmp_path):
    network = tiny()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    weights = dict(before)
    del weights["stem.bias"]
    weights["presence.weight"] = torch.zeros(1, 3)
    weights["antenna"] = torch.zeros(1)
    with pytest.raises(InputError) as caught:
        network.load_official(weights)
    message = str(caught.value)
    assert "1 missing (stem.bias)" in message
    assert "1 unexpected (antenna)" in message
    assert "1 of another shape (presence.weight (1, 3) instead of (1, 32))" in message
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_weights_that_are_not_finite_are_refused(tmp_path):
    network, path = tiny(), tmp_path / "diverged.safetensors"
    with torch.no_grad():
        network.get_parameter("stem.bias")[0] = float("nan")
    save_checkpoint(network, path)
    with pytest.raises(InputError, match=r"1 of these weights contain NaN or infinity \(stem.bias\)") as caught:
        create_network("hand-full", path, **network_entry("hand-full").tiny)
    assert str(path) in str(caught.value)


def test_saving_keeps_no_draft(tmp_path):
    network = tiny()
    with pytest.raises(InputError, match=r"checkpoints must end with .safetensors"):
        save_checkpoint(network, tmp_path / "net.pt")
    (tmp_path / "net.safetensors").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        save_checkpoint(network, tmp_path / "net.safetensors")
    assert [file.name for file in tmp_path.iterdir()] == ["net.safetensors"]


def test_the_folder_of_a_run_is_its_weights(tmp_path):
    network = create_network("cam-small", "demo", classes=3)
    (run := tmp_path / "run").mkdir()
    save_checkpoint(network, run / "weights.safetensors")
    again = create_network("cam-small", run)
    for key, value in load_checkpoint(run).items():
        torch.testing.assert_close(again.state_dict()[key], value, rtol=0, atol=0)
    assert main(["export", "cam-small", "--weights", str(run), "--out", str(tmp_path / "x.onnx")]) == 0
    assert (tmp_path / "x.onnx").is_file()
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: this folder has no weights\.safetensors; give a run of sonjit train"):
        create_network("cam-small", tmp_path / "empty")
