/**
 * Draws saliency maps of the hand network and class activation maps of photographs as heat maps.
 */

import { find, makeButton, onLanguage, put, showError, text, textOr } from "./common.js";
import { addressOf, call, ENGINE, hasNoServer } from "./endpoints.js";
import { classes, NEUTRAL, type SaliencyMap } from "./kinds.js";
import type { Label } from "./labels.js";
import type { AppStore } from "./state.js";

const MIN_OPACITY = 30; // of 255
const STRONG = 190;
const STEPS = 64;
const LEAST = 0.5; // probability of a class that is shown
/**
 * Colours of the scale in OKLCh. Lightness grows evenly from dark blue to light yellow, also for
 * colour-blind readers.
 */
const HEAT = { lightness: [0.3, 0.93], chroma: [0.11, 0.16], hue: [275, 100] };
const POINTS = [
  "wrist",
  "thumb_tip",
  "index_finger_tip",
  "middle_finger_tip",
  "ring_finger_tip",
  "pinky_tip",
];

/** a class of a photograph with its map */
type ImageClass = {
  name: string;
  label: number;
  probability: number;
  size: [number, number];
  values: number[];
};
type ClassesAnswer = { width: number; height: number; classes: ImageClass[] };

/** Targets in groups; their texts are `target.KEY` and `target.group.KEY`. */
export const TARGETS: Record<string, string[]> = {
  decision: ["handedness", "presence"],
  sideways: POINTS.map((name) => `${name}.x`),
  height: POINTS.map((name) => `${name}.y`),
};

const GROUPED = new Set(Object.values(TARGETS).flat());

/** Return the name of an output as text. */
export const targetName = (target: string) =>
  textOr(`target.${target}`, GROUPED.has(target) ? text(`target.${target.split(".")[0]}`) : target);

/**
 * Draw a map over its box.
 *
 * @param ctx scaled to pixels of the image
 */
export function paintSaliency(
  ctx: CanvasRenderingContext2D,
  { size: [rows, columns], values, box }: Pick<SaliencyMap, "size" | "values" | "box">,
) {
  const cells = new OffscreenCanvas(columns, rows);
  // light at the maximum, dark and transparent at the minimum
  const pixels = new ImageData(columns, rows);
  const low = Math.min(...values);
  const span = Math.max(...values) - low || 1;
  values.forEach((value, cell) => {
    const share = (value - low) / span;
    const colour = 4 * Math.round(share * (STEPS - 1));
    pixels.data.set(
      [...heat().data.subarray(colour, colour + 3), MIN_OPACITY + (STRONG - MIN_OPACITY) * share],
      4 * cell,
    );
  });
  cells.getContext("2d")?.putImageData(pixels, 0, 0);
  ctx.save();
  ctx.translate(box.cx, box.cy);
  ctx.rotate(box.rotation);
  ctx.beginPath();
  ctx.roundRect(-box.width / 2, -box.height / 2, box.width, box.height, box.width * 0.04);
  ctx.clip();
  ctx.imageSmoothingQuality = "high";
  ctx.drawImage(cells, -box.width / 2, -box.height / 2, box.width, box.height);
  ctx.restore();
}

/**
 * Return a label with the network's output, at the upper edge of the map's box.
 *
 * @param mirroredIn width of the image where x is counted from the right
 */
export function saliencyLabel(map: SaliencyMap, mirroredIn: number | null): Label {
  const { rotation, cx, cy, height } = map.box;
  const up = { x: Math.sin(rotation), y: -Math.cos(rotation) };
  const x = cx + (up.x * height) / 2;
  const direction = { x: mirroredIn === null ? up.x : -up.x, y: up.y };
  const anchor = { x: mirroredIn === null ? x : mirroredIn - x, y: cy + (up.y * height) / 2 };
  return {
    text: answerOf(map),
    anchor,
    directions: [direction, { x: -direction.x, y: -direction.y }],
    accent: NEUTRAL,
    size: height,
  };
}

/** Return the output as text; logits become probabilities. */
function answerOf({ of, value, unit }: SaliencyMap) {
  const percent = Math.round(100 / (1 + Math.exp(-Math.abs(value))));
  if (of === "handedness") return text(`saliency.${value > 0 ? "right" : "left"}`, { percent });
  if (of === "presence") return text(`saliency.${value > 0 ? "hand" : "no_hand"}`, { percent });
  return `${targetName(of)}: ${value.toFixed(unit === "m" ? 3 : 0)} ${unit}`;
}

/** Show the colour scale next to the image while maps are shown. */
export function wireSaliencyLegend(store: AppStore) {
  const legend = find("legend");
  const bar = Object.assign(legend.querySelector("canvas")!, { width: STEPS, height: 1 });
  bar.getContext("2d")!.putImageData(heat(), 0, 0);
  onLanguage(() => (bar.ariaLabel = `${text("saliency.low")} – ${text("saliency.high")}`));
  store.watch(
    ["options", "started", "here"],
    ({ options, started, here }) =>
      (legend.hidden = !started || here || (options.explain ?? "none") === "none"),
  );
}

/**
 * Wire the button that lists the classes of a still image that are more probable than not. A click
 * on a class draws its map over the image.
 *
 * @param files files of the source
 * @returns removes classes and map
 */
export function wireClasses(files: () => Promise<File[]>): () => void {
  const canvas = find<HTMLCanvasElement>("class-map");
  const list = find("class-list");
  const unsure = find("class-unsure");
  const clear = () => {
    canvas.hidden = unsure.hidden = true;
    list.replaceChildren();
  };
  onLanguage(() => put(unsure, text("classes.unsure", { percent: Math.round(100 * LEAST) })));
  const show = async () => {
    clear();
    const file = (await files())[0]!;
    const {
      width,
      height,
      classes: found,
    } = await (hasNoServer
      ? classifyHere(file)
      : call<ClassesAnswer>(addressOf("/v1/classes?top=5"), null, { method: "POST", body: file }));
    const sure = found.filter(({ probability }) => probability >= LEAST);
    unsure.hidden = sure.length > 0;
    list.replaceChildren(
      ...sure.map((one) => {
        const button = makeButton(
          `${one.name} ${Math.round(100 * one.probability)}%`,
          () => {
            for (const other of list.children)
              other.setAttribute("aria-pressed", String(other === button));
            Object.assign(canvas, { width, height, hidden: false });
            paintSaliency(canvas.getContext("2d")!, {
              ...one,
              box: { cx: width / 2, cy: height / 2, width, height, rotation: 0 },
            });
          },
          { lang: "en" },
        );
        return button;
      }),
    );
    list.querySelector("button")?.click();
  };
  find("classify").onclick = () => show().catch(showError);
  return clear;
}

/** Return the answer of the server's endpoint. */
async function classifyHere(file: File): Promise<ClassesAnswer> {
  const { classify } = (await import(ENGINE)) as {
    classify: (image: ImageBitmap) => Promise<Omit<ImageClass, "name">[]>;
  };
  const image = await createImageBitmap(file);
  const found = await classify(image);
  return {
    width: image.width,
    height: image.height,
    classes: found.map((one) => ({ ...one, name: classes[one.label] ?? "" })),
  };
}

let scale: ImageData | null = null;

/** Return a row of pixels with even steps from the darkest to the lightest colour. */
export function heat() {
  if (scale) return scale;
  const context = new OffscreenCanvas(STEPS, 1).getContext(
    "2d",
  ) as OffscreenCanvasRenderingContext2D;
  for (let step = 0; step < STEPS; step += 1) {
    const [lightness, chroma, hue] = [HEAT.lightness, HEAT.chroma, HEAT.hue].map(
      ([from, to]) => from! + ((to! - from!) * step) / (STEPS - 1),
    );
    context.fillStyle = `oklch(${lightness} ${chroma} ${hue})`;
    context.fillRect(step, 0, 1, 1);
  }
  scale = context.getImageData(0, 0, STEPS, 1);
  return scale;
}
