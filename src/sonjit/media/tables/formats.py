"""What Sonjit knows about a table format: a record at the end of the module that writes the format."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from sonjit._util.extensions import resolved
from sonjit._util.files import Leaves
from sonjit.media.tables import base
from sonjit.results import Frame

Opener: TypeAlias = "Callable[[Path, base.Header, base.ExtraTypes], base.FrameWriter]"
Loader: TypeAlias = "Callable[[Path], tuple[base.Header, list[Frame]]]"
RowOpener: TypeAlias = "Callable[[Path, Mapping[str, object] | None, base.ColumnTypes], base.RowWriter]"
OpenFrames: TypeAlias = "tuple[base.Header, Iterator[tuple[Frame, base.Extras | None]]]"
Group: TypeAlias = Literal["tables", "characters", "labels", "others"]
GROUPS: Final[Mapping[Group, str]] = {
    "tables": "Table to write",
    "characters": "a character that follows a body or a person",
    "labels": "labels for annotators",
    "others": "",  # each has its own text
}
"""Groups of formats in help texts, and what their files are."""


@dataclass(frozen=True)
class Download:
    """A file of a format that jobs of the server offer.

    Attributes:
        texts: Name and description in each language of the pages, by its code.
        prefix: What comes before the ending in its name, such as `wide` in `wide.csv`.
        rows: What a row describes. None for the default of the format.
        of: Jobs that offer it: all, those of one detector, of a video, or of a video with bodies.
    """

    texts: Mapping[str, tuple[str, str]]
    prefix: str = ""
    rows: base.TableRows | None = None
    of: Literal["all", "one detector", "videos", "bodies"] = "all"


@dataclass(frozen=True)
class TableFormat:
    """Format of tables with one file name ending, which is its name in `FORMATS`.

    A function may be an import string such as `"package.module:function"`. The module of a record must not import a
    library of an extra, because every command reads the records.
    """

    # Function that opens a writer for a path, a header, the types of further columns, and what a row describes or how a
    # character is written
    open: Callable[[Path, base.Header, base.ExtraTypes, Any], base.FrameWriter] | str
    # Function that reads the header and the frames of a file. None if the format cannot be read back.
    load: Loader | str | None = None
    # Function that opens a table of rows that are not frames. None if the format supports only frames.
    open_rows: RowOpener | str | None = None
    # Function that opens a table to read its frames one by one, with the further values of their instances. None if the
    # files do not contain further values.
    open_frames: Callable[[Path], AbstractContextManager[OpenFrames]] | None = None
    summary: str = ""  # what it is for, after its ending in help texts
    group: Group = "tables"
    noun: str = ""  # noun for the files in messages, plural
    rows: base.TableRows | None = None  # what a row describes by default. None if there is no choice.
    # What one file can describe: files of all sorts, photographs or one video, or one video or photograph
    sources: Literal["many", "photographs", "one"] = "many"
    has_bones: bool = False  # the file is a character with named bones
    people: Literal["one file", "files", "files onto a model"] = "one file"  # where the people of a recording are
    in_degrees: bool = False  # angles are in degrees by default, not in radians
    separates_events: bool = False  # motions and events go into tables of their own
    has_size: bool = True  # False if the files do not contain the size of the images, nor another header
    needs_size: bool = False  # the size of the images must be known
    has_fixed_rate: bool = False  # the rows have a constant step, see `sonjit.geometry.steps.fixed_rows`
    has_summary: bool = False  # it can begin with a `Summary`, which exists in each language of reports
    extra: str = ""  # extra that it needs
    media_type: str = ""  # MIME type of downloads; "" if the server guesses it from the ending
    downloads: tuple[Download, ...] = ()
    in_threads: bool = True  # False if the files of several inputs are written one after the other

    @property
    def has_events(self) -> bool:
        """Whether events have a place, in the frames, in a sheet or in a table of their own."""
        return self.load is not None or self.rows is not None

    @property
    def leaves(self) -> Leaves:
        """What a run that is killed, or whose disk is full, leaves of a file."""
        return getattr(resolved(self.open), "leaves", "nothing")
