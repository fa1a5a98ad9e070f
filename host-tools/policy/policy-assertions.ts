/** `policy test`: tables of what must be allowed and what must not, kept in a repository beside the policy. */
import { parse } from "yaml";
import { HawserError } from "../../sdk/errors.js";
import type { AccessQuestion, PolicyEngine } from "./policy-engine.js";
import type { Qos } from "./policy-model.js";

type Action = AccessQuestion["action"];
const ACTIONS: readonly Action[] = ["publish", "subscribe", "receive"];

export interface Assertion {
  readonly group: string;
  readonly expected: boolean;
  readonly question: AccessQuestion;
}

export interface AssertionResult extends Assertion {
  readonly passed: boolean;
  readonly because: string;
  readonly line?: number;
}

/** The names that a test file brings itself, as YAML gave them. */
export interface AssertionFile {
  readonly names: unknown;
  readonly assertions: readonly Assertion[];
}

/**
 * Reads a test file.
 * @param listeners those of the policy; the first stands for tests that name none
 * @throws HawserError `BAD_POLICY_TEST`
 */
export function readAssertions(text: string, file: string, listeners: readonly string[], nowMs: number): AssertionFile {
  let value: unknown;
  try {
    value = parse(text, { maxAliasCount: 50 });
  } catch (error) {
    throw bad(file, error instanceof Error ? (error.message.split("\n")[0] ?? "not YAML") : "not YAML");
  }
  if (!isObject(value) || !Array.isArray(value["tests"]) || value["tests"].length === 0) throw bad(file, "it has no tests");
  const assertions = value["tests"].flatMap((raw: unknown, index) => readGroup(raw, index, file, listeners, nowMs));
  return { names: value["names"], assertions };
}

const GROUP_KEYS = new Set(["name", "as", "on", "at", "from", "may", "may-not"]);

function readGroup(raw: unknown, index: number, file: string, listeners: readonly string[], nowMs: number): Assertion[] {
  if (!isObject(raw)) throw bad(file, `test ${index + 1} is not a mapping`);
  const stray = Object.keys(raw).find((key) => !GROUP_KEYS.has(key));
  if (stray !== undefined) throw bad(file, `test ${index + 1}: unknown setting ${stray}`);
  const group = typeof raw["name"] === "string" ? raw["name"] : `test ${index + 1}`;
  const names = list(raw["as"]).map((name) => textOf(name, file, `${group}: as`));
  const on = raw["on"] === undefined ? listeners.slice(0, 1) : list(raw["on"]).map((name) => textOf(name, file, `${group}: on`));
  for (const listener of on) if (!listeners.includes(listener)) throw bad(file, `${group}: the policy has no listener ${listener}`);
  const atMs = raw["at"] === undefined ? nowMs : Date.parse(textOf(raw["at"], file, `${group}: at`));
  if (Number.isNaN(atMs)) throw bad(file, `${group}: at is not a time such as 2027-01-31T08:00:00Z`);
  const circumstances = { atMs, ...(raw["from"] === undefined ? {} : { address: textOf(raw["from"], file, `${group}: from`) }) };
  const questions = [
    ...list(raw["may"]).map((line) => ({ line, expected: true })),
    ...list(raw["may-not"]).map((line) => ({ line, expected: false })),
  ];
  if (names.length === 0 || questions.length === 0) throw bad(file, `${group}: it needs "as" and at least one line under may or may-not`);
  return questions.flatMap(({ line, expected }) => {
    const asked = readQuestion(line, file, group);
    return names.flatMap((name) => on.map((listener) => ({ group, expected, question: { ...asked, ...circumstances, name, listener } })));
  });
}

type Asked = Pick<AccessQuestion, "action" | "topic" | "qos" | "retain" | "will" | "payloadBytes">;

/** `publish TOPIC`, or `{ publish: TOPIC, qos: 2, retain: true, will: true, bytes: 100 }`. */
function readQuestion(line: unknown, file: string, group: string): Asked {
  if (typeof line === "string") {
    const [, word = "", topic = ""] = /^(\S+) (.*)$/s.exec(line) ?? [];
    if (isAction(word)) return { action: word, topic };
  } else if (isObject(line)) {
    const action = ACTIONS.find((word) => word in line);
    const { qos, retain, will, bytes } = line;
    const isFit =
      (qos === undefined || qos === 0 || qos === 1 || qos === 2) &&
      [retain, will].every((flag) => flag === undefined || typeof flag === "boolean") &&
      (bytes === undefined || typeof bytes === "number");
    const stray = Object.keys(line).find((key) => key !== action && !["qos", "retain", "will", "bytes"].includes(key));
    if (action !== undefined && isFit && stray === undefined) {
      return {
        action,
        topic: textOf(line[action], file, `${group}: ${action}`),
        ...(qos === undefined ? {} : { qos: qos as Qos }),
        ...(retain === undefined ? {} : { retain: retain as boolean }),
        ...(will === undefined ? {} : { will: will as boolean }),
        ...(bytes === undefined ? {} : { payloadBytes: bytes as number }),
      };
    }
  }
  throw bad(file, `${group}: ${JSON.stringify(line)} is not a question`);
}

export function runAssertions(engine: PolicyEngine, assertions: readonly Assertion[]): AssertionResult[] {
  return assertions.map((assertion) => {
    const { allowed, because, source } = engine.authorize(assertion.question);
    return { ...assertion, passed: allowed === assertion.expected, because, ...(source === undefined ? {} : { line: source.line }) };
  });
}

/** What an assertion says, in words. */
export function assertionText({ expected, question }: Assertion): string {
  const { name, listener, action, topic, qos, retain, will } = question;
  const extras = [qos === undefined ? "" : ` qos ${qos}`, retain === true ? " retained" : "", will === true ? " as its will" : ""].join("");
  return `${name} on ${listener} ${expected ? "may" : "may not"} ${action} ${topic}${extras}`;
}

/** The results as a JUnit report. */
export function junitReport(suite: string, results: readonly AssertionResult[]): string {
  const failures = results.filter(({ passed }) => !passed).length;
  const cases = results.map((result) => {
    const head = `    <testcase classname="${xml(result.group)}" name="${xml(assertionText(result))}"`;
    return result.passed ? `${head}/>` : `${head}>\n      <failure message="${xml(result.because)}"/>\n    </testcase>`;
  });
  return `<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n  <testsuite name="${xml(suite)}" tests="${results.length}" failures="${failures}">\n${cases.join("\n")}\n  </testsuite>\n</testsuites>\n`;
}

function xml(text: string): string {
  // XML 1.0 has no way to write control characters.
  return text
    .replace(/[\u0000-\u001f\u007f\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "\ufffd")
    .replace(/[<>&"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

function list(value: unknown): unknown[] {
  if (value === undefined || value === null) return [];
  return Array.isArray(value) ? value : [value];
}

function textOf(value: unknown, file: string, where: string): string {
  if (typeof value === "string") return value;
  throw bad(file, `${where} is not a string`);
}

function isAction(word: string): word is Action {
  return (ACTIONS as readonly string[]).includes(word);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function bad(file: string, problem: string): HawserError {
  return new HawserError("BAD_POLICY_TEST", `${file}: ${problem}`, 'See docs/policy.md, "Tests", for the form of a test file.');
}
