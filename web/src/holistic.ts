/**
 * MediaPipe Holistic (Grishchenko and Bazarevsky 2020), for several people: bodies with their own hands and faces.
 *
 * Each person's hands are looked for where the body's wrists are and the face where the head is; then they are carried
 * from frame to frame with the body's track.
 */

import type { Bodies, Body, BodyObservation } from "./body.js";
import { pointsFromCrop, squareBox, wrapAngle, type RotatedBox } from "./boxes.js";
import { constants } from "./data.js";
import { boxAroundFace, type Face, type FaceMeshes, type FaceObservation } from "./face.js";
import { upright, type Hand, type HandObservation, type Hands } from "./hands.js";
import type { Network } from "./network.js";
import { cornersOf, distance, isSameObject, sizeOf, type Observation, type Point } from "./observations.js";
import type { Settings } from "./options.js";
import type { Kind } from "./pipeline.js";
import { cropInto, type Pixels } from "./pixels.js";
import { keypointSmoothers, type Smoother, type SmootherOf } from "./smoothing.js";
import type { InWorker } from "./results.js";
import type { Track } from "./tracking.js";

const OF = constants.holistic;
const SIDES = ["Left", "Right"] as const;

/** One person: a body with its own hands and face, each null where it was not found. */
export interface Person {
  /** The body's; its hands and face have the same. */
  readonly id: number | null;
  readonly body: Body;
  readonly leftHand: Hand | null;
  readonly rightHand: Hand | null;
  readonly face: Face | null;
}

/** A body of a still whose hands and face have been found already. */
export interface PersonObservation extends BodyObservation {
  /** Left and right. */
  readonly hands: readonly [HandObservation | null, HandObservation | null];
  readonly face: FaceObservation | null;
}

/** What is asked of the kind of a part. */
interface PartKind<P> {
  observe(image: Pixels, box: RotatedBox): Promise<P>;
  boxAfter(seen: P): RotatedBox;
}

/** When a part is held, and how often one that is not is searched. */
interface Limits {
  readonly minScore: number;
  readonly interval: number;
}

/** Largest differences between a tracked box and that of a search at which the tracked one is kept. */
interface Agreement {
  /** In radians. */
  readonly rotation: number;
  /** Along each axis of the image, and of the sizes, relative to the size of the searched box. */
  readonly shift: number;
  readonly scale: number;
  /** Margin of the searched box, relative to its size, that is without tracked keypoints. */
  readonly margin: number;
}

/** Check whether a tracked box is close to that of a search, and the keypoints it was made of are inside that. */
export function agree(tracked: RotatedBox, keypoints: Float32Array, found: RotatedBox, { rotation, shift, scale, margin }: Agreement): boolean {
  const size = found.width;
  const moved = Math.max(Math.abs(tracked.cx - found.cx), Math.abs(tracked.cy - found.cy));
  const turned = Math.abs(wrapAngle(tracked.rotation - found.rotation));
  if (turned > rotation || moved > shift * size || Math.abs(tracked.width - size) > scale * size) return false;
  const [cosine, sine] = [Math.cos(found.rotation), Math.sin(found.rotation)];
  const inside = ((1 - margin) * size) / 2;
  for (let at = 0; at < keypoints.length; at += 3) {
    const [x, y] = [keypoints[at]! - found.cx, keypoints[at + 1]! - found.cy];
    if (Math.abs(x * cosine + y * sine) >= inside || Math.abs(y * cosine - x * sine) >= inside) return false;
  }
  return true;
}

/** A hand or face of one person, carried from frame to frame. */
class Part<P extends Observation> {
  readonly #smoother: Smoother<P> | null;
  /**
   * The crop of the next frame, and where the body had the part when it was made; null while it is not held. The
   * keypoints are those that the box was made of.
   */
  #carried: { box: RotatedBox; anchor: Point; keypoints: Float32Array } | null = null;
  /** Frames until the next search. */
  #wait = 0;

  constructor(smoother: Smoother<P> | null) {
    this.#smoother = smoother;
  }

  /** What is seen of it: where the body carried it, or else where a search says. */
  async observe(
    kind: PartKind<P>,
    image: Pixels,
    anchor: Point,
    search: () => Promise<RotatedBox | null>,
    { minScore, interval }: Limits,
  ): Promise<P | null> {
    let seen: P | null = null;
    if (this.#carried !== null) {
      seen = await kind.observe(image, moved(this.#carried.box, this.#carried.anchor, anchor));
      if (seen.score <= minScore) {
        this.drop(); // it moved too far: search where the body says, in this very frame
        this.#wait = 0;
      }
    }
    if (this.#carried === null) {
      if (this.#wait > 0) {
        this.#wait -= 1;
        return null;
      }
      this.#wait = interval - 1;
      const box = await search();
      seen = box && (await kind.observe(image, box));
    }
    if (seen === null || seen.score <= minScore) return null;
    this.#carried = { box: kind.boxAfter(seen), anchor, keypoints: seen.keypoints };
    return seen;
  }

  /** What is seen of it in the box of a search, or in the tracked box if it agrees with that. */
  async search(kind: PartKind<P>, image: Pixels, found: RotatedBox | null, agreement: Agreement, minScore: number): Promise<P | null> {
    const tracked = this.#carried;
    this.drop();
    if (found === null) return null;
    const keeps = tracked !== null && agree(tracked.box, tracked.keypoints, found, agreement);
    const seen = await kind.observe(image, keeps ? tracked.box : found);
    if (seen.score <= minScore) return null;
    this.#carried = { box: kind.boxAfter(seen), anchor: [0, 0], keypoints: seen.keypoints };
    return seen;
  }

  drop(): void {
    this.#carried = null;
  }

  /** What was seen, smoothed where asked for. */
  smooth(seen: P, now: number): P {
    return this.#smoother === null ? seen : this.#smoother(seen, now);
  }
}

/** A box gone with the body; a short way is noise of the body's. */
function moved(box: RotatedBox, from: Point, to: Point): RotatedBox {
  if (distance(from, to) <= OF.MIN_BODY_SHIFT * box.width) return box;
  return { ...box, cx: box.cx + to[0] - from[0], cy: box.cy + to[1] - from[1] };
}

/** What is carried for one person. */
interface Parts {
  readonly hands: readonly [Part<HandObservation>, Part<HandObservation>];
  readonly face: Part<FaceObservation>;
}

/** The networks of people's parts. */
export interface PartNetworks {
  readonly bodies: Bodies;
  readonly hands: Hands;
  readonly faces: FaceMeshes;
  /** An image of a forearm's end in, out come the hand's centre and the middle of its lower edge. */
  readonly recrop: Network;
}

/** Bodies with their hands and faces. */
export class Holistic implements Kind<BodyObservation, InWorker<Person>> {
  readonly overlapKeypoints: Bodies["overlapKeypoints"];
  readonly #of: PartNetworks;
  readonly #limits: Limits;
  readonly #mergeNested: boolean;
  readonly #searchesParts: boolean;
  readonly #newSmoothers: { hand: SmootherOf<HandObservation>; face: SmootherOf<FaceObservation> };
  readonly #carried = new WeakMap<Track<BodyObservation>, Parts>();

  /** `searchesParts`: hands and face are searched in every frame of a stream, as in MediaPipe. */
  constructor(networks: PartNetworks, settings: Settings, searchesParts: boolean) {
    const { min_presence_score: minScore, search_interval, search } = settings;
    this.overlapKeypoints = networks.bodies.overlapKeypoints;
    this.#of = networks;
    this.#limits = { minScore, interval: Math.min(search_interval, OF.PART_INTERVAL) };
    this.#mergeNested = search !== "fast";
    this.#searchesParts = searchesParts;
    this.#newSmoothers = { hand: networks.hands.newSmoother(settings), face: keypointSmoothers(settings) };
  }

  find(image: Pixels, minScore: number): Promise<RotatedBox[]> {
    return this.#of.bodies.find(image, minScore);
  }

  observe(image: Pixels, box: RotatedBox): Promise<BodyObservation> {
    return this.#of.bodies.observe(image, box);
  }

  follow(track: Track<BodyObservation>): RotatedBox {
    return this.#of.bodies.follow(track);
  }

  isSameInstance(box: RotatedBox, other: RotatedBox): boolean {
    return this.#of.bodies.isSameInstance(box, other);
  }

  propagate(observation: BodyObservation, shift: Point, score: number): BodyObservation {
    return this.#of.bodies.propagate(observation, shift, score);
  }

  newSmoother(settings: Settings): SmootherOf<BodyObservation> {
    return this.#of.bodies.newSmoother(settings);
  }

  /** The body with its hands and face; of one that another hides the body alone. */
  async result(image: Pixels, observation: BodyObservation, track: Track<BodyObservation> | null): Promise<InWorker<Person>> {
    const id = track?.id ?? null;
    const body = this.#of.bodies.result(image, observation, track);
    if (track !== null && track.occludedS !== null) return { id, body, leftHand: null, rightHand: null, face: null };
    const parts = this.#partsOf(track);
    const seen = this.#searchesParts ? observation : (track?.observation ?? observation); // smoothed keypoints lag behind the image
    const now = track?.seenS ?? 0;
    const isWhole = "hands" in observation; // a `PersonObservation`
    const { hands, face: mesh } = isWhole ? (observation as PersonObservation) : await this.#partsIn(image, seen, parts);
    const [leftHand, rightHand] = hands.map((hand, side): InWorker<Hand> | null => {
      if (hand === null) return null;
      const handedness = SIDES[side as 0 | 1]; // the body says which hand it is
      const handednessScore = handedness === "Left" ? hand.left : 1 - hand.left;
      const smoothed = parts.hands[side as 0 | 1].smooth(hand, now);
      return { ...this.#of.hands.result(image, smoothed, null), id, handedness, handednessScore };
    });
    const face: InWorker<Face> | null = mesh && { ...(await this.#of.faces.result(image, parts.face.smooth(mesh, now), null)), id };
    return { id, body, leftHand: leftHand!, rightHand: rightHand!, face };
  }

  /** Hands and face of a body as seen. */
  async #partsIn(image: Pixels, body: BodyObservation, parts: Parts): Promise<{ hands: (HandObservation | null)[]; face: FaceObservation | null }> {
    if (this.#searchesParts) return this.#searched(image, body, parts);
    const hands = await this.#handsOf(image, body, parts);
    const face = await parts.face.observe(this.#of.faces, image, middleOfHead(body), () => this.#faceBox(image, body), this.#limits);
    return { hands, face };
  }

  /** Hands and face of a smoothed body, as MediaPipe's graph searches them. */
  async #searched(image: Pixels, body: BodyObservation, parts: Parts): Promise<{ hands: (HandObservation | null)[]; face: FaceObservation | null }> {
    const { minScore } = this.#limits;
    const hands: (HandObservation | null)[] = [];
    for (const [side, part] of parts.hands.entries()) {
      hands.push(await part.search(this.#of.hands, image, await this.handCrop(image, body, side), OF.HAND_AGREEMENT, minScore));
    }
    const face = await parts.face.search(this.#of.faces, image, await this.#faceBox(image, body), OF.FACE_AGREEMENT, minScore);
    return { hands, face };
  }

  /** Return the face in the body's own head crop, or null. With a box, the face must lie on its centre. */
  async faceIn(image: Pixels, body: BodyObservation, near: readonly [number, number, number, number] | null): Promise<FaceObservation | null> {
    const box = await this.#faceBox(image, body);
    const seen = box && (await this.#of.faces.observe(image, box));
    if (seen === null || seen.score <= this.#limits.minScore) return null;
    if (near === null) return seen;
    const [left, top, right, bottom] = cornersOf(seen.keypoints);
    const [x, y] = [(near[0] + near[2]) / 2, (near[1] + near[3]) / 2];
    return left < x && x < right && top < y && y < bottom ? seen : null;
  }

  /** Left and right hand of a body as seen, without those that are not its own. */
  async #handsOf(image: Pixels, body: BodyObservation, { hands }: Parts): Promise<(HandObservation | null)[]> {
    const seen: (HandObservation | null)[] = [];
    for (const [side, part] of hands.entries()) {
      const search = () => this.handCrop(image, body, side);
      seen.push(await part.observe(this.#of.hands, image, pointOf(body, OF.WRIST[side]!), search, this.#limits));
    }
    const far = seen.map((hand, side) => (hand === null ? Infinity : wristDistance(body, side, hand)));
    for (const side of [0, 1] as const) {
      const [own, other] = [seen[side]!, seen[1 - side]!];
      if (own === null) continue;
      const isTwice = other !== null && isSameObject(own, other, this.#mergeNested);
      if (far[side]! > OF.MAX_WRIST_DISTANCE || (isTwice && far[side]! > far[1 - side]!)) {
        seen[side] = null;
        hands[side].drop();
      }
    }
    return seen;
  }

  /** What is carried for one person; an image on its own has nothing. */
  #partsOf(track: Track<BodyObservation> | null): Parts {
    const { hand, face } = this.#newSmoothers;
    const known = track && this.#carried.get(track);
    const parts = known ?? { hands: [new Part(hand()), new Part(hand())] as const, face: new Part(face()) };
    if (track) this.#carried.set(track, parts);
    return parts;
  }

  /** Where the re-crop network says that a hand is, near the body's wrist, or null. */
  async handCrop(image: Pixels, body: BodyObservation, side: number): Promise<RotatedBox | null> {
    const rough = handBox(body, side);
    if (rough === null) return null;
    const { recrop } = this.#of;
    cropInto(image, rough, recrop);
    const [[x, y, bottomX, bottomY]] = (await recrop.run()) as unknown as [[number, number, number, number]];
    const points = pointsFromCrop(Float32Array.of(x, y, 0, bottomX, bottomY, 0), rough, recrop.size, 1);
    const [centre, bottom]: [Point, Point] = [[points[0]!, points[1]!], [points[3]!, points[4]!]];
    return squareBox(boxAt(centre, 2 * distance(centre, bottom), upright(bottom, centre)), { scale: 1, shift_y: OF.HAND_SHIFT });
  }

  /** Where the face detector finds a face in the box around the head, or null. */
  async #faceBox(image: Pixels, body: BodyObservation): Promise<RotatedBox | null> {
    const head = headBox(body);
    return head && this.#of.faces.findIn(image, head, OF.MIN_FACE_SCORE);
  }
}

function pointOf({ keypoints }: Observation, k: number): Point {
  return [keypoints[3 * k]!, keypoints[3 * k + 1]!];
}

function boxAt([cx, cy]: Point, side: number, rotation: number): RotatedBox {
  return { cx, cy, width: side, height: side, rotation };
}

/** A rough box around a hand from the body's wrist, index and little finger; null where the wrist is not visible. */
export function handBox(body: BodyObservation, side: number): RotatedBox | null {
  if (body.visibility[OF.WRIST[side]!]! < OF.MIN_VISIBILITY) return null;
  const [wrist, index, pinky] = [OF.WRIST, OF.INDEX, OF.PINKY].map((ends) => pointOf(body, ends[side]!)) as [Point, Point, Point];
  const knuckles: Point = [(2 * index[0] + pinky[0]) / 3, (2 * index[1] + pinky[1]) / 3];
  const box = boxAt(knuckles, 2 * distance(knuckles, wrist), upright(wrist, knuckles));
  return squareBox(box, { scale: OF.HAND_SCALE, shift_y: OF.HAND_SHIFT });
}

/** A square box around a head from the body's keypoints of it, the eyes level; null where it is not visible. */
function headBox(body: BodyObservation): RotatedBox | null {
  if (Math.max(...OF.HEAD.map((k) => body.visibility[k]!)) < OF.MIN_VISIBILITY) return null;
  const [right, left] = OF.EYES.map((k) => pointOf(body, k)) as [Point, Point];
  const box = boxAroundFace(cornersOf(body.keypoints, OF.HEAD), right, left, { scale: OF.HEAD_SCALE, shift_y: 0 });
  return box.width < OF.MIN_HEAD_PX ? null : box;
}

function middleOfHead(body: BodyObservation): Point {
  const points = OF.HEAD.map((k) => pointOf(body, k));
  const mean = (axis: 0 | 1) => points.reduce((sum, point) => sum + point[axis], 0) / points.length;
  return [mean(0), mean(1)];
}

/** From the body's wrist to the hand's, in hand sizes. */
export function wristDistance(body: BodyObservation, side: number, hand: HandObservation): number {
  return distance(pointOf(body, OF.WRIST[side]!), pointOf(hand, 0)) / sizeOf(hand.keypoints);
}
