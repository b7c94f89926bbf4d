/**
 * Track instances from frame to frame: stable ids, one track per object, re-identification of lost
 * instances.
 */

import { constants } from "./data.js";
import {
  areNear,
  centreOf,
  clampToOccluder,
  colourDifference,
  discAround,
  distance,
  iou,
  isSameObject,
  mayTouch,
  meanDistance,
  overlapOverSmaller,
  suppressDuplicates,
  type Disc,
  type Observation,
  type Point,
  type RotatedBox,
} from "./observations.js";
import type { Settings } from "./options.js";
import type { Pixels } from "./pixels.js";
import type { Result } from "./results.js";
import type { Smoother, SmootherOf } from "./smoothing.js";

const OF = constants.tracking;

/** Position, side and colours of an instance. */
type Appearance = {
  readonly disc: Disc;
  readonly left: number | null;
  readonly colours: Float32Array | null;
};

const appearanceOf = (observation: Observation): Appearance => ({
  disc: discAround(observation),
  left: observation.left,
  colours: observation.colours,
});

/**
 * Return the cost of assigning an observed appearance: distance from the predicted centre, other
 * side, other colours.
 */
function appearanceCost(expected: Appearance, observed: Appearance): number {
  let cost =
    distance(expected.disc.centre, observed.disc.centre) /
    Math.max(expected.disc.size, observed.disc.size);
  if (expected.left !== null && observed.left !== null)
    cost += OF.SIDE_WEIGHT * Math.abs(expected.left - observed.left);
  if (expected.colours && observed.colours)
    cost += (OF.COLOUR_WEIGHT / 255) * colourDifference(expected.colours, observed.colours);
  return cost;
}

/** One instance over time. */
export class Track<O extends Observation> {
  smoothed: O; // observation in the newest frame, smoothed if the options ask for it
  // belief that the instance is a left one; null for instances without sides
  left: number | null = null;
  // running mean of the colours while no other instance is near; null if there are none
  colours: Float32Array | null = null;
  frames = 0; // number of frames with an observation
  // time in seconds since another instance occluded it; null while it is visible
  occludedS: number | null = null;
  unoccludedS = 0; // time in seconds without an occluder during an occlusion
  #hiddenS = 0; // time in seconds of an occlusion that short interruptions do not end
  #hiddenUntilS = -Infinity;
  box!: RotatedBox; // crop of the next frame
  #sureness = 0;
  #velocity: Point = [0, 0];
  #drift: Point = [0, 0];

  /**
   * @param id stable while the instance is tracked or remembered @param observation that in the
   *   newest frame, not smoothed
   * @param smoother null for no smoothing @param seenS time of the newest frame in seconds
   */
  constructor(
    readonly id: number,
    public observation: O,
    public smoother: Smoother<O> | null,
    public seenS: number,
  ) {
    this.smoothed = observation;
  }

  /**
   * Add the observation of a new frame. The colours are learned only while no other instance is
   * near.
   */
  update(observation: O, now: number, learnsColours = true): void {
    const step = now - this.seenS;
    if (this.frames && step > 0 && this.occludedS === null) {
      const [before, after] = [centreOf(this.observation), centreOf(observation)];
      const duration = Math.max(step, OF.MIN_STEP_S);
      const speed: Point = [(after[0] - before[0]) / duration, (after[1] - before[1]) / duration];
      const weight = -Math.expm1(-step / OF.DRIFT_WINDOW_S);
      const [vx, vy] = this.#velocity;
      const [dx, dy] = this.#drift;
      this.#velocity = [0.5 * vx + 0.5 * speed[0], 0.5 * vy + 0.5 * speed[1]];
      this.#drift = [dx + weight * (speed[0] - dx), dy + weight * (speed[1] - dy)];
    }
    this.observation = observation;
    this.seenS = now;
    this.frames += 1;
    this.occludedS = null;
    this.unoccludedS = 0;
    if (observation.left !== null) this.#updateSide(observation.left);
    const { colours } = observation;
    if (this.colours === null) this.colours = colours;
    else if (learnsColours && colours)
      this.colours = this.colours.map((c, i) => c + OF.COLOUR_MEMORY * (colours[i]! - c));
    this.smoothed = this.smoother === null ? observation : this.smoother(observation, now);
  }

  /**
   * Propagate the track by one frame without an observation, ever slower and close to its occluder.
   */
  markOccluded(now: number, kind: Kind<O>, covers: readonly Track<O>[], isCovered: boolean): void {
    const step = Number.isFinite(this.seenS) ? now - this.seenS : 0;
    if (this.occludedS === null) {
      this.#velocity = this.#drift;
      if (now - this.#hiddenUntilS > OF.MAX_INTERRUPTION_S) this.#hiddenS = 0;
    }
    let shift: Point = [this.#velocity[0] * step, this.#velocity[1] * step];
    if (covers.length) {
      const maxOffset =
        OF.OCCLUDED_OFFSET +
        OF.INITIAL_OFFSET * Math.exp(-(this.occludedS ?? 0) / OF.OFFSET_DECAY_S);
      shift = clampToOccluder(
        this.observation,
        shift,
        covers.map((cover) => cover.observation),
        maxOffset,
      );
    }
    const decay = Math.exp(-step / OF.SPEED_DECAY_S);
    this.#velocity = [this.#velocity[0] * decay, this.#velocity[1] * decay];
    this.unoccludedS = isCovered ? 0 : this.unoccludedS + step;
    this.occludedS = (this.occludedS ?? 0) + step;
    this.#hiddenS += step;
    this.seenS = this.#hiddenUntilS = now;
    const score = this.observation.score * Math.exp(-step / OF.SCORE_DECAY_S);
    this.observation = kind.propagate(this.observation, shift, score);
    this.smoothed = kind.propagate(this.smoothed, shift, score);
  }

  /**
   * Check whether the expected centre is less than the size of another instance from its centre.
   */
  isBehind(cover: Track<O>, now: number): boolean {
    const { centre, size } = discAround(cover.observation);
    return distance(this.expected(now).disc.centre, centre) < size;
  }

  /** Check whether the occlusion has lasted too long. */
  get isOver(): boolean {
    return this.#hiddenS > OF.MAX_OCCLUDED_S || this.unoccludedS > OF.MAX_UNOCCLUDED_S;
  }

  /** Update the belief of the side, weighted by the confidence of the new frame. */
  #updateSide(left: number): void {
    const sureness = Math.abs(2 * left - 1);
    this.#sureness += sureness;
    if (this.left === null || this.#sureness === 0) this.left = left;
    else
      this.left +=
        Math.max(sureness / this.#sureness, OF.SIDE_MEMORY * sureness) * (left - this.left);
  }

  /** Return the cost of an observation; see `appearanceCost`. */
  cost(observation: O, now: number): number {
    return appearanceCost(this.expected(now), appearanceOf(observation));
  }

  /** Predict the appearance at a time. */
  expected(now: number): Appearance {
    const reach = Math.min(Math.max(now - this.seenS, 0), 0.2); // an older speed is unreliable
    const { centre, size } = discAround(this.observation);
    const predicted: Point = [
      centre[0] + this.#velocity[0] * reach,
      centre[1] + this.#velocity[1] * reach,
    ];
    return { disc: { centre: predicted, size }, left: this.left, colours: this.colours };
  }
}

export type Pair<O extends Observation> = readonly [Track<O>, O];

/** Assigns observations to tracks. */
export class Tracker<O extends Observation> {
  active: Track<O>[] = [];
  #lost: Track<O>[] = [];
  #nextId = 1;

  readonly #newSmoother: SmootherOf<O>;
  // as in MediaPipe: nested observations of one side are two instances, and occluded instances are
  // lost
  readonly #isFast: boolean;

  constructor(
    private readonly kind: Kind<O>,
    private readonly settings: Settings,
  ) {
    this.#newSmoother = kind.newSmoother(settings);
    this.#isFast = settings.search === "fast";
  }

  /**
   * Match observations from external boxes with the active tracks. Return the pairs and the rest.
   */
  match(observations: readonly O[], now: number): [Pair<O>[], O[]] {
    const pairs: Pair<O>[] = [];
    const [free, unmatched] = [[...this.active], [...observations]];
    while (free.length && unmatched.length) {
      const all = free.flatMap((track, i) =>
        unmatched.map((observation, j) => ({ cost: track.cost(observation, now), i, j })),
      );
      const best = all.reduce((lowest, pair) => (pair.cost < lowest.cost ? pair : lowest));
      if (best.cost >= OF.MAX_REVIVE_DISTANCE) break;
      pairs.push([...free.splice(best.i, 1), ...unmatched.splice(best.j, 1)] as unknown as Pair<O>);
    }
    return [pairs, unmatched];
  }

  /**
   * Check whether an observation has the colours of another instance there rather than the track's
   * own.
   */
  isAnother(track: Track<O>, observation: O): boolean {
    const { colours } = observation;
    if (!track.colours || !colours || this.#isFast) return false;
    const limit = OF.COLOUR_RATIO * colourDifference(track.colours, colours);
    return [...this.active, ...this.#lost].some(
      (other) =>
        other !== track &&
        other.colours !== null &&
        colourDifference(other.colours, colours) < limit &&
        overlapOverSmaller(other.observation.keypoints, observation.keypoints) > OF.MIN_OVERLAP,
    );
  }

  /** Forget all tracks. Ids start again at 1. */
  reset(): void {
    [this.active, this.#lost, this.#nextId] = [[], [], 1];
  }

  /** Start a new time axis: filters are reset, active tracks continue. */
  restartClock(): void {
    this.#lost = [];
    for (const track of this.active) {
      track.smoother = this.#newSmoother();
      track.seenS = -Infinity;
    }
  }

  /**
   * Update the tracks with one frame.
   *
   * @param carried tracks whose box still shows an instance, each with its observation
   * @param found observations from a search
   * @returns whether any track was lost in this frame, or is occluded without an occluder
   */
  update(carried: readonly Pair<O>[], found: readonly O[], now: number): boolean {
    const isFast = this.#isFast;
    this.#lost = this.#lost.filter(
      (track) => now - track.seenS >= 0 && now - track.seenS <= OF.MEMORY_S,
    );
    const observed = new Set(carried.map(([track]) => track));
    const discs = this.active.map((track) => ({ track, disc: discAround(track.observation) }));
    const isolated = new Set(
      carried
        .filter(([track, observation]) => isIsolated(track, observation, discs))
        .map(([track]) => track),
    );
    if (!isFast) {
      const all = carried;
      carried = all.filter((pair) => isolated.has(pair[0]) || this.#isTrusted(pair, all, now));
    }
    let tracks = carried.map(([track]) => track);
    const observations = resolveSwaps(
      tracks,
      carried.map(([, observation]) => observation),
      now,
    );
    const unseen = this.active.filter(
      (track) => track.occludedS !== null && !tracks.includes(track),
    );
    tracks = tracks.map((track, i) => this.#reidentified(track, observations[i]!, unseen, now));
    const indices = oneTrackPerObject(tracks, observations, now, !isFast);
    const active = indices.map((i) => tracks[i]!);
    let missing = this.active.filter((track) => !active.includes(track));
    const isAnyLost = missing.some((track) => track.occludedS === null);
    for (const i of indices) tracks[i]!.update(observations[i]!, now, isolated.has(tracks[i]!));
    // the clock was restarted
    for (const track of missing) if (track.seenS === -Infinity) track.seenS = now;
    this.#lost.push(...missing);
    let detections = suppressDuplicates(
      found,
      active.map((track) => track.observation),
      !isFast,
    );
    if (!isFast)
      detections = detections.filter(
        (detection) => !this.#isBlend(detection, [...active, ...missing], now),
      );
    active.push(...detections.map((detection) => this.#startOrRevive(detection, now)));
    if (!isFast) {
      missing = missing.filter((track) => this.#lost.includes(track));
      active.push(...this.#markOccluded(missing, observed, active, now));
    }
    this.active = active.sort((a, b) => a.id - b.id);
    return isAnyLost || active.some((track) => track.unoccludedS > 0);
  }

  /**
   * Check whether an observation shows its track, not a blend of two instances or the other one.
   */
  #isTrusted([track, observation]: Pair<O>, carried: readonly Pair<O>[], now: number): boolean {
    let cost = track.cost(observation, now);
    if (track.left !== null && observation.left !== null) {
      const isUndecided =
        track.frames < OF.NEW_TRACK_FRAMES || Math.abs(2 * track.left - 1) < OF.MIN_SIDE_SURENESS;
      if (isUndecided) cost -= OF.SIDE_WEIGHT * Math.abs(track.left - observation.left);
    }
    if (cost >= OF.MAX_TRUSTED_COST) return false;
    if (track.occludedS === null && meanDistance(observation, track.observation) > OF.MAX_STEP)
      return false;
    const occludedCost = ({ occludedS }: Track<O>) => (occludedS === null ? 0 : OF.OCCLUDED_COST);
    const rank = cost + occludedCost(track);
    return !carried.some(
      ([other, item]) =>
        other !== track &&
        meanDistance(observation, item, this.kind.overlapKeypoints) < OF.SAME_INSTANCE_DISTANCE &&
        other.cost(item, now) + occludedCost(other) < rank,
    );
  }

  /** Check whether a detection blends known instances. It is ignored until they separate. */
  #isBlend(detection: O, tracks: readonly Track<O>[], now: number): boolean {
    if (this.#lost.some((track) => track.cost(detection, now) < OF.MAX_TRUSTED_COST)) return false;
    const disc = discAround(detection);
    return tracks.some(
      ({ observation }) =>
        mayTouch(disc, discAround(observation)) &&
        overlapOverSmaller(detection.keypoints, observation.keypoints, this.kind.overlapKeypoints) >
          OF.BLEND_OVERLAP,
    );
  }

  /** Propagate the lost tracks that are near another track or had a doubtful observation. */
  #markOccluded(
    missing: readonly Track<O>[],
    doubted: ReadonlySet<Track<O>>,
    active: readonly Track<O>[],
    now: number,
  ): Track<O>[] {
    const occluded: Track<O>[] = [];
    for (const track of missing.slice(
      0,
      Math.max(this.settings.max_instances - active.length, 0),
    )) {
      const near = [...active, ...missing].filter(
        (other) => other !== track && areNear(other.observation, track.observation),
      );
      if (track.occludedS === null && !near.length && !doubted.has(track)) continue;
      const covers = near.filter((other) => active.includes(other));
      if (
        track.occludedS === null &&
        covers.length &&
        !covers.some((cover) => track.isBehind(cover, now))
      )
        continue;
      const isBlended = near.length > 0 && [track, ...near].some((other) => doubted.has(other));
      track.markOccluded(now, this.kind, covers, covers.length > 0 || isBlended);
      if (!track.isOver) {
        occluded.push(track);
        this.#lost = this.#lost.filter((other) => other !== track);
      }
    }
    return occluded;
  }

  /**
   * Return the track, or a lost one that fits clearly better: a box can slip onto a hand that
   * reappears.
   */
  #reidentified(track: Track<O>, observation: O, occluded: Track<O>[], now: number): Track<O> {
    const best = bestOf([...this.#lost, ...occluded], observation, now);
    if (best === null || best.cost + OF.SLIP_MARGIN > track.cost(observation, now)) return track;
    const back = best.track;
    if (occluded.includes(back)) occluded.splice(occluded.indexOf(back), 1);
    else this.#lost = this.#lost.filter((other) => other !== back);
    back.smoother = this.#newSmoother();
    return back;
  }

  /** Return the lost track that fits an observation, or a new track. */
  #startOrRevive(observation: O, now: number): Track<O> {
    const best = bestOf(this.#lost, observation, now);
    let track: Track<O>;
    if (best !== null && best.cost < OF.MAX_REVIVE_DISTANCE) {
      track = best.track;
      this.#lost = this.#lost.filter((other) => other !== track);
      track.smoother = this.#newSmoother();
    } else {
      track = new Track(this.#nextId++, observation, this.#newSmoother(), now);
    }
    track.update(observation, now);
    return track;
  }
}

/**
 * Return the track that fits an observation best, with its cost. Of two equal tracks the older one
 * is returned.
 */
function bestOf<O extends Observation>(tracks: readonly Track<O>[], observation: O, now: number) {
  let best: { cost: number; track: Track<O> } | null = null;
  for (const track of tracks) {
    const cost = track.cost(observation, now);
    if (best === null || cost < best.cost || (cost === best.cost && track.id < best.track.id))
      best = { cost, track };
  }
  return best;
}

/**
 * Return the observations in the order of the tracks that they fit, with swapped pairs exchanged.
 */
function resolveSwaps<O extends Observation>(
  tracks: readonly Track<O>[],
  observations: readonly O[],
  now: number,
): O[] {
  const expected = tracks.map((track) => track.expected(now));
  const appearances = observations.map(appearanceOf);
  const order = observations.map((_, i) => i);
  const cost = (i: number, j: number) => appearanceCost(expected[i]!, appearances[order[j]!]!);
  for (let i = 0; i < tracks.length; i++) {
    for (let j = 0; j < i; j++) {
      if (cost(i, j) + cost(j, i) < cost(i, i) + cost(j, j))
        [order[i], order[j]] = [order[j]!, order[i]!];
    }
  }
  return order.map((i) => observations[i]!);
}

/** Check whether a track is visible and no other track is near. */
function isIsolated<O extends Observation>(
  track: Track<O>,
  observation: O,
  discs: readonly { track: Track<O>; disc: Disc }[],
): boolean {
  const [before, after] = [discAround(track.observation), discAround(observation)];
  return (
    track.occludedS === null &&
    !discs.some(
      ({ track: other, disc }) =>
        other !== track &&
        (mayTouch(before, disc) || mayTouch(after, disc)) &&
        (areNear(track.observation, other.observation) || areNear(observation, other.observation)),
    )
  );
}

/** Return the indices of the tracks to keep. Of two tracks on one object, the better fit stays. */
function oneTrackPerObject<O extends Observation>(
  tracks: readonly Track<O>[],
  observations: readonly O[],
  now: number,
  mergeNested: boolean,
): number[] {
  const indices: number[] = [];
  const discs = observations.map(discAround);
  const costs = tracks.map((track, i) => track.cost(observations[i]!, now));
  for (const i of costs.map((_, index) => index).sort((a, b) => costs[a]! - costs[b]!)) {
    const isSame = (j: number) =>
      mayTouch(discs[i]!, discs[j]!) &&
      isSameObject(observations[i]!, observations[j]!, mergeNested);
    if (!indices.some(isSame)) indices.push(i);
  }
  return indices;
}

/** Keeps the order of the instances that stay in view. New ones come first or last. */
export class InstanceOrder {
  #ids: number[] = [];

  constructor(private readonly options: { newFirst: boolean }) {}

  /**
   * Return the instances of the next frame in their order. Instances without a track ID stay as
   * they are.
   */
  sort<T extends { readonly id: number | null }>(instances: readonly T[]): T[] {
    const byId = new Map(instances.map((instance) => [instance.id, instance]));
    if (byId.has(null)) return [...instances];
    const tracked = this.#ids.filter((id) => byId.has(id));
    const appeared = [...byId.keys()].filter(
      (id): id is number => id !== null && !tracked.includes(id),
    );
    this.#ids = this.options.newFirst ? [...appeared, ...tracked] : [...tracked, ...appeared];
    return this.#ids.map((id) => byId.get(id)!);
  }

  /** Forget the order: the next frame starts a new stream. */
  reset(): void {
    this.#ids = [];
  }
}

/** What differs between hands, faces, bodies and people. */
export interface Kind<O extends Observation> {
  /**
   * True if every image is searched and no box is carried over. Observations then decide the
   * identity and are always present.
   */
  readonly searchesAlways?: boolean;
  readonly keepsOverlapping?: boolean; // true if overlapping instances of a still are kept
  /**
   * Indices of the keypoints that decide whether two instances overlap, without limbs that reach
   * out to others; null for all.
   */
  readonly overlapKeypoints: readonly number[] | null;
  /** Return boxes for the landmark network from a search of an image, best first. */
  find(image: Pixels, minScore: number): Promise<RotatedBox[]>;
  /** Run the landmark network on one box. */
  observe(image: Pixels, box: RotatedBox): Promise<O>;
  /** Return the box of the next frame. */
  follow(track: Track<O>): RotatedBox;
  /** Check whether two boxes show the same instance. */
  isSameInstance(box: RotatedBox, other: RotatedBox): boolean;
  newSmoother(settings: Settings): SmootherOf<O>;
  /**
   * Return the observation of an occluded instance: shifted by a number of pixels, with another
   * score.
   */
  propagate(observation: O, shift: Point, score: number): O;
  /** Return the public result for one instance; `track` is null for stills. */
  result(image: Pixels, observation: O, track: Track<O> | null): Result | Promise<Result>;
}

/** Check whether two boxes overlap by more than half, as boxes of one hand or face do. */
export const overlapByHalf = (box: RotatedBox, other: RotatedBox): boolean => iou(box, other) > 0.5;
