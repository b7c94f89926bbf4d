"""Prepare data of the recipes on MANO: its files, MANO fits of data sets in camera space, and synthetic clips.

The clips show a moving hand of shaded tubes with MANO parameters. A coloured bar hides a part of it in the middle
frames. They replace HO-3D and DexYCB at the smoke size, without MANO's licence or the data sets. The hand is
`hand_models.placeholders.placeholder_mano`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonjit._util.arrays import BoolArray, FloatArray, Image
from sonjit._util.errors import InputError
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.lab.datasets import Instance, ManoParameters, Sample
from sonjit.lab.datasets.reading import camera_matrix
from sonjit.lab.datasets.sample import HAND_SKELETON
from sonjit.lab.hand_models import Mano, load_mano
from sonjit.lab.hand_models.mano import Side
from sonjit.lab.hand_models.placeholders import PLACEHOLDER, placeholder_mano
from sonjit.lab.hand_models.rotations import axis_angle_from_matrix, matrix_from_axis_angle
from sonjit.lab.metrics import joint_errors, pck_auc, similarity_aligned
from sonjit.lab.training.hands.samples import HandData, HandSettings, hand_data, known_hands
from sonjit.lab.training.recipes import TrainingRequest
from sonjit.lab.training.settings import check_range
from sonjit.results.skeletons import load_skeleton

_OPENGL_TO_CAMERA = np.diag([1.0, -1.0, -1.0])


SIDE_PX: Final = 96
STEP: Final = 10
"""Difference of the indices of neighbouring frames, which is the gap of Deformer's windows."""
_FOCAL_PX, _DISTANCE_M = 190.0, (0.42, 0.55)
_FINGERS: Final = ((13, 14, 15), (1, 2, 3), (4, 5, 6), (10, 11, 12), (7, 8, 9))  # MANO's joints, thumb first
_MAX_BEND_RAD: Final = (1.3, 1.5, 1.0)
_RADII_M: Final = (0.011, 0.009)  # of palm and fingers
_SKIN: Final = np.array([214.0, 168.0, 142.0])


MAX_CLIPS: Final = 100_000


@dataclass(frozen=True)
class ManoSettings(HandSettings):
    """Settings of all recipes on MANO.

    Attributes:
        mano: MANO_RIGHT.pkl; or stand-in, a hand of tubes that needs no licence.
        clips: Number of synthetic training clips of the placeholder if there are no data.
        held_out_clips: Number of synthetic clips to evaluate on.
        clip_frames: Number of frames in a clip.
    """

    mano: str = ""
    clips: int = 300
    held_out_clips: int = 40
    clip_frames: int = 7

    def __post_init__(self) -> None:
        """Check that values are in range."""
        super().__post_init__()
        check_range(self, clips=(1, MAX_CLIPS), held_out_clips=(1, MAX_CLIPS), clip_frames=(1, 1000))


def aligned_errors(found: Tensor, truth: Tensor) -> Tensor:
    """Return the errors (N, 21) in millimetres of joints (N, 21, 3) in metres after Procrustes alignment."""
    points = (joints.double().cpu().numpy() for joints in (found, truth))
    return torch.from_numpy(1000 * joint_errors(*similarity_aligned(*points)))


def area_under_pck(errors: Tensor) -> float:
    """Return the area under the PCK curve of errors (N, 21) in millimetres, up to 50 mm, in per cent."""
    return 100 * pck_auc(errors.numpy(), 0, 50)


def mano_from_setting(recipe: str, name: str, file: str, side: Side = "right") -> Mano:
    """Load the MANO model that a setting names.

    Raises:
        InputError: The setting is empty or not a MANO model; the message names the source of MANO.
    """
    if not file:
        raise InputError(
            f"{recipe} requires MANO's {side} hand, --set {name}=FILE: MANO_{side.upper()}.pkl, after registration, "
            f"from https://mano.is.tue.mpg.de; {name}={PLACEHOLDER} uses a hand of tubes"
        )
    return placeholder_mano(side) if file == PLACEHOLDER else load_mano(file, side)


def mano_data(request: TrainingRequest, settings: ManoSettings) -> HandData:
    """Return a data set's images, or synthetic clips of the placeholder.

    Raises:
        InputError: There are no data for a MANO model, or the data cannot be used.
    """
    if request.data is not None:
        return hand_data(request, settings, lambda sample: any(hand.mesh is not None for hand in known_hands(sample)))
    if settings.mano != PLACEHOLDER:
        raise InputError(f"{request.recipe} requires --data, or --set mano={PLACEHOLDER} for clips of a hand of tubes")
    mano, frames = placeholder_mano(), settings.clip_frames
    training = synthetic_clips(mano, settings.clips, frames, seed=1)
    held_out = synthetic_clips(mano, settings.held_out_clips, frames, seed=2)
    return HandData(training, held_out, "synthetic clips of the placeholder for MANO")


def pose_in_camera(fit: ManoParameters, camera: CalibratedCamera | None, mano: Mano, *, flat_mean: bool) -> FloatArray:
    """Return a fit's pose as 16 axis-angles (48,) in the camera's axes.

    Args:
        fit: MANO parameters of the data set.
        camera: Camera of the image, for a fit in world space.
        mano: Model whose components and mean pose the fit uses.
        flat_mean: True for finger angles relative to the flat hand; False for angles relative to MANO's mean pose.

    Raises:
        InputError: The data set does not define the mean pose of its fits or the pose of its camera.
    """
    if fit.flat_mean is None:
        raise InputError("The data set does not define the mean pose of its MANO fits. Choose another data set.")
    fingers = torch.tensor(fit.pose[3:]).to(mano.components)
    if fit.pca:
        fingers = mano.axis_angles(fingers[None])[0]
    if fit.flat_mean != flat_mean:
        fingers = fingers - mano.mean_pose if fit.flat_mean else fingers + mano.mean_pose
    return np.concatenate([_root_in_camera(fit, camera), fingers.double().cpu().numpy()])


def _root_in_camera(fit: ManoParameters, camera: CalibratedCamera | None) -> FloatArray:
    """Return the wrist's axis-angle (3,) in the camera's axes."""
    if fit.frame == "camera":
        return fit.pose[:3]
    if fit.frame == "opengl":
        turn = _OPENGL_TO_CAMERA
    elif camera is None or camera.R is None:
        raise InputError("MANO fits in world space require the pose of the camera, which the data set lacks")
    else:
        turn = camera.R
    root = torch.tensor(turn) @ matrix_from_axis_angle(torch.tensor(fit.pose[:3]))
    return axis_angle_from_matrix(root[None])[0].numpy()


def synthetic_clips(mano: Mano, clips: int, frames: int, seed: int) -> list[Sample]:
    """Return synthetic clips, frame by frame; the clips depend only on the seed.

    Args:
        mano: Right hand whose fingers bend about x, as those of the placeholder.
        clips: Number of clips.
        frames: Number of frames in each clip.
        seed: Seed of all random numbers.

    Returns:
        Samples with camera, `sequence`, `frame` in steps of ten, and one right hand with keypoints, `visible`, and MANO
        parameters in the camera's axes, with the fingers relative to the flat hand.
    """
    samples: list[Sample] = []
    for clip in range(clips):
        rng = np.random.default_rng((seed, clip))
        pose, betas, translation = _motion(rng, frames)
        with torch.no_grad():
            tensors = (torch.from_numpy(values).float() for values in (pose, betas, translation))
            joints = mano(*tensors, tips="deformer_ho3d")[1].double().numpy()  # (T, 21, 3)
        camera = CalibratedCamera(camera_matrix((_FOCAL_PX, _FOCAL_PX), (SIDE_PX / 2, SIDE_PX / 2)))
        pixels = camera.project(joints)
        bars = _bars(rng, pixels)
        background = rng.integers(30, 200, (6, 6, 3), np.uint8)
        for number in range(frames):
            rgb, hidden = _image(rng, joints[number], pixels[number], bars[number], background)
            hand = Instance(
                kind="hand",
                side="Right",
                skeleton=HAND_SKELETON,
                keypoints_px=pixels[number],
                valid_px=np.ones(len(hidden), np.bool_),
                visible=~hidden,
                keypoints_m=joints[number],
                valid_m=np.ones(len(hidden), np.bool_),
                mesh=ManoParameters(pose[number], betas[number], translation[number], "camera", flat_mean=True),
            )
            samples.append(
                Sample(
                    dataset="synthetic-clips", id=f"clip{clip}/{number}", image=rgb, width=SIDE_PX, height=SIDE_PX,
                    instances=(hand,), camera=camera, sequence=f"clip{clip}", frame=number * STEP,
                )
            )  # fmt: skip
    return samples


def _motion(rng: np.random.Generator, frames: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return poses (T, 48), shapes (T, 10) and translations (T, 3) of a smooth motion between two poses."""
    part = (1 - np.cos(np.pi * np.linspace(0, 1, frames)))[:, None] / 2  # (T, 1)
    first, last = _pose(rng), _pose(rng)
    last[:3] = first[:3] + rng.normal(0, 0.05, 3)
    pose = (1 - part) * first + part * last
    start = np.array([0.0, 0.08, rng.uniform(*_DISTANCE_M)])
    translations = start + (1 - part) * rng.normal(0, 0.01, 3) + part * rng.normal(0, 0.01, 3)
    return pose, np.tile(rng.normal(0, 0.7, 10), (frames, 1)), translations


def _pose(rng: np.random.Generator) -> FloatArray:
    """Return (48,) axis-angles of a hand that is partly closed, with small variations of each finger and the wrist."""
    pose = np.zeros((16, 3))
    pose[0] = rng.normal(0, (0.1, 0.1, 0.2))
    closed = rng.uniform(0, 1)
    for joints in _FINGERS:
        bent, spread = np.clip(closed + rng.normal(0, 0.15), 0, 1), rng.normal(0, 0.08)
        for joint, limit in zip(joints, _MAX_BEND_RAD, strict=True):
            pose[joint, 0] = bent * limit * rng.uniform(0.8, 1.0)
        pose[joints[0], 2] = spread
    return pose.reshape(-1)


def _bars(rng: np.random.Generator, pixels: FloatArray) -> list[FloatArray]:
    """Return the corners (4, 2) of a bar in each frame, which crosses the hand from one side to the other."""
    middle = pixels.mean((0, 1))
    turn = rng.uniform(0, 2 * np.pi)
    across, along = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    half = rng.uniform(5, 11)
    corners = np.array([[-half, -60], [half, -60], [half, 60], [-half, 60]])
    shape = corners @ np.stack([across, along])  # (4, 2)
    return [middle + across * offset + shape for offset in np.linspace(-40, 40, len(pixels)) + rng.uniform(-10, 10)]


def _image(
    rng: np.random.Generator, joints: FloatArray, pixels: FloatArray, bar: FloatArray, background: Image
) -> tuple[NDArray[np.uint8], BoolArray]:
    """Render a hand (S, S, 3) and return which of its keypoints (21,) the bar hides."""
    import cv2

    rgb = np.asarray(cv2.resize(background, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC), np.uint8)
    middle = joints[:, 2].mean()
    bones = sorted(load_skeleton(HAND_SKELETON).bones, key=lambda bone: -joints[list(bone), 2].mean())
    for first, last in bones:
        depth = joints[[first, last], 2].mean()
        light = np.clip(1 - 6 * (depth - middle), 0.35, 1.3)  # nearer is lighter
        width = max(1, round(2 * _RADII_M[first != 0] * _FOCAL_PX / depth))
        ends = [tuple(np.rint(pixels[joint]).astype(int).tolist()) for joint in (first, last)]
        cv2.line(rgb, ends[0], ends[1], np.clip(_SKIN * light, 0, 255).tolist(), width, cv2.LINE_AA)
    corners = np.rint(bar).astype(np.int32)
    cv2.fillConvexPoly(rgb, corners, (70, 90, 160))
    hidden = [cv2.pointPolygonTest(corners, (float(x), float(y)), measureDist=False) >= 0 for x, y in pixels]
    noisy = rgb + rng.normal(0, 4, rgb.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8), np.array(hidden)
