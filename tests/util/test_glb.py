"""GLB files are read back as they were written."""

import json
import struct

import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit._util.glb import Glb, GlbBuilder


@pytest.mark.parametrize("count", [3, 65_535, 65_536, 70_001])
def test_a_mesh_of_many_vertices_keeps_its_triangles(tmp_path, count):
    builder = GlbBuilder()
    vertices = np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)
    faces = np.array([[0, 1, count - 1], [count - 1, count - 2, 1]])
    builder.add_mesh("hand", faces, (1, 1, 1), POSITION=vertices)
    (tmp_path / "a.glb").write_bytes(builder.to_bytes())
    file = Glb(tmp_path / "a.glb")
    primitive = file.document["meshes"][0]["primitives"][0]
    np.testing.assert_array_equal(file.array(primitive["indices"]).reshape(-1, 3), faces)
    np.testing.assert_array_equal(file.array(primitive["attributes"]["POSITION"]), vertices)
    kind = file.document["accessors"][primitive["indices"]]["componentType"]
    assert kind == (5123 if count <= 65_535 else 5125)  # 65,535 restarts a primitive, so it is no 16-bit index


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"accessors": []},
        {"accessors": [{}], "bufferViews": [{}]},
        {"accessors": [{"bufferView": 0, "componentType": 5126, "count": 1, "type": "VEC3"}]},
        {"accessors": [{"bufferView": 0, "componentType": 5122, "count": 1, "type": "VEC3"}], "bufferViews": [{}]},
        {"accessors": [{"bufferView": 0, "componentType": 5126, "type": "VEC3"}], "bufferViews": [{}]},
        {"accessors": None},
    ],
)
def test_a_file_without_the_data_of_an_accessor_is_refused_in_a_line(tmp_path, document):
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    body = struct.pack("<2I", len(text), 0x4E4F534A) + text + struct.pack("<2I", 16, 0x004E4942) + bytes(16)
    (tmp_path / "a.glb").write_bytes(struct.pack("<3I", 0x46546C67, 2, 12 + len(body)) + body)
    with pytest.raises(InputError, match=r"a\.glb: accessor 0 is missing or of an unknown kind"):
        Glb(tmp_path / "a.glb").array(0)
