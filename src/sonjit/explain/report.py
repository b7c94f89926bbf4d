"""Tables of errors, the published ones beside one's own: method, kind of supervision, errors in percent."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from typing import Literal

from sonjit.documents.document import Table, markdown_table

Supervision = Literal["weak", "full"]
"""Weak: trained on classes alone, as class activation maps and backprop both are; full: on boxes too."""


@dataclass(frozen=True)
class ErrorRow:
    """One method.

    Attributes:
        method: its name.
        supervision: what it was trained on.
        errors: in percent, one per column.
    """

    method: str
    supervision: Supervision
    errors: tuple[float, ...]


@dataclass(frozen=True)
class ErrorTable:
    """Errors of several methods on the same images.

    Attributes:
        title: what was measured, on what.
        columns: such as "top-1".
        rows: in the order of the source.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[ErrorRow, ...]

    def markdown(self) -> str:
        """The table as Markdown, without its title.

        >>> print(ErrorTable("", ("top-1",), (ErrorRow("GAP", "weak", (12.34,)),)).markdown())
        | method | supervision | top-1 % |
        | --- | --- | ---: |
        | GAP | weak | 12.34 |
        """
        headings = ("method", "supervision", *(f"{name} %" for name in self.columns))
        rows = tuple((row.method, row.supervision, *map(_percent, row.errors)) for row in self.rows)
        return markdown_table(Table(headings, rows, text_columns=2))


def load_published_errors() -> list[ErrorTable]:
    """Tables 1 to 3 of Zhou et al. 2016 on ILSVRC, whose images are not needed for this."""
    text = resources.files("sonjit.explain").joinpath("published.json").read_text("utf-8")
    return [
        ErrorTable(
            table["title"],
            tuple(table["columns"]),
            tuple(ErrorRow(method, supervision, tuple(errors)) for method, supervision, *errors in table["rows"]),
        )
        for table in json.loads(text)["tables"]
    ]


def _percent(error: float) -> str:
    return f"{error:.2f}".rstrip("0").rstrip(".")
