"""Documents: blocks of a report or a card, rendered as Markdown and as one HTML page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, TypeAlias

from sonjit._util.files import write_bytes

Block: TypeAlias = "Heading | Text | BulletList | Table | Plot | Image"

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.25; } h2 { margin-top: 2.2rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; } tr:nth-child(even) td { background: var(--soft); }
svg, img { max-width: 100%; height: auto; } figure { display: inline-block; margin: 0 .8rem .8rem 0; max-width: 19rem; }
figcaption { font-size: .85rem; opacity: .8; }
"""


@dataclass(frozen=True)
class Heading:
    """Heading below the title."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """Paragraph; `strong` marks a warning."""

    text: str
    strong: bool = False


@dataclass(frozen=True)
class BulletList:
    """Bullet list."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Rows of text. Markdown aligns the columns after the first `text_columns` to the right."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: int = 1


@dataclass(frozen=True)
class Plot:
    """SVG drawing.

    Attributes:
        name: File name for Markdown.
        svg: SVG text for the page.
        alt: Alternative text.
        captioned: True if the page shows it in a row of small figures with `alt` as caption.
    """

    name: str
    svg: str
    alt: str
    captioned: bool = False


@dataclass(frozen=True)
class Image:
    """Image file next to the document."""

    path: str
    alt: str


def number(value: Any, digits: int = 2) -> str:  # noqa: ANN401  # a number or None
    """Return a number as text, or a dash for None and NaN.

    >>> number(3.14159), number(None), number(float("nan"))
    ('3.14', '–', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.{digits}f}"


def markdown_from(title: str, blocks: Sequence[Block], front: str = "") -> str:
    """Return the document as Markdown. Plots are separate files."""
    parts = [front, f"# {title}", *(_markdown(block) for block in blocks)]
    return "\n\n".join(part for part in parts if part) + "\n"


def markdown_table(table: Table) -> str:
    """Return a table as Markdown."""
    return _markdown(table)


def html_from(title: str, blocks: Sequence[Block]) -> str:
    """Return the document as an HTML page that needs no files except its images."""
    body = "\n".join(_html(block) for block in blocks)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def save_files(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Write files into an existing folder, each atomically.

    Raises:
        InputError: The folder cannot be written to.
        JobError: The disk refuses a file.
    """
    for name, content in files.items():
        write_bytes(folder / name, content if isinstance(content, bytes) else content.encode())


def plots_of(blocks: Sequence[Block]) -> dict[str, str]:
    """Return the plot files of a document by name."""
    return {f"{block.name}.svg": block.svg for block in blocks if isinstance(block, Plot)}


def _markdown(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {text}"
        case Text(text, strong):
            return f"**{text}**" if strong else text
        case BulletList(items):
            return "\n".join(f"* {item}" for item in items)
        case Table(headings, rows, text_columns):
            lines = [headings, tuple("---" if at < text_columns else "---:" for at in range(len(headings))), *rows]
            return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
        case Plot(name, _, alt, _):
            return f"![{alt}]({name}.svg)"
        case Image(path, alt):
            return f"![{alt}]({path})"


def _html(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{escape(text)}</h{level}>"
        case Text(text, strong):
            return f"<p><strong>{escape(text)}</strong></p>" if strong else f"<p>{escape(text)}</p>"
        case BulletList(items):
            return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"
        case Table(headings, rows, _):
            head = "".join(f"<th>{escape(cell)}</th>" for cell in headings)
            body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
            return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        case Plot(_, svg, alt, captioned):
            caption = f"<figcaption>{escape(alt)}</figcaption>"
            return f"<figure>{svg}{caption}</figure>" if captioned else f'<div class="wide">{svg}</div>'
        case Image(path, alt):
            return (
                f'<figure><img src="{escape(path)}" alt="{escape(alt)}" loading="lazy">'
                f"<figcaption>{escape(alt)}</figcaption></figure>"
            )
