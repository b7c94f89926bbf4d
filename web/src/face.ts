/**
 * MediaPipe Face Mesh (Kartynnik et al. 2019; Grishchenko et al. 2020): 468 landmarks, or 478 with
 * refined lips, eyes and irises; and MediaPipe Face Detection (Bazarevsky et al. 2019): a box and
 * six keypoints.
 */

import { BLENDSHAPES, constants } from "./data.js";
import { faceTransform, type CanonicalFace } from "./metric-faces.js";
import type { Network } from "./network.js";
import {
  boxBetween,
  cornersOf,
  meanPixels,
  movedPoints,
  pointAt,
  pointsFromCrop,
  sigmoid,
  squareBox,
  wrapAngle,
  type Corners,
  type Observation,
  type Point,
  type RotatedBox,
} from "./observations.js";
import type { Settings } from "./options.js";
import { cropInto, type Pixels } from "./pixels.js";
import { boxOf, type Face, type InWorker } from "./results.js";
import { imageSmoother, keypointSmoothers, type OneEuro, type SmootherOf } from "./smoothing.js";
import type { Detection, SingleShotDetector } from "./ssd.js";
import { overlapByHalf, type Kind, type Track } from "./tracking.js";

const OF = { ...constants.face, ...constants.face_refinement, ...constants.face_networks };
const { LIPS, LEFT_EYE, RIGHT_EYE } = constants.face_regions;
const IRISES = OF.REFINED - OF.MESH;
/**
 * Index of each refined landmark in the points of the mesh and the regions. The last of several
 * counts.
 */
const SOURCES = new Uint16Array(OF.REFINED);
[
  ...Array(OF.MESH).keys(),
  ...LIPS,
  ...LEFT_EYE,
  ...RIGHT_EYE,
  ...Array.from({ length: IRISES }, (_, i) => OF.MESH + i),
].forEach((target, source) => (SOURCES[target] = source));

export type FaceObservation = Observation & {
  readonly keypoints3D: null;
  readonly left: null;
  readonly colours: null;
};

/** Parts of a face landmarker's bundle. */
export interface BundleParts {
  // network that maps (1, 146, 2) to 52 numbers; null unless requested
  readonly blendshapes: Network | null;
  // face from which transforms start; null unless requested
  readonly canonical: CanonicalFace | null;
}

/** Base of meshes and boxes. */
abstract class Faces {
  readonly overlapKeypoints = null;

  newSmoother(settings: Settings): SmootherOf<FaceObservation> {
    return keypointSmoothers(settings);
  }

  propagate(observation: FaceObservation, shift: Point, score: number): FaceObservation {
    return { ...observation, keypoints: movedPoints(observation.keypoints, shift), score };
  }
}

/** Detects faces and their meshes; with the parts of a bundle, as in a face landmarker's graph. */
export class FaceMeshes extends Faces implements Kind<FaceObservation> {
  readonly isSameInstance = overlapByHalf;
  readonly keepsOverlapping: boolean; // A bundle's graph keeps every box of its detector

  /**
   * `mirrored`: the images are selfie views. `turns`: detect doubtful faces again upside down,
   * which MediaPipe does not.
   */
  constructor(
    private readonly faces: SingleShotDetector,
    private readonly landmarks: Network,
    private readonly bundle: BundleParts | null = null,
    readonly mirrored = false,
    private readonly turns = false,
  ) {
    super();
    this.keepsOverlapping = bundle !== null;
  }

  /** A bundle's graph smooths a single face but not several. */
  override newSmoother(settings: Settings): SmootherOf<FaceObservation> {
    if (this.bundle === null || settings.smoothing !== "published" || settings.max_instances !== 1)
      return super.newSmoother(settings);
    return () => imageSmoother(...(OF.BUNDLE_SMOOTHING as ConstructorParameters<typeof OneEuro>));
  }

  /** Return boxes turned so that the eyes are level, best first. */
  async find(image: Pixels, minScore: number): Promise<RotatedBox[]> {
    const faces = await this.faces.find(image, minScore);
    if (this.turns)
      for (const [k, face] of faces.entries()) faces[k] = await this.#turnedUpright(image, face);
    const growth = { scale: OF.BOX_SCALE, shift_y: 0, isSquare: this.bundle === null };
    return faces.map((face) => boxAroundDetection(face, growth));
  }

  /** Return the box of the best face in a square box around a head, or null. */
  async findIn(image: Pixels, head: RotatedBox, minScore: number): Promise<RotatedBox | null> {
    const [face] = await this.faces.findIn(image, head, minScore);
    if (!face) return null;
    const [xs, ys] = [face.keypoints.map(([x]) => x), face.keypoints.map(([, y]) => y)];
    const corners = [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)] as const;
    return boxAroundFace(corners, face.keypoints[0]!, face.keypoints[1]!, {
      scale: OF.AROUND_KEYPOINTS,
      shift_y: OF.SHIFT_Y,
    });
  }

  /**
   * Return a doubtful face, or the upside-down face in its place if detector and meshes find that
   * likelier.
   */
  async #turnedUpright(image: Pixels, face: Detection): Promise<Detection> {
    if (face.score >= OF.CERTAIN) return face;
    const area = boxAroundDetection(face);
    const turned = boxAroundDetection(face, { scale: OF.TURNED_SCALE, shift_y: OF.TURNED_SHIFT_Y });
    const [down] = await this.faces.findIn(
      image,
      { ...turned, rotation: wrapAngle(turned.rotation + Math.PI) },
      OF.MIN_TURNED,
    );
    if (!down) return face;
    const [up] = await this.faces.findIn(image, area, OF.MIN_AGAIN);
    const turnedLikelihood = await this.likelihood(image, boxAroundDetection(down), down.score);
    if (turnedLikelihood <= (await this.likelihood(image, area, up?.score ?? OF.UNSEEN)))
      return face;
    return up &&
      turnedLikelihood <= (await this.likelihood(image, boxAroundDetection(up), up.score))
      ? face
      : down;
  }

  /**
   * Return a measure of a face in a box from its scores and the agreement of the meshes of two
   * inferences.
   */
  private async likelihood(image: Pixels, box: RotatedBox, detection: number): Promise<number> {
    const logit = (score: number) =>
      Math.log(Math.max(score, OF.LEAST) / Math.max(1 - score, OF.LEAST));
    const first = await this.observe(image, box);
    const apart =
      meanPixels(first.keypoints, (await this.observe(image, this.boxAfter(first))).keypoints) /
      box.width;
    return (
      OF.DETECTION_WEIGHT * logit(detection) +
      logit(first.score) -
      Math.log(Math.max(apart, OF.LEAST_DISTANCE))
    );
  }

  /** Run the landmark network on one box. */
  async observe(image: Pixels, box: RotatedBox): Promise<FaceObservation> {
    cropInto(image, box, this.landmarks);
    const { input, size } = this.landmarks;
    for (let row = 0; this.mirrored && row < size; row++) {
      const pixels = input.slice(3 * size * row, 3 * size * (row + 1));
      for (let x = 0; x < size; x++)
        input.set(pixels.subarray(3 * x, 3 * x + 3), 3 * (size * (row + 1) - 1 - x));
    }
    const [mesh, ...rest] = await this.landmarks.run();
    const logit = rest.pop()![0]!;
    const points = mirroredPoints(
      rest.length ? refined(mesh!, rest) : mesh!,
      this.mirrored ? size : null,
    );
    const keypoints = pointsFromCrop(points, box, this.landmarks.size, 1);
    if (this.bundle !== null) {
      // Its graph scales depth by the width of the crop as a fraction of the image.
      const stretch = Math.hypot(
        Math.cos(box.rotation),
        (Math.sin(box.rotation) * image.width) / image.height,
      );
      for (let i = 2; i < keypoints.length; i += 3) keypoints[i]! *= stretch;
    }
    return {
      score: sigmoid(logit),
      keypoints,
      keypoints3D: null,
      left: null,
      colours: null,
    };
  }

  /** Return the box of the next frame, from the observation without smoothing. */
  follow({ observation }: Track<FaceObservation>): RotatedBox {
    return this.boxAfter(observation);
  }

  /** Return the enlarged box around all landmarks, turned so that the eyes are level. */
  boxAfter({ keypoints }: FaceObservation): RotatedBox {
    const [right, left] = this.mirrored
      ? [OF.LEFT_CORNER, OF.RIGHT_CORNER]
      : [OF.RIGHT_CORNER, OF.LEFT_CORNER];
    return boxAroundFace(cornersOf(keypoints), pointAt(keypoints, right), pointAt(keypoints, left));
  }

  async result(
    { width, height }: Pixels,
    { score, keypoints }: FaceObservation,
    track: Track<FaceObservation> | null,
  ): Promise<InWorker<Face>> {
    const { blendshapes, canonical } = this.bundle ?? {};
    const points = mirroredPoints(keypoints, this.mirrored ? width : null);
    if (blendshapes)
      constants.face_bundle.POINTS.forEach((k, i) =>
        blendshapes.input.set(points.subarray(3 * k, 3 * k + 2), 2 * i),
      );
    const [scores] = blendshapes ? await blendshapes.run() : [];
    return {
      score,
      keypoints: { values: keypoints },
      box: boxOf(cornersOf(keypoints)),
      id: track?.id ?? null,
      ...(scores
        ? { blendshapes: Object.fromEntries(BLENDSHAPES.map((name, k) => [name, scores[k]!])) }
        : {}),
      ...(canonical ? { transform: faceTransform(points, canonical, width, height) } : {}),
    };
  }
}

/**
 * Return landmarks (N, 3) in a mirrored image of some width, or the same landmarks without a width.
 */
function mirroredPoints(points: Float32Array, width: number | null): Float32Array {
  return width === null ? points : points.map((value, i) => (i % 3 ? value : width - value));
}

/** Return the box of a detected face for the landmark network. */
export function boxAroundDetection(
  { box, keypoints }: Detection,
  growth?: Parameters<typeof boxAroundFace>[3],
): RotatedBox {
  // right and left eye of the person
  return boxAroundFace(box, keypoints[0]!, keypoints[1]!, growth);
}

/**
 * Return the box for the landmark network around the corners of a face, with level eyes; square, or
 * in the shape of the face.
 */
export function boxAroundFace(
  corners: Corners,
  rightEye: Point,
  leftEye: Point,
  growth: { scale: number; shift_y: number; isSquare?: boolean } = {
    scale: OF.BOX_SCALE,
    shift_y: 0,
  },
): RotatedBox {
  const rotation = wrapAngle(-Math.atan2(rightEye[1] - leftEye[1], leftEye[0] - rightEye[0]));
  const face = boxBetween(corners, rotation);
  if (growth.isSquare ?? true) return squareBox(face, growth);
  return { ...face, width: face.width * growth.scale, height: face.height * growth.scale };
}

/**
 * Return landmarks (478, 3) from a mesh (468, 3) and points of lips, eyes and irises, left first.
 * Irises have the depth of rims.
 */
function refined(mesh: Float32Array, regions: readonly Float32Array[]): Float32Array {
  const flat = regions.flatMap((region) => [...region]);
  const points = new Float32Array(3 * OF.REFINED);
  SOURCES.forEach((source, k) => {
    const [from, at] = source < OF.MESH ? [mesh, 3 * source] : [flat, 2 * (source - OF.MESH)];
    points.set([from[at]!, from[at + 1]!, k < OF.MESH ? mesh[3 * k + 2]! : 0], 3 * k);
  });
  [LEFT_EYE, RIGHT_EYE].forEach((eye, side) => {
    const depth = eye.slice(0, OF.RIM).reduce((sum, k) => sum + mesh[3 * k + 2]!, 0) / OF.RIM;
    for (let i = 0; i < IRISES / 2; i++)
      points[3 * (OF.MESH + (side * IRISES) / 2 + i) + 2] = depth;
  });
  return points;
}

/**
 * Return the observation of a detected box: its two corners, then its six keypoints. `left`, `top`:
 * corner of the window in pixels.
 */
export function boxObservation(
  { score, box, keypoints }: Detection,
  left = 0,
  top = 0,
): FaceObservation {
  const points = [[box[0], box[1]], [box[2], box[3]], ...keypoints];
  const placed = Float32Array.from(points.flatMap(([x, y]) => [x! + left, y! + top, NaN]));
  return { score, keypoints: placed, keypoints3D: null, left: null, colours: null };
}

/**
 * Detects faces as boxes. An observation has the box's two corners, then the six keypoints, with
 * unknown depth.
 */
export class FaceBoxes extends Faces implements Kind<FaceObservation> {
  readonly searchesAlways = true;
  #found = new Map<RotatedBox, Detection>();

  constructor(
    private readonly faces: SingleShotDetector,
    private readonly mirrored = false,
  ) {
    super();
  }

  async find(image: Pixels, minScore: number): Promise<RotatedBox[]> {
    this.#found = new Map(
      (await this.faces.find(image, minScore)).map((face) => [boxBetween(face.box), face]),
    );
    return [...this.#found.keys()];
  }

  /** Return the detection of a box of the last search. */
  observe(_: Pixels, box: RotatedBox): Promise<FaceObservation> {
    return Promise.resolve(boxObservation(this.#found.get(box)!));
  }

  /** Return the box of the face. No network runs on it. */
  follow({ observation: { keypoints } }: Track<FaceObservation>): RotatedBox {
    return boxBetween([keypoints[0]!, keypoints[1]!, keypoints[3]!, keypoints[4]!]);
  }

  /** Return false: the detector has blended overlapping boxes. */
  isSameInstance(): boolean {
    return false;
  }

  result(
    _: Pixels,
    { score, keypoints }: FaceObservation,
    track: Track<FaceObservation> | null,
  ): InWorker<Face> {
    const [left, top, , right, bottom] = keypoints as unknown as [
      number,
      number,
      number,
      number,
      number,
    ];
    // eyes and ears are exchanged
    const order = this.mirrored ? [1, 0, 2, 3, 5, 4] : [0, 1, 2, 3, 4, 5];
    const values = Float32Array.from(
      order.flatMap((k) => [...keypoints.subarray(6 + 3 * k, 9 + 3 * k)]),
    );
    return {
      score,
      keypoints: { values },
      box: boxOf([left, top, right, bottom]),
      id: track?.id ?? null,
    };
  }
}
