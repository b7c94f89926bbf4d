"""Find everybody whom a page hides in the images that it shows."""

import math
from typing import Literal, TypeAlias

from sonjit._util import Image, SonjitError, json_from
from sonjit.engines import shared_networks
from sonjit.media import SourceFrame
from sonjit.runs.hiding import Anonymiser
from sonjit.server.errors import RefusedError

Hiding: TypeAlias = Literal["blur", "persons"]


class ClientHiding:
    """Search the images of one client for people to hide.

    Attributes:
        how: Whether faces or also people are hidden.
    """

    def __init__(self, how: Hiding) -> None:
        """Load the networks. Raise RefusedError `missing_weights` without them."""
        self.how: Hiding = how
        try:
            with shared_networks():
                self._people = Anonymiser(how)
        except SonjitError as error:
            raise RefusedError("missing_weights", str(error)) from None

    def reset(self) -> None:
        """Forget the images before."""
        self._people.reset()

    def answer(self, rgb: Image, time_s: float, *, is_still: bool) -> str:
        """Return the boxes to cover in an image (H, W, 3) as a member of a JSON object: `"covered":{...}`."""
        time = None if is_still or not math.isfinite(time_s) else time_s
        boxes = self._people.boxes(SourceFrame(0, time, rgb))
        shown = {"faces": boxes.faces, "again": boxes.again}
        if self.how == "persons":
            shown["people"] = boxes.people
        rounded = {name: [[round(value, 1) for value in box] for box in shown[name]] for name in shown}
        return f'"covered":{json_from(rounded)}'
