// The last lines of .ci/run: each test that failed, each that passed only at its second attempt, and "N passed, N failed". A CI service
// shows the end of a long log first, and often nothing else.
// Run: node test/ci-outcome.mjs STATUS REPORT...
// STATUS: 0 when every command ended well. REPORT: vitest's report in JSON; it is missing when that run died.
import { readFileSync } from "node:fs";
import { relative } from "node:path";

const MESSAGE_LINES = 6;
const MESSAGE_CHARACTERS = 1200;

const [status, ...reports] = process.argv.slice(2);
let [passed, failed] = [0, 0];
for (const path of reports) {
  const report = reportAt(path);
  passed += report.numPassedTests ?? 0;
  failed += report.numFailedTests ?? 0;
  for (const file of report.testResults ?? []) say(file);
}
// What failed need not be a test: a file that cannot be loaded, a type, the installation.
if (failed === 0 && status !== "0") failed = 1;
process.stdout.write(`${passed} passed, ${failed} failed\n`);

function reportAt(path) {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch {
    return {};
  }
}

function say(file) {
  const name = relative(process.cwd(), file.name);
  for (const test of file.assertionResults) {
    const [first] = test.failureMessages ?? [];
    if (test.status === "failed") process.stdout.write(`Failed: ${name}: ${test.fullName}\n  ${excerpt(first ?? "no message")}\n`);
    else if (first !== undefined)
      process.stdout.write(`Passed only at the second attempt: ${name}: ${test.fullName}\n  ${excerpt(first)}\n`);
  }
  if (file.status === "failed" && file.message) process.stdout.write(`Failed: ${name}\n  ${excerpt(file.message)}\n`);
}

function excerpt(message) {
  return message.split("\n").slice(0, MESSAGE_LINES).join("\n  ").slice(0, MESSAGE_CHARACTERS);
}
