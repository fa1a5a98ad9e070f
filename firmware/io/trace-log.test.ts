import { expect, it } from "vitest";
import { traceLog } from "./trace-log.js";

function lines(work: (log: ReturnType<typeof traceLog>) => void, minimum?: Parameters<typeof traceLog>[1]): string[] {
  const printed: string[] = [];
  work(traceLog((text) => printed.push(text), minimum));
  return printed;
}

it("prints a line with the level, the message and the fields", () => {
  const printed = lines((log) => log("warn", "Wi-Fi is down", { reason: "left", count: 3, again: true }));
  expect(printed).toEqual(["warn: Wi-Fi is down reason=left count=3 again=true\n"]);
});

it("leaves out what is below the level asked for", () => {
  expect(lines((log) => (log("debug", "a"), log("info", "b")))).toEqual(["info: b\n"]);
  expect(lines((log) => (log("warn", "a"), log("error", "b")), "error")).toEqual(["error: b\n"]);
  expect(lines((log) => log("debug", "a"), "debug")).toEqual(["debug: a\n"]);
});

it("lets no line break, no escape and no length out of what came from outside", () => {
  const [line = ""] = lines((log) => log("info", "bad\nerror: forged\u001b[2J\u0085", { long: "x".repeat(10_000) }));
  expect(line.startsWith("info: bad.error: forged.[2J. long=xxx")).toBe(true);
  expect(line.length).toBeLessThan(410);
  expect(line.indexOf("\n")).toBe(line.length - 1);
});
