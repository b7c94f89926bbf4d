"""Write the blocks of a document as PDF, laid out on A4 pages by fpdf2."""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Final

from sonjit._util import files, optional_import
from sonjit.media.sources.images import decode_image
from sonjit.report.documents import Block, BulletList, Columns, Heading, Image, Lead, Note, Plot, Table, Text
from sonjit.report.fonts import font_files

if TYPE_CHECKING:
    from fpdf import FPDF

_MARGIN_MM, _WIDTH_MM, _GAP_MM = 16.0, 210 - 2 * 16.0, 5.0
_BODY, _SMALL, _LEAD, _TITLE = 9.0, 7.5, 14.0, 17.0
"""Sizes of letters in points."""
_HEADING: Final = {2: 12.5, 3: 10.0}
"""Sizes of the letters of headings by level, in points."""
_LINE = 0.5  # height of a line in millimetres for each point of its letters
_GREY, _INK, _ACCENT, _RULE = (93, 102, 115), (29, 37, 48), (47, 111, 222), (223, 227, 232)
_HEADING_MM = 20.0  # space of a heading and the captions of the row below it
_TALLEST_MM, _TALLEST_ALONE_MM = 95.0, 70.0  # maximum height of a row of images and plots, and of a single one
_FONT, _FURTHER = "page", "further"  # names of the fonts, the second one for letters that the first one lacks
_SVG_TEXT = re.compile(r">([^<>]+)</t")


def pdf_from(title: str, blocks: Sequence[Block], metadata: Mapping[str, str]) -> bytes:
    """Return a document as PDF. Equal documents are equal files.

    Args:
        title: Title at the top of the first page.
        blocks: Blocks below the title.
        metadata: Texts of the keys `Author`, `Subject` and `Keywords`.
    """
    with optional_import("a PDF", "report"):
        from fpdf import FPDF

    class Page(FPDF):
        def footer(self) -> None:
            self.set_y(-12)
            self.set_font(_FONT, size=_SMALL)
            self.set_text_color(*_GREY)
            self.cell(0, 5, f"{self.page_no()} / {{nb}}", align="R")

    pdf = Page()
    fonts = font_files(" ".join([title, *chain.from_iterable(map(_texts, blocks))]))
    for name, (regular, bold) in zip((_FONT, _FURTHER), fonts, strict=False):
        pdf.add_font(name, "", regular)
        pdf.add_font(name, "B", bold)
    if len(fonts) > 1:
        pdf.set_fallback_fonts([_FURTHER], exact_match=False)
    pdf.set_title(files.xml_text(title))
    pdf.set_author(files.xml_text(metadata.get("Author", "")))
    pdf.set_subject(files.xml_text(metadata.get("Subject", "")))
    pdf.set_keywords(metadata.get("Keywords", ""))
    pdf.set_creation_date(datetime(2000, 1, 1, tzinfo=UTC))
    pdf.set_margin(_MARGIN_MM)
    pdf.set_auto_page_break(True, margin=_MARGIN_MM)
    pdf.add_page()
    _write(pdf, title, _TITLE, bold=True)
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        if isinstance(block, Heading) and block.begins_page:
            pdf.add_page()
        elif isinstance(block, Heading):
            rows = _rows_of(following)
            _keep(pdf, max(_HEADING_MM + (_height_mm(rows[0]) if rows else 0.0), 30))
        _draw(pdf, block)
    return bytes(pdf.output())


def _texts(block: Block) -> list[str]:
    """Return what a block prints."""
    match block:
        case Table(headings, rows):
            return [*headings, *chain.from_iterable(rows)]
        case BulletList(items):
            return [*items]
        case Columns(figures):
            return [text for figure in figures for text in _texts(figure)]
        case Plot(_, svg, alt):
            return [alt, *_SVG_TEXT.findall(svg)]
        case Image(_, alt):
            return [alt]
        case _:
            return [block.text]


def _write(pdf: "FPDF", text: str, size: float, *, bold: bool = False, colour: tuple[int, int, int] = _INK) -> None:
    """Write a paragraph in letters of a size in points."""
    pdf.set_font(_FONT, "B" if bold else "", size)
    pdf.set_text_color(*colour)
    plain = files.xml_text(text.replace("`", ""))
    pdf.multi_cell(0, _LINE * size, plain, align="L", new_x="LMARGIN", new_y="NEXT")


def _draw(pdf: "FPDF", block: Block) -> None:
    match block:
        case Heading(text, level):
            pdf.ln(5 if level == 2 else 3)
            _write(pdf, text, _HEADING[level], bold=True)
            pdf.ln(1)
        case Lead(text):
            _keep(pdf, 60)
            pdf.ln(3)
            top = pdf.get_y()
            pdf.set_left_margin(_MARGIN_MM + 4)
            pdf.set_x(_MARGIN_MM + 4)
            _write(pdf, text, _LEAD, bold=True)
            pdf.set_left_margin(_MARGIN_MM)
            pdf.set_fill_color(*_ACCENT)
            pdf.rect(_MARGIN_MM, top, 1.2, pdf.get_y() - top, style="F")
            pdf.set_x(_MARGIN_MM)
            pdf.ln(2)
        case Text(text, strong):
            _write(pdf, text, _BODY, bold=strong)
            pdf.ln(1)
        case Note(text):
            pdf.ln(1)
            _write(pdf, text, _SMALL, colour=_GREY)
        case BulletList(items):
            for item in items:
                _write(pdf, f"•  {item}", _BODY)
                pdf.ln(0.7)
        case Table():
            _draw_table(pdf, block)
        case Plot() | Image() | Columns():
            for row in _rows_of(block):
                _draw_row(pdf, row)


def _keep(pdf: "FPDF", height_mm: float) -> None:
    """Begin another page if less space is left."""
    if pdf.will_page_break(height_mm):
        pdf.add_page()


def _draw_table(pdf: "FPDF", table: Table) -> None:
    from fpdf.enums import TableBordersLayout
    from fpdf.fonts import FontFace

    rows = [table.headings, *table.rows]
    pdf.set_font(_FONT, size=_BODY - 1)
    widths = [
        max(
            pdf.get_string_width(files.xml_text(word))
            for row in rows
            for word in _words(row[at], at < table.text_columns)
        )
        for at in range(len(table.headings))
    ]
    spare = max(_WIDTH_MM - sum(widths), 0) / len(widths)
    aligns = tuple("LEFT" if at < table.text_columns else "RIGHT" for at in range(len(widths)))
    pdf.set_text_color(*_INK)
    pdf.set_draw_color(*_RULE)
    pdf.set_fill_color(255, 255, 255)
    with pdf.table(
        col_widths=tuple(width + spare for width in widths),
        text_align=aligns,
        borders_layout=TableBordersLayout.HORIZONTAL_LINES,
        headings_style=FontFace(emphasis="", color=_GREY),
        line_height=_LINE * _BODY,
        padding=(0.8, 1.2),
    ) as drawn:
        for row in rows:
            drawn.row([files.xml_text(cell) for cell in row])
    pdf.ln(1)


def _words(cell: str, is_text: bool) -> list[str]:
    """Return the parts of a cell that stay on one line: a number, or a short text."""
    return [cell[:40]] if is_text else cell.split(" ") or [cell]


def _rows_of(block: "Block | None") -> list[tuple[Plot | Image, ...]]:
    """Return the rows of images and plots of a block. A plot next to several images has a row of its own."""
    match block:
        case Plot() | Image():
            return [(block,)]
        case Columns(parts):
            images = tuple(part for part in parts if isinstance(part, Image))
            if len(images) > 1:
                return [images, *((part,) for part in parts if isinstance(part, Plot))]
            return [parts]
        case _:
            return []


def _height_mm(pictures: Sequence[Plot | Image]) -> float:
    """Return the height of a row of images and plots, without captions."""
    ratio = sum(width / height for width, height in map(_size_of, pictures))
    available = _WIDTH_MM - _GAP_MM * (len(pictures) - 1)
    return min(available / ratio, _TALLEST_MM if len(pictures) > 1 else _TALLEST_ALONE_MM)


def _draw_row(pdf: "FPDF", pictures: Sequence[Plot | Image]) -> None:
    """Draw images and plots next to each other, with their captions below."""
    height = _height_mm(pictures)
    widths = [height * across / down for across, down in map(_size_of, pictures)]
    _keep(pdf, height + 8)
    left, top = _MARGIN_MM, pdf.get_y() + 1
    for part, width in zip(pictures, widths, strict=True):
        data = _svg_for_pdf(part.svg) if isinstance(part, Plot) else _image_bytes(part.path)
        pdf.image(io.BytesIO(data), left, top, width, height, alt_text=part.alt)
        if isinstance(part, Image) or part.captioned:
            pdf.set_xy(left, top + height + 0.5)
            pdf.set_font(_FONT, size=_SMALL)
            pdf.set_text_color(*_GREY)
            pdf.cell(width, 4, files.xml_text(part.alt), align="C")
        left += width + _GAP_MM
    pdf.set_xy(_MARGIN_MM, top + height + 6)


def _size_of(part: Plot | Image) -> tuple[float, float]:
    """Return width and height of a plot or an image in any unit."""
    if isinstance(part, Plot):
        view = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', part.svg)
        assert view is not None
        return float(view[1]), float(view[2])
    height, width = decode_image(_image_bytes(part.path), part.alt).shape[:2]
    return width, height


def _image_bytes(address: str) -> bytes:
    """Return the bytes of an image in a `data:` address."""
    return base64.b64decode(address.partition(",")[2])


def _svg_for_pdf(svg: str) -> bytes:
    """Return an SVG whose letters are those of the page."""
    svg = re.sub(r"<metadata>.*?</metadata>|<title>.*?</title>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font-family: [^;\"]*", f"font-family: {_FONT}", svg)
    return re.sub(r'font-family="[^"]*"', f'font-family="{_FONT}"', svg).encode()
