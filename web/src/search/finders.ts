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
import { newCandidate } from "./agenda.js";
import { bodyFeatures } from "./bodies.js";
import { LIMITS, logit, scoreOf } from "./score.js";

const { FACE_COST, HEAD_SCORE, PARTS, PEOPLE_PARTS, TRACKED_IOU } = constants.search.stream_finders;
const { BODY_TOLERANCE, PLACEMENTS } = constants.search.bodies;
const { HEAD_FRAMES } = constants.search.streams;

/** A detector that proposes instances in the windows of an image. */
export interface Source {
  /** Return the proposals in a window, in pixels of the image. */
  find(image: Pixels, window: Window): Promise<Proposal[]>;
  /** Numbers of windows along the longer side of the image. */
  readonly parts: readonly number[];
  /** Time of a window, in inferences of the landmark network. */
  readonly cost: number;
  /** See `windows`. */
  readonly isFewer?: boolean;
}

/** Finder of one kind. */
export interface Finder<O extends Observation> extends FinderRecord {
  readonly sources: readonly Source[];
  observe(image: Pixels, box: RotatedBox): Promise<O>;
  boxAfter(observation: O): RotatedBox;
  /** Return the probability that two observations show an instance; `image`: image of the second frame. */
  score(image: Pixels, proposal: Proposal, first: O, second: O): Promise<number>;
  /** Check whether a proposal shows a tracked instance. */
  isTracked(proposal: Proposal, tracked: O): boolean;
  /** Check whether an observation is tracked already. */
  isSame(observation: O, tracked: O): boolean;
  /** Return the image for verifying a proposal, with similar instances covered. */
  maskedImage?(image: Pixels, proposal: Proposal, tracked: readonly O[]): Pixels;
  /** Return the alternative of a proposal that was not verified. */
  alternative?(proposal: Proposal): Proposal | null;
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
    sources: [{
      parts: PARTS,
      cost: 1,
      async find(image, window) {
        const found = await palms.find(geometry.partOf(image, window), LIMITS.stream_palm_share * minDetection);
        return found.map((palm) => ({ box: geometry.placed(boxFromPalm(palm), window), score: palm.score, votes: new Set() }));
      },
    }],
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
    sources: [{
      parts: PARTS,
      cost: 1,
      async find(image, window) {
        const found = await faces.find(geometry.partOf(image, window), LIMITS.face_share * minDetection);
        return found.map(({ box, keypoints, score }) =>
          ({ box: geometry.placed(boxAroundFace(box, keypoints[0]!, keypoints[1]!), window), score, votes: new Set() }));
      },
    }],
    score(_, { score }, first, second) {
      const agreement = geometry.oks(first.keypoints, alignCentres(first.keypoints, second.keypoints));
      const presence = logit(Math.min(first.score, second.score));
      return Promise.resolve(scoreOf("stream_face", { detection: logit(score), presence, agreement: logit(agreement) }));
    },
  };
}

function proposalBelow(head: Head, placement: number): Proposal {
  return { box: geometry.boxBelow(head, placement), score: head.score / (1 + placement), votes: new Set(), below: { head, placement } };
}

/** Return a finder that proposes people, and bodies below faces. These are observed with all other heads covered. */
export function bodyFinder(faces: SingleShotDetector, bodies: Bodies, heads: HeadMap): Finder<BodyObservation> {
  const bodiesBelowFaces: Source = {
    parts: PARTS,
    cost: FACE_COST,
    async find(image, window) {
      const found = await geometry.headsIn(faces, image, window, HEAD_SCORE);
      heads.update(window, found);
      return found.map((head) => proposalBelow(head, 0));
    },
  };
  const detectedPeople: Source = {
    parts: PEOPLE_PARTS,
    cost: 1,
    isFewer: true,
    async find(image, window) {
      const found = await bodies.people(geometry.partOf(image, window), LIMITS.person);
      const votes = new Set([geometry.keyOf(window)]);
      return found.map(({ box, score }) => ({ box: geometry.placed(box, window), score, votes: new Set(votes) }));
    },
  };
  return {
    ...FINDERS.BodyFinder,
    sources: [bodiesBelowFaces, detectedPeople],
    boxAfter: geometry.boxAroundBody,
    observe: (image, box) => bodies.observe(image, box),
    isTracked({ box, below }, tracked) {
      if (below) return geometry.isHeadOf(tracked, below.head);
      const own = geometry.boxAroundBody(tracked);
      return Math.hypot(own.cx - box.cx, own.cy - box.cy) < LIMITS.same_hips * own.width;
    },
    isSame: geometry.isSameTorso,
    beginFrame: (tracked) => heads.beginFrame((head) => tracked.some((body) => geometry.isHeadOf(body, head))),
    reset: () => heads.reset(),
    alternative: ({ below }) => (below && below.placement + 1 < PLACEMENTS.length ? proposalBelow(below.head, below.placement + 1) : null),
    score(image, proposal, first, second) {
      const moved = alignCentres(first.keypoints, second.keypoints);
      const agreement = geometry.oks(first.keypoints, moved, BODY_TOLERANCE, geometry.visibilityInside(second, image));
      if (!proposal.below) {
        return Promise.resolve(scoreOf("body", bodyFeatures(newCandidate([first, second], proposal, agreement), image, [])));
      }
      const score = logit(Math.max(first.score, second.score) * agreement);
      return Promise.resolve(geometry.isHeadOf(second, proposal.below.head) ? scoreOf("stream_body", { score }) : 0);
    },
    maskedImage: (image, { box, below }, tracked) =>
      below ? geometry.withoutOtherHeads(image, box, [...heads.all, ...tracked.map(geometry.headOfBody)], below.head) : image,
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
