/** Search near a loose box for crops in which the landmark network recognises a hand. */

import { constants } from "../data.js";
import { boxAroundHand, boxFromPalm, type Hands } from "../hands.js";
import type { RotatedBox } from "../observations.js";
import { cut, type Pixels } from "../pixels.js";
import type { SingleShotDetector } from "../ssd.js";
import { LIMITS, mergeProposals, proposalsIn, windowAround, type Proposal } from "./geometry.js";

const OF = constants.search.hands;
/** Source of the proposals. */
export const CLOSER = "closer";

/**
 * Yield crops of hands in a window around a box of an image. Each crop is that of the keypoints in
 * the crop of a palm. Palms that `skips` accepts are left out.
 */
export async function* cropsNear(
  image: Pixels,
  box: RotatedBox,
  palms: SingleShotDetector,
  hands: Hands,
  skips: (proposal: Proposal) => boolean,
): AsyncGenerator<Proposal> {
  const window = windowAround([box.cx, box.cy], OF.CLOSER_WINDOW * box.width, image);
  if (!window) return;
  const found = await palms.find(cut(image, window), LIMITS.closer_palm);
  const proposals = proposalsIn(window, found, (palm) => boxFromPalm(palm), CLOSER);
  for (const palm of mergeProposals(proposals, image).slice(0, OF.MOST_PALMS)) {
    if (skips(palm)) continue;
    const first = await hands.observe(image, palm.box);
    if (first.score > LIMITS.closer_seen) yield { ...palm, box: boxAroundHand(first.keypoints) };
  }
}
