/** Search an image for hands: proposals of the palm detector and of arms, verified by one or two inferences. */

import type { Bodies, BodyObservation } from "../body.js";
import { iou, latestBoxes, type RotatedBox } from "../boxes.js";
import { constants } from "../data.js";
import { boxAroundHand, boxFromPalm, type HandObservation, type Hands } from "../hands.js";
import { handBox } from "../holistic.js";
import { centreOf, cornersOf, distance, sizeOf, type Point } from "../observations.js";
import type { Pixels } from "../pixels.js";
import type { Detection, SingleShotDetector } from "../ssd.js";
import { Agenda, addVotes, areEnough, newCandidate, isCertain, lastView, presenceOf, rate, withoutDuplicates, type Candidate, type Found } from "./agenda.js";
import * as geometry from "./geometry.js";
import type { Head, Hint, Proposal, Window } from "./geometry.js";
import { LIMITS, logit, scoreOf, type Budget, type Features } from "./score.js";

const OF = constants.search.hands;
const SIDES = [0, 1] as const;
const ARM = "arm";
/** Vote of the hand crop of a body, as in the published graph. */
export const CROP = "crop";

type Side = (typeof SIDES)[number];
type HandCandidate = Candidate<HandObservation>;

/** Networks that find faces and the bodies below them, to propose hands at the ends of arms. */
export interface Guide {
  readonly faces: SingleShotDetector;
  readonly bodies: Bodies;
}

/** Networks of a search for hands. Without a guide, only palms propose hands. */
export interface HandNetworks {
  readonly palms: SingleShotDetector;
  readonly hands: Hands;
  readonly guide?: () => Promise<Guide>;
}

/** Thresholds of a search. */
export interface Limits {
  /** Minimum score of the published search. */
  readonly published: number;
  /** Minimum score of a detection in a window. */
  readonly least: number;
  readonly budget: Budget;
}

/** Searches one image for hands. */
export class HandSearch {
  readonly #image: Pixels;
  readonly #networks: HandNetworks;
  readonly #limits: Limits;
  readonly #agenda: Agenda;
  readonly #candidates: HandCandidate[] = [];
  readonly #verifiedBoxes: { readonly box: RotatedBox; readonly candidate: HandCandidate | null }[] = [];
  readonly #thirds = new Set<string>();
  readonly #bodies: BodyObservation[] = [];
  readonly #hints: Hint[] = [];
  #heads: readonly Head[] = [];

  constructor(image: Pixels, networks: HandNetworks, limits: Limits) {
    [this.#image, this.#networks, this.#limits] = [image, networks, limits];
    this.#agenda = new Agenda("hands", limits.budget);
  }

  /** Return all candidates with their scores, from palms in windows and at the ends of the arms of bodies below faces. */
  async search(): Promise<Found<HandObservation>> {
    const image = this.#image;
    const whole = geometry.fullWindow(image);
    const proposals = await this.#palmsIn(whole, geometry.keyOf(whole), true);
    for (const proposal of proposals) if (proposal.votes.has(geometry.PUBLISHED)) await this.#verify(proposal);
    this.#propose(proposals.filter(({ votes }) => !votes.has(geometry.PUBLISHED)));
    for (const parts of this.#networks.guide ? [1, 2] : []) {
      for (const window of geometry.windows(image, parts, true)) {
        this.#agenda.add(`faces${parts}`, () => this.#searchFaces(window), () => this.#windowFeatures(window));
      }
    }
    for (const half of geometry.windows(image, 2, true)) this.#addWindow("half", half, () => this.#addThirds(half));
    return this.#run();
  }

  /** Return the hands of known people, from these proposals and from the ends of their arms. */
  around(heads: readonly Head[], bodies: readonly BodyObservation[], proposals: readonly Proposal[]): Promise<Found<HandObservation>> {
    this.#heads = heads;
    this.#bodies.push(...bodies);
    this.#propose(proposals);
    for (const body of bodies) this.#addArms(body);
    return this.#run();
  }

  async #run(): Promise<Found<HandObservation>> {
    await this.#agenda.run(() => areEnough(this.#candidates.filter(isCertain), this.#limits.budget));
    const candidates = withoutDuplicates(this.#scored());
    for (const candidate of candidates) candidate.views.push({ ...candidate.views.pop()!, left: scoreOf("side", candidate.features) });
    return { candidates, complete: this.#agenda.complete };
  }

  #addWindow(name: string, window: Window, next: () => void = () => {}): void {
    const search = async () => {
      this.#propose(await this.#palmsIn(window, geometry.keyOf(window)));
      next();
    };
    this.#agenda.add(name, search, () => this.#windowFeatures(window));
  }

  #addThirds(half: Window): void {
    for (const third of geometry.windows(this.#image, 3, true)) {
      const [middle, key]: [Point, string] = [[(third.left + third.right) / 2, (third.top + third.bottom) / 2], geometry.keyOf(third)];
      if (!geometry.hasPoint(half, middle) || this.#thirds.has(key)) continue;
      this.#thirds.add(key);
      this.#addWindow("third", third);
    }
  }

  /** Return the features of the expected gain of a window. */
  #windowFeatures(window: Window): Features {
    const longest = geometry.longestOf(this.#image);
    const plain = this.#candidates.filter(isCertain).map(lastView);
    const ends = this.#bodies.flatMap(({ keypoints }) => OF.WRISTS.map((k) => geometry.pointAt(keypoints, k)));
    const inside = ends.filter((end) => geometry.hasPoint(window, end));
    const heads = this.#heads.map((head) => geometry.heightOf(head) / longest);
    return {
      heads: Number(this.#heads.some(({ middle }) => geometry.hasPoint(window, middle))),
      arms: Number(inside.length > 0),
      free_arms: Number(inside.some((end) => !plain.some((hand) => isAt(hand, end)))),
      hands: Number(plain.some((hand) => geometry.hasPoint(window, centreOf(hand)))),
      people: Number(heads.length > 0),
      several: Number(heads.length > 1),
      small_head: Number(Math.min(...heads) < LIMITS.small_head),
      hand_size: Math.max(0, ...plain.map(({ keypoints }) => sizeOf(keypoints) / longest)),
      plain: Math.min(plain.length, 3),
      hint: geometry.hintScore(window, this.#hints),
    };
  }

  async #searchFaces(window: Window): Promise<void> {
    const { faces } = await this.#networks.guide!();
    const known = this.#heads;
    this.#heads = geometry.suppressDuplicateHeads([...known, ...(await geometry.headsIn(faces, this.#image, window, LIMITS.head))]);
    for (const head of this.#heads) if (!known.includes(head)) this.#addBody(head, 0);
  }

  #addBody(head: Head, placement: number): void {
    const search = async () => {
      const body = await (await this.#networks.guide!()).bodies.observe(this.#image, geometry.boxBelow(head, placement));
      if (!(body.score > LIMITS.guide && geometry.isHeadOf(body, head))) {
        if (placement === 0) this.#addBody(head, 1);
      } else if (!this.#bodies.some((other) => geometry.isSameTorso(body, other))) {
        this.#bodies.push(body);
        this.#addArms(body);
      }
    };
    const features = { head: logit(head.score), size: Math.log(geometry.heightOf(head) / geometry.longestOf(this.#image)) };
    this.#agenda.add(`body${placement}`, search, () => features);
  }

  #addArms(body: BodyObservation): void {
    const { width, height } = this.#image;
    for (const side of SIDES) {
      const [x, y] = geometry.pointAt(body.keypoints, OF.WRISTS[side]!);
      if (!(x > -0.05 * width && x < 1.05 * width && y > -0.05 * height && y < 1.05 * height)) continue;
      this.#addArm("arm", body, side, async () => {
        await this.#searchArm(body, side);
        this.#addArm("arm_box", body, side, async () => {
          const box = handBox(body, side);
          if (box) this.#propose([{ box, score: this.#limits.least, votes: new Set([ARM]) }]);
        });
      });
    }
  }

  /** Add a search at the end of an arm, which runs if no certain hand is there. */
  #addArm(name: string, body: BodyObservation, side: Side, search: () => Promise<void>): void {
    const k = OF.WRISTS[side]!;
    const wrist = geometry.pointAt(body.keypoints, k);
    const isFree = () => !this.#candidates.some((candidate) => isCertain(candidate) && isAt(lastView(candidate), wrist));
    const [seen, size] = [logit(body.visibility[k]!), Math.log(faceHeight(body) / geometry.longestOf(this.#image))];
    this.#agenda.add(name, async () => { if (isFree()) await search(); }, () => ({ seen, size, free: Number(isFree()) }));
  }

  async #searchArm(body: BodyObservation, side: Side): Promise<void> {
    const face = faceHeight(body);
    const [[x, y], elbow] = [geometry.pointAt(body.keypoints, OF.WRISTS[side]!), geometry.pointAt(body.keypoints, OF.ELBOWS[side]!)];
    const [dx, dy] = [x - elbow[0], y - elbow[1]];
    const part = (OF.ARM_REACH * face) / Math.max(Math.hypot(dx, dy), 1);
    const window = geometry.windowAround([x + part * dx, y + part * dy], OF.ARM_WINDOW * face, this.#image);
    if (window) this.#propose(await this.#palmsIn(window, `${ARM} ${side}`));
  }

  /** Return boxes of hands in a window. Palms of the two minimum scores differ slightly, because blending depends on the minimum. */
  async #palmsIn(window: Window, vote: string, isWhole = false): Promise<Proposal[]> {
    const { published, least } = this.#limits;
    const found = await this.#networks.palms.findFrom(geometry.partOf(this.#image, window), [published, least, LIMITS.hint]);
    const [asPublished, more, faint] = found as [Detection[], Detection[], Detection[]];
    this.#hints.push(...geometry.hintsIn(window, faint.map(geometry.middleOf), least));
    const proposals = geometry.proposalsIn(window, [...asPublished, ...more], (palm) => boxFromPalm(palm), vote);
    const boxes = proposals.slice(0, isWhole ? asPublished.length : 0).map(({ box }) => box);
    const latest = latestBoxes(boxes, (box, other) => this.#networks.hands.isSameInstance(box, other));
    for (const { box, votes } of proposals) if (latest.includes(box)) votes.add(geometry.PUBLISHED);
    return proposals;
  }

  #propose(proposals: readonly Proposal[]): void {
    for (const proposal of geometry.mergeProposals(proposals, this.#image)) {
      if (!this.#isKnown(proposal)) this.#agenda.add("hand", () => this.#verify(proposal), () => this.#proposalFeatures(proposal));
    }
  }

  /** Return the features of the expected gain of a proposal. */
  #proposalFeatures({ box, score, votes }: Proposal): Features {
    return {
      detection: logit(score),
      arm: Number([...votes].some((vote) => vote.startsWith(`${ARM} `))),
      box: Number(votes.has(ARM)),
      taken: Number(this.#candidates.some((candidate) => isCertain(candidate) && overlap(candidate, box) > OF.NEAR_HAND)),
      doubtful: Number(this.#verifiedBoxes.some((other) => other.candidate === null && iou(other.box, box) > OF.SAME_HAND)),
      size: Math.log(box.width / geometry.longestOf(this.#image)),
    };
  }

  /** Check whether a proposal shows a certain hand or a verified box, and add its score to that. */
  #isKnown({ box, score }: Proposal): boolean {
    const certain = this.#candidates.find((candidate) => isCertain(candidate) && overlap(candidate, box) > OF.SAME_HAND);
    const verified = this.#verifiedBoxes.find((other) => geometry.isNear(box, other.box));
    const candidate = certain ?? verified?.candidate;
    if (candidate) addVotes(candidate, [], score);
    return Boolean(certain ?? verified);
  }

  async #verify(proposal: Proposal): Promise<void> {
    if (!proposal.votes.has(geometry.PUBLISHED) && this.#isKnown(proposal)) return;
    const candidate = await this.#verified(proposal);
    if (candidate) this.#candidates.push(candidate);
    this.#verifiedBoxes.push({ box: proposal.box, candidate });
  }

  /** Observe a proposal, and in doubt the box of its keypoints in the mirrored image. Return null if there is no hand. */
  async #verified(proposal: Proposal): Promise<HandCandidate | null> {
    const { hands } = this.#networks;
    const isPublished = proposal.votes.has(geometry.PUBLISHED);
    const first = await hands.observe(this.#image, proposal.box);
    const sure = isPublished ? LIMITS.published_sure : LIMITS.sure;
    if (first.score > sure && proposal.score >= this.#limits.published) return newCandidate([first], proposal, 1, isPublished);
    if (first.score < LIMITS.hand_seen) return null;
    const mirrored = await hands.observeMirrored(this.#image, hands.boxAfter(first));
    const stays = isPublished && first.score > constants.search.geometry.PRESENT;
    if (mirrored.score < LIMITS.hand_mirrored && !stays) return null;
    const views = stays || proposal.votes.has(CROP) ? [mirrored, first] : [first, mirrored];
    return newCandidate(views, proposal, geometry.oks(first.keypoints, mirrored.keypoints), stays);
  }

  #scored(): HandCandidate[] {
    for (const candidate of this.#candidates) {
      const [hand, { views }] = [lastView(candidate), candidate];
      candidate.features = {
        lower: logit(presenceOf(candidate)),
        presence: geometry.mean(views.map(({ score }) => logit(score))),
        agreement: logit(candidate.agreement),
        detection: logit(candidate.detection),
        wrist: Math.max(1 - wristDistance(hand, this.#bodies, SIDES), 0),
        people: Number(this.#heads.length > 0),
        face: shareInFace(hand, this.#heads),
        foot: footNearness(hand, this.#bodies),
        published: Number(candidate.isPublished),
        seen: hand.visibility ? geometry.mean(hand.visibility) : 0.5,
        small: Math.min(Math.log(sizeOf(hand.keypoints) / OF.SMALL_PX), 0),
        likeness: geometry.mean(views.map(({ likeness }) => likeness)),
        side: geometry.mean(views.map(({ left }) => logit(left))),
        arm: armSide(hand, this.#bodies),
        ...proportions(hand),
      };
      rate(candidate, "hand");
    }
    return this.#candidates;
  }
}

/** Return log ratios of lengths in space: palm length to palm width, and fingers to palm. */
function proportions({ keypoints3D }: HandObservation): { palm: number; fingers: number } {
  const length = (a: number, b: number) => Math.hypot(...[0, 1, 2].map((k) => keypoints3D[3 * a + k]! - keypoints3D[3 * b + k]!));
  const [palm, across] = [length(0, 9), length(5, 17)];
  const fingers = [5, 9, 13, 17].flatMap((k) => [length(k, k + 1), length(k + 1, k + 2), length(k + 2, k + 3)]);
  const finger = fingers.reduce((sum, length) => sum + length, 0) / 4;
  return { palm: Math.log((palm + 1e-3) / (across + 1e-3)), fingers: Math.log((finger + 1e-3) / (palm + 1e-3)) };
}

function overlap(candidate: HandCandidate, box: RotatedBox): number {
  return iou(boxAroundHand(lastView(candidate).keypoints), box);
}

function isAt({ keypoints }: HandObservation, wrist: Point): boolean {
  return distance(geometry.pointAt(keypoints, 0), wrist) < sizeOf(keypoints);
}

/** Return the height of a face in pixels, from eyes and mouth, or from the shoulders if it is turned away. */
function faceHeight({ keypoints }: BodyObservation): number {
  const face = distance(geometry.meanOf(keypoints, [2, 5]), geometry.meanOf(keypoints, [9, 10]));
  return Math.max(OF.FACE_OF_EYES * face, OF.FACE_OF_SHOULDERS * distance(geometry.pointAt(keypoints, 11), geometry.pointAt(keypoints, 12)));
}

/** Return the distance from a hand to the nearest wrist or knuckles of a body, in sizes of the hand. */
function wristDistance(hand: HandObservation, bodies: readonly BodyObservation[], sides: readonly Side[]): number {
  const [wrist, centre] = [geometry.pointAt(hand.keypoints, 0), centreOf(hand)];
  const distances = bodies.flatMap((body) => sides.map((side) => {
    const knuckles = OF.KNUCKLES[side]!;
    return Math.min(distance(wrist, geometry.pointAt(body.keypoints, knuckles[0]!)), distance(centre, geometry.meanOf(body.keypoints, knuckles)));
  }));
  return Math.min(...distances) / sizeOf(hand.keypoints);
}

/** Return whether a hand is at a left arm (up to 1.5) or a right arm (down to -1.5). Return 0 if both are far. */
function armSide(hand: HandObservation, bodies: readonly BodyObservation[]): number {
  const distances = SIDES.map((side) => wristDistance(hand, bodies, [side]));
  if (Math.min(...distances) > OF.FAR_ARM) return 0;
  const [left, right] = distances.map((distance) => Math.min(distance, OF.FARTHEST_ARM) + OF.NEAR_ARM) as [number, number];
  return Math.min(Math.max(Math.log(right / left), -OF.MOST_ARM), OF.MOST_ARM);
}

/** Return the nearness of a hand to a foot: 1 on it, 0 if it is far or nearer to a wrist. */
function footNearness(hand: HandObservation, bodies: readonly BodyObservation[]): number {
  const [size, centre] = [sizeOf(hand.keypoints), centreOf(hand)];
  const distances = bodies.flatMap(({ keypoints, visibility }) => OF.FEET.flatMap((foot) => {
    if (!(visibility[foot[0]!]! > OF.VISIBLE_FOOT)) return [];
    return [...foot.map((k) => geometry.pointAt(keypoints, k)), geometry.meanOf(keypoints, foot)].map((point) => distance(point, centre) / size);
  }));
  const nearest = Math.min(...distances);
  return nearest < wristDistance(hand, bodies, SIDES) ? Math.max(1 - nearest, 0) : 0;
}

/** Return the share of a small hand inside a face. An ear or a nose has share 1. */
function shareInFace({ keypoints }: HandObservation, heads: readonly Head[]): number {
  const [box, size] = [cornersOf(keypoints), sizeOf(keypoints)];
  const small = heads.filter((head) => size < OF.PART_OF_FACE * geometry.heightOf(head));
  return Math.max(0, ...small.map((head) => geometry.sharedArea(box, geometry.squareOf(head)) / geometry.areaOf(box)));
}
