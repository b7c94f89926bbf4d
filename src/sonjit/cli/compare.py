"""`sonjit compare`: results of several evaluations beside each other, one row a method."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sonjit.errors import InputError


def compare(
    *runs: Annotated[str, Parameter(name="RUN")],
    root: str,
    save: str = "compare.png",
    samples: str | None = None,
    columns: int = 5,
) -> int:
    """Draw what several methods say of the same images: a row for each, a column for each image.

    `sonjit compare "one image=runs/handoccnet" runs/deformer --root DexYCB --save compare.png`

    Labels are green, predictions red. The first row is the image alone.

    Args:
        runs: Folders that sonjit eval wrote, by one protocol of one data set, in the order of the rows; LABEL=FOLDER
            names a row, which else has the model's name, and whether it sees one image or a sequence.
        root: Folder of the data set, as for sonjit eval.
        save: Image to write.
        samples: Their names in the data set, with commas; by default those on which the methods differ most.
        columns: How many of these.
    """
    from sonjit.evaluation.comparison import draw_comparison
    from sonjit.files import write_bytes
    from sonjit.media import ANNOTATED_IMAGE_ENDINGS
    from sonjit.media.annotated.writers import encode_image

    ending = Path(save).suffix.lower()
    if ending not in ANNOTATED_IMAGE_ENDINGS:
        raise InputError(f"--save {save}: an image such as compare.png")
    if columns < 1:
        raise InputError(f"--columns {columns}: give at least 1")
    if len(runs) < 2:
        raise InputError("name two folders of sonjit eval or more")
    named = [(label, Path(folder)) if equal else (None, Path(label)) for label, equal, folder in _parted(runs)]
    wanted = None if samples is None else [one.strip() for one in samples.split(",")]
    write_bytes(Path(save), encode_image(draw_comparison(named, Path(root), wanted, columns), ending))
    sys.stderr.write(f"wrote {save}\n")
    return 0


def _parted(runs: tuple[str, ...]) -> list[tuple[str, str, str]]:
    return [one.partition("=") for one in runs]
