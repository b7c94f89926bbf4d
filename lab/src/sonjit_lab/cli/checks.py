"""What `sonjit doctor` reports about the lab."""

import importlib.util
from collections.abc import Iterator

from sonjit._util import JobError
from sonjit.cli.checks import Finding


def check_opengl() -> Iterator[Finding]:
    """Report the renderer of hands, if its library is installed."""
    if importlib.util.find_spec("moderngl") is None:
        return
    from sonjit_lab.synthesis.renderer import renderer_name

    try:
        yield Finding("ok", "OpenGL without a screen", renderer_name())
    except JobError as error:
        yield Finding("note", "OpenGL without a screen", f"rendered hands need it: {error}")
