/** Class activation maps of photographs, by a network whose maps are an output. */

import { fetchNetwork, loadRuntime, Network } from "./network.js";
import type { Pixels } from "./pixels.js";

export const CLASSIFIER_SIDE = 224; // side of the network's square input in pixels
const CLASSES = 1000;
const MAP_SIDE = 7;

/** A class of a photograph. */
export interface ImageClass {
  /** Index of the class. */
  readonly label: number;
  readonly probability: number;
  /** Rows and columns of the map. */
  readonly size: readonly [number, number];
  /** Class activation map, row by row. It covers the image. */
  readonly values: readonly number[];
}

/**
 * Return the most probable classes of a photograph scaled to `CLASSIFIER_SIDE` in both directions,
 * best first.
 */
export async function classesOf(
  { data }: Pixels,
  top: number,
  runtime: string,
  url: string,
): Promise<ImageClass[]> {
  const shape = { sizes: [CLASSES, CLASSES * MAP_SIDE ** 2], range: [-1, 1] };
  const network = await Network.compile(
    await fetchNetwork(url, null),
    url,
    await loadRuntime(runtime, "wasm"),
    shape,
  );
  const [{ input, levels }, rgb] = [network, data.filter((_, i) => i % 4 !== 3)];
  input.set(Float32Array.from(rgb, (level) => levels[level]!));
  const [scores, maps] = (await network.run()) as [Float32Array, Float32Array];
  const best = Math.max(...scores);
  const shares = scores.map((score) => Math.exp(score - best));
  const total = shares.reduce((sum, share) => sum + share, 0);
  const labels = [...scores.keys()].sort((a, b) => scores[b]! - scores[a]!).slice(0, top);
  return labels.map((label) => ({
    label,
    probability: shares[label]! / total,
    size: [MAP_SIDE, MAP_SIDE],
    values: [...maps.filter((_, i) => i % CLASSES === label)],
  }));
}
