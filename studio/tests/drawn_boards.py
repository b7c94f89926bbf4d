"""A flat board drawn exactly by its homography, through the lens, with many rays per pixel."""

from functools import cache

import cv2
import numpy as np

from sonjit.geometry.rotations import matrix_from_rotation_vector

_SQUARE_PX = 60


@cache
def _rays_of(view, rays):
    y, x = (np.mgrid[: view.height * rays, : view.width * rays] + 0.5) / rays
    flat = view.camera.undistorted_rays(np.stack([x, y], -1))
    return np.concatenate([flat, np.ones_like(flat[..., :1])], -1).astype(np.float32)


def draw_seen(board, place, view, *, rays=3, background=90):
    """(H, W, 3) what a camera sees of a board at a place (R, t) target to world; means of rays x rays per pixel."""
    print_px = board.draw(_SQUARE_PX, _SQUARE_PX)
    R, t = view.R @ place[0], view.R @ place[1] + view.t
    # a ray meets the board where R (u, v, 0) + t is along it: linear in (u, v) by the plane's homography
    to_plane = np.linalg.inv(np.stack([R[:, 0], R[:, 1], t], 1))
    met = _rays_of(view, rays) @ to_plane.T.astype(np.float32)
    at = met[..., :2] / met[..., 2:] * np.float32(_SQUARE_PX / board.square_m) + np.float32(_SQUARE_PX - 0.5)
    at[met[..., 2] <= 0] = -1e6
    seen = cv2.remap(print_px, at, None, cv2.INTER_LINEAR, borderValue=background)
    return cv2.cvtColor(cv2.resize(seen, (view.width, view.height), interpolation=cv2.INTER_AREA), cv2.COLOR_GRAY2RGB)


def held_places(count, seed, *, reach_m=0.12, tilt_rad=0.6, towards=(0, 0, -1.0)):
    """Return poses of a board's upper left corner near the centre of a rig, with its print towards a direction."""
    rng = np.random.default_rng(seed)
    away = -np.array(towards) / np.linalg.norm(towards)
    right = np.cross([0.0, 1, 0.1], away)
    right /= np.linalg.norm(right)
    facing = np.stack([right, np.cross(away, right), away], 1)
    return [
        (facing @ matrix_from_rotation_vector(rng.uniform(-tilt_rad, tilt_rad, 3)), rng.uniform(-reach_m, reach_m, 3))
        for _ in range(count)
    ]


def middled(board, place):
    """Return the pose moved so that the centre of the board is at the former corner."""
    R, t = place
    return R, t - R @ board.points_m.mean(0)
