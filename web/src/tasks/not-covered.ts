/** Tasks of MediaPipe's package that are not covered. Pages can import them; creating one is an error. */

import type { VisionTaskOptions, WasmFileset } from "./runner.js";

const OTHER_OBJECTS = "its networks find other things than hands, faces and bodies";
const NO_NETWORKS = "no package publishes its networks, so results cannot be compared";

abstract class NotCovered {
  protected static task: string;
  protected static reason: string;

  /** Reject with the reason. */
  static createFromOptions(_: WasmFileset, _options: VisionTaskOptions): Promise<never> {
    return refuse(this.task, this.reason);
  }

  /** Reject with the reason. */
  static createFromModelPath(_: WasmFileset, _path: string): Promise<never> {
    return refuse(this.task, this.reason);
  }

  /** Reject with the reason. */
  static createFromModelBuffer(_: WasmFileset, _buffer: Uint8Array): Promise<never> {
    return refuse(this.task, this.reason);
  }
}

function refuse(task: string, reason: string): Promise<never> {
  return Promise.reject(new Error(`sonjit-web/tasks-vision does not cover ${task}, because ${reason}`));
}

export class ObjectDetector extends NotCovered {
  protected static override task = "ObjectDetector";
  protected static override reason = OTHER_OBJECTS;
}

export class ImageClassifier extends NotCovered {
  protected static override task = "ImageClassifier";
  protected static override reason = OTHER_OBJECTS;
}

export class ImageEmbedder extends NotCovered {
  protected static override task = "ImageEmbedder";
  protected static override reason = OTHER_OBJECTS;
}

export class InteractiveSegmenter extends NotCovered {
  protected static override task = "InteractiveSegmenter";
  protected static override reason = NO_NETWORKS;
}

export class FaceStylizer extends NotCovered {
  protected static override task = "FaceStylizer";
  protected static override reason = NO_NETWORKS;
}
