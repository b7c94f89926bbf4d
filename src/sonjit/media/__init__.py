"""Read images and video, write annotated files and tables, and draw results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit._util.lazy_names import add_lazy_names

if TYPE_CHECKING:
    from sonjit.media.annotated import (
        ANNOTATED_VIDEO_ENDINGS,
        TRANSPARENT_ENDINGS,
        MaskWriter,
        mask_from_frame,
        open_drawing_writer,
        open_mask_writer,
    )
    from sonjit.media.annotated.writers import ANNOTATED_IMAGE_ENDINGS, BestEffortDrawing, DrawingWriter
    from sonjit.media.drawing import Anonymise, DrawingStyle, draw_frame
    from sonjit.media.found import Results, TrackedFrame, draw, to_dataframe
    from sonjit.media.sources import natural_key, open_source
    from sonjit.media.sources.base import Source, SourceFrame
    from sonjit.media.sources.images import IMAGE_ENDINGS, ImageLike, rgb_from
    from sonjit.media.sources.video import VIDEO_ENDINGS
    from sonjit.media.tables import TABLE_ENDINGS, convert_table, load_frames, open_writer, register_table_format
    from sonjit.media.tables.base import FrameWriter, Header, RowWriter

__all__ = [
    "ANNOTATED_IMAGE_ENDINGS", "ANNOTATED_VIDEO_ENDINGS", "IMAGE_ENDINGS", "TABLE_ENDINGS", "TRANSPARENT_ENDINGS",
    "VIDEO_ENDINGS", "Anonymise", "BestEffortDrawing", "DrawingStyle", "DrawingWriter", "FrameWriter", "Header",
    "ImageLike", "MaskWriter", "Results", "RowWriter", "Source", "SourceFrame", "TrackedFrame", "convert_table",
    "draw", "draw_frame", "load_frames", "mask_from_frame", "natural_key", "open_drawing_writer", "open_mask_writer",
    "open_source", "open_writer", "register_table_format", "rgb_from", "to_dataframe",
]  # fmt: skip

add_lazy_names(globals(), {
    "ANNOTATED_VIDEO_ENDINGS TRANSPARENT_ENDINGS MaskWriter": "sonjit.media.annotated",
    "mask_from_frame open_drawing_writer open_mask_writer": "sonjit.media.annotated",
    "ANNOTATED_IMAGE_ENDINGS BestEffortDrawing DrawingWriter": "sonjit.media.annotated.writers",
    "Anonymise DrawingStyle draw_frame": "sonjit.media.drawing",
    "Results TrackedFrame draw to_dataframe": "sonjit.media.found",
    "natural_key open_source": "sonjit.media.sources",
    "Source SourceFrame": "sonjit.media.sources.base",
    "IMAGE_ENDINGS ImageLike rgb_from": "sonjit.media.sources.images",
    "VIDEO_ENDINGS": "sonjit.media.sources.video",
    "TABLE_ENDINGS convert_table load_frames open_writer register_table_format": "sonjit.media.tables",
    "FrameWriter Header RowWriter": "sonjit.media.tables.base",
})  # fmt: skip
