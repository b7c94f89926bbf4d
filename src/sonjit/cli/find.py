"""`sonjit hands|face|body|holistic`: from images, folders, videos and cameras to tables and drawings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from sonjit.cli.lifting import Lifting, lift_from, tell_notes
from sonjit.cli.options import OUTPUT, Finding, Input, Output, Running, detector_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sonjit.lifting import Lift

_Mask = Annotated[str | None, Parameter(group=OUTPUT)]
_OUTPUT, _FINDING, _RUNNING, _LIFTING = Output(), Finding(), Running(), Lifting()


def hands(
    *sources: Input,
    model: Literal["lite", "full"] = "full",
    visibility: Annotated[bool, Parameter(negative="")] = False,
    output: Output = _OUTPUT,
    finding: Finding = _FINDING,
    running: Running = _RUNNING,
    lifting: Lifting = _LIFTING,
) -> int:
    """Find hands: 21 keypoints each, left or right, in pixels and in metres.

    `sonjit hands photo.jpg` prints what is in an image.

    `sonjit hands clip.mp4 --save clip.csv --draw clip-drawn.mp4` writes a table and a drawn video.

    `sonjit hands recordings/ --save tables/ --jobs 4` writes one table per file; run it again to go on after a stop.

    `sonjit hands camera:0 --mirrored --draw me.mp4` records until Ctrl-C.

    `sonjit hands photo.jpg --lift internet --lift-weights snapshot_20.pth.tar --save hands.json` puts them into the
    camera's space, with InterNet's weights.

    Args:
        sources: Images, folders, globs in quotes and videos; or camera:0, or - for standard input.
        model: lite is faster, full more exact.
        visibility: Say of each keypoint how likely it is seen and not hidden.
    """
    if finding.flip_horizontal and lifting.lift is not None:
        from sonjit.errors import InputError

        raise InputError("--flip-horizontal moves hands away from where the camera sees them: leave it out with --lift")
    lift = lift_from(lifting, mirrored=finding.mirrored)
    options: dict[str, Any] = {"model": model} | ({"visibility": True} if visibility else {})
    status = _find("hands", sources, options, output, finding, running, lift=lift)
    tell_notes(lift)
    return status


def face(
    *sources: Input,
    model: Literal["attention", "mesh", "box", "box-full"] = "attention",
    output: Output = _OUTPUT,
    finding: Finding = _FINDING,
    running: Running = _RUNNING,
) -> int:
    """Find faces: a mesh of 478 keypoints with lips, eyes and irises, or boxes. Nothing tells who a person is.

    `sonjit face photo.jpg --draw drawn.jpg` draws the mesh.

    `sonjit face clip.mp4 --save clip.parquet --measures --max-instances 3` writes head pose and openness too.

    `sonjit face crowd.jpg --model box-full --max-instances 50 --save boxes.json` finds small faces as boxes.

    Args:
        sources: Images, folders, globs in quotes and videos; or camera:0, or - for standard input.
        model: attention refines lips, eyes and irises; mesh is faster; box and box-full (to about 5 m) give boxes.
    """
    return _find("face", sources, {"model": model}, output, finding, running)


def body(
    *sources: Input,
    model: Literal["lite", "full", "heavy"] = "full",
    mask: _Mask = None,
    output: Output = _OUTPUT,
    finding: Finding = _FINDING,
    running: Running = _RUNNING,
) -> int:
    """Find bodies: 33 keypoints each with visibility, in pixels and in metres, of one or several people.

    `sonjit body clip.mp4 --save clip.csv --measures --draw drawn.mp4` writes joint angles too.

    `sonjit body clip.mp4 --mask cutout.webm` writes the people without their background.

    `sonjit body squats.mp4 --count left_knee_angle_rad --draw counted.mp4` counts squats.

    `sonjit models pull body-lite body-heavy` fetches the two other sizes.

    Args:
        sources: Images, folders, globs in quotes and videos; or camera:0, or - for standard input.
        model: lite is fastest, heavy most exact.
        mask: People cut out of the image: .png for an image, .webm for a video; for many files a folder.
    """
    return _find("body", sources, {"model": model, "segmentation": mask is not None}, output, finding, running, mask)


def holistic(
    *sources: Input,
    model: Literal["lite", "full", "heavy"] = "full",
    mask: _Mask = None,
    output: Output = _OUTPUT,
    finding: Finding = _FINDING,
    running: Running = _RUNNING,
) -> int:
    """Find people: each body with its own hands and face.

    `sonjit holistic clip.mp4 --max-instances 2 --save clip.json --draw drawn.mp4` follows two people.

    Args:
        sources: Images, folders, globs in quotes and videos; or camera:0, or - for standard input.
        model: Of the body; lite takes the lighter hand and face networks too.
        mask: People cut out of the image: .png for an image, .webm for a video; for many files a folder.
    """
    options = {"model": model, "segmentation": mask is not None}
    return _find("holistic", sources, options, output, finding, running, mask)


def _find(
    kind: str,
    sources: Sequence[str],
    options: dict[str, Any],
    output: Output,
    finding: Finding,
    running: Running,
    mask: str | None = None,
    lift: Lift | None = None,
) -> int:
    from sonjit.cli.report import report_job
    from sonjit.runs import Detect, Outputs

    options |= detector_options(finding, running)
    processor = Detect(kind, options, output.measures, output.count, lift)
    _ = processor.counting  # refuses a wrong name before any work
    return report_job(sources, processor, Outputs(output.save, output.draw, mask), running)
