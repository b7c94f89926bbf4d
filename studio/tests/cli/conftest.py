"""The fixtures of `tests/cli`."""

from ...cli.conftest import frame_count, media, names_in, out, planted, stills, write_image  # noqa: F401, TID252
