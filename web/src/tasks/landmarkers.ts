/** Vision tasks with the names of MediaPipe. */

import { BLENDSHAPES, constants, GRIDS } from "../data.js";
import { loadGestures, type LoadedGestures } from "../gestures.js";
import { detectorShape, HAND_SHAPE, openDetector, type Make } from "../kinds.js";
import { Detector } from "../pipeline.js";
import type { Body, Face, Hand, InWorker, Person, Points, Results } from "../results.js";
import { SingleShotDetector } from "../ssd.js";
import { FACE, HAND_CONNECTIONS, POSE_CONNECTIONS } from "./drawing.js";
import { taskFaceBoxes, TaskHands } from "./graphs.js";
import {
  categoryOf,
  fullMask,
  matrixOf,
  normalizedLandmarks,
  worldLandmarks as worldLandmarksOf,
  type Category,
  type Classifications,
  type Detection,
  type DetectionResult,
  type Frame,
  type Landmark,
  type Matrix,
  type MPMask,
  type NormalizedLandmark,
} from "./results.js";
import {
  DetectorTask,
  FilesetResolver,
  opened,
  type Callback,
  type DetectorRequest,
  type ImageProcessingOptions,
  type ImageSource,
  type ModelBuffer,
  type Networks,
  type VisionTaskOptions,
  type WasmFileset,
  type WithCallback,
} from "./runner.js";

const NO_INDEX = -1;
const NONE = "None";
const GESTURES = new Set([
  "Closed_Fist",
  "Open_Palm",
  "Pointing_Up",
  "Thumb_Down",
  "Thumb_Up",
  "Victory",
  "ILoveYou",
]);
const [LEFT_WRIST, RIGHT_WRIST] = [15, 16];
const MAX_FACES = 100;
const FACE_KEYPOINTS = 6;
const PALM_KEYPOINTS = 7;

/** Base of the tasks that process an image with `detect` or `detectForVideo`. */
abstract class Landmarker<Options extends VisionTaskOptions, R> extends DetectorTask<Options, R> {
  /** Process one image. Return the result, and pass it to the callback if there is one. */
  detect(image: ImageSource, ...more: WithCallback<R>): R {
    return this.process(image, null, more);
  }

  /**
   * Process the next image of a video; `timestamp` in milliseconds. Return the result, and pass it
   * to the callback if there is one.
   */
  detectForVideo(image: ImageSource, timestamp: number, ...more: WithCallback<R>): R {
    return this.process(image, timestamp, more);
  }
}

/** Base of the tasks that detect face meshes. */
abstract class FaceTask<Options extends VisionTaskOptions, R> extends Landmarker<Options, R> {
  static FACE_LANDMARKS_LIPS = FACE.LIPS;
  static FACE_LANDMARKS_LEFT_EYE = FACE.LEFT_EYE;
  static FACE_LANDMARKS_LEFT_EYEBROW = FACE.LEFT_EYEBROW;
  static FACE_LANDMARKS_LEFT_IRIS = FACE.LEFT_IRIS;
  static FACE_LANDMARKS_RIGHT_EYE = FACE.RIGHT_EYE;
  static FACE_LANDMARKS_RIGHT_EYEBROW = FACE.RIGHT_EYEBROW;
  static FACE_LANDMARKS_RIGHT_IRIS = FACE.RIGHT_IRIS;
  static FACE_LANDMARKS_FACE_OVAL = FACE.FACE_OVAL;
  static FACE_LANDMARKS_CONTOURS = FACE.CONTOURS;
  static FACE_LANDMARKS_TESSELATION = FACE.TESSELATION;
}

export interface HandLandmarkerOptions extends VisionTaskOptions {
  numHands?: number | undefined;
  minHandDetectionConfidence?: number | undefined;
  minHandPresenceConfidence?: number | undefined;
  /** Ignored. */
  minTrackingConfidence?: number | undefined;
}

export interface HandLandmarkerResult {
  landmarks: NormalizedLandmark[][];
  worldLandmarks: Landmark[][];
  handedness: Category[][];
  /** Equal to `handedness`. */
  handednesses: Category[][];
}

export interface ClassifierOptions {
  displayNamesLocale?: string | undefined;
  maxResults?: number | undefined;
  scoreThreshold?: number | undefined;
  categoryAllowlist?: string[] | undefined;
  categoryDenylist?: string[] | undefined;
}

export interface GestureRecognizerOptions extends HandLandmarkerOptions {
  cannedGesturesClassifierOptions?: ClassifierOptions | undefined;
  /** Ignored. */
  customGesturesClassifierOptions?: ClassifierOptions | undefined;
}

export type GestureRecognizerResult = HandLandmarkerResult & { gestures: Category[][] };

export interface FaceLandmarkerOptions extends VisionTaskOptions {
  numFaces?: number | undefined;
  minFaceDetectionConfidence?: number | undefined;
  minFacePresenceConfidence?: number | undefined;
  /** Ignored. */
  minTrackingConfidence?: number | undefined;
  outputFaceBlendshapes?: boolean | undefined;
  outputFacialTransformationMatrixes?: boolean | undefined;
}

export interface FaceLandmarkerResult {
  faceLandmarks: NormalizedLandmark[][];
  faceBlendshapes: Classifications[];
  facialTransformationMatrixes: Matrix[];
}

export type FaceDetectorOptions = VisionTaskOptions & {
  minDetectionConfidence?: number | undefined;
  minSuppressionThreshold?: number | undefined;
};

export interface PoseLandmarkerOptions extends VisionTaskOptions {
  numPoses?: number | undefined;
  minPoseDetectionConfidence?: number | undefined;
  minPosePresenceConfidence?: number | undefined;
  /** Ignored. */
  minTrackingConfidence?: number | undefined;
  outputSegmentationMasks?: boolean | undefined;
}

export class PoseLandmarkerResult {
  constructor(
    readonly landmarks: NormalizedLandmark[][],
    readonly worldLandmarks: Landmark[][],
    readonly segmentationMasks?: MPMask[],
  ) {}

  /** Do nothing: masks are freed when nothing refers to them. */
  close(): void {}
}

export interface HolisticLandmarkerOptions extends VisionTaskOptions {
  minPoseDetectionConfidence?: number | undefined;
  minPosePresenceConfidence?: number | undefined;
  outputPoseSegmentationMasks?: boolean | undefined;
  /** This option and the following ones are ignored, with a warning in the console. */
  minFaceDetectionConfidence?: number | undefined;
  minFaceSuppressionThreshold?: number | undefined;
  minFacePresenceConfidence?: number | undefined;
  outputFaceBlendshapes?: boolean | undefined;
  minPoseSuppressionThreshold?: number | undefined;
  minHandLandmarksConfidence?: number | undefined;
}

const IGNORED = [
  "minFaceDetectionConfidence",
  "minFaceSuppressionThreshold",
  "minFacePresenceConfidence",
  "outputFaceBlendshapes",
  "minPoseSuppressionThreshold",
  "minHandLandmarksConfidence",
] as const;

export type PoseLandmarkerCallback = Callback<PoseLandmarkerResult, void>;
export type HolisticLandmarkerCallback = Callback<HolisticLandmarkerResult, void>;

export interface HolisticLandmarkerResult {
  faceLandmarks: NormalizedLandmark[][];
  faceBlendshapes: Classifications[];
  poseLandmarks: NormalizedLandmark[][];
  poseWorldLandmarks: Landmark[][];
  poseSegmentationMasks: MPMask[];
  leftHandLandmarks: NormalizedLandmark[][];
  leftHandWorldLandmarks: Landmark[][];
  rightHandLandmarks: NormalizedLandmark[][];
  rightHandWorldLandmarks: Landmark[][];
}

/** Detects hands. */
export class HandLandmarker extends Landmarker<HandLandmarkerOptions, HandLandmarkerResult> {
  static createFromOptions = (_: WasmFileset, options: HandLandmarkerOptions) =>
    opened(new HandLandmarker(), options);
  static createFromModelPath = (_: WasmFileset, modelAssetPath: string) =>
    opened(new HandLandmarker(), { baseOptions: { modelAssetPath } });
  static createFromModelBuffer = (_: WasmFileset, modelAssetBuffer: ModelBuffer) =>
    opened(new HandLandmarker(), { baseOptions: { modelAssetBuffer } });
  static HAND_CONNECTIONS = HAND_CONNECTIONS;
  protected readonly request = handsRequest;
  protected override readonly load = loadHands;
  protected readonly result = handResult;
}

/** Detects hands and classifies their gestures. */
export class GestureRecognizer extends DetectorTask<
  GestureRecognizerOptions,
  GestureRecognizerResult
> {
  static createFromOptions = (_: WasmFileset, options: GestureRecognizerOptions) =>
    opened(new GestureRecognizer(), options);
  static createFromModelPath = (_: WasmFileset, modelAssetPath: string) =>
    opened(new GestureRecognizer(), { baseOptions: { modelAssetPath } });
  static createFromModelBuffer = (_: WasmFileset, modelAssetBuffer: ModelBuffer) =>
    opened(new GestureRecognizer(), { baseOptions: { modelAssetBuffer } });
  static HAND_CONNECTIONS = HAND_CONNECTIONS;
  protected readonly request = handsRequest;
  protected override readonly load = loadHands;
  #gestures: LoadedGestures | null = null;

  override async open(): Promise<void> {
    this.#gestures ??= await loadGestures([
      new URL("models/gestures.npz", FilesetResolver.folder).href,
    ]);
    await super.open();
  }

  /** Process one image. */
  recognize(image: ImageSource, options?: ImageProcessingOptions): GestureRecognizerResult {
    return this.process(image, null, [options]);
  }

  /** Process the next image of a video; `timestamp` in milliseconds. */
  recognizeForVideo(
    image: ImageSource,
    timestamp: number,
    options?: ImageProcessingOptions,
  ): GestureRecognizerResult {
    return this.process(image, timestamp, [options]);
  }

  protected result(results: Results, frame: Frame): GestureRecognizerResult {
    return {
      ...handResult(results, frame),
      gestures: (results.found as InWorker<Hand>[]).map((hand) => this.#categories(hand)),
    };
  }

  #categories(hand: InWorker<Hand>): Category[] {
    const {
      scoreThreshold = 0,
      categoryAllowlist = [],
      categoryDenylist = [],
      maxResults = 1,
    } = this.options.cannedGesturesClassifierOptions ?? {};
    const { name, score } = this.#gestures!.recognize(hand) ?? { name: NONE, score: 1 };
    const known = GESTURES.has(name) ? name : NONE;
    const isWanted =
      score >= scoreThreshold &&
      !categoryDenylist.includes(known) &&
      (!categoryAllowlist.length || categoryAllowlist.includes(known));
    return isWanted && maxResults !== 0 ? [categoryOf(score, NO_INDEX, known)] : [];
  }
}

/** Detects faces with 478 landmarks. */
export class FaceLandmarker extends FaceTask<FaceLandmarkerOptions, FaceLandmarkerResult> {
  static createFromOptions = (_: WasmFileset, options: FaceLandmarkerOptions) =>
    opened(new FaceLandmarker(), options);
  static createFromModelPath = (_: WasmFileset, modelAssetPath: string) =>
    opened(new FaceLandmarker(), { baseOptions: { modelAssetPath } });
  static createFromModelBuffer = (_: WasmFileset, modelAssetBuffer: ModelBuffer) =>
    opened(new FaceLandmarker(), { baseOptions: { modelAssetBuffer } });
  protected readonly result = faceResult;

  protected request({
    numFaces = 1,
    minFaceDetectionConfidence = 0.5,
    minFacePresenceConfidence = 0.5,
    ...more
  }: FaceLandmarkerOptions): DetectorRequest {
    const {
      outputFaceBlendshapes: blendshapes = false,
      outputFacialTransformationMatrixes: transform = false,
    } = more;
    const scores = {
      min_detection_score: minFaceDetectionConfidence,
      min_presence_score: minFacePresenceConfidence,
    };
    return {
      kind: "face",
      options: { model: "attention", max_instances: numFaces, ...scores, blendshapes, transform },
    };
  }
}

/** Detects boxes and six keypoints of faces. */
export class FaceDetector extends Landmarker<FaceDetectorOptions, DetectionResult> {
  static createFromOptions = (_: WasmFileset, options: FaceDetectorOptions) =>
    opened(new FaceDetector(), options);
  static createFromModelPath = (_: WasmFileset, modelAssetPath: string) =>
    opened(new FaceDetector(), { baseOptions: { modelAssetPath } });
  static createFromModelBuffer = (_: WasmFileset, modelAssetBuffer: ModelBuffer) =>
    opened(new FaceDetector(), { baseOptions: { modelAssetBuffer } });
  protected readonly result = boxResult;

  protected request({ minDetectionConfidence = 0.5 }: FaceDetectorOptions): DetectorRequest {
    return {
      kind: "face",
      options: {
        model: "box",
        max_instances: MAX_FACES,
        min_detection_score: minDetectionConfidence,
      },
    };
  }

  protected override async load({ open }: Networks): Promise<Make> {
    const network = await open(
      "detector",
      detectorShape(GRIDS["face-short"], FACE_KEYPOINTS, constants.face_networks.DETECTOR_RANGE),
    );
    return (settings) =>
      taskFaceBoxes(
        new SingleShotDetector(network, GRIDS["face-short"], this.options.minSuppressionThreshold),
        settings,
      );
  }
}

/** Detects bodies. */
export class PoseLandmarker extends Landmarker<PoseLandmarkerOptions, PoseLandmarkerResult> {
  static createFromOptions = (_: WasmFileset, options: PoseLandmarkerOptions) =>
    opened(new PoseLandmarker(), options);
  static createFromModelPath = (_: WasmFileset, modelAssetPath: string) =>
    opened(new PoseLandmarker(), { baseOptions: { modelAssetPath } });
  static createFromModelBuffer = (_: WasmFileset, modelAssetBuffer: ModelBuffer) =>
    opened(new PoseLandmarker(), { baseOptions: { modelAssetBuffer } });
  static POSE_CONNECTIONS = POSE_CONNECTIONS;
  protected readonly result = poseResult;

  protected request(options: PoseLandmarkerOptions): DetectorRequest {
    const {
      numPoses = 1,
      minPoseDetectionConfidence = 0.5,
      minPosePresenceConfidence = 0.5,
      outputSegmentationMasks = false,
    } = options;
    const scores = {
      min_detection_score: minPoseDetectionConfidence,
      min_presence_score: minPosePresenceConfidence,
    };
    return {
      kind: "body",
      options: {
        model: modelOf(options),
        max_instances: numPoses,
        ...scores,
        segmentation: outputSegmentationMasks,
      },
    };
  }
}

/** Detects one person with hands and face. */
export class HolisticLandmarker extends FaceTask<
  HolisticLandmarkerOptions,
  HolisticLandmarkerResult
> {
  static createFromOptions = (_: WasmFileset, options: HolisticLandmarkerOptions) =>
    opened(new HolisticLandmarker(), options);
  static createFromModelPath = (_: WasmFileset, modelAssetPath: string) =>
    opened(new HolisticLandmarker(), { baseOptions: { modelAssetPath } });
  static createFromModelBuffer = (_: WasmFileset, modelAssetBuffer: ModelBuffer) =>
    opened(new HolisticLandmarker(), { baseOptions: { modelAssetBuffer } });
  static HAND_CONNECTIONS = HAND_CONNECTIONS;
  static POSE_CONNECTIONS = POSE_CONNECTIONS;
  protected readonly result = holisticResult;
  readonly #ignored = new Set<string>(); // options that a warning has named

  protected request(options: HolisticLandmarkerOptions): DetectorRequest {
    const ignored = IGNORED.filter(
      (name) => (options[name] ?? false) !== false && !this.#ignored.has(name),
    );
    if (ignored.length) console.warn(`Sonjit: HolisticLandmarker ignores ${ignored.join(", ")}`);
    for (const name of ignored) this.#ignored.add(name);
    const {
      minPoseDetectionConfidence = 0.5,
      minPosePresenceConfidence = 0.5,
      outputPoseSegmentationMasks = false,
    } = options;
    const scores = {
      min_detection_score: minPoseDetectionConfidence,
      min_presence_score: minPosePresenceConfidence,
    };
    return {
      kind: "holistic",
      options: { max_instances: 1, ...scores, segmentation: outputPoseSegmentationMasks },
    };
  }
}

async function loadHands({ open }: Networks): Promise<Make> {
  const palms = await openDetector(open, "detector", GRIDS.palm, PALM_KEYPOINTS);
  const landmarks = await open("landmark", HAND_SHAPE);
  return (settings) => new Detector(new TaskHands(palms, landmarks, settings.mirrored), settings);
}

function handsRequest({
  numHands = 1,
  minHandDetectionConfidence = 0.5,
  minHandPresenceConfidence = 0.5,
}: HandLandmarkerOptions): DetectorRequest {
  const scores = {
    min_detection_score: minHandDetectionConfidence,
    min_presence_score: minHandPresenceConfidence,
  };
  return { kind: "hands", options: { model: "full", max_instances: numHands, ...scores } };
}

/** Return the model of the body network from the name of a model file. */
const modelOf = ({ baseOptions }: VisionTaskOptions): string =>
  /pose_landmarker_(lite|heavy)/.exec(baseOptions?.modelAssetPath ?? "")?.[1] ?? "full";

function handResult({ found }: Results, frame: Frame): HandLandmarkerResult {
  const hands = found as InWorker<Hand>[];
  const handedness = hands.map(({ handedness: side, handednessScore }) => [
    categoryOf(handednessScore, side === "Right" ? 0 : 1, side, side),
  ]);
  return {
    landmarks: hands.map(({ keypoints }) => normalizedLandmarks(keypoints, frame)),
    worldLandmarks: hands.map(({ keypoints3D }) => worldLandmarksOf(keypoints3D, frame)),
    handedness,
    handednesses: handedness,
  };
}

function faceResult({ found }: Results, frame: Frame): FaceLandmarkerResult {
  const faces = found as InWorker<Face>[];
  return {
    faceLandmarks: faces.map(({ keypoints }) => normalizedLandmarks(keypoints, frame)),
    faceBlendshapes: faces.flatMap(({ blendshapes }) =>
      blendshapes
        ? [
            {
              categories: BLENDSHAPES.map((name, index) =>
                categoryOf(blendshapes[name]!, index, name),
              ),
              headIndex: NO_INDEX,
              headName: "",
            },
          ]
        : [],
    ),
    facialTransformationMatrixes: faces.flatMap(({ transform }) =>
      transform ? [matrixOf(transform)] : [],
    ),
  };
}

function poseResult({ found }: Results, frame: Frame): PoseLandmarkerResult {
  const bodies = found as InWorker<Body>[];
  const masks = bodies.flatMap(({ mask }) => (mask ? [fullMask(mask, frame)] : []));
  return new PoseLandmarkerResult(
    bodies.map(({ keypoints }) => normalizedLandmarks(keypoints, frame)),
    bodies.map(({ keypoints3D }) => worldLandmarksOf(keypoints3D, frame)),
    ...(masks.length ? [masks] : []),
  );
}

function boxResult({ found }: Results, frame: Frame): DetectionResult {
  const faces = [...(found as InWorker<Face>[])].sort((one, other) => other.score - one.score);
  const [width, height] =
    frame.turns % 2 ? [frame.height, frame.width] : [frame.width, frame.height];
  const detections = faces.map(({ box, keypoints, score }): Detection => {
    const corners: Points = {
      values: Float32Array.of(box.xMin, box.yMin, 0, box.xMax, box.yMax, 0),
    };
    const [first, second] = normalizedLandmarks(corners, frame) as [
      NormalizedLandmark,
      NormalizedLandmark,
    ];
    const sides = [
      Math.min(first.x, second.x) * width,
      Math.min(first.y, second.y) * height,
      Math.abs(first.x - second.x) * width,
      Math.abs(first.y - second.y) * height,
    ];
    const [originX, originY, boxWidth, boxHeight] = sides.map((side) =>
      Math.trunc(Math.max(side, 0)),
    ) as [number, number, number, number];
    return {
      categories: [categoryOf(score, 0)],
      boundingBox: { originX, originY, width: boxWidth, height: boxHeight, angle: 0 },
      keypoints: normalizedLandmarks(keypoints, frame).map(({ x, y }) => ({
        x,
        y,
        score: 0,
        label: "",
      })),
    };
  });
  return { detections };
}

function holisticResult({ found }: Results, frame: Frame): HolisticLandmarkerResult {
  const people = found as InWorker<Person>[];
  const hands = (side: "leftHand" | "rightHand", wrist: number) => {
    const all = people.flatMap((person) =>
      person[side] ? [{ hand: person[side], body: person.body }] : [],
    );
    return {
      image: all.map(({ hand }) => normalizedLandmarks(hand.keypoints, frame)),
      metres: all.map(({ hand, body }) => {
        const offset = [0, 1, 2].map(
          (axis) => body.keypoints3D.values[3 * wrist + axis]! - hand.keypoints3D.values[axis]!,
        );
        return worldLandmarksOf(hand.keypoints3D, frame, offset);
      }),
    };
  };
  const [left, right] = [hands("leftHand", LEFT_WRIST), hands("rightHand", RIGHT_WRIST)];
  return {
    faceLandmarks: people.flatMap(({ face }) =>
      face ? [normalizedLandmarks(face.keypoints, frame)] : [],
    ),
    faceBlendshapes: [],
    poseLandmarks: people.map(({ body }) => normalizedLandmarks(body.keypoints, frame)),
    poseWorldLandmarks: people.map(({ body }) => worldLandmarksOf(body.keypoints3D, frame)),
    poseSegmentationMasks: people.flatMap(({ body }) =>
      body.mask ? [fullMask(body.mask, frame)] : [],
    ),
    leftHandLandmarks: left.image,
    leftHandWorldLandmarks: left.metres,
    rightHandLandmarks: right.image,
    rightHandWorldLandmarks: right.metres,
  };
}
