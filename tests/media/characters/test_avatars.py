"""Models of .vrm and .glb files that move as a person."""

import json
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from sonjit import InputError
from sonjit._util.glb import Glb
from sonjit.media import Header, open_writer
from sonjit.media.tables.characters import BONES, NAMES, PARENTS, avatars
from sonjit.results import Face, Frame, Person
from sonjit.results.skeletons.faces import BLENDSHAPES
from sonjit.server.pages import PAGE

from ...support.gltf import GltfReader  # noqa: TID252  # one helper for all packages
from .actors import FPS, PEOPLE, Bvh, actor, body_of, people_of

SAMPLE = PAGE / "avatar" / "sample.vrm"
WEB = Path(__file__).parents[3] / "web"
TIMES = np.arange(20) / FPS
TARGETS = Glb(SAMPLE).document["meshes"][1]["extras"]["targetNames"]
VALIDATE = """
    import {createRequire} from "node:module";
    import {readFileSync} from "node:fs";
    const {validateBytes} = createRequire(process.argv[1])("gltf-validator");
    for (const path of process.argv.slice(2)) {
        const {issues} = await validateBytes(new Uint8Array(readFileSync(path)));
        for (const {severity, code, message} of issues.messages) if (severity < 2) console.log(path, code, message);
    }
"""


def rewritten(path, change):
    """Write the sample figure with a changed document."""
    data = SAMPLE.read_bytes()
    (length,) = struct.unpack_from("<I", data, 12)
    document = json.loads(data[20 : 20 + length])
    change(document)
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    rest = data[20 + length :]
    head = struct.pack("<3I", 0x46546C67, 2, 20 + len(text) + len(rest)) + struct.pack("<2I", len(text), 0x4E4F534A)
    path.write_bytes(head + text + rest)
    return path


def same(document):
    del document


def turned_bones(document):
    """Give every bone a rotation of its own in the rest pose, without a change of its place, and a scaled root.

    The file has no description of a humanoid, names of Mixamo, and looks along -z.
    """
    del document["extensions"], document["extensionsUsed"]
    nodes = document["nodes"]
    rng, half = np.random.default_rng(2), np.sqrt(0.5)
    inverses = {-1: np.eye(3)}
    for number, bone in enumerate(BONES):
        x, y, z = (half * (rng.permutation(3) == 0)).tolist()
        turn = avatars.rotations.matrix_from_quaternion_wxyz(np.array([half, x, y, z]))
        parent = BONES.index(PARENTS[bone]) if PARENTS[bone] else -1
        place = inverses[parent].T @ nodes[number]["translation"]
        local = inverses[parent].T @ turn
        inverses[number] = turn
        w, i, j, k = avatars.rotations.quaternion_wxyz_from_matrix(local[None])[0].tolist()
        nodes[number] |= {"translation": (100 * place).tolist(), "rotation": [i, j, k, w]}
        nodes[number]["name"] = NAMES["mixamo"][bone]
    nodes.append({"name": "Armature", "scale": [0.01] * 3, "rotation": [0, 1, 0, 0], "children": [0]})
    document["scenes"][0]["nodes"][0] = len(nodes) - 1


def without_some_bones(document):
    bones = document["extensions"]["VRMC_vrm"]["humanoid"]["humanBones"]
    for name in ("chest", "upperChest", "neck", "leftShoulder", "rightShoulder", "leftToes", "rightToes"):
        del bones[name]


def face_of(weights):
    face = Face(0.9, np.zeros((478, 3), np.float32), id=1)
    face.blendshapes = dict.fromkeys(BLENDSHAPES, 0.0) | weights
    return face


def written(path, model, frames=None, header=PEOPLE):
    frames = people_of(TIMES, 0.6)[0] if frames is None else frames
    with open_writer(path, header, onto=model) as writer:
        for frame in frames:
            writer.write(frame)
    return path


class Moved(GltfReader):
    """A model with its motion."""

    def __init__(self, path):
        super().__init__(path.read_bytes())
        (self.animation,) = self.g["animations"]
        self.times = self.get(self.animation["samplers"][0]["input"])
        self.names = {node.get("name"): number for number, node in enumerate(self.g["nodes"])}

    def place(self, bone, row, names="vrm"):
        worlds = self.worlds(None if row is None else float(self.times[row]))
        return worlds[self.names[NAMES[names][bone]]][:3, 3]


MODELS = {"sample": (same, "vrm"), "turned bones": (turned_bones, "mixamo"), "few bones": (without_some_bones, "vrm")}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_moves_as_the_person_and_keeps_its_bones(tmp_path, name):
    change, names = MODELS[name]
    model = rewritten(tmp_path / "model.glb", change)
    moved = Moved(written(tmp_path / "moved.glb", model))
    front = np.array([-1, 1, -1]) if name == "turned bones" else np.ones(3)
    for row in (0, 7, 19):
        truth = actor(TIMES[row])
        for first, last, keypoints in (
            ("leftUpperArm", "leftLowerArm", (11, 13)),
            ("rightUpperArm", "rightLowerArm", (12, 14)),
            ("rightLowerArm", "rightHand", (14, 16)),
            ("leftUpperLeg", "leftLowerLeg", (23, 25)),
            ("leftLowerLeg", "leftFoot", (25, 27)),
        ):
            way = (moved.place(last, row, names) - moved.place(first, row, names)) * front
            expected = truth[keypoints[1]] - truth[keypoints[0]]
            cosine = way @ expected / np.linalg.norm(way) / np.linalg.norm(expected)
            assert np.rad2deg(np.arccos(np.clip(cosine, -1, 1))) < 12, (row, last)
            rest = moved.place(last, None, names) - moved.place(first, None, names)
            assert np.linalg.norm(way) == pytest.approx(np.linalg.norm(rest), rel=1e-4)
    feet = np.array([moved.place("rightFoot", row, names)[1] for row in range(20)])
    assert np.ptp(feet) < 0.02  # the right leg stands
    assert feet.mean() == pytest.approx(moved.place("rightFoot", None, names)[1], abs=0.02)
    for channel in moved.animation["channels"]:
        sampler = moved.animation["samplers"][channel["sampler"]]
        values = moved.get(sampler["output"])
        if channel["target"]["path"] == "rotation":
            np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1, atol=1e-5)
            assert (values[1:] * values[:-1]).sum(1).min() > 0.9


def test_expressions_move_the_face_of_a_model(tmp_path):
    frames = people_of(TIMES, 0.6)[0]
    for frame in frames:
        share = frame.index / 19
        frame.people[0].face = face_of({"jawOpen": share, "eyeBlinkLeft": 1 - share, "mouthSmileLeft": 0.5})

    def presets_only(document):
        del document["extensions"]["VRMC_vrm"]["expressions"]["custom"]
        document["meshes"][1]["extras"]["targetNames"] = [f"Fcl_{number}" for number in range(11)]

    for change, jaw, smiles in ((same, 1.0, (0.5, 0.0)), (presets_only, 0.8, (0.25, 0.25))):
        moved = Moved(written(tmp_path / "x.glb", rewritten(tmp_path / "model.vrm", change), frames))
        (channel,) = [one for one in moved.animation["channels"] if one["target"]["path"] == "weights"]
        weights = moved.get(moved.animation["samplers"][channel["sampler"]]["output"]).reshape(20, -1)
        found = dict(zip(TARGETS, weights.T, strict=True))
        np.testing.assert_allclose(found["jawOpen"], jaw * np.arange(20) / 19, atol=1e-6)
        np.testing.assert_allclose(found["eyeBlinkLeft"], 1 - np.arange(20) / 19, atol=1e-6)
        assert (found["mouthSmileLeft"][3], found["mouthSmileRight"][3]) == pytest.approx(smiles)
        document = GltfReader(written(tmp_path / "x.vrma", tmp_path / "model.vrm", frames).read_bytes()).g
        kinds = document["extensions"]["VRMC_vrm_animation"]["expressions"]
        assert [*kinds] == (["custom"] if change is same else ["preset"])


def test_other_files_have_the_proportions_of_the_model(tmp_path):
    bvh = Bvh(written(tmp_path / "x.bvh", SAMPLE))
    rest = {node["name"]: node["translation"] for node in Glb(SAMPLE).document["nodes"] if "translation" in node}
    for bone, parent in PARENTS.items():
        if parent:
            np.testing.assert_allclose(bvh.offsets[bone], rest[bone], atol=1e-5)


def test_each_person_gets_a_copy_of_the_model(tmp_path):
    frames = [
        Frame(index, float(time), people=[Person(body_of(actor(time))), Person(body_of(actor(time, x=0.6), 2))])
        for index, time in enumerate(TIMES)
    ]
    written(tmp_path / "x.glb", SAMPLE, frames)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x-2.glb", "x.glb"]


def test_files_of_models_are_valid_gltf(tmp_path):
    if not shutil.which("node") or not (WEB / "node_modules" / "gltf-validator").is_dir():
        pytest.skip("gltf-validator is not installed: it needs npm; type: make check-page")
    paths = [SAMPLE]
    for number, (change, _) in enumerate(MODELS.values()):
        model = rewritten(tmp_path / f"model{number}.glb", change)
        paths += [written(tmp_path / f"moved{number}.glb", model), written(tmp_path / f"moved{number}.vrma", model)]
    command = ["node", "--input-type=module", "-e", VALIDATE, "--", WEB / "package.json", *paths]
    found = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
    assert found.stdout == ""


REFUSED = [
    (lambda document: document["extensions"]["VRMC_vrm"]["humanoid"]["humanBones"].pop("hips"), "Missing: hips"),
    (lambda document: document.pop("extensions") and [node.pop("name") for node in document["nodes"]], "Missing: hips"),
    (lambda document: document["extensions"]["VRMC_vrm"].pop("humanoid"), "is damaged"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_what_is_no_humanoid_is_refused(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        written(tmp_path / "x.glb", rewritten(tmp_path / "model.vrm", change))
    assert [path.name for path in tmp_path.iterdir()] == ["model.vrm"]


def test_a_model_applies_only_to_characters(tmp_path):
    header = Header("clip.mp4", 640, 480, FPS, "holistic-full", "people")
    with pytest.raises(InputError, match="applies only to"):
        open_writer(tmp_path / "x.csv", header, onto=SAMPLE)
    with pytest.raises(InputError, match="keeps its names"):
        open_writer(tmp_path / "x.glb", header, onto=SAMPLE, bones="mixamo")
    with pytest.raises(InputError, match=r"none\.vrm"):
        open_writer(tmp_path / "x.glb", header, onto=tmp_path / "none.vrm")
