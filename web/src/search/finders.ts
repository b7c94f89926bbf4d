/** What differs between hands, faces and bodies in a stream's windows. */

import type { Bodies, BodyObservation } from "../body.js";
import { iou, type RotatedBox } from "../boxes.js";
import { FINDERS, constants, type FinderRecord } from "../data.js";
import { boxAroundFace, type FaceMeshes, type FaceObservation } from "../face.js";
import { boxAroundHand, boxFromPalm, type HandObservation, type Hands } from "../hands.js";
import type { Observation } from "../observations.js";
import type { Pixels } from "../pixels.js";
import type { SingleShotDetector } from "../ssd.js";
import * as place from "./geometry.js";
import type { Head, Proposal, Window } from "./geometry.js";
import { LIMITS, logit, scoreOf } from "./score.js";

const { HEAD_SCORE, TRACKED_IOU } = constants.search.stream_finders;
const { BODY_TOLERANCE, PLACEMENTS } = constants.search.bodies;
const { HEAD_FRAMES } = constants.search.streams;

/** What differs between kinds in a stream's windows. */
export interface Finder<O extends Observation, P extends Proposal = Proposal> extends FinderRecord {
  /** Return the proposals of a detector in a window, in pixels of the image. */
  propose(image: Pixels, window: Window): Promise<P[]>;
  observe(image: Pixels, box: RotatedBox): Promise<O>;
  boxAfter(seen: O): RotatedBox;
  /** Return the probability that what was seen in two frames is an instance; the image is that of the second. */
  score(image: Pixels, proposal: P, first: O, second: O): Promise<number>;
  /** Check whether a proposal shows a tracked instance. */
  isTracked(proposal: P, tracked: O): boolean;
  /** Check whether what was seen is tracked already. */
  isSame(seen: O, tracked: O): boolean;
  /** Return the image for a proposal, without what the network could mistake for it. */
  maskedImage?(image: Pixels, proposal: P, tracked: readonly O[]): Pixels;
  /** Return another proposal where nothing is seen in one. */
  alternative?(proposal: P): P | null;
  beginFrame?(tracked: readonly O[]): void;
  reset?(): void;
}

/** Return what finds hands by the palm detector, confirmed in the mirror. */
export function handFinder(palms: SingleShotDetector, hands: Hands, minDetection: number): Finder<HandObservation> {
  const boxAfter = ({ keypoints }: HandObservation) => boxAroundHand(keypoints);
  return {
    ...FINDERS.HandFinder,
    ...commonTo(boxAfter),
    observe: (image, box) => hands.observe(image, box),
    async propose(image, window) {
      const found = await palms.find(place.partOf(image, window), LIMITS.stream_palm_share * minDetection);
      return found.map((palm) => ({ box: place.placed(boxFromPalm(palm), window), score: palm.score, votes: new Set() }));
    },
    async score(image, _, first, second) {
      const mirrored = await hands.observeMirrored(image, boxAfter(second));
      return scoreOf("stream_hand", { presence: logit(Math.min(first.score, second.score)), mirrored: logit(mirrored.score) });
    },
  };
}

/** Return what finds faces by the full-range detector. */
export function faceFinder(faces: SingleShotDetector, meshes: FaceMeshes, minDetection: number): Finder<FaceObservation> {
  return {
    ...FINDERS.FaceFinder,
    ...commonTo((seen: FaceObservation) => meshes.boxAfter(seen)),
    observe: (image, box) => meshes.observe(image, box),
    async propose(image, window) {
      const found = await faces.find(place.partOf(image, window), LIMITS.face_share * minDetection);
      return found.map(({ box, keypoints, score }) =>
        ({ box: place.placed(boxAroundFace(box, keypoints[0]!, keypoints[1]!), window), score, votes: new Set() }));
    },
    score(_, { score }, first, second) {
      const agreement = place.oks(first.keypoints, movedOnto(first.keypoints, second.keypoints));
      const presence = logit(Math.min(first.score, second.score));
      return Promise.resolve(scoreOf("stream_face", { detection: logit(score), presence, agreement: logit(agreement) }));
    },
  };
}

/** Where the body of a head may be: one of several placements. */
interface BelowHead extends Proposal {
  readonly head: Head;
  readonly placement: number;
}

function belowHead(head: Head, placement: number): BelowHead {
  return { box: place.boxBelow(head, placement), score: head.score / (1 + placement), votes: new Set(), head, placement };
}

/** Return what finds bodies below faces, looked at with all other heads covered. */
export function bodyFinder(faces: SingleShotDetector, bodies: Bodies, heads: HeadMap): Finder<BodyObservation, BelowHead> {
  return {
    ...FINDERS.BodyFinder,
    boxAfter: place.boxAroundBody,
    observe: (image, box) => bodies.observe(image, box),
    isTracked: ({ head }, tracked) => place.isHeadOf(tracked, head),
    isSame: place.isSameTorso,
    beginFrame: (tracked) => heads.beginFrame((head) => tracked.some((one) => place.isHeadOf(one, head))),
    reset: () => heads.reset(),
    async propose(image, window) {
      const found = await place.headsIn(faces, image, window, HEAD_SCORE);
      heads.see(window, found);
      return found.map((head) => belowHead(head, 0));
    },
    alternative: ({ head, placement }) => (placement + 1 < PLACEMENTS.length ? belowHead(head, placement + 1) : null),
    score(image, { head }, first, second) {
      const moved = movedOnto(first.keypoints, second.keypoints);
      const agreement = place.oks(first.keypoints, moved, BODY_TOLERANCE, place.seenInside(second, image));
      const score = logit(Math.max(first.score, second.score) * agreement);
      return Promise.resolve(place.isHeadOf(second, head) ? scoreOf("stream_body", { score }) : 0);
    },
    maskedImage: (image, { box, head }, tracked) => place.withoutOtherHeads(image, box, [...heads.all, ...tracked.map(place.headOfBody)], head),
  };
}

/** Return what hands and faces have in common. */
function commonTo<O extends Observation>(boxAfter: (seen: O) => RotatedBox): Pick<Finder<O>, "boxAfter" | "isTracked" | "isSame"> {
  return {
    boxAfter,
    isTracked: ({ box }, tracked) => iou(box, boxAfter(tracked)) > TRACKED_IOU,
    isSame: (seen, tracked) => place.isSameInstance(seen.keypoints, tracked.keypoints),
  };
}

/** Return keypoints (K, 3) moved to where others have their middle. */
function movedOnto(target: Float32Array, points: Float32Array): Float32Array {
  const all = [...Array(points.length / 3).keys()];
  const [to, from] = [place.meanOf(target, all), place.meanOf(points, all)];
  return points.map((value, i) => (i % 3 === 2 ? value : value + to[(i % 3) as 0 | 1] - from[(i % 3) as 0 | 1]));
}

/** The heads that were last seen in each window of a stream. */
export class HeadMap {
  #number = 0;
  #seen = new Map<string, { heads: Head[]; number: number }>();

  /** Return all of them; one may have been seen in several windows. */
  get all(): Head[] {
    return [...this.#seen.values()].flatMap(({ heads }) => heads);
  }

  reset(): void {
    this.#number = 0;
    this.#seen.clear();
  }

  /** Replace the heads of a window. */
  see(window: Window, heads: Head[]): void {
    this.#seen.set(place.keyOf(window), { heads, number: this.#number });
  }

  /** Begin a frame: forget what was seen too long ago, and heads that are known otherwise. */
  beginFrame(isKnown: (head: Head) => boolean): void {
    this.#number += 1;
    for (const [window, { heads, number }] of this.#seen) {
      if (this.#number - number >= HEAD_FRAMES) this.#seen.delete(window);
      else this.#seen.set(window, { heads: heads.filter((head) => !isKnown(head)), number });
    }
  }
}
