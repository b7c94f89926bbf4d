/** Bodies of an image: proposals of the person detector and of faces, verified by two runs of the landmark network. */

import type { Bodies, BodyObservation, Person } from "../body.js";
import { iou, latestBoxes, type RotatedBox } from "../boxes.js";
import { constants } from "../data.js";
import { distance, overlapOverSmaller, sizeOf } from "../observations.js";
import type { Pixels } from "../pixels.js";
import { Agenda, addVotes, findOf, isPlain, lastOf, presenceOf, rate, withoutSame, type Find, type Found } from "./agenda.js";
import { addWindows, foundSoFar, type FaceFind, type FaceSearch } from "./faces.js";
import * as place from "./geometry.js";
import type { Head, Hint, Proposal, Window } from "./geometry.js";
import type { Limits } from "./hands.js";
import { LIMITS, logit, type Features } from "./score.js";

const OF = constants.search.bodies;
const FACE = "face";
/** Vote of what the published search looks at. */
const PUBLISHED = "published";

type BodyFind = Find<BodyObservation>;

/** The search for the bodies of one image. */
export class BodySearch {
  /** Faces found on the way, once `search` has run. */
  faces: readonly FaceFind[] = [];
  readonly #image: Pixels;
  readonly #bodies: Bodies;
  readonly #faces: FaceSearch;
  readonly #limits: Limits;
  readonly #agenda: Agenda;
  readonly #finds: BodyFind[] = [];
  readonly #looked: RotatedBox[] = [];
  readonly #hints: Hint[] = [];
  #heads: readonly Head[] = [];

  constructor(image: Pixels, bodies: Bodies, faces: FaceSearch, limits: Limits) {
    [this.#image, this.#bodies, this.#faces, this.#limits] = [image, bodies, faces, limits];
    this.#agenda = new Agenda("body", limits.budget);
  }

  /** Return every candidate with its score, best first. */
  async search(): Promise<Found<BodyObservation>> {
    const { enough } = this.#limits.budget;
    await this.#lookForPeople(place.wholeOf(this.#image), true);
    this.#agenda.add("faces", () => this.#lookForFaces());
    const look = (window: Window) => this.#lookForPeople(window);
    addWindows(this.#agenda, this.#image, OF.PARTS, look, (window) => this.#features(window), true);
    await this.#agenda.run(() => {
      if (this.#finds.filter(isPlain).length < enough) return false;
      return this.#best().filter(({ score }) => score > LIMITS.confident).length >= enough;
    });
    return { finds: this.#best(), complete: this.#agenda.complete };
  }

  async #lookForFaces(): Promise<void> {
    const { finds } = await this.#faces.search(this.#image);
    this.faces = finds.filter(({ score }) => score > LIMITS.face);
    this.#heads = this.faces.map((find) => place.headFromMesh(find.score, lastOf(find).keypoints));
    for (const head of this.#heads) this.#addBelow(head, 0);
  }

  #addBelow(head: Head, placement: number): void {
    const features = { head: logit(head.score), heads: Math.log(this.#heads.length) };
    this.#agenda.add(`head${placement}`, () => this.#lookBelow(head, placement), () => features);
  }

  async #lookBelow(head: Head, placement: number): Promise<void> {
    if (this.#finds.some((find) => isPlain(find) && place.isHeadOf(lastOf(find), head))) return;
    const box = place.boxBelow(head, placement);
    const alone = place.withoutOtherHeads(this.#image, box, this.#heads, head);
    const find = await this.#verify(alone, { box, score: head.score, votes: new Set([FACE]) });
    const isOwn = find !== null && place.isHeadOf(lastOf(find), head);
    if (isOwn) this.#finds.push(find);
    if (!(isOwn && isPlain(find)) && placement + 1 < OF.PLACEMENTS.length) this.#addBelow(head, placement + 1);
  }

  async #lookForPeople(window: Window, isWhole = false): Promise<void> {
    const least = [this.#limits.published, LIMITS.person, LIMITS.hint];
    const [published, people, faint] = await this.#bodies.peopleFrom(place.partOf(this.#image, window), least) as [Person[], Person[], Person[]];
    this.#hints.push(...place.hintsIn(window, faint.map(({ score, middle }) => ({ score, at: middle })), LIMITS.person));
    const first = isWhole ? published.map(({ box, score }) => ({ ...box, score })) : [];
    for (const { score, ...box } of latestBoxes(first, (one, other) => this.#bodies.isSameInstance(one, other))) {
      this.#looked.push(box);
      const find = await this.#verify(this.#image, { box, score, votes: new Set([place.keyOf(window), PUBLISHED]) });
      if (find) this.#finds.push(find);
    }
    for (const person of people) {
      const box = place.placed(person.box, window);
      const isSized = box.width > 8 && box.width < 6 * place.longestOf(this.#image);
      if (!isSized || this.#looked.some((other) => place.isNear(box, other))) continue;
      this.#looked.push(box);
      const proposal = { box, score: person.score, votes: new Set([place.keyOf(window)]) };
      this.#agenda.add("person", () => this.#look(proposal), () => this.#seenThere(proposal));
    }
  }

  async #look(proposal: Proposal): Promise<void> {
    const { box, score, votes } = proposal;
    const known = this.#finds.find((find) => {
      const own = place.boxAroundBody(lastOf(find));
      return isPlain(find) && Math.hypot(own.cx - box.cx, own.cy - box.cy) < LIMITS.same_hips * own.width;
    });
    if (known) return addVotes(known, votes, score);
    const find = await this.#verify(this.#image, proposal);
    if (find) this.#finds.push(find);
  }

  /** Return what the expected finds of a proposal are made of. */
  #seenThere({ box, score }: Proposal): Features {
    const isTaken = this.#finds.some((find) => isPlain(find) && iou(place.boxAroundBody(lastOf(find)), box) > OF.OVERLAP);
    return { detection: logit(score), taken: Number(isTaken), many: Number(this.#looked.length > OF.MANY) };
  }

  /** Return what the expected finds of a window are made of. */
  #features(window: Window): Features {
    const plain = this.#finds.filter(isPlain).map(lastOf);
    const free = this.#heads.filter((head) => !plain.some((body) => place.isHeadOf(body, head)));
    return {
      ...foundSoFar(plain.map(({ keypoints }) => sizeOf(keypoints)), this.#image),
      hint: place.hintScore(window, this.#hints),
      heads: Number(free.some(({ middle }) => place.hasPoint(window, middle))),
      body: Number(plain.some(({ keypoints }) => place.hasPoint(window, place.meanOf(keypoints, OF.CORE)))),
    };
  }

  /** Return what is seen in a proposal and in the box that follows from it, or null. */
  async #verify(image: Pixels, proposal: Proposal): Promise<BodyFind | null> {
    const first = await this.#bodies.observe(image, proposal.box);
    if (first.score < LIMITS.body_seen) return null;
    const second = await this.#bodies.observe(image, place.boxAroundBody(first));
    const isPublished = proposal.votes.has(PUBLISHED) && first.score > OF.PRESENT;
    if (second.score < LIMITS.body_seen && !isPublished) return null;
    const views = isPublished ? [second, first] : [first, second];
    return findOf(views, proposal, place.bodyOks(first, second, image), isPublished);
  }

  /** Return the find of each person, best first. */
  #best(): BodyFind[] {
    for (const find of this.#finds) {
      find.features = this.#featuresOf(find);
      rate(find, find.features.own_head! >= 0 ? "body_faced" : "body");
    }
    return withoutSame(this.#finds, isSamePerson);
  }

  /** Return what the score of a body is made of; `own_head` is the index of its head, or -1. */
  #featuresOf(find: BodyFind): Features {
    const [body, heads, { width, height }] = [lastOf(find), this.#heads, this.#image];
    const { keypoints, visibility } = body;
    const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
    const isInside = Array.from(visibility, (_, k) => {
      const [x, y] = place.pointAt(keypoints, k);
      return Number(x > 0 && x < width && y > 0 && y < height);
    });
    const torso = place.torsoSize(body);
    const off = (head: Head) => place.headDistance(body, head.middle) / place.heightOf(head);
    const own = heads.filter((head) => place.isHeadOf(body, head)).sort((a, b) => off(a) - off(b))[0];
    return {
      own_head: own ? heads.indexOf(own) : -1,
      lower: logit(presenceOf(find)),
      upper: logit(Math.max(...find.views.map(({ score }) => score))),
      agreement: logit(find.agreement),
      detection: find.votes.has(FACE) ? 0 : logit(find.detection),
      from_face: Number(find.votes.has(FACE)),
      core: mean(OF.CORE.map((k) => visibility[k]!)),
      visible: mean([...visibility]),
      heatmap: body.heatmapPeak,
      inside: mean(isInside),
      size: Math.log(sizeOf(keypoints) / place.longestOf(this.#image)),
      votes: Math.log(find.votes.size),
      neck: own ? neckFit(body, own) : 0,
      head_size: own ? Math.abs(Math.log(place.heightOf(place.headOfBody(body)) / place.heightOf(own))) : 0,
      torso: own ? Math.min(Math.log(torso / place.heightOf(own)), 1) : 0,
    };
  }
}

/** Check whether two finds are one person; `a` is the one with the lower score. */
function isSamePerson(a: BodyFind, b: BodyFind): boolean {
  const [mine, other] = [a.features.own_head!, b.features.own_head!];
  const [first, second] = [lastOf(a), lastOf(b)];
  if ((mine >= 0 && mine === other) || place.torsoDistance(first, second) < LIMITS.same_person) return true;
  if (mine < 0 && overlapOverSmaller(first.keypoints, second.keypoints) > LIMITS.inside) return true;
  return Math.min(mine, other) < 0 && place.isSameHead(first, second);
}

/** Return how well the shoulders lie below a head, 0..1. */
function neckFit({ keypoints }: BodyObservation, head: Head): number {
  const off = distance(place.meanOf(keypoints, OF.CORE.slice(0, 2)), place.pointBelow(head, OF.NECK)) / place.heightOf(head);
  return Math.exp(-((off / OF.NECK_TOLERANCE) ** 2) / 2);
}
