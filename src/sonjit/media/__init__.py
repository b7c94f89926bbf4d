"""Frames in (image, folder, video, camera), frames and tables out, drawing."""

from sonjit.media.frame_writer import FrameWriter, Header
from sonjit.media.image_files import IMAGE_ENDINGS
from sonjit.media.images import ImageLike, rgb_from
from sonjit.media.source import Source, SourceFrame
from sonjit.media.sources import open_source
from sonjit.media.tables import TABLE_ENDINGS, load_frames, open_writer

__all__ = [
    "IMAGE_ENDINGS",
    "TABLE_ENDINGS",
    "FrameWriter",
    "Header",
    "ImageLike",
    "Source",
    "SourceFrame",
    "load_frames",
    "open_source",
    "open_writer",
    "rgb_from",
]
