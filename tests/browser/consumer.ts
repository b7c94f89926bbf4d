/** A page that uses the package as MediaPipe's and tfjs-models' examples do. `test_web_types.py` compiles it. */

import { DrawingUtils, FaceLandmarker, FilesetResolver, GestureRecognizer, HandLandmarker, PoseLandmarker, type HandLandmarkerOptions, type HandLandmarkerResult } from "sonjit-web/tasks-vision";
import { LocalDetector, createDetector, SupportedModels, measuresOfInstance } from "sonjit-web";
import { Hands } from "sonjit-web/hands";

const files = await FilesetResolver.forVisionTasks("/sonjit-web");
const hand = await HandLandmarker.createFromOptions(files, {
  baseOptions: { modelAssetPath: "hand_landmarker.task", delegate: "GPU" },
  runningMode: "VIDEO",
  numHands: 2,
});
const video = document.createElement("video");
const result: HandLandmarkerResult = hand.detectForVideo(video, performance.now());
const canvas = document.querySelector("canvas")!.getContext("2d")!;
const utils = new DrawingUtils(canvas);
for (const landmarks of result.landmarks) utils.drawConnectors(landmarks, HandLandmarker.HAND_CONNECTIONS, { color: "#00FF00", lineWidth: 5 });
await hand.setOptions({ runningMode: "IMAGE" });
const gesture: GestureRecognizer = await GestureRecognizer.createFromOptions(files, { baseOptions: { modelAssetPath: "gesture_recognizer.task" }, runningMode: "VIDEO" });
console.log(gesture.recognizeForVideo(video, 1).gestures[0]?.[0]?.categoryName);
const face = await FaceLandmarker.createFromOptions(files, { baseOptions: { modelAssetPath: "face_landmarker.task" }, outputFaceBlendshapes: true, runningMode: "VIDEO", numFaces: 1 });
console.log(face.detectForVideo(video, 2).faceBlendshapes);
const pose = await PoseLandmarker.createFromModelPath(files, "pose_landmarker_lite.task");
pose.detect(video, (found) => console.log(found.landmarks));
// @ts-expect-error an unknown option
await HandLandmarker.createFromOptions(files, { numHand: 2 });
const options: HandLandmarkerOptions = { numHands: 1 };
let again: HandLandmarker | undefined;
again = await HandLandmarker.createFromOptions(files, options);
again.close();
const detector = await LocalDetector.create("hands", { max_instances: 2 }, { base: "/sonjit-web/" });
const { hands = [] } = await detector.track(video, { time: video.currentTime });
console.log(hands.map((each) => measuresOfInstance("hand", each).index_curl_rad));
await (await createDetector(SupportedModels.MediaPipeHands, { modelType: "full" })).estimateHands(video);
new Hands({ locateFile: (file) => `/sonjit-web/${file}` }).onResults(({ multiHandLandmarks }) => console.log(multiHandLandmarks));
