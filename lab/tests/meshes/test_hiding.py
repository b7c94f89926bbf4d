"""`sonjit mesh --anonymise` on a real photograph: no search finds a face afterwards."""

import pytest
from tests.support.faces import faces_in, photographs_of_one_person

from sonjit.media import rgb_from


@pytest.mark.golden
@pytest.mark.slow
def test_drawn_meshes_hide_faces(sonjit, need, data, tmp_path):
    need("face-short", "face-full", "face-mesh", "body-full", "person-detector", "hand-rig-left", "hand-rig-right")
    photo = next(photographs_of_one_person(data), None)
    if photo is None:
        pytest.skip("no photographs of one person")
    status, _, lines = sonjit("mesh", photo, "--anonymise", "blur", "--draw", tmp_path / "a.png")
    assert status == 0, lines
    assert faces_in(rgb_from(photo)) != []
    assert faces_in(rgb_from(tmp_path / "a.png")) == []
