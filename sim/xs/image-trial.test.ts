/** An image that came over the air is kept after CONNACK and SUBACK, on XS against mosquitto; a stand-in is asked in place of ESP-IDF. */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundleDevice } from "../../firmware/build/xs-bundle.js";
import { packageRoot } from "../../firmware/build/project-files.js";
import { freePort, startMosquitto, type TestMosquitto } from "../../test/support/node/test-mosquitto.js";
import { BITS } from "../../test/support/xs/pointer-sizes.js";
import { ProgramFolder } from "../../test/support/xs/program-folder.js";
import { buildHost } from "./host-build.js";

const programs = new ProgramFolder();
let broker: TestMosquitto | undefined;
let program: string;
let port: number;

beforeAll(async () => {
  const entry = join(packageRoot(), "test", "support", "xs", "image-trial-program.ts");
  program = (await bundleDevice({ entry, outputFile: join(programs.path, "trial.mjs") })).file;
  port = await freePort();
  broker = await startMosquitto(programs.path, "broker", {}, [`listener ${port} 127.0.0.1`, "allow_anonymous true"]);
  for (const bits of BITS) await buildHost({ bits });
}, 300_000);

afterAll(async () => {
  await programs.close();
  await broker?.stop();
});

async function trial(bits: 32 | 64, config: object): Promise<object[]> {
  const given = { port, onTrial: true, withinMs: 60_000, ...config };
  const running = await programs.start({ program, bits, args: [JSON.stringify(given)] });
  expect(await running.exited).toMatchObject({ code: 0, errors: "" });
  return running.messages;
}

const said = (messages: object[], ...names: string[]): object[] => messages.filter((message) => names.some((name) => name in message));

describe.each(BITS)("on XS at %i bits", (bits) => {
  it("an image on trial is kept when the broker granted the subscription, and not by CONNACK alone", async () => {
    const messages = await trial(bits, {});
    const order = said(messages, "connack", "image", "keepImage");
    expect(order).toEqual([{ connack: true }, { image: "kept" }, { keepImage: true }]);
  });

  it("an image that was flashed or is kept already is left alone", async () => {
    expect(said(await trial(bits, { onTrial: false }), "suback", "image", "keepImage")).toEqual([
      { suback: "granted" },
      { keepImage: false },
    ]);
  });

  it("an image that no broker accepts in time is given up", async () => {
    const closed = await freePort();
    expect(said(await trial(bits, { port: closed, withinMs: 1_000 }), "connack", "image")).toEqual([{ image: "given up" }]);
  });
});
