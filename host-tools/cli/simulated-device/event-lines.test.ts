import { PassThrough } from "node:stream";
import { expect, test } from "vitest";
import { Terminal } from "../terminal.js";
import { printDeviceEvent } from "./event-lines.js";

test("an IPv6 address stands in brackets, as in the URL it came from", () => {
  const out = new PassThrough();
  const terminal = new Terminal(false, out as unknown as NodeJS.WriteStream, new PassThrough() as unknown as NodeJS.WriteStream, {});
  printDeviceEvent(terminal, { type: "connecting", credential: "mtls", host: "::1", port: 18889, identity: "active" });
  expect(String(out.read())).toMatch(/ connecting +\[::1\]:18889 with the active certificate\n$/);
});
