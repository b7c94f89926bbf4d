/** Detectors whose graphs differ between MediaPipe's tasks and its solutions. `synchronous()` in build.js removes the promises. */

import { squareBox, wrapAngle, type RotatedBox } from "../boxes.js";
import { constants } from "../data.js";
import { boxFromPalm, Hands } from "../hands.js";
import type { Network } from "../network.js";
import type { Settings } from "../options.js";
import { cropInto, type Pixels } from "../pixels.js";
import { boxOf, type AnyDetector, type Face, type InWorker, type Mask } from "../results.js";
import type { Detection, SingleShotDetector } from "../ssd.js";

/** The graph of tasks sets the direction of the fingers to 90 radians instead of 90 degrees, which rotates its first crops. */
const TURN_RAD = wrapAngle(90 - Math.PI / 2);

/** Detects hands and their landmarks as the graph of tasks does. */
export class TaskHands extends Hands {
  override async find(image: Pixels, minScore: number): Promise<RotatedBox[]> {
    return ((await this.palms?.find(image, minScore)) ?? []).map(rotatedPalmBox);
  }
}

function rotatedPalmBox(palm: Detection): RotatedBox {
  const [left, top, right, bottom] = palm.box;
  const rotation = wrapAngle(boxFromPalm(palm).rotation + TURN_RAD);
  const box = { cx: (left + right) / 2, cy: (top + bottom) / 2, width: right - left, height: bottom - top, rotation };
  return squareBox(box, constants.hands.FROM_PALM);
}

/** Detects boxes and keypoints of faces in each image separately, without tracking. */
export class TaskFaceBoxes implements AnyDetector {
  readonly #minScore: number;

  constructor(private readonly faces: SingleShotDetector, { min_detection_score }: Settings) {
    this.#minScore = min_detection_score;
  }

  async detect(image: Pixels): Promise<InWorker<Face>[]> {
    return (await this.faces.find(image, this.#minScore)).map(({ score, box, keypoints }) => {
      const values = Float32Array.from(keypoints.flatMap(([x, y]) => [x, y, 0]));
      return { id: null, score, box: boxOf(box), keypoints: { values } };
    });
  }

  async track(image: Pixels): Promise<InWorker<Face>[]> {
    return this.detect(image);
  }

  reset(): void {}
}

/** Computes the probability of a person per pixel, in the size of the network's input. */
export class SelfieMasks {

  constructor(private readonly network: Network) {}

  async detect(image: Pixels): Promise<Mask> {
    const { width, height } = image;
    cropInto(image, { cx: width / 2, cy: height / 2, width, height, rotation: 0 }, this.network);
    const [data] = await this.network.run();
    return { width: this.network.size, height: this.network.rows, data: data! };
  }

  async track(image: Pixels): Promise<Mask> {
    return this.detect(image);
  }
}
