/** `npx sonjit-web` names the packages that are missing, as this one was installed. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const COPY = fileURLToPath(new URL("../copy.js", import.meta.url));

for (const [installed, expected] of [
  ["file:../dist/sonjit-web-1.0.0.tgz", "../dist/sonjit-web-models-face-1.0.0.tgz"],
  ["^1.0.0", "sonjit-web-models-face"],
])
  test(`of ${installed}`, () => {
    const app = mkdtempSync(join(tmpdir(), "sonjit-app-"));
    const own = join(app, "sonjit-web");
    mkdirSync(own);
    copyFileSync(COPY, join(own, "copy.mjs"));
    writeFileSync(join(own, "package.json"), JSON.stringify({ kinds: ["hands", "face"] }));
    writeFileSync(
      join(app, "package.json"),
      JSON.stringify({ dependencies: { "sonjit-web": installed } }),
    );
    const words = [join("sonjit-web", "copy.mjs"), "public", "face"];
    const done = spawnSync(process.execPath, words, { cwd: app, encoding: "utf8" });
    rmSync(app, { recursive: true });
    assert.equal(done.status, 2);
    assert.equal(done.stderr, `no networks of face: npm install ${expected}\n`);
  });
