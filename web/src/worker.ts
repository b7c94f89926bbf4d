/** The worker in which one detector runs. */

import { GRIDS, WEIGHTS, FINDERS, constants } from "./data.js";
import { Hands, type Hand, type HandObservation } from "./hands.js";
import type { Answer, Places, Reply, Request, Sent } from "./messages.js";
import { Network, fetchNetwork, loadRuntime } from "./network.js";
import { kindOf, type Settings } from "./options.js";
import { Detector } from "./pipeline.js";
import type { Pixels } from "./pixels.js";
import { SingleShotDetector } from "./ssd.js";
import { HandFinder, StreamSearch } from "./streams.js";

const PALMS = [2016 * 18, 2016];
const HAND = [63, 1, 1, 63];

let networks: { readonly detector: Network; readonly landmark: Network };
let detector: Detector<HandObservation, Hand>;
let canvas: OffscreenCanvas | null = null;

async function answer(request: Request): Promise<Answer | null> {
  switch (request.type) {
    case "load":
      networks = await loadNetworks(request.settings, request.places);
      detector = make(request.settings);
      return null;
    case "configure":
      detector = make(request.settings);
      return null;
    case "reset":
      detector.reset();
      return null;
    case "track":
    case "detect": {
      const image = pixelsOf(request.image);
      const found = await (request.type === "track" ? detector.track(image, request.time) : detector.detect(image));
      return { width: image.width, height: image.height, found };
    }
  }
}

async function loadNetworks({ kind, model }: Settings, places: Places): Promise<typeof networks> {
  const names = kindOf(kind).models[model]!;
  const [threads, detectorFile, landmarkFile] = await Promise.all([
    loadRuntime(places.runtime),
    fetchNetwork(places.detector, places.ownDetector ? null : WEIGHTS[names.detector]!),
    fetchNetwork(places.landmark, places.ownLandmark ? null : WEIGHTS[names.landmark]!),
  ]);
  return {
    detector: await Network.compile(detectorFile, places.detector, threads, PALMS),
    landmark: await Network.compile(landmarkFile, places.landmark, threads, HAND),
  };
}

function make(settings: Settings): Detector<HandObservation, Hand> {
  const palms = new SingleShotDetector(networks.detector, GRIDS.palm);
  const hands = new Hands(palms, networks.landmark, settings.mirrored);
  const least = constants.finds.PALM_SHARE * settings.min_detection_score;
  const spread = settings.search === "auto" ? new StreamSearch(new HandFinder(palms, hands, least, FINDERS.hands)) : null;
  return new Detector(hands, settings, spread);
}

function pixelsOf(image: Sent): Pixels {
  if (!(image instanceof ImageBitmap)) return image;
  const { width, height } = image;
  if (canvas?.width !== width || canvas.height !== height) canvas = new OffscreenCanvas(width, height);
  const pen = canvas.getContext("2d", { willReadFrequently: true })!;
  pen.globalCompositeOperation = "copy";
  pen.drawImage(image, 0, 0);
  image.close();
  return pen.getImageData(0, 0, width, height);
}

let last: Promise<void> = Promise.resolve();

addEventListener("message", ({ data }: MessageEvent<Request>) => {
  last = last.then(async () => {
    let reply: Reply;
    try {
      reply = { id: data.id, answer: await answer(data) };
    } catch (error) {
      reply = { id: data.id, error: error instanceof Error ? error.message : String(error) };
    }
    postMessage(reply);
  });
});
