/** Finds hands with both interfaces of the package, in apps of bundlers. */

import { LocalDetector, SupportedModels, createDetector, measuresOfInstance, type MediaPipeHandsTfjsModelConfig } from "sonjit-web";
import { Hands, type HandsConfig, type ResultsListener } from "sonjit-web/hands";
import { FilesetResolver, HandLandmarker } from "sonjit-web/tasks-vision";

const FOLDER = "/sonjit-web/";

async function track(image: ImageData) {
  const detector = await LocalDetector.create("hands", { max_instances: 2, gestures: "canned" }, { base: FOLDER });
  const { hands = [] } = await detector.track(image, { time: 0 });
  detector.close();
  return hands.map((hand) => [hand.gesture?.name, measuresOfInstance("hand", hand).index_curl_rad]);
}

async function detect(image: ImageData) {
  const files = await FilesetResolver.forVisionTasks(FOLDER);
  // @ts-expect-error an unknown option
  await HandLandmarker.createFromOptions(files, { numHand: 2 });
  return (await HandLandmarker.createFromOptions(files, { numHands: 2 })).detect(image).landmarks.length;
}

async function estimate(image: ImageData) {
  const detector = await createDetector(SupportedModels.MediaPipeHands, { modelType: "full", base: FOLDER } satisfies MediaPipeHandsTfjsModelConfig);
  new Hands({ locateFile: (file) => FOLDER + file } satisfies HandsConfig).onResults((({ multiHandLandmarks }) => console.log(multiHandLandmarks)) satisfies ResultsListener);
  return (await detector.estimateHands(image)).length;
}

Object.assign(globalThis, { kit: { track, detect, estimate } });
