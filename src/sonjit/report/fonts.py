"""Fonts of the letters of a report."""

from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Final

from sonjit._util import InputError
from sonjit.report.texts import Language

PLAIN: Final = "DejaVu Sans"
"""Font of Latin, Greek and Cyrillic letters, which Matplotlib contains."""
FONTS: Final[Mapping[Language, tuple[str, ...]]] = {
    "ko": ("Noto Sans CJK KR", "Noto Sans CJK JP", "NanumGothic", "Malgun Gothic", "Apple SD Gothic Neo", "AppleGothic")
}
"""Fonts of each language whose letters `PLAIN` lacks, in order of preference."""


def installed_fonts() -> list[str]:
    """Return the installed fonts of a page in order of preference."""
    from matplotlib import font_manager

    installed = set(font_manager.get_font_names())
    return [font for font in (PLAIN, *chain.from_iterable(FONTS.values())) if font in installed]


def font_files() -> tuple[str, str, str | None]:
    """Return the files of the regular and the bold letters of a PDF, and of an installed font with further letters."""
    from matplotlib import font_manager

    fonts = [font_manager.FontProperties(family=PLAIN, weight=weight) for weight in ("normal", "bold")]
    regular, bold = map(font_manager.findfont, fonts)
    further = [font for font in installed_fonts() if font != PLAIN]
    return regular, bold, font_manager.findfont(further[0]) if further else None


def is_plain(text: str) -> bool:
    """Return True if `PLAIN` has all letters of a text."""
    from matplotlib import font_manager

    known = font_manager.get_font(font_files()[0]).get_charmap()
    return all(letter.isspace() or ord(letter) in known for letter in text)


def require_fonts(path: Path, language: Language) -> None:
    """Check that the letters of a language can be printed.

    Raises:
        InputError: The page is a PDF, and no font has these letters.
    """
    fonts = FONTS.get(language, (PLAIN,))
    if path.suffix.lower() == ".pdf" and not set(fonts) & set(installed_fonts()):
        raise InputError(f"{path}: no font has the letters of {language}. Install {fonts[0]}, or write .html")
