"""Networks with int8 weights and activations, beside their originals: `NAME.int8.xml`, its `.bin` and a `.json`.

What a convolution reads is divided by the largest value that each of its channels takes on the images given, and its
weights multiplied by the same, so that all channels use the 256 levels (as SmoothQuant, Xiao et al. 2023, with all of
the difficulty moved into the weights). Weights have a step per filter, and what their rounding adds to a layer's mean
output is taken off again (bias correction, Nagel et al. 2019, Data-Free Quantization Through Weight Equalization and
Bias Correction, section 4.2, with means measured on the images). Sums, the trunk between blocks and whatever costs
next to nothing stay in f32. So do the layers that move keypoints most for the work they save, as many as needed.
Before that the weights may be fine-tuned to the rounding (quantization-aware training), see `sonjit.training.int8`.
A processor without VNNI saturates sums of two products at 16 bits, which weights of 7 bits avoid: forms are
measured, and best made, on the processor that they are for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from openvino import opset13 as ops

from sonjit.arrays import Float32Array
from sonjit.engines.openvino import core, read_model
from sonjit.engines.processor import processor_name
from sonjit.engines.promise import Promise, int8_path, save_promise, source_hash
from sonjit.engines.quiet_openvino import ov
from sonjit.errors import InputError

_KINDS = "Convolution", "GroupConvolution", "MatMul"

_LEAST_WORK = 0.002
"""Share of a network's multiplications below which a layer is not worth a rounding."""

_LEAST_RANGE = 1 / 32
"""Of a channel, against the widest one: dead channels are not blown up."""

_SINGLE_IMAGES = 12
"""On which layers are measured one at a time."""

_TURNS, _RUNS = 5, 12

_LARGEST_WEIGHTS = 127, 63
"""Of a filter, in steps: 8 bits, or 7."""


@dataclass(frozen=True)
class Landmarks:
    """Which numbers of a network are keypoints, and when it sees something.

    Attributes:
        size: how many numbers the output with the keypoints holds for each candidate.
        step: numbers of one keypoint, x and y in pixels of the input first.
        least_presence: of its first output with one number for each candidate.
        candidates: 1 of a landmark network; of a single-shot detector as many as it has anchors.
    """

    size: int
    step: int = 3
    least_presence: float = 0.5
    candidates: int = 1


@dataclass(frozen=True)
class Rounding:
    """How a layer is rounded.

    Attributes:
        filters: its weights in f32, in OpenVINO's layout.
        largest: of a filter's weights, in steps.
        signed: it reads negative values too.
        sizes: of each channel that it reads (C,), the value that the largest level stands for.
        means: of each channel that it reads (C,).
    """

    filters: Float32Array
    largest: int
    signed: bool
    sizes: Float32Array
    means: Float32Array


@dataclass(frozen=True)
class Tuned:
    """A layer's weights after fine-tuning, in f32.

    Attributes:
        filters: in OpenVINO's layout.
        added: to what it gives (N,): how its bias has changed.
    """

    filters: Float32Array
    added: Float32Array


_Answer: TypeAlias = tuple[Float32Array, Float32Array]
"""Keypoints (N, K, 2) and presence (N,) of each candidate."""

Tune: TypeAlias = Callable[[Sequence[Rounding]], Sequence[Tuned]]
"""Fine-tunes the layers that are to be rounded, of a network with these roundings."""


def quantize(
    path: Path,
    landmarks: Landmarks,
    images: Sequence[NDArray[np.uint8]],
    held_out: Sequence[NDArray[np.uint8]],
    *,
    shift_px: float,
    tune: Tune | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Promise:
    """Write the int8 form of a landmark network or single-shot detector that takes values of 0..1.

    Args:
        path: of the network; the form lies beside it afterwards.
        landmarks: where its keypoints are; of a detector centres and sizes of boxes count among them.
        images: (1, H, W, 3) each, like those that it will see: they set ranges and say which layers are sensitive.
        held_out: others, on which the shift is measured.
        shift_px: mean shift of the keypoints that is allowed, in pixels of its input.
        tune: fine-tunes the weights before layers are chosen; None leaves them as they are.
        progress: is told what goes on.

    Returns:
        What the form keeps to.

    Raises:
        InputError: too few images show what the network looks for, no layer can be in int8, or it saves no time.
    """
    progress(f"{path.name}: in f32")
    exact = _Reference(_compiled(read_model(path)), landmarks)
    images, answers = exact.seen(images)
    held_out, held_out_answers = exact.seen(held_out)
    if min(len(images), len(held_out)) < 4:
        seen = f"{len(images)} and {len(held_out)}"
        raise InputError(f"{path.name}: sees its kind {seen} times in the two halves of the images; give more of them")
    inputs, work = _layer_inputs(read_model(path), images), _multiplications(read_model(path))
    candidates = [index for index, share in enumerate(work / work.sum()) if share >= _LEAST_WORK]
    few = slice(None, None, max(1, len(images) // _SINGLE_IMAGES))

    def moved(largest: int) -> float:
        network = _compiled(_with_int8(path, inputs, largest, set(candidates)))
        return float(np.mean(exact.compare(network, images[few], answers[few])[0]))

    largest = min(_LARGEST_WEIGHTS, key=moved)
    build = partial(_with_int8, path, inputs, largest)
    harm = dict[int, float]()
    for index in candidates:
        progress(f"{path.name}: layer {index + 1} of {len(work)} alone")
        shifts, _ = exact.compare(_compiled(build({index})), images[few], answers[few])
        harm[index] = float(np.mean(shifts) ** 2 / work[index])
    order = sorted(candidates, key=harm.__getitem__)
    if tune:
        filters = _filters(_layers(read_model(path)))
        roundings = [
            Rounding(filters[index], largest, inputs[index].signed, inputs[index].sizes, inputs[index].means)
            for index in candidates
        ]
        build = partial(build, tuned=dict(zip(candidates, tune(roundings), strict=True)))
    low, high = 0, len(order)
    while low < high:
        middle = (low + high + 1) // 2
        progress(f"{path.name}: {middle} of {len(work)} layers in int8")
        shifts, _ = exact.compare(_compiled(build(set(order[:middle]))), images, answers)
        low, high = (middle, high) if np.mean(shifts) <= shift_px else (low, middle - 1)
    if not low:
        raise InputError(f"{path.name}: no layer bears int8 within {shift_px:g} px; allow more by --shift")
    model = build(set(order[:low]))
    network = _compiled(model)
    shifts, presence = exact.compare(network, held_out, held_out_answers)
    f32_ms, int8_ms = _times(exact.network, network, held_out[0])
    if int8_ms >= f32_ms:
        raise InputError(
            f"{path.name}: in int8 it takes {int8_ms:.2f} ms here, in f32 {f32_ms:.2f}; nothing is written"
        )
    target = int8_path(path)
    ov.save_model(model, target, compress_to_fp16=False)
    promise = Promise(
        source=source_hash(path), processor=processor_name(),
        images=len(held_out), layers=len(work), f32=len(work) - low,
        shift_px=round(float(np.mean(shifts)), 3), shift_p95_px=round(float(np.percentile(shifts, 95)), 3),
        presence=round(float(np.max(presence)), 4), f32_ms=round(f32_ms, 2), int8_ms=round(int8_ms, 2),
        bytes=target.with_suffix(".bin").stat().st_size,
    )  # fmt: skip
    save_promise(path, promise)
    return promise


class _Reference:
    """The network in f32, and how far others are from it."""

    def __init__(self, network: ov.CompiledModel, landmarks: Landmarks) -> None:
        self.network, self._landmarks = network, landmarks
        sizes = [prod(output.get_shape()) for output in network.outputs]
        self._keypoints = sizes.index(landmarks.candidates * landmarks.size)
        self._presence = sizes.index(landmarks.candidates)

    def seen(self, images: Sequence[NDArray[np.uint8]]) -> tuple[list[NDArray[np.uint8]], list[_Answer]]:
        """The images in which it sees what it looks for, and its answers there."""
        answers = [(image, self.answer(self.network, image)) for image in images]
        kept = [(image, answer) for image, answer in answers if self._sees(answer).any()]
        return [image for image, _ in kept], [answer for _, answer in kept]

    def answer(self, network: ov.CompiledModel, image: NDArray[np.uint8]) -> _Answer:
        """What a form of the network gives."""
        outputs = network(_values(image))
        keypoints = np.array(outputs[self._keypoints], np.float32)
        candidates = keypoints.reshape(self._landmarks.candidates, -1, self._landmarks.step)
        return candidates[..., :2], np.array(outputs[self._presence], np.float32).ravel()

    def compare(
        self,
        network: ov.CompiledModel,
        images: Sequence[NDArray[np.uint8]],
        answers: Sequence[_Answer],
    ) -> tuple[list[float], list[float]]:
        """In each image mean distance of the keypoints in f32, and the largest change of what either sees."""
        shifts, changes = list[float](), list[float]()
        for image, theirs in zip(images, answers, strict=True):
            mine, seen = self.answer(network, image), self._sees(theirs)
            shifts.append(float(np.linalg.norm(mine[0] - theirs[0], axis=2)[seen].mean()))
            changes.append(float(np.abs(mine[1] - theirs[1])[seen | self._sees(mine)].max()))
        return shifts, changes

    def _sees(self, answer: _Answer) -> NDArray[np.bool_]:
        """Which candidates (N,) are there."""
        return answer[1] > self._landmarks.least_presence


def _values(image: NDArray[np.uint8]) -> Float32Array:
    return image.astype(np.float32) / np.float32(255)


def _compiled(model: ov.Model) -> ov.CompiledModel:
    settings = {"INFERENCE_NUM_THREADS": 1, "ENABLE_CPU_PINNING": False, "INFERENCE_PRECISION_HINT": "f32"}
    return core().compile_model(model, "CPU", settings)


def _times(first: ov.CompiledModel, second: ov.CompiledModel, image: NDArray[np.uint8]) -> tuple[float, float]:
    """Milliseconds of processor time of each, by turns; the least turn counts."""
    values, least = _values(image), [np.inf, np.inf]
    for _ in range(_TURNS):
        for side, network in enumerate((first, second)):
            start = time.process_time()
            for _ in range(_RUNS):
                network(values)
            least[side] = min(least[side], (time.process_time() - start) / _RUNS * 1000)
    return least[0], least[1]


def _layers(model: ov.Model) -> list[ov.Node]:
    """Convolutions and matrix products of values with constant weights, in the order in which they run."""
    constant, layers = set[str](), list[ov.Node]()
    for node in model.get_ordered_ops():
        sources = [port.get_source_output().get_node().get_friendly_name() for port in node.inputs()]
        if node.get_type_name() == "Constant" or (sources and constant.issuperset(sources)):
            constant.add(node.get_friendly_name())
        elif node.get_type_name() in _KINDS and sources[1] in constant and node.output(0).get_partial_shape().is_static:
            layers.append(node)
    return layers


def _multiplications(model: ov.Model) -> NDArray[np.float64]:
    """(L,) of each layer."""
    pairs = [(tuple(node.input_value(1).get_shape()), tuple(node.output(0).get_shape())) for node in _layers(model)]
    return np.array([prod(weights) * (prod(out[2:]) if len(out) == 4 else 1) for weights, out in pairs], np.float64)


@dataclass(frozen=True)
class _LayerInput:
    """What a layer reads: whether negative values too, and of each channel (C,) the largest size and the mean."""

    signed: bool
    sizes: Float32Array
    means: Float32Array


def _layer_inputs(model: ov.Model, images: Sequence[NDArray[np.uint8]]) -> list[_LayerInput]:
    """What each layer reads on the images."""
    network = _compiled(
        ov.Model([node.input_value(0) for node in _layers(model)], model.get_parameters())  # pyright: ignore
    )
    count = len(network.outputs)
    signed, largest, sums = [False] * count, [np.float32(0)] * count, [np.float32(0)] * count
    for image in images:
        for index, values in enumerate(network(_values(image)).values()):
            others = tuple(axis for axis in range(values.ndim) if axis != 1)
            largest[index] = np.maximum(largest[index], np.abs(values).max(axis=others))
            sums[index] = sums[index] + values.mean(axis=others)
            signed[index] = signed[index] or bool(values.min() < 0)
    wide = [np.maximum(sizes, np.max(sizes) * _LEAST_RANGE) for sizes in largest]
    return [
        _LayerInput(below, np.where(sizes > 0, sizes, 1).astype(np.float32), np.asarray(total / len(images)))
        for below, sizes, total in zip(signed, wide, sums, strict=True)
    ]


def _filters(layers: Sequence[ov.Node]) -> list[Float32Array]:
    """The weights of layers."""
    given = _compiled(ov.Model([node.input_value(1) for node in layers], []))([])  # pyright: ignore
    return [np.array(given[place], np.float32) for place in range(len(layers))]


def _with_int8(
    path: Path, inputs: Sequence[_LayerInput], largest: int, chosen: set[int], tuned: Mapping[int, Tuned] | None = None
) -> ov.Model:
    """The network with these layers in int8; OpenVINO sees from the roundings which kernels to take."""
    model = read_model(path)
    layers = _layers(model)
    weights = _filters(layers)
    rounded = dict[tuple[str, int], ov.Node]()
    for index, node in enumerate(layers):
        own = tuned.get(index) if tuned and index in chosen else None  # what stays in f32 gives what it gave
        filters = own.filters if own else weights[index]
        added = own.added if own else np.float32(0)
        if index in chosen:
            values, read = node.input_value(0), inputs[index]
            key = values.get_node().get_friendly_name(), values.get_index()
            if key not in rounded:
                rounded[key] = _rounded(values, read.sizes, signed=read.signed)
            node.input(0).replace_source_output(rounded[key].output(0))
            factors, outputs = read.sizes / read.sizes.max(), _output_axes(node, filters)
            scaled = filters * _along_inputs(node, filters, factors)
            levels, step = _levels(scaled, outputs, largest)
            as_f32 = ops.multiply(ops.convert(ops.constant(levels), "f32"), ops.constant(step))
            node.input(1).replace_source_output(as_f32.output(0))
            lost = (scaled - levels * step) * _along_inputs(node, filters, read.means / factors)
            added = added + lost.sum(axis=tuple(axis for axis in range(filters.ndim) if axis not in outputs)).ravel()
            _add(node, np.asarray(added, np.float32))
    model.validate_nodes_and_infer_types()
    return model


def _rounded(values: ov.Output, sizes: Float32Array, *, signed: bool) -> ov.Node:
    """Values in 256 levels, each channel divided by its size against the widest one's."""
    shape = [1] * values.get_partial_shape().rank.get_length()
    shape[1] = -1
    below = np.float32(-128 / 127 if signed else 0)
    low, high = (ops.constant((sizes * factor).reshape(shape)) for factor in (below, np.float32(1)))
    widest = sizes.max()
    return ops.fake_quantize(values, low, high, widest * below, widest, 256)


def _is_flat(node: ov.Node) -> bool:
    """Whether a layer's weights are (C, N), not (N, C, ...)."""
    return node.get_type_name() == "MatMul" and not node.get_attributes()["transpose_b"]


def _output_axes(node: ov.Node, filters: Float32Array) -> tuple[int, ...]:
    """The axes of a layer's weights that count its outputs."""
    if node.get_type_name() == "GroupConvolution":  # (G, N, C, h, w)
        return 0, 1
    return (filters.ndim - 1,) if _is_flat(node) else (0,)


def _along_inputs(node: ov.Node, filters: Float32Array, factors: Float32Array) -> Float32Array:
    """The factors of the channels that a layer reads, to multiply its weights with."""
    if node.get_type_name() == "GroupConvolution":
        return factors.reshape(filters.shape[0], 1, filters.shape[2], 1, 1)
    return factors[:, None] if _is_flat(node) else factors.reshape(1, -1, *[1] * (filters.ndim - 2))


def _levels(filters: Float32Array, outputs: tuple[int, ...], largest: int) -> tuple[NDArray[np.int8], Float32Array]:
    """Weights in whole steps of -largest to largest, and the step of each filter."""
    within = tuple(axis for axis in range(filters.ndim) if axis not in outputs)
    step = (np.abs(filters).max(axis=within, keepdims=True) / largest).astype(np.float32)
    step[step == 0] = 1
    return np.clip(np.round(filters / step), -largest, largest).astype(np.int8), step


def _add(node: ov.Node, bias: Float32Array) -> None:
    """Add a number (N,) to each channel that a layer gives."""
    output = node.output(0)
    readers = output.get_target_inputs()
    shape = (1, -1, 1, 1) if output.get_partial_shape().rank.get_length() == 4 else (-1,)
    total = ops.add(output, ops.constant(bias.reshape(shape)))
    for reader in readers:
        reader.replace_source_output(total.output(0))
