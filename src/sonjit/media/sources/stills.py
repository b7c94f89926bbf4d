"""Single images and folders of images as sources."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sonjit.errors import InputError
from sonjit.media.sources.base import Source, SourceFrame
from sonjit.media.sources.image_files import load_image

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


def natural_key(text: str) -> list[tuple[int, str]]:
    """Sort key under which numbers in names count as numbers.

    >>> sorted(["f10.png", "f9.png", "F1.png"], key=natural_key)
    ['F1.png', 'f9.png', 'f10.png']
    """
    parts = re.split(r"([0-9]+)", text)
    return [(int(part), "") if part.isdecimal() else (-1, part.casefold()) for part in parts if part]


class ImageSource(Source):
    """One image, decoded when it is opened."""

    kind = "image"

    def __init__(self, name: str, rgb: NDArray[np.uint8], path: Path | None = None) -> None:
        super().__init__(name)
        self.height, self.width = rgb.shape[:2]
        self.count = 1
        self.files = [path] if path is not None else []
        self._rgb = rgb

    def _frames(self) -> Generator[SourceFrame]:
        yield SourceFrame(0, None, self._rgb)


class FolderSource(Source):
    """Image files in the order given; one that cannot be read is skipped and named in `problems`.

    The first readable image is decoded when the source is opened; InputError where there is none.

    Args:
        name: the folder or glob.
        files: the image files, at least one.
        labels: what tables call each file.
    """

    kind = "folder"

    def __init__(self, name: str, files: Sequence[Path], labels: Sequence[str]) -> None:
        super().__init__(name)
        self.files = list(files)
        self.count = len(self.files)
        self._labels = list(labels)
        reasons: list[str] = []
        for path in self.files:
            try:
                self.height, self.width = load_image(path).shape[:2]
                break
            except InputError as error:
                reasons.append(str(error))
        else:
            raise InputError(f"{name}: none of its {len(self.files)} images can be read; first: {reasons[0]}")

    def frame_source(self, index: int) -> str | None:
        """The file of one image: its name within the folder, or its path as the glob matched it."""
        return self._labels[index]

    def _frames(self) -> Generator[SourceFrame]:
        for index, path in enumerate(self.files):
            try:
                rgb = load_image(path)
            except InputError as error:
                self.problems.append(str(error))
                continue
            yield SourceFrame(index, None, rgb)
