"""What the user names -> inputs, and where the results of each go."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sonjit.errors import InputError
from sonjit.media import (
    IMAGE_ENDINGS,
    VIDEO_ENDINGS,
    natural_key,
    open_source,
)
from sonjit.media.sources.open import FolderSource, is_stream
from sonjit.media.sources.remote import File, RemoteFile, is_remote, remote_files
from sonjit.runs.processor import Outputs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sonjit.media import Source
    from sonjit.runs.processor import Processor


@dataclass(frozen=True)
class Inputs:
    """What the user named.

    Attributes:
        named: as it was named: files, folders, globs, or one stream.
        files: images and videos of several inputs in order; None of one single input.
        labels: what tables over several inputs call each file.
    """

    named: tuple[str, ...]
    files: tuple[File, ...] | None = None
    labels: tuple[str, ...] = ()

    @classmethod
    def find(cls, named: Iterable[str]) -> Inputs:
        """The inputs that paths, folders, globs or a stream such as camera:0, rtsp://... or - stand for.

        Raises:
            InputError: nothing is named or there, or a stream among others.
        """
        named = tuple(named)
        if not named:
            raise InputError("name an INPUT: an image, a folder, a glob, a video, camera:0, rtsp://..., or -")
        if unknown := [one for one in named if one.startswith("--")]:
            raise InputError(f"unknown option {unknown[0]}; --help lists them")
        if len(named) == 1:
            found = None if is_stream(named[0]) else _files_in(named[0])
            if found is None:
                return cls(named)
            in_folder = Path(named[0]).is_dir() or (is_remote(named[0]) and not any(mark in named[0] for mark in "*?["))
            return cls(named, tuple(found), tuple(file.name if in_folder else str(file) for file in found))
        files: dict[File, File] = {}
        for one in named:
            if is_stream(one):
                raise InputError(f"{one} is a stream: give it as the only INPUT")
            found = _files_in(one)
            if found is None and not is_remote(one) and not Path(one).exists():
                raise InputError(f"{one}: no such file or folder")
            for file in found or [RemoteFile(one) if is_remote(one) else Path(one)]:
                files.setdefault(file.resolve() if isinstance(file, Path) else file, file)
        return cls(named, tuple(files.values()), tuple(map(str, files.values())))

    @property
    def name(self) -> str:
        """What a table over all of them calls its source."""
        more = len(self.named) - 1
        return f"{self.named[0]} and {more} more" if more else self.named[0]

    def open_all(self, *, videos: bool) -> Source:
        """What stands for all files: one source of stills, or the first that can be read where videos are among them.

        Args:
            videos: whether they may be; InputError otherwise.
        """
        files = self.files or ()
        video = next((file for file in files if is_video(file)), None)
        if video is None:
            return FolderSource(self.name, files, self.labels)
        if not videos:
            raise InputError(f"{video} is a video and does not go into one table with others: give --save out/ instead")
        source: Source | None = None
        for file in files:
            with suppress(InputError):  # the run will name it
                source = open_source(file)
                break
        if source is None:
            raise InputError(f"{self.name}: none of the {len(files)} files can be read")
        source.name = self.name
        return source

    def open_one(self) -> Source:
        """The single input."""
        return open_source(self.named[0])


def is_video(file: File) -> bool:
    """Whether a file's name says that it is a video."""
    return file.suffix.lower() in VIDEO_ENDINGS


def _files_in(named: str) -> Sequence[File] | None:
    """Images and videos of a folder or glob in natural order; None where it is neither."""
    path, found = Path(named), list[File]()
    if is_remote(named):
        remote = remote_files(named)
        if remote is None:
            return None
        found = [*remote]
    elif path.is_dir():
        found = [file for file in path.iterdir() if file.is_file()]
    elif not path.exists() and any(mark in named for mark in "*?["):
        anchor = Path(path.anchor) if path.is_absolute() else Path()
        found = [file for file in anchor.glob(str(path.relative_to(anchor))) if file.is_file()]
    else:
        return None
    endings = (*IMAGE_ENDINGS, *VIDEO_ENDINGS)
    files = [file for file in found if file.suffix.lower() in endings and file.name[0] != "."]
    if not files:
        raise InputError(f"{named} holds no images or videos: looked for names ending in {', '.join(endings)}")
    return sorted(files, key=lambda file: natural_key(str(file)))


def is_many(output: str) -> bool:
    """Whether an output names one file per input: a folder, or a name with `{name}` in it."""
    return "{name}" in output or output.endswith(("/", "\\")) or Path(output).is_dir() or not Path(output).suffix


def place_outputs(outputs: Outputs, files: Sequence[File], processor: Processor) -> list[Outputs]:
    """Where the results of each of many files go, in folders or by names with `{name}` in them; folders are made."""
    for option, path in (("--draw", outputs.draw), ("--mask", outputs.mask)):
        if path is not None and not is_many(path):
            raise InputError(f"{option} {path}: several inputs go into a folder; name one, without an ending")
    return [
        Outputs(
            _place(outputs.save, name, processor.save_ending),
            _place(outputs.draw, name, _drawn_ending(file)),
            _place(outputs.mask, name, ".webm" if is_video(file) else ".png"),
            _place(outputs.figures, name, processor.figures_ending),
            outputs.json,
        )
        for file, name in zip(files, _names(files), strict=True)
    ]


def _drawn_ending(file: File) -> str:
    if file.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp", ".mp4", ".mov", ".mkv", ".webm"):
        return file.suffix
    return ".mp4" if is_video(file) else ".png"


def _names(files: Sequence[File]) -> list[str]:
    """A name per file for its outputs: without its ending where that is enough to distinguish it from the others."""
    stems, names = Counter(file.stem for file in files), Counter(file.name for file in files)
    ways = [(file.stem, file.name, "_".join(_parts(file))) for file in files]
    return [
        stem if stems[stem] == 1 else name if names[name] == 1 else path  # a glob may match several folders
        for stem, name, path in ways
    ]


def _parts(file: File) -> tuple[str, ...]:
    return file.relative_to(file.anchor).parts if isinstance(file, Path) else file.parts


def _place(output: str | None, name: str, ending: str) -> str | None:
    """Where one file's output goes."""
    if output is None:
        return None
    place = Path(output.replace("{name}", name)) if "{name}" in output else Path(output) / f"{name}{ending}"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{place.parent} cannot be made: {error.strerror}; choose another folder") from None
    return str(place)
