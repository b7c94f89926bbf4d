/** Classify the gestures of hands, shipped and custom, and smooth them over time, as in Python. */

import { GESTURES } from "./data.js";
import { fetchArrays, type NumpyArray } from "./files.js";
import type { HandWithAppearance } from "./hands.js";
import { MotionRecognizer, motionsOf, type Example, type Tracked } from "./motions/recognizer.js";
import {
  mirroredHand,
  type AnyDetector,
  type Gesture,
  type Hand,
  type InWorker,
  type Points,
  type Results,
} from "./results.js";
import { extended } from "./smoothing.js";

/** Returns the gesture of a hand in one frame; null for unknown gestures. */
export type Recognize = (hand: HandWithAppearance) => Gesture | null;

type Vocabulary = typeof GESTURES.vocabulary;

type Layer = {
  readonly rows: number;
  readonly columns: number;
  readonly weights: readonly number[];
  readonly bias: readonly number[];
};

const NONE = "None";
const WITH_IMAGE = "with_image."; // prefix of the arrays of the network that reads appearance
const POINTS = GESTURES.keypoints;

/** Gestures and motions of files. */
export interface LoadedGestures {
  readonly recognize: Recognize;
  readonly motions: readonly Example[]; // of custom motions
  readonly readsAppearance: boolean; // true if a classifier also reads the appearance of hands
}

/**
 * Load the gestures of files. The first file that knows the gesture of a hand decides.
 *
 * @param urls addresses of gesture files. The last is the shipped one, whose embedding custom
 *   gestures use.
 */
export async function loadGestures(urls: readonly string[]): Promise<LoadedGestures> {
  const files = await Promise.all(urls.map((url) => fetchArrays(url, "gestures")));
  const shipped = new GestureClassifier(files.at(-1)!);
  const motions: Example[] = [];
  const classifiers = [shipped];
  const all = files.map((arrays, k) => {
    try {
      motions.push(...motionsOf(arrays));
      if (k === files.length - 1) return shipped.recognize;
      if (arrays.has("weights_0")) {
        const classifier = new GestureClassifier(arrays);
        classifiers.push(classifier);
        return classifier.recognize;
      }
      // a file without names contains only motions
      return arrays.has("names") ? customGestures(arrays, shipped) : null;
    } catch (error) {
      throw new Error(
        `${urls[k]} contains no gestures of this version (${error instanceof Error ? error.message : error})`,
      );
    }
  });
  const recognize: Recognize = (hand) => {
    for (const classify of all) {
      const gesture = classify?.(hand);
      if (gesture) return gesture;
    }
    return null;
  };
  return {
    recognize,
    motions,
    readsAppearance: classifiers.some((classifier) => classifier.readsAppearance),
  };
}

function numbersOf(
  arrays: Map<string, NumpyArray>,
  name: string,
  ...shape: readonly number[]
): readonly number[] {
  const array = arrays.get(name);
  if (!array) throw new Error(`it has no ${name}`);
  if (shape.some((size, axis) => array.shape[axis] !== size))
    throw new Error(`its ${name} is ${array.shape.join(" x ")}`);
  return array.values as readonly number[];
}

/**
 * Return the probabilities of shapes from the logits of poses; `shapeOf`: index of the shape of
 * each pose.
 */
function sharesOf(logits: readonly number[], shapeOf: readonly number[], shapes: number): number[] {
  const highest = Math.max(...logits);
  const shares = new Array<number>(shapes).fill(0);
  let sum = 0;
  logits.forEach((logit, pose) => {
    const power = Math.exp(logit - highest);
    shares[shapeOf[pose]!]! += power;
    sum += power;
  });
  return shares.map((share) => share / sum);
}

/**
 * Return calibrated probabilities: a power of each, with a factor for no gesture, which is the
 * first, normalised.
 */
function calibrated(shares: readonly number[], [exponent, factor]: readonly number[]): number[] {
  const powers = shares.map((share, k) => share ** exponent! * (k === 0 ? factor! : 1));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

/** Network that reads the features and the appearance of a hand. */
interface ImageNetwork {
  // one layer of the features, then three of the appearance and its outputs
  readonly layers: [Layer, ...Layer[]];
  readonly shape: readonly number[];
  readonly calibration: readonly number[]; // calibration of its probabilities; see `calibrated`
}

/** Classifier of keypoints, with a second network for hands with appearance if the file has it. */
class GestureClassifier {
  readonly #vocabulary: Vocabulary;
  // two rectified layers, which embed a hand, and a third that classifies poses
  readonly #layers: readonly [Layer, Layer, Layer];
  readonly #shape: readonly number[];
  readonly #withImage: ImageNetwork | null;
  readonly #whitening: Layer | null;
  // variance (E,) of poses along each axis of `place`, where hands of one pose have variance 1
  readonly spread: readonly number[];

  constructor(arrays: Map<string, NumpyArray>) {
    const vocabulary = arrays.get("vocabulary");
    this.#vocabulary = vocabulary
      ? (JSON.parse(String(vocabulary.values[0])) as Vocabulary)
      : GESTURES.vocabulary;
    const first = layerOf(arrays, 0, 2 * (3 * POINTS + PAIRS.length));
    const second = layerOf(arrays, 1, first.columns);
    this.#layers = [first, second, layerOf(arrays, 2, second.columns)];
    this.#shape = numbersOf(arrays, "shape", this.#layers[2].columns);
    this.#withImage = arrays.has(`${WITH_IMAGE}shape`) ? imageNetworkOf(arrays, first.rows) : null;
    const width = second.columns;
    const teaches = arrays.has("spread");
    this.#whitening = teaches
      ? {
          rows: width,
          columns: width,
          weights: numbersOf(arrays, "whitening", width, width),
          bias: numbersOf(arrays, "whitening_bias", width),
        }
      : null;
    this.spread = teaches ? numbersOf(arrays, "spread", width) : [];
  }

  get readsAppearance(): boolean {
    return this.#withImage !== null;
  }

  readonly recognize: Recognize = (hand) => {
    const shares = this.#probabilities(hand);
    const best = bestOf(shares);
    const [score, shape] = [shares[best]!, this.#vocabulary.shapes[best]!];
    // NaN if keypoints are unknown
    if (shape === NONE || !(score >= GESTURES.least_score)) return null;
    const name = this.#named(shape, hand.keypoints);
    return name === null ? null : { name, score };
  };

  /**
   * Return the probabilities of the shapes; for a hand with appearance, those of the network that
   * reads it.
   */
  #probabilities(hand: HandWithAppearance): number[] {
    const features = featuresOf(hand);
    const count = this.#vocabulary.shapes.length;
    if (this.#withImage === null || !hand.appearance)
      return sharesOf(outputsOf(this.#layers, features), this.#shape, count);
    const {
      layers: [first, ...others],
      shape,
      calibration,
    } = this.#withImage;
    const inputs = [...hand.appearance, ...rectified(applied(first, features))];
    return calibrated(sharesOf(outputsOf(others, inputs), shape, count), calibration);
  }

  /** Return the whitened embedding (E,). Only the shipped classifier has it. */
  place(hand: HandWithAppearance): number[] {
    return outputsOf([this.#layers[0], this.#layers[1], this.#whitening!], featuresOf(hand));
  }

  /** Return the gesture of a shape, which may depend on its direction in the image. */
  #named(shape: string, keypoints: Points): string | null {
    const direction = this.#vocabulary.directions[shape];
    if (!direction) return shape;
    const [start, end] = direction.finger as [number, number];
    const [x, y, z] = [0, 1, 2].map(
      (axis) => keypoints.values[3 * end + axis]! - keypoints.values[3 * start + axis]!,
    ) as [number, number, number];
    if (Math.hypot(x, y) < GESTURES.least_in_image * Math.hypot(x, y, z)) return null;
    return direction.names[(Math.round(Math.atan2(x, -y) / (Math.PI / 2)) + 4) % 4]!;
  }
}

function imageNetworkOf(arrays: Map<string, NumpyArray>, features: number): ImageNetwork {
  const first = layerOf(arrays, 0, features, WITH_IMAGE);
  const layers: ImageNetwork["layers"] = [
    first,
    layerOf(arrays, 1, arrays.get(`${WITH_IMAGE}weights_1`)?.shape[0] ?? 0, WITH_IMAGE),
  ]; // the second reads the appearance and the outputs of the first
  for (const number of [2, 3])
    layers.push(layerOf(arrays, number, layers.at(-1)!.columns, WITH_IMAGE));
  const shape = numbersOf(arrays, `${WITH_IMAGE}shape`, layers.at(-1)!.columns);
  const name = `${WITH_IMAGE}calibration`;
  return { layers, shape, calibration: arrays.has(name) ? numbersOf(arrays, name, 2) : [1, 1] };
}

/** Return a layer with this number of inputs; `prefix`: prefix of the names of its arrays. */
function layerOf(
  arrays: Map<string, NumpyArray>,
  number: number,
  rows: number,
  prefix = "",
): Layer {
  const bias = numbersOf(arrays, `${prefix}bias_${number}`);
  return {
    rows,
    columns: bias.length,
    weights: numbersOf(arrays, `${prefix}weights_${number}`, rows, bias.length),
    bias,
  };
}

/**
 * Return a classifier of custom gestures, which weighs each gesture against any other pose; see
 * `sonjit.gestures.custom`.
 */
function customGestures(arrays: Map<string, NumpyArray>, shipped: GestureClassifier): Recognize {
  const names = (arrays.get("names")?.values ?? []) as readonly string[];
  const means = numbersOf(arrays, "means", names.length, shipped.spread.length);
  const counts = numbersOf(arrays, "counts", names.length).map((count) =>
    Math.min(count, GESTURES.most_examples),
  );
  const width = shipped.spread.length;
  if (numbersOf(arrays, "spread", width).some((value, i) => value !== shipped.spread[i]))
    throw new Error("they were trained with another version; train them again");
  return (hand) => {
    const place = shipped.place(hand);
    const logits = names.map((_, k) => {
      const evidence = place.reduce((sum, value, i) => {
        const [spread, count] = [shipped.spread[i]!, counts[k]!];
        const variance = spread / (1 + count * spread);
        const off = value - count * variance * means[k * width + i]!;
        return (
          sum +
          Math.log1p(spread) +
          value ** 2 / (1 + spread) -
          Math.log1p(variance) -
          off ** 2 / (1 + variance)
        );
      }, 0);
      return GESTURES.sharpness * (evidence / 2 - GESTURES.least_evidence);
    });
    const powers = [...logits, 0].map((logit) => Math.exp(logit - Math.max(...logits, 0)));
    const best = bestOf(powers);
    const score = powers[best]! / powers.reduce((sum, power) => sum + power, 0);
    return best < names.length && score >= 0 ? { name: names[best]!, score } : null;
  };
}

function applied({ rows, columns, weights, bias }: Layer, values: readonly number[]): number[] {
  const sums = [...bias];
  for (let row = 0; row < rows; row++) {
    const value = values[row]!;
    if (value !== 0)
      for (let column = 0; column < columns; column++)
        sums[column]! += value * weights[row * columns + column]!;
  }
  return sums;
}

/** Return the outputs of layers with rectified values between them. */
const outputsOf = (layers: readonly Layer[], values: readonly number[]) =>
  layers.reduce((inputs, layer, k) => applied(layer, k ? rectified(inputs) : inputs), [...values]);

const rectified = (values: readonly number[]) => values.map((value) => Math.max(value, 0));

const bestOf = (values: readonly number[]): number =>
  values.reduce((best, value, k) => (value > values[best]! ? k : best), 0);

/** All pairs of keypoints except those of the thumb's first joint. */
const PAIRS = Array.from({ length: POINTS }, (_, a) =>
  Array.from({ length: a }, (__, b) => [a, b] as const),
)
  .flat()
  .filter(([a, b]) => a !== 1 && b !== 1);

/**
 * Return the features of a hand: its keypoints in the image and in metres, normalised for position,
 * size, side and rotation in the image, and the distances between the points of each.
 */
function featuresOf(hand: HandWithAppearance): number[] {
  const [points, distances]: [number[], number[]] = [[], []];
  const [image, world] = [coordinatesOf(hand.keypoints), coordinatesOf(hand.keypoints3D)];
  const along = [0, 1].map((axis) =>
    GESTURES.palm.reduce((sum, k, i) => sum + GESTURES.along[i]! * image[k]![axis]!, 0),
  ) as [number, number];
  const length = Math.hypot(...along);
  const [up, across] = [-along[1] / length, along[0] / length];
  const looksLeft = (hand.handedness === "Left") !== (hand.mirrored ?? false);
  const mirror = looksLeft ? -1 : 1;
  for (const set of [image, world]) {
    const middle = [0, 1, 2].map(
      (axis) => GESTURES.palm.reduce((sum, k) => sum + set[k]![axis]!, 0) / GESTURES.palm.length,
    );
    const around = set.map(
      (point) => point.map((value, axis) => value - middle[axis]!) as [number, number, number],
    );
    const scale = Math.sqrt(
      around.reduce((sum, [x, y, z]) => sum + x * x + y * y + z * z, 0) / POINTS,
    );
    const turned = around.map(([x, y, z]) =>
      [mirror * (up * x + across * y), up * y - across * x, z].map((value) => value / scale),
    );
    points.push(...turned.flat());
    distances.push(
      ...PAIRS.map(([a, b]) =>
        Math.hypot(...turned[a]!.map((value, axis) => value - turned[b]![axis]!)),
      ),
    );
  }
  return [...points, ...distances];
}

function coordinatesOf({ values }: Points): (readonly [number, number, number])[] {
  return Array.from({ length: values.length / 3 }, (_, k) => [
    values[3 * k]!,
    values[3 * k + 1]!,
    values[3 * k + 2]!,
  ]);
}

/** Smooth gestures over time with a leaky vote per tracked hand. */
export class GestureSmoother {
  readonly #tau = GESTURES.smoother.settle_s / Math.log(2 / (1 - GESTURES.smoother.margin));
  readonly #votes = new Map<
    string,
    { name: string | null; time: number; shares: Map<string | null, number> }
  >();

  reset(): void {
    this.#votes.clear();
  }

  /** Return the smoothed gesture of a hand. Its score is its share of the recent past. */
  update(key: string, gesture: Gesture | null, time: number): Gesture | null {
    for (const [other, vote] of this.#votes)
      if (time - vote.time > GESTURES.smoother.forget_s) this.#votes.delete(other);
    const [name, score] = gesture ? [gesture.name, gesture.score] : [null, 1];
    const vote = this.#votes.get(key);
    if (!vote) {
      this.#votes.set(key, { name, time, shares: new Map([[name, score]]) });
      return gesture;
    }
    const keep = Math.exp((vote.time - time) / this.#tau);
    for (const [other, share] of vote.shares) vote.shares.set(other, share * keep);
    vote.shares.set(name, (vote.shares.get(name) ?? 0) + (1 - keep) * score);
    vote.time = time;
    const [leader, share] = [...vote.shares].reduce((best, entry) =>
      entry[1] > best[1] ? entry : best,
    );
    if (share > (vote.shares.get(vote.name) ?? 0) + GESTURES.smoother.margin) vote.name = leader;
    const smoothed = vote.shares.get(vote.name) ?? 0;
    return vote.name === null || smoothed < GESTURES.least_score
      ? null
      : { name: vote.name, score: smoothed };
  }
}

type Classify = (hand: HandWithAppearance, id: number | null) => Gesture | null;

/**
 * Return a detector whose hands have a `gesture`, smoothed in streams. In streams its results have
 * `motions`.
 * Gestures are those of the image, motions those of the results.
 */
export function withGestures(
  detector: AnyDetector,
  { recognize, motions }: LoadedGestures,
): AnyDetector {
  const smoother = new GestureSmoother();
  const recognizer = new MotionRecognizer(motions);
  let last = 0; // time of the last image, in seconds
  const reset = () => {
    smoother.reset();
    recognizer.reset();
  };
  const originalOf = (hand: HandWithAppearance): HandWithAppearance => {
    const points = hand.published ?? hand; // gestures were trained on published keypoints
    const { keypoints, keypoints3D } = hand.flipped ? mirroredHand(points, 0) : points;
    return {
      ...hand,
      keypoints,
      keypoints3D,
      mirrored: Boolean(hand.mirrored) !== Boolean(hand.flipped),
    };
  };
  const classified = (
    hand: HandWithAppearance,
    classify: Classify,
    id: number | null,
  ): InWorker<Hand> => {
    const { appearance: _, ...sent } = hand;
    return { ...sent, gesture: classify(hand, id) };
  };
  const withGesture = (results: Results, classify: Classify): Results => {
    const found = results.found.map((result) => {
      if ("handedness" in result)
        return classified(result as HandWithAppearance, classify, result.id);
      if (!("leftHand" in result)) return result;
      const part = (hand: HandWithAppearance | null) =>
        hand && classified(hand, classify, result.id);
      return { ...result, leftHand: part(result.leftHand), rightHand: part(result.rightHand) };
    });
    return { ...results, found };
  };
  const inStream = (found: Results, time: number): Results => {
    last = time;
    const tracked: Tracked[] = [];
    const results = withGesture(found, (hand, id) => {
      const { handedness } = hand;
      const recognized = recognize(originalOf(hand));
      if (id === null) return recognized;
      const gesture = smoother.update(`${id} ${handedness}`, recognized, time);
      const { keypoints, keypoints3D } = hand.published ?? hand;
      tracked.push({
        id,
        handedness,
        mirrored: hand.mirrored ?? false,
        points: coordinatesOf(keypoints),
        metres: coordinatesOf(keypoints3D),
      });
      return gesture;
    });
    return { ...results, motions: recognizer.update(tracked, time) };
  };
  const inStill = (found: Results) => withGesture(found, (hand) => recognize(originalOf(hand)));
  return {
    ...extended(detector, reset, inStream, inStill),
    finish: () => ({ motions: recognizer.finish(last), events: [] }),
  };
}
