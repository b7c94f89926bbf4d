"""MANO as recipes ask for it, and the fits of data sets as networks learn them: before the camera, from one mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from sonjit.errors import InputError
from sonjit.hand_models import load_mano
from sonjit.hand_models.mano_stand_in import STAND_IN, stand_in_mano
from sonjit.hand_models.rotations import axis_angle_from_matrix, matrix_from_axis_angle
from sonjit.training.drawn_hands import drawn_films
from sonjit.training.hand_samples import HandData, HandSettings, hand_data, known_hands

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.datasets import ManoParameters, SampleCamera
    from sonjit.hand_models import Mano
    from sonjit.hand_models.mano import Side
    from sonjit.training.recipes import TrainingRequest

_UPSIDE_DOWN = np.diag([1.0, -1.0, -1.0])


@dataclass(frozen=True)
class ManoSettings(HandSettings):
    """What recipes on MANO have in common; the first are those of all recipes on hands.

    Attributes:
        mano: MANO_RIGHT.pkl; or stand-in, a hand of tubes that needs no licence.
        films: drawn ones to learn from, of the stand-in, where no data are given.
        held_out_films: drawn ones to judge by.
        film_frames: frames of each.
    """

    mano: str = ""
    films: int = 300
    held_out_films: int = 40
    film_frames: int = 7

    def __post_init__(self) -> None:
        """Refuse films of nothing."""
        super().__post_init__()
        if min(self.films, self.held_out_films, self.film_frames) < 1:
            raise InputError("films, held_out_films and film_frames must be at least 1")


def mano_from_setting(recipe: str, name: str, file: str, side: Side = "right") -> Mano:
    """MANO's hand as a setting names it.

    Raises:
        InputError: it names none, or no MANO; the line says where it is to be had.
    """
    if not file:
        raise InputError(
            f"{recipe} needs MANO's {side} hand, --set {name}=FILE: MANO_{side.upper()}.pkl, after registration, from "
            f"https://mano.is.tue.mpg.de; {STAND_IN} tries it out with a hand of tubes"
        )
    return stand_in_mano(side) if file == STAND_IN else load_mano(file, side)


def mano_data(request: TrainingRequest, settings: ManoSettings) -> HandData:
    """A data set's pictures; or films of the stand-in.

    Raises:
        InputError: no data for a MANO of your own, or data that cannot be used.
    """
    if request.data is not None:
        return hand_data(request, settings, lambda sample: any(one.mesh is not None for one in known_hands(sample)))
    if settings.mano != STAND_IN:
        raise InputError(f"{request.recipe}: give --data, or --set mano={STAND_IN} for drawn films of a hand of tubes")
    mano, frames = stand_in_mano(), settings.film_frames
    learnt = drawn_films(mano, settings.films, frames, seed=1)
    judged = drawn_films(mano, settings.held_out_films, frames, seed=2)
    return HandData(learnt, judged, "drawn films of the stand-in for MANO")


def pose_in_camera(
    fit: ManoParameters, camera: SampleCamera | None, mano: Mano, *, flat_mean: bool
) -> NDArray[np.float64]:
    """A fit's pose as 16 axis-angles (48,) in the camera's axes.

    Args:
        fit: as the data set has it.
        camera: of the picture, for a fit in the world.
        mano: whose components and mean are meant.
        flat_mean: the fingers' axis-angles shall count from the flat hand; else from MANO's mean pose.

    Raises:
        InputError: the set does not say what its poses count from, or where its camera stands.
    """
    if fit.flat_mean is None:
        raise InputError("the data set does not say from which pose its MANO fits count: it cannot teach this network")
    fingers = torch.tensor(fit.pose[3:]).to(mano.components)
    if fit.pca:
        fingers = mano.axis_angles(fingers[None])[0]
    if fit.flat_mean != flat_mean:
        fingers = fingers - mano.mean_pose if fit.flat_mean else fingers + mano.mean_pose
    return np.concatenate([_root_in_camera(fit, camera), fingers.double().cpu().numpy()])


def _root_in_camera(fit: ManoParameters, camera: SampleCamera | None) -> NDArray[np.float64]:
    """The wrist's axis-angle (3,)."""
    if fit.frame == "camera":
        return fit.pose[:3]
    if fit.frame == "opengl":
        turn = _UPSIDE_DOWN
    elif camera is None or camera.R is None:
        raise InputError("MANO fits of a world whose camera's place is not known")
    else:
        turn = camera.R
    root = torch.tensor(turn) @ matrix_from_axis_angle(torch.tensor(fit.pose[:3]))
    return axis_angle_from_matrix(root[None])[0].numpy()
