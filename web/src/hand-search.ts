/** Hands of a still: palms in the image and at the ends of arms, scored by two to four inferences. */

import type { Bodies, BodyObservation } from "./body.js";
import { iou, wrapAngle, type RotatedBox } from "./boxes.js";
import { constants } from "./data.js";
import { areaOf, isNear, isPlain, lastOf, logistic, logit, merged, regression, resultOf, sharedArea, shifted, tiles, windowAround, withoutSame } from "./finds.js";
import type { Find, Limits, StillPlace, Window } from "./finds.js";
import { boxAroundHand, boxFromPalm, type HandObservation, type Hands } from "./hands.js";
import { bodiesOfHeads, headFromDetection, heightOf, meanOf, oks, squareOf, withoutSameHeads, type Head } from "./heads.js";
import { centreOf, cornersOf, distance, sizeOf, type Point } from "./observations.js";
import { cut, turnedOver, type Pixels } from "./pixels.js";
import type { SingleShotDetector } from "./ssd.js";

const OF = constants.hand_search;
const { WRIST_WINDOW, REACH } = constants.HandSearch;
const [SCORE, SIDE] = [regression(constants.HandSearch.SCORE), regression(constants.HandSearch.SIDE)];
const SIDES = [0, 1] as const;
/** Vote of a body's own crop of its hand, as the published graph makes it. */
export const CROP = "crop";

type Side = (typeof SIDES)[number];
type HandFind = Find<HandObservation>;

/** Where faces and bodies are, as far as it takes to find hands. */
export interface Guide {
  /** Of the full range. */
  readonly faces: SingleShotDetector;
  readonly bodies: Bodies;
}

/** Hands of an image. */
export class HandSearch {
  readonly #palms: SingleShotDetector;
  readonly #hands: Hands;
  readonly #guide: (() => Promise<Guide>) | null;
  readonly #limits: Limits;

  /** `guide` is asked where palms alone are not enough; hands that are seen plainly are enough. */
  constructor(palms: SingleShotDetector, hands: Hands, guide: (() => Promise<Guide>) | null, limits: Limits) {
    [this.#palms, this.#hands, this.#guide, this.#limits] = [palms, hands, guide, limits];
  }

  /** Every candidate with the search's score, best first. */
  async search(image: Pixels): Promise<HandObservation[]> {
    const { width, height } = image;
    const longest = Math.max(width, height);
    const candidates = new Candidates();
    const [whole] = tiles(width, height, [1]) as [Window];
    await this.#consider(image, await this.#palmsIn(image, whole, nameOf(whole)), candidates);
    let heads: Head[] = [];
    const bodies: BodyObservation[] = [];
    if (this.#guide && !this.#isEnough(candidates)) {
      const guide = await this.#guide();
      heads = await headsIn(image, guide.faces, 1);
      if (!isCloseUp(heads, candidates.finds, longest)) {
        const smallest = heads.length ? Math.min(...heads.map(heightOf)) : 0;
        if (smallest < OF.SMALL_HEAD * longest) {
          heads = withoutSameHeads([...heads, ...(await headsIn(image, guide.faces, 2))]);
        }
        for await (const body of bodiesOfHeads(image, guide.bodies, heads)) {
          if (this.#isEnough(candidates)) break;
          bodies.push(body);
          for (const side of SIDES) await this.#atWrist(image, body, side, candidates);
        }
        if (!(heads.length === 1 && bodies.length === 1) && !this.#isEnough(candidates)) {
          const places: StillPlace[] = [];
          for (const window of tiles(width, height, [2])) places.push(...(await this.#palmsIn(image, window, nameOf(window))));
          await this.#consider(image, places, candidates);
        }
      }
    }
    return (await this.#scored(image, candidates.finds, heads, bodies)).map(resultOf);
  }

  /** Hands of people who are known: in these places, and at the wrists where none of them is plain. */
  async around(
    image: Pixels,
    heads: readonly Head[],
    bodies: readonly BodyObservation[],
    places: readonly StillPlace[],
  ): Promise<HandObservation[]> {
    const candidates = new Candidates();
    await this.#consider(image, places, candidates);
    for (const body of bodies) for (const side of SIDES) await this.#atWrist(image, body, side, candidates);
    return (await this.#scored(image, candidates.finds, heads, bodies)).map(resultOf);
  }

  #isEnough({ finds }: Candidates): boolean {
    return finds.filter(isPlain).length >= this.#limits.enough;
  }

  async #scored(image: Pixels, all: readonly HandFind[], heads: readonly Head[], bodies: readonly BodyObservation[]): Promise<HandFind[]> {
    const finds = withoutSame(all.filter((find) => !isFoot(lastOf(find), bodies) && !isPartOfFace(lastOf(find), heads)));
    for (const find of finds) {
      const isPublished = this.#isPublished(image, find);
      let features = featuresOf(find, bodies, isPublished);
      find.score = logistic(SCORE, features);
      if (!isPlain(find) && find.score > OF.DOUBTFUL) {
        await this.#inferAgain(image, find, isPublished || find.votes.has(CROP));
        features = featuresOf(find, bodies, isPublished);
        find.score = logistic(SCORE, features);
      }
      find.observations = [...find.observations.slice(0, -1), { ...lastOf(find), left: logistic(SIDE, features) }];
    }
    return finds.sort((a, b) => b.score - a.score);
  }

  /** Whether the published search finds it too. */
  #isPublished({ width, height }: Pixels, find: HandFind): boolean {
    const isFound = find.votes.has(nameOf({ left: 0, top: 0, right: width, bottom: height })) && find.detection >= this.#limits.published;
    return isFound && lastOf(find).score > OF.PRESENT;
  }

  /** Two more inferences from the keypoints seen in the mirror; with `stays` the first observation stays the one that counts. */
  async #inferAgain(image: Pixels, find: HandFind, stays: boolean): Promise<void> {
    const [mirrored, first] = find.observations.slice(-2) as [HandObservation, HandObservation];
    const again = await this.#hands.observe(image, boxAroundHand(mirrored.keypoints));
    const inMirror = await this.#hands.observeInMirror(image, boxAroundHand(again.keypoints));
    find.observations = stays ? [mirrored, again, inMirror, first] : [mirrored, first, inMirror, again];
  }

  /** Boxes of hands in a window, which may be turned upside down. */
  async #palmsIn(image: Pixels, window: Window, vote: string, isTurned = false): Promise<StillPlace[]> {
    const { left, top, right, bottom } = window;
    const part = cut(image, left, top, right, bottom);
    const found = await this.#palms.findFrom(isTurned ? turnedOver(part) : part, [this.#limits.published, this.#limits.least]);
    return found.flat().map((palm) => {
      let box = boxFromPalm(palm);
      if (isTurned) box = { ...box, cx: part.width - box.cx, cy: part.height - box.cy, rotation: wrapAngle(box.rotation + Math.PI) };
      return { box: shifted(box, left, top), score: palm.score, votes: new Set([vote]) };
    });
  }

  /** Run inference in places; those of hands seen plainly, and those seen before, count as votes. */
  async #consider(image: Pixels, places: readonly StillPlace[], candidates: Candidates): Promise<void> {
    for (const place of merged(places, 4 * Math.max(image.width, image.height))) {
      if (!candidates.knows(place)) candidates.add(place, await this.#infer(image, place));
    }
  }

  /** Search the end of a body's arm where no hand is plain there: upright, then upside down. */
  async #atWrist(image: Pixels, body: BodyObservation, side: Side, candidates: Candidates): Promise<void> {
    const { width, height } = image;
    const [x, y] = pointOf(body.keypoints, OF.WRISTS[side]!);
    if (!(x > -0.05 * width && x < 1.05 * width && y > -0.05 * height && y < 1.05 * height)) return;
    const face = faceHeight(body);
    const elbow = pointOf(body.keypoints, OF.ELBOWS[side]!);
    const [dx, dy] = [x - elbow[0], y - elbow[1]];
    const part = (REACH * face) / Math.max(Math.hypot(dx, dy), 1);
    const window = windowAround(x + part * dx, y + part * dy, WRIST_WINDOW * face, image);
    for (const isTurned of [false, true]) {
      if (window === null || candidates.finds.some((find) => isPlain(find) && isAt(lastOf(find), [x, y]))) return;
      await this.#consider(image, await this.#palmsIn(image, window, `arm ${isTurned}`, isTurned), candidates);
    }
  }

  async #infer(image: Pixels, { box, score, votes }: StillPlace): Promise<HandFind | null> {
    const first = await this.#hands.observe(image, box);
    if (first.score < OF.LEAST_SEEN) return null;
    const mirrored = await this.#hands.observeInMirror(image, boxAroundHand(first.keypoints));
    if (mirrored.score < OF.LEAST_SEEN) return null;
    const agreement = oks(first.keypoints, mirrored.keypoints);
    return { observations: [mirrored, first], detection: score, votes: new Set(votes), agreement, score: 0 };
  }
}

/** What has been inferred in one image. */
class Candidates {
  readonly finds: HandFind[] = [];
  readonly #inferred: { readonly box: RotatedBox; readonly find: HandFind | null }[] = [];

  /** Whether a place shows a plain hand or a box seen before, which its votes then count for. */
  knows({ box, votes }: StillPlace): boolean {
    const plain = this.finds.find((find) => isPlain(find) && iou(boxAroundHand(lastOf(find).keypoints), box) > OF.SAME_HAND);
    const known = plain ? { find: plain } : this.#inferred.find((one) => isNear(box, one.box));
    for (const vote of votes) known?.find?.votes.add(vote);
    return known !== undefined;
  }

  /** Keep what was seen in a place. */
  add({ box }: StillPlace, find: HandFind | null): void {
    this.#inferred.push({ box, find });
    if (find !== null) this.finds.push(find);
  }
}

/** A vote of a window. */
function nameOf({ left, top, right, bottom }: Window): string {
  return [left, top, right, bottom].join();
}

/** Heads in tiles of an image, so many in a row, the surest first. */
async function headsIn(image: Pixels, faces: SingleShotDetector, parts: number): Promise<Head[]> {
  const heads: Head[] = [];
  for (const { left, top, right, bottom } of tiles(image.width, image.height, [parts])) {
    const found = await faces.find(cut(image, left, top, right, bottom), constants.HeadSearch.LEAST_SCORE);
    heads.push(...found.map((face) => headFromDetection(face, left, top)));
  }
  return withoutSameHeads(heads);
}

/** What the score and the side of a find are made of. */
function featuresOf(find: HandFind, bodies: readonly BodyObservation[], isPublished: boolean): Record<string, number> {
  const mean = (of: (one: HandObservation) => number) =>
    find.observations.reduce((sum, one) => sum + logit(of(one)), 0) / find.observations.length;
  const last = lastOf(find);
  return {
    presence: mean(({ score }) => score),
    wrist: Math.max(1 - wristDistance(last, bodies, SIDES), 0),
    votes: Math.log(find.votes.size),
    published: isPublished ? 1 : 0,
    side: mean(({ left }) => left),
    arm: armSide(last, bodies),
  };
}

/** Whether an image shows large hands and no face: finer windows show nothing more. */
function isCloseUp(heads: readonly Head[], finds: readonly HandFind[], side: number): boolean {
  const sizes = finds.filter(isPlain).map((find) => sizeOf(lastOf(find).keypoints));
  return !heads.length && sizes.length > 0 && Math.min(...sizes) > OF.LARGE * side;
}

function pointOf(keypoints: Float32Array, k: number): Point {
  return [keypoints[3 * k]!, keypoints[3 * k + 1]!];
}

function isAt({ keypoints }: HandObservation, wrist: Point): boolean {
  return distance(pointOf(keypoints, 0), wrist) < sizeOf(keypoints);
}

/** Height of the face's mesh in pixels, from eyes and mouth, and from the shoulders where it is turned away. */
function faceHeight({ keypoints }: BodyObservation): number {
  const { EYES, MOUTH, SHOULDERS } = constants.bodies;
  const [left, right] = SHOULDERS.map((k) => pointOf(keypoints, k)) as [Point, Point];
  return Math.max(OF.FACE_OF_EYES * distance(meanOf(keypoints, EYES), meanOf(keypoints, MOUTH)), OF.FACE_OF_SHOULDERS * distance(left, right));
}

/** From a hand to the nearest body's wrist or knuckles of some sides, in sizes of the hand. */
function wristDistance(hand: HandObservation, bodies: readonly BodyObservation[], sides: readonly Side[]): number {
  const [size, centre] = [sizeOf(hand.keypoints), centreOf(hand)];
  const nearest = bodies.flatMap(({ keypoints }) => sides.map((side) => {
    const knuckles = OF.KNUCKLES[side]!;
    return Math.min(distance(pointOf(hand.keypoints, 0), pointOf(keypoints, knuckles[0]!)), distance(centre, meanOf(keypoints, knuckles)));
  }));
  return Math.min(...nearest) / size;
}

/** How much nearer to a left arm's end than to a right one's: negative (right) to positive (left), 0 far from both. */
function armSide(hand: HandObservation, bodies: readonly BodyObservation[]): number {
  const [left, right] = SIDES.map((side) => wristDistance(hand, bodies, [side])) as [number, number];
  const { FAR_ARM, FARTHEST_ARM, NEAR_ARM, MOST_ARM } = OF;
  if (Math.min(left, right) > FAR_ARM) return 0;
  const far = (one: number) => Math.min(one, FARTHEST_ARM) + NEAR_ARM;
  return Math.min(Math.max(Math.log(far(right) / far(left)), -MOST_ARM), MOST_ARM);
}

/** Whether it stands on a body's foot, and nearer to it than to any wrist. */
function isFoot(hand: HandObservation, bodies: readonly BodyObservation[]): boolean {
  const [size, centre] = [sizeOf(hand.keypoints), centreOf(hand)];
  let nearest = Infinity;
  for (const { keypoints, visibility } of bodies) {
    for (const foot of OF.FEET) {
      if (!(visibility[foot[0]!]! > OF.SEEN_FOOT)) continue;
      const points = [...foot.map((k) => pointOf(keypoints, k)), meanOf(keypoints, foot)];
      nearest = Math.min(nearest, ...points.map((point) => distance(point, centre) / size));
    }
  }
  return nearest < OF.NEAR_FOOT && nearest < wristDistance(hand, bodies, SIDES);
}

/** Whether it lies in a face and is too small for a hand before it: an ear, a nose. */
function isPartOfFace({ keypoints }: HandObservation, heads: readonly Head[]): boolean {
  const box = cornersOf(keypoints);
  return heads.some((head) => {
    const isSmall = sizeOf(keypoints) < OF.PART_OF_FACE * heightOf(head);
    return isSmall && sharedArea(box, squareOf(head)) > OF.INSIDE_FACE * areaOf(box);
  });
}
