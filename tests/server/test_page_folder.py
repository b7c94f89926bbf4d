"""Which kinds, models and options a page without a server offers: those that it can compute."""

import json
import shutil

import pytest

from sonjit.errors import SonjitError
from sonjit.server.static_page import write_page
from sonjit.weights import find_weight


def test_a_page_offers_what_its_networks_can_find(tmp_path):
    models = tmp_path / "engine" / "models"
    models.mkdir(parents=True)
    (models.parent / "sonjit-web.js").write_text("export {};")
    try:
        for name in ("face-short", "face-mesh", "palm-lite", "hand-lite"):
            shutil.copy(find_weight(name), models)
    except SonjitError as error:
        pytest.skip(f"{str(error).partition(';')[0]}; type: sonjit models pull hands face")
    write_page(tmp_path / "page", models.parent)
    kinds = json.loads((tmp_path / "page" / "kinds.json").read_text("utf-8"))["kinds"]
    assert {name: kind["models"] for name, kind in kinds.items()} == {"hands": ["lite"], "face": ["mesh", "box"]}
    assert kinds["hands"]["options"]["search"]["enum"] == ["fast", "auto"]
    assert not {"search", "blendshapes", "transform", "measures"} & kinds["face"]["options"].keys()
