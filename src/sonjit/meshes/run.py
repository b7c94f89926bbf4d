"""One input and what becomes of it: the hands of every image as meshes, drawn over it and saved."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sonjit.detectors import detect_frames
from sonjit.errors import InputError
from sonjit.media import open_drawing_writer, open_source
from sonjit.media.drawing.meshes import draw_mesh
from sonjit.media.drawing.strokes import LEFT, RIGHT
from sonjit.meshes.writing import check_save, save_meshes

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

    from sonjit.detectors import Detector
    from sonjit.media import Source
    from sonjit.meshes.hand_mesh import HandMesh, MeshModel
    from sonjit.results import Hand


@dataclass
class MeshSummary:
    """What came of an input.

    Attributes:
        frames: images looked at.
        hands: meshes, over all of them.
        unplaced: hands without a mesh: lifting could not tell where they are, or put them behind the camera.
        about: what the model says of itself and of the hands.
        written: files.
        problems: what could not be read, one line each.
    """

    frames: int = 0
    hands: int = 0
    unplaced: int = 0
    about: dict[str, Any] = field(default_factory=dict[str, "Any"])
    written: list[str] = field(default_factory=list[str])
    problems: list[str] = field(default_factory=list[str])


def mesh_source(
    named: str,
    make: Callable[[Source], tuple[Detector[Any], MeshModel]],
    *,
    rigged: bool,
    lift: Callable[[NDArray[np.uint8], list[Hand]], list[Hand]] | None = None,
    save: str | None = None,
    draw: str | None = None,
    limit: int | None = None,
    opened: Callable[[int | None], None] = lambda _: None,
    advance: Callable[[], None] = lambda: None,
) -> MeshSummary:
    """Find the hands of every image of an input, make meshes of them, write and draw these.

    All images are looked at first, for a hand's size comes out of the whole video; drawing reads them once more.
    Ctrl-C ends the looking: what was seen is written.

    Args:
        named: what `open_source` takes.
        make: the detector and the model for a source.
        rigged: the model will have a rig's motions.
        lift: puts the hands of an image into the camera's space before the model looks at them, or None; hands of
            unknown place are left out.
        save: file for meshes or their parameters, or None; see `check_save`.
        draw: image, folder or video to write, or None.
        limit: stop after so many images.
        opened: called with the expected number of images, or None, once the input is open.
        advance: called after each image that was looked at.
    """
    summary = MeshSummary()
    with open_source(named) as source, ExitStack() as outputs:
        if save is not None:
            check_save(save, source, rigged=rigged)
        if draw is not None and source.kind == "camera":
            raise InputError(f"{named}: drawing reads a source twice; record it first: sonjit hands {named} --draw F")
        drawing = None if draw is None else outputs.enter_context(open_drawing_writer(draw, source))
        detector, model = make(source)
        opened(source.count if limit is None else min(source.count or limit, limit))
        seen: list[tuple[int, float | None]] = []
        stopped: KeyboardInterrupt | None = None
        try:
            for frame, rgb in detect_frames(source, detector):
                if lift is not None:
                    lifted = lift(rgb, frame.hands)
                    frame.hands = [hand for hand in lifted if (hand.keypoints_3d[:, 2] > 0).all()]  # NaN is not
                    summary.unplaced += len(lifted) - len(frame.hands)
                model.look(frame, rgb)
                seen.append((frame.index, frame.time))
                summary.hands += len(frame.hands)
                advance()
                if limit is not None and len(seen) >= limit:
                    break
        except KeyboardInterrupt as stop:
            stopped = stop
        model.finish()
        summary.frames, summary.problems, summary.about = len(seen), list(source.problems), model.about()
        if save is not None:
            summary.written += save_meshes(save, source, model, seen)
        if drawing is not None and draw is not None and seen:
            last = seen[-1][0]
            for index, time, rgb in source:
                if index > last:
                    break
                drawing.write(draw_meshes(rgb, model.meshes(index)), time, index=index)
            summary.written.append(draw)
        if stopped is not None:
            raise stopped
    return summary


def draw_meshes(rgb: NDArray[np.uint8], meshes: list[HandMesh]) -> NDArray[np.uint8]:
    """A new image (H, W, 3) with shaded hands over it, far ones first; a person's left is warm, their right blue."""
    canvas = rgb.copy()
    for mesh in sorted(meshes, key=lambda mesh: -float(mesh.vertices[:, 2].mean())):
        colour = RIGHT if mesh.handedness == "Right" else LEFT
        draw_mesh(canvas, mesh.pixels, mesh.faces, colour, normals=mesh.normals)
    return canvas
