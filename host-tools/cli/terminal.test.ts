import { PassThrough } from "node:stream";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { HawserError } from "../../sdk/errors.js";
import { printable, table, Terminal } from "./terminal.js";

function terminal(
  json: boolean,
  isTTY = false,
  env: Record<string, string> = {},
): { subject: Terminal; out: PassThrough; text: () => string; errors: () => string } {
  const out = new PassThrough();
  const err = new PassThrough();
  Object.assign(out, { isTTY });
  Object.assign(err, { isTTY });
  const subject = new Terminal(json, out as unknown as NodeJS.WriteStream, err as unknown as NodeJS.WriteStream, env);
  const read = (stream: PassThrough): string => ((stream.read() as Buffer | null) ?? Buffer.alloc(0)).toString();
  return { subject, out, text: () => read(out), errors: () => read(err) };
}

describe("Terminal", () => {
  test("says an error in one line: code, what happened, what to do", () => {
    const { subject, errors } = terminal(false);
    subject.error(new HawserError("VAULT_EXISTS", "x already exists", "Choose another path"));
    expect(errors()).toBe("error VAULT_EXISTS: x already exists. Next: Choose another path.\n");
  });

  test("says an error as one JSON object with --json", () => {
    const { subject, errors } = terminal(true);
    subject.error(new HawserError("VAULT_EXISTS", "a\nb", "c"));
    expect(JSON.parse(errors())).toEqual({ error: { code: "VAULT_EXISTS", message: "a b", next: "c" } });
  });

  test("keeps an error on one line and harmless, whatever is in it", () => {
    const { subject, errors } = terminal(false);
    subject.error(new HawserError("X" as never, "id \u001b[2J\r\nfoo\u0007", ""));
    expect(errors()).toBe("error X: id \ufffd[2J foo\ufffd.\n");
  });

  test("prints events as JSON lines or as text", () => {
    const script = terminal(true);
    script.subject.event("connected", { credential: "mtls" }, "by mtls");
    expect(JSON.parse(script.text())).toMatchObject({ event: "connected", credential: "mtls" });
    const person = terminal(false);
    person.subject.event("connected", { credential: "mtls" }, "by mtls");
    expect(person.text()).toMatch(/^\d\d:\d\d:\d\d\.\d{3} connected {5}by mtls\n$/);
  });

  test.each([
    ["a terminal", true, {}, true],
    ["a pipe", false, {}, false],
    ["NO_COLOR", true, { NO_COLOR: "1" }, false],
    ["a dumb terminal", true, { TERM: "dumb" }, false],
  ])("colours for %s", (_what, isTTY, env, coloured) => {
    expect(terminal(false, isTTY, env).subject.paint("red", "x").includes("\u001b")).toBe(coloured);
  });

  test("drops output that nobody reads any more, and says so once", () => {
    const { subject, out } = terminal(false);
    let closed = 0;
    subject.onClosed(() => (closed += 1));
    out.emit("error", Object.assign(new Error("write EPIPE"), { code: "EPIPE" }));
    out.emit("error", Object.assign(new Error("write EPIPE"), { code: "EPIPE" }));
    subject.line("late");
    expect(closed).toBe(1);
    expect(out.read()).toBeNull();
    expect(subject.outputFailure).toBeUndefined();
  });

  test.each([
    ["ENOSPC", "STORAGE_FULL"],
    ["EDQUOT", "STORAGE_FULL"],
    ["EFBIG", "STORAGE_FULL"],
    ["EIO", "STORAGE_FAILED"],
  ])("drops output that cannot be written for %s, too, and keeps that as %s", (code, expected) => {
    const { subject, out } = terminal(false);
    let closed = 0;
    subject.onClosed(() => (closed += 1));
    out.emit("error", Object.assign(new Error(`write ${code}`), { code }));
    subject.line("late");
    expect([closed, out.read()]).toEqual([1, null]);
    expect(subject.outputFailure).toMatchObject({ code: expected });
  });
});

describe("progress", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  test("counts seconds on a terminal, and leaves no trace", () => {
    const { subject, errors } = terminal(false, true, { NO_COLOR: "1" });
    subject.startProgress("building", "building takes a while");
    vi.advanceTimersByTime(2000);
    subject.stopProgress();
    expect(errors()).toBe("\rbuilding, 1 s ...\rbuilding, 2 s ...\r\u001b[K");
  });

  test("is one line in a log when it takes long, and nothing when it does not", () => {
    const { subject, text, errors } = terminal(false);
    subject.startProgress("building", "building takes a while");
    vi.advanceTimersByTime(1999);
    subject.stopProgress();
    subject.startProgress("working");
    vi.advanceTimersByTime(60_000);
    expect(errors()).toBe("");
    subject.startProgress("building", "building takes a while");
    vi.advanceTimersByTime(60_000);
    subject.stopProgress();
    expect([text(), errors()]).toEqual(["", "building takes a while\n"]);
  });

  test("is one event with --json", () => {
    const { subject, text, errors } = terminal(true, true);
    subject.startProgress("building", "building takes a while");
    vi.advanceTimersByTime(60_000);
    expect([JSON.parse(text()), errors()]).toEqual([expect.objectContaining({ event: "preparing", what: "building takes a while" }), ""]);
  });
});

test("printable leaves ordinary text, of any script, as it is", () => {
  expect(printable("Fühler 7 – 温度")).toBe("Fühler 7 – 温度");
});

test("table aligns its columns", () => {
  expect(
    table([
      ["ID", "STATE"],
      ["sensor-1", "active"],
      ["b", "x"],
    ]),
  ).toEqual(["ID        STATE", "sensor-1  active", "b         x"]);
});
