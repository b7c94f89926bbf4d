"""Frames in (image, folder, video, camera), frames and tables out, drawing."""

from sonjit.media.drawing import draw_frame, draw_hands
from sonjit.media.drawn import DRAWN_VIDEO_ENDINGS, PICTURE_ENDINGS, DrawingWriter, open_drawing_writer
from sonjit.media.frame_writer import FrameWriter, Header
from sonjit.media.image_files import IMAGE_ENDINGS
from sonjit.media.images import ImageLike, rgb_from
from sonjit.media.masks import TRANSPARENT_ENDINGS, MaskWriter, mask_from_frame, open_mask_writer
from sonjit.media.source import Source, SourceFrame
from sonjit.media.sources import open_source
from sonjit.media.stills import natural_key
from sonjit.media.tables import TABLE_ENDINGS, convert_table, load_frames, open_writer
from sonjit.media.video import VIDEO_ENDINGS

__all__ = [
    "DRAWN_VIDEO_ENDINGS",
    "IMAGE_ENDINGS",
    "PICTURE_ENDINGS",
    "TABLE_ENDINGS",
    "TRANSPARENT_ENDINGS",
    "VIDEO_ENDINGS",
    "DrawingWriter",
    "FrameWriter",
    "Header",
    "ImageLike",
    "MaskWriter",
    "Source",
    "SourceFrame",
    "convert_table",
    "draw_frame",
    "draw_hands",
    "load_frames",
    "mask_from_frame",
    "natural_key",
    "open_drawing_writer",
    "open_mask_writer",
    "open_source",
    "open_writer",
    "rgb_from",
]
