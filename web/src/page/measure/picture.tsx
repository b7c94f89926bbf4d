/** The picture of a result with the angle in it, and the controls of the position. */

import { useComputed, useSignal, useSignalEffect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

import { fit, text } from "../common.js";
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
      {path?.endsWith(".mp4") && <Video path={path} player={player} />}
      {path && !path.endsWith(".mp4") && <Still curves={curves} path={path} player={player} />}
      <Angles curves={curves} player={player} reader={reader} series={series} />
    </div>
  );
}

function Video({ path, player }: { path: string; player: Player }) {
  const video = useRef<HTMLVideoElement>(null);
  const hasFailed = useSignal(false);
  useEffect(() => {
    if (video.current) player.attach(video.current);
  }, [player]);
  return (
    <>
      <video
        ref={video}
        src={new URL(path, thisServer).href}
        muted
        playsInline
        preload="auto"
        aria-label={text("result.picture")}
        onError={() => (hasFailed.value = true)}
        onClick={() => (player.playing.value ? player.pause() : player.play())}
      />
      {hasFailed.value && <p class="hint">{text("result.no_video")}</p>}
    </>
  );
}

function Still({ curves, path, player }: { curves: Curves; path: string; player: Player }) {
  const address = useSignal(path.endsWith(".zip") ? "" : new URL(path, thisServer).href);
  useSignalEffect(() => {
    const index = player.index.value;
    if (!path.endsWith(".zip")) return;
    void pictureOf(curves, index).then((blob) => {
      if (player.index.peek() !== index) return;
      URL.revokeObjectURL(address.peek());
      address.value = blob ? URL.createObjectURL(blob) : "";
    });
  });
  return <img src={address.value} alt={text("result.picture")} />;
}

function Angles({ curves, player, reader, series }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const size = useSignal("");
  useEffect(() => {
    const resized = new ResizeObserver(([entry]) => {
      const { width, height } = entry!.contentRect;
      size.value = `${width} ${height}`;
    });
    resized.observe(canvas.current!);
    return () => resized.disconnect();
  }, []);
  useSignalEffect(() => {
    const [index, lines] = [player.index.value, series()];
    void size.value;
    void reader.read(index).then((details) => {
      const place = canvas.current;
      if (!place || player.index.peek() !== index) return;
      const { clientWidth, clientHeight } = place;
      const [width, height] = [curves.width || clientWidth, curves.height || clientHeight];
      // the picture keeps its ratio in its place
      const scale = Math.min(clientWidth / width, clientHeight / height);
      const [left, top] = [(clientWidth - width * scale) / 2, (clientHeight - height * scale) / 2];
      fit(
        place,
        Math.round(clientWidth * devicePixelRatio),
        Math.round(clientHeight * devicePixelRatio),
      );
      const ctx = place.getContext("2d")!;
      ctx.setTransform(1, 0, 0, 1, 0, 0);
      ctx.clearRect(0, 0, place.width, place.height);
      const zoom = scale * devicePixelRatio;
      ctx.setTransform(zoom, 0, 0, zoom, left * devicePixelRatio, top * devicePixelRatio);
      if (details) paintAngles(ctx, 1 / scale, details, lines, index);
      place.dataset["index"] = String(index);
    });
  });
  return <canvas ref={canvas} id="result-angles" aria-hidden="true" />;
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
    () => `${clock(curves, player.time.value)} / ${clock(curves, times.at(-1) ?? 0)}`,
  );
  const step = (by: number, key: string) => (
    <button
      class="icon-button"
      type="button"
      title={text(key)}
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
        title={text(playKey)}
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
    </div>
  );
}
