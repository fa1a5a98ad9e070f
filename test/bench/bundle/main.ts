/**
 * `npm run bench:bundle`: what the SDK's code for a device weighs, minified; what each part of a lean build saves; and which rooms and
 * modules hold the rest. The same on every machine.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { bundleDevice, type Bundle, type LeanOptions } from "../../../firmware/build/xs-bundle.js";
import { packageRoot } from "../../../firmware/build/project-files.js";

/** The target of a lean bundle, bytes. */
const TARGET_BYTES = 112_640;
const LARGEST = 25;

const BUILDS: readonly (readonly [name: string, lean?: LeanOptions])[] = [
  ["whole"],
  ["lean", {}],
  ["lean-5", { protocolVersion: 5 }],
  ["lean-311", { protocolVersion: 4 }],
];
/** The SDK on the XS host, whose size has a bar; and what a Moddable project compiles, with provisioning, Wi-Fi, SNTP and storage. */
const ENTRIES = { "on the XS host": "sim/xs/device-library.ts", "hawser/device": "firmware/device-bundle.ts" } as const;

const print = (text = ""): void => void process.stdout.write(`${text}\n`);
const grouped = (value: number): string => value.toLocaleString("en-US");
const row = (name: string, values: readonly (number | undefined)[]): void =>
  print(`${name.padEnd(44)}${values.map((value) => (value === undefined ? "-" : grouped(value)).padStart(10)).join("")}`);
const head = (title: string): void => print(`\n${title.padEnd(44)}${BUILDS.map(([name]) => name.padStart(10)).join("")}`);

function sizesBy(bundle: Bundle, nameOf: (path: string) => string): Map<string, number> {
  const sizes = new Map<string, number>();
  for (const [path, bytes] of bundle.modules) sizes.set(nameOf(path), (sizes.get(nameOf(path)) ?? 0) + bytes);
  return sizes;
}

function showParts(title: string, bundles: readonly Bundle[], nameOf: (path: string) => string, most = Infinity): void {
  const sizes = bundles.map((bundle) => sizesBy(bundle, nameOf));
  const names = [...(sizes[0] ?? [])].sort(([, one], [, other]) => other - one).map(([name]) => name);
  head(title);
  for (const name of names.slice(0, most))
    row(
      name,
      sizes.map((one) => one.get(name)),
    );
  if (names.length > most) {
    const rest = names.slice(most);
    row(
      `${rest.length} smaller ones`,
      sizes.map((one) => rest.reduce((sum, name) => sum + (one.get(name) ?? 0), 0)),
    );
  }
}

const folder = mkdtempSync(join(tmpdir(), "hawser-bundle-sizes-"));
try {
  head("bytes, minified");
  const onHost: Bundle[] = [];
  for (const [title, entry] of Object.entries(ENTRIES)) {
    const bundles: Bundle[] = [];
    for (const [name, lean] of BUILDS) {
      const outputFile = join(folder, `${name}.js`);
      bundles.push(await bundleDevice({ entry: join(packageRoot(), entry), outputFile, ...(lean && { lean }) }));
    }
    row(
      title,
      bundles.map(({ sizeBytes }) => sizeBytes),
    );
    if (onHost.length === 0) onHost.push(...bundles);
  }
  const least = Math.min(...onHost.map(({ sizeBytes }) => sizeBytes));
  print(`target on the XS host: ${grouped(TARGET_BYTES)}: ${least <= TARGET_BYTES ? "met" : `missed by ${grouped(least - TARGET_BYTES)}`}`);
  showParts("rooms, on the XS host", onHost, (path) => dirname(path));
  showParts("modules, on the XS host", onHost, (path) => path, LARGEST);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
