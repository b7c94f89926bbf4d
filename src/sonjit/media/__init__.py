"""Read images and video, write annotated files and tables, and draw results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit._util.lazy_names import add_lazy_names

if TYPE_CHECKING:
    from sonjit.media.annotated import ANNOTATED_VIDEO_ENDINGS as ANNOTATED_VIDEO_ENDINGS
    from sonjit.media.annotated import TRANSPARENT_ENDINGS as TRANSPARENT_ENDINGS
    from sonjit.media.annotated import MaskWriter as MaskWriter
    from sonjit.media.annotated import mask_from_frame as mask_from_frame
    from sonjit.media.annotated import open_drawing_writer as open_drawing_writer
    from sonjit.media.annotated import open_mask_writer as open_mask_writer
    from sonjit.media.annotated.writers import ANNOTATED_IMAGE_ENDINGS as ANNOTATED_IMAGE_ENDINGS
    from sonjit.media.annotated.writers import BestEffortDrawing as BestEffortDrawing
    from sonjit.media.annotated.writers import DrawingWriter as DrawingWriter
    from sonjit.media.drawing import draw_frame as draw_frame
    from sonjit.media.found import Results as Results
    from sonjit.media.found import TrackedFrame as TrackedFrame
    from sonjit.media.found import draw as draw
    from sonjit.media.found import to_dataframe as to_dataframe
    from sonjit.media.sources import natural_key as natural_key
    from sonjit.media.sources import open_source as open_source
    from sonjit.media.sources.base import Source as Source
    from sonjit.media.sources.base import SourceFrame as SourceFrame
    from sonjit.media.sources.images import IMAGE_ENDINGS as IMAGE_ENDINGS
    from sonjit.media.sources.images import ImageLike as ImageLike
    from sonjit.media.sources.images import rgb_from as rgb_from
    from sonjit.media.sources.video import VIDEO_ENDINGS as VIDEO_ENDINGS
    from sonjit.media.tables import TABLE_ENDINGS as TABLE_ENDINGS
    from sonjit.media.tables import convert_table as convert_table
    from sonjit.media.tables import load_frames as load_frames
    from sonjit.media.tables import open_writer as open_writer
    from sonjit.media.tables import register_table_format as register_table_format
    from sonjit.media.tables.base import FrameWriter as FrameWriter
    from sonjit.media.tables.base import Header as Header
    from sonjit.media.tables.base import RowWriter as RowWriter

add_lazy_names(
    globals(),
    {
        **dict.fromkeys(
            (
                "ANNOTATED_VIDEO_ENDINGS",
                "TRANSPARENT_ENDINGS",
                "MaskWriter",
                "mask_from_frame",
                "open_drawing_writer",
                "open_mask_writer",
            ),
            "sonjit.media.annotated",
        ),
        **dict.fromkeys(
            ("ANNOTATED_IMAGE_ENDINGS", "BestEffortDrawing", "DrawingWriter"), "sonjit.media.annotated.writers"
        ),
        "draw_frame": "sonjit.media.drawing",
        **dict.fromkeys(("Results", "TrackedFrame", "draw", "to_dataframe"), "sonjit.media.found"),
        **dict.fromkeys(("natural_key", "open_source"), "sonjit.media.sources"),
        **dict.fromkeys(("Source", "SourceFrame"), "sonjit.media.sources.base"),
        **dict.fromkeys(("IMAGE_ENDINGS", "ImageLike", "rgb_from"), "sonjit.media.sources.images"),
        "VIDEO_ENDINGS": "sonjit.media.sources.video",
        **dict.fromkeys(
            ("TABLE_ENDINGS", "convert_table", "load_frames", "open_writer", "register_table_format"),
            "sonjit.media.tables",
        ),
        **dict.fromkeys(("FrameWriter", "Header", "RowWriter"), "sonjit.media.tables.base"),
    },
)
