/**
 * MediaPipe Holistic (Grishchenko and Bazarevsky 2020), for several people: bodies with their own
 * hands and faces.
 *
 * Hands are searched at the wrists of each body and the face at its head. They are then tracked
 * from frame to frame. The tracked parts belong to the track of one person and end with it.
 */

import { Bodies, type BodyObservation } from "./body.js";
import { constants } from "./data.js";
import { boxAroundFace, type FaceMeshes, type FaceObservation } from "./face.js";
import { upright, type HandObservation, type Hands } from "./hands.js";
import type { Network } from "./network.js";
import {
  cornersOf,
  distance,
  isSameObject,
  meanOf,
  pointAt,
  pointsFromCrop,
  sizeOf,
  squareBox,
  wrapAngle,
  type Observation,
  type Point,
  type RotatedBox,
} from "./observations.js";
import type { Settings } from "./options.js";
import { cropInto, type Pixels } from "./pixels.js";
import type { Face, Hand, InWorker, Person } from "./results.js";
import { keypointSmoothers, type Smoother } from "./smoothing.js";
import type { SingleShotDetector } from "./ssd.js";
import type { Track } from "./tracking.js";

const OF = constants.holistic;
const SIDES = ["Left", "Right"] as const;

interface FoundParts {
  readonly hands: readonly (HandObservation | null)[]; // left and right hand
  readonly face: FaceObservation | null;
}

/** A body of a still with its hands and face. */
export type PersonObservation = BodyObservation & FoundParts;

/** Kind of a part: hands or faces. */
type PartKind<P> = {
  observe(image: Pixels, box: RotatedBox): Promise<P>;
  boxAfter(observation: P): RotatedBox;
};

/** Limits of the parts of people. */
interface Limits {
  readonly minScore: number; // minimum presence of a tracked part
  readonly interval: number; // frames between searches for a missing part
}

/**
 * Maximum differences between a tracked box and the box of a search at which the tracked box is
 * kept.
 */
interface Agreement {
  readonly rotation: number; // difference of the angles in radians
  // distance along each axis of the image, relative to the size of the searched box
  readonly shift: number;
  readonly scale: number; // difference of the sizes, relative to the size of the searched box
  // margin of the searched box, relative to its size, that must not contain tracked keypoints
  readonly margin: number;
}

/**
 * Check whether the tracked box is close to the found box, which must contain its keypoints (K, 3).
 */
function agree(
  tracked: RotatedBox,
  keypoints: Float32Array,
  found: RotatedBox,
  { rotation, shift, scale, margin }: Agreement,
): boolean {
  const size = found.width;
  const shifted = Math.max(Math.abs(tracked.cx - found.cx), Math.abs(tracked.cy - found.cy));
  const angle = Math.abs(wrapAngle(tracked.rotation - found.rotation));
  if (angle > rotation || shifted > shift * size || Math.abs(tracked.width - size) > scale * size)
    return false;
  const [cosine, sine] = [Math.cos(found.rotation), Math.sin(found.rotation)];
  const inside = ((1 - margin) * size) / 2;
  for (let at = 0; at < keypoints.length; at += 3) {
    const [x, y] = [keypoints[at]! - found.cx, keypoints[at + 1]! - found.cy];
    if (Math.abs(x * cosine + y * sine) >= inside || Math.abs(y * cosine - x * sine) >= inside)
      return false;
  }
  return true;
}

/** A hand or face of one person, tracked from frame to frame. */
class Part<P extends Observation> {
  /**
   * Crop of the next frame, position of the part in the body's keypoints when the crop was made,
   * and the keypoints that it was made of. Null if the part is not tracked.
   */
  #tracked: { box: RotatedBox; anchor: Point; keypoints: Float32Array } | null = null;
  #wait = 0; // frames until the next search

  constructor(
    private readonly kind: PartKind<P>,
    private readonly limits: Limits,
    private readonly smoother: Smoother<P> | null,
  ) {}

  /** Observe the part in one image, in its tracked box or else in the box of a search. */
  async observe(
    image: Pixels,
    anchor: Point,
    search: () => Promise<RotatedBox | null>,
  ): Promise<P | null> {
    let observation: P | null = null;
    if (this.#tracked !== null) {
      observation = await this.kind.observe(
        image,
        moved(this.#tracked.box, this.#tracked.anchor, anchor),
      );
      if (observation.score <= this.limits.minScore) {
        this.drop(); // the part moved too far: search it at once
        this.#wait = 0;
      }
    }
    if (this.#tracked === null) {
      if (this.#wait > 0) {
        this.#wait -= 1;
        return null;
      }
      this.#wait = this.limits.interval - 1;
      const box = await search();
      observation = box && (await this.kind.observe(image, box));
    }
    return this.#keep(observation, anchor);
  }

  /** Observe the part in the box of a search, or in the tracked box if it agrees with that. */
  async search(image: Pixels, found: RotatedBox | null, agreement: Agreement): Promise<P | null> {
    const tracked = this.#tracked;
    this.drop();
    if (found === null) return null;
    const isKept = tracked !== null && agree(tracked.box, tracked.keypoints, found, agreement);
    return this.#keep(await this.kind.observe(image, isKept ? tracked.box : found), [0, 0]);
  }

  /** Track a part that is present, and return it. */
  #keep(observation: P | null, anchor: Point): P | null {
    if (observation === null || observation.score <= this.limits.minScore) return null;
    this.#tracked = {
      box: this.kind.boxAfter(observation),
      anchor,
      keypoints: observation.keypoints,
    };
    return observation;
  }

  drop(): void {
    this.#tracked = null;
  }

  /** Return the observation, smoothed if smoothing is enabled. */
  smooth(observation: P, now: number): P {
    return this.smoother === null ? observation : this.smoother(observation, now);
  }
}

/** Move a box with the body. Small shifts are noise of the body's keypoints and are ignored. */
function moved(box: RotatedBox, from: Point, to: Point): RotatedBox {
  if (distance(from, to) <= OF.MIN_BODY_SHIFT * box.width) return box;
  return { ...box, cx: box.cx + to[0] - from[0], cy: box.cy + to[1] - from[1] };
}

/** Tracked parts of one person. */
type Parts = {
  readonly hands: readonly [Part<HandObservation>, Part<HandObservation>];
  readonly face: Part<FaceObservation>;
};

/** The networks of people's parts. */
export interface PartNetworks {
  readonly hands: Hands;
  readonly faces: FaceMeshes;
  // network that maps an image of a forearm's end to the hand's centre and the middle of its lower
  // edge
  readonly recrop: Network;
}

/** Detects bodies with their hands and faces. */
export class Holistic extends Bodies {
  readonly faces: FaceMeshes;
  readonly #minScore: number;
  readonly #mergeNested: boolean;
  readonly #newParts: () => Parts;
  readonly #parts = new WeakMap<Track<BodyObservation>, Parts>();

  /** @param searchesParts search hands and face in every frame of a stream, as in MediaPipe */
  constructor(
    detector: SingleShotDetector,
    landmarks: Network,
    private readonly networks: PartNetworks,
    settings: Settings,
    private readonly searchesParts: boolean,
  ) {
    super(detector, landmarks, settings.mirrored);
    const { min_presence_score: minScore, search_interval, search } = settings;
    this.faces = networks.faces;
    const limits = { minScore, interval: Math.min(search_interval, OF.PART_INTERVAL) };
    this.#minScore = minScore;
    this.#mergeNested = search !== "fast";
    const [newHandSmoother, newFaceSmoother] = [
      networks.hands.newSmoother(settings),
      keypointSmoothers<FaceObservation>(settings),
    ];
    const newHand = () => new Part(networks.hands, limits, newHandSmoother());
    this.#newParts = () => ({
      hands: [newHand(), newHand()],
      face: new Part(networks.faces, limits, newFaceSmoother()),
    });
  }

  /** Return the body with its hands and face. An occluded person has a body only. */
  override async result(
    image: Pixels,
    observation: BodyObservation,
    track: Track<BodyObservation> | null,
  ): Promise<InWorker<Person>> {
    const id = track?.id ?? null;
    const body = this.bodyOf(observation, track);
    if (track !== null && track.occludedS !== null)
      return { id, body, leftHand: null, rightHand: null, face: null };
    const parts = this.#partsOf(track);
    // smoothed keypoints lag behind the image
    const original = this.searchesParts ? observation : (track?.observation ?? observation);
    const now = track?.seenS ?? 0;
    const { hands, face: mesh } =
      "hands" in observation
        ? (observation as PersonObservation)
        : await this.#partsIn(image, original, parts);
    const [leftHand, rightHand] = hands.map((hand, side): InWorker<Hand> | null => {
      if (hand === null) return null;
      const handedness = SIDES[side as 0 | 1]; // the body decides the side
      const handednessScore = handedness === "Left" ? hand.left : 1 - hand.left;
      const smoothed = parts.hands[side as 0 | 1].smooth(hand, now);
      return {
        ...this.networks.hands.result(image, smoothed, null),
        id,
        handedness,
        handednessScore,
      };
    });
    const face: InWorker<Face> | null = mesh && {
      ...(await this.faces.result(image, parts.face.smooth(mesh, now), null)),
      id,
    };
    return { id, body, leftHand: leftHand!, rightHand: rightHand!, face };
  }

  /** Return the hands and the face of a body, or of a smoothed body, as MediaPipe's graph does. */
  async #partsIn(image: Pixels, body: BodyObservation, parts: Parts): Promise<FoundParts> {
    if (!this.searchesParts) {
      const hands = await this.#handsOf(image, body, parts);
      return {
        hands,
        face: await parts.face.observe(image, meanOf(body.keypoints, OF.HEAD), () =>
          this.#faceBox(image, body),
        ),
      };
    }
    const hands: (HandObservation | null)[] = [];
    for (const [side, part] of parts.hands.entries())
      hands.push(
        await part.search(image, await this.handCrop(image, body, side), OF.HAND_AGREEMENT),
      );
    return {
      hands,
      face: await parts.face.search(image, await this.#faceBox(image, body), OF.FACE_AGREEMENT),
    };
  }

  /** Return the face in the head crop of a body, or null. */
  async faceIn(image: Pixels, body: BodyObservation): Promise<FaceObservation | null> {
    const box = await this.#faceBox(image, body);
    const face = box && (await this.faces.observe(image, box));
    return face && face.score > this.#minScore ? face : null;
  }

  /**
   * Return the left and right hand of a body. Drop hands that are far from its wrists, and
   * duplicates of the other hand.
   */
  async #handsOf(
    image: Pixels,
    body: BodyObservation,
    { hands }: Parts,
  ): Promise<(HandObservation | null)[]> {
    const observations: (HandObservation | null)[] = [];
    for (const [side, part] of hands.entries()) {
      observations.push(
        await part.observe(image, pointAt(body.keypoints, OF.WRIST[side]!), () =>
          this.handCrop(image, body, side),
        ),
      );
    }
    const distances = observations.map((hand, side) =>
      hand === null ? Infinity : wristDistance(body, side, hand),
    );
    for (const side of [0, 1] as const) {
      const [hand, other] = [observations[side]!, observations[1 - side]!];
      if (hand === null) continue;
      const isDuplicate = other !== null && isSameObject(hand, other, this.#mergeNested);
      if (
        distances[side]! > OF.MAX_WRIST_DISTANCE ||
        (isDuplicate && distances[side]! > distances[1 - side]!)
      ) {
        observations[side] = null;
        hands[side].drop();
      }
    }
    return observations;
  }

  /** Return the tracked parts of a person. Stills get new parts. */
  #partsOf(track: Track<BodyObservation> | null): Parts {
    const known = track && this.#parts.get(track);
    const parts = known ?? this.#newParts();
    if (track) this.#parts.set(track, parts);
    return parts;
  }

  /** Return the box of a hand near the body's wrist according to the re-crop network, or null. */
  async handCrop(image: Pixels, body: BodyObservation, side: number): Promise<RotatedBox | null> {
    const rough = handBox(body, side);
    if (rough === null) return null;
    const { recrop } = this.networks;
    cropInto(image, rough, recrop);
    const [[x, y, bottomX, bottomY]] = (await recrop.run()) as unknown as [
      [number, number, number, number],
    ];
    const points = pointsFromCrop(
      Float32Array.of(x, y, 0, bottomX, bottomY, 0),
      rough,
      recrop.size,
      1,
    );
    const [centre, bottom]: [Point, Point] = [
      [points[0]!, points[1]!],
      [points[3]!, points[4]!],
    ];
    return squareBox(boxAt(centre, 2 * distance(centre, bottom), upright(bottom, centre)), {
      scale: 1,
      shift_y: OF.HAND_SHIFT,
    });
  }

  /** Return the box of the face that the face detector finds around the head, or null. */
  async #faceBox(image: Pixels, body: BodyObservation): Promise<RotatedBox | null> {
    if (Math.max(...OF.HEAD.map((k) => body.visibility[k]!)) < OF.MIN_VISIBILITY) return null;
    const [right, left] = OF.EYES.map((k) => pointAt(body.keypoints, k)) as [Point, Point];
    const head = boxAroundFace(cornersOf(body.keypoints, OF.HEAD), right, left, {
      scale: OF.HEAD_SCALE,
      shift_y: 0,
    }); // with level eyes
    if (head.width < OF.MIN_HEAD_PX) return null;
    const turn = this.faces.mirrored ? Math.PI : 0; // the eyes of its head are exchanged
    return this.faces.findIn(
      image,
      { ...head, rotation: wrapAngle(head.rotation + turn) },
      OF.MIN_FACE_SCORE,
    );
  }
}

const boxAt = ([cx, cy]: Point, side: number, rotation: number): RotatedBox => ({
  cx,
  cy,
  width: side,
  height: side,
  rotation,
});

/**
 * Estimate a box around a hand from the body's wrist, index and little finger; null without a
 * visible wrist.
 */
function handBox(body: BodyObservation, side: number): RotatedBox | null {
  if (body.visibility[OF.WRIST[side]!]! < OF.MIN_VISIBILITY) return null;
  const [wrist, index, pinky] = [OF.WRIST, OF.INDEX, OF.PINKY].map((ends) =>
    pointAt(body.keypoints, ends[side]!),
  ) as [Point, Point, Point];
  const knuckles: Point = [(2 * index[0] + pinky[0]) / 3, (2 * index[1] + pinky[1]) / 3];
  const box = boxAt(knuckles, 2 * distance(knuckles, wrist), upright(wrist, knuckles));
  return squareBox(box, { scale: OF.HAND_SCALE, shift_y: OF.HAND_SHIFT });
}

/** Return the distance between the wrists of a body and a hand, in hand sizes. */
export function wristDistance(body: BodyObservation, side: number, hand: HandObservation): number {
  return (
    distance(pointAt(body.keypoints, OF.WRIST[side]!), pointAt(hand.keypoints, 0)) /
    sizeOf(hand.keypoints)
  );
}
