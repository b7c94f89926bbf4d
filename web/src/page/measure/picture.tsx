/** The picture of a result with the angle in it, and the controls of the position. */

import { useComputed, useSignal, useSignalEffect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

import type { AvatarFrame } from "../avatar/scene.js";
import { clearedContext, find, showError, text } from "../common.js";
import { thisServer } from "../endpoints.js";
import { Icon } from "../icon.js";
import { paintAngles } from "./angle.js";
import { pictureOf, type Curves, type FrameReader, type Series } from "./curves.js";
import type { Player } from "./player.js";

const MINUTE_S = 60;

type Props = { curves: Curves; player: Player; reader: FrameReader; series: () => Series[] };

/** @param props `series`: lines whose angles are drawn */
export function Picture({ curves, player, reader, series }: Props) {
  const path = curves.job.downloads?.["drawn"];
  const { width, height } = curves;
  const ratio = width && height ? `${width} / ${height}` : "4 / 3";
  return (
    <div class="result-picture" style={{ aspectRatio: ratio }}>
      {!path && <p class="hint">{text("result.no_picture")}</p>}
      {path?.endsWith(".mp4") && <Video curves={curves} path={path} player={player} />}
      {path && !path.endsWith(".mp4") && <Still curves={curves} path={path} player={player} />}
      <Angles curves={curves} player={player} reader={reader} series={series} />
    </div>
  );
}

type PathProps = { curves: Curves; path: string; player: Player };

/**
 * The video of a result. Its frames are drawn into a canvas, so that a busy page shows no frame
 * before its curves and angles.
 */
function Video({ curves, path, player }: PathProps) {
  const video = useRef<HTMLVideoElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const size = useSize(canvas);
  const hasFailed = useSignal(false);
  useEffect(() => {
    if (video.current) player.attach(video.current);
  }, [player]);
  useSignalEffect(() => {
    void size.value;
    if (player.shown.value < 0 || hasFailed.value) return;
    const { ctx, width, height } = contextOf(canvas.current!, curves);
    ctx.drawImage(video.current!, 0, 0, width, height);
  });
  return (
    <>
      <video
        ref={video}
        src={new URL(path, thisServer).href}
        muted
        playsInline
        preload="auto"
        aria-label={text("result.picture")}
        onError={() => {
          hasFailed.value = true;
          player.detach();
        }}
        onClick={() => (player.playing.value ? player.pause() : player.play())}
      />
      <canvas ref={canvas} id="result-frame" aria-hidden="true" />
      {hasFailed.value && <p class="hint">{text("result.no_video")}</p>}
    </>
  );
}

function Still({ curves, path, player }: PathProps) {
  const [address, of] = [useSignal(""), useRef(0)];
  useEffect(() => player.showImage(null), [player]);
  useSignalEffect(() => {
    const index = player.index.value;
    const show = (shown: string) => {
      if (player.index.peek() !== index) return;
      URL.revokeObjectURL(address.peek());
      [address.value, of.current] = [shown, index];
      if (!shown) player.showImage(index);
    };
    if (!path.endsWith(".zip")) return show(new URL(path, thisServer).href);
    return void pictureOf(curves, index).then(
      (blob) => show(blob ? URL.createObjectURL(blob) : ""),
      showError,
    );
  });
  return (
    <img
      src={address.value}
      alt={text("result.picture")}
      onLoad={() => player.showImage(of.current)}
    />
  );
}

function Angles({ curves, player, reader, series }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const size = useSize(canvas);
  useSignalEffect(() => {
    const [index, lines] = [player.shown.value, series()];
    void size.value;
    let isCurrent = true;
    const draw = (details: AvatarFrame | null) => {
      if (!isCurrent || !canvas.current) return;
      const { ctx, scale } = contextOf(canvas.current, curves);
      if (details) paintAngles(ctx, 1 / scale, details, lines, index);
      canvas.current.dataset["index"] = details ? String(index) : "";
    };
    const known = reader.loaded(index);
    draw(known ?? null);
    if (known === undefined && index >= 0) void reader.read(index).then(draw, showError);
    return () => (isCurrent = false);
  });
  return <canvas ref={canvas} id="result-angles" aria-hidden="true" />;
}

/** Return a signal that changes with the size of a canvas on the screen. */
function useSize(canvas: { current: HTMLCanvasElement | null }) {
  const size = useSignal("");
  useEffect(() => {
    const resized = new ResizeObserver(([entry]) => {
      const { width, height } = entry!.contentRect;
      size.value = `${width} ${height}`;
    });
    resized.observe(canvas.current!);
    return () => resized.disconnect();
  }, []);
  return size;
}

/** Clear a canvas and return its context in pixels of the picture, which keeps its ratio in it. */
function contextOf(canvas: HTMLCanvasElement, curves: Curves) {
  const ctx = clearedContext(canvas);
  const { clientWidth, clientHeight } = canvas;
  const [width, height] = [curves.width || clientWidth, curves.height || clientHeight];
  const scale = Math.min(clientWidth / width, clientHeight / height);
  ctx.translate((clientWidth - width * scale) / 2, (clientHeight - height * scale) / 2);
  ctx.scale(scale, scale);
  return { ctx, scale, width, height };
}

/** Return a time in seconds, of longer videos with minutes; of images their number. */
export function clock({ isVideo, times }: Curves, time: number) {
  if (!isVideo) return String(Math.round(time));
  const rounded = Math.round(time * 100) / 100;
  if ((times.at(-1) ?? 0) < MINUTE_S) return `${rounded.toFixed(2)} s`;
  const seconds = (rounded % MINUTE_S).toFixed(2).padStart(5, "0");
  return `${Math.floor(rounded / MINUTE_S)}:${seconds}`;
}

/** The controls below the picture. */
export function Transport({ curves, player }: { curves: Curves; player: Player }) {
  const { times, isVideo } = curves;
  const label = useComputed(
    () => `${clock(curves, times[player.index.value] ?? 0)} / ${clock(curves, times.at(-1) ?? 0)}`,
  );
  const step = (by: number, key: string) => (
    <button
      class="icon-button"
      type="button"
      title={`${text(key)} (${by < 0 ? "←" : "→"})`}
      aria-label={text(key)}
      onClick={() => player.step(by)}
    >
      <Icon name={by < 0 ? "back" : "forward"} />
    </button>
  );
  const playKey = player.playing.value ? "transport.pause" : "transport.play";
  return (
    <div class="transport" role="group" aria-label={text("transport")}>
      {step(-1, isVideo ? "transport.back" : "transport.previous")}
      <button
        id="result-play"
        class="icon-button"
        type="button"
        title={`${text(playKey)} (${text("keys.space.key")})`}
        aria-label={text(playKey)}
        onClick={() => (player.playing.value ? player.pause() : player.play())}
      >
        <Icon name={player.playing.value ? "pause" : "play"} />
      </button>
      {step(1, isVideo ? "transport.forward" : "transport.next")}
      <input
        id="result-position"
        type="range"
        min={0}
        max={times.length - 1}
        step={1}
        value={player.index.value}
        aria-label={text("transport.position")}
        aria-valuetext={label.value}
        onInput={({ currentTarget }) => {
          player.pause();
          player.seek(times[Number(currentTarget.value)] ?? 0);
        }}
      />
      <span id="result-time" class="position-text">
        {label}
      </span>
      {isVideo && (
        <select
          class="compact"
          aria-label={text("transport.speed")}
          onChange={({ currentTarget }) => (player.speed = Number(currentTarget.value))}
        >
          {[0.1, 0.25, 0.5, 1, 2].map((speed) => (
            <option key={speed} value={speed} selected={speed === 1}>
              {speed}×
            </option>
          ))}
        </select>
      )}
      <button
        id="keys-open"
        class="icon-button text"
        type="button"
        title={`${text("keys")} (?)`}
        aria-label={text("keys")}
        onClick={() => find<HTMLDialogElement>("result-keys")?.showModal()}
      >
        ?
      </button>
    </div>
  );
}
