"""Exports: detectors give equal results with the files, and failed exports leave no files."""

import contextlib
import signal
import sys
from functools import cache
from itertools import chain

import numpy as np
import pytest
import torch

import sonjit
from sonjit import InputError
from sonjit._util.errors import JobError
from sonjit._util.extras import MissingExtraError
from sonjit.cli import main
from sonjit.weights import find_weight
from sonjit_lab.networks import InputSpec, create_network, network_entry
from sonjit_lab.networks.export import MAX_DIFFERENCE, add_normalization, export_network

from .properties import networks_by_class

pytestmark = pytest.mark.slow

FRAMES = 90  # every so many of the clip
ELSEWHERE = {
    "palm-full", "internet", "keypoint-detector", "deformer", "handoccnet", "face-mesh", "hand-full", "hand-masks",
    "rootnet", "mask-rcnn",
}  # fmt: skip
"""Compared with their files in other tests: below, and in training/test_exports.py and test_instances.py."""


def tiny(name="hand-full"):
    entry = network_entry(name)
    return create_network(name, "demo", **entry.tiny).eval(), entry.tiny_inputs


def found(frames, **options):
    with sonjit.create_detector("hands", precision="f32", static_image=True, search="fast", **options) as detector:
        return [detector.detect(frame) for frame in frames]


@pytest.fixture(scope="module")
def images(demo_clip):
    _, frames, _ = demo_clip
    return frames[FRAMES // 2 :: FRAMES]


@pytest.fixture(scope="module")
def published_hands(weights, images):
    del weights
    hands = found(images)
    assert sum(map(len, hands)) > len(images) // 2
    return hands


@pytest.fixture(scope="module")
def exported(published, tmp_path_factory):
    """Return a function that gives the exported file of a published network, written once."""
    folder = tmp_path_factory.mktemp("exported")

    @cache
    def write(name, ending):
        return export_network(published(name), network_entry(name).inputs, folder / f"{name}{ending}").path

    return write


@pytest.mark.nightly
def test_exports_find_the_same_hands(exported, images, published_hands):
    own = {"detector_model": exported("palm-full", ".xml"), "landmark_model": exported("hand-full", ".onnx")}
    given = found(images, **own)
    assert [len(hands) for hands in given] == [len(hands) for hands in published_hands]
    for hand, expected in zip(chain(*given), chain(*published_hands), strict=True):
        assert hand.handedness == expected.handedness
        assert hand.score == pytest.approx(expected.score, abs=1e-3)
        np.testing.assert_allclose(hand.keypoints, expected.keypoints, atol=1e-2)


@pytest.fixture(scope="module")
def exported_twin(tmp_path_factory):
    """Return a function that gives the ONNX file of a tiny twin, written once in a separate folder."""

    @cache
    def write(name):
        entry = network_entry(name)
        network = create_network(name, "demo", **entry.tiny).train()
        exported = export_network(
            network, entry.tiny_inputs or entry.inputs, tmp_path_factory.mktemp(name) / "net.onnx"
        )
        assert network.training
        return exported

    return write


@pytest.mark.nightly_after(2)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.nightly if name == "face-attention" else ())  # the slowest, 8 s
        for name in sorted({*networks_by_class().values()} - ELSEWHERE)
    ],
)
def test_twins_give_the_same(name, exported_twin):
    exported, entry = exported_twin(name), network_entry(name)
    network = create_network(name, "demo", **entry.tiny).eval()
    with torch.inference_mode():
        outputs = network(*(spec.example() for spec in entry.tiny_inputs or entry.inputs))
    assert list(exported.differences) == list(outputs)
    assert all(value <= MAX_DIFFERENCE for value in exported.differences.values())
    assert [file.name for file in exported.path.parent.iterdir()] == ["net.onnx"]
    assert exported.size == exported.path.stat().st_size


@pytest.fixture
def litert():
    pytest.importorskip("litert_torch", reason="litert-torch is not installed; type: pip install sonjit-lab[tflite]")


@pytest.mark.nightly
@pytest.mark.usefixtures("litert")
@pytest.mark.parametrize("name", ["hand-lite", "face-mesh", "timm-landmarks"])
def test_tflite_gives_the_same_as_onnx(name, exported_twin, tmp_path):
    from sonjit.engines.quiet_openvino import ov

    entry = network_entry(name)
    network = create_network(name, "demo", **entry.tiny).eval()
    exported = export_network(network, entry.tiny_inputs, tmp_path / "net.tflite")
    assert exported.size == exported.path.stat().st_size
    assert max(exported.differences.values()) < 1e-4
    images = entry.tiny_inputs[0].example(seed=7)
    core = ov.Core()
    core.set_property("CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    last = core.compile_model(exported.path, "CPU")([images.movedim(1, -1).contiguous().numpy()])
    first = core.compile_model(exported_twin(name).path, "CPU")([images.numpy()])
    for index in range(len(exported.differences)):
        np.testing.assert_allclose(last[index], first[index], rtol=1e-3, atol=1e-3)


def test_tflite_records_how_images_become_inputs(tmp_path):
    """Check mean and standard deviation in the metadata for MediaPipe Tasks, with unchanged weights."""
    from ai_edge_litert import schema_py_generated as schema
    from flatbuffers import Table, encode, number_types

    def child(table, slot):
        offset = table.Offset(4 + 2 * slot)
        return Table(table.Bytes, table.Indirect(table.Pos + offset))

    def first(table, slot):
        return Table(table.Bytes, table.Indirect(table.Vector(table.Offset(4 + 2 * slot))))

    def number(table, slot):
        return encode.Get(number_types.Float32Flags.packer_type, table.Bytes, table.Vector(table.Offset(4 + 2 * slot)))

    source = find_weight("hand-lite")
    path = tmp_path / "hand.tflite"
    path.write_bytes(source.read_bytes())
    add_normalization(path, [InputSpec("images", (3, 224, 224), -1.0, 1.0)])
    model, before = (schema.ModelT.InitFromPackedBuf(file.read_bytes(), 0) for file in (path, source))
    assert len(model.subgraphs[0].operators) == len(before.subgraphs[0].operators)
    (record,) = [record for record in model.metadata if record.name == b"TFLITE_METADATA"][-1:]
    content = bytearray(bytes(model.buffers[record.buffer].data))
    assert content[4:8] == b"M001"
    root = Table(content, encode.Get(number_types.UOffsetTFlags.packer_type, content, 0))
    tensor = first(first(root, 3), 2)
    assert tensor.String(tensor.Pos + tensor.Offset(4)) == b"images"
    unit = first(tensor, 4)
    assert unit.Get(number_types.Uint8Flags, unit.Pos + unit.Offset(4)) == 1  # NormalizationOptions
    options = child(unit, 1)
    assert [number(options, 0), number(options, 1)] == [127.5, 127.5]


def test_tflite_requires_its_extra_and_one_image(tmp_path, monkeypatch):
    network, inputs = tiny()
    with pytest.raises(InputError, match="dynamic_batch does not apply to TFLite"):
        export_network(network, inputs, tmp_path / "net.tflite", dynamic_batch=True)
    monkeypatch.setattr("sonjit._util.extras.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"lab\[tflite\]"):
        export_network(network, inputs, tmp_path / "net.tflite")
    assert not list(tmp_path.iterdir())


def test_the_file_contains_nothing_about_this_machine(exported_twin):
    path = exported_twin("hand-full").path
    data = path.read_bytes()
    assert b"sonjit_lab/networks" not in data
    assert str(path.parent).encode() not in data


def test_a_file_that_gives_other_numbers_is_not_written(tmp_path):
    """Use a network with random outputs, so that PyTorch cannot agree with the file."""
    network, inputs = tiny()
    network.mix.register_forward_hook(lambda _layer, _inputs, output: output + torch.randn_like(output))
    with pytest.raises(JobError, match=r"differs from PyTorch's by|cannot be written") as caught:
        export_network(network, inputs, tmp_path / "net.onnx")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def interrupts():
    """Let SIGINT raise a KeyboardInterrupt, and check that a test leaves the handler as it was."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, handler)


@pytest.mark.nightly_after(1)
@pytest.mark.usefixtures("interrupts")
@pytest.mark.parametrize("error", [None, RuntimeError("cancelled")])
def test_an_interrupt_that_pytorch_discards_or_replaces_still_stops(tmp_path, monkeypatch, error):
    network, inputs = tiny()
    export = torch.onnx.export

    def discard(*args, **options):
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        if error is not None:
            raise error
        return export(*args, **options)

    monkeypatch.setattr(torch.onnx, "export", discard)
    with pytest.raises(KeyboardInterrupt):
        export_network(network, inputs, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_the_command_writes_a_file_and_prints_its_error(tmp_path, capfd):
    file, other = tmp_path / "hand.xml", tmp_path / "hand.onnx"
    other.write_text("of another program")
    command = ["export", "hand-lite", "--weights", "demo", "--set", "trunk=tiny", "--set", "keypoints=22"]
    assert main([*command, "--to", "openvino", "--out", str(file)]) == 0
    out, err = capfd.readouterr()
    assert out.startswith(f"{file}: ")
    assert "keypoints_3d" in out
    assert not err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hand.bin", "hand.onnx", "hand.xml"]
    assert other.read_text() == "of another program"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["hand-huge"], "Unknown network 'hand-huge'"),
        (["hand-lite", "--weights", "demo", "--set", "thumbs=2"], "Unknown option 'thumbs'"),
        (["hand-lite", "--weights", "demo", "--set", "keypoints=inf"], "hand-lite with keypoints=inf: '<' not"),
        (["hand-lite", "--weights", "demo", "--set", "keypoints=" + "9" * 15], "hand-lite with keypoints=9999999"),
        (["hand-lite", "--weights", "demo", "--set", "keypoints=" + "[" * 10_000], "hand-lite with keypoints=[[[["),
        (["mask-rcnn"], "mask-rcnn has no published weights: give --weights"),
    ],
)
def test_errors_of_the_command_are_one_line(arguments, message, tmp_path, refusal):
    assert message in refusal("export", *arguments, "--out", tmp_path / "net.onnx")


def test_an_incomplete_litert_torch_gives_one_line(tmp_path, monkeypatch):
    (tmp_path / "litert_torch.py").write_text("import part_that_is_missing\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "litert_torch", raising=False)
    entry = network_entry("hand-full")
    network = create_network("hand-full", weights=None)
    message = r"export to TFLite \(No module named 'part_that_is_missing'\) needs .* pip install .*tflite"
    with pytest.raises(MissingExtraError, match=message):
        export_network(network, entry.tiny_inputs, tmp_path / "net.tflite")
    assert not (tmp_path / "net.tflite").exists()
