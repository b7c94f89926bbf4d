/** People of an image: bodies, hands and faces are searched separately and combined by geometry. */

import type { BodyObservation } from "../body.js";
import { constants } from "../data.js";
import type { FaceObservation } from "../face.js";
import type { HandObservation } from "../hands.js";
import { wristDistance, type Holistic, type PersonObservation } from "../holistic.js";
import { cornersOf } from "../observations.js";
import type { Settings } from "../options.js";
import type { Pixels } from "../pixels.js";
import { lastOf, resultOf, type Found } from "./agenda.js";
import type { BodySearch } from "./bodies.js";
import { headDistance, headFromMesh, isSameInstance, type Proposal } from "./geometry.js";
import { CROP, type HandSearch } from "./hands.js";
import { LIMITS } from "./score.js";

const OF = constants.search.people;
const SIDES = [0, 1] as const;

/**
 * Return the people of an image with the scores of their bodies, best first; `people` sees parts as the published graph
 * does. The first `max_instances` have hands and faces.
 */
export async function searchPeople(
  image: Pixels,
  people: Holistic,
  { bodies: search, hands: handSearch }: { bodies: BodySearch; hands: HandSearch },
  { min_presence_score: least, max_instances }: Settings,
): Promise<Found<BodyObservation>> {
  const bodies = await search.search();
  const finds = bodies.finds.filter(({ score }) => score > least);
  const shown = finds.slice(0, max_instances);
  const faces = search.faces.filter(({ score }) => score > least);
  const seen = shown.map(lastOf);
  const proposals: Proposal[] = [];
  for (const body of seen) {
    for (const side of SIDES) {
      const box = await people.handCrop(image, body, side);
      if (box) proposals.push({ box, score: OF.CROP_SCORE, votes: new Set([CROP]) });
    }
  }
  const around = await handSearch.around(faces.map((face) => headFromMesh(face.score, lastOf(face).keypoints)), seen, proposals);
  const hands = handsOfBodies(seen, around.finds.map(resultOf).filter(({ score }) => score > least));
  const ownFaces = await facesIn(image, people, seen, faces.map(resultOf));
  for (const [number, find] of shown.entries()) {
    const pair = SIDES.map((side) => hands.get(armOf(number, side)) ?? null) as [HandObservation | null, HandObservation | null];
    const person: PersonObservation = { ...lastOf(find), hands: pair, face: ownFaces.get(number) ?? null };
    find.views.push(person);
  }
  return { finds, complete: bodies.complete && around.complete };
}

/**
 * Return the faces by body: as the published graph sees them in the head crops, else as they were found.
 *
 * The search for bodies may end before it has found all faces, so that the head crop decides for the others.
 */
async function facesIn(
  image: Pixels,
  people: Holistic,
  bodies: readonly BodyObservation[],
  faces: readonly FaceObservation[],
): Promise<Map<number, FaceObservation>> {
  const found = facesOfBodies(bodies, faces);
  for (const [number, body] of bodies.entries()) {
    const near = found.get(number);
    const seen = await people.faceIn(image, body, near ? cornersOf(near.keypoints) : null);
    const others = [...found].filter(([other]) => other !== number);
    if (seen && !others.some(([, face]) => isSameInstance(seen.keypoints, face.keypoints))) found.set(number, seen);
  }
  return found;
}

/** Return the number of a body's arm: 0 left, 1 right. */
function armOf(body: number, side: number): number {
  return 2 * body + side;
}

/** Return by arm the hand at its end; each arm has one, each hand belongs to one. */
function handsOfBodies(bodies: readonly BodyObservation[], hands: readonly HandObservation[]): Map<number, HandObservation> {
  const pairs = bodies.flatMap((body, number) => SIDES.flatMap((side) => hands.flatMap((hand) => {
    const far = wristDistance(body, side, hand);
    const other = side === 0 ? 1 - hand.left : hand.left;
    return far < OF.MAX_WRIST_DISTANCE ? [{ cost: far + OF.OTHER_SIDE_COST * other, of: armOf(number, side), part: hand }] : [];
  })));
  return nearestFirst(pairs);
}

/** Return by body the face on its neck; each face belongs to one. */
function facesOfBodies(bodies: readonly BodyObservation[], faces: readonly FaceObservation[]): Map<number, FaceObservation> {
  const pairs = bodies.flatMap((body, number) => faces.flatMap((face) => {
    const [left, top, right, bottom] = cornersOf(face.keypoints);
    const far = headDistance(body, [(left + right) / 2, (top + bottom) / 2]) / Math.max(bottom - top, 1);
    return far < LIMITS.own_face ? [{ cost: far, of: number, part: face }] : [];
  }));
  return nearestFirst(pairs);
}

/** Return each of both at most once, the pairs with the least cost before the others. */
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
