/** Faces of a still: the full-range detector in windows, scored by two inferences of the mesh. */

import { iou } from "./boxes.js";
import { constants } from "./data.js";
import { boxAroundFace, boxObservation, type FaceBoxes, type FaceMeshes, type FaceObservation } from "./face.js";
import {
  cutsOff,
  isPlain,
  isSameFind,
  lastOf,
  logistic,
  logit,
  merged,
  presenceOf,
  regression,
  shifted,
  tiles,
  withoutSame,
  type Find,
  type Limits,
  type StillPlace,
  type Window,
} from "./finds.js";
import { oks, type Head } from "./heads.js";
import { sizeOf, type Point } from "./observations.js";
import { cut, type Pixels } from "./pixels.js";
import type { SingleShotDetector } from "./ssd.js";

const OF = constants.faces;
const { PARTS } = constants.finds;
const { LEAST_PUBLISHED, LEAST_DETECTION } = constants.FaceSearch;
const SCORE = regression(constants.FaceSearch.SCORE);
const PUBLISHED = "published";

export type FaceFind = Find<FaceObservation>;

/** Where others than the caller's options ask for faces. */
export const LIMITS: Limits = { published: LEAST_PUBLISHED, least: LEAST_DETECTION, enough: Infinity };

/** Score from which a face speaks for a body. */
export const { SURE } = constants.FaceSearch;

/** The head of a face whose mesh was seen. */
export function headFromMesh(find: FaceFind): Head {
  const { keypoints } = lastOf(find);
  const at = (k: number): Point => [keypoints[3 * k]!, keypoints[3 * k + 1]!];
  const [forehead, chin] = [at(OF.FOREHEAD), at(OF.CHIN)];
  return {
    score: find.score,
    middle: [(forehead[0] + chin[0]) / 2, (forehead[1] + chin[1]) / 2],
    down: [chin[0] - forehead[0], chin[1] - forehead[1]],
  };
}

/** Whether finer windows than those of this side, in pixels, would hardly show more faces than these sizes'. */
function isOver(sizes: readonly number[], enough: number, window: number): boolean {
  return sizes.length >= enough || (sizes.length > 0 && Math.min(...sizes) > OF.SMALL * window);
}

/** Faces of an image. */
export class FaceSearch {
  readonly #detector: SingleShotDetector;
  readonly #meshes: FaceMeshes;
  readonly #limits: Limits;

  /** `detector` of the full range; what the meshes' own one finds keeps the keypoints of the first inference, as published. */
  constructor(detector: SingleShotDetector, meshes: FaceMeshes, limits: Limits = LIMITS) {
    [this.#detector, this.#meshes, this.#limits] = [detector, meshes, limits];
  }

  /** Every candidate with its score, best first. */
  async search(image: Pixels): Promise<FaceFind[]> {
    const { width, height } = image;
    const { published, least, enough } = this.#limits;
    const boxes = await this.#meshes.find(image, published);
    const places = boxes.map((box) => ({ box, score: least, votes: new Set([PUBLISHED]) }));
    let finds = await this.#withPlaces(image, places, []);
    for (const n of PARTS) {
      finds = await this.#withPlaces(image, await this.#placesIn(image, tiles(width, height, [n])), finds);
      const sizes = finds.filter(({ score }) => score > SURE).map((find) => sizeOf(lastOf(find).keypoints));
      if (isOver(sizes, enough, Math.max(width, height) / n)) break;
    }
    return finds;
  }

  async #placesIn(image: Pixels, windows: readonly Window[]): Promise<StillPlace[]> {
    const places: StillPlace[] = [];
    for (const { left, top, right, bottom } of windows) {
      for (const { box, keypoints, score } of await this.#detector.find(cut(image, left, top, right, bottom), this.#limits.least)) {
        const around = boxAroundFace(box, keypoints[0]!, keypoints[1]!);
        places.push({ box: shifted(around, left, top), score, votes: new Set([[left, top, right, bottom].join()]) });
      }
    }
    return places;
  }

  /** These finds and those of further places, best first. */
  async #withPlaces(image: Pixels, places: readonly StillPlace[], before: readonly FaceFind[]): Promise<FaceFind[]> {
    const found = [...before];
    for (const place of merged(places, 4 * Math.max(image.width, image.height))) {
      const known = before.find((find) => iou(place.box, this.#meshes.boxAfter(lastOf(find))) > OF.SAME_FACE);
      if (known && isPlain(known)) {
        known.detection = Math.max(known.detection, place.score);
      } else {
        const find = await this.#infer(image, place);
        if (find) found.push(find);
      }
    }
    const finds = withoutSame(found);
    for (const find of finds) {
      const features = { detection: logit(find.detection), presence: logit(presenceOf(find)), agreement: logit(find.agreement) };
      find.score = logistic(SCORE, features);
    }
    return finds.sort((a, b) => b.score - a.score);
  }

  async #infer(image: Pixels, { box, score, votes }: StillPlace): Promise<FaceFind | null> {
    const first = await this.#meshes.observe(image, box);
    if (first.score < OF.LEAST_SEEN) return null;
    const second = await this.#meshes.observe(image, this.#meshes.boxAfter(first));
    const observations = votes.has(PUBLISHED) ? [second, first] : [first, second];
    return { observations, detection: score, votes: new Set(votes), agreement: oks(first.keypoints, second.keypoints), score: 0 };
  }
}

/** Boxes of faces: the model's own of the whole image, as published, and the full-range detector's in windows. */
export class BoxSearch {
  readonly #boxes: FaceBoxes;
  readonly #detector: SingleShotDetector;
  readonly #limits: Pick<Limits, "published" | "enough">;

  constructor(boxes: FaceBoxes, detector: SingleShotDetector, limits: Pick<Limits, "published" | "enough">) {
    [this.#boxes, this.#detector, this.#limits] = [boxes, detector, limits];
  }

  /** Every face with its detector's score, best first. */
  async search(image: Pixels): Promise<FaceObservation[]> {
    const { width, height } = image;
    const { published, enough } = this.#limits;
    const found: FaceObservation[] = [];
    for (const box of await this.#boxes.find(image, published)) found.push(await this.#boxes.observe(image, box));
    for (const n of PARTS) {
      const seen: FaceObservation[] = [];
      for (const window of tiles(width, height, [n])) {
        const { left, top, right, bottom } = window;
        const faces = await this.#detector.find(cut(image, left, top, right, bottom), Math.max(published, constants.BoxSearch.WINDOW_SCORE));
        seen.push(...faces.filter(({ box }) => !cutsOff(window, box, image)).map((face) => boxObservation(face, left, top)));
      }
      for (const one of seen.sort((a, b) => b.score - a.score)) {
        if (!found.some((other) => isSameFind(one.keypoints, other.keypoints))) found.push(one);
      }
      const sizes = found.map(({ keypoints }) => Math.abs(keypoints[4]! - keypoints[1]!));
      if (isOver(sizes, enough, Math.max(width, height) / n)) break;
    }
    return found.sort((a, b) => b.score - a.score);
  }
}
