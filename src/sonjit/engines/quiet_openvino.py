"""The one module that imports OpenVINO: without its telemetry, and without its converter.

A bare `import openvino` starts a process that reports usage to an analytics host and writes into the home folder; with
its telemetry package out of sight it falls back to a stub of its own. The model converter, which nothing here uses,
is a third of the import's time; OpenVINO does without it where it cannot be imported. It stays importable by its own
name, `openvino.tools.ovc`, afterwards.
"""

from __future__ import annotations

import sys

_CONVERTER = "openvino.tools.ovc"

sys.modules.setdefault("openvino_telemetry", None)  # pyright: ignore[reportArgumentType]
if "openvino" in sys.modules:
    import openvino as ov
else:
    sys.modules[_CONVERTER] = None  # pyright: ignore[reportArgumentType]
    try:
        import openvino as ov
    finally:
        del sys.modules[_CONVERTER]

__all__ = ["ov"]
