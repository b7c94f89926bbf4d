/** Verify the faces and bodies of a stream. A hand can look like a face or a body to their networks. */

import type { Bodies, BodyObservation } from "../body.js";
import { constants } from "../data.js";
import type { FaceObservation } from "../face.js";
import { cornersOf, distance, sizeOf, type Observation, type Point } from "../observations.js";
import type { Pixels } from "../pixels.js";
import type { SingleShotDetector } from "../ssd.js";
import type { Track } from "../tracking.js";
import { newCandidate } from "./agenda.js";
import { bodyFeatures } from "./bodies.js";
import type { HeadMap } from "./finders.js";
import { bodyOks, boxAroundBody, headOfBody, isHeadOf, meanOf, partOf, windowAround, withoutOtherHeads, type Proposal } from "./geometry.js";
import { LIMITS, logit, scoreOf } from "./score.js";

const OF = constants.search.checks;
const HEAD = [...Array(11).keys()]; // of a body's keypoints

/** Verifies the detections of a stream. */
export interface Check<O extends Observation> {
  /** Forget the previous stream. */
  reset(): void;
  /** Return the image for one track, without what the network could mistake for its instance. */
  maskedImage(image: Pixels, track: Track<O>, tracks: readonly Track<O>[]): Pixels;
  /**
   * Check whether a new detection may start a track.
   *
   * @param detections number of frames in a row in which it was detected
   * @param proposal proposal that led to it in a search of windows; null for the search of the image
   */
  acceptsNew(image: Pixels, observation: O, detections: number, proposal: Proposal | null): Promise<boolean>;
  /** Return the verified observation of a track, or null if the track ends. */
  verify(image: Pixels, track: Track<O>, observation: O, tracks: readonly Track<O>[]): Promise<O | null>;
}

/** History of a tracked instance: when it is verified next, and whether it stays. */
class Record {
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

/** Records of tracks. */
class Records {
  #of = new WeakMap<object, Record>();

  reset(): void {
    this.#of = new WeakMap();
  }

  of(track: Track<Observation>): Record {
    const known = this.#of.get(track) ?? new Record(track.observation.score);
    this.#of.set(track, known);
    return known;
  }
}

/** Verifies faces: the full-range detector must detect them at the same position. The mesh network can mistake a hand for a face. */
export class FaceCheck implements Check<FaceObservation> {
  readonly #faces: SingleShotDetector;
  readonly #records = new Records();

  constructor(faces: SingleShotDetector) {
    this.#faces = faces;
  }

  reset(): void {
    this.#records.reset();
  }

  maskedImage(image: Pixels): Pixels {
    return image;
  }

  async acceptsNew(image: Pixels, { keypoints }: FaceObservation): Promise<boolean> {
    const [left, top, right, bottom] = cornersOf(keypoints);
    const centre: Point = [(left + right) / 2, (top + bottom) / 2];
    return (await faceScore(this.#faces, image, centre, Math.max(right - left, bottom - top), OF.ON_MESH)) > 0;
  }

  async verify(image: Pixels, track: Track<FaceObservation>, observation: FaceObservation): Promise<FaceObservation | null> {
    const record = this.#records.of(track as unknown as Track<Observation>);
    if (!record.isDue()) return observation;
    const hasPassed = await this.acceptsNew(image, observation);
    return record.isKept(hasPassed, hasPassed) ? observation : null;
  }
}

type BodyTrack = Track<BodyObservation>;

/**
 * Verifies bodies: the full-range detector must detect a face at the head.
 *
 * A body without a face requires a high score as in stills.
 */
export class BodyCheck implements Check<BodyObservation> {
  readonly #faces: SingleShotDetector;
  readonly #bodies: Bodies;
  readonly #heads: HeadMap;
  readonly #records = new Records();

  constructor(faces: SingleShotDetector, bodies: Bodies, heads: HeadMap) {
    [this.#faces, this.#bodies, this.#heads] = [faces, bodies, heads];
  }

  reset(): void {
    this.#records.reset();
  }

  /** Check whether a new detection is a body. A doubtful body must be detected in several frames. */
  async acceptsNew(image: Pixels, observation: BodyObservation, detections: number, proposal: Proposal | null): Promise<boolean> {
    const known = Math.max(0, ...this.#heads.all.filter((head) => isHeadOf(observation, head)).map(({ score }) => score));
    const face = known > OF.CERTAIN_FACE ? known : await this.#faceScore(image, observation);
    if (face > 0) return face > OF.CERTAIN_FACE || detections >= OF.FACE_DETECTIONS;
    if (detections < OF.FACELESS_DETECTIONS) return false;
    if (proposal?.below) return false;
    return (proposal === null ? await this.#facelessScore(image, observation) : observation.score) > LIMITS.faceless;
  }

  /** Return the image with the heads of all other people covered. */
  maskedImage(image: Pixels, track: BodyTrack, tracks: readonly BodyTrack[]): Pixels {
    const others = tracks.filter((other) => other !== track && other.occludedS === null).map((other) => headOfBody(other.observation));
    return withoutOtherHeads(image, track.box, [...this.#heads.all, ...others], headOfBody(track.observation));
  }

  /**
   * Return a tracked body, or null if it is no longer one.
   *
   * A body of low presence, or whose box now shows another tracked person, stays while its face is detected.
   */
  async verify(image: Pixels, track: BodyTrack, current: BodyObservation, tracks: readonly BodyTrack[]): Promise<BodyObservation | null> {
    const [before, record] = [track.observation, this.#records.of(track as unknown as Track<Observation>)];
    let [observation, isSure] = [current, false];
    const isAnother = isAnotherPerson(track, observation, tracks);
    const agreement = isAnother ? 0 : bodyOks(before, observation, image);
    record.presence += OF.MEMORY * (observation.score * agreement - record.presence);
    if (isAnother || observation.score < OF.FAINT_PRESENCE) {
      const faced = await this.#firstWithFace(image, isAnother ? [before] : [observation, before]);
      if (faced === null) return isAnother ? null : observation;
      [observation, isSure] = [{ ...faced, score: scoreOf("stream_body", { score: logit(record.presence) }) }, true];
    }
    if (!record.isDue()) return observation;
    const hasFace = isSure || (await this.#faceScore(image, observation)) > 0;
    const evidence = hasFace ? 1 : await this.#facelessScore(image, observation);
    return record.isKept(evidence > LIMITS.faceless, evidence > LIMITS.faceless_kept) ? observation : null;
  }

  async #firstWithFace(image: Pixels, bodies: readonly BodyObservation[]): Promise<BodyObservation | null> {
    for (const body of bodies) if ((await this.#faceScore(image, body)) > 0) return body;
    return null;
  }

  #faceScore(image: Pixels, { keypoints }: BodyObservation): Promise<number> {
    const size = Math.max(sizeOf(keypoints, 2, HEAD), OF.MIN_HEAD_PX);
    return faceScore(this.#faces, image, meanOf(keypoints, HEAD), size, OF.ON_BODY);
  }

  /** Return the score of a body without a face, as in stills, from two inferences; 0 with the head outside. */
  async #facelessScore(image: Pixels, observation: BodyObservation): Promise<number> {
    const [x, y] = meanOf(observation.keypoints, HEAD);
    if (!(x > 0 && x < image.width && y > 0 && y < image.height)) return 0;
    const again = await this.#bodies.observe(image, boxAroundBody(observation));
    const proposal = { score: OF.FACELESS_DETECTION, votes: new Set([""]) };
    const candidate = newCandidate([again, observation], proposal, bodyOks(observation, again, image));
    return scoreOf("body", bodyFeatures(candidate, image, []));
  }
}

/** Check whether the head of a body moved to another person's head. */
function isAnotherPerson(track: BodyTrack, observation: BodyObservation, tracks: readonly BodyTrack[]): boolean {
  if (isHeadOf(observation, headOfBody(track.observation))) return false;
  return tracks.some((other) => other !== track && other.occludedS === null && isHeadOf(observation, headOfBody(other.observation)));
}

/** Return the score of the face that a detector finds at a head of this size in pixels; 0 if it finds none. */
async function faceScore(faces: SingleShotDetector, image: Pixels, centre: Point, size: number, fit: typeof OF.ON_BODY): Promise<number> {
  const [maxDistance, [minWidth, maxWidth], minScore] = fit as [number, [number, number], number];
  const window = windowAround(centre, OF.WINDOW * size, image);
  if (window === null) return 0;
  for (const { score, box } of await faces.find(partOf(image, window), minScore)) {
    const middle: Point = [window.left + (box[0] + box[2]) / 2, window.top + (box[1] + box[3]) / 2];
    const width = (box[2] - box[0]) / size;
    if (distance(middle, centre) < maxDistance * size && minWidth < width && width < maxWidth) return score;
  }
  return 0;
}
