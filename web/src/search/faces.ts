/** Search an image for faces: proposals of the full-range detector, verified by one or two runs of the mesh network. */

import { iou, latestBoxes } from "../boxes.js";
import { constants } from "../data.js";
import { boxAroundFace, boxObservation, type FaceBoxes, type FaceMeshes, type FaceObservation } from "../face.js";
import { sizeOf } from "../observations.js";
import type { Pixels } from "../pixels.js";
import type { Detection, SingleShotDetector } from "../ssd.js";
import { Agenda, addVotes, areEnough, bestFirst, newCandidate, isCertain, lastView, presenceOf, rate, withoutDuplicates, type Candidate, type Found } from "./agenda.js";
import { PUBLISHED, cutsOff, hintScore, hintsIn, isSameInstance, keyOf, longestOf, mergeProposals, middleOf, oks, partOf, placed, windows, type Hint, type Proposal, type Window } from "./geometry.js";
import type { Limits } from "./hands.js";
import { LIMITS, logit, type Features } from "./score.js";

const OF = constants.search.faces;

export type FaceCandidate = Candidate<FaceObservation>;

/** Return features of the sizes of the instances found so far, in pixels. */
export function foundSoFar(sizes: readonly number[], image: Pixels): Features {
  const smallest = sizes.length ? Math.min(...sizes) / longestOf(image) : 0;
  return { found: Number(sizes.length > 0), size: smallest, several: Number(sizes.length > 1) };
}

/** Searches images for faces. */
export class FaceSearch {
  readonly #detector: SingleShotDetector;
  readonly #meshes: FaceMeshes;
  readonly #limits: Limits;

  /** @param detector full-range face detector. Faces of the published search keep the keypoints of the first view. */
  constructor(detector: SingleShotDetector, meshes: FaceMeshes, limits: Limits) {
    [this.#detector, this.#meshes, this.#limits] = [detector, meshes, limits];
  }

  /** Return all candidates with their scores, best first. */
  async search(image: Pixels): Promise<Found<FaceObservation>> {
    const { published, least, budget } = this.#limits;
    const [agenda, candidates]: [Agenda, FaceCandidate[]] = [new Agenda("face", budget), []];
    const boxes = latestBoxes(await this.#meshes.find(image, published), (box, other) => this.#meshes.isSameInstance(box, other));
    await this.#verify(image, boxes.map((box) => ({ box, score: least, votes: new Set([PUBLISHED]) })), candidates);
    const accept = (window: Window, faces: readonly Detection[]) => {
      const proposals = faces.map(({ box, keypoints, score }) =>
        ({ box: placed(boxAroundFace(box, keypoints[0]!, keypoints[1]!), window), score, votes: new Set([keyOf(window)]) }));
      return this.#verify(image, proposals, candidates);
    };
    const sizes = () => candidates.filter(({ score }) => score > 0.5).map((candidate) => sizeOf(lastView(candidate).keypoints));
    addWindows(agenda, image, this.#detector, least, sizes, accept);
    await agenda.run(() => areEnough(candidates.filter(({ score }) => score > LIMITS.confident), budget));
    return { candidates: withoutDuplicates(candidates), complete: agenda.complete };
  }

  /** Run the mesh network on proposals without a certain face, and in doubt again on the box of its keypoints. */
  async #verify(image: Pixels, proposals: readonly Proposal[], candidates: FaceCandidate[]): Promise<void> {
    for (const proposal of mergeProposals(proposals, image)) {
      let candidate = candidates.find((known) => iou(proposal.box, this.#meshes.boxAfter(lastView(known))) > OF.SAME_FACE);
      if (candidate && isCertain(candidate)) addVotes(candidate, [], proposal.score);
      else {
        const first = await this.#meshes.observe(image, proposal.box);
        if (first.score < LIMITS.seen) continue;
        const isFirst = proposal.votes.has(PUBLISHED);
        let [views, agreement] = [[first], 1];
        if (first.score <= LIMITS.sure || !(isFirst || proposal.score >= this.#limits.published)) {
          const second = await this.#meshes.observe(image, this.#meshes.boxAfter(first));
          views = isFirst ? [second, first] : [first, second];
          agreement = oks(first.keypoints, second.keypoints);
        }
        candidate = newCandidate(views, proposal, agreement, isFirst && first.score > constants.search.geometry.PRESENT);
        candidates.push(candidate);
      }
      candidate.features = {
        detection: logit(candidate.detection),
        presence: logit(presenceOf(candidate)),
        agreement: logit(candidate.agreement),
        ...meshProportions(lastView(candidate)),
      };
      rate(candidate, "face");
    }
  }
}

/**
 * Add the windows of an image level by level. A level is added after the coarser one has run.
 *
 * @param least minimum score of a detection
 * @param sizes returns the sizes of the faces found so far, in pixels
 * @param accept processes the detections in a window
 */
function addWindows(
  agenda: Agenda,
  image: Pixels,
  detector: SingleShotDetector,
  least: number,
  sizes: () => readonly number[],
  accept: (window: Window, faces: readonly Detection[]) => Promise<void>,
): void {
  const hints: Hint[] = [];
  const addLevel = (parts: number) => {
    const level = parts <= OF.MOST_PARTS ? windows(image, parts) : [];
    let left = level.length;
    for (const window of level) {
      const search = async () => {
        const [faces, faint] = await detector.findFrom(partOf(image, window), [least, LIMITS.hint]) as [Detection[], Detection[]];
        hints.push(...hintsIn(window, faint.map(middleOf), least));
        await accept(window, faces);
        if (--left === 0) addLevel(parts + 1);
      };
      agenda.add(`part${parts}`, search, () => ({ ...foundSoFar(sizes(), image), hint: hintScore(window, hints) }));
    }
  };
  addLevel(1);
}

/** Return log ratios of a mesh: height to width, depth to height, and eye distance in the image to that in space. */
function meshProportions({ keypoints }: FaceObservation): Features {
  const at = (k: number) => keypoints.subarray(3 * k, 3 * k + 3);
  const ends = [OF.BROW_AND_CHIN, OF.CHEEKS, OF.EYE_CORNERS].map(([a, b]): Points => [at(a!), at(b!)]) as [Points, Points, Points];
  const [height, width, eyes] = ends.map(([a, b]) => lengthOf(a, b)) as [number, number, number];
  const [, cheeks, [right, left]] = ends;
  const depth = lengthOf(at(OF.NOSE), cheeks[0].map((value, i) => (value + cheeks[1][i]!) / 2));
  return {
    long: Math.log(height / width),
    depth: Math.log(depth / height),
    turned: Math.log(Math.hypot(right[0]! - left[0]!, right[1]! - left[1]!) / eyes + OF.MIN_SHARE),
  };
}

type Points = readonly [Float32Array, Float32Array];

/** Return the distance of two keypoints in space, at least a pixel. */
function lengthOf(a: Float32Array, b: Float32Array): number {
  return Math.max(Math.hypot(...a.map((value, i) => value - b[i]!)), 1);
}

/** Return the boxes of faces with the scores of their detector, as published and by the full-range detector in windows. */
export async function searchBoxes(
  image: Pixels,
  boxes: FaceBoxes,
  detector: SingleShotDetector,
  { published, budget }: Limits,
): Promise<Found<FaceObservation>> {
  const found: FaceObservation[] = [];
  for (const box of await boxes.find(image, published)) found.push(await boxes.observe(image, box));
  const agenda = new Agenda("face", budget);
  const accept = async (window: Window, faces: readonly Detection[]) => {
    for (const face of faces) {
      const observation = boxObservation(face, window.left, window.top);
      const isKnown = found.some((other) => isSameInstance(observation.keypoints, other.keypoints));
      if (!cutsOff(window, face.box, image) && !isKnown) found.push(observation);
    }
  };
  const sizes = () => found.map(({ keypoints }) => Math.abs(keypoints[4]! - keypoints[1]!));
  addWindows(agenda, image, detector, Math.max(published, OF.BOX_SCORE), sizes, accept);
  await agenda.run(() => found.length >= budget.enough);
  const candidates = found.map((face): FaceCandidate => ({ ...newCandidate([face], { score: face.score, votes: new Set() }), score: face.score }));
  return { candidates: bestFirst(candidates), complete: agenda.complete };
}
