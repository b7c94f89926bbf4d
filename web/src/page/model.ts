/** The user's own model, and the figures of the page that show it. What draws them is loaded late. */

import { signal } from "@preact/signals";

import type { Avatar } from "./avatar/scene.js";
import { PageError } from "./common.js";

const ENDINGS = /\.(glb|vrm)$/i;
const SAMPLE = new URL("./avatar/sample.vrm", import.meta.url).href;

/** The user's own .glb or .vrm file; null for the sample figure. */
export const model = signal<File | null>(null);

/** Whether the user looks for a result that moves the figure. */
export const isResultWanted = signal(false);

/** Check whether a file may be a model. */
export const isModel = ({ name }: File) => ENDINGS.test(name);

/** Show the user's model, or the sample figure, in an element with a size. */
export async function mountAvatar(place: HTMLElement): Promise<Avatar> {
  if (!document.createElement("canvas").getContext("webgl2")) throw new PageError("no_webgl");
  const { mount } = await import("./avatar/scene.js");
  const avatar = await mount(place, { sample: SAMPLE });
  if (model.peek()) await loadModel(avatar, model.peek()!);
  return avatar;
}

/** Show the sample figure again. All figures show it from then on. */
export async function loadSample(avatar: Avatar) {
  await avatar.loadSample();
  model.value = null;
}

/** Show another model in a figure. All figures show it from then on. */
export async function loadModel(avatar: Avatar, file: File) {
  try {
    await avatar.load(file);
  } catch (error) {
    if (model.peek() === file) model.value = null;
    const { message, extensions = [] } = error as { message: string; extensions?: string[] };
    throw extensions.length
      ? new PageError("model_extension", { name: file.name, extensions: extensions.join(", ") })
      : new PageError("model_damaged", { name: file.name, reason: message });
  }
  model.value = file;
}
