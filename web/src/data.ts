/** Data that Python and this module share. `python tools/web_data.py` writes data.json. */

import raw from "./data.json";

export type Weight = (typeof raw.weights)["hand-full"];
export interface Grid {
  readonly size: number;
  readonly layers: readonly (readonly [number, number])[]; // cells per side, and anchors per cell
}
export interface OptionRecord {
  readonly type: string;
  readonly default?: boolean | number | string;
  readonly choices?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly requires_server?: boolean;
}
/**
 * Task of a network. `hand`, `recrop`, `face` and `face_detector` are for a person's hands and
 * face. `search` detects faces in windows, `people` proposes people, `guide` finds their bodies for
 * their arms, and `palms` the hands at the ends of arms.
 */
export type Role =
  | "detector"
  | "landmark"
  | "hand"
  | "recrop"
  | "face"
  | "face_detector"
  | "search"
  | "guide"
  | "palms"
  | "people";
export interface KindRecord {
  readonly list: string; // name of the list of results in an answer
  readonly instances: readonly string[]; // kinds of the instances with keypoints
  readonly stream_smoothing: string; // smoothing of streams with `smoothing: "auto"`
  // names of weights by model and role
  readonly models: Readonly<Record<string, Readonly<Partial<Record<Role, string>>>>>;
  /** Names of the weights that only the search of stills runs, by model and role. */
  readonly for_stills: Readonly<Record<string, Readonly<Partial<Record<Role, string>>>>>;
  readonly min_detection_score: Readonly<Record<string, number>>;
  readonly options: Readonly<Record<string, OptionRecord>>;
}
export const {
  constants,
  covers: COVERS,
  measures: MEASURES,
  motions: MOTIONS,
  events: EVENTS,
  one_euro: ONE_EURO,
  blendshapes: BLENDSHAPES,
} = raw;
export const GRIDS = raw.grids as unknown as Readonly<Record<keyof typeof raw.grids, Grid>>;
export const KINDS: Readonly<Record<string, KindRecord>> = raw.kinds;
/** Data of the gesture classifier, without its weights. */
export const GESTURES = raw.gestures as Omit<typeof raw.gestures, "vocabulary"> & {
  readonly vocabulary: {
    readonly shapes: readonly string[];
    readonly directions: Readonly<
      Record<
        string,
        { readonly finger: readonly number[]; readonly names: readonly (string | null)[] }
      >
    >;
  };
};
export const WEIGHTS: Readonly<Record<string, Weight>> = raw.weights;
