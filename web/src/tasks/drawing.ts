/** Draw results on a 2D canvas. */

import face from "../../../src/sonjit/results/skeletons/face_mediapipe478.json";
import mesh from "../../../src/sonjit/results/skeletons/face_mediapipe_tesselation.json";
import type { BoundingBox, MPMask, NormalizedLandmark } from "./results.js";
import { canvasOf, type ImageSource } from "./runner.js";

type Paint = string | CanvasGradient | CanvasPattern;

/** The landmark or connection that is drawn. */
export interface LandmarkData {
  /** Index of the landmark or connection. */
  index?: number;
  from?: NormalizedLandmark;
  to?: NormalizedLandmark;
}

/** A value, or a function of the landmark or connection. */
export type Style<T> = T | ((data: LandmarkData) => T);

export interface DrawingOptions {
  /** Color of lines. Default: white. */
  color?: Style<Paint>;
  /** Color of areas. Default: `color`. */
  fillColor?: Style<Paint>;
  /** Default: 4. */
  lineWidth?: Style<number>;
  /** Radius of landmarks. Default: 6. */
  radius?: Style<number>;
}

/** Red, green, blue and alpha, 0 to 255. */
export type RGBAColor = [number, number, number, number] | number[];

/** The color of each category. */
export type CategoryToColorMap = Map<number, RGBAColor> | RGBAColor[];

const BLACK: RGBAColor = [0, 0, 0, 255];
const CLEAR: RGBAColor = [0, 0, 0, 0];

/** Draws landmarks, connections, boxes and masks. */
export class DrawingUtils {
  readonly #context: CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D;

  /** @param _graphics ignored, because masks are blended on the processor */
  constructor(
    context: CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D | WebGL2RenderingContext,
    _graphics?: WebGL2RenderingContext,
  ) {
    if (!("fillRect" in context)) throw new Error("DrawingUtils requires a 2D context");
    this.#context = context;
  }

  /** Return a value within two limits of any order. */
  static clamp(x: number, x0: number, x1: number): number {
    return Math.max(Math.min(x0, x1), Math.min(Math.max(x0, x1), x));
  }

  /** Map a value from one range to another, within its limits. */
  static lerp(x: number, x0: number, x1: number, y0: number, y1: number): number {
    const fraction = (x - x0) / (x1 - x0);
    return DrawingUtils.clamp(y0 * (1 - fraction) + y1 * fraction, y0, y1);
  }

  /** Draw circles at landmarks. */
  drawLandmarks(landmarks?: NormalizedLandmark[], style: DrawingOptions = {}): void {
    const { width, height } = this.#context.canvas;
    this.#withState(() => {
      landmarks?.forEach((from, index) => {
        const data = { index, from };
        this.#set(style, data);
        this.#context.beginPath();
        this.#context.arc(
          from.x * width,
          from.y * height,
          valueOf(style.radius ?? 6, data),
          0,
          2 * Math.PI,
        );
        this.#context.fill();
        this.#context.stroke();
      });
    });
  }

  /** Draw lines between landmarks. */
  drawConnectors(
    landmarks?: NormalizedLandmark[],
    connections?: Connection[],
    style: DrawingOptions = {},
  ): void {
    if (!landmarks || !connections) return;
    const { width, height } = this.#context.canvas;
    this.#withState(() => {
      connections.forEach(({ start, end }, index) => {
        const [from, to] = [landmarks[start], landmarks[end]];
        if (!from || !to) return;
        this.#set(style, { index, from, to });
        this.#context.beginPath();
        this.#context.moveTo(from.x * width, from.y * height);
        this.#context.lineTo(to.x * width, to.y * height);
        this.#context.stroke();
      });
    });
  }

  /** Draw a filled box. */
  drawBoundingBox(
    { originX, originY, width, height }: BoundingBox,
    style: DrawingOptions = {},
  ): void {
    this.#withState(() => {
      this.#set(style, {});
      this.#context.beginPath();
      const corners = [
        [0, 0],
        [width, 0],
        [width, height],
        [0, height],
        [0, 0],
      ] as const; // as in MediaPipe, the first one is not joined
      for (const [x, y] of corners) this.#context.lineTo(originX + x, originY + y);
      this.#context.stroke();
      this.#context.fill();
    });
  }

  /**
   * Fill the canvas with the colors of the categories of a mask.
   *
   * @param categoryToColorMap categories without a color show the background
   * @param background color or image behind colors that are not opaque; default: black
   */
  drawCategoryMask(
    mask: MPMask,
    categoryToColorMap: CategoryToColorMap,
    background: RGBAColor | ImageSource = BLACK,
  ): void {
    const colors = new Map(categoryToColorMap.entries());
    for (const [category, { length }] of colors) {
      if (length !== 4) throw new Error(`Color at index ${category} is not a four-channel value.`);
    }
    const categories = mask.getAsUint8Array();
    const colorAt = (pixel: number) => colors.get(categories[pixel]!) ?? CLEAR;
    this.#blend(mask, background, colorAt, () => 1);
  }

  /**
   * Fill the canvas with two images or colors, blended by a mask.
   *
   * @param defaultTexture image or color where the confidence is 0
   * @param overlayTexture image or color where the confidence is 1
   */
  drawConfidenceMask(
    mask: MPMask,
    defaultTexture: RGBAColor | ImageSource,
    overlayTexture: RGBAColor | ImageSource,
  ): void {
    const confidences = mask.getAsFloat32Array();
    this.#blend(
      mask,
      defaultTexture,
      texture(overlayTexture, mask),
      (pixel) => confidences[pixel]!,
    );
  }

  /** Do nothing: there is nothing to free. */
  close(): void {}

  /**
   * Draw a layer of colors over a background, in the size of a mask; `shareAt`: returns the weight
   * of a color, 0 to 1.
   */
  #blend(
    { width, height }: MPMask,
    background: RGBAColor | ImageSource,
    colorAt: ColorAt,
    weightAt: (pixel: number) => number,
  ): void {
    const backgroundAt = texture(background, { width, height });
    const image = new ImageData(width, height);
    for (let pixel = 0; pixel < width * height; pixel++) {
      const [below, above] = [backgroundAt(pixel), colorAt(pixel)];
      const weight = (weightAt(pixel) * above[3]!) / 255;
      const mixed = (channel: number) => below[channel]! * (1 - weight) + above[channel]! * weight;
      const alpha = mixed(3);
      // As in MediaPipe, the mixed colors are premultiplied by the mixed alpha.
      for (let channel = 0; channel < 3; channel++)
        image.data[4 * pixel + channel] = alpha && (mixed(channel) * 255) / alpha;
      image.data[4 * pixel + 3] = alpha;
    }
    const { canvas } = this.#context;
    this.#context.drawImage(canvasOf(image), 0, 0, canvas.width, canvas.height);
  }

  #withState(draw: () => void): void {
    this.#context.save();
    draw();
    this.#context.restore();
  }

  #set(style: DrawingOptions, data: LandmarkData): void {
    const color = style.color ?? "white";
    this.#context.strokeStyle = valueOf(color, data);
    this.#context.fillStyle = valueOf(style.fillColor ?? color, data);
    this.#context.lineWidth = valueOf(style.lineWidth ?? 4, data);
  }
}

function valueOf<T extends Paint | number>(style: Style<T>, data: LandmarkData): T {
  return typeof style === "function" ? style(data) : style;
}

/** Returns the four channels of a pixel by its index, row by row. */
type ColorAt = (pixel: number) => ArrayLike<number>;

/** Return the colors of an image that is scaled to a size, or one color for all pixels. */
function texture(
  source: RGBAColor | ImageSource,
  { width, height }: { width: number; height: number },
): ColorAt {
  if (Array.isArray(source)) return () => source;
  const context = new OffscreenCanvas(width, height).getContext("2d")!;
  context.drawImage(source instanceof ImageData ? canvasOf(source) : source, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  return (pixel) => data.subarray(4 * pixel, 4 * pixel + 4);
}

/** A line from one landmark to another. */
export type Connection = { start: number; end: number };

const HAND_LINES = [
  [0, 1, 2, 3, 4],
  [0, 5, 6, 7, 8],
  [5, 9, 10, 11, 12],
  [9, 13, 14, 15, 16],
  [13, 17],
  [0, 17, 18, 19, 20],
];
const POSE_LINES = [
  ...[
    [0, 1, 2, 3, 7],
    [0, 4, 5, 6, 8],
    [9, 10],
    [11, 12],
    [11, 13, 15, 17],
    [15, 19],
    [15, 21],
    [17, 19],
  ],
  ...[
    [12, 14, 16, 18],
    [16, 20],
    [16, 22],
    [18, 20],
    [11, 23],
    [12, 24],
    [23, 24],
    [23, 25],
    [24, 26],
  ],
  ...[
    [25, 27],
    [26, 28],
    [27, 29],
    [28, 30],
    [29, 31],
    [30, 32],
    [27, 31],
    [28, 32],
  ],
];
const CONTOURS = [
  "lips",
  "leftEye",
  "leftEyebrow",
  "rightEye",
  "rightEyebrow",
  "faceOval",
] as const;

export const HAND_CONNECTIONS = HAND_LINES.flatMap(alongLine);
export const POSE_CONNECTIONS = POSE_LINES.flatMap(alongLine);
export const FACE = {
  LIPS: within("lips"),
  LEFT_EYE: within("leftEye"),
  LEFT_EYEBROW: within("leftEyebrow"),
  LEFT_IRIS: within("leftIris"),
  RIGHT_EYE: within("rightEye"),
  RIGHT_EYEBROW: within("rightEyebrow"),
  RIGHT_IRIS: within("rightIris"),
  FACE_OVAL: within("faceOval"),
  CONTOURS: CONTOURS.flatMap(within),
  TESSELATION: (mesh.triangles as [number, number, number][]).flatMap(([a, b, c]) =>
    alongLine([a, b, c, a]),
  ),
};

function alongLine(points: readonly number[]): Connection[] {
  return points.slice(1).map((end, i) => ({ start: points[i]!, end }));
}

/** Connections within a group of face landmarks, along its contours. */
function within(group: keyof typeof face.groups): Connection[] {
  const members = new Set(face.groups[group]);
  return face.connections
    .map(([start, end]) => ({ start: start!, end: end! }))
    .filter(({ start, end }) => members.has(start) && members.has(end));
}
