"""Estimate all cameras and target poses of a rig from the observations of single cameras."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sonjit.studio.calibration.bundle_adjustment import LENS_SIZE, Bundle, Observations
from sonjit.studio.calibration.camera_poses import CameraPair, camera_pairs, spanning_tree_poses
from sonjit.studio.calibration.initial_estimate import LENS_TERMS, LensModel, camera_from_observations
from sonjit.studio.calibration.target_poses import (
    TargetPose,
    Transform,
    compose_transforms,
    invert_transform,
    observation_poses,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sonjit._util.arrays import BoolArray, FloatArray, IndexArray
    from sonjit.geometry.cameras import CalibratedCamera
    from sonjit.studio.calibration.board_observations import BoardObservation, BoardObservations, PoseKey


@dataclass(frozen=True, eq=False)
class RigEstimate:
    """The first estimate of a rig, and the observations as arrays.

    Attributes:
        cameras: First estimate or known lens of each camera.
        own_poses: Poses of the targets that each camera proposes, in the camera's frame.
        tree: Pairs of cameras that the poses of the cameras follow.
        target_poses: Transform from target to world by frame and target, in the order of the bundle.
        used: Observations of these targets.
        observed: Points of these observations.
        bundle: Cameras and target poses.
        free_lens: (C, 12) which lens parameters are estimated.
        sizes: Width and height of each camera's images.
    """

    cameras: Mapping[str, CalibratedCamera]
    own_poses: Mapping[str, Mapping[PoseKey, Sequence[TargetPose]]]
    tree: Sequence[CameraPair]
    target_poses: Mapping[PoseKey, Transform]
    used: tuple[BoardObservation, ...]
    observed: Observations
    bundle: Bundle
    free_lens: BoolArray
    sizes: Sequence[tuple[int, int]]

    @property
    def image(self) -> IndexArray:
        """Index of the image of each point: camera, then target pose."""
        return self.observed.camera * len(self.target_poses) + self.observed.frame

    def errors_of_own_poses(self, name: str) -> list[FloatArray]:
        """Return the errors of each observation of a camera in pixels if every image has its own pose."""
        return [
            self.cameras[name].project(observation.points_m @ pose.R.T + pose.t) - observation.pixels
            for observation in self.used
            if observation.view == name
            for pose in self.own_poses[name].get(observation.pose_key, [])[:1]
        ]


def estimate_rig(
    observations: BoardObservations, lens: LensModel, fixed_lenses: Mapping[str, CalibratedCamera]
) -> RigEstimate:
    """Estimate cameras and target poses from the observations of single cameras."""
    names = list(observations.sizes)
    cameras = [
        fixed_lenses[name]
        if name in fixed_lenses
        else camera_from_observations(observations.of(name), observations.sizes[name], lens)
        for name in names
    ]
    poses = [_poses_of_targets(observations.of(name), camera) for name, camera in zip(names, cameras, strict=True)]
    camera_poses, tree = spanning_tree_poses(camera_pairs(poses), names)
    target_poses = _target_poses_in_world(observations, names, cameras, poses, camera_poses)
    used = tuple(observation for observation in observations.found if observation.pose_key in target_poses)
    free_lens = np.zeros((len(names), LENS_SIZE), np.bool_)
    free_lens[:, [0, 1, 2, 3, *(4 + term for term in LENS_TERMS[lens])]] = True
    free_lens[[name in fixed_lenses for name in names]] = False
    bundle = Bundle(
        np.stack([lens_values(camera) for camera in cameras]),
        *(np.stack([pose[part] for pose in camera_poses]) for part in (0, 1)),
        *(np.stack([pose[part] for pose in target_poses.values()]) for part in (0, 1)),
        fisheye=np.array([camera.is_fisheye for camera in cameras]),
    )
    return RigEstimate(
        dict(zip(names, cameras, strict=True)),
        dict(zip(names, poses, strict=True)),
        tree,
        target_poses,
        used,
        _stack_points(used, names, {key: row for row, key in enumerate(target_poses)}),
        bundle,
        free_lens,
        list(observations.sizes.values()),
    )


def _poses_of_targets(
    observations: Sequence[BoardObservation], camera: CalibratedCamera
) -> dict[PoseKey, list[TargetPose]]:
    """Return the poses of each target that one camera proposes, in the order of the frames."""
    return {
        observation.pose_key: poses
        for observation in sorted(observations, key=lambda observation: observation.frame)
        if (poses := observation_poses(observation, camera))
    }


def _stack_points(used: Sequence[BoardObservation], names: Sequence[str], rows: Mapping[PoseKey, int]) -> Observations:
    """Return the points of all observations, with the row of each point's camera and target pose."""
    return Observations(
        np.concatenate([np.full(len(observation.points), names.index(observation.view)) for observation in used]),
        np.concatenate([np.full(len(observation.points), rows[observation.pose_key]) for observation in used]),
        np.concatenate([observation.points_m for observation in used]),
        np.concatenate([observation.pixels for observation in used]),
    )


def _target_poses_in_world(
    observations: BoardObservations,
    names: list[str],
    cameras: list[CalibratedCamera],
    poses: list[dict[PoseKey, list[TargetPose]]],
    camera_poses: list[Transform],
) -> dict[PoseKey, Transform]:
    """Return the pose of each target that all cameras fit best, among those that single cameras propose."""
    by_pose: dict[PoseKey, list[BoardObservation]] = {}
    for observation in sorted(observations.found, key=lambda observation: observation.frame):
        by_pose.setdefault(observation.pose_key, []).append(observation)
    best: dict[PoseKey, Transform] = {}
    for key, group in by_pose.items():
        proposals = [
            compose_transforms(invert_transform(camera_poses[row]), (pose.R, pose.t))
            for row in range(len(names))
            for pose in poses[row].get(key, [])
        ]
        costs = [_pose_cost(group, names, cameras, camera_poses, proposal) for proposal in proposals]
        if costs and np.isfinite(min(costs)):
            best[key] = proposals[int(np.argmin(costs))]
    return best


def _pose_cost(
    group: list[BoardObservation],
    names: list[str],
    cameras: list[CalibratedCamera],
    camera_poses: list[Transform],
    target_pose: Transform,
) -> float:
    """Return the sum over views of the median distance in pixels, at most 50 px each."""
    total = 0.0
    for observation in group:
        row = names.index(observation.view)
        R, t = compose_transforms(camera_poses[row], target_pose)
        distance = np.linalg.norm(cameras[row].project(observation.points_m @ R.T + t) - observation.pixels, axis=1)
        total += min(float(np.median(np.nan_to_num(distance, nan=np.inf))), 50.0)
    return total


def lens_values(camera: CalibratedCamera) -> FloatArray:
    """Return the (12,) values of `Bundle.lenses`."""
    lens = np.zeros(0) if camera.distortion is None else camera.distortion
    return np.array([*camera.intrinsics, *lens, *[0.0] * (LENS_SIZE - 4 - len(lens))])
