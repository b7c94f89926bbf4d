/** People of a still: bodies that faces suggest, and those of a person detector. */

import type { Bodies, BodyObservation } from "./body.js";
import { constants } from "./data.js";
import { headFromMesh, type FaceFind } from "./face-search.js";
import { boxAroundBody } from "./finders.js";
import { lastOf, logistic, logit, regression, type Find, type Limits } from "./finds.js";
import { boxBelow, headDistance, heightOf, isSameTorso, meanOf, oks, seenInside, withoutOtherHeads, type Head } from "./heads.js";
import { cornersOf, distance, sizeOf, type Point } from "./observations.js";
import type { Pixels } from "./pixels.js";

const OF = constants.BodySearch;
const { BODY_TOLERANCE, HEAD, SAME_HEADS, SHOULDERS } = constants.bodies;
const SCORE = regression(OF.SCORE);
const [LEAST_AGREEMENT, LEAST_PRESENCE] = OF.ALONE as [number, number];
const HEAD_POINTS = [...Array(HEAD).keys()];

export type BodyFind = Find<BodyObservation>;

/** Someone whom the person detector finds: its score, and what is seen there. */
interface Person {
  readonly detection: number;
  readonly first: BodyObservation;
}

/** People of an image, from their faces and from a person detector. */
export class BodySearch {
  readonly #bodies: Bodies;
  readonly #limits: Pick<Limits, "published" | "enough">;

  /** Of `enough` people, and some more that may be better, the largest faces are followed. */
  constructor(bodies: Bodies, limits: Pick<Limits, "published" | "enough">) {
    [this.#bodies, this.#limits] = [bodies, limits];
  }

  /** People with their scores, best first. */
  async search(image: Pixels, all: readonly FaceFind[]): Promise<BodyFind[]> {
    const people: Person[] = [];
    for (const { score, box } of await this.#bodies.people(image, this.#limits.published)) {
      people.push({ detection: score, first: await this.#bodies.observe(image, box) });
    }
    const published = people.map(({ first }) => first);
    const size = (face: FaceFind) => sizeOf(lastOf(face).keypoints);
    const faces = [...all].sort((a, b) => size(b) - size(a)).slice(0, Math.ceil(OF.SPARE * this.#limits.enough));
    const heads = faces.map(headFromMesh);
    const offers: { rank: number; number: number; find: BodyFind }[] = [];
    for (const [number, face] of faces.entries()) {
      const head = heads[number]!;
      for (const find of await this.#ofFace(withoutOtherHeads(image, heads, head), face, published)) {
        offers.push({ rank: rankOf(find, head), number, find });
      }
    }
    const found: BodyFind[] = [];
    const served = new Set<number>();
    for (const { number, find } of offers.sort((a, b) => b.rank - a.rank)) {
      if (served.has(number) || found.some((other) => isSameTorso(lastOf(find), lastOf(other)))) continue;
      served.add(number);
      find.score = logistic(SCORE, { score: logit(find.score) });
      found.push(find);
    }
    for (const person of people) {
      if (found.some((other) => isSamePerson(person.first, lastOf(other)))) continue;
      const alone = await this.#alone(image, person);
      if (alone) found.push(alone);
    }
    return found.sort((a, b) => b.score - a.score);
  }

  /** Bodies that may belong to a face, in an image without the other heads; the published search's own, where it is plain. */
  async #ofFace(image: Pixels, face: FaceFind, published: readonly BodyObservation[]): Promise<BodyFind[]> {
    const head = headFromMesh(face);
    const [left, top, right, bottom] = cornersOf(lastOf(face).keypoints);
    const centre: Point = [(left + right) / 2, (top + bottom) / 2];
    const reach = OF.MAX_FACE_DISTANCE * (bottom - top);
    const found = (seen: BodyObservation[], agreement: number): BodyFind => {
      const score = seen.at(-1)!.score * agreement;
      return { observations: seen, detection: face.score, votes: new Set(["face"]), agreement, score };
    };
    const inferences: BodyObservation[] = [];
    const starts = [...published.filter((one) => headDistance(one, centre) < reach), ...OF.PLACEMENTS.map((placement) => boxBelow(head, placement))];
    for (const start of starts) {
      const isPublished = "keypoints" in start;
      const first = isPublished ? start : await this.#bodies.observe(image, start);
      inferences.push(first);
      if (first.score <= OF.LEAST_SEEN) continue;
      const second = await this.#bodies.observe(image, boxAroundBody(first.alignment));
      const agreement = agreementOf(image, first, second);
      const isPlain = Math.min(second.score, agreement) > OF.PLAIN && headDistance(second, centre) < reach;
      if (isPlain && isPublished) return [found([second, first], agreement)];
      inferences.push(second);
      if (isPlain) break;
    }
    const offers: BodyFind[] = [];
    for (const one of inferences) {
      if (headDistance(one, centre) > reach) continue;
      const weights = seenInside(one, image);
      const others = inferences.filter((other) => other !== one);
      const best = others.map((other) => oks(one.keypoints, other.keypoints, { tolerance: BODY_TOLERANCE, weights })).sort((a, b) => b - a).slice(0, 2);
      offers.push(found([one], best.reduce((sum, value) => sum + value, 0) / Math.max(best.length, 1)));
    }
    return offers;
  }

  /** A body that no face speaks for, where it is very sure; else null. */
  async #alone(image: Pixels, { detection, first }: Person): Promise<BodyFind | null> {
    if (first.score <= LEAST_PRESENCE) return null;
    const second = await this.#bodies.observe(image, boxAroundBody(first.alignment));
    const agreement = agreementOf(image, first, second);
    if (agreement <= LEAST_AGREEMENT || second.score <= LEAST_PRESENCE) return null;
    const score = Math.min(first.score, second.score) * agreement;
    return { observations: [second, first], detection, votes: new Set(["detector"]), agreement, score };
  }
}

function agreementOf(image: Pixels, first: BodyObservation, second: BodyObservation): number {
  return oks(first.keypoints, second.keypoints, { tolerance: BODY_TOLERANCE, weights: seenInside(second, image) });
}

/** What goes before which: the surer one, and the one whose shoulders lie below its own face. */
function rankOf(find: BodyFind, head: Head): number {
  const { middle, down } = head;
  const neck: Point = [middle[0] + OF.NECK * down[0], middle[1] + OF.NECK * down[1]];
  const off = distance(meanOf(lastOf(find).keypoints, SHOULDERS), neck) / heightOf(head);
  return find.score * Math.exp(-((off / OF.NECK_TOLERANCE) ** 2) / 2);
}

function isSamePerson(a: BodyObservation, b: BodyObservation): boolean {
  const heads = distance(meanOf(a.keypoints, HEAD_POINTS), meanOf(b.keypoints, HEAD_POINTS));
  const [left, right] = SHOULDERS.map((k): Point => [a.keypoints[3 * k]!, a.keypoints[3 * k + 1]!]) as [Point, Point];
  return isSameTorso(a, b) || heads < SAME_HEADS * Math.max(distance(left, right), 1);
}
