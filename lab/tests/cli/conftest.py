"""The fixtures of `tests/cli`."""

from tests.cli.conftest import frame_count, media, names_in, out, stills, write_image  # noqa: F401
