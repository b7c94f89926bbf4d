"""A table format of an extension. It needs only this file."""

from pathlib import Path

from sonjit.media import Download, FrameWriter, Header, RowWriter, TableFormat, register_table_format
from sonjit.results import Frame


class CountWriter(FrameWriter):
    """Writer of a line with frame number and instance count for each frame. Frames are read back empty."""

    def __init__(self, path: Path, header: Header, types, _) -> None:
        super().__init__()
        self._path, self._lines = path, [header.kind]

    def write(self, frame, extras=None):
        self._lines.append(f"{frame.index} {len(list(frame.instances()))}")

    def _finish(self):
        self._path.write_text("\n".join(self._lines) + "\n", "utf-8")

    def _abort(self): ...


def load_counts(path):
    kind, *lines = path.read_text("utf-8").splitlines()
    return Header(kind=kind), [Frame(int(line.split()[0]), None) for line in lines]


class CountRows(RowWriter):
    """Writer of the number of rows, and their columns."""

    def __init__(self, path: Path, header, columns) -> None:
        super().__init__()
        self._path, self._columns, self._count = path, columns, 0

    def write(self, rows):
        self._count += len(list(rows))

    def _finish(self):
        self._path.write_text(f"{self._count} {' '.join(self._columns)}\n", "utf-8")

    def _abort(self): ...


TEXTS = {"en": ("Counts", "The number of instances of each frame"), "ko": ("개수", "프레임마다 찾은 수")}
register_table_format(
    ".count",
    TableFormat(
        CountWriter,
        load_counts,
        CountRows,
        summary="numbers of instances",
        downloads=(Download(TEXTS),),
        in_threads=False,
    ),
)
