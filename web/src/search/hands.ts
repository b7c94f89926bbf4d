/**
 * Search an image for hands: palms, hands of a proposal network and ends of arms, verified by one
 * or two inferences.
 */

import type { Bodies, BodyObservation } from "../body.js";
import { constants } from "../data.js";
import { boxAroundHand, boxFromPalm, type HandObservation, type Hands } from "../hands.js";
import {
  centreOf,
  cornersIou,
  distance,
  iou,
  latestBoxes,
  mean,
  meanOf,
  pointAt,
  sizeOf,
  type Corners,
  type RotatedBox,
} from "../observations.js";
import type { Found } from "../pipeline.js";
import { cut, type Pixels } from "../pixels.js";
import type { Detection, SingleShotDetector } from "../ssd.js";
import { clippedBox, cropOf } from "./bodies.js";
import * as geometry from "./geometry.js";
import { LIMITS, logit, mapOdds, scoreOf, type Features, type Proposal } from "./geometry.js";
import { CLOSER, cropsNear } from "./local.js";
import {
  hasSmall,
  newPeople,
  type HandBox,
  type PeopleNetwork,
  type PersonBox,
} from "./network.js";
import {
  StillSearch,
  lastView,
  newCandidate,
  presenceOf,
  type Candidate,
  type Limits,
} from "./stills.js";

const OF = constants.search.hands;
const SIDES = [0, 1] as const;

type Side = (typeof SIDES)[number];
type HandCandidate = Candidate<HandObservation>;

/** Networks of a search for hands. Hands of known people need no network that proposes people. */
export interface HandNetworks {
  readonly palms: SingleShotDetector;
  readonly hands: Hands;
  readonly people?: () => Promise<PeopleNetwork>;
  /** Bodies whose arms propose hands. */
  readonly bodies?: () => Promise<Bodies>;
}

/** Searches one image for hands. */
export class HandSearch extends StillSearch<HandObservation> {
  readonly #least: number;
  readonly #verifiedBoxes: RotatedBox[] = [];
  readonly #bodies: BodyObservation[] = [];
  readonly #people: PersonBox[] = [];
  #examined = 0;
  #networkHands: HandBox[] | null = null; // hands of the network; null before it has run

  constructor(
    image: Pixels,
    private readonly networks: HandNetworks,
    limits: Limits,
  ) {
    super(image, limits, "hand");
    this.#least = LIMITS.palm_share * limits.published;
  }

  /**
   * Yield palms of the image, hands that the network finds, and ends of arms, then those in
   * windows.
   */
  protected async *propose(): AsyncGenerator<Proposal[]> {
    const {
      image,
      networks: { palms, hands },
      limits: { published, isThorough },
    } = this;
    const [asPublished, more] = (await palms.findFrom(image, [published, this.#least])) as [
      Detection[],
      Detection[],
    ];
    const boxes = asPublished.map((palm) => ({ ...boxFromPalm(palm), score: palm.score }));
    const latest = latestBoxes(boxes, (box, other) => hands.isSameInstance(box, other));
    yield latest.map(({ score, ...box }) => ({ box, score, source: "published" }));
    yield* this.#networkIn(1);
    yield this.#likely(
      [...asPublished, ...more].map((palm) => ({
        box: boxFromPalm(palm),
        score: palm.score,
        source: "palm",
      })),
    );
    yield* this.#arms();
    if (isThorough || hasSmall(this.#people, image)) {
      yield* this.#networkIn(2);
      yield* this.#arms();
    } else this.isComplete = false;
    yield* this.#closer();
  }

  /** Yield the crops near the hands of the network that no certain hand shows. */
  async *#closer(): AsyncGenerator<Proposal[]> {
    const { palms, hands } = this.networks;
    const searched: RotatedBox[] = [];
    const likely = (this.#networkHands ?? []).filter(({ score }) => score >= LIMITS.closer);
    for (const { box, score } of likely.sort((a, b) => b.score - a.score)) {
      const isNear = searched.some((other) => isNearCrop(box, other, OF.NEAR_WINDOW));
      if (isNear || this.shown({ box, score, source: CLOSER })) continue;
      searched.push(box);
      const skips = (palm: Proposal) => this.isKnown(palm);
      for await (const crop of cropsNear(this.image, box, palms, hands, skips)) yield [crop];
    }
  }

  /** Return the hands of known people, from these crops and from the ends of their arms. */
  around(
    bodies: readonly BodyObservation[],
    crops: readonly RotatedBox[],
  ): Promise<Found<HandObservation>> {
    this.#bodies.push(...bodies);
    const handsOf = (body: BodyObservation) => this.#handsOf(body);
    return this.run(
      (async function* (): AsyncGenerator<Proposal[]> {
        yield crops.map((box) => ({ box, score: OF.CROP_SCORE, source: "crop" }));
        for (const body of bodies) yield* handsOf(body);
      })(),
    );
  }

  protected override score(candidate: HandCandidate): number {
    const score = super.score(candidate);
    const maps = mapOdds(candidate.views.map((view) => view.maps));
    return maps === null ? score : scoreOf("verified_hand", { ...candidate.features, maps });
  }

  protected override resultOf(candidate: HandCandidate): HandObservation {
    return { ...super.resultOf(candidate), left: scoreOf("side", candidate.features) };
  }

  /** Yield the palms around the hands that the network finds in windows, and keep its people. */
  async *#networkIn(parts: number): AsyncGenerator<Proposal[]> {
    const network = await this.networks.people!();
    const least = this.limits.isThorough ? LIMITS.hand_thorough : LIMITS.hand;
    for (const window of geometry.windows(this.image, parts, true)) {
      const { people, hands } = await network.find(
        this.image,
        window,
        LIMITS.arm_person,
        LIMITS.faint_hand,
      );
      this.#people.push(...newPeople(people, this.#people));
      this.#networkHands = [...(this.#networkHands ?? []), ...hands];
      for (const { score, box } of hands) {
        const hand: Proposal = { box, score, source: `hand${parts}` };
        if (score <= least || this.isKnown(hand)) continue;
        const around = geometry.windowAround(
          [box.cx, box.cy],
          OF.HAND_WINDOW * box.width,
          this.image,
        );
        const palms = around ? await this.#palmsIn(around, hand.source) : [];
        yield palms.length ? palms : this.#likely([hand]);
      }
    }
  }

  /** Return boxes of palms in a window. */
  async #palmsIn(window: Corners, source: string): Promise<Proposal[]> {
    const found = await this.networks.palms.find(cut(this.image, window), this.#least);
    return this.#likely(geometry.proposalsIn(window, found, (palm) => boxFromPalm(palm), source));
  }

  /**
   * Return the proposals with a sufficient score of their detector and of the network, without
   * duplicates.
   */
  #likely(proposals: readonly Proposal[]): Proposal[] {
    const least = this.limits.isThorough ? LIMITS.hand_odds_thorough : LIMITS.hand_odds;
    return geometry
      .mergeProposals(proposals, this.image)
      .filter(({ score, box }) => logit(score) + OF.NETWORK_SHARE * this.#networkOdds(box) > least);
  }

  /** Return the log odds of the best hand of the network near a crop. */
  #networkOdds(box: RotatedBox): number {
    if (this.#networkHands === null) return 0;
    const near = this.#networkHands
      .filter((hand) => isNearCrop(hand.box, box))
      .map(({ score }) => score);
    return logit(near.length ? Math.max(...near) : OF.UNSEEN);
  }

  /** Yield the hands at the arms of the people that were not examined before. */
  async *#arms(): AsyncGenerator<Proposal[]> {
    const bodies = await this.networks.bodies!();
    const people = this.#people.slice(this.#examined);
    this.#examined = this.#people.length;
    for (const { box } of people) {
      const body = await bodies.observe(this.image, cropOf(box));
      const isOwn = cornersIou(clippedBox(body, this.image), box) > LIMITS.person_overlap;
      if (
        !(body.score > LIMITS.guide) ||
        !isOwn ||
        this.#bodies.some((other) => geometry.isSameTorso(body, other))
      )
        continue;
      this.#bodies.push(body);
      yield* this.#handsOf(body);
    }
  }

  /** Yield the palms near the wrists of a body where no hand is. */
  async *#handsOf(body: BodyObservation): AsyncGenerator<Proposal[]> {
    const { width, height } = this.image;
    const face = faceHeight(body);
    for (const side of SIDES) {
      const end = pointAt(body.keypoints, OF.WRISTS[side]!);
      const [x, y] = end;
      if (!(x > -0.05 * width && x < 1.05 * width && y > -0.05 * height && y < 1.05 * height))
        continue;
      const isHandAt = ({ keypoints }: HandObservation) =>
        distance(pointAt(keypoints, 0), end) < sizeOf(keypoints);
      if (this.candidates.some((candidate) => isHandAt(lastView(candidate)))) continue;
      const elbow = pointAt(body.keypoints, OF.ELBOWS[side]!);
      const [dx, dy] = [x - elbow[0], y - elbow[1]];
      const part = (OF.ARM_REACH * face) / Math.max(Math.hypot(dx, dy), 1);
      const window = geometry.windowAround(
        [x + part * dx, y + part * dy],
        OF.ARM_WINDOW * face,
        this.image,
      );
      if (window) yield await this.#palmsIn(window, "arm");
    }
  }

  /** Check whether a proposal shows a certain hand or a box that was verified before. */
  protected override isKnown(proposal: Proposal): boolean {
    return (
      super.isKnown(proposal) ||
      this.#verifiedBoxes.some((other) => geometry.isNear(proposal.box, other))
    );
  }

  protected shows({ box }: Proposal, hand: HandObservation): boolean {
    return iou(boxAroundHand(hand.keypoints), box) > OF.SAME_HAND;
  }

  /** Observe a proposal, and in doubt the box of its keypoints in the mirrored image. */
  protected async verify(proposal: Proposal): Promise<HandCandidate | null> {
    const {
      image,
      networks: { hands },
    } = this;
    this.#verifiedBoxes.push(proposal.box);
    const isFirst = proposal.source === "published";
    const first = await hands.observe(image, proposal.box);
    const isLikely =
      proposal.score >= this.limits.published ||
      this.#networkOdds(boxAroundHand(first.keypoints)) > LIMITS.sure_odds;
    if (first.score > LIMITS.sure_hand && isLikely)
      return newCandidate([first], proposal, 1, isFirst);
    if (first.score < LIMITS.hand_seen) return null;
    const isPublished = isFirst && first.score > constants.search.geometry.PRESENT;
    const mirrored = await hands.observeMirrored(image, hands.boxAfter(first));
    if (mirrored.score < LIMITS.hand_mirrored && !isPublished) return null;
    const views = isPublished || proposal.source === "crop" ? [mirrored, first] : [first, mirrored];
    return newCandidate(
      views,
      proposal,
      geometry.oks(first.keypoints, mirrored.keypoints),
      isPublished,
    );
  }

  protected features(candidate: HandCandidate): Features {
    const [hand, { views }] = [lastView(candidate), candidate];
    return {
      lower: logit(presenceOf(candidate)),
      presence: mean(views.map(({ score }) => logit(score))),
      agreement: logit(candidate.agreement),
      detection: logit(candidate.proposal.score),
      network: this.#networkOdds(boxAroundHand(hand.keypoints)),
      wrist: Math.max(1 - wristDistance(hand, this.#bodies, SIDES), 0),
      people: Number(this.#bodies.length > 0),
      foot: footNearness(hand, this.#bodies),
      published: Number(candidate.isPublished),
      seen: hand.visibility ? mean(hand.visibility) : 0.5,
      small: Math.min(Math.log(sizeOf(hand.keypoints) / OF.SMALL_PX), 0),
      side: mean(views.map(({ left }) => logit(left))),
      arm: armSide(hand, this.#bodies),
    };
  }
}

/** Check whether two crops of similar size are at most some sides apart, whatever their rotation. */
function isNearCrop(a: RotatedBox, b: RotatedBox, sides = OF.NEAR_CROP): boolean {
  const isNear = Math.hypot(a.cx - b.cx, a.cy - b.cy) < sides * Math.max(a.width, b.width);
  return isNear && a.width / b.width > 1 / OF.NEAR_SIZE && a.width / b.width < OF.NEAR_SIZE;
}

/**
 * Return the height of a face in pixels, from eyes and mouth, or from the shoulders if it is turned
 * away.
 */
function faceHeight({ keypoints }: BodyObservation): number {
  const face = distance(meanOf(keypoints, [2, 5]), meanOf(keypoints, [9, 10]));
  return Math.max(
    OF.FACE_OF_EYES * face,
    OF.FACE_OF_SHOULDERS * distance(pointAt(keypoints, 11), pointAt(keypoints, 12)),
  );
}

/**
 * Return the distance from a hand to the nearest wrist or knuckles of a body, in sizes of the hand.
 */
function wristDistance(
  hand: HandObservation,
  bodies: readonly BodyObservation[],
  sides: readonly Side[],
): number {
  const [wrist, centre] = [pointAt(hand.keypoints, 0), centreOf(hand)];
  const distances = bodies.flatMap((body) =>
    sides.map((side) => {
      const knuckles = OF.KNUCKLES[side]!;
      return Math.min(
        distance(wrist, pointAt(body.keypoints, knuckles[0]!)),
        distance(centre, meanOf(body.keypoints, knuckles)),
      );
    }),
  );
  return Math.min(...distances) / sizeOf(hand.keypoints);
}

/**
 * Return whether a hand is at a left arm (up to 1.5) or a right arm (down to -1.5). Return 0 if
 * both are far.
 */
function armSide(hand: HandObservation, bodies: readonly BodyObservation[]): number {
  const distances = SIDES.map((side) => wristDistance(hand, bodies, [side]));
  if (Math.min(...distances) > OF.FAR_ARM) return 0;
  const [left, right] = distances.map((away) => away + OF.NEAR_ARM) as [number, number];
  return Math.min(Math.max(Math.log(right / left), -OF.MOST_ARM), OF.MOST_ARM);
}

/** Return the nearness of a hand to a foot: 1 on it, 0 if it is far or nearer to a wrist. */
function footNearness(hand: HandObservation, bodies: readonly BodyObservation[]): number {
  const [size, centre] = [sizeOf(hand.keypoints), centreOf(hand)];
  const distances = bodies.flatMap(({ keypoints, visibility }) =>
    OF.FEET.flatMap((foot) => {
      if (!(visibility[foot[0]!]! > OF.VISIBLE_FOOT)) return [];
      return [...foot.map((k) => pointAt(keypoints, k)), meanOf(keypoints, foot)].map(
        (point) => distance(point, centre) / size,
      );
    }),
  );
  const nearest = Math.min(...distances);
  return nearest < wristDistance(hand, bodies, SIDES) ? Math.max(1 - nearest, 0) : 0;
}
