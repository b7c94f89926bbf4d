"""Frames in (image, folder, video, camera), frames and tables out, drawing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit.lazy_names import add_lazy_names

if TYPE_CHECKING:
    from sonjit.media.annotated.output import (
        ANNOTATED_VIDEO_ENDINGS,
        TRANSPARENT_ENDINGS,
        MaskWriter,
        mask_from_frame,
        open_drawing_writer,
        open_mask_writer,
    )
    from sonjit.media.annotated.writers import ANNOTATED_IMAGE_ENDINGS, DrawingBeside, DrawingWriter
    from sonjit.media.drawing import draw_frame
    from sonjit.media.found import Results, TrackedFrame, draw
    from sonjit.media.sources.base import Source, SourceFrame
    from sonjit.media.sources.image_files import IMAGE_ENDINGS, ImageLike, rgb_from
    from sonjit.media.sources.open import natural_key, open_source
    from sonjit.media.sources.video import VIDEO_ENDINGS
    from sonjit.media.tables.base import FrameWriter, Header, RowWriter
    from sonjit.media.tables.data_frames import to_dataframe
    from sonjit.media.tables.tables import TABLE_ENDINGS, convert_table, load_frames, open_writer, register_table_format

__all__ = [
    "ANNOTATED_IMAGE_ENDINGS",
    "ANNOTATED_VIDEO_ENDINGS",
    "IMAGE_ENDINGS",
    "TABLE_ENDINGS",
    "TRANSPARENT_ENDINGS",
    "VIDEO_ENDINGS",
    "DrawingBeside",
    "DrawingWriter",
    "FrameWriter",
    "Header",
    "ImageLike",
    "MaskWriter",
    "Results",
    "RowWriter",
    "Source",
    "SourceFrame",
    "TrackedFrame",
    "convert_table",
    "draw",
    "draw_frame",
    "load_frames",
    "mask_from_frame",
    "natural_key",
    "open_drawing_writer",
    "open_mask_writer",
    "open_source",
    "open_writer",
    "register_table_format",
    "rgb_from",
    "to_dataframe",
]

add_lazy_names(
    globals(),
    {
        ".annotated.output": "ANNOTATED_VIDEO_ENDINGS TRANSPARENT_ENDINGS MaskWriter mask_from_frame "
        "open_drawing_writer open_mask_writer",
        ".annotated.writers": "ANNOTATED_IMAGE_ENDINGS DrawingBeside DrawingWriter",
        ".drawing": "draw_frame",
        ".found": "Results TrackedFrame draw",
        ".sources.base": "Source SourceFrame",
        ".sources.image_files": "IMAGE_ENDINGS ImageLike rgb_from",
        ".sources.open": "natural_key open_source",
        ".sources.video": "VIDEO_ENDINGS",
        ".tables.base": "FrameWriter Header RowWriter",
        ".tables.data_frames": "to_dataframe",
        ".tables.tables": "TABLE_ENDINGS convert_table load_frames open_writer register_table_format",
    },
)
