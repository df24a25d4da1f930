// Builds the page into the Python package (or into the folder given as argument) and writes build.json beside it.
// build.json holds a checksum of the sources, from which a test tells whether the committed page is the current one.

import { createHash } from "node:crypto";
import { readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const out = resolve(process.argv[2] ?? join(root, "../src/polyvec/app/web"));
const SOURCES = ["index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts", "scripts", "src", "public"];

function filesOf(path) {
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path).flatMap((name) => filesOf(join(path, name)));
}

function inOrder(paths, folder) {
  const named = paths.map((path) => [relative(folder, path).split(sep).join("/"), path]);
  return named.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
}

const sha256 = (content) => createHash("sha256").update(content).digest("hex");

// One line for each file: its checksum, two blanks, its name; then the checksum of these lines.
function checksumOf(folder, paths) {
  const lines = inOrder(paths, folder).map(([name, path]) => `${sha256(readFileSync(path))}  ${name}\n`);
  return sha256(lines.join(""));
}

await build({ root, logLevel: "warn", build: { outDir: out, emptyOutDir: true } });
const assets = filesOf(out);
const bytes = assets.reduce((sum, path) => sum + statSync(path).size, 0);
const sources = checksumOf(root, SOURCES.flatMap((name) => filesOf(join(root, name))));
writeFileSync(join(out, "build.json"), `${JSON.stringify({ sources, assets: checksumOf(out, assets), bytes }, null, 1)}\n`);
console.log(`${assets.length} files, ${(bytes / 1000).toFixed(0)} kB, in ${relative(process.cwd(), out) || out}`);
