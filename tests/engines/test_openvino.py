"""The cache of compiled networks, and the heads that keep full precision."""

import os
import time
from dataclasses import replace

import numpy as np
import openvino as ov
import pytest
from onnx import TensorProto, helper
from openvino import opset13 as ops

from sonjit import InputError
from sonjit.engines import EngineOptions, load_engine
from sonjit.engines import openvino as engine
from sonjit.engines.graph_edits import keep_heads_in_f32

RNG = np.random.default_rng(8)


def make_network(outputs=4):
    """Return a network with the mean over an image, and a head of one matrix product."""
    image = ops.parameter([1, 4, 6, 3], np.float32, name="image")
    weights = RNG.normal(size=(outputs, 72)).astype(np.float32)
    row = ops.reshape(image, ops.constant(np.array([1, 72])), special_zero=False)
    head = ops.matmul(row, ops.constant(weights), transpose_a=False, transpose_b=True)
    return ov.Model([ops.add(head, ops.constant(np.float32(1.5)))], [image])


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "tiny.xml"
    ov.save_model(make_network(), path)
    return path


@pytest.fixture
def cached(tmp_path):
    return EngineOptions(precision="f32", cache=tmp_path / "home" / "compiled")


@pytest.fixture
def no_compiling(monkeypatch):
    def refuse(*_):
        raise AssertionError("compiled again")

    return lambda: monkeypatch.setattr(engine, "_compile", refuse)


def result(network):
    network.input[:] = 100
    return network.run()[0].copy()


def blobs(options):
    return sorted(options.cache.iterdir())


def test_the_second_load_compiles_nothing(model, cached, no_compiling):
    first = result(load_engine(model, cached))
    (blob,) = blobs(cached)
    assert blob.suffix == ".blob"
    no_compiling()
    np.testing.assert_array_equal(result(load_engine(model, cached)), first)
    assert blobs(cached) == [blob]


@pytest.mark.parametrize(
    ("changed", "threads", "streams"),
    [
        ({"threads": 1}, 1, 1),
        ({"threads": 1, "shared": True}, os.cpu_count(), os.cpu_count()),
        ({"profiled": True}, min(os.cpu_count() or 1, 2), 1),
    ],
    ids=["threads", "shared", "profiled"],
)
def test_one_blob_serves_all_threads(model, cached, no_compiling, changed, threads, streams):
    cached = replace(cached, threads=2)
    first = result(load_engine(model, cached))
    no_compiling()
    other = engine.OpenVinoEngine(model, replace(cached, **changed), (0.0, 1.0))
    np.testing.assert_array_equal(result(other), first)
    assert other._network.get_property("INFERENCE_NUM_THREADS") == threads
    assert other._network.get_property("NUM_STREAMS") == streams
    assert bool(other.layer_times()) == ("profiled" in changed)
    assert len(blobs(cached)) == 1


@pytest.mark.parametrize(
    "damage",
    [lambda b: b"", lambda b: b[: len(b) // 2], lambda b: b[:40] + bytes([b[40] ^ 255]) + b[41:], lambda b: b"x" * 99],
    ids=["empty", "cut", "one-bit", "other"],
)
def test_a_damaged_blob_is_recreated(damage, model, cached, no_compiling):
    first = result(load_engine(model, cached))
    (blob,) = blobs(cached)
    blob.write_bytes(damage(blob.read_bytes()))
    np.testing.assert_array_equal(result(load_engine(model, cached)), first)
    no_compiling()
    np.testing.assert_array_equal(result(load_engine(model, cached)), first)


def test_compiled_networks_that_were_not_used_for_long_are_removed(model, cached):
    cached.cache.mkdir(parents=True, exist_ok=True)
    old, recent = (cached.cache / f"network-{digit * 20}.blob" for digit in "01")
    foreign = cached.cache / "own.blob"
    for blob, days in ((old, 100), (recent, 10), (foreign, 1000)):
        blob.write_bytes(b"x")
        os.utime(blob, (time.time() - days * 86_400,) * 2)
    load_engine(model, cached)
    assert (old.exists(), recent.exists(), foreign.exists()) == (False, True, True)


def test_a_cache_that_grows_too_large_loses_what_was_unused_for_longest(model, cached, monkeypatch):
    load_engine(model, cached)
    (blob,) = blobs(cached)
    size = blob.stat().st_size
    blob.unlink()
    older, newer = (cached.cache / f"network-{digit * 20}.blob" for digit in "01")
    foreign = cached.cache / "notes.txt"
    for file, days in ((older, 3), (newer, 2), (foreign, 4)):
        file.write_bytes(bytes(size))
        os.utime(file, (time.time() - days * 86_400,) * 2)
    monkeypatch.setattr(engine, "_KEPT_BYTES", 2 * size)
    load_engine(model, cached)
    assert blobs(cached) == sorted([blob, newer, foreign])


def test_a_cache_that_cannot_be_written_is_no_error(model, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    options = EngineOptions(precision="f32", cache=tmp_path / "file" / "compiled")
    np.testing.assert_array_equal(
        result(load_engine(model, options)), result(load_engine(model, EngineOptions(precision="f32")))
    )


@pytest.mark.parametrize("change", ["file", "precision", "range"])
def test_another_file_or_setting_is_another_blob(change, model, cached):
    load_engine(model, cached)
    options, value_range = cached, (0.0, 1.0)
    if change == "file":
        ov.save_model(make_network(5), model)
    elif change == "range":
        value_range = (-1.0, 1.0)
    else:
        changes = {"precision": "bf16"} if change == "precision" else {"threads": 3}
        options = EngineOptions(**{"precision": "f32", "cache": cached.cache} | changes)
    load_engine(model, options, value_range=value_range)
    assert len(blobs(cached)) == 2


def test_int8_without_its_form_names_the_command(model):
    with pytest.raises(InputError, match=r"tiny\.xml has no int8 form\. Run: sonjit models quantize"):
        load_engine(model, EngineOptions(precision="int8"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hand-lite", "hand-full", "palm-lite", "palm-full"])
def test_keeping_heads_exact_keeps_the_published_networks(name, weights):
    image = RNG.random((1, 224, 224, 3) if "hand" in name else (1, 192, 192, 3)).astype(np.float32)
    plain = ov.Core().read_model(weights[name])
    kept = plain.clone()
    keep_heads_in_f32(kept)
    for a, b in zip(*(ov.Core().compile_model(m, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(image).values()
                      for m in (plain, kept)), strict=True):  # fmt: skip
        np.testing.assert_allclose(a, b, atol=2e-3 * max(1.0, float(np.abs(a).max())))


def test_a_damaged_name_in_an_onnx_network_is_reported_in_one_line(tmp_path):
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("known", "result")]
    node = helper.make_node("Relu", ["unknown"], ["result"])
    network = helper.make_model(helper.make_graph([node], "graph", tensors[:1], tensors[1:]))
    path = tmp_path / "network.onnx"
    path.write_bytes(network.SerializeToString().replace(b"unknown", b"\xff\xfeknown"))
    with pytest.raises(InputError, match=r"network\.onnx: not a model that OpenVINO reads") as caught:
        engine.read_model(path)
    assert "\n" not in str(caught.value)
