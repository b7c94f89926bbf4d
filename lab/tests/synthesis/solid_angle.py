"""Depth of points in a closed mesh by solid angles and nearest triangles, independent of the tested code."""

import numpy as np
from trimesh.triangles import closest_point


def depth_inside(points, vertices, faces):
    """Return the maximum depth in metres of points (N, 3) in a mesh, or 0."""
    triangles = vertices[faces]
    near = points[((points > vertices.min(0)) & (points < vertices.max(0))).all(1)]
    inside = [point for point in near if _turns(point, triangles) > 0.5]
    return max((_distance(point, triangles) for point in inside), default=0.0)


def _turns(point, triangles):
    """Return the winding number of a mesh around a point (van Oosterom and Strackee 1983)."""
    a, b, c = np.moveaxis(triangles - point, 1, 0)
    la, lb, lc = (np.linalg.norm(each, axis=1) for each in (a, b, c))
    volume = (a * np.cross(b, c)).sum(1)
    rest = la * lb * lc + (a * b).sum(1) * lc + (b * c).sum(1) * la + (c * a).sum(1) * lb
    return np.arctan2(volume, rest).sum() / (2 * np.pi)


def _distance(point, triangles):
    triangles = triangles[np.linalg.norm(triangles[:, 0] - point, axis=1) < 0.04]  # no hand is thicker
    return float(np.linalg.norm(closest_point(triangles, np.tile(point, (len(triangles), 1))) - point, axis=1).min())
