/** Load the networks of each kind and create its detectors. */

import { Bodies } from "./body.js";
import type { Bundle } from "./bundle.js";
import { BLENDSHAPES, constants, GRIDS, KINDS, type Grid, type Role } from "./data.js";
import { FaceBoxes, FaceMeshes } from "./face.js";
import { FileError, type NumpyArray } from "./files.js";
import { HandHeads, HandRefinement } from "./hand-heads.js";
import { Hands } from "./hands.js";
import { Holistic } from "./holistic.js";
import type { Network, NetworkShape } from "./network.js";
import type { Observation } from "./observations.js";
import type { Settings } from "./options.js";
import { Detector, type Found, type StillSearch } from "./pipeline.js";
import type { Pixels } from "./pixels.js";
import type { AnyDetector } from "./results.js";
import { BodySearch } from "./search/bodies.js";
import { BystanderSearch } from "./search/bystanders.js";
import { FaceSearch, searchBoxes } from "./search/faces.js";
import { reachOf } from "./search/geometry.js";
import { HandSearch } from "./search/hands.js";
import { PeopleNetwork } from "./search/network.js";
import { searchPeople } from "./search/people.js";
import type { Limits } from "./search/stills.js";
import { SingleShotDetector } from "./ssd.js";

/** Compiles a network of a model. */
export type Open = (role: Role, shape: NetworkShape) => Promise<Network>;

/** Sources from which loaders get networks. */
export interface Sources {
  readonly model: string;
  // names of published networks that replace those of the model
  readonly others: Readonly<Partial<Record<Role, string>>>;
  readonly open: Open;
  readonly hasOwnLandmarks: boolean; // true if the landmark network of hands is custom
  /**
   * Return the arrays of the heads of the published hand networks, or of the refinement of hand
   * keypoints.
   */
  handArrays(name: "heads" | "refinement"): Promise<ReadonlyMap<string, NumpyArray>>;
  /** Compile the network that proposes people and hands from a map of the published one. */
  proposals(shape: NetworkShape): Promise<Network>;
  // true if faces use the networks of a custom bundle, with all options
  readonly hasOwnBundle: boolean;
  bundle(): Promise<Bundle>;
  // true if hands and faces of people are searched in every frame of a stream, as in MediaPipe
  readonly searchesParts: boolean;
  /**
   * True if faces and bodies are searched and cropped again in each frame until `max_instances` are
   * tracked, as in MediaPipe's tasks.
   */
  readonly recrops: boolean;
}

/**
 * Creates a detector with loaded networks; `withAppearance`: its hands have their appearance if the
 * heads provide it.
 */
export type Make = (
  settings: Settings,
  withAppearance: boolean,
) => AnyDetector | Promise<AnyDetector>;

/**
 * For each kind, compiles the networks of a model and returns a function that creates detectors
 * with them.
 */
export const LOADERS: Readonly<Record<string, (sources: Sources) => Promise<Make>>> = {
  hands: async ({ model, open, hasOwnLandmarks, handArrays, proposals }) => {
    const palms = await openDetector(open, "detector", GRIDS.palm, 7);
    const landmarks = await open("landmark", HAND_SHAPE);
    const { TAPS } = constants.hand_heads;
    const tapped = once(() => open("landmark", { ...HAND_SHAPE, taps: TAPS }));
    const withHeads = once(async () => {
      if (hasOwnLandmarks) return { landmarks, heads: null };
      return {
        landmarks: await tapped(),
        heads: new HandHeads(await handArrays("heads"), model, TAPS),
      };
    });
    const refining = once(
      async () => new HandRefinement(await handArrays("refinement"), model, TAPS),
    );
    const people = openPeople(open, proposals, false);
    const bodyLandmarks = once(() => open("guide", BODY_SHAPE));
    return async (settings, withAppearance) => {
      const refinement =
        settings.keypoints === "refined" && !hasOwnLandmarks ? await refining() : null;
      const hands = new Hands(
        palms,
        refinement ? await tapped() : landmarks,
        settings.mirrored,
        null,
        false,
        refinement,
      );
      if (settings.search === "fast") return new Detector(hands, settings);
      const stillHands = once(async () => {
        const networks = await withHeads();
        return new Hands(
          palms,
          networks.landmarks,
          settings.mirrored,
          networks.heads,
          withAppearance,
          refinement,
        );
      });
      const bodies = once(async () => new Bodies(null, await bodyLandmarks(), settings.mirrored));
      const search = async (image: Pixels, limits: Limits) =>
        new HandSearch(
          image,
          { palms, hands: await stillHands(), people, bodies },
          limits,
        ).search();
      return new Detector(hands, settings, ifFilesExist(settings, search));
    };
  },
  face: async ({ model, open, hasOwnBundle, bundle, proposals, recrops }) => {
    const { detector, landmark } = KINDS.face!.models[model]!;
    const wide = openWideDetector(open);
    if (!landmark) {
      const faces = await openFaceDetector(open, "detector", detector!);
      return (settings) => {
        const boxes = new FaceBoxes(faces, settings.mirrored);
        if (settings.search === "fast") return new Detector(boxes, settings);
        const search = async (image: Pixels, limits: Limits) =>
          searchBoxes(image, boxes, await wide(), limits);
        return new Detector(boxes, settings, ifFilesExist(settings, search));
      };
    }
    const published = once(
      async () =>
        [
          await openFaceDetector(open, "detector", detector!),
          await open("landmark", meshShape(landmark)),
        ] as const,
    );
    const bundledMeshes = bundleMeshes(once(bundle));
    const people = openPeople(open, proposals, false);
    return async (settings) => {
      const meshesOf = async (turns: boolean) =>
        hasOwnBundle || usesBundle(settings)
          ? bundledMeshes(settings, turns)
          : new FaceMeshes(...(await published()), null, settings.mirrored, turns);
      const meshes = await meshesOf(false);
      if (settings.search === "fast") return new Detector(meshes, settings, null, recrops);
      const stillMeshes = await meshesOf(true);
      const search = async (image: Pixels, limits: Limits) =>
        new FaceSearch(image, await wide(), stillMeshes, limits, people).search();
      return new Detector(meshes, settings, ifFilesExist(settings, search));
    };
  },
  body: async ({ open, proposals, recrops }) => {
    const networksOf = await openBodies(open);
    const wide = openWideDetector(open);
    const people = openPeople(open, proposals);
    return async (settings) => {
      const bodies = new Bodies(...(await networksOf(settings)), settings.mirrored);
      if (settings.search === "fast") return new Detector(bodies, settings, null, recrops);
      const search = async (image: Pixels, limits: Limits) =>
        new BodySearch(
          image,
          { bodies, people: await people(), faces: await wide() },
          limits,
        ).search();
      return new Detector(bodies, settings, ifFilesExist(settings, search));
    };
  },
  holistic: async ({ model, others, open, handArrays, proposals, searchesParts }) => {
    const names = { ...KINDS.holistic!.models[model]!, ...others };
    const networksOf = await openBodies(open);
    const { TAPS } = constants.hand_heads;
    const landmarks = once(() => open("hand", HAND_SHAPE));
    const refined = once(async () => ({
      landmarks: await open("hand", { ...HAND_SHAPE, taps: TAPS }),
      refinement: new HandRefinement(
        await handArrays("refinement"),
        names.hand!.replace("hand-", ""),
        TAPS,
      ),
    }));
    const faceDetector = await openFaceDetector(open, "face_detector", names.face_detector!);
    const faceLandmarks = await open("face", meshShape(names.face!));
    const recrop = await open("recrop", { sizes: [4] });
    const wide = openWideDetector(open);
    const palms = once(() => openDetector(open, "palms", GRIDS.palm, 7));
    const network = openPeople(open, proposals);
    return async (settings) => {
      const networks =
        settings.keypoints === "refined"
          ? await refined()
          : { landmarks: await landmarks(), refinement: null };
      const hands = new Hands(
        null,
        networks.landmarks,
        settings.mirrored,
        null,
        false,
        networks.refinement,
      );
      const faces = new FaceMeshes(faceDetector, faceLandmarks, null, settings.mirrored);
      const people = new Holistic(
        ...(await networksOf(settings)),
        { hands, faces, recrop },
        settings,
        searchesParts,
      );
      if (settings.search === "fast") return new Detector(people, settings);
      const search = async (image: Pixels, limits: Limits) => {
        const searches = {
          bodies: new BodySearch(
            image,
            { bodies: people, people: await network(), faces: await wide() },
            limits,
          ),
          hands: new HandSearch(
            image,
            { palms: await palms(), hands },
            { ...limits, published: PUBLISHED },
          ),
        };
        return searchPeople(image, people, searches, {
          minPresence: settings.min_presence_score,
          limit: settings.still_instances,
        });
      };
      return new Detector(people, settings, ifFilesExist(settings, search));
    };
  },
};

/** Load the networks that find everybody whom a page hides, from the files of whole people. */
export async function loadBystanders({
  model,
  open,
  proposals,
}: Sources): Promise<BystanderSearch> {
  const names = KINDS.holistic!.models[model]!;
  const detector = await openFaceDetector(open, "face_detector", names.face_detector!);
  const meshes = await open("face", meshShape(names.face!));
  return new BystanderSearch({
    faces: await openFaceDetector(open, "search", "face-full"),
    meshes: new FaceMeshes(detector, meshes, null, false, true),
    bodies: new Bodies(null, await open("landmark", BODY_SHAPE), false),
    people: await openPeople(open, proposals)(),
  });
}

/** Check whether the options require the networks of a face landmarker's bundle. */
export const usesBundle = ({ blendshapes, transform }: Settings) =>
  Boolean(blendshapes || transform);

// minimum score of instances that lead to instances of another kind, in the published search
const PUBLISHED = 0.5;

/** Return a function that calls another one until it succeeds, and then returns its result. */
export function once<T>(make: () => Promise<T>): () => Promise<T> {
  let result: Promise<T> | null = null;
  const forget = (error: unknown): never => {
    result = null;
    throw error;
  };
  return () => (result ??= make().catch(forget));
}

const warned = new Set<string>(); // messages of errors

/** Searches an image within limits. */
type Search<O extends Observation> = (image: Pixels, limits: Limits) => Promise<Found<O>>;

/**
 * Return a still search that, with `search: "auto"`, warns once and returns null if one of its
 * files is missing.
 */
function ifFilesExist<O extends Observation>(
  settings: Settings,
  search: Search<O>,
): StillSearch<O> {
  const { min_detection_score: published, search: way } = settings;
  return async (image) => {
    const isThorough =
      // also images seven times as long as wide
      way === "thorough" || 4 * reachOf(image) <= Math.max(image.width, image.height);
    try {
      return await search(image, { published, isThorough });
    } catch (error) {
      if (!(error instanceof FileError) || way !== "auto") throw error;
      if (!warned.has(error.message)) console.warn(`stills are searched fast: ${error.message}`);
      warned.add(error.message);
      return null;
    }
  };
}

/** Return a function that opens the full-range face detector, compiled on first use. */
const openWideDetector = (open: Open): (() => Promise<SingleShotDetector>) =>
  once(() => openFaceDetector(open, "search", "face-full"));

/**
 * Return a function that creates face meshes with the networks of a bundle and the requested parts.
 */
function bundleMeshes(
  bundle: () => Promise<Bundle>,
): (settings: Settings, turns: boolean) => Promise<FaceMeshes> {
  const { BUNDLE_OUTPUTS, BUNDLE_OVERLAP, DETECTOR_RANGE } = constants.face_networks;
  const { REFINED } = constants.face_refinement;
  const { POINTS } = constants.face_bundle;
  const networks = once(async () => {
    const file = await bundle();
    const open: Open = (role, shape) =>
      file.open(`face_${role === "detector" ? role : "landmarks_detector"}.tflite`, shape);
    const faces = await openDetector(open, "detector", GRIDS["face-short"], 6, {
      range: DETECTOR_RANGE,
      overlap: BUNDLE_OVERLAP,
    });
    return [
      faces,
      await open("landmark", { sizes: [3 * REFINED, 1], outputs: BUNDLE_OUTPUTS }),
    ] as const;
  });
  const shape = { sizes: [BLENDSHAPES.length], input: [1, POINTS.length, 2] };
  const blendshapes = once(async () => (await bundle()).open("face_blendshapes.tflite", shape));
  const canonical = once(async () => (await bundle()).canonicalFace());
  return async (settings, turns) => {
    const [faces, landmarks] = await networks();
    return new FaceMeshes(
      faces,
      landmarks,
      {
        blendshapes: settings.blendshapes ? await blendshapes() : null,
        canonical: settings.transform ? await canonical() : null,
      },
      settings.mirrored,
      turns,
    );
  };
}

/**
 * Return a function that opens the networks that propose people and hands, compiled on first use.
 * With `hasBoxes` the first one gives codes of boxes and class logits, too.
 */
function openPeople(
  open: Open,
  proposals: Sources["proposals"],
  hasBoxes = true,
): () => Promise<PeopleNetwork> {
  const { SIDE, CHANNELS, VALUES, INPUT_RANGE: range } = constants.search.network;
  const own = { sizes: [SIDE * SIDE * VALUES], input: [1, SIDE, SIDE, CHANNELS] };
  const boxes = hasBoxes ? { sizes: [4 * 1917, 24 * 1917] } : { sizes: [], outputs: [] };
  return once(
    async () =>
      new PeopleNetwork(
        await open("people", { ...boxes, range, taps: [SIDE] }),
        await proposals(own),
      ),
  );
}

export const HAND_SHAPE = {
  sizes: [3 * constants.hands.KEYPOINTS, 1, 1, 3 * constants.hands.KEYPOINTS],
};

const { KEYPOINT_OUTPUTS, LANDMARKS } = constants.body;
/** Outputs without masks, whose branch nearly doubles the time of lite and full. */
const BODY_SHAPE = {
  sizes: [5 * LANDMARKS, 1, 64 * 64 * LANDMARKS, 3 * LANDMARKS],
  outputs: KEYPOINT_OUTPUTS,
};

/** Return the outputs of a face network by the name of its weights. */
function meshShape(weight: string): NetworkShape {
  const { MESH_OUTPUTS } = constants.face_networks;
  return { sizes: MESH_OUTPUTS[weight.replace("face-", "") as keyof typeof MESH_OUTPUTS] };
}

/**
 * Return a function that returns the networks of bodies. The branch for masks is compiled on first
 * use.
 */
async function openBodies(
  open: Open,
): Promise<(settings: Settings) => Promise<readonly [SingleShotDetector, Network]>> {
  const { DETECTOR_RANGE, MASK_OUTPUT } = constants.body;
  const people = await openDetector(open, "detector", GRIDS.person, 4, { range: DETECTOR_RANGE });
  const withMasks = {
    sizes: [...BODY_SHAPE.sizes, 256 * 256],
    outputs: [...BODY_SHAPE.outputs, MASK_OUTPUT],
  };
  const compiled = new Map<boolean, Promise<Network>>();
  return async ({ segmentation }) => {
    if (!compiled.has(segmentation))
      compiled.set(segmentation, open("landmark", segmentation ? withMasks : BODY_SHAPE));
    return [people, (await compiled.get(segmentation))!];
  };
}

function openFaceDetector(open: Open, role: Role, weight: string): Promise<SingleShotDetector> {
  return openDetector(open, role, GRIDS[weight as "face-short" | "face-full"], 6, {
    range: constants.face_networks.DETECTOR_RANGE,
  });
}

/** Open a single-shot detector with this number of keypoints for each box. */
export async function openDetector(
  open: Open,
  role: Role,
  grid: Grid,
  keypoints: number,
  { range = [0, 1], overlap }: { range?: readonly number[]; overlap?: number } = {},
): Promise<SingleShotDetector> {
  return new SingleShotDetector(
    await open(role, detectorShape(grid, keypoints, range)),
    grid,
    overlap,
  );
}

/** Return the outputs of a single-shot detector: boxes with keypoints, and scores. */
export function detectorShape(
  { layers }: Grid,
  keypoints: number,
  range: readonly number[],
): NetworkShape {
  const anchors = layers.reduce((sum, [cells, each]) => sum + cells * cells * each, 0);
  return { sizes: [anchors * (4 + 2 * keypoints), anchors], range };
}
