"""A data set of an installed extension."""

import json
from pathlib import Path

from tests.extensions.test_installed import Place

LAMPS = Path(__file__).with_name("lamps.py").read_text("utf-8")


def test_the_command_lists_installed_data_sets(tmp_path):
    place = Place(tmp_path)
    place.install("sonjit-lamps", "lamps_plugin", LAMPS)
    listed = json.loads(place.sonjit("datasets", "list", "--json").stdout)
    assert "lamps" in [entry["name"] for entry in listed]
