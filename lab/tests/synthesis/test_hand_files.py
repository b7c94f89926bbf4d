"""User hands: rigs as GLB and MANO work like those of the catalogue, and invalid files give one line."""

import json
from dataclasses import replace

import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.weights import find_weight
from sonjit_lab.hand_models.mesh_files import glb_from_motions
from sonjit_lab.hand_models.rig import RigMotion, RigPose
from sonjit_lab.synthesis.hand_meshes import HandFiles, hand_mesh_from_rig, load_hand_mesh
from sonjit_lab.synthesis.job import synthesize
from sonjit_lab.synthesis.layouts import SynthSettings

from .mano_twin import mano_twin

pytestmark = pytest.mark.usefixtures("rigs")
SIDES = ("Right", "Left")
FLIP = np.array([-1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def mano(tmp_path_factory, rigs):
    """Return both hands in MANO's form, the right one first."""
    folder = tmp_path_factory.mktemp("mano")
    for side in SIDES:
        np.savez(folder / f"{side}.npz", **mano_twin(load_hand_mesh(side)))
    return [str(folder / f"{side}.npz") for side in SIDES]


def glb_of(rig, path):
    pose = RigPose(np.eye(3)[None], rig.joints[:1], np.zeros((1, 5, 3, 3)))
    path.write_bytes(glb_from_motions([RigMotion("mine", rig, pose, np.zeros(1, int))]))
    return str(path)


class TestRig:
    @pytest.mark.slow
    def test_the_catalogs_file_by_its_path_gives_the_same_bytes(self, tmp_path, renderer):
        files = HandFiles.from_text("hand-rig", str(find_weight("hand-rig-right")))
        for name, hands in (("plain", None), ("named", files)):
            synthesize(tmp_path / name, SynthSettings(2, seed=2, size=(64, 64), factors=("hands=1",), hands=hands))
        images = sorted((tmp_path / "plain").rglob("*.jpg"))
        assert len(images) == 3  # with the contact sheet
        for file in [*images, tmp_path / "plain" / "coco.json"]:
            assert file.read_bytes() == (tmp_path / "named" / file.relative_to(tmp_path / "plain")).read_bytes()
        kept = json.loads((tmp_path / "named" / "truth" / "settings.json").read_text("utf-8"))["hands"]
        assert kept == {"kind": "hand-rig", "files": [vars(files.files[0])]}

    @pytest.mark.parametrize("side", SIDES)
    @pytest.mark.slow
    def test_a_written_file_is_the_hand_of_its_side_and_the_mirror_image_of_the_other(self, tmp_path, rigs, side):
        files = HandFiles.from_text("hand-rig", glb_of(rigs[side], tmp_path / "mine.glb"))
        for side_wanted in SIDES:
            flip = 1 if side_wanted == side else FLIP
            mine, mesh = load_hand_mesh(side_wanted, files), hand_mesh_from_rig(rigs[side], side)
            assert mine.side == side_wanted
            assert np.allclose(mine.joints, mesh.joints * flip, atol=1e-6)
            assert np.allclose(mine.vertices, mesh.vertices * flip, atol=1e-6)

    def test_two_files_in_any_order(self, tmp_path, rigs):
        paths = [glb_of(rigs[side], tmp_path / f"{side}.glb") for side in SIDES]
        one, other = (HandFiles.from_text("hand-rig", ",".join(order)) for order in (paths, paths[::-1]))
        for side in SIDES:
            assert np.array_equal(load_hand_mesh(side, one).vertices, load_hand_mesh(side, other).vertices)
            assert np.allclose(load_hand_mesh(side, one).joints, rigs[side].joints, atol=1e-6)
        with pytest.raises(InputError, match="one file per side"):
            load_hand_mesh("Right", HandFiles.from_text("hand-rig", f"{paths[0]},{paths[0]}"))

    def test_other_axes_other_units_and_torn_meshes_are_refused(self, tmp_path, rigs):
        rig = rigs["Right"]
        turned = rig.frames @ np.array([[0, -1.0, 0], [1, 0, 0], [0, 0, 1]])
        for change, says in (
            ({"frames": turned}, "axes"),
            ({"joints": rig.joints * 100, "vertices": rig.vertices * 100}, "metres"),
            ({"faces": rig.faces[::2]}, "several holes|share an edge"),
            ({"faces": rig.faces[:80]}, "several holes|share an edge"),
            ({"faces": np.concatenate([rig.faces, rig.faces[:1]])}, "share an edge"),
        ):
            files = HandFiles.from_text("hand-rig", glb_of(replace(rig, **change), tmp_path / "mine.glb"))
            with pytest.raises(InputError, match=says) as caught:
                load_hand_mesh("Left", files)
            assert "\n" not in str(caught.value)
            assert "mine.glb" in str(caught.value)

    def test_another_file_of_the_same_name_does_not_resume_the_run(self, tmp_path, rigs, renderer):
        for number, size in enumerate((1.0, 1.1)):
            path = glb_of(rigs["Right"].resized(rigs["Right"].lengths * size), tmp_path / "mine.glb")
            settings = SynthSettings(
                1, size=(64, 64), factors=("hands=0",), hands=HandFiles.from_text("hand-rig", path)
            )
            if number:
                with pytest.raises(InputError, match="other settings"):
                    synthesize(tmp_path / "out", settings)
            else:
                synthesize(tmp_path / "out", settings)


@pytest.mark.slow
class TestMano:
    def test_images(self, mano, tmp_path, renderer):
        hands = HandFiles.from_text("mano", ",".join(mano))
        settings = SynthSettings(2, seed=4, size=(96, 96), factors=("hands=2", "cut=0"), hands=hands)
        synthesize(tmp_path / "out", settings)
        labels = json.loads((tmp_path / "out" / "coco.json").read_text("utf-8"))["annotations"]
        assert sorted(label["hand_side"].lower() for label in labels) == ["left"] * 2 + ["right"] * 2
        assert all(label["area"] > 20 and "visible" in label["causes"] for label in labels)

    def test_the_other_sides_file_is_refused(self, mano):
        for text in (mano[1], ",".join(mano[::-1])):
            with pytest.raises(InputError, match="bend like those of the other hand"):
                load_hand_mesh("Right", HandFiles.from_text("mano", text))

    def test_numbers_that_are_no_hand_are_refused(self, tmp_path, mano):
        fields = dict(np.load(mano[0]))
        rng = np.random.default_rng(0)
        for number, change in enumerate(
            ({"v_template": 0.05 * rng.normal(size=(778, 3))}, {"f": rng.integers(0, 778, (1538, 3))})
        ):
            path = tmp_path / f"{number}.npz"
            np.savez(path, **fields | change)
            with pytest.raises(InputError) as caught:
                load_hand_mesh("Right", HandFiles.from_text("mano", str(path)))
            assert "\n" not in str(caught.value)
            assert path.name in str(caught.value)


@pytest.mark.parametrize("text", ["", ",", "a.glb,", "a.glb,b.glb,c.glb", "nowhere.glb"])
def test_names_of_no_files_are_one_line(text):
    with pytest.raises(InputError, match=r"--hand-rig") as caught:
        HandFiles.from_text("hand-rig", text)
    assert "\n" not in str(caught.value)
