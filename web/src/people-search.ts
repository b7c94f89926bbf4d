/** Whole people of a still: bodies, hands and faces are found on their own, and put together by geometry. */

import type { BodyObservation } from "./body.js";
import type { BodySearch } from "./body-search.js";
import { constants } from "./data.js";
import type { FaceObservation } from "./face.js";
import { SURE, headFromMesh, type FaceSearch } from "./face-search.js";
import { lastOf, resultOf, type StillPlace } from "./finds.js";
import { CROP, type HandSearch } from "./hand-search.js";
import type { HandObservation } from "./hands.js";
import { headDistance } from "./heads.js";
import { wristDistance, type Holistic, type PersonObservation } from "./holistic.js";
import { cornersOf } from "./observations.js";
import type { Settings } from "./options.js";
import type { Pixels } from "./pixels.js";

const OF = constants.people;
const { MAX_FACE_DISTANCE } = constants.BodySearch;
const SIDES = [0, 1] as const;

/** What finds the parts. */
export interface PartSearches {
  readonly faces: FaceSearch;
  readonly bodies: BodySearch;
  readonly hands: HandSearch;
}

/** People of an image with their hands and faces. */
export class PeopleSearch {
  readonly #people: Holistic;
  readonly #searches: PartSearches;
  readonly #settings: Settings;

  /** `people` sees the parts of a body, as the published graph does. */
  constructor(people: Holistic, searches: PartSearches, settings: Settings) {
    [this.#people, this.#searches, this.#settings] = [people, searches, settings];
  }

  /** People with the scores of their bodies, best first. */
  async search(image: Pixels): Promise<PersonObservation[]> {
    const { min_presence_score: least, max_instances } = this.#settings;
    const faces = (await this.#searches.faces.search(image)).filter(({ score }) => score > SURE);
    const found = (await this.#searches.bodies.search(image, faces)).filter(({ score }) => score > least).slice(0, max_instances);
    const bodies = found.map(lastOf);
    const places: StillPlace[] = [];
    for (const body of bodies) {
      for (const side of SIDES) {
        const box = await this.#people.handCrop(image, body, side);
        if (box) places.push({ box, score: OF.OFFERED, votes: new Set([CROP]) });
      }
    }
    const seen = await this.#searches.hands.around(image, faces.map(headFromMesh), bodies, places);
    const hands = handsOfBodies(bodies, seen.filter(({ score }) => score > least));
    const ownFaces = facesOfBodies(bodies, faces.map(resultOf));
    const people: PersonObservation[] = [];
    for (const [number, find] of found.entries()) {
      const face = ownFaces.get(number) ?? null; // as the published graph sees it, where it does
      const own = face && ((await this.#people.faceIn(image, lastOf(find), cornersOf(face.keypoints))) ?? face);
      const pair = SIDES.map((side) => hands.get(armOf(number, side)) ?? null) as [HandObservation | null, HandObservation | null];
      people.push({ ...resultOf(find), hands: pair, face: own });
    }
    return people;
  }
}

/** Number of a body's arm: 0 left, 1 right. */
function armOf(body: number, side: number): number {
  return 2 * body + side;
}

/** By arm the hand at its end; each arm has one, each hand belongs to one. */
function handsOfBodies(bodies: readonly BodyObservation[], hands: readonly HandObservation[]): Map<number, HandObservation> {
  const pairs = bodies.flatMap((body, number) => SIDES.flatMap((side) => hands.flatMap((hand) => {
    const far = wristDistance(body, side, hand);
    const other = side === 0 ? 1 - hand.left : hand.left;
    return far < OF.ASTRAY ? [{ cost: far + OF.OTHER_SIDE * other, of: armOf(number, side), part: hand }] : [];
  })));
  return nearestFirst(pairs);
}

/** By body the face on its neck; each face belongs to one. */
function facesOfBodies(bodies: readonly BodyObservation[], faces: readonly FaceObservation[]): Map<number, FaceObservation> {
  const pairs = bodies.flatMap((body, number) => faces.flatMap((face) => {
    const [left, top, right, bottom] = cornersOf(face.keypoints);
    const far = headDistance(body, [(left + right) / 2, (top + bottom) / 2]) / Math.max(bottom - top, 1);
    return far < MAX_FACE_DISTANCE ? [{ cost: far, of: number, part: face }] : [];
  }));
  return nearestFirst(pairs);
}

/** Each of both at most once, the pairs with the least cost before the others. */
function nearestFirst<P>(pairs: { cost: number; of: number; part: P }[]): Map<number, P> {
  const chosen = new Map<number, P>();
  const taken = new Set<P>();
  for (const { of, part } of pairs.sort((a, b) => a.cost - b.cost)) {
    if (chosen.has(of) || taken.has(part)) continue;
    chosen.set(of, part);
    taken.add(part);
  }
  return chosen;
}
