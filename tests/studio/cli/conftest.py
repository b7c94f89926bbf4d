"""The fixtures of `tests/cli`."""

from ...cli.conftest import (  # noqa: F401, TID252
    frame_count,
    media,
    names_in,
    out,
    planted,
    stills,
    write_image,
)
