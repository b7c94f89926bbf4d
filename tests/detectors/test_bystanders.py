"""Everybody whom a drawing hides: faces of all windows and turns, heads of bodies, and people."""

import pytest

from sonjit import InputError
from sonjit.detectors.bystanders import BystanderSearch


def test_the_search_needs_all_its_networks(tmp_path):
    with pytest.raises(InputError, match=r"face-short.*\(hiding people needs it: sonjit models pull face body\)"):
        BystanderSearch(tmp_path)
