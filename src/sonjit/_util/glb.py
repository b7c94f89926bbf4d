"""Read and write GLB files, as far as hands and characters require it.

Source: Khronos Group, glTF 2.0 specification, sections 3.6 (accessors) and 4.4 (binary layout).
"""

import copy
import json
import math
import struct
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sonjit._util.errors import InputError
from sonjit._util.json_text import json_from
from sonjit._util.version import __version__

_DTYPES: Final = {5121: "<u1", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_SHAPES: Final[dict[str, tuple[int, ...]]] = {
    "SCALAR": (),
    "VEC2": (2,),
    "VEC3": (3,),
    "VEC4": (4,),
    "MAT4": (4, 4),
}
CAMERA_AXES: Final = [1.0, 0.0, 0.0, 0.0]
"""Quaternion x, y, z, w of a node that converts the camera's axes (y down, z forward) to glTF's (y up, z backward)."""
SKIN: Final = (0.6, 0.36, 0.26)  # colour of a hand, linear RGB
_MAGIC, _JSON, _BIN = 0x46546C67, 0x4E4F534A, 0x004E4942
_RESTART: Final = 65_535  # value of 16-bit indices that the specification excludes
_VERTICES, _INDICES = 34962, 34963  # targets of buffer views


class Glb:
    """A GLB file for reading."""

    def __init__(self, path: Path) -> None:
        """Read a file; raise InputError if it is not a complete GLB file."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: not readable: {error.strerror}") from None
        self._path = path
        try:
            magic, version, length, json_length, kind = struct.unpack_from("<5I", data)
            if (magic, version, kind) != (_MAGIC, 2, _JSON) or length != len(data):
                raise ValueError
            self.document: dict[str, Any] = json.loads(data[20 : 20 + json_length])
            size, kind = struct.unpack_from("<2I", data, 20 + json_length)
            self.binary = data[28 + json_length : 28 + json_length + size]
            if kind != _BIN or len(self.binary) != size:
                raise ValueError
        except (struct.error, ValueError):
            raise InputError(
                f"{path} is not a complete GLB 2 file with its data inside. Download or export it again."
            ) from None

    def array(self, accessor: int) -> NDArray[Any]:
        """Return the array of an accessor, with a row for each element; matrices act on columns."""
        try:
            record = self.document["accessors"][accessor]
            view = self.document["bufferViews"][record["bufferView"]]
            dtype, shape = np.dtype(_DTYPES[record["componentType"]]), _SHAPES[record["type"]]
            width = dtype.itemsize * math.prod(shape)
            start = view.get("byteOffset", 0) + record.get("byteOffset", 0)
            step, count = view.get("byteStride", width), record["count"]
        except (KeyError, IndexError, TypeError, AttributeError):
            raise InputError(
                f"{self._path}: accessor {accessor} is missing or of an unknown kind. Export it again."
            ) from None
        try:
            strides = (step, *np.empty(shape, dtype).strides)
            array = np.ndarray((count, *shape), dtype, self.binary, start, strides).copy()
        except (TypeError, ValueError):
            raise InputError(
                f"{self._path} is damaged: accessor {accessor} is outside the data. Download it again."
            ) from None
        return array.swapaxes(1, 2) if len(shape) == 2 else array  # matrices are stored by columns


class GlbBuilder:
    """A GLB file for writing: fill `document`, add arrays and a named animation, and take the bytes."""

    def __init__(self, animation: str = "", *, model: Glb | None = None) -> None:
        """Begin a file, as a copy of a `model` if one is given."""
        self.document: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": f"sonjit {__version__}"},
            "accessors": [],
            "bufferViews": [],
        }
        self._binary = bytearray()
        if model is not None:
            self.document |= copy.deepcopy(model.document)
            self._binary += model.binary
            self._binary += bytes(-len(self._binary) % 4)
        self._animation = animation
        self._clocks: dict[bytes, int] = {}

    def add(self, array: NDArray[Any], *, used_by: int | None = None, bounds: bool = False) -> int:
        """Add an array to the file and return its accessor.

        The array is (N,), (N, 2 to 4) or (N, 4, 4), of float32, uint8, uint16 or uint32; matrices act on columns.
        `used_by` is the target of the buffer view, None for animations and skins. Positions and times require `bounds`.
        """
        kinds = {np.dtype(name): number for number, name in _DTYPES.items()}
        shapes = {shape: name for name, shape in _SHAPES.items()}
        stored = np.ascontiguousarray(array.swapaxes(1, 2) if array.ndim == 3 else array)
        view = {"buffer": 0, "byteOffset": len(self._binary), "byteLength": stored.nbytes}
        accessor = {
            "bufferView": len(self.document["bufferViews"]),
            "componentType": kinds[array.dtype],
            "count": len(array),
            "type": shapes[array.shape[1:]],
        }
        if bounds:
            flat = array.reshape(len(array), -1)
            accessor |= {"min": flat.min(0).tolist(), "max": flat.max(0).tolist()}
        self._binary += stored.tobytes() + bytes(-stored.nbytes % 4)
        self.document["bufferViews"].append(view | ({"target": used_by} if used_by else {}))
        self.document["accessors"].append(accessor)
        return len(self.document["accessors"]) - 1

    def add_mesh(
        self,
        name: str,
        faces: NDArray[np.integer],
        colour: tuple[float, float, float],
        mesh: int | None = None,
        /,
        **attributes: NDArray[Any],
    ) -> int:
        """Add triangles (F, 3) in one plain colour (linear RGB, 0..1), as a mesh or to one, and return its index."""
        materials, meshes = self.document.setdefault("materials", []), self.document.setdefault("meshes", [])
        pbr = {"baseColorFactor": [*colour, 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.6}
        materials.append({"pbrMetallicRoughness": pbr})
        accessors = {
            kind: self.add(array, used_by=_VERTICES, bounds=kind == "POSITION") for kind, array in attributes.items()
        }
        kind = np.uint16 if faces.max(initial=0) < _RESTART else np.uint32
        indices = self.add(faces.astype(kind).reshape(-1), used_by=_INDICES)
        primitive = {"attributes": accessors, "indices": indices, "material": len(materials) - 1}
        if mesh is None:
            mesh = len(meshes)
            meshes.append({"name": name, "primitives": []})
        meshes[mesh]["primitives"].append(primitive)
        return mesh

    def animate(
        self, node: int, path: str, times_s: NDArray[Any], values: NDArray[Any], interpolation: str = "LINEAR"
    ) -> None:
        """Animate a property of a node by values (N, 3 or 4) at times (N,). Equal times share one accessor."""
        clock = times_s.astype(np.float32)
        if (key := clock.tobytes()) not in self._clocks:
            self._clocks[key] = self.add(clock, bounds=True)
        named = {"name": self._animation, "channels": [], "samplers": []}
        animation = self.document.setdefault("animations", [named])[0]
        output = self.add(values.astype(np.float32))
        target = {"node": node, "path": path}
        animation["channels"].append({"sampler": len(animation["samplers"]), "target": target})
        animation["samplers"].append({"input": self._clocks[key], "output": output, "interpolation": interpolation})

    def to_bytes(self) -> bytes:
        """Return the complete file; empty lists are omitted, as glTF requires."""
        document = {key: value for key, value in self.document.items() if value != []}
        if self._binary:
            document["buffers"] = [{"byteLength": len(self._binary)}]
        text = json_from(document).encode()
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<2I", len(text), _JSON) + text
        if self._binary:
            chunks += struct.pack("<2I", len(self._binary), _BIN) + self._binary
        return struct.pack("<3I", _MAGIC, 2, 12 + len(chunks)) + chunks
