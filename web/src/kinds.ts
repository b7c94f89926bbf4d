/** Which networks each kind runs, and what its detectors are made of. */

import { Bodies } from "./body.js";
import { FINDERS, GRIDS, KINDS, constants, type Grid, type Role } from "./data.js";
import { FaceBoxes, FaceMeshes } from "./face.js";
import { Hands } from "./hands.js";
import type { Network, NetworkShape } from "./network.js";
import type { Settings } from "./options.js";
import { Detector } from "./pipeline.js";
import type { Pixels } from "./pixels.js";
import type { Found } from "./results.js";
import { SingleShotDetector } from "./ssd.js";
import { HandFinder, StreamSearch } from "./streams.js";

/** A detector of any kind. */
export interface AnyDetector {
  track(image: Pixels, time: number | null): Promise<Found[]>;
  detect(image: Pixels): Promise<Found[]>;
  reset(): void;
}

/** Compiles one of the networks of a model. */
export type Open = (role: Role, shape: NetworkShape) => Promise<Network>;

/** Makes a detector of some options, with networks that are there. */
export type Make = (settings: Settings) => AnyDetector | Promise<AnyDetector>;

/** By kind: compile the networks of a model; detectors of any options are then made of them. */
export const LOADERS: Readonly<Record<string, (model: string, open: Open) => Promise<Make>>> = {
  hands: async (_, open) => {
    const palms = await openDetector(open, GRIDS.palm, 7);
    const landmarks = await open("landmark", { sizes: [3 * constants.hands.KEYPOINTS, 1, 1, 3 * constants.hands.KEYPOINTS] });
    return (settings) => {
      const hands = new Hands(palms, landmarks, settings.mirrored);
      const least = constants.finds.PALM_SHARE * settings.min_detection_score;
      const spread = settings.search === "auto" ? new StreamSearch(new HandFinder(palms, hands, least, FINDERS.hands)) : null;
      return new Detector(hands, settings, spread);
    };
  },
  face: async (model, open) => {
    const { detector, landmark } = KINDS.face!.models[model]!;
    const { DETECTOR_RANGE, MESH_OUTPUTS } = constants.face;
    const faces = await openDetector(open, GRIDS[detector as "face-short" | "face-full"], 6, DETECTOR_RANGE);
    if (!landmark) return (settings) => new Detector(new FaceBoxes(faces), settings, null);
    const landmarks = await open("landmark", { sizes: MESH_OUTPUTS[model as keyof typeof MESH_OUTPUTS] });
    return (settings) => new Detector(new FaceMeshes(faces, landmarks), settings, null);
  },
  body: async (_, open) => {
    const { DETECTOR_RANGE, KEYPOINT_OUTPUTS, MASK_OUTPUT, LANDMARKS } = constants.body;
    const people = await openDetector(open, GRIDS.person, 4, DETECTOR_RANGE);
    const sizes = [5 * LANDMARKS, 1, 64 * 64 * LANDMARKS, 3 * LANDMARKS];
    const withMasks = { sizes: [...sizes, 256 * 256], outputs: [...KEYPOINT_OUTPUTS, MASK_OUTPUT] };
    const withoutMasks = { sizes, outputs: KEYPOINT_OUTPUTS }; // their branch nearly doubles the time of lite and full
    const compiled = new Map<boolean, Promise<Network>>();
    return async (settings) => {
      const { segmentation, mirrored } = settings;
      if (!compiled.has(segmentation)) compiled.set(segmentation, open("landmark", segmentation ? withMasks : withoutMasks));
      return new Detector(new Bodies(people, (await compiled.get(segmentation))!, mirrored), settings, null);
    };
  },
};

/** A single-shot detector that gives so many keypoints with each box. */
async function openDetector(open: Open, grid: Grid, keypoints: number, range: readonly number[] = [0, 1]): Promise<SingleShotDetector> {
  const anchors = grid.layers.reduce((sum, [cells, each]) => sum + cells * cells * each, 0);
  return new SingleShotDetector(await open("detector", { sizes: [anchors * (4 + 2 * keypoints), anchors], range }), grid);
}
