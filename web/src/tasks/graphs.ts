/**
 * Graphs that differ between MediaPipe's tasks and its solutions. `synchronous()` in build.js
 * removes the promises.
 */

import { Hands } from "../hands.js";
import type { Network } from "../network.js";
import { wrapAngle } from "../observations.js";
import type { Settings } from "../options.js";
import { cropInto, type Pixels } from "../pixels.js";
import { boxOf, type AnyDetector, type Mask } from "../results.js";
import type { SingleShotDetector } from "../ssd.js";

/** Detects hands and their landmarks as the graph of tasks does. */
export class TaskHands extends Hands {
  /**
   * The graph sets the direction of the fingers to 90 radians instead of 90 degrees, which rotates
   * its first crops.
   */
  protected override readonly turn = wrapAngle(90 - Math.PI / 2);
}

/** Return a detector of boxes and keypoints of faces in each image separately, without tracking. */
export function taskFaceBoxes(
  faces: SingleShotDetector,
  { min_detection_score }: Settings,
): AnyDetector {
  const detect = async (image: Pixels) => {
    const found = (await faces.find(image, min_detection_score)).map(
      ({ score, box, keypoints }) => {
        const values = Float32Array.from(keypoints.flatMap(([x, y]) => [x, y, 0]));
        return { id: null, score, box: boxOf(box), keypoints: { values } };
      },
    );
    return { found, total: found.length, complete: true };
  };
  return { detect, track: detect, reset() {} };
}

/** Return the probability of a person per pixel, in the size of the network's input. */
export async function selfieMask(network: Network, image: Pixels): Promise<Mask> {
  const { width, height } = image;
  cropInto(image, { cx: width / 2, cy: height / 2, width, height, rotation: 0 }, network);
  const [data] = await network.run();
  return { width: network.size, height: network.rows, data: data! };
}
