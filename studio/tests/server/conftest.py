"""The fixtures of `tests/server`."""

from tests.server.conftest import all_weights, ask, decoders, frames, gate, listen, place  # noqa: F401
