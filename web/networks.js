/** Names of the files of networks, by kind. */

import { readFileSync } from "node:fs";

const { kinds, weights } = JSON.parse(
  readFileSync(new URL("src/data.json", import.meta.url), "utf8"),
);

/** Files of the published networks. */
export const PUBLISHED = Object.values(weights).map(({ file }) => file);

/** Files that are part of the repository, by the kind that needs them. */
export const OWN = Object.fromEntries(
  Object.entries(kinds).map(([name, { further_files }]) => [name, further_files]),
);
OWN.hands = [...OWN.hands, "gestures.npz", "asl.npz"];

/** Files of each kind; `segmentation`: those of `ImageSegmenter`. */
export const FILES = Object.fromEntries(
  Object.entries(kinds).map(([name, { models, for_stills }]) => {
    const roles = [...Object.values(models), ...Object.values(for_stills)].flatMap((networks) =>
      Object.values(networks),
    );
    return [name, [...new Set(roles.map((weight) => weights[weight].file)), ...OWN[name]]];
  }),
);
FILES.segmentation = ["selfie", "selfie-landscape"].map((weight) => weights[weight].file);
