"""Frames in (image, folder, video, camera), frames and tables out, drawing."""

from sonjit.media.image_files import IMAGE_ENDINGS
from sonjit.media.images import ImageLike, rgb_from
from sonjit.media.source import Source, SourceFrame
from sonjit.media.sources import open_source

__all__ = ["IMAGE_ENDINGS", "ImageLike", "Source", "SourceFrame", "open_source", "rgb_from"]
