// `npm run test:nodes`: what touches TLS, sockets and files, and the demo, under each Node that is supported and is not the one at hand:
// OpenSSL and the socket layer differ. The binaries come from npm, one package a platform, into .cache/node. Bounded: a Node that takes
// longer has failed.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const CACHE = join(ROOT, ".cache", "node");
const MAJORS = [20, 22, 24, 26];
const SUITE = [
  "sim/node",
  "sim/brokers/embedded-broker.test.ts",
  "sim/brokers/guarded-connection.test.ts",
  "test/cross-engine",
  "test/end-to-end/demo.test.ts",
];
/** The package as a user installs it, its examples and the README's programs: once more, under the Node that most people have. */
const ALSO = new Map([[22, ["test/end-to-end/package.test.ts"]]]);
/** Each: about a minute alone on a machine with 2 cores, 22 two. */
const LIMIT_MS = 600_000;
const INSTALL_LIMIT_MS = 180_000;

// A filter of vitest's that fits no file is passed over in silence.
for (const place of [...SUITE, ...[...ALSO.values()].flat()])
  if (!existsSync(join(ROOT, place))) throw new Error(`test/node-versions.mjs names ${place}, which is not there`);

const own = Number(process.versions.node.split(".")[0]);
const wanted = process.argv.slice(2).map(Number);
const majors = wanted.length > 0 ? wanted : MAJORS.filter((major) => major !== own);
const platform = `${process.platform}-${process.arch}`;
const results = process.env["HAWSER_RESULTS"];
let [passed, failed] = [0, 0];
const testResults = [];

for (const major of majors) {
  const outcome = runUnder(major);
  passed += outcome.passed;
  failed += outcome.failed;
  testResults.push(...outcome.testResults);
}
process.stdout.write(`Under Node ${majors.join(", ")}: ${passed} passed, ${failed} failed\n`);
if (results) writeFileSync(results, JSON.stringify({ numPassedTests: passed, numFailedTests: failed, testResults }));
process.exitCode = failed > 0 ? 1 : 0;

function runUnder(major) {
  const node = nodeOf(major);
  if (node === undefined) return { passed: 0, failed: 1, testResults: [] };
  const begunMs = Date.now();
  const { stdout } = spawnSync(node, ["-p", "`Node ${process.versions.node}, OpenSSL ${process.versions.openssl}`"], { encoding: "utf8" });
  process.stdout.write(`\n${stdout}`);
  const report = join(CACHE, `report-${major}.json`);
  rmSync(report, { force: true });
  const parameters = [
    join(ROOT, "node_modules", "vitest", "vitest.mjs"),
    "run",
    ...SUITE,
    ...(ALSO.get(major) ?? []),
    "--reporter=dot",
    "--reporter=json",
    `--outputFile.json=${report}`,
  ];
  const { status, signal, error } = spawnSync(node, parameters, { cwd: ROOT, stdio: "inherit", timeout: LIMIT_MS, killSignal: "SIGTERM" });
  if (error?.code === "ETIMEDOUT") process.stdout.write(`\nNode ${major}: not done within ${LIMIT_MS / 1000} s, so it was ended\n`);
  else if (signal) process.stdout.write(`\nNode ${major}: ended by ${signal}\n`);
  const { numPassedTests = 0, numFailedTests = 0, testResults = [] } = existsSync(report) ? JSON.parse(readFileSync(report, "utf8")) : {};
  process.stdout.write(`\nNode ${major}: ${Math.round((Date.now() - begunMs) / 1000)} s\n`);
  // A file that cannot even be loaded has no failed test in it.
  return { passed: numPassedTests, failed: Math.max(numFailedTests, status === 0 ? 0 : 1), testResults: testResults.map(named) };

  function named(file) {
    const assertionResults = file.assertionResults.map((test) => ({ ...test, fullName: `${test.fullName} (Node ${major})` }));
    return { ...file, assertionResults };
  }
}

/**
 * The path of a Node of this major version, installed when it is not there yet; undefined, and a line that says why, when it cannot be had.
 */
function nodeOf(major) {
  const folder = join(CACHE, String(major));
  const name = `node-${platform}`;
  const node = join(folder, "node_modules", name, "bin", "node");
  if (!existsSync(node)) {
    mkdirSync(folder, { recursive: true });
    // The package holds the binary itself: no script needs to run.
    const parameters = [
      "install",
      "--prefix",
      folder,
      "--no-save",
      "--no-audit",
      "--no-fund",
      "--ignore-scripts",
      "--loglevel=error",
      `${name}@${major}`,
    ];
    const { status, error } = spawnSync("npm", parameters, {
      cwd: folder,
      stdio: ["ignore", "ignore", "inherit"],
      timeout: INSTALL_LIMIT_MS,
    });
    if (status !== 0)
      return sorry(major, `npm install ${name}@${major} ${error ? `did not start (${error.code})` : `ended with ${status}`}`);
  }
  const { stdout, error } = spawnSync(node, ["-p", "process.versions.node"], { encoding: "utf8" });
  return Number(stdout?.split(".")[0]) === major ? node : sorry(major, `its binary does not run (${error?.code ?? "wrong version"})`);
}

function sorry(major, why) {
  process.stdout.write(`Not run: the tests under Node ${major}, because ${why}\n`);
  return undefined;
}
