// Builds the package and the demo: node scripts/build.mjs [FOLDER [FILE]]
//
// FOLDER is dist/, and FILE that of the demo application, gateway/http/demo/app.js, unless others are given.
//
//   index.js, msgpack.js, state.js, status-element.js   ES modules; state.js loads index.js
//   ringgate.js                       the core as a plain script: the global `Ringgate`
//   ringgate.all.js                   the same with every module of the package
//   *.d.ts                            types
//
// The same sources give the same bytes: what is committed in dist/ is compared with it by a test.

import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(dirname(fileURLToPath(import.meta.url)));
const out = resolve(process.argv[2] ?? join(here, "dist"));
const demo = resolve(process.argv[3] ?? join(here, "../../gateway/http/demo/app.js"));
const common = {
  absWorkingDir: here,
  bundle: true,
  target: "es2022",
  charset: "utf8",
  legalComments: "none",
  logLevel: "warning",
};

rmSync(out, { recursive: true, force: true });
await Promise.all([
  build({
    ...common,
    entryPoints: ["src/index.ts", "src/msgpack.ts", "src/status-element.ts"],
    format: "esm",
    outdir: out,
  }),
  build({ ...common, entryPoints: ["src/state.ts"], format: "esm", outdir: out, external: ["./index.js"] }),
  build({
    ...common,
    entryPoints: ["demo/app.ts"],
    outfile: demo,
    format: "esm",
    banner: { js: "// Built from clients/js/demo by `make js`: change that." },
  }),
  ...[
    ["src/index.ts", "ringgate.js"],
    ["src/all.ts", "ringgate.all.js"],
  ].map(([entry, name]) =>
    build({
      ...common,
      entryPoints: [entry],
      outfile: join(out, name),
      format: "iife",
      globalName: "Ringgate",
      minify: true,
    }),
  ),
]);
execFileSync(
  process.execPath,
  [join(here, "node_modules/typescript/bin/tsc"), "--project", join(here, "tsconfig.build.json"), "--outDir", out],
  { stdio: "inherit" },
);
