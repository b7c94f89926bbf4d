/** Define how hands, faces and bodies are found in the windows of a stream. */

import type { Bodies, BodyObservation } from "../body.js";
import { iou, type RotatedBox } from "../boxes.js";
import { FINDERS, constants, type FinderRecord } from "../data.js";
import { boxAroundFace, type FaceMeshes, type FaceObservation } from "../face.js";
import { boxAroundHand, boxFromPalm, type HandObservation, type Hands } from "../hands.js";
import type { Observation } from "../observations.js";
import type { Pixels } from "../pixels.js";
import type { SingleShotDetector } from "../ssd.js";
import * as geometry from "./geometry.js";
import type { Head, Proposal, Window } from "./geometry.js";
import { LIMITS, logit, scoreOf } from "./score.js";

const { HEAD_SCORE, TRACKED_IOU } = constants.search.stream_finders;
const { BODY_TOLERANCE, PLACEMENTS } = constants.search.bodies;
const { HEAD_FRAMES } = constants.search.streams;

/** Finder of one kind. */
export interface Finder<O extends Observation, P extends Proposal = Proposal> extends FinderRecord {
  /** Return the proposals of a detector in a window, in pixels of the image. */
  propose(image: Pixels, window: Window): Promise<P[]>;
  observe(image: Pixels, box: RotatedBox): Promise<O>;
  boxAfter(observation: O): RotatedBox;
  /** Return the probability that two observations show an instance; `image`: image of the second frame. */
  score(image: Pixels, proposal: P, first: O, second: O): Promise<number>;
  /** Check whether a proposal shows a tracked instance. */
  isTracked(proposal: P, tracked: O): boolean;
  /** Check whether an observation is tracked already. */
  isSame(observation: O, tracked: O): boolean;
  /** Return the image for verifying a proposal, with similar instances covered. */
  maskedImage?(image: Pixels, proposal: P, tracked: readonly O[]): Pixels;
  /** Return the alternative of a proposal that was not verified. */
  alternative?(proposal: P): P | null;
  beginFrame?(tracked: readonly O[]): void;
  reset?(): void;
}

/** Return a finder that proposes hands by the palm detector and verifies them in the mirrored image. */
export function handFinder(palms: SingleShotDetector, hands: Hands, minDetection: number): Finder<HandObservation> {
  const boxAfter = ({ keypoints }: HandObservation) => boxAroundHand(keypoints);
  return {
    ...FINDERS.HandFinder,
    ...boxFinder(boxAfter),
    observe: (image, box) => hands.observe(image, box),
    async propose(image, window) {
      const found = await palms.find(geometry.partOf(image, window), LIMITS.stream_palm_share * minDetection);
      return found.map((palm) => ({ box: geometry.placed(boxFromPalm(palm), window), score: palm.score, votes: new Set() }));
    },
    async score(image, _, first, second) {
      const mirrored = await hands.observeMirrored(image, boxAfter(second));
      return scoreOf("stream_hand", { presence: logit(Math.min(first.score, second.score)), mirrored: logit(mirrored.score) });
    },
  };
}

/** Return a finder that proposes faces by the full-range detector. */
export function faceFinder(faces: SingleShotDetector, meshes: FaceMeshes, minDetection: number): Finder<FaceObservation> {
  return {
    ...FINDERS.FaceFinder,
    ...boxFinder((observation: FaceObservation) => meshes.boxAfter(observation)),
    observe: (image, box) => meshes.observe(image, box),
    async propose(image, window) {
      const found = await faces.find(geometry.partOf(image, window), LIMITS.face_share * minDetection);
      return found.map(({ box, keypoints, score }) =>
        ({ box: geometry.placed(boxAroundFace(box, keypoints[0]!, keypoints[1]!), window), score, votes: new Set() }));
    },
    score(_, { score }, first, second) {
      const agreement = geometry.oks(first.keypoints, alignCentres(first.keypoints, second.keypoints));
      const presence = logit(Math.min(first.score, second.score));
      return Promise.resolve(scoreOf("stream_face", { detection: logit(score), presence, agreement: logit(agreement) }));
    },
  };
}

/** Box in which the body of a head may be, one of several placements. */
interface BodyProposal extends Proposal {
  readonly head: Head;
  readonly placement: number;
}

function proposalBelow(head: Head, placement: number): BodyProposal {
  return { box: geometry.boxBelow(head, placement), score: head.score / (1 + placement), votes: new Set(), head, placement };
}

/** Return a finder that proposes bodies below faces and observes them with all other heads covered. */
export function bodyFinder(faces: SingleShotDetector, bodies: Bodies, heads: HeadMap): Finder<BodyObservation, BodyProposal> {
  return {
    ...FINDERS.BodyFinder,
    boxAfter: geometry.boxAroundBody,
    observe: (image, box) => bodies.observe(image, box),
    isTracked: ({ head }, tracked) => geometry.isHeadOf(tracked, head),
    isSame: geometry.isSameTorso,
    beginFrame: (tracked) => heads.beginFrame((head) => tracked.some((body) => geometry.isHeadOf(body, head))),
    reset: () => heads.reset(),
    async propose(image, window) {
      const found = await geometry.headsIn(faces, image, window, HEAD_SCORE);
      heads.update(window, found);
      return found.map((head) => proposalBelow(head, 0));
    },
    alternative: ({ head, placement }) => (placement + 1 < PLACEMENTS.length ? proposalBelow(head, placement + 1) : null),
    score(image, { head }, first, second) {
      const moved = alignCentres(first.keypoints, second.keypoints);
      const agreement = geometry.oks(first.keypoints, moved, BODY_TOLERANCE, geometry.visibilityInside(second, image));
      const score = logit(Math.max(first.score, second.score) * agreement);
      return Promise.resolve(geometry.isHeadOf(second, head) ? scoreOf("stream_body", { score }) : 0);
    },
    maskedImage: (image, { box, head }, tracked) => geometry.withoutOtherHeads(image, box, [...heads.all, ...tracked.map(geometry.headOfBody)], head),
  };
}

/** Return the functions that hands and faces share. */
function boxFinder<O extends Observation>(boxAfter: (observation: O) => RotatedBox): Pick<Finder<O>, "boxAfter" | "isTracked" | "isSame"> {
  return {
    boxAfter,
    isTracked: ({ box }, tracked) => iou(box, boxAfter(tracked)) > TRACKED_IOU,
    isSame: (observation, tracked) => geometry.isSameInstance(observation.keypoints, tracked.keypoints),
  };
}

/** Shift keypoints (K, 3) so that their centre is that of the target. */
function alignCentres(target: Float32Array, points: Float32Array): Float32Array {
  const all = [...Array(points.length / 3).keys()];
  const [to, from] = [geometry.meanOf(target, all), geometry.meanOf(points, all)];
  return points.map((value, i) => (i % 3 === 2 ? value : value + to[(i % 3) as 0 | 1] - from[(i % 3) as 0 | 1]));
}

/** Heads that were last detected in each window of a stream. */
export class HeadMap {
  #number = 0;
  #windows = new Map<string, { heads: Head[]; number: number }>();

  /** Return all heads. One head may have been detected in several windows. */
  get all(): Head[] {
    return [...this.#windows.values()].flatMap(({ heads }) => heads);
  }

  reset(): void {
    this.#number = 0;
    this.#windows.clear();
  }

  /** Replace the heads of a window. */
  update(window: Window, heads: Head[]): void {
    this.#windows.set(geometry.keyOf(window), { heads, number: this.#number });
  }

  /** Start a frame. Remove heads that are too old or better known from tracked bodies. */
  beginFrame(isKnown: (head: Head) => boolean): void {
    this.#number += 1;
    for (const [window, { heads, number }] of this.#windows) {
      if (this.#number - number >= HEAD_FRAMES) this.#windows.delete(window);
      else this.#windows.set(window, { heads: heads.filter((head) => !isKnown(head)), number });
    }
  }
}
