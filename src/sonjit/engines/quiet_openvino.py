"""Import OpenVINO without its telemetry and its converter. No other module imports OpenVINO.

A bare `import openvino` starts a process that reports usage to an analytics host and writes into the home folder; with
its telemetry package out of sight it falls back to a stub of its own. The model converter, which nothing here uses,
is a third of the import's time; OpenVINO does without it where it cannot be imported. It stays importable by its own
name, `openvino.tools.ovc`, afterwards. Garbage collections, which would find nothing, are another third.
"""

import gc
import sys

import numpy as np

_CONVERTER = "openvino.tools.ovc"

sys.modules.setdefault("openvino_telemetry", None)  # pyright: ignore[reportArgumentType]
if "openvino" in sys.modules:
    import openvino as ov
else:
    sys.modules[_CONVERTER] = None  # pyright: ignore[reportArgumentType]
    collects = gc.isenabled()
    gc.disable()
    try:
        import openvino as ov
    finally:
        del sys.modules[_CONVERTER]
        if collects:
            gc.enable()

# Two threads that touch a tensor's data for the very first time at once can wait for each other for ever, one inside
# OpenVINO's one-time set-up of NumPy and the other for the interpreter. This thread finishes it first.
_ = ov.Tensor(np.zeros(1, np.uint8)).data

__all__ = ["ov"]
