"""Fonts of the letters of a report."""

from pathlib import Path
from typing import Final

from sonjit._util import InputError
from sonjit.report.texts import Language

FONTS: Final = (
    "DejaVu Sans",
    *("Noto Sans CJK KR", "Noto Sans CJK JP", "NanumGothic", "Malgun Gothic", "Apple SD Gothic Neo", "AppleGothic"),
)
"""Fonts of a PDF in order of preference. The later ones have Korean, Chinese and Japanese letters."""


def installed_fonts() -> list[str]:
    """Return the installed fonts of a page in order of preference."""
    from matplotlib import font_manager

    installed = set(font_manager.get_font_names())
    return [font for font in FONTS if font in installed]


def require_fonts(path: Path, language: Language) -> None:
    """Check that the letters of a language can be printed.

    Raises:
        InputError: The page is a PDF, and no font has these letters.
    """
    if language != "en" and path.suffix.lower() == ".pdf" and not set(FONTS[1:]) & set(installed_fonts()):
        raise InputError(f"{path}: no font with Korean letters is installed. Install Noto Sans CJK, or write .html")
