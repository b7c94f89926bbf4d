"""Outputs of networks by their input, for tests that show the same images in many ways."""

import hashlib
import threading
from collections import OrderedDict

from sonjit.engines.openvino import OpenVinoEngine

MOST_BYTES = 300_000_000

_compute = OpenVinoEngine.run
_outputs = OrderedDict()  # used last at the end
_lock = threading.Lock()
_size = 0


def run(engine):
    """Return the outputs of an engine for its input, and compute them only if no engine of the network did."""
    if engine.recorded is not None:
        return _compute(engine)
    digest = hashlib.sha1(usedforsecurity=False)
    for values in engine.inputs:
        digest.update(values)
    key = engine._network, digest.digest()
    with _lock:
        known = _outputs.get(key)
        if known is not None:
            _outputs.move_to_end(key)
    if known is None:
        outputs = _compute(engine)
        _remember(key, [values.copy() for values in outputs])
        return outputs
    for values, before in zip(engine._outputs, known, strict=True):
        values[...] = before
    return engine._outputs


def _remember(key, outputs):
    global _size
    with _lock:
        if key in _outputs:  # two threads computed the same
            return
        _outputs[key] = outputs
        _size += sum(values.nbytes for values in outputs)
        while _size > MOST_BYTES:
            _size -= sum(values.nbytes for values in _outputs.popitem(last=False)[1])
