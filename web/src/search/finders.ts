/**
 * Define how hands, faces and bodies are found in the windows of a stream, and how they are
 * verified.
 */

import type { Bodies, BodyObservation } from "../body.js";
import { FINDERS, constants } from "../data.js";
import { boxAroundDetection, type FaceMeshes, type FaceObservation } from "../face.js";
import { boxFromPalm, type HandObservation, type Hands } from "../hands.js";
import {
  cornersIou,
  cornersOf,
  distance,
  iou,
  meanOf,
  sizeOf,
  squareAround,
  type Corners,
  type Observation,
  type Point,
  type RotatedBox,
} from "../observations.js";
import { cut, type Pixels } from "../pixels.js";
import type { SingleShotDetector } from "../ssd.js";
import type { Track } from "../tracking.js";
import { bodyFeatures, clippedBox, cropOf, onlyBox } from "./bodies.js";
import { faceFeatures, findPeople } from "./faces.js";
import * as geometry from "./geometry.js";
import { LIMITS, logit, scoreOf, type Head, type Proposal } from "./geometry.js";
import type { PeopleNetwork } from "./network.js";
import { newCandidate } from "./stills.js";
import type { Finder } from "./streams.js";

const OF = constants.search.stream_finders;
const { PARTS, TRACKED_IOU } = constants.search.streams;
const { PLACEMENTS } = constants.search.bodies;
const { PRESENT } = constants.search.geometry;

/** Proposal of a tracked body. */
const NO_PROPOSAL: Proposal = {
  box: { cx: 0, cy: 0, width: 1, height: 1, rotation: 0 },
  score: 0.5,
  source: "track",
};

type BodyTrack = Track<BodyObservation>;

/** Head with the window and the frame in which it was detected. */
type WindowHead = { readonly head: Head; readonly window: string; readonly frame: number };

/** History of a tracked instance: when it is verified next, and whether it stays. */
class TrackRecord {
  #frames = 0;
  #failures = 0;
  #successes = 0;

  /** @param presence mean presence of the last frames */
  constructor(public presence: number) {}

  /** Count a frame and return whether the track is verified in it. */
  isDue(): boolean {
    this.#frames += 1;
    if (
      this.#frames <
      (this.#successes && !this.#failures ? OF.PASSED_CHECK_INTERVAL : OF.CHECK_INTERVAL)
    )
      return false;
    this.#frames = 0;
    return true;
  }

  /** Return whether the track stays after a verification. A sure one is verified again later. */
  isKept(isSure: boolean, hasPassed: boolean): boolean {
    this.#successes += Number(isSure);
    this.#failures = hasPassed ? 0 : this.#failures + 1;
    return (
      this.#failures <
      Math.min(OF.MIN_FAILURES + OF.FAILURES_PER_SUCCESS * this.#successes, OF.MAX_FAILURES)
    );
  }
}

/** Return a function that returns the record of a track. */
function newRecords(): (track: { readonly observation: Observation }) => TrackRecord {
  const records = new WeakMap<object, TrackRecord>();
  return (track) => {
    const record = records.get(track) ?? new TrackRecord(track.observation.score);
    records.set(track, record);
    return record;
  };
}

/**
 * Return a finder that proposes hands by the palm detector and verifies them in the mirrored image.
 */
export function handFinder(
  palms: SingleShotDetector,
  hands: Hands,
  minDetection: number,
): Finder<HandObservation> {
  return {
    ...FINDERS.HandFinder,
    ...finderOf(hands),
    sources: [
      {
        parts: PARTS,
        cost: 1,
        async find(image, window) {
          const found = await palms.find(
            cut(image, window),
            LIMITS.stream_palm_share * minDetection,
          );
          return geometry.proposalsIn(window, found, (palm) => boxFromPalm(palm), "palm");
        },
      },
    ],
    async score(image, _, first, second) {
      const mirrored = await hands.observeMirrored(image, hands.boxAfter(second));
      return scoreOf("stream_hand", {
        presence: logit(Math.min(first.score, second.score)),
        mirrored: logit(mirrored.score),
      });
    },
  };
}

/**
 * Return a finder that proposes and verifies faces by the full-range detector, because the mesh
 * network can mistake a hand for a face.
 */
export function faceFinder(
  faces: SingleShotDetector,
  meshes: FaceMeshes,
  people: () => Promise<PeopleNetwork>,
  minDetection: number,
): Finder<FaceObservation> {
  const recordOf = newRecords();
  const minScore = LIMITS.face_share * minDetection;

  const upright = async (image: Pixels, window: Corners) => {
    const part = cut(image, window);
    const found = await faces.find(part, minScore);
    for (const [k, face] of found.entries())
      found[k] = await meshes.turnedUpright(faces, part, face);
    return geometry.proposalsIn(window, found, boxAroundDetection, "face");
  };

  const turned = async (image: Pixels, window: Corners) => {
    const part = cut(image, window);
    const area = { ...squareAround(part.width, part.height), rotation: Math.PI };
    const found = await faces.findIn(part, area, minScore);
    return geometry.proposalsIn(window, found, boxAroundDetection, "face");
  };

  /** Check whether a face is detected at the position of a mesh, upright or in its crop. */
  const isDetected = async (image: Pixels, face: FaceObservation) => {
    const box = meshes.boxAfter(face);
    if (
      Math.abs(box.rotation) > Math.PI / 4 &&
      (await faces.findIn(image, box, OF.TURNED_SCORE)).length
    )
      return true;
    const [left, top, right, bottom] = cornersOf(face.keypoints);
    const centre: Point = [(left + right) / 2, (top + bottom) / 2];
    const size = Math.max(right - left, bottom - top);
    return (await faceScore(faces, image, centre, size, OF.ON_MESH)) > 0;
  };

  /**
   * Return the score of a face, as in stills if it is not detected again. The network for people
   * runs only if it decides.
   */
  const scoreOfFace = async (
    image: Pixels,
    proposal: Proposal,
    first: FaceObservation,
    second: FaceObservation,
  ) => {
    const agreement = geometry.oks(first.keypoints, second.keypoints, { hasMoved: true });
    const candidate = newCandidate([first, second], proposal, agreement);
    const features = faceFeatures(candidate, []);
    const score = scoreOf("stream_face", features);
    if (score > PRESENT && (await isDetected(image, second))) return score;
    const least = scoreOf("face", features);
    const most = scoreOf("face", { ...features, person: logit(1) });
    if (least > PRESENT || most < PRESENT) return least;
    return scoreOf("face", faceFeatures(candidate, await findPeople(image, await people())));
  };

  /** Check whether a mesh is a face as in stills, detected again in the turned image. */
  const isScored = async (image: Pixels, face: FaceObservation) => {
    const box = meshes.boxAfter(face);
    const side = OF.AROUND_CROP * box.width;
    const [found] = await faces.findIn(image, { ...box, width: side, height: side }, minScore);
    if (!found) return false;
    const proposal: Proposal = { box, score: found.score, source: "track" };
    return (await scoreOfFace(image, proposal, face, await meshes.observe(image, box))) > PRESENT;
  };

  const isFace = async (image: Pixels, face: FaceObservation) =>
    (await isDetected(image, face)) || isScored(image, face);

  return {
    ...FINDERS.FaceFinder,
    ...finderOf(meshes),
    sources: [
      { find: upright, parts: [1], cost: 1 },
      { find: turned, parts: [1], cost: 1 },
      { find: upright, parts: PARTS, cost: 1 },
      { find: turned, parts: [2], cost: 1 },
    ],
    score: scoreOfFace,
    acceptsNew: async (image, face, _, proposal) => proposal !== null || isFace(image, face),
    async verify(image, track, observation) {
      const record = recordOf(track);
      if (!record.isDue()) return observation;
      const hasPassed = await isFace(image, observation);
      return record.isKept(hasPassed, hasPassed) ? observation : null;
    },
  };
}

/** Return the functions that hands and faces share. */
function finderOf<O extends Observation>(kind: {
  observe(image: Pixels, box: RotatedBox): Promise<O>;
  boxAfter(observation: O): RotatedBox;
}): Pick<Finder<O>, "observe" | "boxAfter" | "isTracked" | "isSame"> {
  return {
    observe: (image, box) => kind.observe(image, box),
    boxAfter: (observation) => kind.boxAfter(observation),
    isTracked: ({ box }, tracked) => iou(box, kind.boxAfter(tracked)) > TRACKED_IOU,
    isSame: (observation, tracked) =>
      geometry.isSameInstance(observation.keypoints, tracked.keypoints),
  };
}

/**
 * Return a finder that proposes people, and bodies below faces. These are observed with all other
 * heads covered, as in stills.
 *
 * Both networks of bodies can mistake a hand for a body. Where the face detector detects no face at
 * the head, the network that proposes people and hands must therefore propose no hand there.
 */
export function bodyFinder(
  faces: SingleShotDetector,
  people: () => Promise<PeopleNetwork>,
  bodies: Bodies,
): Finder<BodyObservation> {
  const recordOf = newRecords();
  let frame = 0;
  let heads: WindowHead[] = [];

  const withoutOtherHeads = (
    image: Pixels,
    box: RotatedBox,
    others: readonly Head[],
    own: Head,
    minScore = 0,
  ) => {
    const found = heads.map(({ head }) => head).filter(({ score }) => score > minScore);
    const distinct = geometry.otherHeads([...found, ...others], own);
    return geometry.withoutOtherHeads(image, box, distinct, own);
  };

  const faceScoreOf = (image: Pixels, { keypoints }: BodyObservation) => {
    const size = Math.max(sizeOf(keypoints, 2, geometry.HEAD), OF.MIN_HEAD_PX);
    return faceScore(faces, image, meanOf(keypoints, geometry.HEAD), size, OF.ON_BODY);
  };

  /**
   * Return the score of a body as in stills, from two inferences; 0 for a hand that looks like a
   * body.
   */
  const personScoreOf = async (image: Pixels, body: BodyObservation) => {
    const window: Corners = [0, 0, image.width, image.height];
    const found = await (await people()).find(image, window, LIMITS.person, OF.HAND_SCORE);
    const all = await geometry.headsIn(faces, image, window, LIMITS.head);
    const again = await bodies.observe(image, geometry.boxAroundBody(body));
    const candidate = newCandidate(
      [body, again],
      NO_PROPOSAL,
      geometry.bodyOks(body, again, image),
    );
    const score = scoreOf("body", bodyFeatures(candidate, image, all, found.people));
    const around = clippedBox(body, image);
    const isHand = found.hands.some(
      ({ box }) => cornersIou(around, uprightSquare(box)) > OF.HAND_IOU,
    );
    return isHand && score < OF.SURE_BODY ? 0 : score;
  };

  const bodiesBelowFaces = async (image: Pixels, window: Corners) => {
    const found = await geometry.headsIn(faces, image, window, OF.HEAD_SCORE);
    const name = window.join();
    heads = [
      ...heads.filter((other) => other.window !== name),
      ...found.map((head) => ({ head, window: name, frame })),
    ];
    return found.map((head) => proposalBelow(head));
  };

  const peopleIn = async (image: Pixels, window: Corners) => {
    const found = await (await people()).find(image, window, LIMITS.stream_person);
    return found.people.map(({ score, box }): Proposal => ({
      box: cropOf(box),
      score,
      source: "person",
      person: box,
    }));
  };

  return {
    ...FINDERS.BodyFinder,
    sources: [
      { find: bodiesBelowFaces, parts: PARTS, cost: OF.FACE_COST },
      { find: peopleIn, parts: OF.PEOPLE_PARTS, cost: OF.PEOPLE_COST, isFewer: true },
    ],
    boxAfter: geometry.boxAroundBody,
    isSame: geometry.isSameTorso,
    reset() {
      [frame, heads] = [0, []];
    },
    beginFrame(tracked) {
      // forget the heads of tracked bodies, and old ones
      frame += 1;
      heads = heads.filter(
        (other) =>
          frame - other.frame < OF.HEAD_FRAMES &&
          !tracked.some((body) => geometry.isHeadOf(body, other.head)),
      );
    },
    observe(image, box, proposal, tracked) {
      const { head, person } = proposal;
      if (person) return bodies.observe(onlyBox(image, person), box);
      return bodies.observe(
        head
          ? withoutOtherHeads(image, proposal.box, tracked.map(geometry.headOfBody), head)
          : image,
        box,
      );
    },
    isTracked({ head, person }, tracked) {
      if (head) return geometry.isHeadOf(tracked, head);
      return (
        person !== undefined && cornersIou(person, cornersOf(tracked.keypoints)) > OF.TRACKED_IOU
      );
    },
    async score(image, { head }, first, second) {
      // of a person as in stills, of a body below a face if the face is its own
      const agreement = geometry.bodyOks(first, second, image, true);
      if (!head) return facelessScore(image, [first, second], agreement);
      return geometry.isHeadOf(second, head)
        ? scoreOf("stream_body", { score: logit(Math.max(first.score, second.score) * agreement) })
        : 0;
    },
    imageForTrack: (image, track, tracks) =>
      withoutOtherHeads(
        image,
        track.box,
        otherHeads(track, tracks),
        geometry.headOfBody(track.observation),
        OF.CERTAIN_FACE, // a less certain face is often a hand or a foot of the person
      ),
    async acceptsNew(image, observation, detections, proposal) {
      // a doubtful body of windows must be detected in several frames
      const known = Math.max(
        0,
        ...heads
          .filter(({ head }) => geometry.isHeadOf(observation, head))
          .map(({ head }) => head.score),
      );
      if (known > OF.CERTAIN_FACE && proposal === null) return true;
      const face = await faceScoreOf(image, observation);
      if (face > OF.CERTAIN_FACE || (face > 0 && detections >= OF.FACE_DETECTIONS)) return true;
      // a face, or a hand of an earlier frame
      const wasFace = known > OF.CERTAIN_FACE && detections >= OF.FACE_DETECTIONS;
      if (proposal && !wasFace) {
        if (face > 0 || proposal.head || detections < OF.FACELESS_DETECTIONS) return false;
        if (observation.score <= LIMITS.faceless) return false;
      }
      return (await personScoreOf(image, observation)) > OF.MIN_BODY;
    },
    async verify(image, track, current, tracks) {
      // a body of low presence, or that shows another person, stays while its face is detected
      const [before, record] = [track.observation, recordOf(track)];
      let [observation, isSure] = [current, false];
      const isAnother =
        !geometry.isHeadOf(current, geometry.headOfBody(before)) &&
        otherHeads(track, tracks).some((head) => geometry.isHeadOf(current, head));
      const agreement = isAnother ? 0 : geometry.bodyOks(before, observation, image);
      record.presence += OF.MEMORY * (observation.score * agreement - record.presence);
      if (isAnother || observation.score < OF.FAINT_PRESENCE) {
        let faced: BodyObservation | null = null;
        for (const body of isAnother ? [before] : [observation, before])
          if (faced === null && (await faceScoreOf(image, body)) > 0) faced = body;
        if (faced === null) return isAnother ? null : observation;
        [observation, isSure] = [
          { ...faced, score: scoreOf("stream_body", { score: logit(record.presence) }) },
          true,
        ];
      }
      if (!record.isDue()) return observation;
      const hasFace = isSure || (await faceScoreOf(image, observation)) > 0;
      const evidence = hasFace ? 1 : await personScoreOf(image, observation);
      return record.isKept(evidence > LIMITS.faceless, evidence > OF.MIN_BODY) ? observation : null;
    },
  };
}

/** Return the upright square of a box's size. */
function uprightSquare({ cx, cy, width }: RotatedBox): Corners {
  return [cx - width / 2, cy - width / 2, cx + width / 2, cy + width / 2];
}

/** Return the score of a body without a face from two observations. */
function facelessScore(image: Pixels, views: BodyObservation[], agreement: number): number {
  return scoreOf("faceless", bodyFeatures(newCandidate(views, NO_PROPOSAL, agreement), image, []));
}

/** Return the proposal of a body below a head, whose alternatives are the further placements. */
function proposalBelow(head: Head, placement = 0): Proposal {
  const otherwise =
    placement + 1 < PLACEMENTS.length ? proposalBelow(head, placement + 1) : undefined;
  return {
    box: geometry.boxBelow(head, placement),
    score: head.score / (1 + placement),
    source: "head",
    head,
    otherwise,
  };
}

/** Return the heads of the other visible people. */
function otherHeads(track: BodyTrack, tracks: readonly BodyTrack[]): Head[] {
  return tracks
    .filter((other) => other !== track && other.occludedS === null)
    .map(({ observation }) => geometry.headOfBody(observation));
}

/**
 * Return the score of the face that a detector finds at a head of this size in pixels; 0 if it
 * finds none.
 */
async function faceScore(
  faces: SingleShotDetector,
  image: Pixels,
  centre: Point,
  size: number,
  fit: typeof OF.ON_MESH,
): Promise<number> {
  const [maxDistance, [minWidth, maxWidth], minScore] = fit as [number, [number, number], number];
  const window = geometry.windowAround(centre, OF.WINDOW * size, image);
  if (window === null) return 0;
  for (const { score, box } of await faces.find(cut(image, window), minScore)) {
    const middle: Point = [window[0] + (box[0] + box[2]) / 2, window[1] + (box[1] + box[3]) / 2];
    const width = (box[2] - box[0]) / size;
    if (distance(middle, centre) < maxDistance * size && minWidth < width && width < maxWidth)
      return score;
  }
  return 0;
}
