/**
 * Builds dist/: the module, its worker, LiteRT's runtime and the networks, packed with gzip. `node
 * build.js NETWORKS [dist]`
 */

import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

import { build } from "esbuild";

import { OWN, PUBLISHED } from "./networks.js";

const HERE = dirname(fileURLToPath(import.meta.url));
const RUNTIME = join(
  dirname(createRequire(import.meta.url).resolve("@litertjs/core/package.json")),
  "wasm",
);
const BUNDLE = "face_landmarker.task";
const VARIANTS = ["", "compat_", "threaded_"]; // with relaxed SIMD; without it; with it and threads

const [models, out = join(HERE, "dist")] = process.argv.slice(2);
if (!models)
  throw new Error(
    "node build.js NETWORKS [dist]: give the folder with the networks, Sonjit's cache",
  );
const DIST = resolve(out);

rmSync(DIST, { recursive: true, force: true });
for (const folder of ["wasm", "models"]) mkdirSync(join(DIST, folder), { recursive: true });

const options = {
  bundle: true,
  minify: true,
  legalComments: "eof",
  target: "es2022",
  logLevel: "warning",
  absWorkingDir: HERE,
};
await build({
  ...options,
  entryPoints: ["src/index.ts"],
  format: "esm",
  outfile: join(DIST, "sonjit-web.js"),
});
// A classic script: LiteRT loads its own by importScripts, which module workers lack.
await build({
  ...options,
  entryPoints: ["src/worker.ts"],
  format: "iife",
  outfile: join(DIST, "sonjit-web-worker.js"),
});

// For `<script src>`: exported names become globals.
const script = {
  ...options,
  format: "iife",
  globalName: "sonjitExports",
  outdir: DIST,
  outExtension: { ".js": ".global.js" },
  define: { "import.meta.url": "sonjitScript" },
  banner: { js: "(() => {\nconst sonjitScript = document.currentScript.src;" },
};
const solutions = ["hands", "face_mesh", "pose", "holistic"].map(
  (name) => `src/solutions/${name}.ts`,
);
await build({ ...options, entryPoints: solutions, format: "esm", outdir: DIST });
await build({
  ...script,
  entryPoints: solutions,
  footer: { js: "Object.assign(globalThis, sonjitExports);\n})();" },
});
// globals of tfjs-models
const packages = ["handPoseDetection", "faceLandmarksDetection", "faceDetection", "poseDetection"];
await build({
  ...script,
  entryPoints: { "sonjit-web": "src/index.ts" },
  footer: {
    js: `for (const name of ${JSON.stringify(packages)}) globalThis[name] = sonjitExports;\n})();`,
  },
});
await build({
  ...options,
  entryPoints: ["src/tasks-vision.ts"],
  format: "esm",
  outfile: join(DIST, "tasks-vision.js"),
  plugins: [synchronous()],
});

/**
 * Makes the pipeline compute without promises: MediaPipe's tasks return their results at once.
 *
 * On the processor LiteRT's `run` returns no promise, so `async` and `await` are dropped from what
 * runs for every image.
 */
function synchronous() {
  const drop = (code) =>
    code
      .replace(/\b(async|await) /g, "")
      .replace(/Promise<((?:[^<>]|<(?:[^<>]|<[^<>]*>)*>)*)>/g, "$1");
  return {
    name: "synchronous",
    setup({ onLoad, onResolve }) {
      onResolve({ filter: /^\.\/results\.js$/ }, ({ importer }) =>
        importer.endsWith("pipeline.ts") ? { path: join(HERE, "src/tasks/unpacked.ts") } : null,
      );
      onLoad(
        {
          filter:
            /[\\/]src[\\/](body|face|hands|holistic|network|pipeline|ssd|tasks[\\/]graphs)\.ts$/,
        },
        ({ path }) => {
          const code = readFileSync(path, "utf8");
          const [begin, end] = path.endsWith("network.ts")
            ? [code.indexOf("  async run()"), code.indexOf("async function runOnGpu")]
            : [0, code.length];
          if (begin < 0 || end < begin) throw new Error(`${path} has no run() before runOnGpu()`);
          return {
            contents: code.slice(0, begin) + drop(code.slice(begin, end)) + code.slice(end),
            loader: "ts",
          };
        },
      );
    },
  };
}

const write = (source, target, isPacked) =>
  writeFileSync(
    join(DIST, target),
    isPacked ? gzipSync(readFileSync(source), { level: 9 }) : readFileSync(source),
  ); // few hosts compress binary files
for (const variant of VARIANTS) {
  const name = `litert_wasm_${variant}internal`;
  write(join(RUNTIME, `${name}.js`), `wasm/${name}.js`, false);
  write(join(RUNTIME, `${name}.wasm`), `wasm/${name}.wasm.gz`, true);
}
for (const name of new Set(Object.values(OWN).flat()))
  write(join(HERE, "../src/sonjit/_util/assets", name), `models/${name}`, name.endsWith(".tflite"));
// a user's own
if (existsSync(join(models, BUNDLE))) write(join(models, BUNDLE), `models/${BUNDLE}`, false);
for (const file of PUBLISHED) {
  if (existsSync(join(models, file))) write(join(models, file), `models/${file}`, true);
  else
    console.log(
      `left out: ${file}, which is not in ${models}; sonjit models pull fetches the networks`,
    );
}
