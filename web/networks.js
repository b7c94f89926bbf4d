/** Names of the files of networks, by kind. */

import { readFileSync } from "node:fs";

const { kinds, weights } = JSON.parse(
  readFileSync(new URL("src/data.json", import.meta.url), "utf8"),
);
const HAND_FILES = [
  "proposals.tflite",
  "hand_heads.npz",
  "hand_refinement.npz",
  "gestures.npz",
  "asl.npz",
];

/** Files of the published networks. */
export const PUBLISHED = Object.values(weights).map(({ file }) => file);

/** Files that are part of the repository, by the kind that needs them. */
export const OWN = { hands: HAND_FILES, body: ["proposals.tflite"], holistic: HAND_FILES };

/** Files of each kind; `segmentation`: those of `ImageSegmenter`. */
export const FILES = Object.fromEntries(
  Object.entries(kinds).map(([name, { models, for_stills }]) => {
    const roles = [...Object.values(models), ...Object.values(for_stills)].flatMap((networks) =>
      Object.values(networks),
    );
    return [name, [...new Set(roles.map((weight) => weights[weight].file)), ...(OWN[name] ?? [])]];
  }),
);
FILES.segmentation = ["selfie", "selfie-landscape"].map((weight) => weights[weight].file);
