/** Drawings of results on a 2D canvas. */

import type { Connection } from "./connections.js";
import type { BoundingBox, NormalizedLandmark } from "./results.js";

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

/** Draws landmarks, connections and boxes. */
export class DrawingUtils {
  readonly #pen: CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D;

  constructor(context: CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D) {
    if (!("fillRect" in context)) throw new Error("DrawingUtils requires a 2D context");
    this.#pen = context;
  }

  /** Return a value within two limits of any order. */
  static clamp(x: number, x0: number, x1: number): number {
    return Math.max(Math.min(x0, x1), Math.min(Math.max(x0, x1), x));
  }

  /** Map a value from one range to another, within its limits. */
  static lerp(x: number, x0: number, x1: number, y0: number, y1: number): number {
    const share = (x - x0) / (x1 - x0);
    return DrawingUtils.clamp(y0 * (1 - share) + y1 * share, y0, y1);
  }

  /** Draw circles at landmarks. */
  drawLandmarks(landmarks?: NormalizedLandmark[], style: DrawingOptions = {}): void {
    const { width, height } = this.#pen.canvas;
    this.#drawn(() => {
      landmarks?.forEach((from, index) => {
        const data = { index, from };
        this.#set(style, data);
        this.#pen.beginPath();
        this.#pen.arc(from.x * width, from.y * height, valueOf(style.radius ?? 6, data), 0, 2 * Math.PI);
        this.#pen.fill();
        this.#pen.stroke();
      });
    });
  }

  /** Draw lines between landmarks. */
  drawConnectors(landmarks?: NormalizedLandmark[], connections?: Connection[], style: DrawingOptions = {}): void {
    if (!landmarks || !connections) return;
    const { width, height } = this.#pen.canvas;
    this.#drawn(() => {
      connections.forEach(({ start, end }, index) => {
        const [from, to] = [landmarks[start], landmarks[end]];
        if (!from || !to) return;
        this.#set(style, { index, from, to });
        this.#pen.beginPath();
        this.#pen.moveTo(from.x * width, from.y * height);
        this.#pen.lineTo(to.x * width, to.y * height);
        this.#pen.stroke();
      });
    });
  }

  /** Draw a filled box. */
  drawBoundingBox({ originX, originY, width, height }: BoundingBox, style: DrawingOptions = {}): void {
    this.#drawn(() => {
      this.#set(style, {});
      this.#pen.beginPath();
      this.#pen.moveTo(originX, originY);
      this.#pen.lineTo(originX + width, originY);
      this.#pen.lineTo(originX + width, originY + height);
      this.#pen.lineTo(originX, originY + height);
      this.#pen.lineTo(originX, originY); // as in MediaPipe, this corner is not joined
      this.#pen.stroke();
      this.#pen.fill();
    });
  }

  /** Do nothing: there is nothing to free. */
  close(): void {}

  #drawn(draw: () => void): void {
    this.#pen.save();
    draw();
    this.#pen.restore();
  }

  #set(style: DrawingOptions, data: LandmarkData): void {
    const color = style.color ?? "white";
    this.#pen.strokeStyle = valueOf(color, data);
    this.#pen.fillStyle = valueOf(style.fillColor ?? color, data);
    this.#pen.lineWidth = valueOf(style.lineWidth ?? 4, data);
  }
}

function valueOf<T extends Paint | number>(style: Style<T>, data: LandmarkData): T {
  return typeof style === "function" ? style(data) : style;
}
