"""Skin: ordered tones, and marks at their positions."""

import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.lab.hand_models.rig import FINGERS
from sonjit.lab.synthesis.person import (
    MONK_TONES,
    TEXTURES,
    HandAppearance,
    albedo_from_tone,
    load_hand_mesh,
    skin_marks,
    skin_material,
)


class TestTones:
    def test_the_scale_ranges_from_light_to_dark(self):
        assert len(MONK_TONES) == 10
        green = [albedo_from_tone(tone)[1] for tone in range(1, 11)]
        assert all(0 < value < 0.9 for value in green)
        assert green[0] > green[4] > green[6] > green[9]
        assert sorted(green[3:], reverse=True) == green[3:]

    def test_warm_skin_is_redder_than_cool_skin(self):
        warm, cool = np.array(albedo_from_tone(6, 1)), np.array(albedo_from_tone(6, -1))
        assert warm[0] > cool[0]
        assert warm[2] < cool[2]

    @pytest.mark.parametrize("tone", [0, 11])
    def test_others_are_refused(self, tone):
        with pytest.raises(InputError, match="1 to 10"):
            albedo_from_tone(tone)


class TestMaterial:
    def test_textures_differ(self):
        made = [skin_material(HandAppearance(texture=number)) for number in range(len(TEXTURES))]
        assert len(made) >= 5
        assert len({(each.variant, each.roughness) for each in made}) == len(made)
        assert all(0 <= amount <= 1 for each in made for amount in each.amounts.values())

    def test_tone_changes_only_the_colour(self):
        one, other = (skin_material(HandAppearance(tone=tone, seed=3.2)) for tone in (2, 9))
        assert one.albedo != other.albedo
        assert (one.roughness, one.variant, one.seed, one.amounts) == (
            other.roughness,
            other.variant,
            other.seed,
            other.amounts,
        )

    def test_an_unknown_texture_is_refused(self):
        with pytest.raises(InputError, match="texture"):
            skin_material(HandAppearance(texture=len(TEXTURES)))


@pytest.mark.usefixtures("rigs")
@pytest.mark.parametrize("side", ["Right", "Left"])
class TestMarks:
    def test_nails_are_on_the_back_of_each_finger_end(self, side):
        rig, nails = load_hand_mesh(side), skin_marks(side)[:, 0]
        for chain in FINGERS:
            own = (rig.weights[:, list(chain[2:])].sum(1) > 0.5) & (nails > 0.5)
            assert 8 < own.sum() < 120
            assert (rig.normals[own] @ rig.frames[chain[2]][:, 1]).min() > 0
        ends = rig.weights[:, [joint for chain in FINGERS for joint in chain[2:]]].sum(1)
        assert (ends[nails > 0.1] > 0.4).all()

    def test_palm_and_back_exclude_each_other(self, side):
        rig, marks = load_hand_mesh(side), skin_marks(side)
        palm, back = marks[:, 2], marks[:, 3]
        assert np.minimum(palm, back).max() < 0.3
        assert 0.25 < palm.mean() < 0.6
        assert 0.25 < back.mean() < 0.6
        out = rig.frames[10][:, 1]
        assert (rig.normals[(palm > 0.9) & (rig.weights[:, 10] > 0.5)] @ out < 0).all()

    def test_creases_lie_across_the_joints(self, side):
        rig, creases = load_hand_mesh(side), skin_marks(side)[:, 1]
        for chain in FINGERS[1:]:
            joint = chain[1]
            local = (rig.vertices - rig.joints[joint]) @ rig.frames[joint]
            near = np.hypot(local[:, 0], local[:, 1]) < 0.014
            assert creases[near & (np.abs(local[:, 2]) < 0.001)].max() > 0.5
            assert creases[near & (local[:, 2] < -0.005) & (local[:, 2] > -0.008)].max() < 0.2
