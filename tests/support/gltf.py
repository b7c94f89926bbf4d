"""Animations and skinned meshes in glTF 2.0, read as the specification says."""

import json
import struct

import numpy as np


def rotation_of(xyzw):
    """Return the rotation matrix of a quaternion, for column vectors."""
    x, y, z, w = xyzw
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


class GltfReader:
    def __init__(self, data):
        magic, version, total, length, kind = struct.unpack_from("<5I", data)
        assert (magic, version, total, kind) == (0x46546C67, 2, len(data), 0x4E4F534A)
        self.g = json.loads(data[20 : 20 + length])
        self.bin = data[28 + length :]
        assert length % 4 == 0
        assert self.g.get("buffers", [{"byteLength": 0}])[0]["byteLength"] == len(self.bin)

    def get(self, number):
        about = self.g["accessors"][number]
        view = self.g["bufferViews"][about["bufferView"]]
        kinds = {5121: np.uint8, 5123: np.uint16, 5126: np.float32}
        width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}[about["type"]]
        kind = kinds[about["componentType"]]
        values = np.frombuffer(self.bin, kind, about["count"] * width, view["byteOffset"]).reshape(-1, width)
        if "min" in about:
            assert np.allclose(about["min"], values.min(0))
            assert np.allclose(about["max"], values.max(0))
        return values[:, 0] if width == 1 else values.reshape(-1, 4, 4).swapaxes(1, 2) if width == 16 else values

    def sampled(self, time):
        """Return the properties of nodes at a time; None for the rest pose."""
        state = [dict(node) for node in self.g["nodes"]]
        for animation in self.g.get("animations", []) if time is not None else []:
            for channel in animation["channels"]:
                sampler = animation["samplers"][channel["sampler"]]
                times, values = self.get(sampler["input"]).astype(float), self.get(sampler["output"]).astype(float)
                assert (np.diff(times) > 0).all()
                k = int(np.clip(np.searchsorted(times, time, "right") - 1, 0, len(times) - 1))
                value = values[k]
                if sampler.get("interpolation", "LINEAR") == "LINEAR" and k + 1 < len(times) and time > times[k]:
                    share = (time - times[k]) / (times[k + 1] - times[k])
                    value = (1 - share) * values[k] + share * values[k + 1]
                state[channel["target"]["node"]][channel["target"]["path"]] = value
        return state

    def worlds(self, time):
        state, worlds = self.sampled(time), {}

        def visit(number, above):
            node = state[number]
            turn = rotation_of(
                np.array(node.get("rotation", [0, 0, 0, 1.0])) / np.linalg.norm(node.get("rotation", [1]))
            )
            local = np.eye(4)
            local[:3, :3] = turn * np.array(node.get("scale", [1, 1, 1]))
            local[:3, 3] = node.get("translation", [0, 0, 0])
            worlds[number] = above @ local
            for child in node.get("children", []):
                visit(child, worlds[number])

        for root in self.g["scenes"][self.g["scene"]]["nodes"]:
            visit(root, np.eye(4))
        return worlds

    def skinned(self, name, time):
        """Return the positions of a hand's joints and vertices."""
        node = next(node for node in self.g["nodes"] if node["name"] == name)
        skin, worlds = self.g["skins"][node["skin"]], self.worlds(time)
        joints = np.stack([worlds[joint] for joint in skin["joints"]])
        matrices = joints @ self.get(skin["inverseBindMatrices"])
        attributes = self.g["meshes"][node["mesh"]]["primitives"][0]["attributes"]
        vertices, which = self.get(attributes["POSITION"]), self.get(attributes["JOINTS_0"])
        weights = self.get(attributes["WEIGHTS_0"])
        assert np.allclose(weights.sum(1), 1, atol=1e-6)
        blended = (weights[..., None, None] * matrices[which]).sum(1)
        homogeneous = np.c_[vertices, np.ones(len(vertices))]
        return joints[:, :3, 3], (blended @ homogeneous[..., None])[:, :3, 0]
