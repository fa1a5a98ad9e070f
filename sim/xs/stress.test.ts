/**
 * The C code under AddressSanitizer and UBSan, with garbage collected at every allocation and each chunk in memory of its own: whatever C
 * keeps of the heap for too long is found at the next step. At 64 bits; the code is the same at 32.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { memoryStorage } from "../node/memory-stores.js";
import { freePort, startMosquitto } from "../../test/support/node/test-mosquitto.js";
import { bundleDevice } from "../../firmware/build/xs-bundle.js";
import { buildHost } from "./host-build.js";
import { nativeParts } from "./native-parts.js";
import { base64 } from "../../test/support/xs/device-driver.js";
import { deviceSettings } from "../../test/support/xs/device-scenario.js";
import { Plant } from "../../test/support/xs/plant.js";
import { ProgramFolder } from "../../test/support/xs/program-folder.js";
import { XsDevice } from "./xs-device.js";

const BUILD_MS = 600_000;
const TESTING = fileURLToPath(new URL("../../test/support/xs/", import.meta.url));

const programs = new ProgramFolder();
beforeAll(async () => {
  await buildHost({ bits: 64, stress: true });
  await buildHost({ bits: 64, stress: true, native: await nativeParts(64, { sanitize: true }) });
}, BUILD_MS);
afterAll(() => programs.close());

it("sockets, timers and text survive a collection at every allocation in an MQTT session", async () => {
  const libraryEntry = join(TESTING, "mqtt-library.ts");
  const library = await bundleDevice({ entry: libraryEntry, outputFile: join(programs.path, "library.mjs") });
  const program = await bundleDevice({
    entry: join(TESTING, "mqtt-session.ts"),
    outputFile: join(programs.path, "session.mjs"),
    separate: { [libraryEntry]: "library" },
  });
  const port = await freePort();
  const broker = await startMosquitto(programs.path, "broker", {}, [`listener ${port} 127.0.0.1`, "allow_anonymous true"]);
  try {
    const config = { port, protocolVersion: 5, qos: [0, 1, 2], count: 2, payloadBytes: 3_000 };
    const options = {
      program: program.file,
      bits: 64,
      stress: true,
      inRom: "code",
      modules: { library: library.file },
      preload: ["library"],
    } as const;
    const running = await programs.start({ ...options, args: [JSON.stringify(config)] });
    expect(await running.exited).toMatchObject({ code: 0, errors: "" });
    expect(running.messages.filter((message) => "received" in message)).toMatchObject(
      [0, 1, 2].map((qos) => ({ qos, received: 2, wrong: 0 })),
    );
  } finally {
    await broker.stop();
  }
});

it("rejections that are asked for, and records that the starting process keeps, do so", async () => {
  const source = `
    native("xs_on_rejection")((reason) => print(reason.message));
    Promise.resolve().then(() => {
      for (const name of ["first", "second", "third"]) (async () => { await undefined; throw new Error(name); })();
    });
    native("xs_timer_set")(5, () => {
      native("xs_storage_put")("abc", Uint8Array.of(1, 2, 3));
      print([[...new Uint8Array(native("xs_storage_get")("abc"))], native("xs_storage_list")()]);
    });`;
  const store = { records: memoryStorage(), keys: { get: () => undefined, put: () => undefined, delete: () => undefined } };
  const { code, printed, errors } = await programs.run(source, { bits: 64, stress: true, store });
  expect({ code, errors }).toEqual({ code: 0, errors: "" });
  expect(printed).toEqual(["first", "second", "third", [[1, 2, 3], ["abc"]]]);
});

it("lines of a stack, and what is told of a program that holds the engine, do so", async () => {
  const source = `
    const deep = (n) => n > 0 ? deep(n - 1) : (() => { throw new Error("planted"); })();
    const lines = (error) => error.stack.split("\\n").filter((line) => /main\\.mjs:\\d/.test(line)).length;
    const caught = (run) => { try { run(); } catch (error) { return lines(error); } };
    let isTold = false;
    native("xs_on_held")(50, (tookMs) => {
      isTold = true;
      print(tookMs === undefined ? lines(new Error("held")) > 1 : "over");
    });
    native("xs_timer_set")(0, async () => {
      await undefined;
      print([caught(() => deep(5)), caught(() => null.length), caught(() => JSON.parse("{")), caught(() => [1].map(() => missing))]);
      print([..."ab"].map((one, at, all) => caught(() => all.reduce(() => one.x.y))));
    });
    native("xs_timer_set")(5, () => { while (!isTold); });`;
  const { code, printed, errors } = await programs.run(source, { bits: 64, stress: true });
  expect({ code, errors }).toEqual({ code: 0, errors: "" });
  const [thrown, inside, ...held] = printed as [number[], number[], ...unknown[]];
  expect([...thrown, ...inside].every((count) => count > 1)).toBe(true);
  expect(held).toEqual([true, "over"]);
});

it("TLS engine, key store and records do so in a device that connects, talks and renews its certificate", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hawser-xs-stress-"));
  const plant = await Plant.build();
  const device = await XsDevice.start({ folder, bits: 64, stress: true });
  try {
    const id = "stressed";
    await device.call("install", await plant.provision(id, () => device.call("makeKey", { commonName: id })));
    await device.call("start", { settings: deviceSettings(plant, 5) });
    await device.event("connected");
    expect(await device.call("subscribe", { filter: "down/#", options: { qos: 1 } })).toBe(1);
    await device.call("publish", { topic: "up/a", payload: base64("x".repeat(3_000)), options: { qos: 1 } });
    await plant.telemetry(id, "a", "x".repeat(3_000));
    await device.call("renew", {});
    await device.event("renewed");
    await device.call("stop", {});
    device.kill("SIGTERM");
    expect(await device.exited).toEqual({ code: 0, signal: undefined, errors: "" });
  } finally {
    device.kill();
    await device.exited;
    await plant.close();
    rmSync(folder, { recursive: true, force: true });
  }
}, 300_000);
