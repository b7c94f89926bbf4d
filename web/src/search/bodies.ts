/** Search an image for bodies: proposals of the person detector and of faces, verified by two inferences. */

import type { Bodies, BodyObservation, Person } from "../body.js";
import { iou, latestBoxes, type RotatedBox } from "../boxes.js";
import { constants } from "../data.js";
import { distance, overlapOverSmaller, sizeOf } from "../observations.js";
import type { Pixels } from "../pixels.js";
import { Agenda, addVotes, newCandidate, isCertain, lastView, presenceOf, rate, withoutDuplicates, type Candidate, type Found } from "./agenda.js";
import { foundSoFar, type FaceCandidate, type FaceSearch } from "./faces.js";
import * as geometry from "./geometry.js";
import type { Head, Hint, Proposal, Window } from "./geometry.js";
import type { Limits } from "./hands.js";
import { LIMITS, logit, type Features } from "./score.js";

const OF = constants.search.bodies;
const { PRESENT, TORSO } = constants.search.geometry;
const FACE = "face";

type BodyCandidate = Candidate<BodyObservation>;

/** Searches one image for bodies. */
export class BodySearch {
  /** Faces that `search` found. */
  faces: readonly FaceCandidate[] = [];
  readonly #image: Pixels;
  readonly #bodies: Bodies;
  readonly #faces: FaceSearch;
  readonly #limits: Limits;
  readonly #agenda: Agenda;
  readonly #candidates: BodyCandidate[] = [];
  readonly #proposed: RotatedBox[] = [];
  readonly #hints: Hint[] = [];
  #heads: readonly Head[] = [];

  constructor(image: Pixels, bodies: Bodies, faces: FaceSearch, limits: Limits) {
    [this.#image, this.#bodies, this.#faces, this.#limits] = [image, bodies, faces, limits];
    this.#agenda = new Agenda("body", limits.budget);
  }

  /** Return all candidates with their scores, best first. */
  async search(): Promise<Found<BodyObservation>> {
    const { enough } = this.#limits.budget;
    await this.#searchPeople(geometry.fullWindow(this.#image), true);
    this.#agenda.add("faces", () => this.#searchFaces());
    for (const window of geometry.windows(this.#image, 2, true)) {
      this.#agenda.add("part2", () => this.#searchPeople(window), () => this.#windowFeatures(window));
    }
    await this.#agenda.run(() => {
      if (this.#candidates.filter(isCertain).length < enough) return false;
      return this.#best().filter(({ score }) => score > LIMITS.confident).length >= enough;
    });
    return { candidates: this.#best(), complete: this.#agenda.complete };
  }

  async #searchFaces(): Promise<void> {
    const { candidates } = await this.#faces.search(this.#image);
    this.faces = candidates.filter(({ score }) => score > LIMITS.face);
    this.#heads = this.faces.map((candidate) => geometry.headFromMesh(candidate.score, lastView(candidate).keypoints));
    for (const head of this.#heads) this.#addBelow(head, 0);
  }

  #addBelow(head: Head, placement: number): void {
    const features = { head: logit(head.score), heads: Math.log(this.#heads.length) };
    this.#agenda.add(`head${placement}`, () => this.#verifyBelow(head, placement), () => features);
  }

  async #verifyBelow(head: Head, placement: number): Promise<void> {
    if (this.#certainBodies().some((body) => geometry.isHeadOf(body, head))) return;
    const box = geometry.boxBelow(head, placement);
    const masked = geometry.withoutOtherHeads(this.#image, box, this.#heads, head);
    const candidate = await this.#verified(masked, { box, score: head.score, votes: new Set([FACE]) });
    const isOwn = candidate !== null && geometry.isHeadOf(lastView(candidate), head);
    if (isOwn) this.#candidates.push(candidate);
    if (!(isOwn && isCertain(candidate)) && placement + 1 < OF.PLACEMENTS.length) this.#addBelow(head, placement + 1);
  }

  /** Propose the people in a window, and verify those of the published search. */
  async #searchPeople(window: Window, isPublished = false): Promise<void> {
    const minScores = [this.#limits.published, LIMITS.person, LIMITS.hint];
    const [asPublished, people, faint] = await this.#bodies.peopleFrom(geometry.partOf(this.#image, window), minScores) as [Person[], Person[], Person[]];
    this.#hints.push(...geometry.hintsIn(window, faint.map(({ score, middle }) => ({ score, at: middle })), LIMITS.person));
    const key = geometry.keyOf(window);
    const first = geometry.proposalsIn(window, isPublished ? asPublished : [], ({ box }) => box, key, geometry.PUBLISHED);
    const boxes = first.map((proposal) => ({ ...proposal.box, proposal }));
    for (const { proposal } of latestBoxes(boxes, (box, other) => this.#bodies.isSameInstance(box, other))) {
      this.#proposed.push(proposal.box);
      await this.#verify(proposal);
    }
    for (const proposal of geometry.proposalsIn(window, people, ({ box }) => box, key)) {
      const { box } = proposal;
      const isSized = box.width > 8 && box.width < 6 * geometry.longestOf(this.#image);
      if (!isSized || this.#proposed.some((other) => geometry.isNear(box, other))) continue;
      this.#proposed.push(box);
      this.#agenda.add("person", () => this.#verifyUnknown(proposal), () => this.#proposalFeatures(proposal));
    }
  }

  /** Verify a proposal if it is not at the hips of a certain body, which otherwise gets its votes. */
  async #verifyUnknown(proposal: Proposal): Promise<void> {
    const known = this.#candidates.find((candidate) => isCertain(candidate) && geometry.hasHipsOf(proposal, lastView(candidate)));
    if (known) addVotes(known, proposal.votes, proposal.score);
    else await this.#verify(proposal);
  }

  async #verify(proposal: Proposal): Promise<void> {
    const candidate = await this.#verified(this.#image, proposal);
    if (candidate) this.#candidates.push(candidate);
  }

  /** Observe a proposal and the box from its keypoints. Return null if there is no body. */
  async #verified(image: Pixels, proposal: Proposal): Promise<BodyCandidate | null> {
    const first = await this.#bodies.observe(image, proposal.box);
    if (first.score < LIMITS.body_seen) return null;
    const second = await this.#bodies.observe(image, geometry.boxAroundBody(first));
    const isPublished = proposal.votes.has(geometry.PUBLISHED) && first.score > PRESENT;
    if (second.score < LIMITS.body_seen && !isPublished) return null;
    const views = isPublished ? [second, first] : [first, second];
    return newCandidate(views, proposal, geometry.bodyOks(first, second, image), isPublished);
  }

  #certainBodies(): BodyObservation[] {
    return this.#candidates.filter(isCertain).map(lastView);
  }

  /** Return the features of the expected gain of a proposal. */
  #proposalFeatures({ box, score }: Proposal): Features {
    const certain = this.#certainBodies();
    return {
      detection: logit(score),
      taken: Number(certain.some((body) => iou(geometry.boxAroundBody(body), box) > OF.OVERLAP)),
      many: Number(this.#proposed.length > OF.MANY),
      faceless: Number(certain.length > 0 && this.#heads.length === 0),
    };
  }

  /** Return the features of the expected gain of a window. */
  #windowFeatures(window: Window): Features {
    const certain = this.#certainBodies();
    const free = this.#heads.filter((head) => !certain.some((body) => geometry.isHeadOf(body, head)));
    return {
      ...foundSoFar(certain.map(({ keypoints }) => sizeOf(keypoints)), this.#image),
      hint: geometry.hintScore(window, this.#hints),
      heads: Number(free.some(({ middle }) => geometry.hasPoint(window, middle))),
      body: Number(certain.some(({ keypoints }) => geometry.hasPoint(window, geometry.meanOf(keypoints, TORSO)))),
      faceless: Number(certain.length > 0 && this.#heads.length === 0),
    };
  }

  /** Return one candidate per person, best first. */
  #best(): BodyCandidate[] {
    for (const candidate of this.#candidates) {
      candidate.features = bodyFeatures(candidate, this.#image, this.#heads);
      rate(candidate, candidate.features.own_head! >= 0 ? "body_faced" : "body");
    }
    return withoutDuplicates(this.#candidates, isSamePerson);
  }
}

/** Return the features of the score of a body; `own_head` is the index of its head, or -1. */
export function bodyFeatures(candidate: BodyCandidate, { width, height }: Pixels, heads: readonly Head[]): Features {
  const body = lastView(candidate);
  const { keypoints, visibility } = body;
  const isInside = Array.from(visibility, (_, k) => {
    const [x, y] = geometry.pointAt(keypoints, k);
    return Number(x > 0 && x < width && y > 0 && y < height);
  });
  const torso = geometry.torsoSize(body);
  const off = (head: Head) => geometry.headDistance(body, head.middle) / geometry.heightOf(head);
  const own = heads.filter((head) => geometry.isHeadOf(body, head)).sort((a, b) => off(a) - off(b))[0];
  return {
    own_head: own ? heads.indexOf(own) : -1,
    lower: logit(presenceOf(candidate)),
    upper: logit(Math.max(...candidate.views.map(({ score }) => score))),
    agreement: logit(candidate.agreement),
    detection: candidate.votes.has(FACE) ? 0 : logit(candidate.detection),
    from_face: Number(candidate.votes.has(FACE)),
    core: geometry.mean(TORSO.map((k) => visibility[k]!)),
    visible: geometry.mean(visibility),
    heatmap: body.heatmapPeak,
    inside: geometry.mean(isInside),
    size: Math.log(sizeOf(keypoints) / Math.max(width, height)),
    votes: Math.log(candidate.votes.size),
    neck: own ? neckFit(body, own) : 0,
    head_size: own ? Math.abs(Math.log(geometry.heightOf(geometry.headOfBody(body)) / geometry.heightOf(own))) : 0,
    torso: own ? Math.min(Math.log(torso / geometry.heightOf(own)), 1) : 0,
  };
}

/** Check whether two candidates are the same person. The score of `a` is lower. */
function isSamePerson(a: BodyCandidate, b: BodyCandidate): boolean {
  const [mine, other] = [a.features.own_head!, b.features.own_head!];
  const [first, second] = [lastView(a), lastView(b)];
  const away = geometry.torsoDistance(first, second);
  if ((mine >= 0 && mine === other) || away < LIMITS.same_person) return true;
  if (mine < 0 && away < LIMITS.near_torso && overlapOverSmaller(first.keypoints, second.keypoints) > LIMITS.inside) return true;
  return Math.min(mine, other) < 0 && geometry.isSameHead(first, second);
}

/** Return how well the position of the shoulders fits a head, 0..1. */
function neckFit({ keypoints }: BodyObservation, head: Head): number {
  const off = distance(geometry.meanOf(keypoints, TORSO.slice(0, 2)), geometry.pointBelow(head, OF.NECK)) / geometry.heightOf(head);
  return Math.exp(-((off / OF.NECK_TOLERANCE) ** 2) / 2);
}
