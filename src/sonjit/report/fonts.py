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


def font_files() -> tuple[str, str, str | None]:
    """Return the files of the regular and the bold letters of a PDF, and of Korean letters if they are installed."""
    from matplotlib import font_manager

    fonts = [font_manager.FontProperties(family=FONTS[0], weight=weight) for weight in ("normal", "bold")]
    regular, bold = map(font_manager.findfont, fonts)
    korean = [font for font in installed_fonts() if font in FONTS[1:]]
    return regular, bold, font_manager.findfont(korean[0]) if korean else None


def require_fonts(path: Path, language: Language) -> None:
    """Check that the letters of a language can be printed.

    Raises:
        InputError: The page is a PDF, and no font has these letters.
    """
    if language != "en" and path.suffix.lower() == ".pdf" and not set(FONTS[1:]) & set(installed_fonts()):
        raise InputError(f"{path}: no font with Korean letters is installed. Install Noto Sans CJK, or write .html")
