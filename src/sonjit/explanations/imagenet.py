"""Explain the classes of photographs with published classifiers of ImageNet's 1,000 classes, without PyTorch.

MobileNetV2 (Sandler et al. 2018) and EfficientNet-Lite0 (Tan and Le 2019, without squeeze and excitation) end in a
convolution, its mean and one linear layer. Their class activation maps are therefore exact (Zhou et al. 2016). The
networks are built with OpenVINO's operators from the checkpoints that `sonjit models pull classifiers` downloads.
"""

import pickle
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonjit._util import Float32Array, Image, InputError, unknown_name
from sonjit.explanations.maps import box_from_map
from sonjit.media import ImageLike, rgb_from
from sonjit.media.drawing.heat_maps import enlarge
from sonjit.results import Box
from sonjit.weights import find_weight

SIDE = 224  # side of the networks' square input in pixels
_MAX_NAMES = 20
_HALF = (0.5, 0.5, 0.5)


class _Layout(NamedTuple):
    """Properties of a network that its checkpoint does not contain. Its tensors are in the order of execution."""

    halving: tuple[int, ...]  # indices of the blocks with stride 2
    padding: str  # padding of convolutions: "explicit" by half of the kernel, or TensorFlow's "same_upper"
    epsilon: float  # epsilon of the batch norms
    mean: tuple[float, float, float]  # RGB mean of images in 0..1
    std: tuple[float, float, float]  # their deviation


_LAYOUTS = {
    "efficientnet_lite0": _Layout((1, 3, 5, 11), "same_upper", 1e-3, _HALF, _HALF),
    "mobilenet_v2": _Layout((1, 3, 6, 13), "explicit", 1e-5, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
IMAGE_MODELS = tuple(_LAYOUTS)  # names of the classifiers, the default first


@dataclass(frozen=True, eq=False)
class ClassMap:
    """Evidence for one class by image position.

    Attributes:
        label: Index of the class.
        name: Name of the class; empty if it is not known.
        probability: Probability by the softmax, 0..1.
        score: Score before the softmax. With mean pooling it is `mean(values) + bias`.
        bias: Bias of the class.
        values: (h, w) float32 map, which covers the image.
        box: Box around the largest part above 20 % of the map's maximum, as x_min, y_min, x_max, y_max in pixels of the
            image; None without evidence for the class.
    """

    label: int
    name: str
    probability: float
    score: float
    bias: float
    values: Float32Array
    box: Box | None


def explain(
    image: ImageLike,
    of: str | int | Sequence[str | int] | None = None,
    *,
    top: int = 1,
    model: Literal["efficientnet_lite0", "mobilenet_v2"] = "efficientnet_lite0",
    models_dir: str | Path | None = None,
) -> list[ClassMap]:
    """Show which parts of a photograph are evidence for classes of ImageNet, by exact class activation maps.

    Args:
        image: Image file, (H, W, 3) uint8 RGB, or another image of `sonjit.media.rgb_from`.
        of: Classes to explain, each by its name, words of it, or its number. Default: the `top` most probable ones.
        top: Number of classes if none are named.
        model: `efficientnet_lite0` or `mobilenet_v2`.
        models_dir: Folder with the weights. Default: the cache, which `sonjit models pull classifiers` fills.

    Returns:
        A map per class in the order of `of`, or the most probable class first.

    Raises:
        InputError: A class is unknown or ambiguous, or the weights are missing.

    >>> import sonjit
    >>> sonjit.explain("photo.jpg", "palaces")
    Traceback (most recent call last):
    sonjit._util.errors.InputError: Unknown class 'palaces'. Choose from palace, plate, plane, patas, parachute
    """
    targets = [of] if isinstance(of, str | int) else of
    classes = None if targets is None else [class_index(target) for target in targets]
    if top < 1:
        raise InputError(f"top={top}: must be at least 1")
    rgb = rgb_from(image)
    return _cached_classifier(model, None if models_dir is None else str(models_dir)).explain(rgb, classes, top)


class ImageClassifier:
    """A published classifier of photographs on OpenVINO, for several threads in turn; `weights` (C, K) are the last
    layer's.
    """

    def __init__(self, model: str = IMAGE_MODELS[0], models_dir: str | Path | None = None, device: str = "CPU") -> None:
        from sonjit.explanations.pooled import PooledNetwork  # OpenVINO, which loads slowly

        if model not in _LAYOUTS:
            raise InputError(unknown_name("model", model, IMAGE_MODELS))
        path = find_weight(model, models_dir)
        network = _build(path, model)
        self.model = model
        self.names = imagenet_names()
        self.has_maps = True
        self.ids = tuple(range(len(self.names)))
        self._network = PooledNetwork(path, None, device, network)
        self._lock = threading.Lock()
        self.weights, self._bias = self._network.heads[0].weights, self._network.heads[0].bias

    def run(self, rgb: Image) -> tuple[Float32Array, Float32Array]:
        """Return the features (K, h, w) of an image (H, W, 3) and the scores (C,) of the classes."""
        import cv2

        scaled = cv2.resize(rgb, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        with self._lock:
            self._network.input[0] = scaled
            features, (scores,) = self._network.run()
        return features, scores.ravel()

    def explain(self, rgb: Image, classes: Sequence[int] | None = None, top: int = 1) -> list[ClassMap]:
        """Return the maps of classes in an image (H, W, 3), or of the `top` most probable ones. See `explain`."""
        features, scores = self.run(rgb)
        shares = np.exp(scores - scores.max())
        shares /= shares.sum()
        chosen: list[int] = np.argsort(-scores)[:top].tolist() if classes is None else list(classes)
        maps = np.tensordot(self.weights[chosen].astype(np.float64), features.astype(np.float64), 1).astype(np.float32)
        return [
            ClassMap(
                label,
                self.names[label],
                float(shares[label]),
                float(scores[label]),
                float(self._bias[label]),
                values,
                box_of(values, rgb),
            )
            for label, values in zip(chosen, maps, strict=True)
        ]


def box_of(values: Float32Array, rgb: Image) -> Box | None:
    """Return the box of a map (h, w) that covers an image (H, W, 3), see `ClassMap.box`."""
    height, width = rgb.shape[:2]
    return box_from_map(enlarge(values, width, height))


@cache
def imagenet_names() -> tuple[str, ...]:
    """Return the names of ImageNet's 1,000 classes."""
    return tuple(Path(__file__).with_name("imagenet.txt").read_text("utf-8").splitlines())


def class_index(target: str | int, names: Sequence[str] | None = None, count: int | None = None) -> int:
    """Return the index of a class that a user names.

    Args:
        target: Name of the class, the start of one or more words of it in any case, or the index.
        names: Names of the classes. Default: those of ImageNet.
        count: Number of classes. Default: the number of names.

    >>> class_index("Dome"), class_index("australian"), class_index("400")
    (538, 193, 400)
    """
    names = imagenet_names() if names is None else names
    count = len(names) if count is None else count
    text = str(target).strip()
    if text in names:
        return names.index(text)
    if text.isdecimal() and int(text) < count:
        return int(text)
    lower = [name.lower() for name in names]
    if text.lower() in lower:
        return lower.index(text.lower())
    matching = [index for index, name in enumerate(lower) if re.search(rf"\b{re.escape(text.lower())}", name)]
    if len(matching) == 1:
        return matching[0]
    chosen = [names[index] for index in matching] or get_close_matches(text.lower(), names, 5) or names
    shown = ", ".join(chosen[:_MAX_NAMES]) + (", ..." if len(chosen) > _MAX_NAMES else "")
    problem = "Several classes match" if matching else "Unknown class"
    raise InputError(f"{problem} {text!r}. Choose from {shown or f'0 to {count - 1}'}")


@lru_cache(maxsize=2)
def _cached_classifier(model: str, models_dir: str | None) -> ImageClassifier:
    return ImageClassifier(model, models_dir)


def read_checkpoint(path: Path) -> dict[str, NDArray[Any]]:
    """Read a checkpoint of PyTorch before 1.6 without PyTorch or running code: tensors by name, in the file's order."""
    try:
        with path.open("rb") as file:
            *_, tensors, order = (_Tensors(file).load() for _ in range(5))
            kinds = {key: kind for (kind, key), *_ in tensors.values()}
            storages = {key: _read_storage(file, kinds[key]) for key in order}
        return {
            name: np.ndarray(
                shape,
                storages[key].dtype,
                storages[key],
                offset * storages[key].itemsize,
                [step * storages[key].itemsize for step in strides],
            )
            for name, ((_, key), offset, shape, strides, *_) in tensors.items()
        }
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # damaged files raise arbitrary errors in the unpickler
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise InputError(f"{path}: damaged checkpoint ({reason}); pull it again") from None


class _Mapping(dict[str, object]):
    """A dictionary with attributes, which the pickle of an OrderedDict sets."""


_PLAIN_VALUES: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _Mapping,
    ("torch._utils", "_rebuild_tensor_v2"): lambda *parts: parts,  # pyright: ignore
    ("torch", "FloatStorage"): "<f4",
    ("torch", "LongStorage"): "<i8",
}
"""Plain values for the types and functions that a checkpoint names."""


class _Tensors(pickle.Unpickler):
    """Reader of tensors as plain values: (type and key of the storage, offset, shape, strides, ...)."""

    def find_class(self, module: str, name: str, /) -> Any:  # noqa: ANN401
        if (module, name) not in _PLAIN_VALUES:
            raise InputError(f"contains {ascii(f'{module}.{name}'[:120])[1:-1]}, not a tensor; nothing was run")
        return _PLAIN_VALUES[module, name]

    def persistent_load(self, pid: Any, /) -> tuple[str, str]:  # noqa: ANN401
        return pid[1:3]


def _read_storage(file: BinaryIO, kind: str) -> NDArray[Any]:
    count = int.from_bytes(file.read(8), "little")
    return np.frombuffer(file.read(count * np.dtype(kind).itemsize), kind, count)


class Layer(NamedTuple):
    """A convolution of a classifier with its batch norm folded in, and what follows it."""

    filters: Float32Array  # (C, K, h, w); K is 1 if each channel has its own filter
    bias: Float32Array  # (C,)
    stride: int
    is_active: bool  # values are clipped to 0..6
    begins_block: bool  # the input is the input of a block
    is_sum: bool  # the input of the block is added to the output


def read_layers(path: Path, model: str) -> tuple[list[Layer], tuple[Float32Array, Float32Array]]:
    """Return the convolutions of a checkpoint, and weights (C, K) and biases (C,) of the linear layer after their mean.

    The network is a convolution, inverted residual blocks and a convolution. Each convolution has six tensors: its
    weights, and scale, shift, mean, variance and counter of its batch norm. A block has a 1 x 1 convolution that
    expands, except the first, a depthwise one and a 1 x 1 convolution without activation.
    """
    *tensors, weights, biases = read_checkpoint(path).values()
    layout = _LAYOUTS[model]
    layers = list[Layer]()
    count = len(tensors) // 6
    for n in range(count):
        filters, scale, shift, mean, variance, _ = (tensor.astype(np.float64) for tensor in tensors[6 * n : 6 * n + 6])
        factor = scale / np.sqrt(variance + layout.epsilon)
        block, part = divmod(n, 3)  # the first block has no convolution that expands, the first layer is before it
        is_inner, halves = 0 < n < count - 1, block in layout.halving
        inputs = layers[3 * block].filters.shape[1] if is_inner and block and part == 2 else 0
        layers.append(
            Layer(
                (filters * factor[:, None, None, None]).astype(np.float32),
                (shift - mean * factor).astype(np.float32),
                stride=2 if n == 0 or (is_inner and part == 1 and halves) else 1,
                is_active=not (is_inner and part == 2),
                begins_block=is_inner and part == (0 if block else 1),
                is_sum=inputs == len(filters) and not halves,
            )
        )
    return layers, (weights, biases)


def _build(path: Path, model: str) -> Any:  # noqa: ANN401  # ov.Model, which loads slowly
    """Return a network with OpenVINO's operators."""
    import openvino as ov
    from openvino import opset13 as ops

    layout, (layers, (weights, biases)) = _LAYOUTS[model], read_layers(path, model)
    image = ops.parameter([1, 3, SIDE, SIDE], np.float32, "image")
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (layout.mean, layout.std))
    x = block = ops.divide(ops.subtract(image, mean), std)
    for filters, bias, stride, is_active, begins_block, is_sum in layers:
        block = x if begins_block else block
        half = [filters.shape[-1] // 2] * 2
        geometry: Any = ([stride] * 2, half, half, [1, 1], layout.padding)
        is_depthwise = filters.shape[1] == 1
        convolve, shaped = (ops.group_convolution, filters[:, None]) if is_depthwise else (ops.convolution, filters)
        x = ops.add(convolve(x, ops.constant(shaped), *geometry), ops.constant(bias[:, None, None]))
        x = ops.clamp(x, 0.0, 6.0) if is_active else x
        x = ops.add(block, x) if is_sum else x
    pooled = ops.reduce_mean(x, np.array([2, 3]), keep_dims=False)
    scores = ops.matmul(pooled, ops.constant(weights), transpose_a=False, transpose_b=True)
    return ov.Model([ops.add(scores, ops.constant(biases[None]))], [image], "classifier")  # pyright: ignore
