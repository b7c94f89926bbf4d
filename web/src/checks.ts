/** What separates true from false finds of a stream: a hand looks like a face or a body to those networks. */

import type { Bodies, BodyObservation } from "./body.js";
import { constants, type Logistic } from "./data.js";
import type { FaceObservation } from "./face.js";
import { boxAroundBody } from "./finders.js";
import { logit, windowAround } from "./finds.js";
import { headOfBody, headsIn, isHeadOf, meanOf, oks, seenInside, withoutOtherHeads, type HeadMap } from "./heads.js";
import { cornersOf, distance, sizeOf, type Observation, type Point } from "./observations.js";
import { cut, type Pixels } from "./pixels.js";
import type { SingleShotDetector } from "./ssd.js";
import type { Track } from "./tracking.js";

const OF = constants.checks;
const HEAD = [...Array(11).keys()]; // of a body's keypoints
const TOLERANCE = constants.bodies.BODY_TOLERANCE;

/** Tells true finds of a stream from false ones. */
export interface Check<O extends Observation> {
  /** The image in which one of those held is looked at: without what may be taken for it. */
  view(image: Pixels, track: Track<O>, held: readonly Track<O>[]): Pixels;
  /** Whether what a search has just found may be held. */
  admits(image: Pixels, seen: O): Promise<boolean>;
  /** What is seen of one of those held, as it counts; null where it may not stay. */
  keeps(image: Pixels, track: Track<O>, seen: O, held: readonly Track<O>[]): Promise<O | null>;
}

/** Of a held instance: when it is checked next, and whether it stays. */
class Checks {
  /** How sure it was of late. */
  sureness: number;
  #frames = 0;
  #failures = 0;
  #successes = 0;

  constructor(sureness: number) {
    this.sureness = sureness;
  }

  /** Count a frame, and say whether the instance is checked in it. */
  isDue(): boolean {
    this.#frames += 1;
    if (this.#frames < (this.#successes && !this.#failures ? OF.SURE_INTERVAL : OF.INTERVAL)) return false;
    this.#frames = 0;
    return true;
  }

  /** Whether it stays after a check; `isSure` ones need the next check later. */
  isKept(isSure: boolean, hasPassed: boolean): boolean {
    this.#successes += Number(isSure);
    this.#failures = hasPassed ? 0 : this.#failures + 1;
    return this.#failures < Math.min(OF.PATIENCE + OF.MORE_PATIENCE * this.#successes, OF.MOST_PATIENCE);
  }
}

/** The checks of each held instance. */
class Record<O extends Observation> {
  readonly #of = new WeakMap<Track<O>, Checks>();

  of(track: Track<O>): Checks {
    const known = this.#of.get(track) ?? new Checks(track.observation.score);
    this.#of.set(track, known);
    return known;
  }
}

/** Tells a face from a hand that the mesh takes for one: the full-range detector must see it at the same place. */
export class FaceCheck implements Check<FaceObservation> {
  readonly #faces: SingleShotDetector;
  readonly #records = new Record<FaceObservation>();

  constructor(faces: SingleShotDetector) {
    this.#faces = faces;
  }

  view(image: Pixels): Pixels {
    return image;
  }

  async admits(image: Pixels, { keypoints }: FaceObservation): Promise<boolean> {
    const [left, top, right, bottom] = cornersOf(keypoints);
    const centre: Point = [(left + right) / 2, (top + bottom) / 2];
    return (await faceScore(this.#faces, image, centre, Math.max(right - left, bottom - top), OF.ON_MESH)) > 0;
  }

  async keeps(image: Pixels, track: Track<FaceObservation>, seen: FaceObservation): Promise<FaceObservation | null> {
    const record = this.#records.of(track);
    if (!record.isDue()) return seen;
    const hasPassed = await this.admits(image, seen);
    return record.isKept(hasPassed, hasPassed) ? seen : null;
  }
}

/**
 * Tells a body from a hand that both of the body's networks take for one: another network must see a face where its
 * head is; else only a body seen from behind counts, with every sign strong.
 */
export class BodyCheck implements Check<BodyObservation> {
  readonly #faces: SingleShotDetector;
  readonly #bodies: Bodies;
  readonly #heads: HeadMap;
  readonly #isMirrored: boolean;
  readonly #score: Logistic;
  readonly #records = new Record<BodyObservation>();
  #doubtful: { seen: BodyObservation; count: number }[] = [];

  constructor(faces: SingleShotDetector, bodies: Bodies, heads: HeadMap, isMirrored: boolean, score: Logistic) {
    [this.#faces, this.#bodies, this.#heads, this.#isMirrored, this.#score] = [faces, bodies, heads, isMirrored, score];
  }

  async admits(image: Pixels, seen: BodyObservation): Promise<boolean> {
    const own = this.#heads.all.filter((head) => isHeadOf(seen, head));
    const known = Math.max(0, ...own.map(({ score }) => score));
    const face = known > constants.BoxSearch.WINDOW_SCORE ? known : await this.#faceScore(image, seen);
    if (face > 0) return face > OF.PLAIN_FACE || this.#isSeenAgain(seen, OF.FACED_TIMES);
    return (await this.#isFromBehind(image, seen)) && (await this.#isDetected(image, seen)) && this.#isSeenAgain(seen, OF.TIMES);
  }

  /** Whether it is found for so many times, much as before. */
  #isSeenAgain(seen: BodyObservation, times: number): boolean {
    const isAsBefore = (one: BodyObservation) => oks(one.keypoints, seen.keypoints, { tolerance: TOLERANCE }) > OF.AS_BEFORE;
    const before = this.#doubtful.filter((one) => isAsBefore(one.seen));
    const count = 1 + Math.max(0, ...before.map((one) => one.count));
    const others = this.#doubtful.filter((one) => !before.includes(one));
    this.#doubtful = [{ seen, count }, ...others].slice(0, OF.MOST_DOUBTFUL);
    return count >= times;
  }

  /** The image with the heads of all others covered. */
  view(image: Pixels, track: Track<BodyObservation>, held: readonly Track<BodyObservation>[]): Pixels {
    const others = held.filter((one) => one !== track && one.hidden === null).map((one) => headOfBody(one.observation));
    return withoutOtherHeads(image, headsIn(track.box, [...this.#heads.all, ...others]), headOfBody(track.observation));
  }

  /**
   * One that is seen faintly, or whose box now shows another held one, stays where its face is seen, and counts by the
   * score of the search over its last frames.
   */
  async keeps(
    image: Pixels,
    track: Track<BodyObservation>,
    now: BodyObservation,
    held: readonly Track<BodyObservation>[],
  ): Promise<BodyObservation | null> {
    const before = track.observation;
    let [seen, isSure] = [now, false];
    const record = this.#records.of(track);
    const isOthers = isOfAnother(track, seen, held);
    const how = { tolerance: TOLERANCE, weights: seenInside(seen, image) };
    const agreement = isOthers ? 0 : oks(before.keypoints, seen.keypoints, how);
    record.sureness += OF.MEMORY * (seen.score * agreement - record.sureness);
    if (isOthers || seen.score < OF.FAINT) {
      const faced = await this.#firstFaced(image, isOthers ? [before] : [seen, before]);
      if (faced === null) return isOthers ? null : seen;
      const { bias, weights } = this.#score;
      const score = 1 / (1 + Math.exp(-bias - weights.score! * logit(record.sureness)));
      [seen, isSure] = [{ ...faced, score }, true];
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
    if (showsFront(seen) !== this.#isMirrored || seen.score <= presence) return false; // who shows the front shows the face
    const [x, y] = meanOf(seen.keypoints, HEAD);
    if (!(x > 0 && x < image.width && y > 0 && y < image.height)) return false;
    const again = await this.#bodies.observe(image, boxAroundBody(seen.alignment));
    const agreed = oks(seen.keypoints, again.keypoints, { tolerance: TOLERANCE, weights: seenInside(again, image) });
    return again.score > presence && agreed > agreement;
  }

  async #isDetected(image: Pixels, { alignment }: BodyObservation): Promise<boolean> {
    const box = boxAroundBody(alignment);
    const strong = await this.#bodies.find(image, OF.FROM_BEHIND_DETECTION);
    return strong.some(({ cx, cy }) => Math.hypot(box.cx - cx, box.cy - cy) < 0.1 * box.width);
  }
}

/** Whether a body's head left its place for that of another one. */
function isOfAnother(track: Track<BodyObservation>, seen: BodyObservation, held: readonly Track<BodyObservation>[]): boolean {
  if (isHeadOf(seen, headOfBody(track.observation))) return false;
  return held.some((one) => one !== track && one.hidden === null && isHeadOf(seen, headOfBody(one.observation)));
}

/** Whether a body turns its front to the camera, which need not stand upright and is no selfie view. */
function showsFront({ keypoints }: BodyObservation): boolean {
  const at = (k: number): Point => [keypoints[3 * k]!, keypoints[3 * k + 1]!];
  const [left, right] = OF.SHOULDERS.map(at) as [Point, Point];
  const [shoulders, hips] = [meanOf(keypoints, OF.SHOULDERS), meanOf(keypoints, OF.HIPS)];
  const [upX, upY] = [shoulders[0] - hips[0], shoulders[1] - hips[1]];
  return upX * (right[1] - left[1]) < upY * (right[0] - left[0]);
}

/** Score of the face that a full-range detector finds where a head of that size is; 0 where it finds none. */
async function faceScore(faces: SingleShotDetector, image: Pixels, centre: Point, size: number, fit: typeof OF.ON_BODY): Promise<number> {
  const [off, [least, largest], minScore] = fit as [number, [number, number], number];
  const window = windowAround(centre[0], centre[1], OF.WINDOW * size, image);
  if (window === null) return 0;
  for (const { score, box } of await faces.find(cut(image, window.left, window.top, window.right, window.bottom), minScore)) {
    const middle: Point = [window.left + (box[0] + box[2]) / 2, window.top + (box[1] + box[3]) / 2];
    const width = (box[2] - box[0]) / size;
    if (distance(middle, centre) < off * size && least < width && width < largest) return score;
  }
  return 0;
}
