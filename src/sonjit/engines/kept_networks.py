"""Compiled networks that are kept: in files for a fast second start, in memory for detectors that share them."""

from __future__ import annotations

import io
import os
import tempfile
import threading
import time
import zlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from sonjit.engines.quiet_openvino import ov

_KEPT_S = 90 * 24 * 3600


class SharedNetworks:
    """Each network once, for as long as any engine holds it."""

    def __init__(self) -> None:
        self._networks: WeakValueDictionary[Hashable, ov.CompiledModel] = WeakValueDictionary()
        self._lock = threading.Lock()

    def get(self, key: Hashable, load: Callable[[], ov.CompiledModel]) -> ov.CompiledModel:
        """The network of that key; loaded where nobody holds it, while others who want one wait."""
        with self._lock:
            network = self._networks.get(key)
            if network is None:
                self._networks[key] = network = load()
            return network


def import_blob(core: ov.Core, blob: Path, device: str, config: dict[str, Any]) -> ov.CompiledModel | None:
    """The network kept in a file, or None where there is none or it is damaged: it is then made anew."""
    try:
        with blob.open("rb") as file:
            checksum, data = file.read(4), file.read()
    except OSError:
        return None
    if zlib.crc32(data).to_bytes(4, "little") != checksum:
        return None
    try:
        network = core.import_model(io.BytesIO(data), device, config)
    except RuntimeError:
        return None
    with suppress(OSError):
        blob.touch()  # used today: not to be cleared away
    return network


def keep_blob(blob: Path, network: ov.CompiledModel) -> None:
    """Keep a compiled network for the next start; a cache that cannot be written is no error."""
    try:
        data: bytes = network.export_model().getvalue()
        blob.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=blob.parent, suffix=".part")
    except (OSError, RuntimeError):
        return
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(zlib.crc32(data).to_bytes(4, "little"))
            file.write(data)
        Path(temporary).replace(blob)
        _clear_unused(blob.parent)
    except OSError:
        Path(temporary).unlink(missing_ok=True)


def _clear_unused(folder: Path) -> None:
    """Remove compiled networks that nobody has used for a quarter: of older versions, say."""
    oldest = time.time() - _KEPT_S
    for blob in folder.glob("*.blob"):
        with suppress(OSError):
            if blob.stat().st_mtime < oldest:
                blob.unlink()
