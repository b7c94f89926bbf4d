"""One input and what becomes of it: every image explained, a drawing and a JSON file."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from sonjit.errors import InputError
from sonjit.files import Draft, Output, failing_as_job
from sonjit.json_text import json_from
from sonjit.media import open_drawing_writer, open_source

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from sonjit.media import Source


class Explained(NamedTuple):
    """What is said of one image.

    Attributes:
        record: for the JSON file, such as `{"hands": [...]}`.
        lines: in words, one line for each thing that was explained.
        drawn: (H, W', 3) uint8, a panel per target side by side; None where no drawing was asked for.
    """

    record: dict[str, Any]
    lines: list[str]
    drawn: NDArray[np.uint8] | None


class Explains(Protocol):
    """Explains images, one after the other."""

    @property
    def model(self) -> str:
        """Name for the JSON file."""
        ...

    def __call__(self, rgb: NDArray[np.uint8], time: float | None, *, draw: bool) -> Explained:
        """Explain an image (H, W, 3); `time` in seconds, None for a still."""
        ...


@dataclass
class ExplainSummary:
    """What came of an input.

    Attributes:
        frames: images looked at.
        explained: hands or classes, over all of them.
        lines: of the last image.
        problems: what could not be read, one line each.
    """

    frames: int = 0
    explained: int = 0
    lines: list[str] = field(default_factory=list[str])
    problems: list[str] = field(default_factory=list[str])


def explain_source(
    named: str,
    make: Callable[[Source], Explains],
    *,
    save: str | None = None,
    draw: str | None = None,
    limit: int | None = None,
    opened: Callable[[int | None], None] = lambda _: None,
    advance: Callable[[], None] = lambda: None,
) -> ExplainSummary:
    """Explain every image of an input. Ctrl-C keeps what was finished.

    Args:
        named: what `open_source` takes.
        make: makes what explains; stills and streams may want different ones.
        save: JSON file to write, or None.
        draw: image, folder or video to write, or None.
        limit: stop after so many images.
        opened: called with the expected number of images, or None, once the input is open.
        advance: called after each image.
    """
    summary = ExplainSummary()
    with open_source(named) as source, ExitStack() as outputs:
        explain = make(source)
        table = None if save is None else outputs.enter_context(_JsonFile(Path(save), source, explain.model))
        drawing = None if draw is None else outputs.enter_context(open_drawing_writer(draw, source))
        opened(source.count if limit is None else min(source.count or limit, limit))
        for index, time, rgb in source:
            said = explain(rgb, time, draw=drawing is not None)
            if table is not None:
                name = source.frame_source(index)
                table.write({"index": index, "time": time} | ({"source": name} if name else {}) | said.record)
            if drawing is not None and said.drawn is not None:
                drawing.write(said.drawn, time, index=index)
            summary.frames += 1
            summary.explained += len(said.lines)
            summary.lines = said.lines
            advance()
            if limit is not None and summary.frames >= limit:
                break
        summary.problems = list(source.problems)
    return summary


class _JsonFile(Output):
    """A header and a list of frames, written one by one."""

    def __init__(self, path: Path, source: Source, model: str) -> None:
        super().__init__()
        if path.suffix.lower() != ".json":
            raise InputError(f"{path}: explanations are saved as .json")
        self._draft = Draft(path)
        self._file = self._draft.path.open("w", encoding="utf-8")
        header = {
            "source": source.name, "width": source.width, "height": source.height, "fps": source.fps, "model": model,
        }  # fmt: skip
        self._before = json_from(header)[:-1] + ',"frames":[\n'

    def write(self, frame: dict[str, Any]) -> None:
        """Append one frame."""
        with failing_as_job(self._draft.final):
            self._file.write(self._before + json_from(frame))
        self._before = ",\n"

    def _finish(self) -> None:
        with failing_as_job(self._draft.final):
            self._file.write((self._before if self._before != ",\n" else "") + "\n]}\n")
            self._file.close()
        self._draft.keep()

    def _abort(self) -> None:
        self._file.close()
        self._draft.drop()
