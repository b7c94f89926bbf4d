/** Controls below the image: play, pause, step, seek, loop, speed, and thumbnails of several images. */

import { onLanguage, text } from "./i18n.js";

const SPEEDS = [0.1, 0.25, 0.5, 1, 1.5, 2];
const AROUND = 24; // number of thumbnails on each side of the current image; folders may have thousands of images
const THUMBNAIL_PX = 144;

const find = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));

export class Transport {
  /** @type {import("./players.js").Player | null} */ #player = null;
  #onChange;
  /** @type {Map<File, string>} addresses of thumbnails */ #thumbnails = new Map();
  /** @type {Promise<unknown>} */ #making = Promise.resolve();

  /** @param {(paused: boolean) => void} onChange called when playing starts or stops */
  constructor(onChange) {
    this.#onChange = onChange;
    const act = (/** @type {string} */ id, /** @type {(player: import("./players.js").Player) => void} */ react) => {
      find(id).onclick = () => this.#player && react(this.#player);
    };
    act("play-pause", (player) => (player.paused ? player.play() : player.pause()));
    act("step-back", (player) => player.step(-1));
    act("step-forward", (player) => player.step(1));
    act("loop", (player) => {
      player.loop = !player.loop;
      this.#show();
    });
    find("position").oninput = () => this.#player?.seek(Number(find("position").value));
    find("speed").replaceChildren(...SPEEDS.map((speed) => new Option(`${speed}×`, String(speed), speed === 1, speed === 1)));
    find("speed").onchange = () => {
      if (this.#player) this.#player.speed = Number(find("speed").value);
    };
    onLanguage(() => this.#show());
  }

  /** @param {import("./players.js").Player | null} player player to control; null hides the controls */
  use(player) {
    if (this.#player) this.#player.onChange = () => {};
    this.#player = player;
    this.#clearThumbnails();
    if (player) {
      player.onChange = () => this.#show();
      find("speed").value = "1";
      find("position").step = player.kind === "video" ? "any" : "1";
    }
    this.#show();
  }

  #show() {
    const player = this.#player;
    find("transport").hidden = !player;
    find("thumbnails").hidden = player?.kind !== "images";
    if (!player) return this.#onChange(this.#player?.paused ?? false);
    const { kind, length, position, paused, loop } = player;
    const isVideo = kind === "video";
    const slider = find("position");
    slider.max = String(isVideo ? length : length - 1);
    if (document.activeElement !== slider || !slider.matches(":active")) slider.value = String(position);
    const label = isVideo ? `${clock(position)} / ${clock(length)}` : text("transport.image", { number: position + 1, count: length });
    find("position-text").textContent = label;
    slider.setAttribute("aria-valuetext", label);
    find("loop").setAttribute("aria-pressed", String(loop));
    setLabel("play-pause", paused ? "transport.play" : "transport.pause");
    const [use, icon] = [find("play-pause").querySelector("use"), `icons.svg#${paused ? "play" : "pause"}`];
    if (use.getAttribute("href") !== icon) use.setAttribute("href", icon); // setting it again would flicker
    setLabel("step-back", isVideo ? "transport.back" : "transport.previous");
    setLabel("step-forward", isVideo ? "transport.forward" : "transport.next");
    if (kind === "images") this.#showThumbnails(/** @type {import("./players.js").ImagePlayer} */ (player));
    this.#onChange(this.#player?.paused ?? false);
  }

  /** @param {import("./players.js").ImagePlayer} player */
  #showThumbnails(player) {
    const { files, position } = player;
    const list = find("thumbnails");
    const first = Math.max(0, Math.min(position - AROUND, files.length - 2 * AROUND - 1));
    const shown = files.slice(first, first + 2 * AROUND + 1);
    if (list.dataset.first !== String(first)) {
      list.dataset.first = String(first);
      const had = list.contains(document.activeElement);
      list.replaceChildren(...shown.map((file, k) => this.#thumbnail(player, file, first + k)));
      if (had) list.children[position - first].focus();
    }
    for (const [k, button] of [...list.children].entries()) {
      if (first + k === position) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
    const current = list.children[position - first];
    list.scrollTo({ left: current.offsetLeft - (list.clientWidth - current.offsetWidth) / 2 });
  }

  /** @param {import("./players.js").ImagePlayer} player @param {File} file @param {number} index */
  #thumbnail(player, file, index) {
    const button = Object.assign(document.createElement("button"), { type: "button", title: file.name });
    button.setAttribute("aria-label", file.name);
    button.onclick = () => {
      player.pause();
      player.seek(index);
    };
    const image = Object.assign(document.createElement("img"), { alt: "" });
    button.append(image);
    // one at a time, because large images need much memory
    this.#making = this.#making.then(async () => {
      if (button.isConnected) image.src = await this.#address(file);
    }).catch(() => button.classList.add("broken"));
    return button;
  }

  /** Return a small copy of an image, which needs less memory. @param {File} file */
  async #address(file) {
    const known = this.#thumbnails.get(file);
    if (known) return known;
    const bitmap = await createImageBitmap(file, { resizeHeight: THUMBNAIL_PX, resizeQuality: "medium" });
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    canvas.getContext("2d")?.drawImage(bitmap, 0, 0);
    bitmap.close();
    const address = URL.createObjectURL(await canvas.convertToBlob({ type: "image/jpeg" }));
    this.#thumbnails.set(file, address);
    return address;
  }

  #clearThumbnails() {
    for (const address of this.#thumbnails.values()) URL.revokeObjectURL(address);
    this.#thumbnails.clear();
    const list = find("thumbnails");
    list.replaceChildren();
    delete list.dataset.first;
  }
}

/** @param {string} id @param {string} key */
function setLabel(id, key) {
  const label = text(key);
  find(id).setAttribute("aria-label", label);
  find(id).title = label;
}

/** Return minutes, seconds and hundredths as text. @param {number} seconds */
function clock(seconds) {
  return `${Math.floor(seconds / 60)}:${(Math.floor(seconds * 100) / 100 % 60).toFixed(2).padStart(5, "0")}`;
}
