import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import fc from "fast-check";
import { expect, test } from "vitest";
import { findMosquitto } from "../../sim/brokers/mosquitto-launcher.js";
import { freePort } from "../../test/support/node/test-mosquitto.js";
import { LogEvents } from "./log-events.js";
import type { BrokerEvent } from "./log-events.js";
import { readMosquittoLine } from "./mosquitto-line.js";

const FUZZED_LINES = Number(process.env["HAWSER_MONITOR_FUZZ_LINES"] ?? 5000);
/** The long form is 1,000,000 lines: about 40 seconds. */
const FUZZ_TIMEOUT_MS = 60_000 + FUZZED_LINES;
const STAMP = "2026-11-28T09:53:55: ";
const run = promisify(execFile);

const nobody = {
  accepted: () => undefined,
  published: () => undefined,
  event: () => undefined,
  cut: () => undefined,
  untrusted: () => undefined,
};

function eventsOf(lines: readonly string[], version?: string): Omit<BrokerEvent, "timeMs">[] {
  const events: Omit<BrokerEvent, "timeMs">[] = [];
  const owner = { ...nobody, event: ({ timeMs: _, ...event }: BrokerEvent) => void events.push(event) };
  const reader = new LogEvents(owner, { version, owed: 0 }, () => 0);
  for (const line of lines) reader.line(line, 0);
  reader.flush();
  return events;
}

const at = (...lines: string[]) => lines.map((line) => STAMP + line);

test("recorded lines of 2.0.21 name the client that failed its password, and no address", () => {
  const lines = at(
    "mosquitto version 2.0.21 starting",
    "Client pw1 disconnected, not authorised.",
    "OpenSSL Error[0]: error:0A0000C7:SSL routines::peer did not return a certificate",
    "Client <unknown> disconnected: Protocol error.",
    "OpenSSL Error[0]: error:0A000086:SSL routines::certificate verify failed",
    "Client <unknown> disconnected: Protocol error.",
    "Client same already connected, closing old connection.",
    "Client ka has exceeded timeout, disconnecting.",
    "Client big disconnected due to oversize packet.",
  );
  expect(eventsOf(lines)).toEqual([
    { kind: "broker-started", version: "2.0.21" },
    { kind: "refused", reason: "password", claimedClient: "pw1" },
    { kind: "refused", reason: "no_certificate" },
    { kind: "refused", reason: "certificate" },
    { kind: "taken-over", client: "same" },
    { kind: "timed-out", client: "ka" },
    { kind: "refused", reason: "oversize", claimedClient: "big" },
  ]);
});

test("recorded lines of 2.1.2 give the address of each failure", () => {
  const lines = at(
    "mosquitto version 2.1.2 starting",
    "Client pw1 [192.0.2.7:4001] disconnected: not authorised.",
    "Client same [192.0.2.8:4002] disconnected: session taken over.",
    "Client ka [192.0.2.9:4003] disconnected: exceeded timeout.",
    "OpenSSL Error while trying to get the error[0]: error:0A0000C7:SSL routines::peer did not return a certificate",
    "Client 192.0.2.10 [192.0.2.10:4004] disconnected: Protocol error.",
    "Protocol error from 192.0.2.11:4005: First packet not CONNECT (FF).",
    "Client <unknown> [192.0.2.12:4006] disconnected: protocol error.",
  );
  expect(eventsOf(lines).slice(1)).toEqual([
    { kind: "refused", reason: "password", claimedClient: "pw1", address: "192.0.2.7" },
    { kind: "taken-over", client: "same", address: "192.0.2.8" },
    { kind: "timed-out", client: "ka", address: "192.0.2.9" },
    { kind: "refused", reason: "no_certificate", address: "192.0.2.10" },
    { kind: "refused", reason: "protocol", address: "192.0.2.11" },
    { kind: "refused", reason: "protocol", address: "192.0.2.12" },
  ]);
});

test("two handshakes whose lines interleave are both counted, and neither gets the other's address", () => {
  const lines = at(
    "OpenSSL Error[0]: error:0A000086:SSL routines::certificate verify failed",
    "OpenSSL Error[0]: error:0A0000C7:SSL routines::peer did not return a certificate",
    "Client 192.0.2.1 [192.0.2.1:1] disconnected: Protocol error.",
    "Client 192.0.2.2 [192.0.2.2:2] disconnected: Protocol error.",
  );
  expect(eventsOf(lines, "2.1.2")).toEqual([
    { kind: "refused", reason: "certificate" },
    { kind: "refused", reason: "no_certificate" },
  ]);
});

/** Text a sender chooses, made of what the broker writes. */
const PIECES = [
  "dev1",
  "x",
  " ",
  ".",
  "'",
  " (p2, c1, k60, u'admin').",
  " (d0, q1, r0, m1, 'a",
  "', ... (1 bytes))",
  " [9.9.9.9:1]",
  " disconnected",
  " disconnected, not authorised.",
  " disconnected: not authorised.",
  " disconnected.",
  " already connected, closing old connection.",
  "New client connected from 9.9.9.9:1 as ",
  "Denied PUBLISH from ",
  "Client connection from 9.9.9.9 denied: max_connections exceeded.",
  "Invalid protocol version 7 in CONNECT from 9.9.9.9.",
  ": Protocol error.",
  "é",
  "<unknown>",
];
const sendersText = fc.array(fc.constantFrom(...PIECES), { minLength: 1, maxLength: 6 }).map((pieces) => pieces.join(""));

/** Lines a broker writes about one client, and the only names and addresses an event may carry. */
const SHAPES: readonly { isSince21: boolean; kind: string; line: (id: string, other: string) => string }[] = [
  { isSince21: false, kind: "connected", line: (id, user) => `New client connected from 192.0.2.1:5 as ${id} (p2, c1, k60, u'${user}').` },
  { isSince21: false, kind: "denied", line: (id, topic) => `Denied PUBLISH from ${id} (d0, q1, r0, m1, '${topic}', ... (1 bytes))` },
  { isSince21: false, kind: "refused", line: (id) => `Client ${id} disconnected, not authorised.` },
  { isSince21: false, kind: "taken-over", line: (id) => `Client ${id} already connected, closing old connection.` },
  { isSince21: false, kind: "disconnected", line: (id) => `Client ${id} closed its connection.` },
  { isSince21: true, kind: "refused", line: (id) => `Client ${id} [192.0.2.1:5] disconnected: not authorised.` },
  { isSince21: true, kind: "refused", line: (id) => `Client ${id} [192.0.2.1:5] disconnected: Protocol error.` },
  { isSince21: true, kind: "taken-over", line: (id) => `Client ${id} [192.0.2.1:5] disconnected: session taken over.` },
  { isSince21: true, kind: "disconnected", line: (id) => `Client ${id} [192.0.2.1:5] disconnected.` },
];

test(
  "an id, user name or topic that imitates a log line is never believed",
  () => {
    const property = fc.property(fc.constantFrom(...SHAPES), sendersText, sendersText, (shape, id, other) => {
      const { fact } = readMosquittoLine(STAMP + shape.line(id, other), shape.isSince21);
      const named = { client: id, claimedClient: id, user: other, topic: other, address: "192.0.2.1", ...fact };
      expect(fact?.kind).toBe(shape.kind);
      expect(named).toMatchObject({ client: id, claimedClient: id, user: other, topic: other, address: "192.0.2.1" });
    });
    fc.assert(property, { numRuns: FUZZED_LINES });
  },
  FUZZ_TIMEOUT_MS,
);

/** As mosquitto writes it: what does not fit into 999 bytes is missing. */
const cutAt999 = (line: string): string =>
  Buffer.from(STAMP + line)
    .subarray(0, 999)
    .toString("utf8");
/** `before`, so much of `filler` as fits, and `after` end at byte 999 exactly. */
const filled = (before: string, filler: string, after: string): string =>
  before + filler.repeat(Math.floor((999 - Buffer.byteLength(STAMP + before + after)) / Buffer.byteLength(filler))) + after;

test.each([
  ["denied", "Denied PUBLISH from ", "honest (d0, q1, r0, m1, '", "', ... (1 bytes))", false],
  ["connected", "New client connected from 192.0.2.1:5 as ", "honest (p2, c1, k60, u'", "').", false],
  [undefined, "Received PUBLISH from ", "honest (d0, q1, r0, m1, '", "', ... (1 bytes))", false],
  [undefined, "Client ", "", " [9.9.9.9:1] disconnected: not authorised.", true],
  [undefined, "Client ", "", " disconnected, not authorised.", false],
] as const)("an id that fills the line to where mosquitto cuts it names nobody: %s", (kind, broker, before, after, isSince21) => {
  for (const filler of ["x", "é", "\u{1f600}"]) {
    const whole = filled(broker + before, filler, after);
    const pad = "y".repeat(999 - Buffer.byteLength(STAMP + whole));
    const line = cutAt999(
      `${whole.slice(0, broker.length + before.length)}${pad}${whole.slice(broker.length + before.length)} and what is lost`,
    );
    const { fact, isCut } = readMosquittoLine(line, isSince21);
    expect([fact?.kind, isCut]).toEqual([kind, true]);
    expect(JSON.stringify(fact ?? {})).not.toMatch(/honest|9\.9\.9\.9/);
  }
});

test(
  "no line makes the reader throw",
  () => {
    const anyLine = fc.oneof(
      fc.string({ unit: "binary" }),
      sendersText,
      sendersText.map((text) => `Client ${text}`),
    );
    const reader = new LogEvents(nobody, { owed: 0 }, () => 0);
    fc.assert(
      fc.property(anyLine, (line) => reader.line(line, 0)),
      { numRuns: FUZZED_LINES },
    );
  },
  FUZZ_TIMEOUT_MS,
);

test("a real mosquitto's log tells a wrong password, a denied publish, garbage and a forged id apart", async () => {
  const room = mkdtempSync(join(tmpdir(), "hawser-monitor-"));
  const port = await freePort();
  const file = (name: string, text: string) => {
    writeFileSync(join(room, name), text, { mode: 0o644 });
    return join(room, name);
  };
  const passwords = file("passwd", "");
  await run("mosquitto_passwd", ["-b", passwords, "u1", "secret1"]);
  const acl = file("acl", "user u1\ntopic readwrite ok/#\n");
  const logTypes = ["error", "warning", "notice", "information", "debug"].map((type) => `log_type ${type}`);
  const files = [`password_file ${passwords}`, `acl_file ${acl}`];
  const conf = [`listener ${port} 127.0.0.1`, "user root", "allow_anonymous false", ...files, "log_dest stderr", ...logTypes];
  const broker = spawn(findMosquitto(), ["-c", file("m.conf", `${conf.join("\n")}\n`)], { stdio: ["ignore", "ignore", "pipe"] });
  const ended = once(broker, "close");
  let log = "";
  broker.stderr.setEncoding("utf8").on("data", (text: string) => (log += text));
  const said = async (text: string) => {
    while (!log.includes(text)) await once(broker.stderr, "data");
  };
  // With epoch times (12 bytes), the line about its denied publish ends at byte 999 with what looks like another's.
  const imitation = `honest (d0, q1, r0, m1, '${"t".repeat(999 - 12 - "Denied PUBLISH from ".length - 42)}', ... (1 bytes))`;
  const framing = imitation.slice(0, 999 - 12 - "Denied PUBLISH from ".length);
  const login = ["-h", "127.0.0.1", "-p", `${port}`, "-u", "u1", "-m", "1"];
  const publish = (id: string, password: string, topic: string) =>
    run("mosquitto_pub", [...login, "-P", password, "-i", id, "-t", topic]).catch(() => undefined);
  try {
    await said(" running");
    await publish("dev1", "secret1", "devices/dev2/up");
    await publish("dev2", "wrong", "ok/a");
    await publish("dev3 [9.9.9.9:1] disconnected: not authorised.", "secret1", "ok/a");
    await publish(framing, "secret1", "devices/dev2/up");
    connect(port, "127.0.0.1")
      .on("error", () => undefined)
      .end(Buffer.from("ffffffffffff", "hex"))
      .resume();
    await said("due to protocol error");
  } finally {
    broker.kill();
    await ended;
    rmSync(room, { recursive: true });
  }
  const events = eventsOf(log.trimEnd().split("\n"));
  const forged = "dev3 [9.9.9.9:1] disconnected: not authorised.";
  expect(events).toContainEqual({ kind: "denied", client: "dev1", topic: "devices/dev2/up", sizeBytes: 1 });
  expect(events).toContainEqual({ kind: "connected", address: "127.0.0.1", client: forged, user: "u1" });
  expect(log).toMatch(/^.{10}: Denied PUBLISH from honest \(d0, q1, r0, m1, 't+', \.\.\. \(1 bytes\)\)$/m);
  expect(events).toContainEqual({ kind: "denied" });
  expect(JSON.stringify(events.map((event) => ("client" in event ? event.client : "")))).not.toContain("honest");
  expect(events.filter(({ kind }) => kind === "refused")).toMatchObject([{ reason: "password" }, { reason: "protocol" }]);
  expect(JSON.stringify(events.map((event) => ("address" in event ? event.address : "")))).not.toContain("9.9.9.9");
}, 20_000);
