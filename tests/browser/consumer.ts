/** A page that uses the package as MediaPipe's and tfjs-models' examples do. `test_web_types.py` compiles it. */

import { FilesetResolver, HandLandmarker } from "sonjit-web/tasks-vision";
import { LocalDetector, createDetector, SupportedModels, measuresOfInstance } from "sonjit-web";
import { Hands } from "sonjit-web/hands";

const video = document.createElement("video");
// @ts-expect-error an unknown option
await HandLandmarker.createFromOptions(await FilesetResolver.forVisionTasks("/sonjit-web"), { numHand: 2 });
const detector = await LocalDetector.create("hands", { max_instances: 2 }, { base: "/sonjit-web/" });
const { hands = [] } = await detector.track(video, { time: video.currentTime });
console.log(hands.map((each) => measuresOfInstance("hand", each).index_curl_rad));
await (await createDetector(SupportedModels.MediaPipeHands, { modelType: "full" })).estimateHands(video);
new Hands({ locateFile: (file) => `/sonjit-web/${file}` }).onResults(({ multiHandLandmarks }) => console.log(multiHandLandmarks));
