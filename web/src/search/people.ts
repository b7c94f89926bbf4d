/** Search people thoroughly: find bodies, hands and faces separately and assign them to each other by geometry. */

import type { BodyObservation } from "../body.js";
import { constants } from "../data.js";
import type { FaceObservation } from "../face.js";
import type { HandObservation } from "../hands.js";
import { wristDistance, type Holistic, type PersonObservation } from "../holistic.js";
import { cornersOf } from "../observations.js";
import type { Settings } from "../options.js";
import type { Pixels } from "../pixels.js";
import { lastView, resultOf, type Found } from "./agenda.js";
import type { BodySearch } from "./bodies.js";
import { headDistance, headFromMesh, isSameInstance, type Proposal } from "./geometry.js";
import { CROP, type HandSearch } from "./hands.js";
import { LIMITS } from "./score.js";

const OF = constants.search.people;
const SIDES = [0, 1] as const;

/**
 * Return the people of an image with the scores of their bodies, best first. The first `max_instances` have hands and faces.
 *
 * @param people networks of the parts of a body, as in the published graph
 */
export async function searchPeople(
  image: Pixels,
  people: Holistic,
  { bodies: search, hands: handSearch }: { bodies: BodySearch; hands: HandSearch },
  { min_presence_score: least, max_instances }: Settings,
): Promise<Found<BodyObservation>> {
  const bodies = await search.search();
  const candidates = bodies.candidates.filter(({ score }) => score > least);
  const shown = candidates.slice(0, max_instances);
  const faces = search.faces.filter(({ score }) => score > least);
  const bodyObservations = shown.map(lastView);
  const proposals: Proposal[] = [];
  for (const body of bodyObservations) {
    for (const side of SIDES) {
      const box = await people.handCrop(image, body, side);
      if (box) proposals.push({ box, score: OF.CROP_SCORE, votes: new Set([CROP]) });
    }
  }
  const around = await handSearch.around(faces.map((face) => headFromMesh(face.score, lastView(face).keypoints)), bodyObservations, proposals);
  const hands = handsOfBodies(bodyObservations, around.candidates.map(resultOf).filter(({ score }) => score > least));
  const ownFaces = await facesIn(image, people, bodyObservations, faces.map(resultOf));
  for (const [number, candidate] of shown.entries()) {
    const pair = SIDES.map((side) => hands.get(armIndex(number, side)) ?? null) as [HandObservation | null, HandObservation | null];
    const person: PersonObservation = { ...lastView(candidate), hands: pair, face: ownFaces.get(number) ?? null };
    candidate.views.push(person);
  }
  return { candidates, complete: bodies.complete && around.complete };
}

/**
 * Return the faces by body, from the head crops of the published graph or from the search.
 *
 * The search for bodies may end before it has found all faces. The head crops provide the others.
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
    const face = await people.faceIn(image, body, near ? cornersOf(near.keypoints) : null);
    const others = [...found].filter(([other]) => other !== number);
    if (face && !others.some(([, other]) => isSameInstance(face.keypoints, other.keypoints))) found.set(number, face);
  }
  return found;
}

/** Return the index of an arm from the index of its body and its side, 0 left, 1 right. */
function armIndex(body: number, side: number): number {
  return 2 * body + side;
}

/** Assign hands to arms, by index of the arm. Each arm has at most one hand. */
function handsOfBodies(bodies: readonly BodyObservation[], hands: readonly HandObservation[]): Map<number, HandObservation> {
  const pairs = bodies.flatMap((body, number) => SIDES.flatMap((side) => hands.flatMap((hand) => {
    const distance = wristDistance(body, side, hand);
    const other = side === 0 ? 1 - hand.left : hand.left;
    return distance < OF.MAX_WRIST_DISTANCE ? [{ cost: distance + OF.OTHER_SIDE_COST * other, of: armIndex(number, side), part: hand }] : [];
  })));
  return nearestFirst(pairs);
}

/** Assign faces to bodies, by index of the body. Each face belongs to at most one body. */
function facesOfBodies(bodies: readonly BodyObservation[], faces: readonly FaceObservation[]): Map<number, FaceObservation> {
  const pairs = bodies.flatMap((body, number) => faces.flatMap((face) => {
    const [left, top, right, bottom] = cornersOf(face.keypoints);
    const distance = headDistance(body, [(left + right) / 2, (top + bottom) / 2]) / Math.max(bottom - top, 1);
    return distance < LIMITS.own_face ? [{ cost: distance, of: number, part: face }] : [];
  }));
  return nearestFirst(pairs);
}

/** Match two sets greedily by cost. Each item is in at most one pair. */
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
