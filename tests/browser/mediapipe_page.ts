/** A page that uses every task as MediaPipe's documents do. `test_npm_projects.py` compiles it with both packages. */

import { DrawingUtils, FaceDetector, FaceLandmarker, FilesetResolver, GestureRecognizer, HandLandmarker, HolisticLandmarker, ImageSegmenter, InteractiveSegmenter, PoseLandmarker } from "@mediapipe/tasks-vision";
import type { DrawingOptions, HandLandmarkerResult, HolisticLandmarkerCallback, ImageSegmenterCallback, LandmarkData, Matrix, MPMask, NormalizedLandmark, PoseLandmarkerCallback, RGBAColor } from "@mediapipe/tasks-vision";

const video = document.querySelector<HTMLVideoElement>("#webcam")!;
const canvas = document.getElementById("overlay") as HTMLCanvasElement;
const drawing = new DrawingUtils(canvas.getContext("2d")!, document.createElement("canvas").getContext("webgl2")!);
const files = await FilesetResolver.forVisionTasks("https://cdn.jsdelivr.net/npm/@mediapipe/tasks-vision@latest/wasm");

const hands: HandLandmarker = await HandLandmarker.createFromOptions({ wasmLoaderPath: "a.js", wasmBinaryPath: "a.wasm" }, {
  baseOptions: { modelAssetPath: "/models/hand_landmarker.task", delegate: "GPU" },
  runningMode: (await FilesetResolver.isSimdSupported()) ? "VIDEO" : "IMAGE",
  minTrackingConfidence: 0.6,
});
await hands.setOptions({ runningMode: "VIDEO", baseOptions: { delegate: "CPU" } });
const { landmarks }: HandLandmarkerResult = hands.detectForVideo(video, performance.now(), { rotationDegrees: 90 });
const radius = (data: LandmarkData) => DrawingUtils.lerp(data.from!.z, -0.15, 0.1, 5, 1);
landmarks.forEach((hand: NormalizedLandmark[]) => drawing.drawLandmarks(hand, { color: "red", fillColor: ({ index }) => (index ? "red" : "white"), radius }));

const recognizer: Awaited<ReturnType<typeof GestureRecognizer.createFromOptions>> = await GestureRecognizer.createFromOptions(files, {
  baseOptions: { modelAssetBuffer: (await fetch("gesture_recognizer.task")).body!.getReader() },
  cannedGesturesClassifierOptions: { scoreThreshold: 0.5, categoryAllowlist: ["Victory"], maxResults: -1 },
  customGesturesClassifierOptions: { categoryDenylist: ["Thumb_Up"] },
});
console.log(recognizer.recognizeForVideo(video, Date.now()).gestures.at(0)?.at(0)?.categoryName ?? "None");

const faces = await FaceLandmarker.createFromOptions(files, { outputFacialTransformationMatrixes: true, canvas });
const matrix: Matrix | undefined = faces.detect(await createImageBitmap(canvas)).facialTransformationMatrixes[0];
const style: DrawingOptions = { color: "#C0C0C070", lineWidth: matrix?.rows ?? 1 };
for (const part of [FaceLandmarker.FACE_LANDMARKS_TESSELATION, FaceLandmarker.FACE_LANDMARKS_LEFT_IRIS]) drawing.drawConnectors(landmarks[0], part, style);
for (const { boundingBox } of (await FaceDetector.createFromModelPath(files, "a.tflite")).detect(canvas).detections) drawing.drawBoundingBox(boundingBox!);

const poses = await PoseLandmarker.createFromOptions(files, { baseOptions: { modelAssetPath: "pose_landmarker_lite.task" }, outputSegmentationMasks: true });
const onPose: PoseLandmarkerCallback = ({ segmentationMasks }) => console.log(segmentationMasks?.map((mask: MPMask) => mask.width * mask.height));
poses.detect(canvas, { rotationDegrees: 0 }, onPose);
poses.detectForVideo(video, 10, (result) => result.close());
const holistic = await HolisticLandmarker.createFromOptions(files, { minFaceDetectionConfidence: 0.5, minPoseSuppressionThreshold: 0.3, minHandLandmarksConfidence: 0.5 });
const draw: HolisticLandmarkerCallback = ({ poseSegmentationMasks: [mask] }) => console.log(mask?.hasFloat32Array());
holistic.detectForVideo(video, performance.now(), draw);

const segmenter = await ImageSegmenter.createFromModelBuffer(files, new Uint8Array());
const colors: RGBAColor[] = [[255, 0, 0, 255], [0, 0, 0, 0]];
const onMask: ImageSegmenterCallback = ({ categoryMask, confidenceMasks }) => {
  drawing.drawCategoryMask(categoryMask!, colors, video);
  drawing.drawConfidenceMask(confidenceMasks![0]!.clone(), [0, 0, 0, 0], canvas);
};
segmenter.segment(canvas, onMask);
onMask(segmenter.segmentForVideo(video, performance.now()));
(await InteractiveSegmenter.createFromOptions(files, { outputCategoryMask: true })).segment(canvas, { keypoint: { x: 0.5, y: 0.5 } }, ({ categoryMask }) => console.log(categoryMask?.width));
