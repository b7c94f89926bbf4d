"""Compute exact class activation maps of the hand landmark network.

The network ends in a 7 x 7 map, its mean and linear layers. Each output is therefore `mean(values) + bias` of a map,
without approximation, gradient or PyTorch. Source: Zhou et al. 2016, section 2.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from sonjit._util import Float32Array, Image, InputError
from sonjit.detectors.kinds.hands import box_around_hand
from sonjit.geometry.boxes import RotatedBox, crop_on_grid
from sonjit.results import Hand
from sonjit.results.skeletons import load_skeleton
from sonjit.weights import find_weight

_POINTS, _PRESENCE, _LABEL, _WORLD = range(4)  # order of the network's outputs


@dataclass(frozen=True, eq=False)
class TargetMap:
    """Evidence for one output by position in the crop.

    Attributes:
        target: Name of the output, such as "handedness".
        values: Map (h, w) as float32; `mean(values) + bias` is the output.
        bias: Output for an empty map.
        value: Output in `unit`.
        unit: "logit", "px" (of the network's input) or "m" (in the crop's axes).
        box: Area of the map in the image, in pixels.
    """

    target: str
    values: Float32Array
    bias: float
    value: float
    unit: str
    box: RotatedBox


class HandExplainer:
    """Explain the outputs of the landmark network for hands.

    A call runs the network once in f32. Each additional target of the same hand is a sum over its channels. Several
    threads may use an explainer; they wait for each other.

    Args:
        path: Published landmark network, or a custom one with the same last layers.
        mirrored: True if the images are selfie views.
        threads: Number of threads, as in `create_detector`.
        device: Device, as in `create_detector`.

    Attributes:
        targets: Names of all targets.

    Raise InputError if the file is not a hand landmark network, or does not end in linear layers over a mean.
    """

    def __init__(self, path: Path, *, mirrored: bool = False, threads: int | None = None, device: str = "CPU") -> None:
        from sonjit.explanations.pooled import PooledNetwork  # OpenVINO, which loads slowly

        self._network = PooledNetwork(path, threads, device)
        sizes = self._network.output_sizes
        if len(sizes) != 4 or sizes[_PRESENCE : _LABEL + 1] != [1, 1] or sizes[_POINTS] != sizes[_WORLD]:
            output_sizes = " + ".join(map(str, sizes))
            raise InputError(
                f"{path} is not a hand landmark network: it gives {output_sizes} numbers, not 63 + 1 + 1 + 63"
            )
        self._rows: dict[str, tuple[int, int, str]] = {"handedness": (_LABEL, 0, "logit")}
        self._rows["presence"] = (_PRESENCE, 0, "logit")
        names = load_skeleton("hand_mediapipe21").keypoints
        for row in range(sizes[_POINTS]):
            point, axis = row // 3, "xyz"[row % 3]
            name = names[point] if point < len(names) else f"keypoint_{point}"
            self._rows[f"{name}.{axis}"] = (_POINTS, row, "px")
            self._rows[f"{name}.{axis}_m"] = (_WORLD, row, "m")
        self.targets = tuple(self._rows)
        # The network was trained on selfie views; our map is the evidence for the person's own right hand.
        self._sign = {"handedness": -1.0 if mirrored else 1.0}
        self._lock = threading.Lock()

    def check(self, target: str) -> None:
        """Raise InputError, with the known names, if a target is unknown."""
        if target not in self._rows:
            points = dict.fromkeys(name.partition(".")[0] for name in self.targets[2:])
            raise InputError(
                f"Unknown target {target!r}. Choose from presence, handedness, and x, y, z (pixels of the crop) or "
                f"x_m, y_m, z_m (metres) of a keypoint, as in index_finger_tip.x; keypoints: {', '.join(points)}"
            )

    def explain(self, rgb: Image, where: Hand | RotatedBox, targets: Sequence[str]) -> list[TargetMap]:
        """Return one map per target.

        Args:
            rgb: (H, W, 3) uint8 image.
            where: Detected hand, whose crop is that of tracking in the next frame; or a box in pixels.
            targets: Names from `targets`. "handedness" is the logit of the person's own right hand, "presence" that of
                a hand.

        Raise InputError if a target is unknown.
        """
        for target in targets:
            self.check(target)
        box = where if isinstance(where, RotatedBox) else box_around_hand(where.keypoints)
        with self._lock:
            crop_on_grid(rgb, box, self._network.input[0])
            features, _ = self._network.run()  # (K, h, w)
        return [self._map(target, features, box) for target in targets]

    def _map(self, target: str, features: Float32Array, box: RotatedBox) -> TargetMap:
        number, row, unit = self._rows[target]
        head, sign = self._network.heads[number], self._sign.get(target, 1.0)
        values = sign * np.tensordot(head.weights[row], features, 1)  # (h, w)
        bias = sign * float(head.bias[row])
        return TargetMap(
            target=target,
            values=values.astype(np.float32),
            bias=bias,
            value=float(values.mean(dtype=float)) + bias,
            unit=unit,
            box=box,
        )


def load_hand_explainer(
    model: str = "full",
    *,
    landmark_model: str | Path | None = None,
    models_dir: str | Path | None = None,
    mirrored: bool = False,
    threads: int | None = None,
    device: str = "CPU",
) -> HandExplainer:
    """Load the explainer of a published or custom network. The arguments are those of `create_detector`."""
    if model not in ("full", "lite"):
        raise InputError(f"Unknown model {model!r}. Choose from full, lite, or a classifier (sonjit networks 'cam-*').")
    folder = None if models_dir is None else Path(models_dir)
    path = find_weight(f"hand-{model}", folder) if landmark_model is None else Path(landmark_model)
    return HandExplainer(path, mirrored=mirrored, threads=threads, device=device)


def hand_map(
    rgb: Image, hand: Hand, target: str = "handedness", *, model: str = "full", mirrored: bool = False
) -> TargetMap:
    """Return the map of one target for one hand in an image (H, W, 3).

    The first call loads the network. Each call crops the image and runs the landmark network once in f32.
    """
    (target_map,) = cached_explainer(model, mirrored=mirrored).explain(rgb, hand, [target])
    return target_map


@lru_cache(maxsize=4)
def cached_explainer(model: str, *, mirrored: bool, threads: int | None = None) -> HandExplainer:
    """Return the explainer of a published network, loaded by the first call."""
    return load_hand_explainer(model, mirrored=mirrored, threads=threads)
