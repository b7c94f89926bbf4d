"""`sonjit compare`: results of several evaluations next to each other, one row per method."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sonjit._util.errors import InputError
from sonjit._util.files import write_bytes
from sonjit.lab.evaluation.comparison import draw_comparison
from sonjit.media import ANNOTATED_IMAGE_ENDINGS
from sonjit.media.encode import encode_image


def compare(
    *runs: Annotated[str, Parameter(name="RUN")],
    root: str,
    save: str = "compare.png",
    samples: str | None = None,
    columns: int = 5,
) -> int:
    """Draw the results of several evaluations next to each other.

    The picture has a row for each method and a column for each image.

    `sonjit compare "one image=runs/handoccnet" runs/deformer --root DexYCB --save compare.png`

    Labels are green, and predictions are red. The first row shows the images only.

    Args:
        runs: Folders of sonjit eval in the order of the rows, from one protocol and data set. LABEL=FOLDER names a row.
            Default: the model's name, and if it uses one image or a sequence.
        root: Folder of the data set, as for sonjit eval.
        save: Image to write.
        samples: Names of samples, separated by commas. Default: those with the largest differences.
        columns: Number of samples.
    """
    ending = Path(save).suffix.lower()
    if ending not in ANNOTATED_IMAGE_ENDINGS:
        raise InputError(f"--save {save}: an image such as compare.png")
    if columns < 1:
        raise InputError(f"--columns {columns}: give at least 1")
    if len(runs) < 2:
        raise InputError("sonjit compare requires at least two folders of sonjit eval")
    named = [
        (label, Path(folder)) if equal else (None, Path(label))
        for label, equal, folder in (run.partition("=") for run in runs)
    ]
    wanted = None if samples is None else [name.strip() for name in samples.split(",")]
    write_bytes(Path(save), encode_image(draw_comparison(named, Path(root), wanted, columns), ending))
    sys.stderr.write(f"wrote {save}\n")
    return 0
