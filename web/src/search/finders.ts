/** Define how hands and faces are found in the windows of a stream, and how faces are verified. */

import { iou, type RotatedBox } from "../boxes.js";
import { FINDERS, constants, type FinderRecord } from "../data.js";
import { boxAroundFace, type FaceMeshes, type FaceObservation } from "../face.js";
import { boxAroundHand, boxFromPalm, type HandObservation, type Hands } from "../hands.js";
import { cornersOf, distance, type Observation, type Point } from "../observations.js";
import type { Pixels } from "../pixels.js";
import type { SingleShotDetector } from "../ssd.js";
import type { Track } from "../tracking.js";
import * as geometry from "./geometry.js";
import type { Proposal, Window } from "./geometry.js";
import { LIMITS, logit, scoreOf } from "./score.js";

const OF = constants.search.stream_finders;

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

/** Finder of one kind. With `acceptsNew` and `verify` it also verifies new detections and tracked instances. */
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
  imageForProposal?(image: Pixels, proposal: Proposal, tracked: readonly O[]): Pixels;
  /** Return the alternatives of a proposal that was not verified. */
  alternatives?(proposal: Proposal): Proposal[];
  /**
   * Check whether a new detection may start a track.
   *
   * @param detections number of frames in a row in which it was detected
   * @param proposal proposal that led to it in a search of windows; null for the search of the image
   */
  acceptsNew?(image: Pixels, observation: O, detections: number, proposal: Proposal | null): Promise<boolean>;
  /** Return the image for one track, without what the network could mistake for its instance. */
  imageForTrack?(image: Pixels, track: Track<O>, tracks: readonly Track<O>[]): Pixels;
  /** Return the verified observation of a track, or null if the track ends. */
  verify?(image: Pixels, track: Track<O>, observation: O, tracks: readonly Track<O>[]): Promise<O | null>;
  beginFrame?(tracked: readonly O[]): void;
  reset?(): void;
}

/** History of a tracked instance: when it is verified next, and whether it stays. */
export class Record {
  #frames = 0;
  #failures = 0;
  #successes = 0;

  /** @param presence mean presence of the last frames */
  constructor(public presence: number) {}

  /** Count a frame and return whether the track is verified in it. */
  isDue(): boolean {
    this.#frames += 1;
    if (this.#frames < (this.#successes && !this.#failures ? OF.PASSED_CHECK_INTERVAL : OF.CHECK_INTERVAL)) return false;
    this.#frames = 0;
    return true;
  }

  /**
   * Return whether the track stays after a verification.
   *
   * @param isSure true if the evidence was strong; the track is then verified again later
   * @param hasPassed true if the verification did not fail
   */
  isKept(isSure: boolean, hasPassed: boolean): boolean {
    this.#successes += Number(isSure);
    this.#failures = hasPassed ? 0 : this.#failures + 1;
    return this.#failures < Math.min(OF.MIN_FAILURES + OF.FAILURES_PER_SUCCESS * this.#successes, OF.MAX_FAILURES);
  }
}

/** Return the record of a track. A track keeps its record in the map. */
export function recordOf(records: WeakMap<object, Record>, track: { observation: Observation }): Record {
  const known = records.get(track) ?? new Record(track.observation.score);
  records.set(track, known);
  return known;
}

/** Return a finder that proposes hands by the palm detector and verifies them in the mirrored image. */
export function handFinder(palms: SingleShotDetector, hands: Hands, minDetection: number): Finder<HandObservation> {
  const boxAfter = ({ keypoints }: HandObservation) => boxAroundHand(keypoints);
  return {
    ...FINDERS.HandFinder,
    ...boxFinder(boxAfter),
    observe: (image, box) => hands.observe(image, box),
    sources: [{
      parts: OF.PARTS,
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

/**
 * Return a finder that proposes faces by the full-range detector, which must also detect tracked faces at their position.
 *
 * The mesh network can mistake a hand for a face.
 */
export function faceFinder(faces: SingleShotDetector, meshes: FaceMeshes, minDetection: number): Finder<FaceObservation> {
  let records = new WeakMap<object, Record>();
  const isFace = async (image: Pixels, { keypoints }: FaceObservation) => {
    const [left, top, right, bottom] = cornersOf(keypoints);
    const centre: Point = [(left + right) / 2, (top + bottom) / 2];
    return (await faceScore(faces, image, centre, Math.max(right - left, bottom - top), OF.ON_MESH)) > 0;
  };
  return {
    ...FINDERS.FaceFinder,
    ...boxFinder((observation: FaceObservation) => meshes.boxAfter(observation)),
    observe: (image, box) => meshes.observe(image, box),
    sources: [{
      parts: OF.PARTS,
      cost: 1,
      async find(image, window) {
        const found = await faces.find(geometry.partOf(image, window), LIMITS.face_share * minDetection);
        return found.map(({ box, keypoints, score }) =>
          ({ box: geometry.placed(boxAroundFace(box, keypoints[0]!, keypoints[1]!), window), score, votes: new Set() }));
      },
    }],
    score(_, { score }, first, second) {
      const agreement = geometry.oks(first.keypoints, second.keypoints, { hasMoved: true });
      const presence = logit(Math.min(first.score, second.score));
      return Promise.resolve(scoreOf("stream_face", { detection: logit(score), presence, agreement: logit(agreement) }));
    },
    acceptsNew: isFace,
    async verify(image, track, observation) {
      const record = recordOf(records, track);
      if (!record.isDue()) return observation;
      const hasPassed = await isFace(image, observation);
      return record.isKept(hasPassed, hasPassed) ? observation : null;
    },
    reset() {
      records = new WeakMap();
    },
  };
}

/** Return the functions that hands and faces share. */
function boxFinder<O extends Observation>(boxAfter: (observation: O) => RotatedBox): Pick<Finder<O>, "boxAfter" | "isTracked" | "isSame"> {
  return {
    boxAfter,
    isTracked: ({ box }, tracked) => iou(box, boxAfter(tracked)) > OF.TRACKED_IOU,
    isSame: (observation, tracked) => geometry.isSameInstance(observation.keypoints, tracked.keypoints),
  };
}

/** Return the score of the face that a detector finds at a head of this size in pixels; 0 if it finds none. */
export async function faceScore(faces: SingleShotDetector, image: Pixels, centre: Point, size: number, fit: typeof OF.ON_MESH): Promise<number> {
  const [maxDistance, [minWidth, maxWidth], minScore] = fit as [number, [number, number], number];
  const window = geometry.windowAround(centre, OF.WINDOW * size, image);
  if (window === null) return 0;
  for (const { score, box } of await faces.find(geometry.partOf(image, window), minScore)) {
    const middle: Point = [window.left + (box[0] + box[2]) / 2, window.top + (box[1] + box[3]) / 2];
    const width = (box[2] - box[0]) / size;
    if (distance(middle, centre) < maxDistance * size && minWidth < width && width < maxWidth) return score;
  }
  return 0;
}
