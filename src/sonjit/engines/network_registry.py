"""Registry of compiled networks that engines share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from weakref import WeakValueDictionary

from sonjit.engines.quiet_openvino import ov


class SharedNetworks:
    """Networks that engines share, each loaded once while any engine uses it."""

    def __init__(self) -> None:
        self._networks: WeakValueDictionary[Hashable, ov.CompiledModel] = WeakValueDictionary()
        self._lock = threading.Lock()

    def get(self, key: Hashable, load: Callable[[], ov.CompiledModel]) -> ov.CompiledModel:
        """Return the network of a key, and load it if no engine uses it yet. Other callers wait."""
        with self._lock:
            network = self._networks.get(key)
            if network is None:
                self._networks[key] = network = load()
            return network
