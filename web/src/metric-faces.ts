/**
 * Estimate the pose of a face in metric space, from its landmarks in the image and a canonical face
 * of known size.
 *
 * The camera looks along -z with y up. Scale is estimated first without perspective, then with it.
 *
 * Sources: the face geometry module of MediaPipe; Horn 1987, Closed-form solution of absolute
 * orientation using unit quaternions; Golub and Van Loan, Matrix Computations, 8.5 (Jacobi).
 */

import { constants } from "./data.js";

const { NEAR, HALF_HEIGHT } = constants.metric_faces;
const SWEEPS = 30;

/** A face of known size that looks straight into the camera. */
export interface CanonicalFace {
  readonly points: Float64Array; // (468, 3) x right, y up, z towards the viewer, in centimetres
  readonly weights: Float64Array; // (468,) weight of each point in the fit; most are 0
}

export type Vector = readonly [number, number, number];

/** A rotation with scale, and a translation. */
interface Similarity {
  readonly linear: readonly Vector[]; // (3, 3) rotation times scale
  readonly scale: number;
  readonly shift: Vector;
}

/**
 * Return the rows of the matrix (4, 4) from the canonical face to the camera, from its 468 or more
 * landmarks in pixels.
 */
export function faceTransform(
  points: Float32Array,
  face: CanonicalFace,
  width: number,
  height: number,
): number[][] {
  const pixel = (2 * HALF_HEIGHT) / height; // on the near plane
  const placed = Array.from(face.weights, (_, k): Vector => [
    (points[3 * k]! - width / 2) * pixel,
    (points[3 * k + 1]! - height / 2) * -pixel,
    points[3 * k + 2]! * pixel,
  ]);
  const middle = placed.reduce((sum, [, , z]) => sum + z, 0) / placed.length;
  const used = [...face.weights.keys()].filter((k) => face.weights[k]);
  const weights = used.map((k) => face.weights[k]!);
  const canonical = used.map((k): Vector => [
    face.points[3 * k]!,
    face.points[3 * k + 1]!,
    face.points[3 * k + 2]!,
  ]);
  const screen = used.map((k) => placed[k]!);
  const inSpace = (scale: number) =>
    screen.map(([x, y, z]): Vector => {
      const depth = (z - middle + NEAR) / scale;
      return [(x * depth) / NEAR, (y * depth) / NEAR, -depth];
    });
  const { scale: flat } = alignment(
    canonical,
    screen.map(([x, y, z]): Vector => [x, y, -z]),
    weights,
  );
  const { scale } = alignment(canonical, inSpace(flat), weights);
  const { linear, shift } = alignment(canonical, inSpace(flat * scale), weights);
  return [...linear.map((row, axis) => [...row, shift[axis]!].map(Math.fround)), [0, 0, 0, 1]];
}

/** Return the similarity that maps points onto others, by weighted least squares. */
function alignment(
  source: readonly Vector[],
  target: readonly Vector[],
  weights: readonly number[],
): Similarity {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const mean = (points: readonly Vector[]) =>
    [0, 1, 2].map((axis) =>
      points.reduce((sum, point, k) => sum + (weights[k]! / total) * point[axis]!, 0),
    ) as unknown as Vector;
  const [from, to] = [mean(source), mean(target)];
  const covariance = [0, 1, 2].map((i) =>
    [0, 1, 2].map((j) =>
      source.reduce(
        (sum, point, k) =>
          sum + (weights[k]! / total) * (point[i]! - from[i]!) * (target[k]![j]! - to[j]!),
        0,
      ),
    ),
  );
  const variance = source.reduce(
    (sum, point, k) =>
      sum +
      (weights[k]! / total) *
        point.reduce((square, value, axis) => square + (value - from[axis]!) ** 2, 0),
    0,
  );
  const rotation = rotationFrom(covariance);
  const scale =
    rotation.reduce(
      (sum, row, i) => sum + row.reduce((part, value, j) => part + value * covariance[j]![i]!, 0),
      0,
    ) / variance;
  const linear = rotation.map((row) => row.map((value) => scale * value) as unknown as Vector);
  const shift = linear.map(
    (row, axis) => to[axis]! - row.reduce((sum, value, j) => sum + value * from[j]!, 0),
  ) as unknown as Vector;
  return { linear, scale, shift };
}

/**
 * Return the rotation from the covariance (3, 3) of points with their targets, by Horn's
 * quaternion.
 */
export function rotationFrom(s: readonly (readonly number[])[]): Vector[] {
  const [[xx, xy, xz], [yx, yy, yz], [zx, zy, zz]] = s as unknown as [Vector, Vector, Vector];
  const [w, x, y, z] = mainAxis([
    [xx + yy + zz, yz - zy, zx - xz, xy - yx],
    [yz - zy, xx - yy - zz, xy + yx, zx + xz],
    [zx - xz, xy + yx, yy - xx - zz, yz + zy],
    [xy - yx, zx + xz, yz + zy, zz - xx - yy],
  ]) as [number, number, number, number];
  return [
    [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
    [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
    [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
  ];
}

/**
 * Return the eigenvector of a symmetric matrix's largest eigenvalue, by Jacobi's rotations. It
 * changes the matrix.
 */
function mainAxis(matrix: number[][]): number[] {
  const size = matrix.length;
  const axes = matrix.map((_, i) => matrix.map((__, j) => Number(i === j)));
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    for (let p = 0; p < size; p++) {
      for (let q = p + 1; q < size; q++) {
        if (matrix[p]![q] === 0) continue;
        const angle = Math.atan2(2 * matrix[p]![q]!, matrix[q]![q]! - matrix[p]![p]!) / 2;
        const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
        const turn = (row: number[]) =>
          ([row[p], row[q]] = [cos * row[p]! - sin * row[q]!, sin * row[p]! + cos * row[q]!]);
        for (const row of [...matrix, ...axes]) turn(row);
        for (let j = 0; j < size; j++) {
          const [a, b] = [matrix[p]![j]!, matrix[q]![j]!];
          [matrix[p]![j], matrix[q]![j]] = [cos * a - sin * b, sin * a + cos * b];
        }
      }
    }
  }
  const values = matrix.map((row, i) => row[i]!);
  const largest = values.indexOf(Math.max(...values));
  return axes.map((row) => row[largest]!);
}
