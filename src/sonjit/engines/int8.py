"""Quantize networks to int8 weights and activations, as `NAME.int8.xml`, its `.bin` and a `.json`.

* Inputs of a convolution are divided by the largest value of each channel, and its weights multiplied by it. All
  channels then use the 256 levels (SmoothQuant, Xiao et al. 2023, with all of the difficulty moved into the weights).
* Weights have a step per filter. The mean error of their rounding is subtracted from the bias (Nagel et al. 2019,
  Data-Free Quantization Through Weight Equalization and Bias Correction, section 4.2, with means from the images).
* Sums, the trunk between blocks and layers with little work stay in f32. So do the layers that move keypoints most for
  the work that they save, as many as needed.
* Processors without VNNI saturate sums of two products at 16 bits, which weights of 7 bits avoid. Forms are measured,
  and best made, on the processor that they are for.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from openvino import opset13 as ops

from sonjit._util import BoolArray, Float32Array, FloatArray, Image, InputError
from sonjit.engines.devices import processor_name
from sonjit.engines.graph_edits import PRODUCTS
from sonjit.engines.openvino import constant_of, core, ov, read_model
from sonjit.engines.precision import Int8Accuracy, Landmarks, accuracy_path, int8_path, save_accuracy, source_hash

_MIN_WORK = 0.002  # minimum share of a network's multiplications at which a layer is quantized
_MIN_RANGE = 1 / 32  # minimum range of a channel relative to the widest one, so that dead channels are not amplified
_SINGLE_IMAGES = 12  # number of images on which single layers are measured
_TURNS, _RUNS = 5, 12  # alternating turns of a time measurement, and runs per turn
_LARGEST_WEIGHTS = 127, 63  # maximum weight of a filter, in steps: 8 bits, or 7
_Answer: TypeAlias = tuple[Float32Array, Float32Array]  # keypoints (N, K, 2) and presence (N,) of each candidate


@dataclass(frozen=True)
class Rounding:
    """Rounding of a layer."""

    filters: Float32Array  # weights in f32, in OpenVINO's layout
    signed: bool  # True if the inputs can be negative
    sizes: Float32Array  # values (C,) of the maximum level of each input channel
    means: Float32Array  # means (C,) of each input channel


def quantize(
    path: Path,
    landmarks: Landmarks,
    images: Sequence[Image],
    held_out: Sequence[Image],
    *,
    shift_px: float,
    progress: Callable[[str], None] = lambda _: None,
) -> Int8Accuracy:
    """Write the int8 form of a landmark network or single-shot detector next to it, and return its accuracy.

    The network takes values of 0..1. Typical images (1, H, W, 3) set the ranges and show which layers are sensitive. On
    the `held_out` ones, the mean shift of the keypoints is measured. It may be up to `shift_px` pixels of the input.
    Centres and sizes of a detector's boxes count as keypoints.
    """
    progress(f"{path.name}: in f32")
    exact = _Reference(_compiled(read_model(path)), landmarks)
    images, answers = exact.seen(images)
    held_out, held_out_answers = exact.seen(held_out)
    if min(len(images), len(held_out)) < 4:
        seen = f"{len(images)} and {len(held_out)}"
        raise InputError(f"{path.name}: finds {seen} instances in the two halves of the images. Use more images")
    roundings, work = _roundings(read_model(path), images), _multiplications(read_model(path))
    candidates = [index for index, share in enumerate(work / work.sum()) if share >= _MIN_WORK]
    few = slice(None, None, max(1, len(images) // _SINGLE_IMAGES))

    def mean_shift(chosen: Sequence[int], largest: int, shown: slice = few) -> float:
        network = _compiled(_with_int8(path, roundings, chosen, largest))
        return float(np.mean(exact.compare(network, images[shown], answers[shown])[0]))

    largest = min(_LARGEST_WEIGHTS, key=lambda largest: mean_shift(candidates, largest))
    harm = dict[int, float]()
    for index in candidates:
        progress(f"{path.name}: layer {index + 1} of {len(work)}")
        harm[index] = mean_shift([index], largest) ** 2 / work[index]
    order = sorted(candidates, key=harm.__getitem__)

    def is_accurate(count: int) -> bool:
        progress(f"{path.name}: {count} of {len(work)} layers in int8")
        return mean_shift(order[:count], largest, slice(None)) <= shift_px

    count = _largest_count(len(order), is_accurate)
    if not count:
        raise InputError(f"{path.name}: no layer can be int8 within {shift_px:g} px. Use a larger --shift")
    model = _with_int8(path, roundings, order[:count], largest)
    return _save_measured(path, model, exact, held_out, held_out_answers, layers=len(work), f32=len(work) - count)


def _save_measured(
    path: Path,
    model: ov.Model,
    exact: "_Reference",
    images: Sequence[Image],
    answers: Sequence[_Answer],
    *,
    layers: int,
    f32: int,
) -> Int8Accuracy:
    """Measure the int8 form of a network on images that were not used for calibration, and save it if it is faster."""
    network = _compiled(model)
    shifts, presence = exact.compare(network, images, answers)
    f32_ms, int8_ms = _times(exact.network, network, images[0])
    if int8_ms >= f32_ms:
        raise InputError(
            f"{path.name}: in int8 it takes {int8_ms:.2f} ms here, in f32 {f32_ms:.2f}; nothing is written"
        )
    target = int8_path(path)
    accuracy_path(path).unlink(missing_ok=True)  # so that a kill leaves no accuracy with an unfinished form
    ov.save_model(model, target, compress_to_fp16=False)
    accuracy = Int8Accuracy(
        source=source_hash(path),
        processor=processor_name(),
        images=len(images),
        layers=layers,
        f32=f32,
        shift_px=round(float(np.mean(shifts)), 3),
        shift_p95_px=round(float(np.percentile(shifts, 95)), 3),
        presence=round(float(np.max(presence)), 4),
        f32_ms=round(f32_ms, 2),
        int8_ms=round(int8_ms, 2),
        bytes=target.with_suffix(".bin").stat().st_size,
    )
    save_accuracy(path, accuracy)
    return accuracy


def _largest_count(high: int, is_accurate: Callable[[int], bool]) -> int:
    """Return the largest count up to `high` that is accurate, by bisection; 0 if there is none."""
    low = 0
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if is_accurate(middle) else (low, middle - 1)
    return low


class _Reference:
    """Reference network in f32, with the distance of other forms to it."""

    def __init__(self, network: ov.CompiledModel, landmarks: Landmarks) -> None:
        self.network, self._landmarks = network, landmarks
        sizes = [prod(output.get_shape()) for output in network.outputs]
        self._keypoints = sizes.index(landmarks.candidates * landmarks.size)
        self._presence = sizes.index(landmarks.candidates)

    def seen(self, images: Sequence[Image]) -> tuple[list[Image], list[_Answer]]:
        """Return the images (1, H, W, 3) with an instance, and the answers on them."""
        answers = [(image, self.answer(self.network, image)) for image in images]
        present = [(image, answer) for image, answer in answers if self._sees(answer).any()]
        return [image for image, _ in present], [answer for _, answer in present]

    def answer(self, network: ov.CompiledModel, image: Image) -> _Answer:
        """Run a form of the network on an image (1, H, W, 3)."""
        outputs = network(_values(image))
        keypoints = np.array(outputs[self._keypoints], np.float32)
        candidates = keypoints.reshape(self._landmarks.candidates, -1, self._landmarks.step)
        return candidates[..., :2], np.array(outputs[self._presence], np.float32).ravel()

    def compare(
        self, network: ov.CompiledModel, images: Sequence[Image], answers: Sequence[_Answer]
    ) -> tuple[list[float], list[float]]:
        """Return the mean keypoint distance in each image (1, H, W, 3), and the maximum change of the presence."""
        shifts, changes = list[float](), list[float]()
        for image, theirs in zip(images, answers, strict=True):
            mine, present = self.answer(network, image), self._sees(theirs)
            shifts.append(float(np.linalg.norm(mine[0] - theirs[0], axis=2)[present].mean()))
            changes.append(float(np.abs(mine[1] - theirs[1])[present | self._sees(mine)].max()))
        return shifts, changes

    def _sees(self, answer: _Answer) -> BoolArray:
        """Return which candidates (N,) are present."""
        return answer[1] > self._landmarks.least_presence


def _values(image: Image) -> Float32Array:
    return image.astype(np.float32) / np.float32(255)


def _compiled(model: ov.Model) -> ov.CompiledModel:
    settings = {"INFERENCE_NUM_THREADS": 1, "ENABLE_CPU_PINNING": False, "INFERENCE_PRECISION_HINT": "f32"}
    return core().compile_model(model, "CPU", settings)


def _times(first: ov.CompiledModel, second: ov.CompiledModel, image: Image) -> tuple[float, float]:
    """Measure the processor time of each network in milliseconds: alternating runs, of which the fastest counts."""
    values, fastest = _values(image), [np.inf, np.inf]
    for _ in range(_TURNS):
        for side, network in enumerate((first, second)):
            start = time.process_time()
            for _ in range(_RUNS):
                network(values)
            fastest[side] = min(fastest[side], (time.process_time() - start) / _RUNS * 1000)
    return fastest[0], fastest[1]


def _layers(model: ov.Model) -> list[ov.Node]:
    """Return the convolutions and matrix products with constant weights, in execution order."""
    return [
        node
        for node in model.get_ordered_ops()
        if node.get_type_name() in PRODUCTS
        and constant_of(node.input_value(1)) is not None
        and node.output(0).get_partial_shape().is_static
    ]


def _multiplications(model: ov.Model) -> FloatArray:
    """Return the number (L,) of multiplications of each layer."""
    pairs = [(tuple(node.input_value(1).get_shape()), tuple(node.output(0).get_shape())) for node in _layers(model)]
    return np.array([prod(weights) * (prod(out[2:]) if len(out) == 4 else 1) for weights, out in pairs], np.float64)


def _roundings(model: ov.Model, images: Sequence[Image]) -> list[Rounding]:
    """Return the rounding of each layer for its inputs on the images."""
    layers = _layers(model)
    filters = [np.array(constant_of(node.input_value(1)), np.float32) for node in layers]
    network = _compiled(ov.Model([node.input_value(0) for node in layers], model.get_parameters()))  # pyright: ignore
    count = len(layers)
    signed, largest, sums = [False] * count, [np.float32(0)] * count, [np.float32(0)] * count
    for image in images:
        for index, values in enumerate(network(_values(image)).values()):
            others = tuple(axis for axis in range(values.ndim) if axis != 1)
            largest[index] = np.maximum(largest[index], np.abs(values).max(axis=others))
            sums[index] = sums[index] + values.mean(axis=others)
            signed[index] = signed[index] or bool(values.min() < 0)
    wide = [np.maximum(sizes, np.max(sizes) * _MIN_RANGE) for sizes in largest]
    return [
        Rounding(
            filters=weights,
            signed=below,
            sizes=np.where(sizes > 0, sizes, 1).astype(np.float32),
            means=np.asarray(total / len(images)),
        )
        for weights, below, sizes, total in zip(filters, signed, wide, sums, strict=True)
    ]


def _with_int8(path: Path, roundings: Sequence[Rounding], chosen: Sequence[int], largest: int) -> ov.Model:
    """Return the network with the chosen layers in int8. OpenVINO chooses the kernels from the roundings."""
    model = read_model(path)
    rounded = dict[tuple[str, int], ov.Node]()
    for index, node in enumerate(_layers(model)):
        if index not in chosen:
            continue
        rounding, values = roundings[index], node.input_value(0)
        key = values.get_node().get_friendly_name(), values.get_index()
        if key not in rounded:
            rounded[key] = _rounded(values, rounding.sizes, signed=rounding.signed)
        node.input(0).replace_source_output(rounded[key].output(0))
        filters, factors = rounding.filters, rounding.sizes / rounding.sizes.max()
        outputs = _output_axes(node, filters)
        scaled = filters * _along_inputs(node, filters, factors)
        levels, step = _levels(scaled, outputs, largest)
        as_f32 = ops.multiply(ops.convert(ops.constant(levels), "f32"), ops.constant(step))
        node.input(1).replace_source_output(as_f32.output(0))
        lost = (scaled - levels * step) * _along_inputs(node, filters, rounding.means / factors)
        lost = lost.sum(axis=tuple(axis for axis in range(filters.ndim) if axis not in outputs)).ravel()
        _add(node, np.asarray(lost, np.float32))
    model.validate_nodes_and_infer_types()
    return model


def _rounded(values: ov.Output, sizes: Float32Array, *, signed: bool) -> ov.Node:
    """Round values to 256 levels, with each channel scaled relative to the widest one."""
    shape = [1] * values.get_partial_shape().rank.get_length()
    shape[1] = -1
    below = np.float32(-128 / 127 if signed else 0)
    low, high = (ops.constant((sizes * factor).reshape(shape)) for factor in (below, np.float32(1)))
    widest = sizes.max()
    return ops.fake_quantize(values, low, high, widest * below, widest, 256)


def _is_flat(node: ov.Node) -> bool:
    """Check whether the weights of a layer are (C, N), not (N, C, ...)."""
    return node.get_type_name() == "MatMul" and not node.get_attributes()["transpose_b"]


def _output_axes(node: ov.Node, filters: Float32Array) -> tuple[int, ...]:
    """Return the axes of a layer's weights that correspond to its outputs."""
    if node.get_type_name() == "GroupConvolution":  # (G, N, C, h, w)
        return 0, 1
    return (filters.ndim - 1,) if _is_flat(node) else (0,)


def _along_inputs(node: ov.Node, filters: Float32Array, factors: Float32Array) -> Float32Array:
    """Return the factors of the input channels, by which the weights are multiplied."""
    if node.get_type_name() == "GroupConvolution":
        return factors.reshape(filters.shape[0], 1, filters.shape[2], 1, 1)
    return factors[:, None] if _is_flat(node) else factors.reshape(1, -1, *[1] * (filters.ndim - 2))


def _levels(filters: Float32Array, outputs: tuple[int, ...], largest: int) -> tuple[NDArray[np.int8], Float32Array]:
    """Return weights in integer steps from -largest to largest, and the step of each filter."""
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
