/** Verify the faces and bodies of a stream. A hand can look like a face or a body to their networks. */

import type { Bodies, BodyObservation } from "../body.js";
import { constants } from "../data.js";
import type { FaceObservation } from "../face.js";
import { cornersOf, distance, sizeOf, type Observation, type Point } from "../observations.js";
import type { Pixels } from "../pixels.js";
import type { SingleShotDetector } from "../ssd.js";
import type { Track } from "../tracking.js";
import type { HeadMap } from "./finders.js";
import { bodyOks, boxAroundBody, headOfBody, isHeadOf, meanOf, oks, partOf, pointAt, windowAround, withoutOtherHeads } from "./geometry.js";
import { logit, scoreOf } from "./score.js";

const OF = constants.search.checks;
const HEAD = [...Array(11).keys()]; // of a body's keypoints
const { BODY_TOLERANCE } = constants.search.bodies;

/** Verifies the detections of a stream. */
export interface Check<O extends Observation> {
  /** Forget the previous stream. */
  reset(): void;
  /** Return the image for one track, without what the network could mistake for its instance. */
  maskedImage(image: Pixels, track: Track<O>, tracks: readonly Track<O>[]): Pixels;
  /** Check whether a new detection may start a track; `isFirst`: in the first frame of a stream. */
  acceptsNew(image: Pixels, observation: O, isFirst?: boolean): Promise<boolean>;
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
 * A body without a face is accepted only with its back to the camera and with high scores.
 */
export class BodyCheck implements Check<BodyObservation> {
  readonly #faces: SingleShotDetector;
  readonly #bodies: Bodies;
  readonly #heads: HeadMap;
  readonly #isMirrored: boolean;
  readonly #records = new Records();
  #doubtful: { observation: BodyObservation; count: number }[] = [];

  constructor(faces: SingleShotDetector, bodies: Bodies, heads: HeadMap, isMirrored: boolean) {
    [this.#faces, this.#bodies, this.#heads, this.#isMirrored] = [faces, bodies, heads, isMirrored];
  }

  reset(): void {
    this.#records.reset();
    this.#doubtful = [];
  }

  /**
   * Check whether a new detection is a body.
   *
   * A doubtful body must be detected again in later frames. The first frame of a stream may be a single image, so a face of
   * low score is enough in it.
   */
  async acceptsNew(image: Pixels, observation: BodyObservation, isFirst = false): Promise<boolean> {
    const known = Math.max(0, ...this.#heads.all.filter((head) => isHeadOf(observation, head)).map(({ score }) => score));
    const face = known > OF.BOX_SCORE ? known : await this.#faceScore(image, observation);
    if (face > 0) return face > OF.CERTAIN_FACE || this.#isDetectedAgain(observation, isFirst ? 1 : OF.FACE_DETECTIONS);
    return (await this.#isFromBehind(image, observation)) && (await this.#isDetected(image, observation)) && this.#isDetectedAgain(observation, OF.FACELESS_DETECTIONS);
  }

  /** Check whether this number of the last detections of the body agree. */
  #isDetectedAgain(observation: BodyObservation, times: number): boolean {
    const agrees = (other: { observation: BodyObservation }) => oks(other.observation.keypoints, observation.keypoints, BODY_TOLERANCE) > OF.MIN_AGREEMENT;
    const count = 1 + Math.max(0, ...this.#doubtful.filter(agrees).map(({ count }) => count));
    const others = this.#doubtful.filter((other) => !agrees(other));
    this.#doubtful = [{ observation, count }, ...others].slice(0, OF.MAX_DOUBTFUL);
    return count >= times;
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
    isSure ||= (await this.#faceScore(image, observation)) > 0;
    return record.isKept(isSure, isSure || (await this.#isFromBehind(image, observation))) ? observation : null;
  }

  async #firstWithFace(image: Pixels, bodies: readonly BodyObservation[]): Promise<BodyObservation | null> {
    for (const body of bodies) if ((await this.#faceScore(image, body)) > 0) return body;
    return null;
  }

  #faceScore(image: Pixels, { keypoints }: BodyObservation): Promise<number> {
    const size = Math.max(sizeOf(keypoints, 2, HEAD), OF.MIN_HEAD_PX);
    return faceScore(this.#faces, image, meanOf(keypoints, HEAD), size, OF.ON_BODY);
  }

  async #isFromBehind(image: Pixels, observation: BodyObservation): Promise<boolean> {
    const [presence, agreement] = OF.FROM_BEHIND as [number, number];
    if (showsFront(observation) !== this.#isMirrored || observation.score <= presence) return false; // a body that faces the camera would show its face
    const [x, y] = meanOf(observation.keypoints, HEAD);
    if (!(x > 0 && x < image.width && y > 0 && y < image.height)) return false;
    const again = await this.#bodies.observe(image, boxAroundBody(observation));
    return again.score > presence && bodyOks(observation, again, image) > agreement;
  }

  async #isDetected(image: Pixels, observation: BodyObservation): Promise<boolean> {
    const box = boxAroundBody(observation);
    const strong = await this.#bodies.find(image, OF.FROM_BEHIND_DETECTION);
    return strong.some(({ cx, cy }) => Math.hypot(box.cx - cx, box.cy - cy) < 0.1 * box.width);
  }
}

/** Check whether the head of a body moved to another person's head. */
function isAnotherPerson(track: BodyTrack, observation: BodyObservation, tracks: readonly BodyTrack[]): boolean {
  if (isHeadOf(observation, headOfBody(track.observation))) return false;
  return tracks.some((other) => other !== track && other.occludedS === null && isHeadOf(observation, headOfBody(other.observation)));
}

/** Check whether a body faces the camera. The image is not a selfie view. */
function showsFront({ keypoints }: BodyObservation): boolean {
  const [left, right] = OF.SHOULDERS.map((k) => pointAt(keypoints, k)) as [Point, Point];
  const [shoulders, hips] = [meanOf(keypoints, OF.SHOULDERS), meanOf(keypoints, OF.HIPS)];
  const [upX, upY] = [shoulders[0] - hips[0], shoulders[1] - hips[1]];
  return upX * (right[1] - left[1]) < upY * (right[0] - left[0]);
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
