/** Selection of the source: tiles, files, drag and drop, cameras, and a preview. */

import { isModel } from "./model.js";
import { find, make, memory, onLanguage, setLabel, showError, text } from "./common.js";
import { filesOf } from "./dropped.js";
import { task } from "./places.js";
import {
  decoded,
  isImage,
  isVideo,
  notMedia,
  openCamera,
  openImages,
  openVideo,
  type Player,
  type Source,
} from "./sources.js";
import type { Overlay } from "./overlay.js";
import type { AppStore } from "./state.js";

const SAMPLE = "sample.mp4"; // hands
const PERSON = "squats.mp4"; // a person, who moves an avatar

/** @param on `changed`: another source was selected; `model`: an avatar file was selected */
export function sourceChooser(
  store: AppStore,
  overlay: Overlay,
  on: { changed(): void; model(file: File): Promise<void> },
) {
  let kind: "camera" | "sample" | "files" = "camera";
  let chosen: File[] = [];
  let sample = SAMPLE;
  /** source of the preview */
  let shown: Source | null = null;
  const images = () => (kind === "files" ? chosen.filter(isImage) : []);

  /** Check whether the source has single images. */
  const isStill = () => images().length > 0;

  function name() {
    if (kind === "camera") return "camera";
    if (kind === "sample") return sample;
    const [{ name: first, webkitRelativePath: path }] = chosen as [File];
    return (chosen.length > 1 && path.split("/")[0]) || first;
  }

  /** Return the files of a job. */
  async function files(): Promise<File[]> {
    if (kind === "files") return chosen;
    const answer = await fetch(sample);
    return [new File([await answer.blob()], sample, { type: "video/mp4" })];
  }

  /** Open the selected source to play it. */
  async function open(): Promise<Source> {
    leave();
    if (isStill()) return openImages(images());
    if (kind !== "camera") return openClip(kind === "sample");
    const source = await openCamera(find("video"), find("camera-chooser").value);
    await nameCameras(); // cameras have names after permission
    return source;
  }

  /** Show the selected source without detection. */
  async function preview() {
    leave();
    overlay.clearImage();
    const showClip = async () => (shown = await openClip());
    // the start reports the error
    if (kind !== "camera") await (isStill() ? showImage() : showClip()).catch(() => {});
  }

  /** Show the first image without results, unless the run starts or ends meanwhile. */
  async function showImage() {
    if (!isStill()) return;
    const { started } = store.state;
    const bitmap = await decoded(images()[0]!);
    if (store.state.started === started) overlay.show(bitmap);
    bitmap.close();
  }

  /** Add the listeners of all controls. */
  async function wire() {
    find("source-camera").onclick = () => choose("camera");
    find("source-sample").onclick = () => choose("sample");
    for (const input of [find("source-file"), find("source-folder")]) {
      input.onchange = () => {
        take([...(input.files ?? [])]);
        input.value = ""; // so that the same file can be selected again
      };
    }
    find("camera-chooser").onchange = () => {
      memory.write("camera", find("camera-chooser").value);
      on.changed();
    };
    const over = (isOver: boolean) => find("stage").classList.toggle("dropping", isOver);
    document.addEventListener("dragover", (event) => {
      event.preventDefault();
      over(true);
    });
    document.addEventListener("dragleave", (event) => event.relatedTarget === null && over(false));
    document.addEventListener("drop", async (event) => {
      event.preventDefault();
      over(false);
      if (task.value !== "measure" && event.dataTransfer) take(await filesOf(event.dataTransfer));
    });
    onLanguage(show);
    onLanguage(nameCameras);
    navigator.mediaDevices?.addEventListener("devicechange", nameCameras);
    await nameCameras();
  }

  const openClip = (loop?: boolean) =>
    openVideo(find("video"), kind === "sample" ? sample : chosen[0]!, loop);

  function leave() {
    shown?.close();
    shown = null;
  }

  /** Show the sample of a person instead of the one of hands, which moves no avatar. */
  function usePerson() {
    if (kind === "sample" && sample !== PERSON) choose("sample");
  }

  function choose(wanted: "camera" | "sample" | "files") {
    kind = wanted;
    sample = task.peek() === "avatar" ? PERSON : SAMPLE;
    show();
    store.set({ source: { kind, name: name(), still: isStill() } });
    on.changed();
  }

  /** Use files in the order of their names. If there are images, only those are processed live. */
  function take(given: File[]) {
    if (!given.length) return undefined;
    const order = new Intl.Collator(undefined, { numeric: true });
    const path = (file: File) => file.webkitRelativePath || file.name;
    const usable = given
      .filter((file) => isImage(file) || isVideo(file))
      .sort((a, b) => order.compare(path(a), path(b)));
    const model = given.find(isModel);
    if (model) on.model(model).catch(showError);
    if (!usable.length) return model || showError(notMedia(given[0]!));
    chosen = usable;
    return choose("files");
  }

  function show() {
    const isSeveral = kind === "files" && chosen.length > 1;
    const isFolder = isSeveral && Boolean(chosen[0]!.webkitRelativePath);
    for (const other of ["camera", "sample"])
      find(`source-${other}`).ariaPressed = String(kind === other);
    find("source-file").parentElement!.classList.toggle("chosen", kind === "files" && !isFolder);
    find("source-folder").parentElement!.classList.toggle("chosen", isFolder);
    find("stage").classList.toggle("chosen", kind !== "camera");
    find("camera-chooser").parentElement!.hidden = kind !== "camera";
    find("measure-all").hidden = kind === "camera";
    find("source-name").hidden = kind !== "files";
    if (kind === "files")
      find("source-name").textContent = isSeveral
        ? text("source.several", { name: name(), count: chosen.length })
        : name();
  }

  async function nameCameras() {
    const chooser = find("camera-chooser");
    const last = chooser.value || memory.read<string>("camera") || "";
    const devices = (await navigator.mediaDevices?.enumerateDevices().catch(() => [])) ?? [];
    // without IDs until the user allows a camera
    const known = devices.filter((device) => device.kind === "videoinput" && device.deviceId);
    const options = known.map(
      ({ deviceId, label }, number) =>
        new Option(label || text("camera.number", { number: number + 1 }), deviceId),
    );
    chooser.replaceChildren(new Option(text("camera.any"), ""), ...options);
    chooser.value = known.some(({ deviceId }) => deviceId === last) ? last : "";
  }

  return { files, open, preview, showImage, wire, isStill, name, usePerson };
}

/**
 * Return a function that sets the player to control.
 *
 * @param onChange called when playing starts or stops
 */
export function wireTransport(onChange: (paused: boolean) => void) {
  let player: Player | null = null;
  find("play-pause").onclick = () => (player?.state.paused ? player.play() : player?.pause());
  find("step-back").onclick = () => player?.step(-1);
  find("step-forward").onclick = () => player?.step(1);
  find("loop").onclick = () => player?.set({ loop: !player.state.loop });
  find("position").oninput = () => player?.seek(Number(find("position").value));
  find("speed").onchange = () => player?.set({ speed: Number(find("speed").value) });
  onLanguage(show);

  /** @param next player to control; null hides the controls */
  function use(next: Player | null) {
    if (player) player.onChange = () => {};
    player = next;
    makeThumbnails(player?.files ?? []);
    if (player) {
      player.onChange = show;
      find("speed").value = "1";
      find("position").step = player.kind === "video" ? "any" : "1";
    }
    show();
  }

  function show() {
    find("transport").hidden = !player;
    find("thumbnails").hidden = player?.kind !== "images";
    onChange(player?.state.paused ?? false);
    if (!player) return;
    const { length, position, paused, loop } = player.state;
    const isClip = player.kind === "video";
    const slider = find("position");
    slider.max = String(isClip ? length : length - 1);
    if (document.activeElement !== slider || !slider.matches(":active"))
      slider.value = String(position);
    const label = isClip
      ? `${clock(position)} / ${clock(length)}`
      : text("transport.image", { number: position + 1, count: length });
    find("position-text").textContent = slider.ariaValueText = label;
    find("loop").ariaPressed = String(loop);
    setLabel(find("play-pause"), paused ? "transport.play" : "transport.pause");
    setLabel(find("step-back"), isClip ? "transport.back" : "transport.previous");
    setLabel(find("step-forward"), isClip ? "transport.forward" : "transport.next");
    const [shape, icon] = [
      find("play-pause").querySelector("use")!,
      `icons.svg#${paused ? "play" : "pause"}`,
    ] as const;
    // setting it again would flicker
    if (shape.getAttribute("href") !== icon) shape.setAttribute("href", icon);
    if (isClip) return;
    const list = find("thumbnails");
    list.querySelector("[aria-current]")?.removeAttribute("aria-current");
    const current = list.children[position] as HTMLElement;
    current.ariaCurrent = "true";
    list.scrollTo({ left: current.offsetLeft - (list.clientWidth - current.offsetWidth) / 2 });
  }

  /** Make the thumbnails of images, which the browser loads when they come into view. */
  function makeThumbnails(files: File[]) {
    const list = find("thumbnails");
    for (const { src } of list.querySelectorAll("img")) URL.revokeObjectURL(src);
    list.replaceChildren(
      ...files.map((file, index) => {
        const onclick = () => {
          player?.pause();
          player?.seek(index);
        };
        const onerror = () => button.classList.add("broken");
        const image = make("img", {
          alt: "",
          loading: "lazy",
          decoding: "async",
          onerror,
          src: URL.createObjectURL(file),
        });
        const button = make(
          "button",
          { type: "button", title: file.name, ariaLabel: file.name, onclick },
          image,
        );
        return button;
      }),
    );
  }

  return use;
}

/** Return minutes, seconds and hundredths as text. */
const clock = (seconds: number) =>
  `${Math.floor(seconds / 60)}:${((Math.floor(seconds * 100) / 100) % 60).toFixed(2).padStart(5, "0")}`;
