/** Results in the shape of tfjs-models, with `id`, `box` and z besides, as a Sonjit server answers them. */

export interface NamedPoint {
  x: number;
  y: number;
  /** Missing where nothing is known of it. */
  z?: number;
  /** Missing where it has none. */
  name?: string;
}

export interface Box {
  xMin: number;
  yMin: number;
  xMax: number;
  yMax: number;
  width: number;
  height: number;
}

/** What all kinds have. */
export interface Found {
  /** Stable while the instance is tracked; null for stills. */
  readonly id: number | null;
  readonly keypoints: NamedPoint[];
  readonly box: Box;
}

/** Points (K, 3) with their names. */
export function found(points: Float32Array, names: readonly string[]): NamedPoint[] {
  return names.map((name, i) => {
    const [x, y, z] = [points[3 * i]!, points[3 * i + 1]!, points[3 * i + 2]!];
    return { x, y, ...(Number.isNaN(z) ? {} : { z }), ...(name ? { name } : {}) };
  });
}

export function boxOf([xMin, yMin, xMax, yMax]: readonly [number, number, number, number]): Box {
  return { xMin, yMin, xMax, yMax, width: xMax - xMin, height: yMax - yMin };
}

/** The same instance with x mirrored in an image of that width; labels stay the person's own. */
export function flipped<R extends Found>(result: R, width: number): R {
  const { xMin, xMax } = result.box;
  return {
    ...result,
    keypoints: result.keypoints.map((point) => ({ ...point, x: width - point.x })),
    ...("keypoints3D" in result
      ? { keypoints3D: (result.keypoints3D as NamedPoint[]).map((point) => ({ ...point, x: -point.x })) }
      : {}),
    box: { ...result.box, xMin: width - xMax, xMax: width - xMin },
  };
}
