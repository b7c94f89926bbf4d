/** Who is who from frame to frame: stable ids, one instance per object, memory of those just lost. */

import type { RotatedBox } from "./boxes.js";
import { constants } from "./data.js";
import {
  areNear,
  centreOf,
  difference,
  discAround,
  distance,
  isSameObject,
  keptBehind,
  mayTouch,
  meanDistance,
  shareInside,
  withoutDuplicates,
  type Disc,
  type Observation,
  type Point,
} from "./observations.js";
import type { Smoother, SmootherOf } from "./smoothing.js";

const OF = constants.tracking;
const MEMORY_S = 2;

/** An observation moved on by so many pixels, with a score of its own: that of an instance that another one hides. */
export type Move<O> = (observation: O, shift: Point, score: number) => O;

/** What an instance is known by: its place, side and colours. */
interface Look {
  readonly disc: Disc;
  readonly left: number | null;
  readonly colours: Float32Array | null;
}

function lookOf(observation: Observation): Look {
  return { disc: discAround(observation), left: observation.left, colours: observation.colours };
}

/** How badly what is seen fits what is expected: distance, other side, other colours. */
function lookCost(expected: Look, seen: Look): number {
  let cost = distance(expected.disc.centre, seen.disc.centre) / Math.max(expected.disc.size, seen.disc.size);
  if (expected.left !== null && seen.left !== null) cost += OF.SIDE_WEIGHT * Math.abs(expected.left - seen.left);
  if (expected.colours && seen.colours) cost += (OF.COLOUR_WEIGHT / 255) * difference(expected.colours, seen.colours);
  return cost;
}

/** One instance over time. */
export class Track<O extends Observation> {
  readonly id: number;
  /** Of the newest frame, as seen. */
  observation: O;
  /** The same, smoothed over time where asked for. */
  smoothed: O;
  smoother: Smoother<O> | null;
  seenAt: number;
  /** Belief that it is a left one, over the frames seen; null where there are no sides. */
  left: number | null = null;
  /** Of it, as learnt while it is alone. */
  colours: Float32Array | null = null;
  frames = 0;
  /** For how many seconds another instance has hidden it; null while it is seen. */
  hidden: number | null = null;
  /** How long of that nothing has covered it any more. */
  uncovered = 0;
  /** The crop of the next frame. */
  box!: RotatedBox;
  #sureness = 0;
  #velocity: Point = [0, 0];
  #drift: Point = [0, 0];

  constructor(id: number, observation: O, smoother: Smoother<O> | null, now: number) {
    this.id = id;
    this.observation = this.smoothed = observation;
    this.smoother = smoother;
    this.seenAt = now;
  }

  /** Take over a new frame's observation; of one that is not alone the colours may be another's. */
  see(observation: O, now: number, isAlone = true): void {
    const step = now - this.seenAt;
    if (this.frames && step > 0 && this.hidden === null) {
      const [before, after] = [centreOf(this.observation), centreOf(observation)];
      const per = Math.max(step, OF.MIN_STEP_S);
      const speed: Point = [(after[0] - before[0]) / per, (after[1] - before[1]) / per];
      const weight = -Math.expm1(-step / OF.DRIFT_WINDOW_S);
      const [vx, vy] = this.#velocity;
      const [dx, dy] = this.#drift;
      this.#velocity = [0.5 * vx + 0.5 * speed[0], 0.5 * vy + 0.5 * speed[1]];
      this.#drift = [dx + weight * (speed[0] - dx), dy + weight * (speed[1] - dy)];
    }
    this.observation = observation;
    this.seenAt = now;
    this.frames += 1;
    this.hidden = null;
    this.uncovered = 0;
    if (observation.left !== null) this.#seeSide(observation.left);
    const { colours } = observation;
    if (this.colours === null) this.colours = colours;
    else if (isAlone && colours) this.colours = this.colours.map((c, i) => c + OF.COLOUR_MEMORY * (colours[i]! - c));
    this.smoothed = this.smoother === null ? observation : this.smoother(observation, now);
  }

  /** Move on by a frame in which it is not seen, ever slower and not out from behind what covers it. */
  hide(now: number, move: Move<O>, covers: readonly Track<O>[], isCovered: boolean): void {
    const step = Number.isFinite(this.seenAt) ? now - this.seenAt : 0;
    if (this.hidden === null) this.#velocity = this.#drift;
    let shift: Point = [this.#velocity[0] * step, this.#velocity[1] * step];
    if (covers.length) {
      const off = OF.OCCLUDED_OFFSET + OF.INITIAL_OFFSET * Math.exp(-(this.hidden ?? 0) / OF.OFFSET_DECAY_S);
      shift = keptBehind(this.observation, shift, covers.map((one) => one.observation), off);
    }
    const slower = Math.exp(-step / OF.SPEED_DECAY_S);
    this.#velocity = [this.#velocity[0] * slower, this.#velocity[1] * slower];
    this.uncovered = isCovered ? 0 : this.uncovered + step;
    this.hidden = (this.hidden ?? 0) + step;
    this.seenAt = now;
    const score = this.observation.score * Math.exp(-step / OF.SCORE_DECAY_S);
    this.observation = move(this.observation, shift, score);
    this.smoothed = move(this.smoothed, shift, score);
  }

  /** Whether it has been hidden for too long. */
  get isOver(): boolean {
    return (this.hidden ?? 0) > OF.MAX_OCCLUDED_S || this.uncovered > OF.MAX_UNOCCLUDED_S;
  }

  /** Move the belief towards a new frame's word, by as much as that frame is sure of it. */
  #seeSide(left: number): void {
    const sureness = Math.abs(2 * left - 1);
    this.#sureness += sureness;
    if (this.left === null || this.#sureness === 0) this.left = left;
    else this.left += Math.max(sureness / this.#sureness, OF.SIDE_MEMORY * sureness) * (left - this.left);
  }

  cost(observation: O, now: number): number {
    return lookCost(this.expected(now), lookOf(observation));
  }

  /** As it should look at a time. */
  expected(now: number): Look {
    const reach = Math.min(Math.max(now - this.seenAt, 0), 0.2); // beyond that a speed says little
    const { centre, size } = discAround(this.observation);
    const predicted: Point = [centre[0] + this.#velocity[0] * reach, centre[1] + this.#velocity[1] * reach];
    return { disc: { centre: predicted, size }, left: this.left, colours: this.colours };
  }
}

export interface TrackerOptions<O extends Observation> {
  readonly newSmoother: SmootherOf<O>;
  /** Two readings of one hand, the one inside the other, are one instance. */
  readonly oneReading: boolean;
  /** Moves on what another instance hides, until it is seen again; null to lose it. */
  readonly move: Move<O> | null;
  /** Instances to hold, the hidden ones among them. */
  readonly most: number;
  /** Which keypoints say whether two overlap; null for all. */
  readonly core: readonly number[] | null;
}

export type Pair<O extends Observation> = readonly [Track<O>, O];

/** Gives observations their identity. */
export class Tracker<O extends Observation> {
  active: Track<O>[] = [];
  #lost: Track<O>[] = [];
  #nextId = 1;
  readonly #options: TrackerOptions<O>;

  constructor(options: TrackerOptions<O>) {
    this.#options = options;
  }

  /** Observations from boxes of unknown origin: pairs with the held tracks that they fit, and the rest. */
  match(seen: readonly O[], now: number): [Pair<O>[], O[]] {
    const pairs: Pair<O>[] = [];
    const [free, rest] = [[...this.active], [...seen]];
    while (free.length && rest.length) {
      const all = free.flatMap((track, i) => rest.map((one, j) => ({ cost: track.cost(one, now), i, j })));
      const best = all.reduce((least, one) => (one.cost < least.cost ? one : least));
      if (best.cost >= OF.MAX_REVIVE_DISTANCE) break;
      pairs.push([...free.splice(best.i, 1), ...rest.splice(best.j, 1)] as unknown as Pair<O>);
    }
    return [pairs, rest];
  }

  /** Whether what its box shows has the colours of another one there rather than the track's own. */
  isAnother(track: Track<O>, seen: O): boolean {
    if (!track.colours || !seen.colours || !this.#options.move) return false;
    const limit = OF.COLOUR_RATIO * difference(track.colours, seen.colours);
    return [...this.active, ...this.#lost].some(
      (other) =>
        other !== track &&
        other.colours !== null &&
        difference(other.colours, seen.colours!) < limit &&
        shareInside(other.observation.keypoints, seen.keypoints) > OF.MIN_OVERLAP,
    );
  }

  /** Where instances were looked for that were lost within the last second. */
  lostBoxes(now: number): RotatedBox[] {
    return this.#lost.filter((track) => now - track.seenAt < OF.LOCAL_SEARCH_S).map((track) => track.box);
  }

  /** Forget everyone; ids start again at 1. */
  reset(): void {
    [this.active, this.#lost, this.#nextId] = [[], [], 1];
  }

  /** A new stream of times begins: filters start anew, the instances held stay held. */
  restartClock(): void {
    this.#lost = [];
    for (const track of this.active) {
      track.smoother = this.#options.newSmoother();
      track.seenAt = -Infinity;
    }
  }

  /**
   * Take over one frame.
   *
   * @param carried the tracks whose box still shows an instance, with what was seen there
   * @param found what a search found elsewhere
   * @returns whether any track was lost in this frame, or is neither seen nor hidden
   */
  update(carried: readonly Pair<O>[], found: readonly O[], now: number): boolean {
    const { move, oneReading } = this.#options;
    this.#lost = this.#lost.filter((track) => now - track.seenAt >= 0 && now - track.seenAt <= MEMORY_S);
    const lookedAt = new Set(carried.map(([track]) => track));
    const discs = this.active.map((track) => ({ track, disc: discAround(track.observation) }));
    const alone = new Set(carried.filter(([track, one]) => isAlone(track, one, discs)).map(([track]) => track));
    if (move) {
      const all = carried;
      carried = all.filter((pair) => alone.has(pair[0]) || this.#isTrusted(pair, all, now));
    }
    let tracks = carried.map(([track]) => track);
    const seen = sortedOut(tracks, carried.map(([, one]) => one), now);
    const unseen = this.active.filter((track) => track.hidden !== null && !tracks.includes(track));
    tracks = tracks.map((track, i) => this.#rightful(track, seen[i]!, unseen, now));
    const kept = oneTrackPerObject(tracks, seen, now, oneReading);
    const held = kept.map((i) => tracks[i]!);
    let gone = this.active.filter((track) => !held.includes(track));
    const isAnyLost = gone.some((track) => track.hidden === null);
    for (const i of kept) tracks[i]!.see(seen[i]!, now, alone.has(tracks[i]!));
    for (const track of gone) if (track.seenAt === -Infinity) track.seenAt = now; // by a clock that began anew
    this.#lost.push(...gone);
    let fresh = withoutDuplicates(found, held.map((track) => track.observation), oneReading);
    if (move) fresh = fresh.filter((one) => !this.#isBlend(one, [...held, ...gone], now));
    held.push(...fresh.map((one) => this.#welcome(one, now)));
    if (move) {
      gone = gone.filter((track) => this.#lost.includes(track));
      held.push(...this.#hide(gone, lookedAt, held, now, move));
    }
    this.active = held.sort((a, b) => a.id - b.id);
    return isAnyLost || held.some((track) => track.uncovered > 0);
  }

  /** Whether an observation is of its track, and not a blend of two or the other one. */
  #isTrusted([track, seen]: Pair<O>, carried: readonly Pair<O>[], now: number): boolean {
    let cost = track.cost(seen, now);
    if (track.left !== null && seen.left !== null) {
      const isUndecided = track.frames < OF.NEW_TRACK_FRAMES || Math.abs(2 * track.left - 1) < OF.MIN_SIDE_SURENESS;
      if (isUndecided) cost -= OF.SIDE_WEIGHT * Math.abs(track.left - seen.left);
    }
    if (cost >= OF.MAX_TRUSTED_COST) return false;
    if (track.hidden === null && meanDistance(seen, track.observation) > OF.MAX_STEP) return false;
    const ofHidden = (one: Track<O>) => (one.hidden === null ? 0 : OF.OCCLUDED_COST);
    const rank = cost + ofHidden(track);
    return !carried.some(
      ([other, one]) =>
        other !== track &&
        meanDistance(seen, one, this.#options.core) < OF.SAME_INSTANCE_DISTANCE &&
        other.cost(one, now) + ofHidden(other) < rank,
    );
  }

  /** Whether what a search found overlaps a known instance and is none that was lost: it waits until they part. */
  #isBlend(found: O, known: readonly Track<O>[], now: number): boolean {
    if (this.#lost.some((track) => track.cost(found, now) < OF.MAX_TRUSTED_COST)) return false;
    const disc = discAround(found);
    return known.some(
      ({ observation }) =>
        mayTouch(disc, discAround(observation)) &&
        shareInside(found.keypoints, observation.keypoints, this.#options.core) > OF.BLEND_OVERLAP,
    );
  }

  /** Those of the tracks just lost that another one hides, moved on: near another, or doubted for that. */
  #hide(
    gone: readonly Track<O>[],
    doubted: ReadonlySet<Track<O>>,
    held: readonly Track<O>[],
    now: number,
    move: Move<O>,
  ): Track<O>[] {
    const hidden: Track<O>[] = [];
    for (const track of gone.slice(0, Math.max(this.#options.most - held.length, 0))) {
      const near = [...held, ...gone].filter((one) => one !== track && areNear(one.observation, track.observation));
      if (track.hidden === null && !near.length && !doubted.has(track)) continue;
      const covers = near.filter((other) => held.includes(other));
      const isBlended = near.length > 0 && [track, ...near].some((other) => doubted.has(other));
      track.hide(now, move, covers, covers.length > 0 || isBlended);
      if (!track.isOver) {
        hidden.push(track);
        this.#lost = this.#lost.filter((one) => one !== track);
      }
    }
    return hidden;
  }

  /** The track itself, or a lost one that fits clearly better: a box can slip onto a hand that reappears. */
  #rightful(track: Track<O>, observation: O, hidden: Track<O>[], now: number): Track<O> {
    const best = bestOf([...this.#lost, ...hidden], observation, now);
    if (best === null || best.cost + OF.SLIP_MARGIN > track.cost(observation, now)) return track;
    const back = best.track;
    if (hidden.includes(back)) hidden.splice(hidden.indexOf(back), 1);
    else this.#lost = this.#lost.filter((one) => one !== back);
    back.smoother = this.#options.newSmoother();
    return back;
  }

  /** The remembered track that fits an observation, or a new one. */
  #welcome(observation: O, now: number): Track<O> {
    const best = bestOf(this.#lost, observation, now);
    let track: Track<O>;
    if (best !== null && best.cost < OF.MAX_REVIVE_DISTANCE) {
      track = best.track;
      this.#lost = this.#lost.filter((one) => one !== track);
      track.smoother = this.#options.newSmoother();
    } else {
      track = new Track(this.#nextId++, observation, this.#options.newSmoother(), now);
    }
    track.see(observation, now);
    return track;
  }
}

/** The track that an observation fits best; of two alike the older one. */
function bestOf<O extends Observation>(tracks: readonly Track<O>[], observation: O, now: number) {
  let best: { cost: number; track: Track<O> } | null = null;
  for (const track of tracks) {
    const cost = track.cost(observation, now);
    if (best === null || cost < best.cost || (cost === best.cost && track.id < best.track.id)) best = { cost, track };
  }
  return best;
}

/** Observations in the order of the tracks that they fit: two that slipped into each other's box change places. */
function sortedOut<O extends Observation>(tracks: readonly Track<O>[], seen: readonly O[], now: number): O[] {
  const expected = tracks.map((track) => track.expected(now));
  const looks = seen.map(lookOf);
  const order = seen.map((_, i) => i);
  const cost = (i: number, j: number) => lookCost(expected[i]!, looks[order[j]!]!);
  for (let i = 0; i < tracks.length; i++) {
    for (let j = 0; j < i; j++) {
      if (cost(i, j) + cost(j, i) < cost(i, i) + cost(j, j)) [order[i], order[j]] = [order[j]!, order[i]!];
    }
  }
  return order.map((i) => seen[i]!);
}

/** Whether no other track is near one that is in view. */
function isAlone<O extends Observation>(
  track: Track<O>,
  seen: O,
  discs: readonly { track: Track<O>; disc: Disc }[],
): boolean {
  const [own, next] = [discAround(track.observation), discAround(seen)];
  return (
    track.hidden === null &&
    !discs.some(
      ({ track: other, disc }) =>
        other !== track &&
        (mayTouch(own, disc) || mayTouch(next, disc)) &&
        (areNear(track.observation, other.observation) || areNear(seen, other.observation)),
    )
  );
}

/** Indices of the tracks to keep: where two see one object, the one that it fits better. */
function oneTrackPerObject<O extends Observation>(
  tracks: readonly Track<O>[],
  seen: readonly O[],
  now: number,
  oneReading: boolean,
): number[] {
  const kept: number[] = [];
  const discs = seen.map(discAround);
  const costs = tracks.map((track, i) => track.cost(seen[i]!, now));
  for (const i of costs.map((_, index) => index).sort((a, b) => costs[a]! - costs[b]!)) {
    const isTaken = kept.some((j) => mayTouch(discs[i]!, discs[j]!) && isSameObject(seen[i]!, seen[j]!, oneReading));
    if (!isTaken) kept.push(i);
  }
  return kept;
}
