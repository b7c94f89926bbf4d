/** What Python and this module share; `python tools/web_data.py` writes data.json. */

import raw from "./data.json";

export interface Weight {
  readonly file: string;
  readonly bytes: number;
  readonly sha256: string;
}
export interface Grid {
  readonly size: number;
  /** Cells per side, and anchors per cell. */
  readonly layers: readonly (readonly [number, number])[];
}
export interface OptionRecord {
  readonly name: string;
  readonly type: string;
  readonly default: boolean | number | string | null;
  readonly choices: readonly string[];
  readonly minimum: number | null;
  readonly maximum: number | null;
  readonly help: string;
}
/**
 * What a network is for; those from `hand` on are of a person's hands and face, `search` sees faces in windows, `guide`
 * the bodies below them, `palms` the hands at the ends of a body's arms.
 */
export type Role = "detector" | "landmark" | "hand" | "recrop" | "face" | "face_detector" | "search" | "guide" | "palms";
export interface KindRecord {
  /** Of the results in an answer. */
  readonly list: string;
  /** Kinds of its instances with keypoints. */
  readonly instances: readonly string[];
  /** What `smoothing: "auto"` means in streams. */
  readonly stream_smoothing: string;
  /** Names of weights by what they are for. */
  readonly models: Readonly<Record<string, Readonly<Partial<Record<Role, string>>>>>;
  /** Of those that only the thorough search of images on their own runs. */
  readonly for_stills: Readonly<Record<string, Readonly<Partial<Record<Role, string>>>>>;
  readonly min_detection_score: Readonly<Record<string, number>>;
  readonly options: Readonly<Record<string, OptionRecord>>;
}
/** The pace of a kind's search in streams. */
export interface FinderRecord {
  readonly parts: readonly number[];
  readonly windows_per_inference: number;
  readonly min_presence: number;
  readonly inferences: number;
  /** Frames after which a window that shows nothing new is searched again; null for never. */
  readonly refresh_frames: number | null;
}

export const { constants, measures: MEASURES, motions: MOTIONS, events: EVENTS, one_euro: ONE_EURO, blendshapes: BLENDSHAPES } = raw;
export const FINDERS: Readonly<Record<keyof typeof raw.finders, FinderRecord>> = raw.finders;
export const GRIDS = raw.grids as unknown as Readonly<Record<keyof typeof raw.grids, Grid>>;
export const KINDS: Readonly<Record<string, KindRecord>> = raw.kinds;
/** What the recogniser of gestures is made of, but for its weights. */
export const GESTURES = raw.gestures as Omit<typeof raw.gestures, "vocabulary"> & {
  readonly vocabulary: {
    readonly shapes: readonly string[];
    readonly directions: Readonly<Record<string, { readonly finger: readonly number[]; readonly names: readonly (string | null)[] }>>;
  };
};
export const WEIGHTS: Readonly<Record<string, Weight>> = raw.weights;
