"""Names of the array types in signatures; each docstring gives shapes and contents."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]
RealArray: TypeAlias = NDArray[np.floating]
"""Of any precision."""
Float32Array: TypeAlias = NDArray[np.float32]
BoolArray: TypeAlias = NDArray[np.bool_]
IntArray: TypeAlias = NDArray[np.int64]
IndexArray: TypeAlias = NDArray[np.intp]
Image: TypeAlias = NDArray[np.uint8]
"""(H, W, 3) RGB, or (H, W) grey."""
