/** Verification of what a stream finds and tracks: a hand looks like a face or a body to those networks. */

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
  acceptsNew(image: Pixels, seen: O, isFirst?: boolean): Promise<boolean>;
  /** Return the verified observation of a track, or null if the track ends. */
  verify(image: Pixels, track: Track<O>, seen: O, tracks: readonly Track<O>[]): Promise<O | null>;
}

/** When a track is verified next, and whether it stays. */
class Record {
  #frames = 0;
  #failures = 0;
  #successes = 0;

  /** `presence`: mean of the last frames. */
  constructor(public presence: number) {}

  /** Count a frame, and return whether the track is verified in it. */
  isDue(): boolean {
    this.#frames += 1;
    if (this.#frames < (this.#successes && !this.#failures ? OF.PASSED_CHECK_INTERVAL : OF.CHECK_INTERVAL)) return false;
    this.#frames = 0;
    return true;
  }

  /** Return whether the track stays; the next verification of `isSure` ones is later. */
  isKept(isSure: boolean, hasPassed: boolean): boolean {
    this.#successes += Number(isSure);
    this.#failures = hasPassed ? 0 : this.#failures + 1;
    return this.#failures < Math.min(OF.MIN_FAILURES + OF.FAILURES_PER_SUCCESS * this.#successes, OF.MAX_FAILURES);
  }
}

/** The records of tracks. */
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

/** Verifies faces: the full-range detector must see one at the same place. */
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

  async verify(image: Pixels, track: Track<FaceObservation>, seen: FaceObservation): Promise<FaceObservation | null> {
    const record = this.#records.of(track as unknown as Track<Observation>);
    if (!record.isDue()) return seen;
    const hasPassed = await this.acceptsNew(image, seen);
    return record.isKept(hasPassed, hasPassed) ? seen : null;
  }
}

type BodyTrack = Track<BodyObservation>;

/** Verifies bodies: the face detector must see a face where the head is, or all signs of a body seen from behind are strong. */
export class BodyCheck implements Check<BodyObservation> {
  readonly #faces: SingleShotDetector;
  readonly #bodies: Bodies;
  readonly #heads: HeadMap;
  readonly #isMirrored: boolean;
  readonly #records = new Records();
  #doubtful: { seen: BodyObservation; count: number }[] = [];

  constructor(faces: SingleShotDetector, bodies: Bodies, heads: HeadMap, isMirrored: boolean) {
    [this.#faces, this.#bodies, this.#heads, this.#isMirrored] = [faces, bodies, heads, isMirrored];
  }

  reset(): void {
    this.#records.reset();
    this.#doubtful = [];
  }

  /** A doubtful body must be found again in later frames. The first frame may be a single image, so a faint face is enough there. */
  async acceptsNew(image: Pixels, seen: BodyObservation, isFirst = false): Promise<boolean> {
    const known = Math.max(0, ...this.#heads.all.filter((head) => isHeadOf(seen, head)).map(({ score }) => score));
    const face = known > OF.BOX_SCORE ? known : await this.#faceScore(image, seen);
    if (face > 0) return face > OF.CERTAIN_FACE || this.#isSeenAgain(seen, isFirst ? 1 : OF.FACE_DETECTIONS);
    return (await this.#isFromBehind(image, seen)) && (await this.#isDetected(image, seen)) && this.#isSeenAgain(seen, OF.FACELESS_DETECTIONS);
  }

  /** Check whether a body was found so many times, much as before. */
  #isSeenAgain(seen: BodyObservation, times: number): boolean {
    const isAsBefore = (one: { seen: BodyObservation }) => oks(one.seen.keypoints, seen.keypoints, BODY_TOLERANCE) > OF.MIN_AGREEMENT;
    const count = 1 + Math.max(0, ...this.#doubtful.filter(isAsBefore).map((one) => one.count));
    const others = this.#doubtful.filter((one) => !isAsBefore(one));
    this.#doubtful = [{ seen, count }, ...others].slice(0, OF.MAX_DOUBTFUL);
    return count >= times;
  }

  /** Return the image with the heads of all others covered. */
  maskedImage(image: Pixels, track: BodyTrack, tracks: readonly BodyTrack[]): Pixels {
    const others = tracks.filter((one) => one !== track && one.occludedS === null).map((one) => headOfBody(one.observation));
    return withoutOtherHeads(image, track.box, [...this.#heads.all, ...others], headOfBody(track.observation));
  }

  /** Keep a body with low presence, or one whose box shows another tracked body, where its face is seen. */
  async verify(image: Pixels, track: BodyTrack, now: BodyObservation, tracks: readonly BodyTrack[]): Promise<BodyObservation | null> {
    const [before, record] = [track.observation, this.#records.of(track as unknown as Track<Observation>)];
    let [seen, isSure] = [now, false];
    const isOthers = isOfAnother(track, seen, tracks);
    const agreement = isOthers ? 0 : bodyOks(before, seen, image);
    record.presence += OF.MEMORY * (seen.score * agreement - record.presence);
    if (isOthers || seen.score < OF.FAINT_PRESENCE) {
      const faced = await this.#firstFaced(image, isOthers ? [before] : [seen, before]);
      if (faced === null) return isOthers ? null : seen;
      [seen, isSure] = [{ ...faced, score: scoreOf("stream_body", { score: logit(record.presence) }) }, true];
    }
    if (!record.isDue()) return seen;
    isSure ||= (await this.#faceScore(image, seen)) > 0;
    return record.isKept(isSure, isSure || (await this.#isFromBehind(image, seen))) ? seen : null;
  }

  async #firstFaced(image: Pixels, bodies: readonly BodyObservation[]): Promise<BodyObservation | null> {
    for (const body of bodies) if ((await this.#faceScore(image, body)) > 0) return body;
    return null;
  }

  #faceScore(image: Pixels, { keypoints }: BodyObservation): Promise<number> {
    const size = Math.max(sizeOf(keypoints, 2, HEAD), OF.MIN_HEAD_PX);
    return faceScore(this.#faces, image, meanOf(keypoints, HEAD), size, OF.ON_BODY);
  }

  async #isFromBehind(image: Pixels, seen: BodyObservation): Promise<boolean> {
    const [presence, agreement] = OF.FROM_BEHIND as [number, number];
    if (showsFront(seen) !== this.#isMirrored || seen.score <= presence) return false; // a front shows the face
    const [x, y] = meanOf(seen.keypoints, HEAD);
    if (!(x > 0 && x < image.width && y > 0 && y < image.height)) return false;
    const again = await this.#bodies.observe(image, boxAroundBody(seen));
    return again.score > presence && bodyOks(seen, again, image) > agreement;
  }

  async #isDetected(image: Pixels, seen: BodyObservation): Promise<boolean> {
    const box = boxAroundBody(seen);
    const strong = await this.#bodies.find(image, OF.FROM_BEHIND_DETECTION);
    return strong.some(({ cx, cy }) => Math.hypot(box.cx - cx, box.cy - cy) < 0.1 * box.width);
  }
}

/** Check whether a body's head left its place for that of another one. */
function isOfAnother(track: BodyTrack, seen: BodyObservation, tracks: readonly BodyTrack[]): boolean {
  if (isHeadOf(seen, headOfBody(track.observation))) return false;
  return tracks.some((one) => one !== track && one.occludedS === null && isHeadOf(seen, headOfBody(one.observation)));
}

/** Check whether a body turns its front to the camera, in an image that is no selfie view. */
function showsFront({ keypoints }: BodyObservation): boolean {
  const [left, right] = OF.SHOULDERS.map((k) => pointAt(keypoints, k)) as [Point, Point];
  const [shoulders, hips] = [meanOf(keypoints, OF.SHOULDERS), meanOf(keypoints, OF.HIPS)];
  const [upX, upY] = [shoulders[0] - hips[0], shoulders[1] - hips[1]];
  return upX * (right[1] - left[1]) < upY * (right[0] - left[0]);
}

/** Return the score of the face that a detector finds where a head of that size is; 0 for none. */
async function faceScore(faces: SingleShotDetector, image: Pixels, centre: Point, size: number, fit: typeof OF.ON_BODY): Promise<number> {
  const [off, [least, largest], minScore] = fit as [number, [number, number], number];
  const window = windowAround(centre, OF.WINDOW * size, image);
  if (window === null) return 0;
  for (const { score, box } of await faces.find(partOf(image, window), minScore)) {
    const middle: Point = [window.left + (box[0] + box[2]) / 2, window.top + (box[1] + box[3]) / 2];
    const width = (box[2] - box[0]) / size;
    if (distance(middle, centre) < off * size && least < width && width < largest) return score;
  }
  return 0;
}
