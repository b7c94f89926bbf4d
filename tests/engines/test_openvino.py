"""The cache of compiled networks, and the heads that keep full precision."""

import os
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import openvino as ov
import pytest
from onnx import TensorProto, helper
from openvino import opset13 as ops

from sonjit import InputError
from sonjit.engines import EngineOptions, devices, load_engine
from sonjit.engines import openvino as engine

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
    "damage",
    [lambda b: b"", lambda b: b[: len(b) // 2], lambda b: b[:40] + bytes([b[40] ^ 255]) + b[41:], lambda b: b"x" * 99],
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


def test_networks_used_last_stay_in_memory_on_request(model, cached, no_compiling, monkeypatch):
    monkeypatch.setenv("SONJIT_KEPT_NETWORKS", "1")
    options = replace(cached, cache=None)
    first, expected = load_engine(model, options), result(load_engine(model, cached))
    load_engine(model, options)  # kept instead of the other
    no_compiling()
    again = load_engine(model, options)
    first.input[:], again.input[:] = 0, 9
    np.testing.assert_array_equal(result(again), expected)
    monkeypatch.setenv("SONJIT_KEPT_NETWORKS", "0")
    load_engine(model, cached)
    with pytest.raises(AssertionError, match="compiled again"):
        load_engine(model, options)


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
        options = EngineOptions(precision="bf16", cache=cached.cache)
    load_engine(model, options, value_range=value_range)
    assert len(blobs(cached)) == 2


def test_a_damaged_name_in_an_onnx_network_is_reported_in_one_line(tmp_path):
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("known", "result")]
    node = helper.make_node("Relu", ["unknown"], ["result"])
    network = helper.make_model(helper.make_graph([node], "graph", tensors[:1], tensors[1:]))
    path = tmp_path / "network.onnx"
    path.write_bytes(network.SerializeToString().replace(b"unknown", b"\xff\xfeknown"))
    with pytest.raises(InputError, match=r"network\.onnx: not a model that OpenVINO reads") as caught:
        engine.read_model(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("place", ["../secret", "{folder}/secret"])
def test_an_onnx_network_reads_no_file_outside_its_folder(tmp_path, place, name):
    (tmp_path / "secret").write_bytes(np.ones(4, np.float32).tobytes())
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    weights.external_data.add(key="location", value=place.format(folder=tmp_path))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in ("a", "b")]
    node = helper.make_node("Add", ["a", "w"], ["b"])
    graph = helper.make_graph([node], "graph", ends[:1], ends[1:], [weights])
    network = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)])
    (path := tmp_path / "in" / "network.onnx").parent.mkdir()
    path.write_bytes(network.SerializeToString())
    with pytest.raises(InputError, match=r"network\.onnx: not a model that (OpenVINO|ONNX Runtime) reads"):
        load_engine(path, EngineOptions(engine=name))


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.skipif(devices.processor_flags().isdisjoint({"avx512f"}), reason="compares AVX2 with AVX-512")
def test_tables_are_the_same_with_avx2_and_avx512(weights, demo_clip, tmp_path):
    def table(**environment):
        file = tmp_path / "hands.csv"
        command = (sys.executable, "-m", "sonjit", "hands", demo_clip[0], "--precision", "f32", "--limit", "60")
        subprocess.run([*command, "--save", file], env=os.environ | environment, check=True)
        return file.read_bytes()

    assert table(ONEDNN_MAX_CPU_ISA="AVX2") == table()


@pytest.mark.parametrize("enabled", [True, False])
def test_the_import_collects_no_garbage_and_keeps_the_setting_of_the_program(enabled):
    program = f"""
import gc, sys, sonjit.engines
if not {enabled}:
    gc.disable()
phases = []
gc.callbacks.append(lambda phase, _: phases.append(phase) if "openvino._pyopenvino" in sys.modules else None)
import sonjit.engines.quiet_openvino
print(phases.count("start"), gc.isenabled())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    collections, is_enabled = done.stdout.split()
    assert int(collections) <= enabled  # the objects of the import are young once, at its end
    assert is_enabled == str(enabled)
