/**
 * Search an image for faces: proposals of the full-range detector, verified by one or two runs of
 * the mesh network.
 */

import { constants } from "../data.js";
import {
  boxAroundDetection,
  boxObservation,
  type FaceBoxes,
  type FaceMeshes,
  type FaceObservation,
} from "../face.js";
import { iou, latestBoxes, sizeOf, squareAround, type Corners } from "../observations.js";
import type { Found } from "../pipeline.js";
import { cut, type Pixels } from "../pixels.js";
import type { Detection, SingleShotDetector } from "../ssd.js";
import {
  cutsOff,
  isSameInstance,
  LIMITS,
  logit,
  mergeProposals,
  oks,
  proposalsIn,
  reachOf,
  scoreOf,
  windows,
  type Features,
  type Proposal,
} from "./geometry.js";
import type { PeopleNetwork, PersonBox } from "./network.js";
import {
  StillSearch,
  lastView,
  newCandidate,
  presenceOf,
  type Candidate,
  type Limits,
} from "./stills.js";

const OF = constants.search.faces;

type FaceCandidate = Candidate<FaceObservation>;

/**
 * Searches one image for faces. The people of `network` are a feature of the scores. To hide faces,
 * a face without a person counts as much as one with a person.
 */
export class FaceSearch extends StillSearch<FaceObservation> {
  #people: PersonBox[] | null = null; // people that the network finds in the complete image

  /** @param detector full-range face detector */
  constructor(
    image: Pixels,
    private readonly detector: SingleShotDetector,
    private readonly meshes: FaceMeshes,
    limits: Limits,
    private readonly network: () => Promise<PeopleNetwork>,
    private readonly hides = false,
  ) {
    super(image, limits, "face");
  }

  protected override score(candidate: FaceCandidate): number {
    const score = super.score(candidate);
    return this.hides ? Math.max(score, scoreOf("hidden_face", candidate.features)) : score;
  }

  /**
   * Yield the faces of the published search, and those in finer windows while there are none or
   * small ones.
   */
  protected async *propose(): AsyncGenerator<Proposal[]> {
    const {
      image,
      meshes,
      limits: { published, isThorough },
    } = this;
    const least = LIMITS.face_share * published;
    const boxes = latestBoxes(await meshes.find(image, published), (box, other) =>
      meshes.isSameInstance(box, other),
    );
    yield boxes.map((box) => ({ box, score: least, source: "published" }));
    const levels = new FinerWindows(
      image,
      () => this.candidates.map((each) => sizeOf(lastView(each).keypoints)),
      isThorough,
    );
    for (const window of levels.windows()) {
      const part = cut(image, window);
      const found: Detection[] = [];
      const whole = squareAround(part.width, part.height);
      for (const rotation of this.#turns(levels.parts))
        found.push(...(await this.detector.findIn(part, { ...whole, rotation }, least)));
      const proposals = proposalsIn(window, found, boxAroundDetection, "window");
      yield mergeProposals(proposals, image);
    }
    this.isComplete = levels.isComplete;
  }

  /**
   * Return the rotations in which windows are searched: all in the coarsest windows, then those of
   * the faces.
   */
  #turns(parts: number): number[] {
    if (parts === 1) return OF.TURNS;
    const found = this.candidates
      .filter((each) => this.score(each) > 0.5)
      .map((each) => Math.abs(this.meshes.boxAfter(lastView(each)).rotation));
    const turns = OF.TURNS.filter((turn) =>
      found.some((rotation) => Math.abs(rotation - turn) < Math.PI / 2),
    );
    return turns.length ? turns : OF.TURNS.slice(0, 1);
  }

  protected shows({ box }: Proposal, face: FaceObservation): boolean {
    return iou(box, this.meshes.boxAfter(face)) > OF.SAME_FACE;
  }

  /** Run the mesh network on a proposal, and in doubt again on the box that it found. */
  protected async verify(proposal: Proposal): Promise<FaceCandidate | null> {
    const { image, meshes } = this;
    const first = await meshes.observe(image, proposal.box);
    if (first.score < LIMITS.seen) return null;
    this.#people ??= await findPeople(image, await this.network());
    const isFirst = proposal.source === "published";
    const isPublished = isFirst && first.score > constants.search.geometry.PRESENT;
    if (first.score > LIMITS.sure && (isPublished || proposal.score >= this.limits.published))
      return newCandidate([first], proposal, 1, isPublished);
    const second = await meshes.observe(image, meshes.boxAfter(first));
    return newCandidate(
      isFirst ? [second, first] : [first, second],
      proposal,
      oks(first.keypoints, second.keypoints),
      isPublished,
    );
  }

  protected features(candidate: FaceCandidate): Features {
    return faceFeatures(candidate, this.#people ?? []);
  }
}

/** Return the people in a complete image, also very doubtful ones. */
async function findPeople(image: Pixels, network: PeopleNetwork): Promise<PersonBox[]> {
  const found: PersonBox[] = [];
  for (const window of windows(image, 1, true))
    found.push(...(await network.find(image, window, OF.UNSEEN)).people);
  return found;
}

/** Return the features of the score of a face. */
function faceFeatures(candidate: FaceCandidate, people: readonly PersonBox[]): Features {
  const face = lastView(candidate);
  const shown = people.filter((person) => showsFace(person, face));
  return {
    detection: logit(candidate.proposal.score),
    presence: logit(presenceOf(candidate)),
    agreement: logit(candidate.agreement),
    ...meshProportions(face),
    person: logit(Math.max(OF.UNSEEN, ...shown.map(({ score }) => score))),
  };
}

/**
 * Check whether a face lies where the face of a person is: in the upper part of the box or just
 * above it.
 */
function showsFace({ box: [left, top, right, bottom] }: PersonBox, face: FaceObservation): boolean {
  const { keypoints } = face;
  const count = keypoints.length / 3;
  let x = 0;
  let y = 0;
  for (let k = 0; k < count; k++) {
    x += keypoints[3 * k]! / count;
    y += keypoints[3 * k + 1]! / count;
  }
  const [brow, chin] = OF.BROW_AND_CHIN.map((k) => keypoints.subarray(3 * k, 3 * k + 2));
  const highest = top - OF.ABOVE * lengthOf(brow!, chin!);
  return left < x && x < right && highest < y && y < top + OF.UPPER * (bottom - top);
}

/**
 * Windows of an image, level by level. A finer level follows while there is no face, or a small
 * one.
 */
class FinerWindows {
  isComplete = true; // false if a level was left out
  parts = 1; // number of windows along the longer side of the image

  /** @param sizes returns the sizes of the faces found so far, in pixels */
  constructor(
    private readonly image: Pixels,
    private readonly sizes: () => readonly number[],
    private readonly isThorough: boolean,
  ) {}

  *windows(): Generator<Corners> {
    for (let parts = 1; parts <= OF.MOST_PARTS; parts++) {
      this.parts = parts;
      const sizes = this.sizes();
      const smallest = sizes.length || parts !== 2 ? Math.min(...sizes) / reachOf(this.image) : 0;
      if (parts > 1 && !this.isThorough && smallest > LIMITS[`face_part${parts}` as "face_part2"]) {
        this.isComplete = false;
        return;
      }
      yield* windows(this.image, parts);
    }
  }
}

/**
 * Return log ratios of a mesh: height to width, depth to height, and eye distance in the image to
 * that in space.
 */
function meshProportions({ keypoints }: FaceObservation): Features {
  const at = (k: number) => keypoints.subarray(3 * k, 3 * k + 3);
  const ends = [OF.BROW_AND_CHIN, OF.CHEEKS, OF.EYE_CORNERS].map(([a, b]): Points => [
    at(a!),
    at(b!),
  ]) as [Points, Points, Points];
  const [height, width, eyes] = ends.map(([a, b]) => lengthOf(a, b)) as [number, number, number];
  const [, cheeks, [right, left]] = ends;
  const depth = lengthOf(
    at(OF.NOSE),
    cheeks[0].map((value, i) => (value + cheeks[1][i]!) / 2),
  );
  return {
    long: Math.log(height / width),
    depth: Math.log(depth / height),
    turned: Math.log(Math.hypot(right[0]! - left[0]!, right[1]! - left[1]!) / eyes + OF.MIN_SHARE),
  };
}

type Points = readonly [Float32Array, Float32Array];

/** Return the distance of two keypoints in space, at least a pixel. */
const lengthOf = (a: Float32Array, b: Float32Array): number =>
  Math.max(Math.hypot(...a.map((value, i) => value - b[i]!)), 1);

/**
 * Return the boxes of faces with the scores of their detector, as published and by the full-range
 * detector in windows.
 */
export async function searchBoxes(
  image: Pixels,
  boxes: FaceBoxes,
  detector: SingleShotDetector,
  limits: Limits,
): Promise<Found<FaceObservation>> {
  const found: FaceObservation[] = [];
  for (const box of await boxes.find(image, limits.published))
    found.push(await boxes.observe(image, box));
  const levels = new FinerWindows(
    image,
    () => found.map(({ keypoints }) => Math.abs(keypoints[4]! - keypoints[1]!)),
    limits.isThorough,
  );
  for (const window of levels.windows()) {
    for (const face of await detector.find(
      cut(image, window),
      Math.max(limits.published, OF.BOX_SCORE),
    )) {
      const observation = boxObservation(face, window[0], window[1]);
      const [left, top, , right, bottom] = observation.keypoints as unknown as [
        number,
        number,
        number,
        number,
        number,
      ];
      const isKnown = found.some((other) => isSameInstance(observation.keypoints, other.keypoints));
      if (!cutsOff(window, [left, top, right, bottom], image) && !isKnown) found.push(observation);
    }
  }
  return { found: found.sort((a, b) => b.score - a.score), complete: levels.isComplete };
}
