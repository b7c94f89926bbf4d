"""Names of the gestures that come with Sonjit."""

from typing import Final

SHIPPED: Final = ("asl",)
"""Manual alphabets."""

CANNED: Final = "canned"
"""Name of the shipped gestures for `find_gestures`."""
