/** What page and worker say to each other. */

import type { Role } from "./data.js";
import type { Event } from "./events.js";
import type { MotionEvent } from "./motions/events.js";
import type { Accelerator } from "./network.js";
import type { Pixels } from "./pixels.js";
import type { Settings } from "./options.js";
import type { Result } from "./results.js";

/** Where a detector's files are. */
export interface Places {
  /** Folder of the runtime, and what it runs networks on. */
  readonly runtime: string;
  readonly accelerator: Accelerator;
  /** Crops sample the centres of their pixels, as MediaPipe's do on graphics cards. */
  readonly samplesCentres: boolean;
  /** Hands and faces of people are searched in every frame, as MediaPipe's graph does. */
  readonly searchesParts: boolean;
  /** By what they are for. */
  readonly networks: Readonly<Partial<Record<Role, NetworkPlace>>>;
  /** Folder of the shipped gestures, and the address of custom ones. */
  readonly gestures: { readonly folder: string; readonly custom: string | null };
  /** Face landmarker's bundle: its address, and whether it is used whatever is asked for. */
  readonly bundle: { readonly url: string; readonly isOwn: boolean };
}

export interface NetworkPlace {
  readonly url: string;
  /** The published network's name; null for one of the caller's own. */
  readonly name: string | null;
}

/** An image on its way to the worker. */
export type Sent = ImageBitmap | Pixels;

export type Request =
  | { readonly id: number; readonly type: "load"; readonly settings: Settings; readonly places: Places }
  | { readonly id: number; readonly type: "configure"; readonly settings: Settings }
  | { readonly id: number; readonly type: "track"; readonly image: Sent; readonly time: number | null }
  | { readonly id: number; readonly type: "detect"; readonly image: Sent }
  | { readonly id: number; readonly type: "reset" };

/** What was found in an image of that size. */
export interface Answer {
  readonly width: number;
  readonly height: number;
  readonly found: readonly Result[];
  /** Number of instances found, also those beyond `max_instances`. */
  readonly total: number;
  /** Whether the search processed all proposals or found enough. */
  readonly complete: boolean;
  /** Of streams where hands have gestures. */
  readonly motions?: readonly MotionEvent[];
  /** Of streams with gestures or limits of measures. */
  readonly events?: readonly Event[];
}

export interface Reply {
  readonly id: number;
  readonly answer?: Answer | null;
  /** The message where it went wrong. */
  readonly error?: string;
}
