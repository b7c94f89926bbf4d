"""Names of the gestures that come with Sonjit."""

from typing import Final

SHIPPED: Final = ("asl",)
"""Manual alphabets."""

CANNED: Final = "canned"
"""What `find_gestures` takes for the shipped gestures."""
