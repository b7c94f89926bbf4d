/** What differs between hands, faces and bodies in a stream's windows. */

import { boxFromAlignment, type Bodies, type BodyObservation } from "./body.js";
import { iou, type RotatedBox } from "./boxes.js";
import { constants, type Finder as FinderRecord } from "./data.js";
import { boxAroundFace, type FaceMeshes, type FaceObservation } from "./face.js";
import { isSameFind, logistic, logit, shifted, type Place, type Window } from "./finds.js";
import { boxAroundHand, boxFromPalm, type HandObservation, type Hands } from "./hands.js";
import {
  boxBelow,
  headFromDetection,
  headOfBody,
  headsIn,
  isHeadOf,
  isSameTorso,
  oksMoved,
  seenInside,
  withoutOtherHeads,
  type Head,
  type HeadMap,
} from "./heads.js";
import type { Observation } from "./observations.js";
import { cut, type Pixels } from "./pixels.js";
import type { SingleShotDetector } from "./ssd.js";

const FINDS = constants.finds;
const { HEAD_SCORE, TAKEN_IOU } = constants.stream_finders;
const { BODY_TOLERANCE } = constants.bodies;
const { PLACEMENTS } = constants.BodySearch;

/** What differs between kinds in a stream's windows. */
export abstract class Finder<O extends Observation, P extends Place = Place> {
  constructor(readonly record: FinderRecord) {}

  /** Where a detector suggests something in a window, in pixels of the image. */
  abstract places(image: Pixels, window: Window): Promise<P[]>;
  abstract observe(image: Pixels, box: RotatedBox): Promise<O>;
  abstract boxAfter(seen: O): RotatedBox;
  /** What the score of something that was seen in two frames is made of; the image is that of the second. */
  protected abstract features(image: Pixels, place: P, first: O, second: O): Promise<Record<string, number>> | Record<string, number>;

  /** Probability that what was seen in two frames is one. */
  async score(image: Pixels, place: P, first: O, second: O): Promise<number> {
    const features = Object.entries(await this.features(image, place, first, second));
    return logistic(this.record.score, Object.fromEntries(features.map(([name, value]) => [name, logit(value)])));
  }

  /** Whether a place shows what is held. */
  isTaken(place: P, held: O): boolean {
    return iou(place.box, this.boxAfter(held)) > TAKEN_IOU;
  }

  /** Whether what was seen is held already. */
  isSame(seen: O, held: O): boolean {
    return isSameFind(seen.keypoints, held.keypoints);
  }

  /** The image in which a place is looked at: without what may be taken for it. */
  view(image: Pixels, _place: P, _held: readonly O[]): Pixels {
    return image;
  }

  /** Where else to look for what is not seen in a place. */
  elsewhere(_place: P): P | null {
    return null;
  }

  /** A new frame, in which these are held. */
  beginFrame(_held: readonly O[]): void {}

  /** Forget the stream before. */
  reset(): void {}
}

/** Hands by the palm detector, confirmed in the mirror. */
export class HandFinder extends Finder<HandObservation> {
  readonly #palms: SingleShotDetector;
  readonly #hands: Hands;
  readonly #least: number;

  constructor(palms: SingleShotDetector, hands: Hands, minDetection: number, record: FinderRecord) {
    super(record);
    [this.#palms, this.#hands, this.#least] = [palms, hands, FINDS.PALM_SHARE * minDetection];
  }

  async places(image: Pixels, { left, top, right, bottom }: Window): Promise<Place[]> {
    const palms = await this.#palms.find(cut(image, left, top, right, bottom), this.#least);
    return palms.map((palm) => ({ box: shifted(boxFromPalm(palm), left, top), score: palm.score }));
  }

  observe(image: Pixels, box: RotatedBox): Promise<HandObservation> {
    return this.#hands.observe(image, box);
  }

  boxAfter(seen: HandObservation): RotatedBox {
    return boxAroundHand(seen.keypoints);
  }

  protected async features(image: Pixels, _: Place, first: HandObservation, second: HandObservation): Promise<Record<string, number>> {
    const mirrored = await this.#hands.observeInMirror(image, boxAroundHand(second.keypoints));
    return { presence: Math.min(first.score, second.score), mirrored: mirrored.score };
  }
}

/** Faces by the full-range detector. */
export class FaceFinder extends Finder<FaceObservation> {
  readonly #faces: SingleShotDetector;
  readonly #meshes: FaceMeshes;
  readonly #least: number;

  constructor(faces: SingleShotDetector, meshes: FaceMeshes, minDetection: number, record: FinderRecord) {
    super(record);
    [this.#faces, this.#meshes, this.#least] = [faces, meshes, FINDS.FACE_SHARE * minDetection];
  }

  async places(image: Pixels, { left, top, right, bottom }: Window): Promise<Place[]> {
    const faces = await this.#faces.find(cut(image, left, top, right, bottom), this.#least);
    return faces.map(({ box, keypoints, score }) => ({ box: shifted(boxAroundFace(box, keypoints[0]!, keypoints[1]!), left, top), score }));
  }

  observe(image: Pixels, box: RotatedBox): Promise<FaceObservation> {
    return this.#meshes.observe(image, box);
  }

  boxAfter(seen: FaceObservation): RotatedBox {
    return this.#meshes.boxAfter(seen);
  }

  protected features(_: Pixels, place: Place, first: FaceObservation, second: FaceObservation): Record<string, number> {
    const agreement = oksMoved(first.keypoints, second.keypoints);
    return { detection: place.score, presence: Math.min(first.score, second.score), agreement };
  }
}

/** Where the body of a head may be: one of several placements. */
interface Below extends Place {
  readonly head: Head;
  readonly placement: number;
}

/** Bodies below faces, looked at with all other heads covered. */
export class BodyFinder extends Finder<BodyObservation, Below> {
  readonly #faces: SingleShotDetector;
  readonly #bodies: Bodies;
  readonly #heads: HeadMap;

  constructor(faces: SingleShotDetector, bodies: Bodies, heads: HeadMap, record: FinderRecord) {
    super(record);
    [this.#faces, this.#bodies, this.#heads] = [faces, bodies, heads];
  }

  override beginFrame(held: readonly BodyObservation[]): void {
    this.#heads.beginFrame((head) => held.some((one) => isHeadOf(one, head)));
  }

  override reset(): void {
    this.#heads.reset();
  }

  async places(image: Pixels, window: Window): Promise<Below[]> {
    const { left, top, right, bottom } = window;
    const faces = await this.#faces.find(cut(image, left, top, right, bottom), HEAD_SCORE);
    const heads = faces.map((face) => headFromDetection(face, left, top));
    this.#heads.see(window, heads);
    return heads.map((head) => below(head, 0));
  }

  override elsewhere({ head, placement }: Below): Below | null {
    return placement + 1 < PLACEMENTS.length ? below(head, placement + 1) : null;
  }

  observe(image: Pixels, box: RotatedBox): Promise<BodyObservation> {
    return this.#bodies.observe(image, box);
  }

  boxAfter({ alignment }: BodyObservation): RotatedBox {
    return boxAroundBody(alignment);
  }

  override async score(image: Pixels, place: Below, first: BodyObservation, second: BodyObservation): Promise<number> {
    return isHeadOf(second, place.head) ? super.score(image, place, first, second) : 0;
  }

  protected features(image: Pixels, _: Below, first: BodyObservation, second: BodyObservation): Record<string, number> {
    const how = { tolerance: BODY_TOLERANCE, weights: seenInside(second, image) };
    return { score: Math.max(first.score, second.score) * oksMoved(first.keypoints, second.keypoints, how) };
  }

  override isTaken(place: Below, held: BodyObservation): boolean {
    return isHeadOf(held, place.head);
  }

  override isSame(seen: BodyObservation, held: BodyObservation): boolean {
    return isSameTorso(seen, held);
  }

  override view(image: Pixels, { box, head }: Below, held: readonly BodyObservation[]): Pixels {
    return withoutOtherHeads(image, headsIn(box, [...this.#heads.all, ...held.map(headOfBody)]), head);
  }
}

function below(head: Head, placement: number): Below {
  return { box: boxBelow(head, PLACEMENTS[placement]!), score: head.score / (1 + placement), head, placement };
}

/** The box around a body from its alignment points (2, 3). */
export function boxAroundBody(alignment: Float32Array): RotatedBox {
  return boxFromAlignment([alignment[0]!, alignment[1]!], [alignment[3]!, alignment[4]!]);
}
