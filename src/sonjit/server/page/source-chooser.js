/** Selection of the source: tiles, files, drag and drop, cameras, and a preview. */

import { isModel } from "./avatar.js";
import { onLanguage, text } from "./i18n.js";
import { PageError } from "./messages.js";
import { cameras, decoded, isImage, isVideo, openCamera, openImages, openVideo } from "./sources.js";
import { memory } from "./state.js";

const SAMPLE = "sample.mp4";
const find = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));

export class SourceChooser {
  #store;
  #overlay;
  #on;
  /** @type {"camera" | "sample" | "files"} */ #kind = "camera";
  /** @type {File[]} */ #files = [];
  /** @type {import("./sources.js").Source | null} source of the preview */ #shown = null;

  /**
   * @param {import("./state.js").Store} store @param {import("./overlay.js").OverlayView} overlay
   * @param {{error(error: unknown): void, changed(): void, model(file: File): Promise<void>}} on `changed`: another source was selected;
   *   `model`: an avatar file was selected
   */
  constructor(store, overlay, on) {
    this.#store = store;
    this.#overlay = overlay;
    this.#on = on;
  }

  /** Check whether the source has single images. */
  get isStill() {
    return this.#kind === "files" && this.#files.some(isImage);
  }

  get name() {
    if (this.#kind === "camera") return "camera";
    if (this.#kind === "sample") return SAMPLE;
    return this.#files.length === 1 ? this.#files[0].name : this.#files[0].webkitRelativePath.split("/")[0] || this.#files[0].name;
  }

  /** Return the files of a job. @returns {Promise<File[]>} */
  async files() {
    if (this.#kind === "files") return this.#files;
    const answer = await fetch(SAMPLE);
    return [new File([await answer.blob()], SAMPLE, { type: "video/mp4" })];
  }

  /** The chosen source, to be played. @returns {Promise<import("./sources.js").Source>} */
  async open() {
    this.#leave();
    const video = find("video");
    if (this.#kind === "sample") return openVideo(video, SAMPLE, { name: SAMPLE, loop: true });
    if (this.#kind === "files") {
      const images = this.#files.filter(isImage);
      if (images.length) return openImages(images);
      return openVideo(video, this.#files[0], { name: this.#files[0].name });
    }
    const source = await openCamera(video, find("camera-chooser").value);
    await this.#nameCameras(); // cameras have names after permission
    return source;
  }

  /** Show the selected source without detection. */
  async preview() {
    this.#leave();
    this.#overlay.clearImage();
    if (this.#kind === "camera") return;
    try {
      const first = this.#files.find(isImage);
      if (this.isStill && first) {
        const bitmap = await decoded(first);
        if (!this.#store.state.started) this.#overlay.show(bitmap, bitmap.width, bitmap.height);
      } else {
        this.#shown = await this.#openPaused();
      }
    } catch {
      // the start reports the error
    }
  }

  /** Show the first image while the detectors load and search it. */
  async showImage() {
    const first = this.#files.find(isImage);
    if (!this.isStill || !first) return;
    const bitmap = await decoded(first);
    this.#overlay.show(bitmap, bitmap.width, bitmap.height);
    bitmap.close();
  }

  /** Add the listeners of all controls. */
  async wire() {
    find("source-camera").onclick = () => this.#choose("camera");
    find("source-sample").onclick = () => this.#choose("sample");
    for (const id of ["source-file", "source-folder"]) {
      const input = find(id);
      input.onchange = () => {
        this.#take([...input.files]);
        input.value = ""; // so that the same file can be selected again
      };
    }
    find("camera-chooser").onchange = () => {
      memory.write("camera", find("camera-chooser").value);
      this.#on.changed();
    };
    this.#wireDrop(find("stage"));
    onLanguage(() => this.#show());
    onLanguage(() => this.#nameCameras());
    navigator.mediaDevices?.addEventListener("devicechange", () => this.#nameCameras());
    await this.#nameCameras();
  }

  #openPaused() {
    const [what, name] = this.#kind === "sample" ? [SAMPLE, SAMPLE] : [this.#files[0], this.#files[0].name];
    return openVideo(find("video"), what, { name });
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
    if (model) this.#on.model(model).catch(this.#on.error);
    if (!usable.length) return model || this.#on.error(new PageError("no_media", { name: files[0].name }));
    this.#files = usable;
    this.#choose("files");
  }

  #show() {
    const kind = this.#kind;
    find("source-camera").setAttribute("aria-pressed", String(kind === "camera"));
    find("source-sample").setAttribute("aria-pressed", String(kind === "sample"));
    const isFolder = kind === "files" && this.#files.length > 1;
    find("source-file").parentElement.classList.toggle("chosen", kind === "files" && !isFolder);
    find("source-folder").parentElement.classList.toggle("chosen", isFolder);
    find("camera-chooser").parentElement.hidden = kind !== "camera";
    find("job-start").hidden = kind === "camera";
    find("source-name").hidden = kind !== "files";
    if (kind === "files") find("source-name").textContent = isFolder ? text("source.several", { name: this.name, count: this.#files.length }) : this.name;
    find("stage").classList.toggle("chosen", kind !== "camera");
  }

  async #nameCameras() {
    const chooser = find("camera-chooser");
    const chosen = chooser.value || memory.read("camera") || "";
    const known = (await cameras()).filter(({ id }) => id);
    const options = known.map(({ id, label }, number) => new Option(label || text("camera.number", { number: number + 1 }), id));
    chooser.replaceChildren(new Option(text("camera.any"), ""), ...options);
    chooser.value = known.some(({ id }) => id === chosen) ? chosen : "";
  }

  /** @param {HTMLElement} stage */
  #wireDrop(stage) {
    const over = (/** @type {boolean} */ on) => stage.classList.toggle("dropping", on);
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
