"""Draw frames over their images; custom result types set their class attribute `drawing`."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, repeat

import numpy as np

from sonjit._util import Float32Array, Image, InputError
from sonjit._util.extensions import resolved
from sonjit.media.drawing import covers, instances
from sonjit.media.drawing import strokes as pen
from sonjit.media.drawing.labels import Drawing, Label, Plate, label_of, place_labels
from sonjit.media.drawing.regions import Region, merge_regions
from sonjit.media.drawing.strokes import Strokes
from sonjit.media.drawing.style import INSTANCE, STYLE, USUAL, Anonymise, DrawingStyle
from sonjit.media.sources.images import ImageLike, rgb_from
from sonjit.results import Frame, Result

__all__ = ["Anonymise", "Drawing", "DrawingStyle", "Label", "draw_frame", "draw_regions"]


def _draw_skeleton(canvas: Image, result: Result, _: Result | None) -> None:
    """Draw lines and dots of any skeleton."""
    strokes = Strokes(canvas, result.keypoints)
    near, width = strokes.near.tolist(), strokes.width(pen.HAND_WIDTH)
    for a, b in result.skeleton.connections:
        strokes.line(a, b, pen.INK, width + 2 * strokes.edge(width))
        strokes.line(a, b, pen.shade(pen.own(pen.NEUTRAL), (near[a] + near[b]) / 2), width)
    for k, depth in enumerate(near):
        strokes.dot(k, pen.shade(pen.own(pen.NEUTRAL), depth), width)


def _label_above(result: Result) -> Label:
    points = np.asarray(result.keypoints, np.float64)[:, :2]
    top = points[np.nanargmin(points[:, 1])] if np.isfinite(points).any() else points[0]
    up = np.array([0.0, -1.0])
    return label_of(result, result.kind.capitalize(), top, (up, -up))


def _label(drawing: Drawing, result: Result, person: Result | None, note: str) -> Label | None:
    """Return the label of an instance; parts of a person only show what the person's label does not."""
    is_named = person is None or drawing.labels_parts
    label = (drawing.label or _label_above)(result) if is_named or note else None
    if label is None or not note:
        return label
    return label._replace(text=f"{label.text}, {note}" if is_named else note)


def draw_frame(
    rgb: ImageLike,
    frame: Frame,
    style: DrawingStyle = USUAL,
    *,
    labels: bool = True,
    notes: Sequence[str] = (),
    errors: bool = False,
    is_hidden: bool = False,
) -> Image:
    """Return a new image with all results of a frame drawn over it.

    A lighter and larger point is nearer to the camera. The person's left is warm, the right blue. Points of a body
    that are probably occluded are small and hollow, and their limbs thin. Where bodies have masks,
    people are cut out over a checkerboard. Widths follow the size of each instance and of the image. Points that are
    unknown (NaN) or far outside are not drawn.

    Args:
        rgb: Image in any form that `rgb_from` takes. It is not changed.
        frame: Frame with keypoints in pixels of the image.
        style: Settings of the drawing.
        labels: Write a label such as "Right 0.98 #1" (name, score, id) next to each instance.
        notes: ASCII text to append to each label, such as a gesture, in the order of `frame.instances()`.
        errors: Draw a ring around each refined keypoint of a hand, with its expected error as radius.
        is_hidden: The image already hides the people whom the style hides. Bodies have no keypoints of the face.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    canvas = np.zeros_like(rgb_from(rgb)) if style.is_black else rgb_from(rgb).copy()
    height, width = canvas.shape[:2]
    style = replace(style, labels=style.labels and labels, errors=style.errors or errors)
    scene = _Scene(frame, width, height, style, notes)
    if style.anonymise in ("blur", "persons") and not is_hidden:
        heads, bodies = covers.heads_and_bodies(frame.all_results())
        if not heads:
            raise InputError(f"anonymise={style.anonymise!r} requires faces or bodies in the results. Choose 'black'")
        canvas = covers.cover(canvas, heads, bodies if style.anonymise == "persons" else ())
    scene.draw(canvas)
    return canvas


def draw_regions(
    canvas: Image, rgb: Image, frame: Frame, style: DrawingStyle = USUAL, *, notes: Sequence[str] = ()
) -> list[Region]:
    """Draw a frame as `draw_frame` does, but only copy the regions of the image that the drawing needs.

    The canvas (H, W, 3) has no meaning outside the regions afterwards. The image below the drawing is not changed.
    Return regions that contain all that was drawn and do not touch each other.
    """
    height, width = rgb.shape[:2]
    scene = _Scene(frame, width, height, style, notes)
    regions = scene.regions(canvas)
    for region in regions:
        canvas[region.slices] = rgb[region.slices]
    scene.draw(canvas)
    return regions


class _Scene:
    """Instances of a frame in the order of drawing, and their labels."""

    def __init__(self, frame: Frame, width: int, height: int, style: DrawingStyle, notes: Sequence[str]) -> None:
        self._width = width
        self._height = height
        self._style = style
        shown: list[tuple[Drawing, Result, Result | None, str]] = []
        noted = chain(notes, repeat(""))
        for result in frame.all_results():
            person = result if result.members else None
            for part in result.parts:
                drawing = resolved(part.drawing)
                own = drawing if isinstance(drawing, Drawing) else Drawing(_draw_skeleton)
                shown.append((own, part, person, next(noted)))
        shown.sort(key=lambda item: item[0].layer)
        self._shown = shown
        masks: list[Float32Array | None] = [getattr(part, "mask", None) for _, part, *_ in shown]
        self._masks = [mask for mask in masks if mask is not None]
        self._errors = [(drawing.errors, part) for drawing, part, *_ in shown if style.errors and drawing.errors]
        self._labels: list[Plate] = []
        with np.errstate(all="ignore"):
            boxes = [drawing.head(result) for drawing, result, *_ in shown if drawing.head]
            if style.labels:
                drawn_labels = [label for item in shown if (label := _label(*item)) is not None]
                self._labels = place_labels(drawn_labels, width, height, boxes)

    def draw(self, canvas: Image) -> None:
        """Draw everything on a canvas (H, W, 3) uint8 in place."""
        with np.errstate(all="ignore"):  # values of unknown points are unknown and not drawn
            if not self._style.is_black:
                instances.draw_cut_out(canvas, self._masks)
            for number, (drawing, result, person, _) in enumerate(self._shown):
                with self._styled((person or result).id or number):
                    drawing.draw(canvas, result, person)
                    if self._style.boxes and not (drawing.has_box and drawing.has_box(result)):
                        instances.draw_box(canvas, result)
            for draw_errors, result in self._errors:
                draw_errors(canvas, result)
            for label in self._labels:  # last, so that no line crosses a label
                label.draw(canvas)

    @contextmanager
    def _styled(self, number: int) -> Generator[None]:
        """Apply the style to what the block draws, with the colour of an instance."""
        style = self._style
        if style.colour == INSTANCE:
            style = replace(
                style,
                colour="#{:02x}{:02x}{:02x}".format(*instances.PERSON_COLOURS[number % len(instances.PERSON_COLOURS)]),
            )
        token = STYLE.set(style)
        yield
        STYLE.reset(token)

    def regions(self, canvas: Image) -> list[Region]:
        """Return regions of a canvas (H, W, 3), in pixels, that contain everything that is drawn and do not touch."""
        is_usual = self._style.thickness == 1 and not self._style.boxes
        if (
            self._masks
            or self._errors
            or not is_usual
            or not all(drawing.is_near_keypoints for drawing, *_ in self._shown)
        ):
            return [Region(0, 0, self._width, self._height)]
        points: dict[int, list[Float32Array]] = {}
        for _, result, person, _ in self._shown:  # the limbs of a person end at its hands
            points.setdefault(id(person or result), []).append(result.keypoints)
        boxes = [Strokes(canvas, np.concatenate(keypoints)).extent for keypoints in points.values()]
        boxes += [label.box for label in self._labels]
        return merge_regions(Region.around(box, self._width, self._height) for box in boxes)
