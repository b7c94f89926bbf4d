"""What other distributions provide for segmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sonjit._util.extensions import Hook

if TYPE_CHECKING:
    from collections.abc import Callable

    from sonjit.segmentation.instances import Finder
    from sonjit.segmentation.task import Segment

OPEN_FINDER: Final[Hook[Callable[[Segment], Finder]]] = Hook("another network for segmentation", "sonjit-lab")
"""Function that loads a network other than the bundled one."""
