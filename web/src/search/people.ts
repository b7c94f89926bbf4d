/**
 * Search people thoroughly: find bodies, hands and faces separately and assign them to each other
 * by geometry.
 */

import type { BodyObservation } from "../body.js";
import { constants } from "../data.js";
import type { FaceObservation } from "../face.js";
import type { HandObservation } from "../hands.js";
import { wristDistance, type Holistic, type PersonObservation } from "../holistic.js";
import type { RotatedBox } from "../observations.js";
import type { Found } from "../pipeline.js";
import type { Pixels } from "../pixels.js";
import type { BodySearch } from "./bodies.js";
import { faceCrop, isHeadOf, isSameInstance, type Head } from "./geometry.js";
import type { HandSearch } from "./hands.js";

const OF = constants.holistic;
const SIDES = [0, 1] as const;

/**
 * Return the people of an image with the scores of their bodies, best first. The first ones, up to
 * the limit, have hands and faces.
 *
 * @param people networks of the parts of a body, as in the published graph
 */
export async function searchPeople(
  image: Pixels,
  people: Holistic,
  { bodies: search, hands: handSearch }: { bodies: BodySearch; hands: HandSearch },
  { minPresence, limit }: { readonly minPresence: number; readonly limit: number },
): Promise<Found<BodyObservation>> {
  const { found, complete } = await search.search();
  const bodies = found.filter(({ score }) => score > minPresence);
  const shown = bodies.slice(0, limit);
  const crops: RotatedBox[] = [];
  for (const body of shown) {
    for (const side of SIDES) {
      const box = await people.handCrop(image, body, side);
      if (box) crops.push(box);
    }
  }
  const around = await handSearch.around(shown, crops);
  const hands = handsOfBodies(
    shown,
    around.found.filter(({ score }) => score > minPresence),
  );
  const faces: FaceObservation[] = [];
  for (const [index, body] of shown.entries()) {
    const pair = SIDES.map((side) => hands.get(2 * index + side) ?? null);
    let face = await faceOf(image, people, body, search.heads);
    if (face && faces.some((other) => isSameInstance(face!.keypoints, other.keypoints)))
      face = null;
    if (face) faces.push(face);
    const person: PersonObservation = { ...body, hands: pair, face };
    bodies[index] = person;
  }
  return { found: bodies, complete: complete && around.complete };
}

/** Return the face in the head crop of a body, or at the head that the search found. */
async function faceOf(
  image: Pixels,
  people: Holistic,
  body: BodyObservation,
  heads: readonly Head[],
): Promise<FaceObservation | null> {
  const face = await people.faceIn(image, body);
  const own = heads.find((head) => isHeadOf(body, head));
  if (face || !own) return face;
  const first = await people.faces.observe(image, faceCrop(own));
  const second = await people.faces.observe(image, people.faces.boxAfter(first));
  return Math.min(first.score, second.score) > constants.search.geometry.PRESENT ? second : null;
}

/**
 * Assign hands to arms greedily by cost. The index of an arm is twice that of its body, plus 1 on
 * the right.
 */
function handsOfBodies(
  bodies: readonly BodyObservation[],
  hands: readonly HandObservation[],
): Map<number, HandObservation> {
  const pairs = bodies.flatMap((body, number) =>
    SIDES.flatMap((side) =>
      hands.flatMap((hand) => {
        const distance = wristDistance(body, side, hand);
        const other = side === 0 ? 1 - hand.left : hand.left;
        return distance < OF.MAX_WRIST_DISTANCE
          ? [{ cost: distance + OF.OTHER_SIDE_COST * other, of: 2 * number + side, part: hand }]
          : [];
      }),
    ),
  );
  const chosen = new Map<number, HandObservation>();
  const taken = new Set<HandObservation>();
  for (const { of, part } of pairs.sort((a, b) => a.cost - b.cost)) {
    if (chosen.has(of) || taken.has(part)) continue;
    chosen.set(of, part);
    taken.add(part);
  }
  return chosen;
}
