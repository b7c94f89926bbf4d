/**
 * Search an image for bodies: people of two networks and heads without a body, verified by two
 * inferences.
 */

import { boxFromAlignment, type Bodies, type BodyObservation } from "../body.js";
import { constants } from "../data.js";
import {
  cornersIou,
  cornersOf,
  distance,
  mean,
  meanOf,
  sizeOf,
  type Corners,
  type RotatedBox,
} from "../observations.js";
import type { Pixels } from "../pixels.js";
import type { SingleShotDetector } from "../ssd.js";
import * as geometry from "./geometry.js";
import { LIMITS, logit, type Features, type Head, type Proposal } from "./geometry.js";
import {
  boundsOf,
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

const OF = constants.search.bodies;
const { TORSO } = constants.search.geometry;
const USUAL_SCORE = 0.5; // default of the minimum score of the published search

type BodyCandidate = Candidate<BodyObservation>;

/** Networks of a search for bodies. */
export type BodyNetworks = {
  readonly bodies: Bodies;
  readonly people: PeopleNetwork;
  readonly faces: SingleShotDetector;
};

/** Searches one image for bodies. */
export class BodySearch extends StillSearch<BodyObservation> {
  readonly heads: Head[] = []; // heads that the search found
  readonly people: PersonBox[] = []; // people that the networks found
  readonly hands: HandBox[] = []; // hands that the network found, if they are refused

  /** @param refusesHands refuse a body without a face where the network proposes a hand */
  constructor(
    image: Pixels,
    private readonly networks: BodyNetworks,
    limits: Limits,
    private readonly refusesHands = false,
  ) {
    super(image, limits, "body");
  }

  /** Yield the people of the networks, and heads without a body. */
  protected async *propose(): AsyncGenerator<Proposal[]> {
    const {
      image,
      networks: { faces },
      limits,
    } = this;
    for (const window of geometry.windows(image, 1, true))
      this.heads.push(...(await geometry.headsIn(faces, image, window, LIMITS.head)));
    yield* this.#peopleIn(1);
    for (const head of this.heads) {
      if (head.score < this.#least(LIMITS.head)) continue;
      yield [...OF.PLACEMENTS.keys()].map((placement) => ({
        box: geometry.boxBelow(head, placement),
        score: head.score,
        source: "head",
        head,
      }));
    }
    if (limits.isThorough || hasSmall(this.people, image)) yield* this.#peopleIn(2);
    else this.isComplete = false;
  }

  /** Return the minimum score of proposals, which follows that of the published search. */
  #least(usual: number): number {
    return (usual * this.limits.published) / USUAL_SCORE;
  }

  /** Yield the crops of the people that the network finds in windows. */
  async *#peopleIn(parts: number): AsyncGenerator<Proposal[]> {
    const [least, leastHand] = [this.#least(LIMITS.person), this.refusesHands ? OF.HAND_SCORE : 1];
    for (const window of geometry.windows(this.image, parts, true)) {
      const found = await this.networks.people.find(this.image, window, least, leastHand);
      this.hands.push(...found.hands);
      for (const person of newPeople(found.people, this.people)) {
        this.people.push(person);
        yield [
          {
            box: cropOf(person.box),
            score: person.score,
            source: `person${parts}`,
            person: person.box,
          },
        ];
      }
    }
  }

  /** Check whether a body has the head or fills the box of a proposal. */
  protected shows({ head, person }: Proposal, body: BodyObservation): boolean {
    return head
      ? geometry.isHeadOf(body, head)
      : cornersIou(person!, clippedBox(body, this.image)) > LIMITS.same_person_box;
  }

  /**
   * Observe a proposal and the box from its keypoints. Return null if there is no body of the
   * proposal.
   */
  protected async verify(proposal: Proposal): Promise<BodyCandidate | null> {
    const { box, head, person } = proposal;
    const image = person
      ? onlyBox(this.image, person) // without other people, because the network finds only one in a crop
      : head
        ? geometry.withoutOtherHeads(this.image, box, this.heads, head)
        : this.image;
    const first = await this.networks.bodies.observe(image, box);
    if (!this.#fits(first, proposal)) return null;
    const second = await this.networks.bodies.observe(image, geometry.boxAroundBody(first));
    return this.#fits(second, proposal)
      ? newCandidate([first, second], proposal, geometry.bodyOks(first, second, image))
      : null;
  }

  /** Check whether a body is present, and has the head or overlaps the box of its proposal. */
  #fits(body: BodyObservation, { head, person }: Proposal): boolean {
    if (body.score < LIMITS.body_seen) return false;
    return head
      ? geometry.isHeadOf(body, head)
      : cornersIou(person!, clippedBox(body, this.image)) >= LIMITS.person_overlap;
  }

  protected features(candidate: BodyCandidate): Features {
    return bodyFeatures(candidate, this.image, this.heads, this.people);
  }

  protected override score(candidate: BodyCandidate): number {
    const score = super.score(candidate);
    const isDoubtful = candidate.features.face! < OF.SURE_FACE && score < OF.SURE_BODY;
    return isDoubtful && this.#isHand(lastView(candidate)) ? 0 : score;
  }

  /** Check whether the network proposes a hand where a body is. */
  #isHand(body: BodyObservation): boolean {
    const around = clippedBox(body, this.image);
    return this.hands.some((hand) => cornersIou(around, boundsOf(hand)) > OF.HAND_IOU);
  }

  /**
   * Check whether two candidates share the face, the torso or, if one of them has no face, the
   * head.
   */
  protected override isSame(candidate: BodyCandidate, better: BodyCandidate): boolean {
    const [mine, other] = [candidate.features.own_head!, better.features.own_head!];
    const [first, second] = [lastView(candidate), lastView(better)];
    if ((mine >= 0 && mine === other) || geometry.isSameTorso(first, second)) return true;
    return Math.min(mine, other) < 0 && geometry.isSameHead(first, second);
  }
}

/** Return the box around the keypoints of a body in an image. */
export function clippedBox({ keypoints }: BodyObservation, { width, height }: Pixels): Corners {
  const [left, top, right, bottom] = cornersOf(keypoints);
  const limit = (value: number, most: number) => Math.min(Math.max(value, 0), most);
  return [limit(left, width), limit(top, height), limit(right, width), limit(bottom, height)];
}

/** Return the crop of a person with an upright box. */
export function cropOf([left, top, right, bottom]: Corners): RotatedBox {
  const [x, height] = [(left + right) / 2, bottom - top];
  return boxFromAlignment([x, top + OF.HIPS * height], [x, top + (OF.HIPS - OF.RADIUS) * height]);
}

/** Return an image that is grey outside a box and its margin. */
function onlyBox({ width, height, data }: Pixels, [left, top, right, bottom]: Corners): Pixels {
  const [marginX, marginY] = [OF.MARGIN * (right - left), OF.MARGIN * (bottom - top)];
  const [from, to] = [
    Math.max(Math.trunc(left - marginX), 0),
    Math.min(Math.trunc(right + marginX), width),
  ];
  const masked = new Uint8ClampedArray(data.length).fill(255);
  for (let i = 0; i < data.length; i += 4) masked.fill(OF.GREY, i, i + 3);
  for (
    let y = Math.max(Math.trunc(top - marginY), 0);
    y < Math.min(Math.trunc(bottom + marginY), height);
    y++
  ) {
    masked.set(data.subarray(4 * (y * width + from), 4 * (y * width + to)), 4 * (y * width + from));
  }
  return { width, height, data: masked };
}

/** Return the features of the score of a body; `own_head` is the index of its head, or -1. */
function bodyFeatures(
  candidate: BodyCandidate,
  image: Pixels,
  heads: readonly Head[],
  people: readonly PersonBox[] = [],
): Features {
  const { width, height } = image;
  const body = lastView(candidate);
  const around = clippedBox(body, image);
  const overlaps = people.map(({ score, box }) => ({ overlap: cornersIou(around, box), score }));
  const { overlap, score: person } = overlaps.sort((a, b) => b.overlap - a.overlap)[0] ?? {
    overlap: 0,
    score: 0,
  };
  const { keypoints, visibility } = body;
  const own = heads
    .filter((head) => geometry.isHeadOf(body, head))
    .sort((a, b) => geometry.headOffset(body, a) - geometry.headOffset(body, b))[0];
  return {
    own_head: own ? heads.indexOf(own) : -1,
    lower: logit(presenceOf(candidate)),
    upper: logit(Math.max(...candidate.views.map(({ score }) => score))),
    agreement: logit(candidate.agreement),
    person: logit(overlap > OF.OWN_BOX ? person : OF.UNSEEN),
    overlap,
    core: mean(TORSO.map((k) => visibility[k]!)),
    visible: mean(visibility),
    heatmap: body.heatmapPeak,
    size: Math.log(sizeOf(keypoints) / Math.max(width, height)),
    faced: Number(own !== undefined),
    face: own ? logit(own.score) : 0,
    neck: own ? neckFit(body, own) : 0,
    torso: own ? Math.min(Math.log(geometry.torsoSize(body) / geometry.heightOf(own)), 1) : 0,
  };
}

/** Return how well the position of the shoulders fits a head, 0..1. */
function neckFit({ keypoints }: BodyObservation, head: Head): number {
  const off =
    distance(meanOf(keypoints, TORSO.slice(0, 2)), geometry.pointBelow(head, OF.NECK)) /
    geometry.heightOf(head);
  return Math.exp(-((off / OF.NECK_TOLERANCE) ** 2) / 2);
}
