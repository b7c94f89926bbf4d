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

_WEIGHTS: Final = ("normal", "bold")


def installed_fonts() -> list[str]:
    """Return the installed fonts of a page in order of preference."""
    from matplotlib import font_manager

    installed = set(font_manager.get_font_names())
    return [font for font in (PLAIN, *chain.from_iterable(FONTS.values())) if font in installed]


def font_files(text: str) -> list[tuple[str, str]]:
    """Return the files of the regular and the bold letters of a text, and of a font for letters that they lack.

    A text is in one font where possible, so that its letters have one shape and weight.
    """
    from matplotlib import font_manager

    fonts = [PLAIN, *[font for font in installed_fonts() if font != PLAIN][:1]]
    properties = [[font_manager.FontProperties(family=font, weight=weight) for weight in _WEIGHTS] for font in fonts]
    plain, *further = [(font_manager.findfont(regular), font_manager.findfont(bold)) for regular, bold in properties]
    known = font_manager.get_font(plain[0]).get_charmap()
    is_plain = all(letter.isspace() or ord(letter) in known for letter in text)
    return [plain] if is_plain else [*further, plain]


def require_fonts(path: Path, language: Language) -> None:
    """Check that the letters of a language can be printed.

    Raises:
        InputError: The page is a PDF, and no font has these letters.
    """
    fonts = FONTS.get(language, (PLAIN,))
    if path.suffix.lower() == ".pdf" and not set(fonts) & set(installed_fonts()):
        raise InputError(f"{path}: no font has the letters of {language}. Install {fonts[0]}, or write .html")
