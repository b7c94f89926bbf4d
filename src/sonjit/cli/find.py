"""`sonjit hands`: from images, folders, videos and cameras to tables and drawings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from sonjit.cli.options import Finding, Output, Running, detector_options

if TYPE_CHECKING:
    pass

_Input = Annotated[str, Parameter(name="INPUT", allow_leading_hyphen=True)]  # - is standard input
_OUTPUT, _FINDING, _RUNNING = Output(), Finding(), Running()


def hands(
    source: _Input,
    /,
    *,
    model: Literal["lite", "full"] = "full",
    output: Output = _OUTPUT,
    finding: Finding = _FINDING,
    running: Running = _RUNNING,
) -> int:
    """Find hands: 21 keypoints each, left or right, in pixels and in metres.

    `sonjit hands photo.jpg` prints what is in a picture.

    `sonjit hands clip.mp4 --save clip.csv --draw clip-drawn.mp4` writes a table and a drawn video.

    `sonjit hands recordings/ --save tables/ --jobs 4` writes one table per file; run it again to go on after a stop.

    `sonjit hands camera:0 --mirrored --draw me.mp4` records until Ctrl-C.

    Args:
        source: An image, a folder, a glob in quotes, a video, camera:0, or - for standard input.
        model: lite is faster, full more exact.
    """
    return _find("hands", source, {"model": model}, output, finding, running)


def _find(kind: str, source: str, options: dict[str, Any], output: Output, finding: Finding, running: Running) -> int:
    from sonjit.cli.report import run
    from sonjit.cli.run import Task
    from sonjit.errors import InputError

    if running.jobs < 1:
        raise InputError(f"--jobs {running.jobs}: give at least 1")
    if output.limit is not None and output.limit < 1:
        raise InputError(f"--limit {output.limit}: give at least 1 frame")
    options |= detector_options(finding, running)
    task = Task(source, kind, tuple(options.items()), output.save, output.draw, output.limit)
    return run(task, jobs=running.jobs)
