"""Texts of a report in English and in other languages. The English text is the key of each translation."""

import json
from functools import cache
from pathlib import Path
from typing import Final, Literal, TypeAlias

Language: TypeAlias = Literal["en", "ko"]

FOLDER: Final = Path(__file__).parent
"""Folder of the translations, a JSON file for each language but English."""


def translated(language: Language, text: str, **values: object) -> str:
    """Return a text in a language, with values in its braces.

    >>> translated("en", "Person {number}", number=2)
    'Person 2'

    Raises:
        KeyError: The language lacks the text.
    """
    return (text if language == "en" else translations(language)[text]).format(**values)


@cache
def translations(language: Language) -> dict[str, str]:
    """Return the texts of a language by English text."""
    return json.loads((FOLDER / f"{language}.json").read_text("utf-8"))
