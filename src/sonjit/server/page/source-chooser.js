/** Selection of the source: tiles, files, drag and drop, cameras, and a preview. */

import { isModel } from "./avatar.js";
import { find, make } from "./dom.js";
import { decoded, isImage, isVideo, openCamera, openImages, openVideo } from "./sources.js";
import { memory, onLanguage, PageError, setLabel, showError, text } from "./texts.js";

const SAMPLE = "sample.mp4";

export class SourceChooser {
  #store;
  #overlay;
  #on;
  /** @type {"camera" | "sample" | "files"} */ #kind = "camera";
  /** @type {File[]} */ #files = [];
  /** @type {import("./sources.js").Source | null} source of the preview */ #shown = null;

  /**
   * @param {import("./texts.js").Store} store @param {import("./painter.js").OverlayView} overlay
   * @param {{changed(): void, model(file: File): Promise<void>}} on `changed`: another source was selected; `model`: an avatar file was selected
   */
  constructor(store, overlay, on) {
    this.#store = store;
    this.#overlay = overlay;
    this.#on = on;
  }

  get #images() {
    return this.#kind === "files" ? this.#files.filter(isImage) : [];
  }

  /** Check whether the source has single images. */
  get isStill() {
    return this.#images.length > 0;
  }

  get name() {
    if (this.#kind === "camera") return "camera";
    if (this.#kind === "sample") return SAMPLE;
    const [{ name, webkitRelativePath: path }] = this.#files;
    return (this.#files.length > 1 && path.split("/")[0]) || name;
  }

  /** Return the files of a job. @returns {Promise<File[]>} */
  async files() {
    if (this.#kind === "files") return this.#files;
    const answer = await fetch(SAMPLE);
    return [new File([await answer.blob()], SAMPLE, { type: "video/mp4" })];
  }

  /** Open the selected source to play it. @returns {Promise<import("./sources.js").Source>} */
  async open() {
    this.#leave();
    if (this.isStill) return openImages(this.#images);
    if (this.#kind !== "camera") return this.#openClip(this.#kind === "sample");
    const source = await openCamera(find("video"), find("camera-chooser").value);
    await this.#nameCameras(); // cameras have names after permission
    return source;
  }

  /** Show the selected source without detection. */
  async preview() {
    this.#leave();
    this.#overlay.clearImage();
    if (this.#kind === "camera") return;
    try {
      if (this.isStill) await this.showImage();
      else this.#shown = await this.#openClip();
    } catch {
      // the start reports the error
    }
  }

  /** Show the first image without results, unless the run starts or ends meanwhile. */
  async showImage() {
    if (!this.isStill) return;
    const { started } = this.#store.state;
    const bitmap = await decoded(this.#images[0]);
    if (this.#store.state.started === started) this.#overlay.show(bitmap);
    bitmap.close();
  }

  /** Add the listeners of all controls. */
  async wire() {
    find("source-camera").onclick = () => this.#choose("camera");
    find("source-sample").onclick = () => this.#choose("sample");
    for (const input of [find("source-file"), find("source-folder")]) {
      input.onchange = () => {
        this.#take([...input.files]);
        input.value = ""; // so that the same file can be selected again
      };
    }
    find("camera-chooser").onchange = () => {
      memory.write("camera", find("camera-chooser").value);
      this.#on.changed();
    };
    this.#wireDrop();
    onLanguage(() => this.#show());
    onLanguage(() => this.#nameCameras());
    navigator.mediaDevices?.addEventListener("devicechange", () => this.#nameCameras());
    await this.#nameCameras();
  }

  /** @param {boolean} [loop] */
  #openClip(loop) {
    const [what, name] = this.#kind === "sample" ? [SAMPLE, SAMPLE] : [this.#files[0], this.#files[0].name];
    return openVideo(find("video"), what, name, loop);
  }

  #leave() {
    this.#shown?.close();
    this.#shown = null;
  }

  /** @param {"camera" | "sample" | "files"} kind */
  #choose(kind) {
    this.#kind = kind;
    this.#show();
    this.#store.set({ source: { kind, name: this.name, still: this.isStill } });
    this.#on.changed();
  }

  /** Use files in the order of their names. If there are images, only those are processed live. @param {File[]} files */
  #take(files) {
    if (!files.length) return;
    const order = new Intl.Collator(undefined, { numeric: true });
    const path = (/** @type {File} */ file) => file.webkitRelativePath || file.name;
    const usable = files.filter((file) => isImage(file) || isVideo(file)).sort((a, b) => order.compare(path(a), path(b)));
    const model = files.find(isModel);
    if (model) this.#on.model(model).catch(showError);
    if (!usable.length) return model || showError(new PageError("no_media", { name: files[0].name }));
    this.#files = usable;
    this.#choose("files");
  }

  #show() {
    const kind = this.#kind;
    const isSeveral = kind === "files" && this.#files.length > 1;
    const isFolder = isSeveral && Boolean(this.#files[0].webkitRelativePath);
    for (const name of ["camera", "sample"]) find(`source-${name}`).ariaPressed = String(kind === name);
    find("source-file").parentElement.classList.toggle("chosen", kind === "files" && !isFolder);
    find("source-folder").parentElement.classList.toggle("chosen", isFolder);
    find("stage").classList.toggle("chosen", kind !== "camera");
    find("camera-chooser").parentElement.hidden = kind !== "camera";
    find("job-start").hidden = kind === "camera";
    find("job-start").querySelector("span").textContent = text(isSeveral ? "job.start.several" : "job.start");
    find("source-name").hidden = kind !== "files";
    if (kind === "files") find("source-name").textContent = isSeveral ? text("source.several", { name: this.name, count: this.#files.length }) : this.name;
  }

  async #nameCameras() {
    const chooser = find("camera-chooser");
    const chosen = chooser.value || memory.read("camera") || "";
    const devices = (await navigator.mediaDevices?.enumerateDevices().catch(() => [])) ?? [];
    const known = devices.filter(({ kind, deviceId }) => kind === "videoinput" && deviceId); // without IDs until the user allows a camera
    const options = known.map(({ deviceId, label }, number) => new Option(label || text("camera.number", { number: number + 1 }), deviceId));
    chooser.replaceChildren(new Option(text("camera.any"), ""), ...options);
    chooser.value = known.some(({ deviceId }) => deviceId === chosen) ? chosen : "";
  }

  #wireDrop() {
    const over = (/** @type {boolean} */ on) => find("stage").classList.toggle("dropping", on);
    document.addEventListener("dragover", (event) => {
      event.preventDefault();
      over(true);
    });
    document.addEventListener("dragleave", (event) => event.relatedTarget === null && over(false));
    document.addEventListener("drop", async (event) => {
      event.preventDefault();
      over(false);
      this.#take(await filesOf(/** @type {DataTransfer} */ (event.dataTransfer)));
    });
  }
}

/** Return dropped files and the files of dropped folders. @param {DataTransfer} dropped @returns {Promise<File[]>} */
async function filesOf(dropped) {
  const entries = [...dropped.items].map((item) => item.webkitGetAsEntry?.()).filter((entry) => entry !== null && entry !== undefined);
  if (!entries.length) return [...dropped.files];
  return (await Promise.all(entries.map(filesOfEntry))).flat();
}

/** @param {any} entry a FileSystemEntry @returns {Promise<File[]>} */
async function filesOfEntry(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  /** @type {File[]} */ const files = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // the browser returns up to 100 entries per call
    if (!some.length) return files;
    for (const child of some) files.push(...(await filesOfEntry(child)));
  }
}

const SPEEDS = [0.1, 0.25, 0.5, 1, 1.5, 2];

export class Transport {
  /** @type {any} */ #player = null;
  #onChange;

  /** @param {(paused: boolean) => void} onChange called when playing starts or stops */
  constructor(onChange) {
    this.#onChange = onChange;
    find("play-pause").onclick = () => (this.#player.state.paused ? this.#player.play() : this.#player.pause());
    find("step-back").onclick = () => this.#player.step(-1);
    find("step-forward").onclick = () => this.#player.step(1);
    find("loop").onclick = () => this.#player.set({ loop: !this.#player.state.loop });
    find("position").oninput = () => this.#player.seek(Number(find("position").value));
    find("speed").replaceChildren(...SPEEDS.map((speed) => new Option(`${speed}×`, String(speed), speed === 1, speed === 1)));
    find("speed").onchange = () => this.#player.set({ speed: Number(find("speed").value) });
    onLanguage(() => this.#show());
  }

  /** @param {import("./sources.js").Player | null} player player to control; null hides the controls */
  use(player) {
    if (this.#player) this.#player.onChange = () => {};
    this.#player = player;
    this.#makeThumbnails(player?.kind === "images" ? /** @type {any} */ (player).files : []);
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
    this.#onChange(player?.state.paused ?? false);
    if (!player) return;
    const { length, position, paused, loop } = player.state;
    const isClip = player.kind === "video";
    const slider = find("position");
    slider.max = String(isClip ? length : length - 1);
    if (document.activeElement !== slider || !slider.matches(":active")) slider.value = String(position);
    const label = isClip ? `${clock(position)} / ${clock(length)}` : text("transport.image", { number: position + 1, count: length });
    find("position-text").textContent = slider.ariaValueText = label;
    find("loop").ariaPressed = String(loop);
    setLabel(find("play-pause"), paused ? "transport.play" : "transport.pause");
    setLabel(find("step-back"), isClip ? "transport.back" : "transport.previous");
    setLabel(find("step-forward"), isClip ? "transport.forward" : "transport.next");
    const [use, icon] = [find("play-pause").querySelector("use"), `icons.svg#${paused ? "play" : "pause"}`];
    if (use.getAttribute("href") !== icon) use.setAttribute("href", icon); // setting it again would flicker
    if (!isClip) this.#showThumbnail(position);
  }

  /** Mark the thumbnail of an image. @param {number} position */
  #showThumbnail(position) {
    const list = find("thumbnails");
    list.querySelector("[aria-current]")?.removeAttribute("aria-current");
    const current = list.children[position];
    current.ariaCurrent = "true";
    list.scrollTo({ left: current.offsetLeft - (list.clientWidth - current.offsetWidth) / 2 });
  }

  /** Make the thumbnails of images, which the browser loads when they come into view. @param {File[]} files */
  #makeThumbnails(files) {
    const list = find("thumbnails");
    for (const { src } of list.querySelectorAll("img")) URL.revokeObjectURL(src);
    list.replaceChildren(...files.map((file, index) => {
      const onclick = () => {
        this.#player.pause();
        this.#player.seek(index);
      };
      const onerror = () => button.classList.add("broken");
      const image = make("img", { alt: "", loading: "lazy", decoding: "async", onerror, src: URL.createObjectURL(file) });
      const button = make("button", { type: "button", title: file.name, ariaLabel: file.name, onclick }, image);
      return button;
    }));
  }
}

/** Return minutes, seconds and hundredths as text. @param {number} seconds */
const clock = (seconds) => `${Math.floor(seconds / 60)}:${(Math.floor(seconds * 100) / 100 % 60).toFixed(2).padStart(5, "0")}`;
