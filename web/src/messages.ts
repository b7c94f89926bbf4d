/** Messages between the page and its worker. */

import type { Role } from "./data.js";
import type { Accelerator } from "./network.js";
import type { Settings } from "./options.js";
import type { Pixels } from "./pixels.js";
import type { Results } from "./results.js";

/** Addresses of a detector's files, and how its networks run. */
export interface Places {
  /** Address of the folder of the runtime. */
  readonly runtime: string;
  readonly accelerator: Accelerator;
  /** Crops sample the centres of pixels, as in MediaPipe on graphics cards. */
  readonly samplesCentres: boolean;
  /** Hands and faces of people are searched in every frame, as in MediaPipe's graph. */
  readonly searchesParts: boolean;
  /** Files of the networks by role. */
  readonly networks: Readonly<Partial<Record<Role, NetworkPlace>>>;
  /** Addresses of the folder of the shipped gestures and of the file of custom gestures. */
  readonly gestures: { readonly folder: string; readonly custom: string | null };
  /** Face landmarker's bundle: its address, and whether it is custom, so that it is used with all options. */
  readonly bundle: { readonly url: string; readonly isOwn: boolean };
}

export interface NetworkPlace {
  readonly url: string;
  /** Name of the published network; null for a custom network. */
  readonly name: string | null;
}

/** An image for the worker. */
export type Sent = ImageBitmap | Pixels;

export type Request =
  | { readonly id: number; readonly type: "load"; readonly settings: Settings; readonly places: Places }
  | { readonly id: number; readonly type: "configure"; readonly settings: Settings }
  | { readonly id: number; readonly type: "track"; readonly image: Sent; readonly time: number | null }
  | { readonly id: number; readonly type: "detect"; readonly image: Sent }
  | { readonly id: number; readonly type: "reset" }
  | { readonly id: number; readonly type: "classify"; readonly image: Sent; readonly top: number; readonly runtime: string; readonly network: string };

/** Results of an image of this size. */
export interface Answer extends Results {
  readonly width: number;
  readonly height: number;
}

/** A class of a photograph. */
export interface ImageClass {
  /** Index of the class. */
  readonly label: number;
  readonly probability: number;
  /** Rows and columns of the map. */
  readonly size: readonly [number, number];
  /** Class activation map, row by row. It covers the image. */
  readonly values: readonly number[];
}

export interface Reply {
  readonly id: number;
  readonly answer?: Answer | readonly ImageClass[] | null;
  /** Error message, if the request failed. */
  readonly error?: string;
}
