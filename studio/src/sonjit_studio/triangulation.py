"""Triangulate points from their pixels in calibrated cameras, with covariances.

The linear solution (DLT) of all views, or of the inliers, is refined to the least squares of reprojection errors.
Consensus is deterministic: the pairs of views are drawn with a fixed seed.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import combinations
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from sonjit._util import BoolArray, FloatArray, IndexArray, InputError, RealArray
from sonjit.geometry.cameras import CameraModel, distort, distortion_jacobian, undistort
from sonjit_studio.rig import CameraRig

_MIN_CONDITION: Final = 1e-11
_UPPER_TRIANGLE: Final = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))  # entries that determine a symmetric matrix
_FULL_FROM_UPPER: Final = np.array([[0, 1, 2], [1, 3, 4], [2, 4, 5]])
_DLT_UNIT_M = 1e-3  # unit of the linear solution's homogeneous vector: millimetres, as is customary
_FEW_PAIRS = 15  # all pairs of 6 views
_MANY_PAIRS = 190  # all pairs of 20 views
_ENOUGH_INLIERS = 0.65  # fraction that ends the search: 15 random pairs then fail in under 1 of 5,000
_MAX_REFITS = 4
TriangulationMethod = Literal["dlt", "ransac"]
_CHUNK_OBSERVATIONS = 40_000  # views times points, so that memory does not grow with the recording
_GAUSS_NEWTON_STEPS = 30
_MIN_STEP_M = 1e-9


@dataclass(frozen=True, eq=False)
class CameraArrays:
    """A rig's C cameras as arrays."""

    K: FloatArray  # (C, 3, 3) camera matrices, pixels
    R: FloatArray  # (C, 3, 3) rotations from world to camera
    t: FloatArray  # (C, 3) translations, metres
    # indices (G,), coefficients (G, 1, C) and model of cameras with distortion, by model and number of coefficients
    lenses: tuple[tuple[IndexArray, FloatArray, CameraModel], ...]
    folds: FloatArray  # (C, 1) radii at which the lens models stop to be monotonic

    @property
    def focal_px(self) -> FloatArray:
        """Focal lengths (C, 2) in pixels."""
        return self.K[:, [0, 1], [0, 1]]

    @cached_property
    def _world_from_camera(self) -> FloatArray:
        """Matrix (6 C, 6) that sums symmetric matrices of the cameras' frames in the world's frame."""
        turned = np.empty((len(self.R), 6, 6))
        for row, (i, j) in enumerate(_UPPER_TRIANGLE):
            for column, (a, b) in enumerate(_UPPER_TRIANGLE):
                turned[:, row, column] = self.R[:, i, a] * self.R[:, j, b]
                if i != j:
                    turned[:, row, column] += self.R[:, j, a] * self.R[:, i, b]
        return turned.reshape(-1, 6)

    def _coordinate_rows(self, points_m: FloatArray) -> FloatArray:
        """Transform points (N, 3) to (C, 3, N) camera frames, NaN behind a camera or outside its lens's range."""
        in_camera = (self.R.reshape(-1, 3) @ points_m.T).reshape(len(self.R), 3, -1) + self.t[..., None]
        x, y, z = in_camera.transpose(1, 0, 2)
        unseen = ~(z > 0)
        if np.isfinite(self.folds).any():
            unseen |= np.hypot(x, y) > self.folds * z
        in_camera.transpose(0, 2, 1)[unseen] = np.nan
        return in_camera

    def project(self, points_m: FloatArray) -> FloatArray:
        """Project points (N, 3) to pixels (C, N, 2)."""
        in_camera = self._coordinate_rows(points_m).transpose(0, 2, 1)
        return self._pixels(self._distort_rays(in_camera[..., :2] / in_camera[..., 2:]))

    def undistorted_rays(self, points_px: FloatArray) -> FloatArray:
        """Return the rays (C, N, 2) at depth 1 of pixels (C, N, 2), NaN where a lens cannot show them."""
        rays = (points_px - self.K[:, None, :2, 2]) @ np.linalg.inv(self.K[:, :2, :2]).transpose(0, 2, 1)
        for cameras, coefficients, model in self.lenses:
            rays[cameras] = undistort(rays[cameras], coefficients, self.folds[cameras], model)
        return rays

    def normal_equations(
        self, points_m: FloatArray, weights: FloatArray, points_px: FloatArray | None = None
    ) -> tuple[FloatArray, FloatArray, FloatArray, BoolArray]:
        """Sum the linearised least squares of pixels (C, N, 2) at points (N, 3) over views, with weights (C, N).

        Return JT W r (N, 3); JT W J (N, 3, 3) with slopes in px / m; r W r (N,), infinite where a weighted view cannot
        see the point; and a mask (N,) of the finite, invertible JT W J. Pixels are arbitrary where the weight is 0.
        """
        in_camera = self._coordinate_rows(points_m)
        is_weighted = weights > 0
        visible = np.isfinite(in_camera[:, 2])
        used = is_weighted & visible
        x, y, z = (np.where(used, in_camera[:, axis], float(axis == 2)) for axis in range(3))
        x, y = x / z, y / z
        rays = np.stack([x, y], -1)
        root_weight = np.sqrt(np.where(used, weights, 0))
        scale = root_weight / z
        slopes = self._pixel_slopes(rays)  # two rows of two, (C, N) or (C, 1) each
        rows: list[tuple[FloatArray, FloatArray, FloatArray]] = []
        for along, across in slopes:
            rows.append((along * scale, across * scale, -(along * x + across * y) * scale))
        (r0, r1, r2), (s0, s1, s2) = rows
        first, second = (r0, r1, r2), (s0, s1, s2)
        square = np.stack([first[i] * first[j] + second[i] * second[j] for i, j in _UPPER_TRIANGLE], 1)  # (C, 6, N)
        normal = (self._world_from_camera.T @ square.reshape(len(self._world_from_camera), -1)).T[:, _FULL_FROM_UPPER]
        cost = np.where((is_weighted & ~visible).any(0), np.inf, 0.0)
        gradient = np.zeros_like(points_m)
        if points_px is not None:
            errors = points_px - self._pixels(self._distort_rays(rays))
            residual = np.where(used[..., None], errors, 0) * root_weight[..., None]
            u, v = residual[..., 0], residual[..., 1]
            cost += (u * u + v * v).sum(0)
            camera_gradient = np.stack([u * r + v * s for r, s in zip(first, second, strict=True)], 1)  # (C, 3, N)
            gradient = (self.R.reshape(-1, 3).T @ camera_gradient.reshape(3 * len(self.R), -1)).T
        finite = np.isfinite(normal.sum((1, 2)))
        values: FloatArray = np.linalg.eigvalsh(np.where(finite[:, None, None], normal, np.eye(3)))
        return gradient, normal, cost, np.asarray(finite & (values[:, 0] > _MIN_CONDITION * values[:, 2]), np.bool_)

    def _pixel_slopes(self, rays: FloatArray) -> tuple[tuple[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]:
        """Return the derivatives of pixels by rays (C, N, 2): two rows of two, (C, N) or (C, 1) each."""
        a, b, c, d = (self.K[:, i, j, None] for i in range(2) for j in range(2))
        if not self.lenses:
            return (a, b), (c, d)
        slope = np.broadcast_to(np.eye(2), (*rays.shape, 2)).copy()
        for cameras, coefficients, model in self.lenses:
            slope[cameras] = distortion_jacobian(rays[cameras], coefficients, model)
        e, f, g, h = (slope[..., i, j] for i in range(2) for j in range(2))
        return (a * e + b * g, a * f + b * h), (c * e + d * g, c * f + d * h)

    def _distort_rays(self, rays: FloatArray) -> FloatArray:
        """Distort rays (C, N, 2) by each camera's lens."""
        shown = rays.copy() if self.lenses else rays
        for cameras, coefficients, model in self.lenses:
            shown[cameras] = distort(rays[cameras], coefficients, model)
        return shown

    def _pixels(self, rays: FloatArray) -> FloatArray:
        """Convert distorted rays (C, N, 2) to pixels."""
        return rays @ self.K[:, :2, :2].transpose(0, 2, 1) + self.K[:, None, :2, 2]


def camera_arrays(rig: CameraRig) -> CameraArrays:
    """Return a rig's cameras as arrays."""
    groups: dict[tuple[int, CameraModel], list[int]] = {}
    lenses = [np.zeros(0) if view.camera.distortion is None else view.camera.distortion for view in rig]
    for index, (view, lens) in enumerate(zip(rig, lenses, strict=True)):
        if len(lens):
            groups.setdefault((len(lens), view.camera.model), []).append(index)
    return CameraArrays(
        np.stack([np.asarray(camera.camera.K, np.float64) for camera in rig]),
        np.stack([camera.R for camera in rig]),
        np.stack([camera.t for camera in rig]),
        tuple(
            (np.array(members), np.stack([np.asarray(lenses[k], np.float64) for k in members])[:, None], model)
            for (_, model), members in sorted(groups.items())
        ),
        np.array([[camera.camera.fold] for camera in rig]),
    )


def linear_triangulation(views: CameraArrays, rays: FloatArray, weights: FloatArray) -> FloatArray:
    """Solve the direct linear transform for points (N, 3), metres: least rows u P3 - P1, v P3 - P2 with P = K [R | t].

    Rays (C, N, 2) are undistorted at depth 1, with weights (C, N) of squared rows, 0 if unseen. NaN with fewer than two
    views or if the rays do not meet. Source: Hartley and Zisserman, Multiple View Geometry, 12.2.
    """
    rows = np.concatenate([views.R, views.t[..., None]], 2)  # (C, 3, 4) metres
    fx2, fy2 = (views.focal_px**2).T[..., None]  # (C, 1) each: weight pixels instead of rays
    x, y = np.moveaxis(np.where(weights[..., None] > 0, rays, 0), -1, 0)
    p0, p1, p2 = rows.transpose(1, 0, 2)
    terms = (
        (weights * (fx2 * x * x + fy2 * y * y), _symmetric_outer(p2, p2)),
        (-weights * fx2 * x, _symmetric_outer(p2, p0)),
        (-weights * fy2 * y, _symmetric_outer(p2, p1)),
        (weights * fx2, _symmetric_outer(p0, p0)),
        (weights * fy2, _symmetric_outer(p1, p1)),
    )
    normal = np.asarray(sum(np.einsum("cn,cij->nij", *term, optimize=True) for term in terms))  # (N, 4, 4)
    normal = (normal + normal.transpose(0, 2, 1)) / 2
    scale = np.array([1, 1, 1, 1 / _DLT_UNIT_M])
    usable = (weights > 0).sum(0) >= 2
    points = np.full((len(normal), 3), np.nan)
    if not usable.any():
        return points
    normal = normal[usable] * scale * scale[:, None]
    smallest = np.linalg.eigvalsh(normal)[:, :1, None]
    # With the least eigenvalue known, the point follows from the three well-conditioned rows: exact where the
    # eigenvector of a matrix in millimetres loses digits.
    square = normal[:, :3, :3] - smallest * np.eye(3)
    well_conditioned = np.linalg.cond(square) < 1e12
    square[~well_conditioned] = np.eye(3)
    solution = np.linalg.solve(square, -normal[:, :3, 3:])[..., 0] * _DLT_UNIT_M
    points[usable] = np.where(well_conditioned[:, None], solution, np.nan)
    return points


def _symmetric_outer(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return (C, 4, 4) a bT + b aT, or a aT if both are the same."""
    square = a[:, :, None] * b[:, None, :]
    return square if a is b else square + square.transpose(0, 2, 1)


def consensus(
    views: CameraArrays, points_px: FloatArray, rays: FloatArray, weights: FloatArray, threshold_px: float
) -> tuple[FloatArray, BoolArray]:
    """Triangulate points (N, 3), NaN without two inliers, from views that agree within a threshold (MSAC).

    Each pair of views, of up to 190 drawn with a fixed seed, proposes a point. The proposal of the least sum of squared
    pixels, capped at the threshold, is refitted to all its inliers (C, N) until they stay. Pixels (C, N, 2) are
    distorted and rays (C, N, 2) are not; weights (C, N) are 0 where a view has none.
    """
    _, count = weights.shape
    points, cost = np.full((count, 3), np.nan), np.full(count, np.inf)
    open_points = np.flatnonzero((weights > 0).sum(0) >= 2)
    for first, last in ((0, _FEW_PAIRS), (_FEW_PAIRS, _MANY_PAIRS)):
        if not len(open_points):
            break
        own_rays, own_weights = rays[:, open_points], weights[:, open_points]
        proposed, proposed_cost = _best_of_pairs(views, own_rays, own_weights, threshold_px, slice(first, last))
        is_better = proposed_cost < cost[open_points]
        points[open_points[is_better]], cost[open_points[is_better]] = proposed[is_better], proposed_cost[is_better]
        agree = _inliers(views, points[open_points], points_px[:, open_points], own_weights, threshold_px)
        finite = (own_weights > 0).sum(0)
        open_points = open_points[(agree.sum(0) < _ENOUGH_INLIERS * finite) & (finite * (finite - 1) // 2 > _FEW_PAIRS)]
    inlier = _inliers(views, points, points_px, weights, threshold_px)
    unsettled = np.flatnonzero(inlier.any(0))
    for _ in range(_MAX_REFITS):
        if not len(unsettled):
            break
        before = inlier[:, unsettled]
        points[unsettled] = linear_triangulation(views, rays[:, unsettled], np.where(before, weights[:, unsettled], 0))
        after = _inliers(views, points[unsettled], points_px[:, unsettled], weights[:, unsettled], threshold_px)
        inlier[:, unsettled] = after
        unsettled = unsettled[(after != before).any(0)]
    return points, inlier


def _inliers(
    views: CameraArrays, points_m: FloatArray, points_px: FloatArray, weights: FloatArray, threshold_px: float
) -> BoolArray:
    """Return the views (C, N) whose pixel is within the threshold of the point's projection."""
    gap = views.project(points_m) - points_px
    return (weights > 0) & (gap[..., 0] ** 2 + gap[..., 1] ** 2 <= threshold_px**2)


def _best_of_pairs(
    views: CameraArrays, rays: FloatArray, weights: FloatArray, threshold_px: float, which: slice
) -> tuple[FloatArray, FloatArray]:
    """Return proposed points (N, 3) of least capped cost, and the cost (N,), scored on undistorted rays for speed."""
    cameras, count = weights.shape
    finite = weights > 0
    order = np.argsort(~finite, axis=0, kind="stable")  # (C, N) each point's views first
    pairs = _sample_pairs(cameras, which.stop)[finite.sum(0), which]  # (N, H, 2) ranks
    chosen = np.take_along_axis(order.T[..., None], pairs.reshape(count, -1, 1), 1)
    first, second = np.moveaxis(chosen.reshape(pairs.shape), -1, 0)
    proposed = _midpoints(views, rays, first, second)  # (N, H, 3)
    flat = proposed.reshape(-1, 3)
    cost = np.zeros(len(flat))
    scales = np.append(views.focal_px, np.ones((cameras, 1)), 1)[..., None]
    rows = np.concatenate([views.R, views.t[..., None]], 2) * scales
    for projection, pixels, weight in zip(rows, rays * views.focal_px[:, None], weights, strict=True):  # fits the cache
        x, y, z = projection[:, :3] @ flat.T + projection[:, 3:]
        z[z <= 0] = np.nan
        x = (x / z).reshape(count, -1) - pixels[:, :1]
        y = (y / z).reshape(count, -1) - pixels[:, 1:]
        square = np.fmin(x * x + y * y, threshold_px**2) * weight[:, None]  # fmin: a NaN counts as far off
        cost += square.reshape(-1)
    cost = np.where(np.isfinite(proposed[..., 0]), cost.reshape(count, -1), np.inf)  # (N, H)
    best = cost.argmin(1)
    row = np.arange(count)
    return proposed[row, best], cost[row, best]


def _midpoints(views: CameraArrays, rays: FloatArray, first: IndexArray, second: IndexArray) -> FloatArray:
    """Return points (N, H, 3) halfway between the rays of two views (N, H) each, NaN for parallel rays."""
    directions = np.concatenate([rays, np.ones_like(rays[..., :1])], -1) @ views.R  # (C, N, 3)
    centres = -(views.R.transpose(0, 2, 1) @ views.t[..., None])[..., 0]
    row = np.arange(rays.shape[1])[:, None]
    d1, d2 = directions[first, row], directions[second, row]
    baseline = centres[second] - centres[first]
    d11, d22, d12 = ((a * b).sum(-1) for a, b in ((d1, d1), (d2, d2), (d1, d2)))
    a1, a2 = (d1 * baseline).sum(-1), (d2 * baseline).sum(-1)
    across = d11 * d22 - d12**2
    across[across < 1e-12 * d11 * d22] = np.nan
    s1, s2 = (a1 * d22 - a2 * d12) / across, (a1 * d12 - a2 * d11) / across
    return (centres[first] + s1[..., None] * d1 + centres[second] + s2[..., None] * d2) / 2


@lru_cache(maxsize=4)
def _sample_pairs(cameras: int, max_pairs: int) -> IndexArray:
    """Return (cameras + 1, max_pairs, 2) for each number of views the pairs to try: all, repeated, or a sample."""
    table = np.zeros((cameras + 1, max_pairs, 2), np.intp)
    for views in range(2, cameras + 1):
        all_pairs = np.array(list(combinations(range(views), 2)))
        order = np.random.default_rng(views).permutation(len(all_pairs))
        table[views] = all_pairs[np.resize(order, max_pairs)]
    return table


@dataclass(frozen=True, eq=False)
class Triangulation:
    """Points in space and their uncertainty.

    Attributes:
        points_m: (..., 3) metres in the world, NaN where not ok.
        covariance_m2: (..., 3, 3) covariances for the residuals' noise, at least 1 px, NaN where not ok.
        residual_px: (C, ...) distance of each view's pixel from the projection, also of outliers, NaN where unknown.
        inlier: (C, ...) views that determined the point.
        ok: (...) whether at least two views agree on the point.
    """

    points_m: FloatArray
    covariance_m2: FloatArray
    residual_px: FloatArray
    inlier: BoolArray
    ok: BoolArray

    @property
    def std_m(self) -> FloatArray:
        """Root (...) of the covariance's trace, metres."""
        return np.sqrt(np.trace(self.covariance_m2, axis1=-2, axis2=-1))


def triangulate(
    rig: CameraRig,
    points_px: RealArray,
    valid: BoolArray | None = None,
    confidence: RealArray | None = None,
    *,
    method: TriangulationMethod = "dlt",
    refine: bool = True,
    threshold_px: float = 10.0,
) -> Triangulation:
    """Triangulate points from pixels of a rig's cameras.

    Args:
        rig: Rig of C cameras.
        points_px: (C, ..., 2) distorted pixels of each point in each camera.
        valid: (C, ...) mask of known points. By default those that are finite.
        confidence: (C, ...) weights above 0. Equal by default.
        method: dlt for all views, or ransac for those that agree within the threshold.
        refine: If True, refine the linear solution to the least squares of pixels.
        threshold_px: Largest reprojection error of an inlier, pixels, for `ransac`.

    Raises:
        InputError: The arrays do not fit the rig or each other, or the threshold is not above 0.
    """
    pixels = np.asarray(points_px, np.float64)
    weights = _check_inputs(rig, pixels, valid, confidence, threshold_px)
    shape, count = pixels.shape[1:-1], weights[0].size
    flat, weights = pixels.reshape(len(rig), count, 2), weights.reshape(len(rig), count)
    views = camera_arrays(rig)
    points, covariance, ok = np.empty((count, 3)), np.empty((count, 3, 3)), np.empty(count, np.bool_)
    residual, inlier = np.empty((len(rig), count)), np.empty((len(rig), count), np.bool_)
    size = max(_CHUNK_OBSERVATIONS // len(rig), 64)
    for start in range(0, count, size):
        part = slice(start, start + size)
        points[part], covariance[part], residual[:, part], inlier[:, part], ok[part] = _triangulate_part(
            views, flat[:, part], weights[:, part], method=method, refine=refine, threshold_px=threshold_px
        )
    view_shape = (len(rig), *shape)
    return Triangulation(
        points.reshape(*shape, 3),
        covariance.reshape(*shape, 3, 3),
        residual.reshape(view_shape),
        inlier.reshape(view_shape),
        ok.reshape(shape),
    )


def _triangulate_part(
    views: CameraArrays,
    pixels: FloatArray,
    weights: FloatArray,
    *,
    method: TriangulationMethod,
    refine: bool,
    threshold_px: float,
) -> tuple[NDArray[Any], ...]:
    """Return the fields of `Triangulation` for pixels (C, N, 2) and weights (C, N)."""
    rays = views.undistorted_rays(pixels)
    weights = np.where(np.isfinite(rays).all(-1), weights, 0)  # a pixel that the lens cannot show has no ray
    if method == "ransac":
        points, inlier = consensus(views, pixels, rays, weights, threshold_px)
    else:
        inlier = weights > 0
        points = linear_triangulation(views, rays, weights)
    used = np.where(inlier, weights, 0)
    if refine:
        points = refine_points(views, points, pixels, used)
    residual = np.linalg.norm(views.project(points) - pixels, axis=-1)
    if method == "ransac":
        inlier = (weights > 0) & (residual <= threshold_px)
        used = np.where(inlier, weights, 0)
    covariance = covariances(views, points, residual, used)
    visible = np.isfinite(np.where(inlier, residual, 0)).all(0)  # visible in every inlier view
    ok = (inlier.sum(0) >= 2) & visible & np.isfinite(points).all(1) & np.isfinite(covariance).all((1, 2))
    points, covariance = np.where(ok[:, None], points, np.nan), np.where(ok[:, None, None], covariance, np.nan)
    return points, covariance, np.where(ok & (weights > 0), residual, np.nan), inlier & ok, ok


def _check_inputs(
    rig: CameraRig, pixels: FloatArray, valid: BoolArray | None, confidence: RealArray | None, threshold_px: float
) -> FloatArray:
    """Return the weights (C, ...) of points, 0 where unknown. Raise an InputError if the arrays do not fit."""
    if pixels.ndim < 2 or pixels.shape[-1] != 2 or len(pixels) != len(rig):
        raise InputError(f"points_px must have shape ({len(rig)}, ..., 2), not {pixels.shape}")
    finite: BoolArray = np.isfinite(pixels[..., 0]) & np.isfinite(pixels[..., 1])
    for name, array in (("valid", valid), ("confidence", confidence)):
        if array is not None and np.shape(array) != finite.shape:
            raise InputError(f"{name} must have shape {finite.shape}, not {np.shape(array)}")
    finite &= True if valid is None else np.asarray(valid, np.bool_)
    weights = np.ones(finite.shape) if confidence is None else np.asarray(confidence, np.float64)
    if (weights[finite] < 0).any():
        raise InputError(f"confidence must be 0 or more, not {weights[finite].min():g}")
    if not threshold_px > 0:
        raise InputError(f"threshold_px must be above 0, not {threshold_px}")
    return np.where(finite & np.isfinite(weights), weights, 0)


def refine_points(views: CameraArrays, points_m: FloatArray, points_px: FloatArray, weights: FloatArray) -> FloatArray:
    """Refine points (N, 3) by Gauss-Newton steps to the least weighted squared pixels (C, N, 2); NaN stays NaN.

    A step that would increase the error is shortened. Pixels are arbitrary where the weight is 0.
    """
    points = points_m.copy()
    moving = np.flatnonzero(np.isfinite(points).all(1))
    trial, best, steps = points.copy(), np.full(len(points), np.inf), np.zeros_like(points)
    for _ in range(_GAUSS_NEWTON_STEPS):
        if not len(moving):
            break
        equations = views.normal_equations(trial[moving], weights[:, moving], points_px[:, moving])
        gradient, normal, cost, invertible = equations  # an infinite cost where a weighted view cannot see the point
        solvable = np.isfinite(cost) & invertible
        normal[~solvable], gradient[~solvable] = np.eye(3), 0
        step = np.linalg.solve(normal, gradient[..., None])[..., 0]
        better = cost < best[moving]
        points[moving[better]], best[moving[better]] = trial[moving[better]], cost[better]
        steps[moving] = np.where(better[:, None], step, steps[moving] / 4)
        moving = moving[np.abs(steps[moving]).max(1) > _MIN_STEP_M]
        trial[moving] = points[moving] + steps[moving]
    return points


def covariances(views: CameraArrays, points_m: FloatArray, residual_px: FloatArray, weights: FloatArray) -> FloatArray:
    """Propagate pixels' noise to the points (N, 3), to first order, as (N, 3, 3) m2, NaN where undetermined.

    The noise is 1 px along each axis, or that of residuals (C, N) if larger; unused views have weight 0.
    """
    is_used = weights > 0
    _, normal, cost, invertible = views.normal_equations(points_m, weights)
    invertible &= np.isfinite(cost)
    normal[~invertible] = np.eye(3)
    freedom = np.maximum(2 * is_used.sum(0) - 3, 1)
    observed_noise = np.where(is_used, weights * residual_px**2, 0).sum(0) / freedom
    mean = np.where(is_used, weights, 0).sum(0) / np.maximum(is_used.sum(0), 1)
    covariance = np.linalg.inv(normal) * np.maximum(observed_noise, mean)[:, None, None]
    return np.where(invertible[:, None, None], covariance, np.nan)
