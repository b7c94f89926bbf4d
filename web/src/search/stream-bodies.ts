/** Define how bodies are found in the windows of a stream, and how they are verified. */

import type { Bodies, BodyObservation } from "../body.js";
import type { RotatedBox } from "../boxes.js";
import { FINDERS, constants } from "../data.js";
import { sizeOf } from "../observations.js";
import type { Pixels } from "../pixels.js";
import type { SingleShotDetector } from "../ssd.js";
import type { Track } from "../tracking.js";
import { newCandidate } from "./agenda.js";
import { bodyFeatures } from "./bodies.js";
import { faceScore, recordOf, type Finder, type Record, type Source } from "./finders.js";
import * as geometry from "./geometry.js";
import type { Head, Proposal, Window } from "./geometry.js";
import { LIMITS, logit, scoreOf } from "./score.js";

const OF = constants.search.stream_bodies;
const { PLACEMENTS } = constants.search.bodies;

type BodyTrack = Track<BodyObservation>;

/** Head with the window and the frame in which it was detected. */
interface WindowHead {
  readonly head: Head;
  readonly window: string;
  readonly frame: number;
}

/**
 * Propose people, and bodies below faces. These are observed with all other heads covered, as in stills.
 *
 * Both networks of bodies can mistake a hand for a body. The face detector must therefore detect a face at the head. A body
 * without a face requires a high score as in stills.
 */
export class BodyFinder implements Finder<BodyObservation> {
  readonly min_presence = FINDERS.BodyFinder.min_presence;
  readonly inferences = FINDERS.BodyFinder.inferences;
  readonly refresh_frames = FINDERS.BodyFinder.refresh_frames;
  readonly sources: readonly Source[] = [
    { find: (image, window) => this.#bodiesBelowFaces(image, window), parts: constants.search.stream_finders.PARTS, cost: OF.FACE_COST },
    { find: (image, window) => this.#peopleIn(image, window), parts: OF.PEOPLE_PARTS, cost: 1, isFewer: true },
  ];
  readonly boxAfter = geometry.boxAroundBody;
  readonly isSame = geometry.isSameTorso;
  readonly #faces: SingleShotDetector;
  readonly #bodies: Bodies;
  #records = new WeakMap<object, Record>();
  #frame = 0;
  #heads: WindowHead[] = [];

  constructor(faces: SingleShotDetector, bodies: Bodies) {
    [this.#faces, this.#bodies] = [faces, bodies];
  }

  /** Forget the previous stream. */
  reset(): void {
    [this.#records, this.#frame, this.#heads] = [new WeakMap(), 0, []];
  }

  /** Forget the heads of tracked bodies, and old ones. */
  beginFrame(tracked: readonly BodyObservation[]): void {
    this.#frame += 1;
    this.#heads = this.#heads.filter(({ head, frame }) =>
      this.#frame - frame < OF.HEAD_FRAMES && !tracked.some((body) => geometry.isHeadOf(body, head)));
  }

  async #peopleIn(image: Pixels, window: Window): Promise<Proposal[]> {
    const found = await this.#bodies.people(geometry.partOf(image, window), LIMITS.person);
    return found.map(({ box, score }) => ({ box: geometry.placed(box, window), score, votes: new Set([geometry.keyOf(window)]) }));
  }

  async #bodiesBelowFaces(image: Pixels, window: Window): Promise<Proposal[]> {
    const found = await geometry.headsIn(this.#faces, image, window, OF.HEAD_SCORE);
    const name = geometry.keyOf(window);
    this.#heads = this.#heads.filter((other) => other.window !== name);
    this.#heads.push(...found.map((head) => ({ head, window: name, frame: this.#frame })));
    return found.map((head) => proposalBelow(head, 0));
  }

  observe(image: Pixels, box: RotatedBox): Promise<BodyObservation> {
    return this.#bodies.observe(image, box);
  }

  /** Return the next placement below the head. */
  alternatives({ below }: Proposal): Proposal[] {
    return below && below.placement + 1 < PLACEMENTS.length ? [proposalBelow(below.head, below.placement + 1)] : [];
  }

  /** Check whether a proposal has the head or, without one, the hips of a tracked body. */
  isTracked({ box, below }: Proposal, tracked: BodyObservation): boolean {
    if (below) return geometry.isHeadOf(tracked, below.head);
    const own = geometry.boxAroundBody(tracked);
    return Math.hypot(own.cx - box.cx, own.cy - box.cy) < LIMITS.same_hips * own.width;
  }

  /** Score a detected person as in stills, and a body below a face if the face is its own. */
  async score(image: Pixels, proposal: Proposal, first: BodyObservation, second: BodyObservation): Promise<number> {
    const agreement = geometry.bodyOks(first, second, image, true);
    if (!proposal.below) return scoreOf("body", bodyFeatures(newCandidate([first, second], proposal, agreement), image, []));
    if (!geometry.isHeadOf(second, proposal.below.head)) return 0;
    return scoreOf("stream_body", { score: logit(Math.max(first.score, second.score) * agreement) });
  }

  imageForProposal(image: Pixels, { box, below }: Proposal, tracked: readonly BodyObservation[]): Pixels {
    return below ? this.#withoutOtherHeads(image, box, tracked, below.head) : image;
  }

  /** Return the image with the heads of all other people covered. */
  imageForTrack(image: Pixels, track: BodyTrack, tracks: readonly BodyTrack[]): Pixels {
    const others = visibleOthers(track, tracks).map(({ observation }) => observation);
    return this.#withoutOtherHeads(image, track.box, others, geometry.headOfBody(track.observation));
  }

  #withoutOtherHeads(image: Pixels, box: RotatedBox, people: readonly BodyObservation[], own: Head): Pixels {
    return geometry.withoutOtherHeads(image, box, [...this.#heads.map(({ head }) => head), ...people.map(geometry.headOfBody)], own);
  }

  /** Check whether a new detection is a body. A doubtful body must be detected in several frames. */
  async acceptsNew(image: Pixels, observation: BodyObservation, detections: number, proposal: Proposal | null): Promise<boolean> {
    const known = Math.max(0, ...this.#heads.filter(({ head }) => geometry.isHeadOf(observation, head)).map(({ head }) => head.score));
    if (known > OF.CERTAIN_FACE && (proposal === null || detections >= OF.FACE_DETECTIONS)) return true;
    const face = await this.#faceScore(image, observation);
    if (face > 0) return face > OF.CERTAIN_FACE || detections >= OF.FACE_DETECTIONS;
    if (detections < OF.FACELESS_DETECTIONS) return false;
    if (proposal?.below) return false;
    return (proposal === null ? await this.#facelessScore(image, observation) : observation.score) > LIMITS.faceless;
  }

  /**
   * Return a tracked body, or null if it is no longer one.
   *
   * A body of low presence, or whose box now shows another tracked person, stays while its face is detected.
   */
  async verify(image: Pixels, track: BodyTrack, current: BodyObservation, tracks: readonly BodyTrack[]): Promise<BodyObservation | null> {
    const [before, record] = [track.observation, recordOf(this.#records, track)];
    let [observation, isSure] = [current, false];
    const isAnother = isAnotherPerson(track, observation, tracks);
    const agreement = isAnother ? 0 : geometry.bodyOks(before, observation, image);
    record.presence += OF.MEMORY * (observation.score * agreement - record.presence);
    if (isAnother || observation.score < OF.FAINT_PRESENCE) {
      const faced = await this.#firstWithFace(image, isAnother ? [before] : [observation, before]);
      if (faced === null) return isAnother ? null : observation;
      [observation, isSure] = [{ ...faced, score: scoreOf("stream_body", { score: logit(record.presence) }) }, true];
    }
    if (!record.isDue()) return observation;
    const hasFace = isSure || (await this.#faceScore(image, observation)) > 0;
    const evidence = hasFace ? 1 : await this.#facelessScore(image, observation);
    return record.isKept(evidence > LIMITS.faceless, evidence > LIMITS.faceless_kept) ? observation : null;
  }

  async #firstWithFace(image: Pixels, bodies: readonly BodyObservation[]): Promise<BodyObservation | null> {
    for (const body of bodies) if ((await this.#faceScore(image, body)) > 0) return body;
    return null;
  }

  #faceScore(image: Pixels, { keypoints }: BodyObservation): Promise<number> {
    const size = Math.max(sizeOf(keypoints, 2, geometry.HEAD), OF.MIN_HEAD_PX);
    return faceScore(this.#faces, image, geometry.meanOf(keypoints, geometry.HEAD), size, OF.ON_BODY);
  }

  /** Return the score of a body without a face, as in stills, from two inferences; 0 with the head outside. */
  async #facelessScore(image: Pixels, observation: BodyObservation): Promise<number> {
    const [x, y] = geometry.meanOf(observation.keypoints, geometry.HEAD);
    if (!(x > 0 && x < image.width && y > 0 && y < image.height)) return 0;
    const again = await this.#bodies.observe(image, geometry.boxAroundBody(observation));
    const proposal = { score: OF.FACELESS_DETECTION, votes: new Set([""]) };
    const candidate = newCandidate([again, observation], proposal, geometry.bodyOks(observation, again, image));
    return scoreOf("body", bodyFeatures(candidate, image, []));
  }
}

function proposalBelow(head: Head, placement: number): Proposal {
  return { box: geometry.boxBelow(head, placement), score: head.score / (1 + placement), votes: new Set(), below: { head, placement } };
}

function visibleOthers(track: BodyTrack, tracks: readonly BodyTrack[]): BodyTrack[] {
  return tracks.filter((other) => other !== track && other.occludedS === null);
}

/** Check whether the head of a body moved to another person's head. */
function isAnotherPerson(track: BodyTrack, observation: BodyObservation, tracks: readonly BodyTrack[]): boolean {
  if (geometry.isHeadOf(observation, geometry.headOfBody(track.observation))) return false;
  return visibleOthers(track, tracks).some((other) => geometry.isHeadOf(observation, geometry.headOfBody(other.observation)));
}
