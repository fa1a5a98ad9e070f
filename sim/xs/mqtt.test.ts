/** The codec and the MQTT client on XS: the same bytes as on Node, and whole sessions against a real mosquitto. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { codecLines } from "../../test/support/mqtt/codec-lines.js";
import { freePort, startMosquitto, type TestMosquitto } from "../../test/support/node/test-mosquitto.js";
import { bundleDevice } from "../../firmware/build/xs-bundle.js";
import { buildHost } from "./host-build.js";
import { ProgramFolder } from "../../test/support/xs/program-folder.js";
import { BITS } from "../../test/support/xs/pointer-sizes.js";

const BUILD_MS = 300_000;
const TESTING = fileURLToPath(new URL("../../test/support/xs/", import.meta.url));
const LIBRARY = join(TESTING, "mqtt-library.ts");

const programs = new ProgramFolder();
let broker: TestMosquitto | undefined;
let port: number;
let codecProgram: string;
let library: string;
let session: string;

beforeAll(async () => {
  const bundle = async (name: string, options: object = {}): Promise<string> =>
    (await bundleDevice({ entry: join(TESTING, name), outputFile: join(programs.path, name.replace(".ts", ".mjs")), ...options })).file;
  codecProgram = await bundle("print-codec-lines.ts");
  library = await bundle("mqtt-library.ts");
  session = await bundle("mqtt-session.ts", { separate: { [LIBRARY]: "library" } });
  port = await freePort();
  broker = await startMosquitto(programs.path, "broker", {}, [`listener ${port} 127.0.0.1`, "allow_anonymous true"]);
  for (const bits of BITS) await buildHost({ bits });
}, BUILD_MS);

afterAll(async () => {
  await programs.close();
  await broker?.stop();
});

describe.each(BITS)("on XS at %i bits", (bits) => {
  it("the codec writes and reads every packet as on Node", async () => {
    const running = await programs.start({ program: codecProgram, bits });
    expect(await running.exited).toMatchObject({ code: 0, errors: "" });
    expect(running.messages).toEqual(codecLines());
  });

  it.each([4, 5] as const)("messages of every level go to mosquitto and come back, in protocol version %i", async (protocolVersion) => {
    const config = { port, protocolVersion, qos: [0, 1, 2], count: 20, payloadBytes: 3_000 };
    const running = await programs.start({ program: session, bits, inRom: "code", modules: { library }, args: [JSON.stringify(config)] });
    expect(await running.exited).toMatchObject({ code: 0, errors: "" });
    expect(running.messages.filter((message) => "received" in message)).toMatchObject(
      [0, 1, 2].map((qos) => ({ qos, received: 20, wrong: 0 })),
    );
  });
});
